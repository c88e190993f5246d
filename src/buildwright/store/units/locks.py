"""Locks that hold across all masters: holders and waiters stand in one stored queue per lock, in order of
arrival.

A claim of a lock is one row. It is granted when everything before it in the queue is granted and the lock
has room; so an exclusive waiter is not starved by sharers, whoever drives their builds. Whoever wants
several locks gets all of them or none, and keeps its places in the queues while it waits. Who queues up for
another lock later (a build that tries another worker) has in every queue the place of its first arrival: if
two could stand before each other in different queues, both would wait for ever. Rows go when what
ran under them is known to be over; a waiting build's also when it can't start for another reason, so that
nobody waits behind it. Whoever changes the rows of a request that doesn't run has its row locked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.unit import Fenced, Hint, Statement, Work, in_set, insert, unit

COUNTING = "counting"
EXCLUSIVE = "exclusive"

_l = schema.locks.c
_c = schema.lock_claims.c


class Want(NamedTuple):
    """One access that a build or a step asks for. ``workerid`` is 0 for a lock of all masters."""

    lockid: int
    name: str
    mode: str
    places: int


class Claim(NamedTuple):
    """A row of the queue. ``place`` is the first row's id of all that its build or step has."""

    lockid: int
    place: int
    requestid: int
    stepid: int
    mode: str
    places: int
    granted: int


_w = schema.workers.c
_FENCE = Statement(
    "locks.fence",
    lambda _dialect: (
        sa.select(_w.id)
        .where(
            _w.id == sa.bindparam("of_workerid"),
            _w.attachment == sa.bindparam("of_attachment"),
            _w.masterid == sa.bindparam("of_masterid"),
        )
        .with_for_update(read=True)
    ),
)

_DECLARE = Statement(
    "locks.declare",
    lambda dialect: (
        insert(dialect, schema.locks)
        .values(
            name=sa.bindparam("name"),
            workerid=sa.bindparam("workerid"),
            max_count=sa.bindparam("max_count"),
            generation=sa.bindparam("generation"),
        )
        .on_conflict_do_update(
            index_elements=["name", "workerid"],
            set_={"max_count": sa.bindparam("max_count"), "generation": sa.bindparam("generation")},
            where=_l.generation <= sa.bindparam("generation"),
        )
    ),
)
_IDS = Statement("locks.ids", lambda _dialect: sa.select(_l.id, _l.name, _l.workerid))

