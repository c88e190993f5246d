"""The form of a sealed log: zstd frames that can be read one by one, and an index that says which. Pure.

A blob is a sequence of frames, each an independent zstd frame with a checksum; inside is a msgpack array of
chunk records, the same nine values that the database held, so streams, line numbers, times and origins
survive as they were. A frame takes chunks until it holds about 256 KiB.

The index lists per frame where it lies in the blob, with which chunk, line and byte of the log it begins
and which streams it has; and, for each line that ends in another frame than it began in, the frames that
hold its earlier parts. So any range of lines is one search in the index and the frames that hold its bytes,
whatever other streams wrote in between.

The writer checks what it is given: a chunk that doesn't continue the one before it is refused, so a damaged
or half read log is never sealed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec
from backports import zstd

from buildwright.store.units.logs import Chunk

FORMAT = 1
FRAME_SIZE = 256 * 1024
LEVEL = 3
_RECORD = 40  # about what a record needs beside its content

_OPTIONS: dict[int, int] = {
    zstd.CompressionParameter.compression_level: LEVEL,
    zstd.CompressionParameter.checksum_flag: 1,
}

_records = msgspec.msgpack.Decoder(list[Chunk])


class Discontinuity(Exception):
    """Chunks that don't follow each other."""


class FrameDamaged(Exception):
    """A frame that doesn't unpack to what the index says of it."""


class Stretch(NamedTuple):
    """Frames with the lines first..end-1; ``omitted`` has, by line, frames with parts that are not here."""

    frames: list[int]
    first: int
    end: int
    omitted: dict[int, list[int]]


class Index(msgspec.Struct, array_like=True):
    """Where what is in a blob. The lists have an item per frame."""

    format: int
    starts: list[int]  # the frame's first byte in the blob; one item more: the blob's size
    first_seq: list[int]  # one item more: the log's next chunk
    first_line: list[int]  # one item more: the log's number of lines
    first_offset: list[int]
    streams: list[str]
    carried: list[
        tuple[int, list[int]]
    ]  # lines that span frames: their number, the frames with their earlier parts

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Index:
        return _index.decode(data)

    def frames_of_lines(self, first: int, end: int) -> list[int]:
        """The frames that hold the lines first..end-1, in order."""
        lines = self.first_line
        low = max(bisect_right(lines, first) - 1, 0)
        high = bisect_left(lines, end, 0, len(self.streams))
        frames = {frame for frame in range(low, high) if lines[frame] < lines[frame + 1]}
        carried = bisect_left(self.carried, first, key=_line)
        while carried < len(self.carried) and self.carried[carried][0] < end:
            frames.update(self.carried[carried][1])
            carried += 1
        return sorted(frames)

    def stretch(self, first: int, end: int, room: int, longest: int, *, backward: bool = False) -> Stretch:
        """The frames for lines from ``first`` on, or up to ``end`` if ``backward``, as many as ``room`` bytes
        take. Of a line's earlier frames only the first ones are among them, enough for ``longest`` bytes
        if other streams have nothing in them.
        """
        count, parts = room // FRAME_SIZE + 1, longest // FRAME_SIZE + 2
        lines, total = self.first_line, len(self.streams)
        first, end = max(first, 0), min(end, lines[total])
        if first >= end:
            return Stretch([], first, first, {})
        low, high = bisect_right(lines, first) - 1, bisect_left(lines, end)
        order = range(high - 1, low - 1, -1) if backward else range(low, high)
        completing = sorted(islice((at for at in order if lines[at] < lines[at + 1]), count))
        first = max(first, lines[completing[0]])
        end = min(end, lines[completing[-1] + 1])
        frames = set(completing)
        omitted: dict[int, list[int]] = {}
        carried = bisect_left(self.carried, first, key=_line)
        while carried < len(self.carried) and self.carried[carried][0] < end:
            line, earlier = self.carried[carried]
            frames.update(earlier[:parts])
            if len(earlier) > parts:
                omitted[line] = earlier[parts:]
            carried += 1
        for line, missing in list(omitted.items()):
            omitted[line] = [frame for frame in missing if frame not in frames]
        return Stretch(sorted(frames), first, end, omitted)

    def content_of(self, frame: int) -> int | None:
        """The bytes that a frame has of its stream, if it is of one stream and not the last."""
        if len(self.streams[frame]) != 1 or frame + 1 >= len(self.streams):
            return None
        return self.first_offset[frame + 1] - self.first_offset[frame]

    def frames_from(self, seq: int, stream: str | None, count: int) -> tuple[list[int], int]:
        """Up to ``count`` neighbouring frames of the stream from ``seq`` on, and the chunk after them."""
        at = max(bisect_right(self.first_seq, seq) - 1, 0)
        frames: list[int] = []
        total = len(self.streams)
        while at < total and len(frames) < count:
            if stream is None or stream in self.streams[at]:
                frames.append(at)
            elif frames:
                break
            at += 1
        return frames, self.first_seq[at]

    def unpack(self, frame: int, data: bytes | memoryview) -> list[Chunk]:
        """The chunks of a frame from its bytes in the blob; raises FrameDamaged."""
        try:
            chunks = _records.decode(zstd.decompress(data))
        except (zstd.ZstdError, msgspec.MsgspecError) as error:
            raise FrameDamaged(f"frame {frame}: {error}") from error
        begin = (self.first_seq[frame], self.first_line[frame], self.first_offset[frame])
        if not chunks or begin != (chunks[0].seq, chunks[0].first_line, chunks[0].offset):
            raise FrameDamaged(f"frame {frame} belongs to another log or place")
        return chunks


