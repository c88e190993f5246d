"""Reading logs, wherever their bytes are.

One reader stands before both tiers. It asks the database for chunks and, after them, for the log's row; if
the row says that the log is in chunks, those were whole, else the row has the index of the sealed blob and
the reader goes there. A blob that isn't there (the log expired in between) makes it look at the row once
more. So a reader meets no gap while a log is being sealed, and an expired log answers :class:`Expired`, not
half of something.

A range of lines costs one look-up and the chunks or frames that hold its bytes. Whole logs stream in
windows of about 2 MiB, of which one is in memory at a time; also where a
single line is longer than memory.

Who shows a log or searches it reads *stretches*: lines as far as they fit into some room, the beginning of
those that are too long. A stretch costs about the same wherever it is and however long the log, so one can
jump about in millions of lines. What is CPU work on its way happens in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

from buildwright.logs.blobs import BlobStore
from buildwright.logs.errors import BlobMissing, Expired, LogDamaged, NoSuchLog
from buildwright.logs.frames import FORMAT, FrameDamaged, Index, neighbours
from buildwright.logs.lines import Line, LogLine, PartMissing, assemble, shown
from buildwright.store.base import Store
from buildwright.store.units import logs as units
from buildwright.store.units import logstretches
from buildwright.store.units.logs import Chunk, LogRow
from buildwright.store.units.logstretches import Gap, HalfLine

T = TypeVar("T")

WINDOW_FRAMES = 8
HALF_LINE_BYTES = 1024 * 1024  # a half line longer than this is read again when it is complete
IN_A_THREAD = 64 * 1024  # bytes of which a stretch is assembled in a thread, not in the loop


class Stretch(NamedTuple):
    """What ``read`` made of the chunks with the lines first..end-1, and the log's row."""

    log: LogRow
    first: int
    end: int
    found: Any


class Page(NamedTuple):
    """Lines from number ``first`` on, as they are shown."""

    log: LogRow
    first: int
    lines: list[LogLine]


# Chunks, the first line and the one after the last, how much of a line to keep, what is missing of lines.
Reading = Callable[[list[Chunk], int, int, int, Mapping[int, Gap]], Any]


class Tail(NamedTuple):
    """What a follower gets: chunks, half lines included; where to go on; whether anything can come after."""

    chunks: list[Chunk]
    next_seq: int
    num_lines: int  # of the whole log
    complete: bool


class _Sealed(NamedTuple):
    log: LogRow
    key: str
    frames: Index


class _Window(NamedTuple):
    log: LogRow
    chunks: list[Chunk]
    next_seq: int
    sealed: _Sealed | None  # where it came from, for the window after it


