"""Stretches of a log that is in chunks: as many lines as fit into some room, whatever they are like.

A reader that shows or searches a log asks for lines and can't know how long they are. So the answer is
bounded by bytes: it says which lines it covers, and the reader asks again for the rest. There is always at
least one line. Of a line that began before the stretch only the beginning is read, up to a number of bytes
that the reader names; how many bytes were left out is counted without reading them.

What :mod:`buildwright.store.units.logs` says of readers holds here as well: chunks first, and the row after
them.
"""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.unit import Statement, Work, unit
from buildwright.store.units import logs
from buildwright.store.units.logs import CHUNK_COLUMNS, Chunk, LogRow

MOST_CHUNKS = 4096
SLACK = 64 * 1024  # the chunk in which a line begins may hold as much of the lines before it
_ZERO: sa.ColumnElement[int] = sa.literal_column("0")

_c = schema.logchunks.c
_at = schema.logchunks.alias("at").c
_LOGID: sa.BindParameter[int] = sa.bindparam("logid")


class Gap(NamedTuple):
    """What is missing of a line: from which chunk on something is, and how many bytes."""

    seq: int
    size: int


class Stretch(NamedTuple):
    """Chunks that hold the lines first..end-1; ``left_out``: what of a line isn't there."""

    log: LogRow | None
    chunks: list[Chunk]
    first: int
    end: int
    left_out: dict[int, Gap]


class HalfLine(NamedTuple):
    """A line without an end: its last bytes, how many it has, and when they came."""

    stream: str
    time_us: int
    text: bytes
    length: int


def _completing(line: str) -> sa.ColumnElement[int]:
    """The last chunk with first_line <= line completes it: others of the same number complete none."""
    found = (
        sa.select(_at.seq)
        .where(_at.logid == _LOGID, _at.first_line <= sa.bindparam(line))
        .order_by(_at.first_line.desc(), _at.seq.desc())
        .limit(sa.literal_column("1"))
    )
    return found.scalar_subquery()


_BOUNDS = Statement(
    "logs.stretch_bounds", lambda _dialect: sa.select(_completing("first"), _completing("last_line"))
)


def _offset_of(seq: str) -> sa.ColumnElement[int]:
    return sa.select(_c.offset).where(_c.logid == _LOGID, _c.seq == sa.bindparam(seq)).scalar_subquery()


_some = (
    sa.select(_at.seq)
    .where(
        _at.logid == _LOGID,
        _at.seq >= sa.bindparam("begin"),
        _at.seq <= sa.bindparam("last"),
        _at.offset < _offset_of("begin") + sa.bindparam("room", type_=sa.Integer),
    )
    .order_by(_at.seq)
    .limit(sa.literal_column(str(MOST_CHUNKS)))
    .subquery("some")
)
_some_back = (
    sa.select(_at.seq)
    .where(
        _at.logid == _LOGID,
        _at.seq >= sa.bindparam("begin"),
        _at.seq <= sa.bindparam("last"),
        _at.offset > _offset_of("last") - sa.bindparam("room", type_=sa.Integer),
    )
    .order_by(_at.seq.desc())
    .limit(sa.literal_column(str(MOST_CHUNKS)))
    .subquery("some_back")
)
_END = Statement("logs.stretch_end", lambda _dialect: sa.select(sa.func.max(_some.c.seq)))
_BEGIN = Statement("logs.stretch_begin", lambda _dialect: sa.select(sa.func.min(_some_back.c.seq)))

# The parts of a line before its last: those that only continue it, and the one in which it begins.
_parts = (
    _c.logid == _LOGID,
    _c.seq >= sa.bindparam("line_from"),
    _c.seq < sa.bindparam("before"),
    _c.stream == sa.bindparam("stream"),
    sa.or_(
        _c.seq == sa.bindparam("line_from"),
        sa.and_(_c.line_from == sa.bindparam("line_from"), _c.num_lines == _ZERO),
    ),
)
_size = sa.func.length(_c.content)
_SIZE = Statement(
    "logs.parts_size",
    lambda _dialect: sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(_size), 0)).where(*_parts),
)
_PARTS = Statement("logs.parts", lambda _dialect: sa.select(*CHUNK_COLUMNS).where(*_parts).order_by(_c.seq))


