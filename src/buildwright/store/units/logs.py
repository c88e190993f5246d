"""Logs in the store: appending, reading, and the tiers that a log's bytes go through.

A log is a row of ``logs`` and a gapless sequence of chunks in ``logchunks``. Whoever appends knows the
log's state and says which chunk it expects to write next; ``logs.next_chunk`` is compared and set in the
same statement that takes the place, so two writers, or one that repeats itself, can store neither a gap nor
a repeat: the second is refused with :class:`Fenced`. What a finish writes is final, no append passes it.

Where the bytes of a log are is its tier::

    live ──finish──► kept                              (small: stays in chunks for good)
      │     └──────► live, complete ──seal──► shedding ──last chunk dropped──► sealed
      └ appends                  any finished tier ──expire──► expiring ──blob and chunks gone──► expired

Whatever dies in between, the tier says what is left to be done, and the index ``logs_to_tend`` finds it:
nothing else remembers. Chunks are dropped only after the seal is committed, and from the front. A reader
therefore reads chunks first and the log's row *after* them: a row that still says live or kept proves that
the chunks before it were whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.unit import Fenced, Hint, Statement, Work, insert, unit

LIVE = "live"  # in chunks; appended to until it is complete, then waiting to be sealed
KEPT = "kept"  # complete, and so small that it stays in its chunks
SHEDDING = "shedding"  # sealed; readers use the blob, its chunks are being dropped
SEALED = "sealed"  # in the blob alone
EXPIRING = "expiring"  # nobody may read it any more; blob and chunks are being removed
EXPIRED = "expired"  # only its row is left, to say so

IN_CHUNKS = frozenset({LIVE, KEPT})

# A log up to this size stays in its chunks. It would fill a single frame in part only, so a seal could save
# little, and would cost a file, two fsyncs and two more units for each of the many short logs of quick steps.
KEEP_UP_TO = 64 * 1024

WINDOW_BYTES = 2 * 1024 * 1024  # what a reader takes at once, less than one chunk over
_WINDOW_CHUNKS = 4096
_NEVER = 1 << 62


class Chunk(NamedTuple):
    """A piece of one stream of a log, as stored."""

    seq: int
    offset: int  # of its first byte in the whole log
    first_line: int  # the number of the line that its first newline completes
    num_lines: int  # its newlines; 1 in the empty chunk that completes a last half line
    line_from: int  # the chunk in which the line that it begins with begins: itself at the start of a line
    stream: str
    time_us: int
    origin: str  # the command's id, or "" for what the step itself wrote
    content: bytes


class LogState(NamedTuple):
    """What the next append continues from."""

    next_chunk: int = 0
    num_lines: int = 0
    length: int = 0
    # Stream -> the chunk in which its unfinished line begins, in the order in which these lines began.
    open_lines: Mapping[str, int] = MappingProxyType({})


class LogRow(NamedTuple):
    """A log as a reader sees it."""

    id: int
    stepid: int
    name: str
    slug: str
    type: str
    complete: int
    tier: str
    expired_at: int | None
    next_chunk: int
    num_lines: int
    length: int
    open_lines: str
    blob: str | None
    size: int | None
    frames: bytes | None  # the index of the blob's frames, see buildwright.logs.frames

    @property
    def state(self) -> LogState:
        return LogState(self.next_chunk, self.num_lines, self.length, json.loads(self.open_lines))


class Window(NamedTuple):
    """Some of a log's chunks in order, and where the next window begins (where this one did: no more)."""

    log: LogRow | None
    chunks: list[Chunk]
    next_seq: int


_l = schema.logs.c
_c = schema.logchunks.c
_s = schema.sealed_logs.c

CHUNK_COLUMNS = (
    _c.seq, _c.offset, _c.first_line, _c.num_lines, _c.line_from, _c.stream, _c.time_us, _c.origin, _c.content
)  # fmt: skip
_ROW = (
    _l.id, _l.stepid, _l.name, _l.slug, _l.type, _l.complete, _l.tier, _l.expired_at,
    _l.next_chunk, _l.num_lines, _l.length, _l.open_lines, _s.blob, _s.size, _s.frames,
)  # fmt: skip
_WITH_INDEX = schema.logs.outerjoin(schema.sealed_logs, _s.logid == _l.id)
_LOGID: sa.BindParameter[int] = sa.bindparam("logid")

# -- writing -----------------------------------------------------------------------------------------------

