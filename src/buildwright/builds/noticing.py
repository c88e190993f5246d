"""What ends a step from outside, and noticing what its code waits for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any


class Abort(Exception):
    """The step can't come to an end of its own. ``again``: start it again from its beginning."""

    def __init__(self, why: str, *, again: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.again = again


class LocksRefused(Exception):
    """The step's locks can't be taken, ever."""


class Noticing:
    """Awaits a coroutine, and calls ``notice`` whenever it begins to wait for something."""

    def __init__(self, coroutine: Awaitable[Any], notice: Callable[[], None]) -> None:
        self._coroutine = coroutine
        self._notice = notice

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._coroutine.__await__()
        resume: Callable[[Any], Any] = inner.send
        value: Any = None
        while True:
            try:
                waited = resume(value)
            except StopIteration as stop:
                return stop.value
            self._notice()
            try:
                value = yield waited
                resume = inner.send
            except BaseException as error:  # handed into the coroutine
                value, resume = error, inner.throw