class LogReader:
    """Reads logs of any tier. Raises what :mod:`buildwright.logs.errors` lists."""

    def __init__(self, store: Store, blobs: BlobStore) -> None:
        self._store = store
        self._blobs = blobs

    async def log(self, logid: int) -> LogRow:
        """The log's row, also of an expired one."""
        log = await self._store.browse(units.get_log(logid))
        if log is None:
            raise NoSuchLog(logid)
        return log

    async def count(self, logid: int) -> int:
        """How many lines the log has; half lines of a running log are not among them."""
        return (await self.log(logid)).num_lines

    async def lines(self, logid: int, first: int, count: int) -> list[Line]:
        """The lines from number ``first`` (from 0) on, up to ``count``, as far as there are."""
        first = max(first, 0)
        end = first + max(count, 0)

        async def look() -> tuple[LogRow, list[Line]]:
            row, chunks = await self._store.browse(units.read_lines(logid, first, end))
            log = _readable(logid, row)
            return log, self._assemble(log, chunks, first, end) if log.tier in units.IN_CHUNKS else []

        async def unseal(sealed: _Sealed) -> list[Line]:
            frames = sealed.frames.frames_of_lines(first, min(end, sealed.log.num_lines))
            lines = self._assemble(sealed.log, await self._unpack(sealed, frames), first, end)
            if len(lines) != max(0, min(end, sealed.log.num_lines) - first):
                raise LogDamaged(logid, "its blob has fewer lines than its index says")
            return lines

        return await self._find(look, unseal)

    async def page(self, logid: int, first: int, count: int, *, room: int, longest: int) -> Page:
        """Lines from number ``first`` on, at least one if there is one: up to ``count``, up to where about
        ``room`` bytes are full. A line longer than ``longest`` is cut. Negative numbers count from the end.
        """
        if first < 0:
            first = max(first + await self.count(logid), 0)
        stretch = await self.stretch(logid, first, first + count, shown, room=room, longest=longest)
        return Page(stretch.log, first, stretch.found)

    async def half_lines(self, logid: int, longest: int) -> list[HalfLine]:
        """What a running log has after its last newlines; of each up to ``longest`` bytes, its last ones."""
        return await self._store.browse(logstretches.read_half_lines(logid, longest))

    async def stretch(
        self,
        logid: int,
        first: int,
        end: int,
        read: Reading,
        *,
        room: int,
        longest: int,
        backward: bool = False,
    ) -> Stretch:
        """What ``read`` makes of the lines from ``first`` on, or up to ``end`` if ``backward``, as many as
        fit. Of a line that spans chunks ``longest`` bytes are sure to be there.
        """

        async def look() -> tuple[LogRow, Stretch]:
            row, chunks, begin, stop, left_out = await self._store.browse(
                logstretches.read_stretch(logid, first, end, room, longest, backward)
            )
            log = _readable(logid, row)
            if log.tier not in units.IN_CHUNKS:
                return log, Stretch(log, begin, begin, None)
            work = partial(_apply, read, log, chunks, begin, stop, longest, left_out)
            if sum(len(chunk.content) for chunk in chunks) < IN_A_THREAD:
                return log, work()
            return log, await asyncio.to_thread(work)

        async def unseal(sealed: _Sealed) -> Stretch:
            index = sealed.frames
            frames, begin, stop, omitted = index.stretch(first, end, room, longest, backward=backward)
            chunks = await self._unpack(sealed, frames)
            left_out: dict[int, Gap] = {}
            for line, omitted_frames in omitted.items():
                more, gap = await self._rest(sealed, chunks, line, omitted_frames, longest)
                chunks = sorted(chunks + more)
                if gap is not None:
                    left_out[line] = gap
            return await asyncio.to_thread(_apply, read, sealed.log, chunks, begin, stop, longest, left_out)

        return await self._find(look, unseal)

    async def _rest(
        self, sealed: _Sealed, chunks: list[Chunk], line: int, frames: list[int], longest: int
    ) -> tuple[list[Chunk], Gap | None]:
        """What these frames have of a line, as far as ``longest`` bytes of it aren't there yet; of the others
        only how much it is.
        """
        index = sealed.frames
        begin = next(chunk for chunk in chunks if chunk.num_lines and chunk.first_line == line).line_from
        here = [
            (chunk.seq, len(chunk.content) - chunk.content.rfind(b"\n") - 1)
            for chunk in chunks
            if chunk.seq == begin or (chunk.line_from == begin and not chunk.num_lines)
        ]
        more: list[Chunk] = []
        left = list(frames)
        while left and sum(size for seq, size in here if seq < index.first_seq[left[0]]) < longest:
            parts = await self._parts(sealed, left.pop(0), begin)
            more += parts
            here += [(part.seq, len(part.content)) for part in parts]
        if not left:
            return more, None
        missing = 0
        for frame in left:
            known = index.content_of(frame)
            if known is None:
                known = sum(len(part.content) for part in await self._parts(sealed, frame, begin))
            missing += known
        return more, Gap(index.first_seq[left[0]], missing)

    async def _parts(self, sealed: _Sealed, frame: int, begin: int) -> list[Chunk]:
        """The chunks of a frame that only continue the line which begins in chunk ``begin``."""
        return [
            chunk
            for chunk in await self._unpack(sealed, [frame])
            if chunk.line_from == begin and chunk.seq != begin and not chunk.num_lines
        ]

    async def raw(self, logid: int, stream: str | None = None) -> AsyncIterator[bytes]:
        """The log as it is now: the exact bytes of one stream, or the lines of all streams in their order.

        All streams together end each line with its newline; half lines come last, in the order in which they
        began, parted by a newline. A log of one stream gives exactly its bytes either way.
        """
        if stream is None:
            async for data in self._merged(logid):
                yield data
            return
        async for window in self._windows(logid, 0, stream):
            if window.chunks:
                yield b"".join([chunk.content for chunk in window.chunks])

    async def tail(self, logid: int, from_seq: int) -> Tail:
        """Chunks from ``from_seq`` on, about 2 MiB at most. Ask again from ``next_seq`` at the log's news."""
        log, chunks, next_seq, _sealed = await self._window(logid, from_seq, None, None)
        return Tail(chunks, next_seq, log.num_lines, bool(log.complete) and next_seq >= log.next_chunk)

    # -- streaming -----------------------------------------------------------------------------------------

    async def _merged(self, logid: int) -> AsyncIterator[bytes]:
        halves: dict[str, _Half] = {}
        owed = False  # a completed half line gets its newline only when something follows
        end = 0
        async for window in self._windows(logid, 0, None):
            out: list[bytes] = []
            end = window.next_seq
            for chunk in window.chunks:
                half = halves.get(chunk.stream)
                if not chunk.num_lines:
                    if half is None:
                        half = halves[chunk.stream] = _Half(chunk.seq, chunk.stream)
                    half.add(chunk.content)
                    continue
                if owed:
                    out.append(b"\n")
                    owed = False
                if half is not None:
                    del halves[chunk.stream]
                    if half.parts is None:
                        yield b"".join(out)
                        out = []
                        async for part in self._again(logid, half, chunk.seq):
                            yield part
                    else:
                        out += half.parts
                if not chunk.content:
                    owed = True
                    continue
                cut = chunk.content.rfind(b"\n") + 1
                out.append(chunk.content[:cut])
                if cut < len(chunk.content):
                    half = halves[chunk.stream] = _Half(chunk.seq, chunk.stream)
                    half.add(chunk.content[cut:])
            if out:
                yield b"".join(out)
        for half in sorted(halves.values(), key=lambda half: half.seq):
            if owed:
                yield b"\n"
            owed = True
            async for part in self._again(logid, half, end):
                yield part

    async def _again(self, logid: int, half: _Half, end: int) -> AsyncIterator[bytes]:
        """The bytes of a half line, read again if they were too many to keep."""
        if half.parts is not None:
            yield b"".join(half.parts)
            return
        async for window in self._windows(logid, half.seq, half.stream, end):
            for chunk in window.chunks:
                if chunk.seq < end:
                    yield chunk.content[chunk.content.rfind(b"\n") + 1 :]

    async def _windows(
        self, logid: int, seq: int, stream: str | None, stop: int | None = None
    ) -> AsyncIterator[_Window]:
        """The log's windows from ``seq`` on, up to where it ends now or to ``stop``."""
        sealed: _Sealed | None = None
        while stop is None or seq < stop:
            window = await self._window(logid, seq, stream, sealed)
            yield window
            sealed = window.sealed
            # A first look may come before the first chunk and its row after it; a second must find it.
            if window.next_seq == seq and stop is not None:
                raise LogDamaged(logid, f"chunk {seq} is missing")
            if stop is None:
                stop = window.log.next_chunk
            seq = window.next_seq

    # -- the two tiers -------------------------------------------------------------------------------------

    async def _window(self, logid: int, seq: int, stream: str | None, known: _Sealed | None) -> _Window:
        async def look() -> tuple[LogRow, _Window]:
            window = await self._store.browse(units.read_window(logid, seq, stream))
            log = _readable(logid, window.log)
            return log, _Window(log, window.chunks, window.next_seq, None)

        async def unseal(sealed: _Sealed) -> _Window:
            frames, next_seq = sealed.frames.frames_from(seq, stream, WINDOW_FRAMES)
            chunks = await self._unpack(sealed, frames)
            wanted = [c for c in chunks if c.seq >= seq and (stream is None or c.stream == stream)]
            return _Window(sealed.log, wanted, max(seq, next_seq), sealed)

        if known is not None:
            try:
                return await unseal(known)
            except BlobMissing:
                pass  # the row says why
        return await self._find(look, unseal)

    async def _find(
        self,
        look: Callable[[], Awaitable[tuple[LogRow, T]]],
        unseal: Callable[[_Sealed], Awaitable[T]],
    ) -> T:
        """What ``look`` finds in chunks, or ``unseal`` in the blob; if that is missing, look again, once."""
        missed = False
        while True:
            log, found = await look()
            if log.tier in units.IN_CHUNKS:
                return found
            try:
                return await unseal(_sealed(log))
            except BlobMissing:
                if missed:
                    raise
                missed = True

    async def _unpack(self, sealed: _Sealed, frames: list[int]) -> list[Chunk]:
        chunks: list[Chunk] = []
        starts = sealed.frames.starts
        for run in neighbours(frames):
            begin = starts[run[0]]
            data = await self._blobs.get(sealed.key, begin, starts[run[-1] + 1] - begin)
            chunks += await asyncio.to_thread(_unpack_run, sealed, run, data)
        return chunks

    def _assemble(self, log: LogRow, chunks: list[Chunk], first: int, end: int) -> list[Line]:
        try:
            return assemble(chunks, first, end)
        except PartMissing as part:
            raise LogDamaged(log.id, f"the line that begins in chunk {part} is not whole") from part