_index = msgspec.msgpack.Decoder(Index)


def _line(item: tuple[int, list[int]]) -> int:
    return item[0]


class FrameWriter:
    """Takes a log's chunks from the first to the last and gives frames; then it knows the index."""

    def __init__(self) -> None:
        self._index = Index(FORMAT, [0], [], [], [], [], [])
        self._pending: list[Chunk] = []
        self._size = 0
        self._next = (0, 0, 0)  # chunk, line, offset that must come
        self._open: dict[str, list[int]] = {}  # stream -> frames with parts of its unfinished line

    def add(self, chunks: Iterable[Chunk]) -> list[bytes]:
        """The frames that these chunks fill; raises Discontinuity."""
        frames: list[bytes] = []
        for chunk in chunks:
            if (chunk.seq, chunk.first_line, chunk.offset) != self._next:
                raise Discontinuity(f"chunk {chunk.seq} doesn't follow what comes before it")
            self._next = (
                chunk.seq + 1,
                chunk.first_line + chunk.num_lines,
                chunk.offset + len(chunk.content),
            )
            self._carry(chunk, len(self._index.streams))
            self._pending.append(chunk)
            self._size += len(chunk.content) + _RECORD
            if self._size >= FRAME_SIZE:
                frames.append(self._pack())
        return frames

    def end(self, next_chunk: int, num_lines: int, length: int) -> list[bytes]:
        """The last frame, if something is left; raises Discontinuity unless all of the log has been given."""
        if self._next != (next_chunk, num_lines, length):
            raise Discontinuity(
                f"its chunks end at {self._next}, the log at {(next_chunk, num_lines, length)}"
            )
        frames = [self._pack()] if self._pending else []
        self._index.first_seq.append(next_chunk)
        self._index.first_line.append(num_lines)
        return frames

    def index(self) -> Index:
        """The index; complete after :meth:`end`."""
        return self._index

    def _carry(self, chunk: Chunk, frame: int) -> None:
        if chunk.num_lines:
            parts = self._open.pop(chunk.stream, [])
            if parts and parts[0] != frame:
                self._index.carried.append((chunk.first_line, [part for part in parts if part != frame]))
            if not chunk.content or chunk.content.endswith(b"\n"):
                return
        parts = self._open.setdefault(chunk.stream, [])
        if not parts or parts[-1] != frame:
            parts.append(frame)

    def _pack(self) -> bytes:
        index, pending = self._index, self._pending
        data = zstd.compress(msgspec.msgpack.encode(pending), options=_OPTIONS)
        index.starts.append(index.starts[-1] + len(data))
        index.first_seq.append(pending[0].seq)
        index.first_line.append(pending[0].first_line)
        index.first_offset.append(pending[0].offset)
        index.streams.append("".join(sorted({chunk.stream for chunk in pending})))
        self._pending = []
        self._size = 0
        return data


def neighbours(frames: Sequence[int]) -> list[list[int]]:
    """Frames in order, as runs that lie side by side in the blob."""
    runs: list[list[int]] = []
    for frame in frames:
        if runs and runs[-1][-1] == frame - 1:
            runs[-1].append(frame)
        else:
            runs.append([frame])
    return runs