_ROWS = Statement(
    "locks.rows",
    lambda dialect: (
        sa.select(_l.id, _l.max_count)
        .where(in_set(_l.id, "lockids")(dialect))
        .order_by(_l.id)
        .with_for_update()
    ),
)
_QUEUE_UP = Statement(
    "locks.queue_up",
    lambda dialect: (
        insert(dialect, schema.lock_claims)
        .values(
            lockid=sa.bindparam("lockid"),
            buildrequestid=sa.bindparam("requestid"),
            stepid=sa.bindparam("stepid"),
            mode=sa.bindparam("mode"),
            masterid=sa.bindparam("masterid"),
            count=sa.bindparam("count"),
            granted=0,
            queued_at=sa.bindparam("now_us"),
        )
        .on_conflict_do_update(  # its place stays; what it wants and who looks after it may be other now
            index_elements=["lockid", "buildrequestid", "stepid"],
            set_={name: sa.bindparam(name) for name in ("masterid", "mode", "count")},
            where=sa.or_(*(_c[name] != sa.bindparam(name) for name in ("masterid", "mode", "count"))),
        )
    ),
)
_own = schema.lock_claims.alias("own").c
_place = (
    sa.select(sa.func.min(_own.id))
    .where(_own.buildrequestid == _c.buildrequestid, _own.stepid == _c.stepid)
    .scalar_subquery()
)
_QUEUES = Statement(
    "locks.queues",
    lambda dialect: sa.select(
        _c.lockid, _place, _c.buildrequestid, _c.stepid, _c.mode, _c.count, _c.granted
    ).where(in_set(_c.lockid, "lockids")(dialect)),
)
_GRANT = Statement(
    "locks.grant",
    lambda dialect: (
        sa.update(schema.lock_claims)
        .where(
            in_set(_c.lockid, "lockids")(dialect),
            _c.buildrequestid == sa.bindparam("requestid"),
            _c.stepid == sa.bindparam("of_stepid"),
        )
        .values(granted=1)
    ),
)
_FREE_REQUEST = Statement(
    "locks.free_request",
    lambda _dialect: (
        sa.delete(schema.lock_claims)
        .where(_c.buildrequestid == sa.bindparam("requestid"))
        .returning(_c.lockid)
    ),
)
_FREE_STEP = Statement(
    "locks.free_step",
    lambda _dialect: (
        sa.delete(schema.lock_claims)
        .where(_c.buildrequestid == sa.bindparam("requestid"), _c.stepid == sa.bindparam("of_stepid"))
        .returning(_c.lockid)
    ),
)
_LEAVE_REQUEST = Statement(
    "locks.leave_request",
    lambda _dialect: (
        sa.delete(schema.lock_claims)
        .where(_c.buildrequestid == sa.bindparam("requestid"), _c.granted == 0)
        .returning(_c.lockid)
    ),
)
_FREE_OTHERS = Statement(
    "locks.free_others",
    lambda dialect: sa.delete(schema.lock_claims).where(
        _c.buildrequestid == sa.bindparam("requestid"),
        _c.granted == 0,
        _c.stepid == 0,
        sa.not_(in_set(_c.lockid, "lockids")(dialect)),
    ),
)
_HOLD_REQUESTS = Statement(
    "locks.hold_requests",
    lambda dialect: (
        sa.select(schema.buildrequests.c.id)
        .where(in_set(schema.buildrequests.c.id, "requestids")(dialect))
        .order_by(schema.buildrequests.c.id)
        .with_for_update()
    ),
)
_LEAVE = Statement(
    "locks.leave",
    lambda dialect: (
        sa.delete(schema.lock_claims)
        .where(
            in_set(_c.buildrequestid, "requestids")(dialect),
            _c.masterid == sa.bindparam("of_masterid"),
            _c.granted == 0,
            _c.stepid == 0,
        )
        .returning(_c.lockid)
    ),
)
_WAITING = Statement(
    "locks.waiting",
    lambda _dialect: (
        sa.select(_c.buildrequestid)
        .where(_c.masterid == sa.bindparam("of_masterid"), _c.granted == 0, _c.stepid == 0)
        .distinct()
    ),
)


@unit
def declare(limits: Sequence[tuple[str, int, int]], generation: int) -> Work[dict[tuple[str, int], int]]:
    """Store the configured locks as (name, workerid, max_count); gives all ids by (name, workerid).

    The newest generation's limits win, so a master with an older configuration doesn't undo them. Rows are
    locked in the order of their ids, as by whoever takes locks, new ones after them in that of their names.
    """
    known = yield from _ids()
    last = max(known.values(), default=0) + 1
    yield _DECLARE.many(
        {"name": name, "workerid": workerid, "max_count": max_count, "generation": generation}
        for name, workerid, max_count in sorted(
            limits, key=lambda limit: (known.get(limit[:2], last), limit[:2])
        )
    )
    return (yield from _ids())


def _ids() -> Work[dict[tuple[str, int], int]]:
    return {(name, workerid): lockid for lockid, name, workerid in (yield _IDS())}


