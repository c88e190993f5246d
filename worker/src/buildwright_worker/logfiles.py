"""Log files that a command writes beside its output, sent as they grow.

Each file is looked at twice a second, and once more to its end when the command has ended. A file that was
there before the command started is sent from its beginning once it has changed, or with `follow` from where
it ended then. A file that is replaced or has become shorter is sent anew from its beginning. A file that
never appears is no error, and neither is one that can't be read now: it is looked at again.

Like a pipe, a file is not read while the spool is full.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    import asyncio

    from .commands.base import Context

INTERVAL_S = 0.5
READ_SIZE = 1 << 16
READS_PER_LOOK = 16


class _File:
    def __init__(self, name: str, path: str, follow: bool) -> None:
        self.name = name
        self.path = path
        self.offset = 0
        self._follow = follow
        self._fd: int | None = None
        self._inode: int | None = None
        self._before: tuple[int, int, int] | None = None  # what was there before the start, until it changes

    def note_before(self) -> None:
        try:
            status = os.stat(self.path)
        except OSError:
            return
        self._before = (status.st_ino, status.st_size, status.st_mtime_ns)
        if self._follow:
            self._inode = status.st_ino
            self.offset = status.st_size

    def read(self) -> bytes:
        """The next piece; b"" if there is none now."""
        try:
            status = os.stat(self.path)
        except OSError:
            return self._read_open()
        if self._before is not None:
            if (status.st_ino, status.st_size, status.st_mtime_ns) == self._before:
                return b""
            self._before = None
        if status.st_ino != self._inode or status.st_size < self.offset:
            if rest := self._read_open():
                return rest
            self.close()
            self.offset = 0
            self._inode = status.st_ino
        if status.st_size <= self.offset:
            return b""
        if self._fd is None:
            try:
                self._fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                return b""
        return self._read_open()

    def _read_open(self) -> bytes:
        if self._fd is None:
            return b""
        try:
            data = os.pread(self._fd, READ_SIZE, self.offset)
        except OSError:
            return b""
        self.offset += len(data)
        return data

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class FollowedFiles:
    """The log files of one command."""

    def __init__(self, context: Context, files: list[tuple[str, str, bool]]) -> None:
        self._context = context
        self._files = [_File(*file) for file in files]  # (name, path, follow)
        self._timer: asyncio.TimerHandle | None = None
        self._then: Callable[[], None] | None = None  # what to do when all are read to their ends

    @property
    def names(self) -> list[str]:
        return [file.name for file in self._files]

    def start(self) -> None:
        """Before the process starts: note what is there already."""
        for file in self._files:
            file.note_before()
        if self._files:
            self._timer = self._context.loop.call_later(INTERVAL_S, self._look)

    def finish(self, then: Callable[[], None]) -> None:
        """Read all to their ends, however long it takes for want of room, and go on."""
        if not self._files:
            then()
            return
        self._then = then
        self._look()

    def resume(self) -> None:
        if self._timer is None and self._then is not None:
            self._look()

    def _look(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ended = self._then is not None
        for file in self._files:
            for _ in range(READS_PER_LOOK):
                if self._context.spool.full:
                    break
                data = file.read()
                if not data:
                    break
                self._context.output("l", data, file.name)
            else:
                ended = False
        if self._context.spool.full and self._then is not None:
            self._context.waiting = True
        elif ended and self._then is not None:
            for file in self._files:
                file.close()
                self._context.end_stream("l", file.name)
            then, self._then = self._then, None
            then()
        else:
            self._timer = self._context.loop.call_later(0 if self._then else INTERVAL_S, self._look)
