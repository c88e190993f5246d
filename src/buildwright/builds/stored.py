"""Reading back what a build has stored, to go on with it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.base import Store
from buildwright.store.unit import Statement, Work, unit

_c = schema.logchunks.c
_l = schema.logs.c
_j = schema.journal.c

PAGE = 32  # chunks of up to 64 KiB

_OUTPUT = Statement(
    "stored.output",
    lambda _dialect: (
        sa.select(_c.seq, _c.stream, _c.content)
        .where(
            _c.logid == sa.bindparam("of_logid"),
            _c.origin == sa.bindparam("by"),
            _c.seq > sa.bindparam("after"),
        )
        .order_by(_c.seq)
        .limit(sa.bindparam("most", type_=sa.Integer))
    ),
)
_OWN = Statement(
    "stored.own_bytes",
    lambda _dialect: (
        sa.select(_c.logid, _c.stream, sa.func.sum(sa.func.length(_c.content)))
        .select_from(schema.logs.join(schema.logchunks, _c.logid == _l.id))
        .where(_l.stepid == sa.bindparam("of_stepid"), _c.origin == sa.bindparam("by"))
        .group_by(_c.logid, _c.stream)
    ),
)
_OUTCOME = Statement(
    "stored.outcome",
    lambda _dialect: sa.select(_j.outcome).where(
        _j.stepid == sa.bindparam("of_stepid"),
        _j["try"] == sa.bindparam("of_try"),
        _j.seq == sa.bindparam("of_seq"),
    ),
)


@unit
def _output(logid: int, origin: str, after: int) -> Work[list[tuple[int, str, bytes]]]:
    return list((yield _OUTPUT(of_logid=logid, by=origin, after=after, most=PAGE)))


async def command_output(store: Store, logid: int, command_id: str) -> AsyncIterator[tuple[str, bytes]]:
    """What a command has put into a log so far: (stream, bytes), in order."""
    after = -1
    while True:
        rows = await store.read(_output(logid, command_id, after))
        for seq, stream, content in rows:
            after = seq
            yield stream, content
        if len(rows) < PAGE:
            return


@unit
def own_bytes(stepid: int, origin: str) -> Work[dict[int, dict[str, int]]]:
    """How much a step's own code has written into each of its logs: {logid: {stream: bytes}}."""
    found: dict[int, dict[str, int]] = {}
    for logid, stream, count in (yield _OWN(of_stepid=stepid, by=origin)):
        found.setdefault(logid, {})[stream] = int(count)
    return found


@unit
def journal_outcome(stepid: int, tries: int, seq: int) -> Work[bytes | None]:
    """The recorded outcome of a request; None if there is none yet."""
    rows = yield _OUTCOME(of_stepid=stepid, of_try=tries, of_seq=seq)
    return rows[0][0] if rows else None
