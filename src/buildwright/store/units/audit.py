"""Who asked for what: an entry per call that acts.

An entry is written beside what is done, as ``asked``, and gets its outcome afterwards:

- ``done``: it has happened;
- ``refused``: nothing has;
- ``failed``: it broke in the middle, which is a defect;
- ``asked``, for ever: the master died, or lost its database, between the two. It may have happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.unit import Statement, Work, in_set, insert, single, unit

ASKED: Final = "asked"
DONE: Final = "done"
REFUSED: Final = "refused"
FAILED: Final = "failed"

_a = schema.audit.c

_NOTE = Statement(
    "audit.note",
    lambda dialect: (
        insert(dialect, schema.audit)
        .values(
            asked_at=sa.bindparam("asked_at"),
            who=sa.bindparam("who"),
            peer=sa.bindparam("peer"),
            method=sa.bindparam("method"),
            target=sa.bindparam("target"),
            params=sa.bindparam("params"),
            outcome=sa.bindparam("outcome"),
            answer=sa.bindparam("answer"),
        )
        .returning(_a.id)
    ),
)
_SETTLE = Statement(
    "audit.settle",
    lambda _dialect: (
        sa.update(schema.audit)
        .where(_a.id == sa.bindparam("of"), _a.outcome == ASKED)
        .values(outcome=sa.bindparam("to_outcome"), answer=sa.bindparam("to_answer"))
    ),
)
_OLDEST = Statement(
    "audit.oldest",
    lambda _dialect: (
        sa.select(_a.id)
        .where(_a.asked_at <= sa.bindparam("before_us"))
        .order_by(_a.asked_at)
        .limit(sa.bindparam("count", type_=sa.Integer))
    ),
)
_CUT = Statement(
    "audit.cut", lambda dialect: sa.delete(schema.audit).where(in_set(_a.id, "entries")(dialect))
)
_COUNT = Statement(
    "audit.count",
    lambda _dialect: sa.select(sa.func.count(_a.id)).where(_a.asked_at <= sa.bindparam("before_us")),
)


@single
def note(
    *,
    now_us: int,
    who: str,
    peer: str | None,
    method: str,
    target: str,
    params: str = "{}",
    outcome: str = ASKED,
    answer: str = "",
) -> Work[int]:
    """Add an entry; gives its id. ``params`` is JSON."""
    ((entry,),) = yield _NOTE(
        asked_at=now_us,
        who=who,
        peer=peer,
        method=method,
        target=target,
        params=params,
        outcome=outcome,
        answer=answer,
    )
    return int(entry)


class Outcome(NamedTuple):
    """What became of what an entry has asked for."""

    entry: int
    outcome: str
    answer: str


@single
def settle(outcomes: Sequence[Outcome]) -> Work[None]:
    """Say what became of what some entries have asked for."""
    yield _SETTLE.many(
        {"of": each.entry, "to_outcome": each.outcome, "to_answer": each.answer} for each in outcomes
    )


@unit
def cut(before_us: int, count: int) -> Work[int]:
    """Remove up to ``count`` entries of that time or before, the oldest first; gives how many."""
    oldest = [entry for (entry,) in (yield _OLDEST(before_us=before_us, count=count))]
    if oldest:
        yield _CUT(entries=oldest)
    return len(oldest)


@unit
def count_before(before_us: int) -> Work[int]:
    """How many entries are of that time or before."""
    ((count,),) = yield _COUNT(before_us=before_us)
    return int(count)
