"""From pieces of output to chunks: how a log's bytes are cut, and how its lines are numbered. Pure.

Bytes are bytes: nothing here decodes or looks at single lines. Pieces that follow each other in one stream,
from one origin and within a second, become one chunk of up to 64 KiB; where more than that comes at once it
is cut after a newline if the second half of the 64 KiB has one. So most chunks begin with a line, and none
can grow without limit.

A line belongs to one stream and gets its number when its newline comes, in the order of the newlines over
all streams. Until then the state remembers for the stream in which chunk the line begins, and every chunk
that continues the line carries that number: a reader that wants the line knows where to start. When a log
ends, each half line that is left is completed by an empty chunk, in the order in which these lines began:
the streams' bytes stay exact.

What is made here is stored with :func:`buildwright.store.units.logs.append_work`, which refuses a state
that isn't the log's own; the caller then reads the log's state and begins again from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from buildwright.store.units.logs import Chunk, LogState

CHUNK_SIZE = 64 * 1024
MERGE_WITHIN_US = 1_000_000  # a chunk has one time: it must not lie far from that of any byte in it

STDOUT, STDERR, HEADER = "o", "e", "h"


class Piece(NamedTuple):
    """Some output as it came."""

    stream: str
    time_us: int
    origin: str
    content: bytes


def split(state: LogState, pieces: Iterable[Piece]) -> tuple[list[Chunk], LogState]:
    """The chunks that the pieces become after ``state``, and the state after them."""
    seq, lines, offset, opened = state
    open_lines = dict(opened)
    chunks: list[Chunk] = []
    for stream, time_us, origin, content in _merged(pieces):
        for part in _cut(content):
            newlines = part.count(b"\n")
            line_from = open_lines.get(stream, seq)
            chunks.append(Chunk(seq, offset, lines, newlines, line_from, stream, time_us, origin, part))
            if newlines:
                # Deleting first keeps the mapping in the order in which the lines began.
                open_lines.pop(stream, None)
                if not part.endswith(b"\n"):
                    open_lines[stream] = seq
            else:
                open_lines.setdefault(stream, seq)
            seq += 1
            lines += newlines
            offset += len(part)
    return chunks, LogState(seq, lines, offset, open_lines)


def finish(state: LogState, time_us: int) -> tuple[list[Chunk], LogState]:
    """The empty chunks that complete what half lines the log ends with, and its last state."""
    seq, lines, length, open_lines = state
    began = sorted(open_lines.items(), key=lambda item: item[1])
    chunks = [
        Chunk(seq + i, length, lines + i, 1, line_from, stream, time_us, "", b"")
        for i, (stream, line_from) in enumerate(began)
    ]
    return chunks, LogState(seq + len(chunks), lines + len(chunks), length, {})


def _merged(pieces: Iterable[Piece]) -> Iterable[Piece]:
    """Runs of pieces that may share chunks, joined."""
    run: list[bytes] = []
    head: Piece | None = None
    for piece in pieces:
        if not piece.content:
            continue
        if (
            head is not None
            and piece.stream == head.stream
            and piece.origin == head.origin
            and abs(piece.time_us - head.time_us) < MERGE_WITHIN_US
        ):
            run.append(piece.content)
            continue
        if head is not None:
            yield head._replace(content=b"".join(run))
        head, run = piece, [piece.content]
    if head is not None:
        yield head._replace(content=b"".join(run))


def _cut(content: bytes) -> Iterable[bytes]:
    left = len(content)
    if left <= CHUNK_SIZE:
        yield content
        return
    start = 0
    while left > CHUNK_SIZE:
        end = content.rfind(b"\n", start + CHUNK_SIZE // 2, start + CHUNK_SIZE) + 1 or start + CHUNK_SIZE
        yield content[start:end]
        left -= end - start
        start = end
    yield content[start:]
