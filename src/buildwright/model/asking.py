"""Asking functions of the configuration, which may do anything: wait, fail, never come back.

A plain function runs on the event loop, because what it gets belongs to the loop; while it runs, the master
stands still. So it has :data:`PLAIN_SECONDS`, less than what would cost the master its lease, and so has each
piece of a coroutine between two of its waits. A timer interrupts it then, by an exception out of the
function's own code (in the main thread, where a master runs; a call into C that doesn't come back can't be
interrupted). What it waits for may take :data:`WAITING_SECONDS` in all.

What a function raises comes to the caller, as an Exception always: neither ``sys.exit()`` nor a cancellation
of the function's own making ends anything but the question.
"""

from __future__ import annotations

import asyncio
import inspect
import signal
import threading
import types
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

PLAIN_SECONDS = 10.0
WAITING_SECONDS = 60.0


class Misbehaved(Exception):
    """A function of the configuration did what none may; the text names it and says what."""


class TookTooLong(Misbehaved):
    """It didn't come back in time."""


class Nonsense(Misbehaved):
    """It gave something that means nothing."""


class _Interrupted(BaseException):
    """Raised in the function's code; no ``except Exception`` of its own catches it."""


_running: str | None = None  # what the timer would interrupt; of the main thread


def _ring(_signal: int, _frame: FrameType | None) -> None:
    if _running is not None:
        raise _Interrupted


def limited(what: str, function: Callable[[], T]) -> T:
    """Call a plain function with a time limit; TookTooLong if it doesn't come back. ``what`` names it. Within
    another such call the outer one's limit counts.
    """
    if _running is not None or threading.current_thread() is not threading.main_thread():
        return function()
    _arm(what)
    try:
        try:
            return function()
        finally:
            _disarm()
    except SystemExit as error:
        raise Misbehaved(f"{what} raised SystemExit") from error
    except _Interrupted:
        _disarm()
        raise TookTooLong(
            f"{what} didn't come back within {PLAIN_SECONDS:g} s, while the master stood still"
        ) from None


def _arm(what: str) -> None:
    global _running  # noqa: PLW0603 - there is one timer in a process
    if signal.getsignal(signal.SIGALRM) is not _ring:
        signal.signal(signal.SIGALRM, _ring)
    _running = what
    # Again and again, in case the code has caught the first one.
    signal.setitimer(signal.ITIMER_REAL, PLAIN_SECONDS, 1.0)


def _disarm() -> None:
    global _running  # noqa: PLW0603 - see above
    _running = None
    signal.setitimer(signal.ITIMER_REAL, 0)


async def ask(what: str, function: Callable[..., Any], *args: Any, seconds: float | None = None) -> Any:
    """What a function, plain or async, says to these arguments. ``what`` names it."""
    try:
        answer = limited(what, lambda: function(*args))
    except (SystemExit, asyncio.CancelledError) as error:
        raise Misbehaved(f"{what} raised {type(error).__name__}") from error
    except Exception as error:
        error.add_note(f"in {what}")
        raise
    return await within(what, answer, seconds) if inspect.isawaitable(answer) else answer


async def within(what: str, awaitable: Awaitable[Any], seconds: float | None = None) -> Any:
    """Await something that leads to the configuration's code; TookTooLong after ``seconds``, by default
    WAITING_SECONDS.
    """
    limit = WAITING_SECONDS if seconds is None else seconds
    timeout = asyncio.timeout(limit)
    try:
        async with timeout:
            return await _stepwise(what, awaitable)
    except TimeoutError:
        if timeout.expired():
            raise TookTooLong(f"{what} didn't come back within {limit:g} s") from None
        raise
    except SystemExit as error:
        raise Misbehaved(f"{what} raised SystemExit") from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise Misbehaved(f"{what} raised CancelledError") from error
    except Exception as error:
        error.add_note(f"in {what}")
        raise


@types.coroutine
def _stepwise(what: str, awaitable: Awaitable[Any]) -> Generator[Any, Any, Any]:
    """Await something, with a limit for each piece of code between two waits."""
    steps = awaitable.__await__()
    go_on: Callable[[], Any] = partial(next, steps)
    while True:
        try:
            waited_for = limited(what, go_on)
        except StopIteration as end:
            return end.value
        try:
            got = yield waited_for
        except GeneratorExit:
            _close(steps)
            raise
        except BaseException as thrown:
            go_on = partial(_throw, steps, thrown)
        else:
            go_on = partial(next, steps) if got is None else partial(_send, steps, got)


def _close(steps: Any) -> None:
    if hasattr(steps, "close"):
        steps.close()


def _throw(steps: Any, thrown: BaseException) -> Any:
    if not hasattr(steps, "throw"):
        raise thrown
    return steps.throw(thrown)


def _send(steps: Any, got: Any) -> Any:
    return steps.send(got)
