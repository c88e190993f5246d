"""Membership: a master's lease row holds (name, term, beat) and no time.

An observer calls a lease lapsed when its beat has stood still for long enough on the observer's own
monotonic clock (:mod:`buildwright.master.membership`); the store only compares terms and beats. A new
term is a new incarnation: a renewal with an old one is refused, which tells a frozen process that it was
declared dead.
"""

from __future__ import annotations

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.unit import Fenced, Hint, Statement, Work, insert, unit
from buildwright.store.units.locks import leave_all_queues_work

_m = schema.masters.c

_TAKE = Statement(
    "leases.take",
    lambda dialect: (
        insert(dialect, schema.masters)
        .values(name=sa.bindparam("name"), term=1, beat=0, active=1, last_active=sa.bindparam("now_us"))
        .on_conflict_do_update(
            index_elements=["name"],
            set_={
                "term": _m.term + 1,
                "beat": 0,
                "active": 1,
                "last_active": sa.bindparam("now_us"),
            },
        )
        .returning(_m.id, _m.term)
    ),
)

_RENEW = Statement(
    "leases.renew",
    lambda _dialect: (
        sa.update(schema.masters)
        .where(_m.id == sa.bindparam("masterid"), _m.term == sa.bindparam("at_term"), _m.active == 1)
        .values(beat=_m.beat + 1, last_active=sa.bindparam("now_us"))
        .returning(_m.beat)
    ),
)

_SEEN = Statement("leases.seen", lambda _dialect: sa.select(_m.id, _m.name, _m.term, _m.beat, _m.active))

_RETIRE = Statement(
    "leases.retire",
    lambda _dialect: (
        sa.update(schema.masters)
        .where(
            _m.id == sa.bindparam("masterid"),
            _m.term == sa.bindparam("at_term"),
            _m.beat == sa.bindparam("at_beat"),
            _m.active == 1,
        )
        .values(active=0)
        .returning(_m.id)
    ),
)

_LEAVE = Statement(
    "leases.leave",
    lambda _dialect: (
        sa.update(schema.masters)
        .where(_m.id == sa.bindparam("masterid"), _m.term == sa.bindparam("at_term"), _m.active == 1)
        .values(active=0)
        .returning(_m.id)
    ),
)

_FREE_SCHEDULERS = Statement(
    "leases.free_schedulers",
    lambda _dialect: (
        sa.update(schema.schedulers)
        .where(schema.schedulers.c.masterid == sa.bindparam("of"))
        .values(masterid=None)
    ),
)
_FREE_SOURCES = Statement(
    "leases.free_sources",
    lambda _dialect: (
        sa.update(schema.changesources)
        .where(schema.changesources.c.masterid == sa.bindparam("of"))
        .values(masterid=None)
    ),
)
_FREE_WORKERS = Statement(
    "leases.free_workers",
    lambda _dialect: (
        sa.update(schema.workers)
        .where(schema.workers.c.masterid == sa.bindparam("of"))
        .values(connected=0, version=schema.workers.c.version + 1)
    ),
)


@unit
def take(name: str, now_us: int) -> Work[tuple[int, int]]:
    """Take the lease of ``name``; gives (masterid, term). The caller holds the basedir's file lock."""
    ((masterid, term),) = yield _TAKE(name=name, now_us=now_us)
    yield from _free(masterid)
    yield Hint("masters", masterid, "started")
    return masterid, term


@unit
def renew(masterid: int, term: int, now_us: int) -> Work[int]:
    """Count the beat up; gives it. Raises Fenced when the lease was taken or retired by another."""
    rows = yield _RENEW(masterid=masterid, at_term=term, now_us=now_us)
    if not rows:
        raise Fenced("the lease was lost")
    return int(rows[0][0])


@unit
def seen() -> Work[list[tuple[int, str, int, int, int]]]:
    """All leases as (masterid, name, term, beat, active)."""
    return list((yield _SEEN()))


@unit
def retire(masterid: int, term: int, beat: int) -> Work[bool]:
    """Declare a lapsed master dead, if its beat still stands where the observer saw it stand."""
    rows = yield _RETIRE(masterid=masterid, at_term=term, at_beat=beat)
    if rows:
        yield from _free(masterid)
        yield Hint("masters", masterid, "stopped")
    return bool(rows)


@unit
def leave(masterid: int, term: int) -> Work[None]:
    """Give the lease up in an orderly shutdown, unless it is another incarnation's by now."""
    if (yield _LEAVE(masterid=masterid, at_term=term)):
        yield from _free(masterid)
        yield Hint("masters", masterid, "stopped")


def _free(masterid: int) -> Work[None]:
    """What others may take over at once. Builds are not among it: they follow their worker's attachment."""
    yield _FREE_SCHEDULERS(of=masterid)
    yield _FREE_SOURCES(of=masterid)
    yield _FREE_WORKERS(of=masterid)
    yield from leave_all_queues_work(masterid)
