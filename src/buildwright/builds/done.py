"""What may be awaited although it has happened already: a step's ``addURL`` and its like."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any


class Done:
    """An awaitable that is done: what was asked for has happened already, whether it is awaited or not."""

    __slots__ = ("_value",)

    def __init__(self, value: Any = None) -> None:
        self._value = value

    def __await__(self) -> Generator[Any, None, Any]:
        yield from ()
        return self._value


DONE = Done()
