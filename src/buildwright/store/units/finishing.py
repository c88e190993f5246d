"""From a build back to its request: finishing an attempt, completing request and buildset.

Rows are locked in the order of all units: worker, build, request, buildset, lock rows by id. A request that
is alone in its buildset, as most are, is finished with its build and its buildset by one statement.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from buildwright.model.results import EXCEPTION, RETRY, SUCCESS, worst_status
from buildwright.store import schema
from buildwright.store.unit import POSTGRESQL, Hint, Shortcut, Statement, Work, insert
from buildwright.store.units.buildsets import TELL_UPSTREAM_DONE
from buildwright.store.units.locks import free_request_work, leave_request_work

MAX_ATTEMPTS = 5

_r = schema.buildrequests.c
_s = schema.buildsets.c
_b = schema.builds.c

_HOLD_CLAIMED = Statement(
    "claims.hold_claimed",
    lambda _dialect: (
        sa.select(_r.buildsetid, _r.attempts, _r.stop_results)
        .where(_r.id == sa.bindparam("requestid"), _r.complete == 0)
        .with_for_update()
    ),
)
_FINISHED: dict[str, sa.BindParameter[Any]] = {
    "complete_at": sa.bindparam("now_us"),
    "results": sa.bindparam("to_results"),
    "state_string": sa.bindparam("state"),
    "lingering": sa.bindparam("to_lingering"),
}
_COMPLETE = {
    "complete": 1,
    "complete_at": sa.bindparam("now_us"),
    "results": sa.bindparam("to_results"),
    "waits_for": "",
    "version": _r.version + 1,
}
_COMPLETED = {
    "complete": 1,
    "complete_at": sa.bindparam("now_us"),
    "results": sa.bindparam("of_buildset"),
    "version": _s.version + 1,
}
_FINISH_BUILD = Statement(
    "claims.finish_build",
    lambda _dialect: (
        sa.update(schema.builds)
        .where(_b.id == sa.bindparam("buildid"), _b.complete_at.is_(None))
        .values(**_FINISHED)
        .returning(_b.id)
    ),
)
_COMPLETE_REQUEST = Statement(
    "claims.complete_request",
    lambda _dialect: (
        sa.update(schema.buildrequests).where(_r.id == sa.bindparam("requestid")).values(**_COMPLETE)
    ),
)
_REQUEUE = Statement(
    "claims.requeue",
    lambda _dialect: (
        sa.update(schema.buildrequests)
        .where(_r.id == sa.bindparam("requestid"))
        .values(claimed_by=None, claimed_at=None, waits_for=sa.bindparam("why"), version=_r.version + 1)
    ),
)
_COMPLETE_SOLE = Statement(
    "claims.complete_sole",
    lambda _dialect: (
        sa.update(schema.buildsets)
        .where(
            _s.id == sa.bindparam("buildsetid"),
            _s.complete == 0,
            ~sa.exists().where(
                _r.buildsetid == sa.bindparam("of_buildsetid"), _r.id != sa.bindparam("requestid")
            ),
        )
        .values(**_COMPLETED)
        .returning(_s.schedulerid)
    ),
)
_HOLD_BUILDSET = Statement(
    "claims.hold_buildset",
    lambda _dialect: (
        sa.select(_s.schedulerid)
        .where(_s.id == sa.bindparam("buildsetid"), _s.complete == 0)
        .with_for_update()
    ),
)
_SIBLINGS = Statement(
    "claims.siblings",
    lambda _dialect: sa.select(_r.complete, _r.results).where(_r.buildsetid == sa.bindparam("of_buildsetid")),
)
_COMPLETE_BUILDSET = Statement(
    "claims.complete_buildset",
    lambda _dialect: (
        sa.update(schema.buildsets).where(_s.id == sa.bindparam("buildsetid")).values(**_COMPLETED)
    ),
)


def _finish_at_once() -> sa.sql.base.Executable:
    """Of an open build, whose row the unit has locked, and of a request that is alone in its buildset."""
    others = sa.exists().where(
        _r.buildsetid == sa.bindparam("buildsetid"), _r.id != sa.bindparam("requestid")
    )
    request = (
        sa.update(schema.buildrequests)
        .where(
            _r.id == sa.bindparam("requestid"),
            _r.complete == 0,
            _r.buildsetid == sa.bindparam("buildsetid"),
            sa.not_(others.correlate(None)),
            sa.exists().where(_b.id == sa.bindparam("buildid"), _b.complete_at.is_(None)),
        )
        .values(**_COMPLETE)
        .returning(_r.id)
        .cte("request")
    )
    build = (
        sa.update(schema.builds)
        .where(_b.id == sa.bindparam("buildid"), sa.exists(sa.select(request.c.id)))
        .values(**_FINISHED)
        .returning(_b.id)
        .cte("build")
    )
    buildset = (
        sa.update(schema.buildsets)
        .where(_s.id == sa.bindparam("buildsetid"), _s.complete == 0, sa.exists(sa.select(build.c.id)))
        .values(**_COMPLETED)
        .returning(_s.id, _s.schedulerid)
        .cte("buildset")
    )
    upstreams = schema.scheduler_upstreams
    told = (
        insert(POSTGRESQL, schema.scheduler_completions)
        .from_select(
            ["schedulerid", "buildsetid"],
            sa.select(upstreams.c.schedulerid, buildset.c.id).join(
                buildset, upstreams.c.upstreamid == buildset.c.schedulerid
            ),
        )
        .on_conflict_do_nothing(index_elements=["schedulerid", "buildsetid"])
        .cte("told")
    )
    return sa.select(buildset.c.id).select_from(build.outerjoin(buildset, sa.true())).add_cte(told)


_FINISH_AT_ONCE = Shortcut("claims.finish_at_once", _finish_at_once)


def complete_request_work(requestid: int, buildsetid: int, results: int, now_us: int) -> Work[None]:
    """Complete a request whose row the unit has locked, and its buildset when it was the last one open."""
    yield _COMPLETE_REQUEST(requestid=requestid, now_us=now_us, to_results=results)
    yield Hint("buildrequests", requestid, "complete")
    # Requests come only with their buildset: one that is alone there stays so.
    sole = yield _COMPLETE_SOLE(
        buildsetid=buildsetid,
        of_buildsetid=buildsetid,
        requestid=requestid,
        now_us=now_us,
        of_buildset=worst_status(SUCCESS, results),
    )
    if sole:
        yield from _buildset_completed(buildsetid, sole[0][0])
        return
    # The buildset's row is locked before the count: of two last requests finishing at once, the second sees
    # both.
    held = yield _HOLD_BUILDSET(buildsetid=buildsetid)
    if not held:
        return
    siblings = yield _SIBLINGS(of_buildsetid=buildsetid)
    if not all(complete for complete, _ in siblings):
        return
    overall = SUCCESS
    for _, result in siblings:
        overall = worst_status(overall, result)
    yield _COMPLETE_BUILDSET(buildsetid=buildsetid, now_us=now_us, of_buildset=overall)
    yield from _buildset_completed(buildsetid, held[0][0])


def _buildset_completed(buildsetid: int, schedulerid: int | None) -> Work[None]:
    if schedulerid is not None:
        yield TELL_UPSTREAM_DONE(upstreamid=schedulerid, buildsetid=buildsetid)
    yield Hint("buildsets", buildsetid, "complete")


def finish_build_work(
    *,
    buildid: int,
    requestid: int,
    results: int,
    state_string: str,
    lingering: bool,
    holds_locks: bool,
    now_us: int,
    max_attempts: int = MAX_ATTEMPTS,
    buildsetid: int | None = None,
) -> Work[int | None]:
    """Finish an attempt: build, request, buildset. Gives the stored results, or None when it was finished
    before.

    RETRY queues the request again, unless it was stopped (then CANCELLED) or has had its attempts
    (EXCEPTION). A lingering attempt (its commands may still run) keeps slot and locks until
    :func:`~buildwright.store.units.claims.end_lingering`; what its steps only waited for it leaves. Who knows
    the buildset says which: then all of it may be one statement.
    """
    if buildsetid is not None and results != RETRY:
        done = yield _FINISH_AT_ONCE(
            buildid=buildid,
            requestid=requestid,
            buildsetid=buildsetid,
            now_us=now_us,
            to_results=results,
            state=state_string,
            to_lingering=int(lingering),
            of_buildset=worst_status(SUCCESS, results),
        )
        if done:
            yield Hint("buildrequests", requestid, "complete")
            if done[0][0] is not None:
                yield Hint("buildsets", buildsetid, "complete")
            yield from _let_go(requestid, lingering=lingering, holds_locks=holds_locks)
            yield Hint("builds", buildid, "finished")
            return results
    held = yield _HOLD_CLAIMED(requestid=requestid)
    if not held:
        return None
    buildsetid, attempts, stop_results = held[0]
    again = False
    if results == RETRY:
        if stop_results is not None:
            results, state_string = stop_results, "cancelled"
        elif attempts >= max_attempts:
            results = EXCEPTION
            state_string = f"{state_string} (given up after {attempts} attempts)"
        else:
            again = True
    finished = yield _FINISH_BUILD(
        buildid=buildid, now_us=now_us, to_results=results, state=state_string, to_lingering=int(lingering)
    )
    if not finished:
        return None
    if again:
        why = f"attempt {attempts} ended: {state_string}"
        if lingering:
            why += "; the next begins when its commands are known dead"
        yield _REQUEUE(requestid=requestid, why=why)
        yield Hint("buildrequests", requestid, "unclaimed")
    else:
        yield from complete_request_work(requestid, buildsetid, results, now_us)
    yield from _let_go(requestid, lingering=lingering, holds_locks=holds_locks)
    yield Hint("builds", buildid, "finished")
    return results


def _let_go(requestid: int, *, lingering: bool, holds_locks: bool) -> Work[None]:
    if holds_locks and lingering:
        yield from leave_request_work(requestid)
    elif holds_locks:
        yield from free_request_work(requestid)