def first_obstacle(
    wants: Iterable[Want], queue: Sequence[Claim], limits: dict[int, int], me: tuple[int, int]
) -> str | None:
    """The name of the first lock that (requestid, stepid) can't have now, or None.

    Pure: ``queue`` holds the rows of all wanted locks, our own among them, ``limits`` their max_count.
    Whoever stands before us and still waits goes first; what is granted counts wherever it stands.
    """
    for want in wants:
        places = [claim for claim in queue if claim.lockid == want.lockid]
        mine = next((claim.place for claim in places if (claim.requestid, claim.stepid) == me), None)
        others = [claim for claim in places if (claim.requestid, claim.stepid) != me]
        if any(not claim.granted and (mine is None or claim.place < mine) for claim in others):
            return want.name
        held = [claim for claim in others if claim.granted]
        if want.mode == EXCLUSIVE:
            if held:
                return want.name
        elif any(claim.mode == EXCLUSIVE for claim in held) or sum(
            claim.places for claim in held
        ) + want.places > limits.get(want.lockid, 0):
            return want.name
    return None


def acquire_work(
    wants: Sequence[Want], requestid: int, stepid: int, masterid: int, now_us: int
) -> Work[str | None]:
    """Take all wanted locks or stand in their queues; gives None, or the name of a lock that isn't free
    yet.
    """
    lockids = sorted({want.lockid for want in wants})
    rows = yield _ROWS(lockids=lockids)
    limits = dict(rows)
    yield _QUEUE_UP.many(
        {
            "lockid": want.lockid,
            "requestid": requestid,
            "stepid": stepid,
            "mode": want.mode,
            "masterid": masterid,
            "count": want.places,
            "now_us": now_us,
        }
        for want in wants
    )
    queue = [Claim(*row) for row in (yield _QUEUES(lockids=lockids))]
    obstacle = first_obstacle(wants, queue, limits, (requestid, stepid))
    if obstacle is None:
        yield _GRANT(lockids=lockids, requestid=requestid, of_stepid=stepid)
        if stepid == 0:  # places in the queues of other workers' locks aren't needed any more
            yield _FREE_OTHERS(requestid=requestid, lockids=lockids)
    return obstacle


def free_request_work(requestid: int) -> Work[None]:
    """Free all that a request's build and its steps hold or wait for."""
    yield from _freed((yield _FREE_REQUEST(requestid=requestid)))


def leave_request_work(requestid: int) -> Work[None]:
    """Keep what a request's build and its steps hold, and leave the queues in which they wait."""
    yield from _freed((yield _LEAVE_REQUEST(requestid=requestid)))


def free_step_work(requestid: int, stepid: int) -> Work[None]:
    """Free all that a step holds or waits for."""
    yield from _freed((yield _FREE_STEP(requestid=requestid, of_stepid=stepid)))


def _freed(rows: Sequence[tuple[int]]) -> Work[None]:
    for lockid in sorted({row[0] for row in rows}):
        yield Hint("locks", lockid, "freed")


@unit
def leave_queues(requestids: Sequence[int], masterid: int) -> Work[None]:
    """Requests that can't start for another reason give up their places that are in a master's care."""
    yield from _leave(requestids, masterid)


def leave_all_queues_work(masterid: int) -> Work[None]:
    """A master is gone: whatever waits under its care gives its places up, and begins anew elsewhere."""
    waiting = yield _WAITING(of_masterid=masterid)
    if waiting:
        yield from _leave([requestid for (requestid,) in waiting], masterid)


def _leave(requestids: Sequence[int], masterid: int) -> Work[None]:
    yield _HOLD_REQUESTS(requestids=requestids)
    yield from _freed((yield _LEAVE(requestids=requestids, of_masterid=masterid)))


@unit
def acquire_for_step(
    wants: Sequence[Want],
    requestid: int,
    stepid: int,
    workerid: int,
    attachment: int,
    masterid: int,
    now_us: int,
) -> Work[str | None]:
    """A step takes its locks; raises Fenced when the build has another owner by now."""
    rows = yield _FENCE(of_workerid=workerid, of_attachment=attachment, of_masterid=masterid)
    if not rows:
        raise Fenced("the worker is attached elsewhere")
    return (yield from acquire_work(wants, requestid, stepid, masterid, now_us))
