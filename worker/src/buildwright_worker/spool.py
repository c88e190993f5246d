"""Where records wait until the master has committed them: in memory first, then on disk, without loss.

A command's records are a queue: `head` in memory up to a limit, then `segments` on disk of 16 MiB each,
then `tail`. While anything is on disk, new records go there, so the order is the place. The tail is what
could not be written: it takes what was already read from the command when the disk was found full, or the
worker's limit reached. As long as a spool has a tail it is `full`, and whoever feeds it stops reading the
command's pipe; nothing is dropped. `SpoolSpace.retry` tries again: it is called whenever something was
dropped, and now and then.

Segments are unlinked as soon as they are open. A worker process that dies leaves no file behind, and the
records of its commands are of no use to anybody: the commands are lost.
"""

from __future__ import annotations

import contextlib
import os
import struct
from typing import TYPE_CHECKING

from . import posix

if TYPE_CHECKING:
    from pathlib import Path

MEMORY_LIMIT = 1 << 20  # bytes of a command
DISK_LIMIT = 1 << 30  # bytes of a worker
SEGMENT = 1 << 24
INDEX_EVERY = 1 << 18
_LENGTH = struct.Struct("<I")
_BLOCK = 1 << 17  # longer than the longest record


class SpoolSpace:
    """What the spools of one worker share: the directory, and how much of the disk they may use."""

    def __init__(
        self, directory: Path, *, disk_limit: int = DISK_LIMIT, memory_limit: int = MEMORY_LIMIT
    ) -> None:
        self.directory = directory
        self.memory_limit = memory_limit
        self.used = 0
        self.why = ""  # why the last write was not done, while any spool is full
        self._disk_limit = disk_limit
        self._full: dict[Spool, None] = {}

    def spool(self) -> Spool:
        return Spool(self)

    @property
    def full(self) -> bool:
        return bool(self._full)

    def retry(self) -> bool:
        """Write what was left over; whether no spool is full any more."""
        for spool in list(self._full):
            spool.flush()
        return not self._full

    def take(self, size: int) -> None:
        """Account for bytes that are about to be written. Raises OSError if they are too many."""
        if self.used + size > self._disk_limit:
            raise OSError(f"the spool has reached its limit of {self._disk_limit >> 20} MiB")
        self.used += size

    def note(self, spool: Spool, why: str | None) -> None:
        """A spool is full for this reason, or not any more."""
        if why is not None:
            self._full[spool] = None
            self.why = why
        else:
            self._full.pop(spool, None)
            if not self._full:
                self.why = ""


class _Segment:
    """Part of the queue in an unlinked file: records, each behind its length."""

    def __init__(self, directory: Path, first: int) -> None:
        self.first = first
        self.next = first
        self.size = 0
        self.index = [(first, 0)]  # (record, its offset), ascending, one every INDEX_EVERY bytes
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / os.urandom(16).hex()
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        path.unlink()

    def append(self, records: list[bytes]) -> None:
        """All of the records or, with an OSError, none."""
        data = b"".join([part for record in records for part in (_LENGTH.pack(len(record)), record)])
        try:
            posix.write_all(self.fd, data, self.size)
        except OSError:
            os.ftruncate(self.fd, self.size)
            raise
        if self.size - self.index[-1][1] >= INDEX_EVERY:
            self.index.append((self.next, self.size))
        self.next += len(records)
        self.size += len(data)

    def offset(self, number: int) -> tuple[int, int]:
        """A record at or before this one, and its offset."""
        return max(entry for entry in self.index if entry[0] <= number)

    def read(self, number: int, offset: int, start: int, budget: int) -> tuple[list[bytes], int]:
        """Records from `start` on, of at most `budget` bytes but at least one; and the offset behind them.

        `number` is a record at or before `start`, `offset` its place.
        """
        chosen: list[bytes] = []
        block = b""
        at = 0
        while number < self.next:
            need = _LENGTH.unpack_from(block, at)[0] + 4 if at + 4 <= len(block) else 4
            if at + need > len(block):
                offset += at
                block, at = os.pread(self.fd, max(_BLOCK, min(budget, SEGMENT)), offset), 0
                continue
            if number >= start:
                budget -= need - 4
                if chosen and budget < 0:
                    break
                chosen.append(block[at + 4 : at + need])
            number += 1
            at += need
        return chosen, offset + at