_ADD = Statement(
    "logs.add",
    lambda dialect: (
        insert(dialect, schema.logs)
        .values(
            id=sa.bindparam("id"),
            stepid=sa.bindparam("stepid"),
            name=sa.bindparam("name"),
            slug=sa.bindparam("slug"),
            type=sa.bindparam("type"),
        )
        .on_conflict_do_nothing()
        .returning(_l.id)
    ),
)
_BY_SLUG = Statement(
    "logs.by_slug",
    lambda _dialect: (
        sa.select(*_ROW)
        .select_from(_WITH_INDEX)
        .where(_l.stepid == sa.bindparam("stepid"), _l.slug == sa.bindparam("slug"))
    ),
)
_OF_STEP = Statement(
    "logs.of_step",
    lambda _dialect: (
        sa.select(*_ROW).select_from(_WITH_INDEX).where(_l.stepid == sa.bindparam("stepid")).order_by(_l.id)
    ),
)
_ADVANCE = Statement(
    "logs.advance",
    lambda _dialect: (
        sa.update(schema.logs)
        .where(_l.id == _LOGID, _l.next_chunk == sa.bindparam("expected"), _l.complete == 0)
        .values(
            next_chunk=sa.bindparam("now_next_chunk"),
            num_lines=sa.bindparam("now_num_lines"),
            length=sa.bindparam("now_length"),
            open_lines=sa.bindparam("now_open_lines"),
            complete=sa.bindparam("now_complete"),
            tier=sa.bindparam("now_tier"),
        )
        .returning(_l.id)
    ),
)
_CHUNKS = Statement("logs.chunks", lambda _dialect: sa.insert(schema.logchunks))


def add_log_work(logid: int, stepid: int, name: str, slug: str, type: str) -> Work[LogRow]:
    """Add a log to a step, or find the one of this slug that an earlier run of the step has added.

    ``type`` is Buildbot's letter: s (streams o, e, h), t or h (one stream, o).
    """
    if (yield _ADD(id=logid, stepid=stepid, name=name, slug=slug, type=type)):
        yield Hint("logs", logid, "new")
        return LogRow(logid, stepid, name, slug, type, 0, LIVE, None, *LogState()[:3], "{}", None, None, None)
    rows = yield _BY_SLUG(stepid=stepid, slug=slug)
    return LogRow(*rows[0])


def append_work(logid: int, expected_next_chunk: int, rows: Sequence[Chunk], state: LogState) -> Work[None]:
    """Store the chunks that :func:`buildwright.logs.append.split` made, and the state that follows them.

    Raises Fenced unless the log's next chunk is the expected one and the log is open.
    """
    yield from _advance(logid, expected_next_chunk, rows, state, complete=0, tier=LIVE)
    yield Hint("logs", logid, "append")


def finish_work(
    logid: int,
    expected_next_chunk: int,
    rows: Sequence[Chunk],
    state: LogState,
    keep_up_to: int | None = None,
) -> Work[None]:
    """As :func:`append_work`, with the log's last chunks, and close it for good. It stays in the database if
    it has at most ``keep_up_to`` bytes, by default :data:`KEEP_UP_TO`.
    """
    tier = KEPT if state.length <= (KEEP_UP_TO if keep_up_to is None else keep_up_to) else LIVE
    yield from _advance(logid, expected_next_chunk, rows, state, complete=1, tier=tier)
    if rows:  # who follows a log by its appends would miss its end
        yield Hint("logs", logid, "append")
    yield Hint("logs", logid, "finished")


def _advance(
    logid: int, expected: int, rows: Sequence[Chunk], state: LogState, *, complete: int, tier: str
) -> Work[None]:
    taken = yield _ADVANCE(
        logid=logid,
        expected=expected,
        now_next_chunk=state.next_chunk,
        now_num_lines=state.num_lines,
        now_length=state.length,
        now_open_lines=json.dumps(dict(state.open_lines)),
        now_complete=complete,
        now_tier=tier,
    )
    if not taken:
        raise Fenced(f"log {logid} doesn't take chunk {expected} from this writer")
    if rows:
        yield _CHUNKS.many([{"logid": logid, **row._asdict()} for row in rows])


# Units of their own for who has nothing else to write in the same transaction.
add_log = unit(add_log_work)
append = unit(append_work)
finish = unit(finish_work)

# -- reading -----------------------------------------------------------------------------------------------

_LOG = Statement(
    "logs.get", lambda _dialect: sa.select(*_ROW).select_from(_WITH_INDEX).where(_l.id == _LOGID)
)

_at = schema.logchunks.alias("at").c


def _first_seq(
    condition: sa.ColumnElement[bool], *order: sa.ColumnElement[int], default: int
) -> sa.ColumnElement[int]:
    found = (
        sa.select(_at.seq)
        .where(_at.logid == _LOGID, condition)
        .order_by(*order)
        .limit(sa.literal_column("1"))
    )
    return sa.func.coalesce(found.scalar_subquery(), sa.literal_column(str(default)))


