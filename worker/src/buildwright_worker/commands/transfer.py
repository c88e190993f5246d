"""Commands that move files: "upload" to the master and "download" from it.

*Upload.* A thread reads pieces and hands them to the loop, at most two ahead. It waits while the command's
records do not fit into memory, so that a file is not copied into the spool. With `directory` the thread
writes a tar archive of the directory instead, compressed as `compress` says ("gz" or "bz2"); what is left out
of it (see `trees`) is told on standard error, and counted in the update "left_out".

*Download.* The loop pulls one piece at a time; a thread writes it to a temporary file beside the target,
which takes the target's place when all is there. So the target is whole or as it was, also if the worker
dies. A piece whose master is lost is pulled again from the next one.

`maxsize` bounds both: a longer file ends with exit code 1, an upload after `maxsize` bytes. Of a directory it
bounds the bytes of all files together, however well they compress.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from typing import TYPE_CHECKING, Any, Callable

from buildwright_worker.protocol import Result

from .base import ArgumentError, Command, Context, flag, number, text
from .trees import TreeError, write_archive

if TYPE_CHECKING:
    from buildwright_worker.protocol.worker_events import DataArrived

PIECE = 1 << 18


class _Stopped(Exception):
    """The command was interrupted, or reached its limit."""


class Transfer(Command):
    def __init__(self, context: Context, args: dict[str, Any]) -> None:
        super().__init__(context, args)
        self.path = context.path(text(args, "path"))
        maxsize = number(args, "maxsize")
        self.maxsize = None if maxsize is None else int(maxsize)
        self.failure: str | None = None
        self._began = time.monotonic()

    def _in_loop(self, function: Callable[..., None], *values: Any) -> None:
        self.context.loop.call_soon_threadsafe(function, *values)

    def _end(self, code: int, message: str = "") -> None:
        if message:
            self.context.error(message + "\n")
        elapsed = int((time.monotonic() - self._began) * 1_000_000)
        self.context.finish(Result(code, self.failure, elapsed))


class Upload(Transfer):
    def __init__(self, context: Context, args: dict[str, Any]) -> None:
        super().__init__(context, args)
        self.keepstamp = flag(args, "keepstamp", False)
        self.directory = flag(args, "directory", False)
        self.compress = args.get("compress") or ""
        if self.compress not in ("", "gz", "bz2"):
            raise ArgumentError("compress must be gz or bz2")
        self._permits = threading.Semaphore(2)
        self._owed = 0  # permits to give when there is room

    def start(self) -> None:
        self.context.in_thread(self._run)

    def interrupt(self, failure: str, why: str, *, at_once: bool = False) -> None:
        self.failure = self.failure or failure
        self._permits.release()

    def resume(self) -> None:
        if self.context.spool.overflowed:
            self.context.waiting = True
            return
        for _ in range(self._owed):
            self._permits.release()
        self._owed = 0

    def _run(self) -> None:
        stamp = None
        left_out: list[str] = []
        try:
            outlet = _Outlet(self._send, None if self.directory else self.maxsize)
            try:
                if self.directory:
                    left_out = write_archive(outlet, self.path, self.compress, self.maxsize)
                else:
                    with open(self.path, "rb") as file:
                        status = os.fstat(file.fileno())
                        stamp = [status.st_atime, status.st_mtime] if self.keepstamp else None
                        while data := file.read(PIECE):
                            outlet.write(data)
            finally:
                outlet.flush()
        except (_Stopped, TreeError) as stopped:
            self._in_loop(self._end, 1, str(stopped))
        except OSError as error:
            self._in_loop(self._end, 1, f"can't upload {error.filename or self.path}: {error.strerror}")
        except Exception as error:  # the command must end, whatever it was
            self._in_loop(self._end, 1, f"can't upload {self.path}: {type(error).__name__}: {error}")
        else:
            self._in_loop(self._sent_all, stamp, left_out)

    def _send(self, data: bytes) -> None:
        """In the thread: give a piece to the loop, when it may have one."""
        self._permits.acquire()
        if self.failure is not None:
            raise _Stopped("interrupted")
        self._in_loop(self._piece, data)

    def _piece(self, data: bytes) -> None:
        self.context.block(data)
        self._owed += 1
        self.resume()

    def _sent_all(self, stamp: list[float] | None, left_out: list[str]) -> None:
        if stamp is not None:
            self.context.update("utime", stamp)
        if left_out:
            self.context.error("".join(f"left out {each}\n" for each in left_out))
            self.context.update("left_out", len(left_out))
        self._end(0 if self.failure is None else 1)


class _Outlet:
    """A file to write to that gathers pieces and sends them, up to a limit."""

    def __init__(self, send: Callable[[bytes], None], maxsize: int | None) -> None:
        self._send = send
        self._left = maxsize
        self._pending: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> int:
        size = len(data)
        if self._left is not None and size > self._left:
            self._pending.append(data[: self._left])
            self._left = 0
            raise _Stopped("the file is longer than maxsize: only its beginning was uploaded")
        if self._left is not None:
            self._left -= size
        self._pending.append(data)
        self._size += size
        if self._size >= PIECE:
            self.flush()
        return size

    def flush(self) -> None:
        data, self._pending, self._size = b"".join(self._pending), [], 0
        if data:
            self._send(data)


class Download(Transfer):
    def __init__(self, context: Context, args: dict[str, Any]) -> None:
        super().__init__(context, args)
        mode = number(args, "mode")
        self.mode = None if mode is None else int(mode)
        self._length = min(max(int(number(args, "blocksize") or 0), PIECE), 2 * PIECE)
        self._queue: queue.SimpleQueue[DataArrived | None] = queue.SimpleQueue()

    def start(self) -> None:
        self.context.in_thread(self._run)

    def interrupt(self, failure: str, why: str, *, at_once: bool = False) -> None:
        self.failure = self.failure or failure
        self._queue.put(None)

    def data_arrived(self, data: DataArrived) -> None:
        self._queue.put(data)

    def _run(self) -> None:
        head, tail = os.path.split(self.path)
        part = os.path.join(head, f".{tail[:100]}.{self.context.id}.part")
        try:
            os.makedirs(head, exist_ok=True)
            try:
                self._write(part)
                os.replace(part, self.path)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(part)
        except _Stopped as stopped:
            self._in_loop(self._end, 1, str(stopped))
        except OSError as error:
            self._in_loop(self._end, 1, f"can't write {self.path}: {error.strerror}")
        except Exception as error:  # the command must end, whatever it was
            self._in_loop(self._end, 1, f"can't write {self.path}: {type(error).__name__}: {error}")
        else:
            self._in_loop(self._end, 0)

    def _write(self, part: str) -> None:
        offset = 0
        with open(part, "wb") as file:
            while True:
                self._in_loop(self.context.pull, offset, self._length)
                piece = self._queue.get()
                if piece is None:
                    raise _Stopped("interrupted")
                offset += len(piece.data)
                if self.maxsize is not None and offset > self.maxsize:
                    raise _Stopped(f"the file is longer than maxsize, {self.maxsize} bytes")
                file.write(piece.data)
                if piece.eof:
                    break
            if self.mode is not None:
                os.fchmod(file.fileno(), self.mode)
