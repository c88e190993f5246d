"""What the program itself calls a defect, and what else it says while it is simulated."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, NoReturn

import structlog

from buildwright.testing.loop import OWNER, VirtualLoop


class Complaints:
    """What the program itself calls a defect: a logged traceback, an exception that nobody took."""

    def __init__(self, loop: VirtualLoop, *, trace: bool) -> None:
        self.found: list[str] = []
        self.lines: list[str] = []
        self._loop = loop
        self._trace = trace
        loop.set_exception_handler(self._unhandled)

    def _unhandled(self, _loop: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is None and "never" not in str(context.get("message")):
            return
        text = "".join(traceback.format_exception(error)) if error is not None else ""
        self.found.append(f"-- {context.get('message')} {text}")

    def processor(self, _logger: Any, method: str, event: MutableMapping[str, Any]) -> NoReturn:
        """What structlog hands its events to."""
        error = event.pop("exc_info", None)
        if error:
            text = traceback.format_exc() if error is True else "".join(traceback.format_exception(error))
            self.found.append(f"-- logged: {event} {text}")
        if self._trace:
            said = event.pop("event")
            rest = " ".join(f"{key}={value!r}" for key, value in event.items())
            self.say(f"{method}: {said} {rest}")
        raise structlog.DropEvent

    def say(self, text: str) -> None:
        """A line of the trace."""
        if self._trace:
            owner = OWNER.get()
            name = owner.name if owner is not None else ""
            self.lines.append(f"{self._loop.time():10.3f} {name:8} {text}")


class _Logged(logging.Handler):
    """The worker's messages."""

    def __init__(self, complaints: Complaints) -> None:
        super().__init__()
        self._complaints = complaints

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            text = "".join(traceback.format_exception(*record.exc_info))
            self._complaints.found.append(f"-- logged: {record.getMessage()} {text}")
        self._complaints.say(f"{record.levelname.lower()}: {record.getMessage()}")


@contextmanager
def listening(complaints: Complaints, *, trace: bool) -> Iterator[None]:
    """Hear what the program says."""
    level = logging.DEBUG if trace else logging.ERROR
    structlog.configure(
        processors=[complaints.processor],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    handler = _Logged(complaints)
    root = logging.getLogger("buildwright_worker")
    before = root.level, root.propagate
    root.addHandler(handler)
    root.setLevel(level)
    root.propagate = False
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before[0])
        root.propagate = before[1]
        structlog.reset_defaults()
