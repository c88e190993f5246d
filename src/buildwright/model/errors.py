"""Errors of a configuration: collected while it loads, told all at once.

A constructor that finds something wrong calls :func:`error` and goes on as well as it can, so that one load
tells everything. While a configuration loads, the loader has a :class:`Collector` in place (a context
variable, so loads in several threads don't meet) that keeps the errors; outside of a load, in a test or a
console, the error is raised at once.

Each error carries the place in the user's own files: the nearest calling frame inside the configuration's
directory, or else the nearest one outside this package.
"""

from __future__ import annotations

import contextvars
import inspect
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

# What is no file of the user's: this package, and code that was made from text.
_NOT_USERS = (str(Path(__file__).parent.parent) + os.sep, "<")


class Where(NamedTuple):
    """A place in a file."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class ConfigError:
    """One thing wrong: what, where, and what to do about it."""

    message: str
    file: str | None = None
    line: int | None = None
    hint: str | None = None

    def __str__(self) -> str:
        place = ""
        if self.file is not None:
            place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: "
        return f"{place}{self.message}" + (f" ({self.hint})" if self.hint else "")


class ConfigErrors(Exception):
    """A configuration that can't be used; ``errors`` says why, in the order of their places."""

    def __init__(self, errors: Iterable[ConfigError], warnings: Iterable[ConfigError] = ()) -> None:
        self.errors = list(errors)
        self.warnings = list(warnings)
        super().__init__(self.errors)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


@dataclass(slots=True)
class Collector:
    """What a load has found so far. Owned by the one thread that runs the load."""

    root: str | tuple[str, ...] | None = (
        None  # the configuration's directories, with a separator at their ends
    )
    basedir: Path | None = None  # what its relative paths mean
    errors: list[ConfigError] = field(default_factory=list)
    warnings: list[ConfigError] = field(default_factory=list)


_current: contextvars.ContextVar[Collector | None] = contextvars.ContextVar("collector", default=None)


def collecting(collector: Collector | None) -> contextvars.Token[Collector | None]:
    """Put a collector in place for this context; give the token to :func:`collected` afterwards."""
    return _current.set(collector)


def collected(token: contextvars.Token[Collector | None]) -> None:
    """Take the collector of :func:`collecting` away again."""
    _current.reset(token)


def caller_location(root: str | tuple[str, ...] | None = None, made: object = None) -> Where | None:
    """The nearest calling frame outside this package; inside ``root``, if there is one there.

    Constructors of ``made`` (or of the object in whose constructor of ours this is called) are passed over:
    what counts is where a subclass of the user's was asked for, not where it calls ours.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - a cheap way to the caller's line
    nearest: Where | None = None
    while frame is not None:
        code = frame.f_code
        name = code.co_filename
        if name.startswith(_NOT_USERS):
            if made is None and code.co_name == "__init__":
                made = frame.f_locals.get("self")
        elif made is None or code.co_name != "__init__" or not _is_first_argument(made, frame):
            if root is None or name.startswith(root):
                return Where(name, frame.f_lineno)
            if nearest is None:
                nearest = Where(name, frame.f_lineno)
        frame = frame.f_back
    return nearest


def _is_first_argument(made: object, frame: FrameType) -> bool:
    code = frame.f_code
    return code.co_argcount > 0 and frame.f_locals.get(code.co_varnames[0]) is made


def is_collecting() -> bool:
    """Whether a configuration is being loaded just now, in this context."""
    return _current.get() is not None


def current_collector() -> Collector | None:
    """What collects the errors of this context."""
    return _current.get()


def from_basedir(path: str | Path) -> Path:
    """A path of the configuration: relative ones begin in the master's base directory; outside of a load, in
    the working directory.
    """
    collector = _current.get()
    return Path(path) if collector is None or collector.basedir is None else collector.basedir / path


def location(made: object = None) -> Where | None:
    """Where the configuration is just now: :func:`caller_location` within the directories being loaded."""
    collector = _current.get()
    return caller_location(collector.root if collector is not None else None, made)


def error(message: str, hint: str | None = None, where: Where | None = None) -> None:
    """Report something wrong with the configuration: collected during a load, raised otherwise."""
    collector = _current.get()
    if where is None:
        where = location()
    found = ConfigError(message, where.file if where else None, where.line if where else None, hint)
    if collector is None:
        raise ConfigErrors([found])
    collector.errors.append(found)


def warn(message: str, hint: str | None = None, where: Where | None = None) -> None:
    """Report something that works but won't do what it seems to; lost outside of a load."""
    collector = _current.get()
    if collector is None:
        return
    if where is None:
        where = location()
    collector.warnings.append(
        ConfigError(message, where.file if where else None, where.line if where else None, hint)
    )


def suggest(name: object, candidates: Iterable[str]) -> str | None:
    """A hint that names the nearest of ``candidates``, if one is near."""
    if not isinstance(name, str):
        return None
    import difflib

    pool = {candidate.lower(): candidate for candidate in candidates}
    near = difflib.get_close_matches(name.lower(), list(pool), n=1, cutoff=0.6)
    return f"did you mean {pool[near[0]]!r}?" if near else None


def shown(value: object) -> str:
    """A value as an error names it: its type and, if it is short, itself."""
    kind = "type" if isinstance(value, type) else type(value).__name__
    if value is None:
        return "None"
    if isinstance(value, (str, int, float, bool, bytes)):
        text = repr(value)
        return f"{kind} {text}" if len(text) <= 60 else f"{kind} {text[:57]}..."
    return kind


def expect(
    value: Any, types: type | tuple[type, ...], what: str, wanted: str, where: Where | None = None
) -> bool:
    """Check a value's type; report ``what must be wanted, not ...`` and return False if it differs."""
    if isinstance(value, types):
        allowed = types if isinstance(types, tuple) else (types,)
        if not isinstance(value, bool) or bool in allowed or object in allowed:
            return True
    allowed = types if isinstance(types, tuple) else (types,)
    error(f"{what} must be {wanted}, not {shown(value)}", right_type(value, allowed, wanted), where=where)
    return False


def expect_plain_function(value: Any, what: str) -> bool:
    """Check that something is a function that isn't async; report it if not."""
    if not callable(value):
        error(f"{what} must be a function, not {shown(value)}")
        return False
    if inspect.iscoroutinefunction(value):
        error(f"{what} must be a plain function, not async", "write def instead of async def")
        return False
    return True


def right_type(value: Any, allowed: tuple[type, ...], wanted: str) -> str:
    """What to write instead of a value of the wrong type."""
    if str in allowed and isinstance(value, int | float):
        return f"write it in quotes: {str(value)!r}"
    if str in allowed and isinstance(value, bytes):
        return "write it without the b before the quotes"
    if int in allowed and isinstance(value, str) and value.lstrip("-").isdecimal():
        return f"write it without quotes: {value}"
    if list in allowed and (isinstance(value, str) or not hasattr(value, "__iter__")):
        return "put it in a list: [...]"
    return f"give it {wanted}"