class Spool:
    """The records of one command (a `RecordStore`)."""

    def __init__(self, space: SpoolSpace) -> None:
        self.first = 0
        self.next = 0
        self._space = space
        self._head: list[bytes] = []
        self._gone = 0  # records of the head that were dropped: the list is shortened now and then
        self._head_bytes = 0
        self._segments: list[_Segment] = []
        self._tail: list[bytes] = []
        self._place = (0, 0)  # where the last reading of a segment ended: (record, offset)

    @property
    def full(self) -> bool:
        """Whether the command must not be read."""
        return bool(self._tail)

    @property
    def overflowed(self) -> bool:
        """Whether memory did not suffice: what could as well be read later should be."""
        return bool(self._segments or self._tail)

    def append(self, packed: bytes) -> None:
        self.next += 1
        if self._segments or self._tail or self._head_bytes + len(packed) > self._space.memory_limit:
            self._tail.append(packed)
            self.flush()
        else:
            self._head.append(packed)
            self._head_bytes += len(packed)

    def flush(self) -> None:
        """Try to write what is in the tail."""
        if not self._tail:
            self._space.note(self, None)
            return
        size = sum(map(len, self._tail)) + 4 * len(self._tail)
        try:
            self._space.take(size)
            try:
                self._writable_segment().append(self._tail)
            except OSError:
                self._space.used -= size
                raise
        except OSError as error:
            self._space.note(self, error.strerror or str(error))
        else:
            self._tail = []
            self._space.note(self, None)

    def read(self, start: int, budget: int) -> list[bytes]:
        index = start - self.first + self._gone
        if index < len(self._head):
            return _first_of(self._head, index, budget)
        for segment in self._segments:
            if segment.first <= start < segment.next:
                at, offset = self._place if self._place[0] == start else segment.offset(start)
                if start == segment.first:
                    at, offset = start, 0
                chosen, behind = segment.read(at, offset, start, budget)
                self._place = (start + len(chosen), behind)
                return chosen
        return _first_of(self._tail, start - (self.next - len(self._tail)), budget)

    def drop(self, next: int) -> None:
        in_head = min(next - self.first, len(self._head) - self._gone)
        if in_head > 0:
            self._head_bytes -= sum(map(len, self._head[self._gone : self._gone + in_head]))
            self._gone += in_head
            if self._gone * 2 > len(self._head):
                del self._head[: self._gone]
                self._gone = 0
        while self._segments and self._segments[0].next <= next:
            self._release(self._segments.pop(0))
        tail_first = self.next - len(self._tail)
        if next > tail_first:
            del self._tail[: next - tail_first]
        self.first = max(self.first, next)
        if self._tail and not self._segments:
            self._tail_into_head()
        if not self._tail:
            self._space.note(self, None)

    def close(self) -> None:
        self.drop(self.next)

    def _tail_into_head(self) -> None:
        size = sum(map(len, self._tail))
        if self._head_bytes + size <= self._space.memory_limit:
            self._head += self._tail
            self._head_bytes += size
            self._tail = []

    def _writable_segment(self) -> _Segment:
        if not self._segments or self._segments[-1].size >= SEGMENT:
            self._segments.append(_Segment(self._space.directory, self.next - len(self._tail)))
        return self._segments[-1]

    def _release(self, segment: _Segment) -> None:
        self._space.used -= segment.size
        with contextlib.suppress(OSError):
            os.close(segment.fd)


def _first_of(records: list[bytes], index: int, budget: int) -> list[bytes]:
    end = index
    while end < len(records):
        budget -= len(records[end])
        if budget < 0 and end > index:
            break
        end += 1
    return records[index:end]
