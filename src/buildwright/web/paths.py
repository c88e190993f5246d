"""Paths of the data API: patterns with typed elements, and the table that finds the one that a path matches.

An element of a pattern is literal, or ``n:name`` (an integer), ``i:name`` (an identifier), ``s:name`` (any
text). Patterns of the same length are tried in the order in which they were added; the first that matches
wins. An element of the path is unquoted after the path was split, so a name may contain a slash (``%2F``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Generic, TypeVar
from urllib.parse import unquote

import sqlalchemy as sa

T = TypeVar("T")

_IDENTIFIER = re.compile(r"[a-zA-Z_-][.a-zA-Z0-9_-]*", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,18}", re.ASCII)

Params = dict[str, Any]


def split(raw_path: str) -> tuple[str, ...]:
    """The elements of a path as it came in; empty ones (doubled or trailing slashes) don't count."""
    return tuple(unquote(part) for part in raw_path.split("/") if part)


class Table(Generic[T]):
    """Patterns and what they lead to."""

    def __init__(self) -> None:
        self._by_length: dict[int, list[tuple[tuple[str, ...], T]]] = {}

    def add(self, pattern: str, target: T) -> None:
        parts = tuple(part for part in pattern.split("/") if part)
        self._by_length.setdefault(len(parts), []).append((parts, target))

    def find(self, path: tuple[str, ...]) -> tuple[T, Params] | None:
        """What the path leads to, with the values of its elements."""
        for pattern, target in self._by_length.get(len(path), ()):
            params = _match(pattern, path)
            if params is not None:
                return target, params
        return None

    def __iter__(self) -> Iterator[tuple[str, T]]:
        for entries in self._by_length.values():
            for parts, target in entries:
                yield "/" + "/".join(parts), target


def _match(pattern: tuple[str, ...], path: tuple[str, ...]) -> Params | None:
    params: Params = {}
    for expected, part in zip(pattern, path, strict=True):
        kind, colon, name = expected.partition(":")
        if not colon:
            if expected != part:
                return None
        elif kind == "n":
            if not _NUMBER.fullmatch(part):
                return None
            params[name] = int(part)
        elif kind == "i":
            if not _IDENTIFIER.fullmatch(part):
                return None
            params[name] = part
        else:
            # No database column holds these, so no name is equal to such a text.
            if "\0" in part or any("\ud800" <= char <= "\udfff" for char in part):
                return None
            params[name] = part
    return params


def number(name: str) -> sa.ColumnElement[Any]:
    """The value of an ``n:`` element in a statement."""
    return sa.bindparam(name, type_=sa.BigInteger)


def text(name: str) -> sa.ColumnElement[Any]:
    """The value of an ``i:`` or ``s:`` element in a statement."""
    return sa.bindparam(name, type_=sa.Text)