# The last chunk with first_line <= first completes line `first`: others of the same number complete none.
_BOUNDS = Statement(
    "logs.line_bounds",
    lambda _dialect: sa.select(
        _first_seq(_at.first_line <= sa.bindparam("first"), _at.first_line.desc(), _at.seq.desc(), default=0),
        _first_seq(_at.first_line >= sa.bindparam("end"), _at.first_line, _at.seq, default=_NEVER),
    ),
)
_completing = sa.select(_at.line_from).where(
    _at.logid == _LOGID,
    _at.seq >= sa.bindparam("seq"),
    _at.seq < sa.bindparam("end"),
    _at.num_lines > sa.literal_column("0"),
    _at.line_from != _at.seq,
)
_in_window = (_c.logid == _LOGID, _c.seq >= sa.bindparam("seq"), _c.seq < sa.bindparam("end"))
# Chunks that complete lines, and those with parts of a line that one of them completes: not what another
# stream wrote in between without an end.
_LINES = Statement(
    "logs.lines",
    lambda _dialect: (
        sa.select(*CHUNK_COLUMNS)
        .where(*_in_window, sa.or_(_c.num_lines > sa.literal_column("0"), _c.line_from.in_(_completing)))
        .order_by(_c.seq)
    ),
)
# The earlier parts of the one line that begins in chunk `begin`.
_LINE_PARTS = Statement(
    "logs.line_parts",
    lambda _dialect: (
        sa.select(*CHUNK_COLUMNS)
        .where(
            _c.logid == _LOGID,
            _c.seq >= sa.bindparam("begin"),
            _c.seq < sa.bindparam("before"),
            _c.stream == sa.bindparam("stream"),
            sa.or_(_c.seq == sa.bindparam("begin"), _c.line_from == sa.bindparam("begin")),
        )
        .order_by(_c.seq)
    ),
)
_window = (
    sa.select(_at.seq)
    .where(
        _at.logid == _LOGID,
        _at.seq >= sa.bindparam("seq"),
        _at.offset
        < sa.select(_c.offset).where(_c.logid == _LOGID, _c.seq == sa.bindparam("seq")).scalar_subquery()
        + sa.bindparam("room", type_=sa.Integer),
    )
    .order_by(_at.seq)
    .limit(sa.literal_column(str(_WINDOW_CHUNKS)))
    .subquery("window_seqs")
)
_WINDOW_END = Statement("logs.window_end", lambda _dialect: sa.select(sa.func.max(_window.c.seq)))
_WINDOW = Statement(
    "logs.window", lambda _dialect: sa.select(*CHUNK_COLUMNS).where(*_in_window).order_by(_c.seq)
)
_WINDOW_OF_STREAM = Statement(
    "logs.window_of_stream",
    lambda _dialect: (
        sa.select(*CHUNK_COLUMNS).where(*_in_window, _c.stream == sa.bindparam("stream")).order_by(_c.seq)
    ),
)


def log_work(logid: int) -> Work[LogRow | None]:
    """The log's row."""
    rows = yield _LOG(logid=logid)
    return LogRow(*rows[0]) if rows else None


get_log = unit(log_work)


def chunks_work(logid: int, begin: int, end: int) -> Work[list[Chunk]]:
    """The chunks begin..end-1, but for those that only continue a line which ends elsewhere."""
    rows = yield _LINES(logid=logid, seq=begin, end=end)
    return [Chunk(*row) for row in rows]


def step_logs_work(stepid: int) -> Work[list[LogRow]]:
    """The logs of a step, in the order of their ids."""
    rows = yield _OF_STEP(stepid=stepid)
    return [LogRow(*row) for row in rows]


step_logs = unit(step_logs_work)


@unit
def read_lines(logid: int, first: int, end: int) -> Work[tuple[LogRow | None, list[Chunk]]]:
    """The chunks that hold the lines first..end-1, also where one begins much earlier; then the log's row.

    The chunks mean something only if the row says that the log is in chunks.
    """
    ((begin, stop),) = yield _BOUNDS(logid=logid, first=first, end=end)
    chunks = yield from chunks_work(logid, begin, stop)
    earlier: list[Chunk] = []
    streams: set[str] = set()
    for chunk in chunks:
        if chunk.num_lines and chunk.stream not in streams:
            streams.add(chunk.stream)
            if chunk.line_from < begin and chunk.first_line >= first:
                parts = yield _LINE_PARTS(
                    logid=logid, begin=chunk.line_from, before=begin, stream=chunk.stream
                )
                earlier.extend(Chunk(*row) for row in parts)
    log = yield from log_work(logid)
    return log, sorted(earlier) + chunks