def _measured(order: sa.ColumnElement[int]) -> sa.Subquery:
    """The parts' numbers, with the bytes of those that come before in the order."""
    before = sa.func.sum(_size).over(order_by=order) - _size
    return sa.select(_c.seq, before.label("passed")).where(*_parts).subquery("measured")


def _bounded(order: sa.ColumnElement[int]) -> sa.Select[tuple[object, ...]]:
    measured = _measured(order)
    near = sa.select(measured.c.seq).where(measured.c.passed < sa.bindparam("room", type_=sa.Integer))
    return sa.select(*CHUNK_COLUMNS).where(*_parts, _c.seq.in_(near)).order_by(_c.seq)


_HEAD = Statement("logs.parts_head", lambda _dialect: _bounded(_c.seq))
_TAIL = Statement("logs.parts_tail", lambda _dialect: _bounded(_c.seq.desc()))


@unit
def read_stretch(logid: int, first: int, end: int, room: int, longest: int, backward: bool) -> Work[Stretch]:
    """The lines from ``first`` on, or up to ``end`` if ``backward``, as many as fit; then the log's row."""
    # Chunks may be dropped between any two of these statements; the row then says that they don't count.
    ((begin, last),) = yield _BOUNDS(logid=logid, first=first, last_line=end - 1)
    if first < end and begin is not None and last is not None:
        if backward:
            ((begin,),) = yield _BEGIN(logid=logid, begin=begin, last=last, room=room)
        else:
            ((last,),) = yield _END(logid=logid, begin=begin, last=last, room=room)
    chunks: list[Chunk] = []
    if first < end and begin is not None and last is not None:
        chunks = yield from logs.chunks_work(logid, begin, last + 1)
    ends = [chunk for chunk in chunks if chunk.num_lines]
    if not ends:
        log = yield from logs.log_work(logid)
        return Stretch(log, [], first, first, {})
    first = max(first, ends[0].first_line)
    end = min(end, ends[-1].first_line + ends[-1].num_lines)
    earlier: list[Chunk] = []
    left_out: dict[int, Gap] = {}
    streams: set[str] = set()
    for chunk in ends:
        if chunk.stream not in streams:
            streams.add(chunk.stream)
            if chunk.line_from < begin and first <= chunk.first_line < end:
                parts, missing = yield from _read_parts(
                    logid, chunk.line_from, begin, chunk.stream, longest, _HEAD
                )
                earlier += parts
                if missing and parts:
                    left_out[chunk.first_line] = Gap(parts[-1].seq + 1, missing)
    log = yield from logs.log_work(logid)
    return Stretch(log, sorted(earlier) + chunks, first, max(first, end), left_out)


@unit
def read_half_lines(logid: int, longest: int) -> Work[list[HalfLine]]:
    """What a running log has after its last newlines, of each stream, in the order in which it began."""
    log = yield from logs.log_work(logid)
    found: list[HalfLine] = []
    if log is None or log.complete or log.tier not in logs.IN_CHUNKS:
        return found
    for stream, line_from in log.state.open_lines.items():
        parts, missing = yield from _read_parts(logid, line_from, log.next_chunk, stream, longest, _TAIL)
        text = b"".join([_after_newline(part.content) for part in parts])
        if text:
            found.append(HalfLine(stream, parts[-1].time_us, text[-longest:], missing + len(text)))
    return found


def _read_parts(
    logid: int, line_from: int, before: int, stream: str, longest: int, some: Statement
) -> Work[tuple[list[Chunk], int]]:
    """Parts of a line with about ``longest`` bytes of it, and how many bytes others have."""
    which = {"logid": logid, "line_from": line_from, "before": before, "stream": stream}
    ((count, size),) = yield _SIZE(**which)
    if count <= MOST_CHUNKS and size <= longest + SLACK:
        rows = yield _PARTS(**which)
        return [Chunk(*row) for row in rows], 0
    rows = yield some(**which, room=longest + SLACK)
    parts = [Chunk(*row) for row in rows]
    missing = int(size) - sum(len(part.content) for part in parts)
    if parts and parts[0].seq != line_from:  # the first part, of which only the end is the line's
        rows = yield _PARTS(**{**which, "before": line_from + 1})
        begun = bytes(rows[0][-1]) if rows else b""
        missing -= len(begun) - len(_after_newline(begun))
    return parts, missing


def _after_newline(content: bytes) -> bytes:
    return content[content.rfind(b"\n") + 1 :]
