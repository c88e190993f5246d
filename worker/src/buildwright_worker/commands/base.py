"""What all commands share: their arguments, their way to the spool, and the work that blocks.

A command is made from its arguments (`ArgumentError` says what is wrong with them), started once, and ends
with exactly one `Context.finish`. All of it happens in the loop; what blocks runs in a thread of its own
(`in_thread`), a daemon, so that a file system that hangs does not keep the worker from ending.

`Context` is a command's only way out. It masks what goes to the spool, and cuts it into records. When the
spool is full the command stops producing and sets `Context.waiting`; `resume` is called once there is room.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any, Callable

from buildwright_worker import posix
from buildwright_worker.protocol import MAX_RECORD_DATA, Masker, Result

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from buildwright_worker.directories import Use
    from buildwright_worker.protocol.worker_events import DataArrived
    from buildwright_worker.spool import Spool


class ArgumentError(Exception):
    """A command's arguments make no sense."""


class Context:
    """One command's surroundings. The functions are the worker's: see `agent`."""

    def __init__(
        self,
        *,
        id: str,
        loop: asyncio.AbstractEventLoop,
        basedir: str,
        private: str,
        use: Use,
        environ: dict[str, str],
        marker: str,
        masker: Masker,
        spool: Spool,
        append: Callable[[str, int, Any, str, bool], None],
        finish: Callable[[int, Result], None],
        started: Callable[[int], None],
        pull: Callable[[int, int], None],
        task: Callable[[Any], None],
    ) -> None:
        self.id = id
        self.loop = loop
        self.basedir = basedir
        self.use = use
        self.private = private  # the directory of this command's private files, which it makes if it has any
        self.environ = environ
        self.marker = marker
        self.masker = masker
        self.spool = spool
        self.started = started  # note the process in the ledger: (pid)
        self.pull = pull  # ask for bytes of a download: (offset, length)
        self.task = task  # run a coroutine; its failure ends the command
        self.waiting = False  # the command wants `resume` when there is room
        self._append = append
        self._finish = finish
        self._streams: dict[tuple[str, str], None] = {}  # those that may hold back bytes

    def path(self, name: str) -> str:
        """A path as commands give it: `~` expanded, relative to the worker's directory."""
        path = os.path.join(self.basedir, posix.user_directory(name))
        self.use.add(path)
        return path

    def output(self, kind: str, data: bytes, name: str = "") -> None:
        """Bytes of a stream."""
        if self.masker.active:
            self._streams[kind, name] = None
            data = self.masker.feed(f"{kind}{name}", data)
        self._pieces(kind, data, name)

    def end_stream(self, kind: str, name: str = "") -> None:
        """The stream has ended: what was held back can be shown."""
        if (kind, name) in self._streams:
            del self._streams[kind, name]
            self._pieces(kind, self.masker.flush(f"{kind}{name}"), name)

    def header(self, text: str, *, urgent: bool = True) -> None:
        """A whole text for the header stream. What is not urgent may wait a moment for what follows it."""
        data = self.masker.mask(text.encode("utf-8", "surrogateescape"))
        self._pieces("h", data, "", urgent=urgent)

    def error(self, text: str) -> None:
        """A whole text for the standard error stream."""
        self._pieces("e", self.masker.mask(text.encode("utf-8", "surrogateescape")), "")

    def block(self, data: bytes) -> None:
        """Bytes of a file: not masked, a file must arrive as it is."""
        self._pieces("b", data, "")

    def update(self, key: str, value: Any) -> None:
        self._append("u", _now_us(), self.masker.mask_value(value), key, True)

    def update_list(self, key: str, values: Iterable[str]) -> None:
        """A list of texts of any length, in as many updates as it takes."""
        part: list[str] = []
        size = 0
        for value in values:
            size += 8 + len(value) * 4
            if size > MAX_RECORD_DATA and part:
                self.update(key, part)
                part, size = [], 8 + len(value) * 4
            part.append(value)
        self.update(key, part)

    def finish(self, result: Result) -> None:
        """The end. Nothing may follow."""
        for kind, name in list(self._streams):
            self.end_stream(kind, name)
        if result.error is not None:
            result = result._replace(error=self.masker.mask_text(result.error))
        self._finish(_now_us(), result)

    def in_thread(self, work: Callable[[], None]) -> None:
        """Run what blocks. It speaks to the loop with `loop.call_soon_threadsafe`."""
        threading.Thread(target=work, name=f"command-{self.id}", daemon=True).start()

    def _pieces(self, kind: str, data: bytes, name: str, *, urgent: bool = True) -> None:
        if not data:
            return
        now = _now_us()
        if len(data) <= MAX_RECORD_DATA:
            self._append(kind, now, data, name, urgent)
            return
        for start in range(0, len(data), MAX_RECORD_DATA):
            self._append(kind, now, data[start : start + MAX_RECORD_DATA], name, urgent)


class Command:
    """The base of all commands."""

    def __init__(self, context: Context, args: dict[str, Any]) -> None:  # for those who override it
        self.context = context

    def start(self) -> None:
        raise AssertionError("every command has a start")

    def interrupt(self, failure: str, why: str, *, at_once: bool = False) -> None:
        """End early, with this failure. At once: without the gentle signals first."""

    def resume(self) -> None:
        """There is room again."""

    def data_arrived(self, data: DataArrived) -> None:
        """The answer to `Context.pull`."""


# Reading arguments


def text(args: dict[str, Any], name: str, default: str | None = None) -> str:
    value = args.get(name, default)
    if not isinstance(value, str) or "\0" in value:
        raise ArgumentError(f"{name} must be text, not {_kind(value)}")
    return value


def texts(args: dict[str, Any], name: str) -> list[str]:
    """A list of texts; one text stands for a list of one."""
    value = args.get(name)
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(one, str) and "\0" not in one for one in values):
        raise ArgumentError(f"{name} must be a list of texts")
    if not values:
        raise ArgumentError(f"{name} must not be empty")
    return values


def flag(args: dict[str, Any], name: str, default: bool) -> bool:
    value = args.get(name)
    if value is None:
        return default
    if not isinstance(value, (bool, int)):
        raise ArgumentError(f"{name} must be true or false, not {_kind(value)}")
    return bool(value)


def number(args: dict[str, Any], name: str) -> float | None:
    """A number, or None for none."""
    value = args.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise ArgumentError(f"{name} must be a number that is not negative, not {_kind(value)}")
    return value


def _kind(value: object) -> str:
    return "missing" if value is None else type(value).__name__


def _now_us() -> int:
    return time.time_ns() // 1000
