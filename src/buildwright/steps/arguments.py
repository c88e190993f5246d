"""Checks of steps' arguments: None and what is rendered later are always fine."""

from __future__ import annotations

from typing import Any

from buildwright.model.errors import expect
from buildwright.model.renderable import is_renderable


def _expect(what: str, types: tuple[type, ...], wanted: str, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if value is not None and not is_renderable(value):
            expect(value, types, f"{what}: {name}", wanted)


def expect_texts(what: str, **values: Any) -> None:
    _expect(what, (str,), "text", values)


def expect_flags(what: str, **values: Any) -> None:
    _expect(what, (bool, int), "True or False", values)


def expect_lists(what: str, **values: Any) -> None:
    _expect(what, (list, tuple), "a list", values)


def expect_words(what: str, **values: Any) -> None:
    """A word or several: text, or a list of texts."""
    _expect(what, (str, list, tuple), "text or a list of texts", values)


def expect_dicts(what: str, **values: Any) -> None:
    _expect(what, (dict,), "a dict", values)