@dataclass(slots=True)
class _Half:
    """A line whose newline has not come yet."""

    seq: int  # where it begins
    stream: str
    parts: list[bytes] | None = None  # None: nothing yet, or too long to keep
    size: int = 0

    def add(self, content: bytes) -> None:
        if self.size == 0:
            self.parts = []
        self.size += len(content)
        if self.parts is not None:
            if self.size <= HALF_LINE_BYTES:
                self.parts.append(content)
            else:
                self.parts = None


def _apply(
    read: Reading,
    log: LogRow,
    chunks: list[Chunk],
    first: int,
    end: int,
    longest: int,
    left_out: Mapping[int, Gap],
) -> Stretch:
    try:
        return Stretch(log, first, end, read(chunks, first, end, longest, left_out))
    except PartMissing as part:
        raise LogDamaged(log.id, f"the line that begins in chunk {part} is not whole") from part


def _readable(logid: int, log: LogRow | None) -> LogRow:
    if log is None:
        raise NoSuchLog(logid)
    if log.expired_at is not None:
        raise Expired(logid, log.expired_at)
    return log


def _sealed(log: LogRow) -> _Sealed:
    if log.blob is None or log.frames is None:
        raise LogDamaged(log.id, f"it is {log.tier} and has no index")
    index = Index.decode(log.frames)
    if index.format != FORMAT:
        raise LogDamaged(log.id, f"its blob has format {index.format}, and this version reads {FORMAT}")
    return _Sealed(log, log.blob, index)


def _unpack_run(sealed: _Sealed, frames: list[int], data: bytes) -> list[Chunk]:
    view = memoryview(data)
    starts = sealed.frames.starts
    chunks: list[Chunk] = []
    for frame in frames:
        begin, end = starts[frame] - starts[frames[0]], starts[frame + 1] - starts[frames[0]]
        try:
            chunks += sealed.frames.unpack(frame, view[begin:end])
        except FrameDamaged as damage:
            raise LogDamaged(sealed.log.id, f"blob {sealed.key}: {damage}") from damage
    return chunks