@unit
def read_window(logid: int, seq: int, stream: str | None) -> Work[Window]:
    """About WINDOW_BYTES of the log's chunks from ``seq`` on, of one stream or of all; then the log's row."""
    ((last,),) = yield _WINDOW_END(logid=logid, seq=seq, room=WINDOW_BYTES)
    chunks: list[Chunk] = []
    end = seq
    if last is not None:
        end = last + 1
        if stream is None:
            rows = yield _WINDOW(logid=logid, seq=seq, end=end)
        else:
            rows = yield _WINDOW_OF_STREAM(logid=logid, seq=seq, end=end, stream=stream)
        chunks = [Chunk(*row) for row in rows]
    log = yield from log_work(logid)
    return Window(log, chunks, end)


# -- from tier to tier -------------------------------------------------------------------------------------

_TO_TEND = Statement(
    "logs.to_tend",
    lambda _dialect: (
        sa.select(_l.id, _l.tier)
        .where(
            sa.text("complete = 1 AND tier IN ('live', 'shedding', 'expiring')"),
            _l.id > sa.bindparam("after"),
        )
        .order_by(_l.id)
        .limit(sa.bindparam("count", type_=sa.Integer))
    ),
)
_MOVE = Statement(
    "logs.move",
    lambda _dialect: (
        sa.update(schema.logs)
        .where(_l.id == _LOGID, _l.complete == 1, _l.tier == sa.bindparam("tier_from"))
        .values(tier=sa.bindparam("tier_to"))
        .returning(_l.id)
    ),
)
_RECORD = Statement("logs.record_seal", lambda _dialect: sa.insert(schema.sealed_logs))
_EXPIRE = Statement(
    "logs.expire",
    lambda _dialect: (
        sa.update(schema.logs)
        .where(
            _l.id == _LOGID,
            _l.complete == 1,
            _l.tier.not_in([sa.literal_column("'expiring'"), sa.literal_column("'expired'")]),
        )
        .values(tier=sa.literal_column("'expiring'"), expired_at=sa.bindparam("now_us"))
        .returning(_l.id)
    ),
)
_DROP = Statement(
    "logs.drop_chunks",
    lambda _dialect: sa.delete(schema.logchunks).where(
        _c.logid == _LOGID,
        _c.seq
        < sa.select(sa.func.min(_at.seq)).where(_at.logid == _LOGID).scalar_subquery()
        + sa.bindparam("count", type_=sa.Integer),
        sa.exists().where(_l.id == _LOGID, sa.text("tier IN ('shedding', 'expiring')")),
    ),
)
_ANY_CHUNK = Statement(
    "logs.any_chunk",
    lambda _dialect: (
        sa.select(_c.seq).where(_c.logid == _LOGID).order_by(_c.seq).limit(sa.literal_column("1"))
    ),
)
_FORGET_SEAL = Statement(
    "logs.forget_seal", lambda _dialect: sa.delete(schema.sealed_logs).where(_s.logid == _LOGID)
)


@unit
def logs_to_tend(after: int, count: int) -> Work[list[tuple[int, str]]]:
    """Finished logs that are not where they belong yet: (id, tier), by id."""
    rows = yield _TO_TEND(after=after, count=count)
    return [(logid, tier) for logid, tier in rows]


@unit
def record_seal(logid: int, blob: str, size: int, frames: bytes) -> Work[bool]:
    """From now on the blob is the log. False: somebody else was first, or the log has expired."""
    if not (yield _MOVE(logid=logid, tier_from=LIVE, tier_to=SHEDDING)):
        return False
    yield _RECORD(logid=logid, blob=blob, size=size, frames=frames)
    return True


@unit
def drop_chunks(logid: int, count: int) -> Work[bool]:
    """Drop the log's first ``count`` chunks, if its tier allows; True when none is left."""
    yield _DROP(logid=logid, count=count)
    if (yield _ANY_CHUNK(logid=logid)):
        return False
    yield _MOVE(logid=logid, tier_from=SHEDDING, tier_to=SEALED)
    return True


@unit
def expire_log(logid: int, now_us: int) -> Work[bool]:
    """Set a finished log's tombstone; False if it has one or isn't finished. The sealer removes the rest."""
    if not (yield _EXPIRE(logid=logid, now_us=now_us)):
        return False
    yield Hint("logs", logid, "expired")
    return True


@unit
def bury_log(logid: int) -> Work[None]:
    """Blob and chunks of an expiring log are gone: forget the index as well."""
    if (yield _MOVE(logid=logid, tier_from=EXPIRING, tier_to=EXPIRED)):
        yield _FORGET_SEAL(logid=logid)
