"""What the checks of a load share: where things were written, and one way to report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buildwright.config.places import Places
from buildwright.model.errors import Where, error, right_type, shown, suggest, warn


def key_text(*path: str | int) -> str:
    """A key as the user writes it: ``c['www']['port']``."""
    return "c" + "".join(f"[{part!r}]" for part in path)


@dataclass(frozen=True, slots=True)
class Context:
    """One load: its directories, and the lines of its keys."""

    basedir: Path
    places: Places

    def error(self, message: str, *path: str | int, hint: str | None = None) -> None:
        """Report something wrong with a key, at its line."""
        error(message, hint, self.places.at(*path))

    def warn(self, message: str, *path: str | int, hint: str | None = None) -> None:
        """Report that a key won't do what it seems to, at its line."""
        warn(message, hint, self.places.at(*path))

    def at(self, where: Where | None, *path: str | int) -> Where:
        """The place where an object was made, or else that of the key which holds it."""
        return where or self.places.at(*path)

    def wanted(self, value: Any, types: type | tuple[type, ...], wanted: str, *path: str | int) -> bool:
        """Whether a key's value is of its type; reports it if not."""
        allowed = types if isinstance(types, tuple) else (types,)
        if isinstance(value, types) and not (isinstance(value, bool) and bool not in allowed):
            return True
        message = f"{key_text(*path)} must be {wanted}, not {shown(value)}"
        self.error(message, *path, hint=right_type(value, allowed, wanted))
        return False

    def unknown_keys(
        self, given: Mapping[Any, Any], known: Mapping[str, Any] | frozenset[str], *path: str
    ) -> None:
        """Report the keys of a dict that mean nothing."""
        for key in given:
            if key not in known:
                self.error(
                    f"unknown key {key_text(*path, key)}",
                    *path,
                    key,
                    hint=suggest(key, known) or f"known here: {', '.join(sorted(known))}",
                )
