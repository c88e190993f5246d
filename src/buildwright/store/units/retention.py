"""Removing the past, in units that are small enough that builds don't feel them.

What goes is decided from outside (:mod:`buildwright.model.retention`), on pages that are read here; each
removal then makes sure of what it must not break, in the same unit:

- a build goes when it is finished and not lingering, its request is complete, no scheduler has still to look
  at its buildset, no running build waits for that, and its logs' bytes are gone. First their tombstones are
  set (:func:`expire_build`), then the sealer removes the bytes, so a death in between leaves no blob behind;
- its request goes with its last build, and the buildset with its last request. Ids elsewhere that name one of
  them (a rebuild's, a triggered buildset's parent) stay as they are: what they name is then a 404;
- a change goes when no scheduler has it in its inbox and no open buildset was made for it. Its identity is
  kept: it isn't taken again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from buildwright.model.retention import Finished
from buildwright.store import schema
from buildwright.store.unit import Hint, Statement, Work, in_set, insert, unit
from buildwright.store.units.changes import forgotten_key

_b = schema.builds.c
_r = schema.buildrequests.c
_s = schema.buildsets.c
_st = schema.steps.c
_l = schema.logs.c
_c = schema.changes.c
_d = schema.build_data.c
_sets = schema.test_result_sets.c
_results = schema.test_results.c

_BUILDID: sa.BindParameter[int] = sa.bindparam("of_build")
_COUNT: sa.BindParameter[int] = sa.bindparam("count", type_=sa.Integer)
_STEPS = sa.select(_st.id).where(_st.buildid == _BUILDID)


# Subqueries that ask for one build at a time, by its index: PostgreSQL would turn EXISTS and joins into scans
# of all steps and logs.
_its_steps = schema.steps.alias("its_steps")
_its_logs = schema.logs.alias("its_logs")
_HAS_TEXT = _its_logs.c.tier.not_in([sa.literal_column("'expiring'"), sa.literal_column("'expired'")])
_LOGS_WITH_TEXT = (
    _its_steps.join(_its_logs, _its_logs.c.stepid == _its_steps.c.id),
    sa.and_(_its_steps.c.buildid == _b.id, _HAS_TEXT),
)


def _of_build(what: Any) -> sa.ScalarSelect[Any]:
    """Something of a build's logs that have text."""
    source, condition = _LOGS_WITH_TEXT
    return sa.select(what).select_from(source).where(condition).correlate(schema.builds).scalar_subquery()


_ANY_TEXT = (
    sa.select(_its_logs.c.id)
    .select_from(_LOGS_WITH_TEXT[0])
    .where(_LOGS_WITH_TEXT[1])
    .limit(sa.literal_column("1"))
    .correlate(schema.builds)
    .scalar_subquery()
)
_ANY_DATA = (
    sa.select(_d.id)
    .where(_d.buildid == _b.id)
    .limit(sa.literal_column("1"))
    .correlate(schema.builds)
    .scalar_subquery()
)


# -- looking ------------------------------------------------------------------------------------------------


class LogsOf(NamedTuple):
    """Logs with text of some builds: how many, and the bytes of their lines."""

    logs: int
    size: int


_LEADER = Statement(
    "retention.leader",
    lambda _dialect: sa.select(sa.func.min(schema.masters.c.id)).where(schema.masters.c.active == 1),
)
_BUILDERS = Statement(
    "retention.builders",
    lambda _dialect: sa.select(schema.builders.c.id, schema.builders.c.name).order_by(schema.builders.c.name),
)
_FINISHED = Statement(
    "retention.finished",
    lambda _dialect: (
        sa.select(
            _b.id,
            _b.number,
            _b.complete_at,
            _b.results,
            _ANY_TEXT,
            _ANY_DATA,
        )
        .select_from(schema.builds.join(schema.buildrequests, _r.id == _b.buildrequestid))
        .where(
            _b.builderid == sa.bindparam("builderid"),
            _b.number < sa.bindparam("below"),
            _b.complete_at.is_not(None),
            _b.lingering == 0,
            _r.complete == 1,
        )
        .order_by(_b.number.desc())
        .limit(_COUNT)
    ),
)
# All that is open, by what is indexed: requests that wait, and those of builds that run.
_of_request = (
    sa.select(_r.buildsetid).where(_r.id == _b.buildrequestid).correlate(schema.builds).scalar_subquery()
)


def _named(column: sa.ColumnElement[Any], buildsetid: Any) -> sa.ScalarSelect[Any]:
    return sa.select(column).where(_s.id == buildsetid).scalar_subquery()


_REFERENCES = (
    Statement(
        "retention.referenced_by_waiting",
        lambda _dialect: (
            sa.select(_named(_s.rebuilt_buildid, _r.buildsetid), _named(_s.parent_buildid, _r.buildsetid))
            .select_from(schema.buildrequests)
            .where(sa.text("complete = 0 AND claimed_by IS NULL"))
        ),
    ),
    Statement(
        "retention.referenced_by_running",
        lambda _dialect: (
            sa.select(_named(_s.rebuilt_buildid, _of_request), _named(_s.parent_buildid, _of_request))
            .select_from(schema.builds)
            .where(_b.complete_at.is_(None))
        ),
    ),
)
_LOGS_OF = Statement(
    "retention.logs_of",
    lambda dialect: sa.select(
        sa.func.coalesce(sa.func.sum(_of_build(sa.func.count())), 0),
        sa.func.coalesce(sa.func.sum(_of_build(sa.func.sum(_its_logs.c.length))), 0),
    ).where(in_set(_b.id, "buildids")(dialect)),
)


@unit
def leader() -> Work[int | None]:
    """The one active master that others leave the work to."""
    ((masterid,),) = yield _LEADER()
    return None if masterid is None else int(masterid)


@unit
def all_builders() -> Work[list[tuple[int, str]]]:
    """All builders that ever were: (id, name)."""
    return [(builderid, name) for builderid, name in (yield _BUILDERS())]


@unit
def finished_builds(builderid: int, below: int, count: int) -> Work[list[Finished]]:
    """Finished builds of a builder with numbers below one, newest first. Their requests are complete."""
    rows = yield _FINISHED(builderid=builderid, below=below, count=count)
    return [
        Finished(buildid, number, complete_at, results, has_text is not None, has_data is not None)
        for buildid, number, complete_at, results, has_text, has_data in rows
    ]


@unit
def referenced() -> Work[frozenset[int]]:
    """Builds that something open refers to: it is a rebuild of them, or was triggered by them."""
    found: set[int] = set()
    for statement in _REFERENCES:
        for row in (yield statement()):
            found.update(buildid for buildid in row if buildid is not None)
    return frozenset(found)


@unit
def logs_of(buildids: Sequence[int]) -> Work[LogsOf]:
    """The logs of these builds that have text."""
    ((count, size),) = yield _LOGS_OF(buildids=list(buildids))
    return LogsOf(int(count), int(size))


# -- builds -------------------------------------------------------------------------------------------------

_EXPIRE = Statement(
    "retention.expire_logs",
    lambda _dialect: (
        sa.update(schema.logs)
        .where(
            _l.stepid.in_(_STEPS),
            _l.tier.not_in([sa.literal_column("'expiring'"), sa.literal_column("'expired'")]),
            sa.exists().where(_b.id == _BUILDID, _b.complete_at.is_not(None), _b.lingering == 0),
        )
        .values(tier=sa.literal_column("'expiring'"), complete=1, expired_at=sa.bindparam("now_us"))
        .returning(_l.id)
    ),
)
_OVER = Statement(
    "retention.over",
    lambda _dialect: (
        sa.select(_r.id, _r.buildsetid, _s.parent_buildid)
        .select_from(
            schema.builds.join(schema.buildrequests, _r.id == _b.buildrequestid).join(
                schema.buildsets, _s.id == _r.buildsetid
            )
        )
        .where(_b.id == _BUILDID, _b.complete_at.is_not(None), _b.lingering == 0, _r.complete == 1)
    ),
)
_RUNS = Statement(
    "retention.runs", lambda _dialect: sa.select(_b.id).where(_b.id == _BUILDID, _b.complete_at.is_(None))
)
_SCHEDULERS = Statement("retention.schedulers", lambda _dialect: sa.select(schema.schedulers.c.id))
_AWAITED = Statement(
    "retention.awaited",
    lambda dialect: sa.select(schema.scheduler_completions.c.schedulerid).where(
        in_set(schema.scheduler_completions.c.schedulerid, "schedulerids")(dialect),
        schema.scheduler_completions.c.buildsetid == sa.bindparam("of_buildset"),
    ),
)
_TEXT_LEFT = Statement(
    "retention.text_left",
    lambda _dialect: (
        sa.select(_l.id)
        .where(_l.stepid.in_(_STEPS), _l.tier != sa.literal_column("'expired'"))
        .limit(sa.literal_column("1"))
    ),
)
_CUT_RESULTS = Statement(
    "retention.cut_results",
    lambda _dialect: (
        sa.delete(schema.test_results)
        .where(
            _results.id.in_(
                sa.select(_results.id)
                .where(_results.test_result_setid.in_(sa.select(_sets.id).where(_sets.buildid == _BUILDID)))
                .limit(_COUNT)
            )
        )
        .returning(_results.id)
    ),
)
_DROP_DATA = Statement(
    "retention.drop_data",
    lambda _dialect: sa.delete(schema.build_data).where(_d.buildid == _BUILDID).returning(_d.id),
)
_DROP = [
    Statement(
        "retention.drop_sets",
        lambda _dialect: sa.delete(schema.test_result_sets).where(_sets.buildid == _BUILDID),
    ),
    Statement(
        "retention.drop_journal",
        lambda _dialect: sa.delete(schema.journal).where(schema.journal.c.stepid.in_(_STEPS)),
    ),
    Statement("retention.drop_logs", lambda _dialect: sa.delete(schema.logs).where(_l.stepid.in_(_STEPS))),
    Statement(
        "retention.drop_steps", lambda _dialect: sa.delete(schema.steps).where(_st.buildid == _BUILDID)
    ),
    Statement("retention.drop_build", lambda _dialect: sa.delete(schema.builds).where(_b.id == _BUILDID)),
]
_DROP_REQUEST = Statement(
    "retention.drop_request",
    lambda _dialect: (
        sa.delete(schema.buildrequests)
        .where(
            _r.id == sa.bindparam("requestid"),
            _r.complete == 1,
            sa.not_(sa.exists().where(_b.buildrequestid == sa.bindparam("requestid"))),
        )
        .returning(_r.id)
    ),
)
_DROP_BUILDSET = Statement(
    "retention.drop_buildset",
    lambda _dialect: (
        sa.delete(schema.buildsets)
        .where(
            _s.id == sa.bindparam("of_buildset"),
            _s.complete == 1,
            sa.not_(sa.exists().where(_r.buildsetid == sa.bindparam("of_buildset"))),
        )
        .returning(_s.id)
    ),
)


def _drop_links(table: sa.Table) -> Statement:
    drop = sa.delete(table).where(table.c.buildsetid == sa.bindparam("of_buildset"))
    return Statement(f"retention.drop_{table.name}", lambda _dialect: drop)


_DROP_LINKS = [_drop_links(table) for table in (schema.buildset_sourcestamps, schema.buildset_changes)]
_UNBUILT = Statement(
    "retention.unbuilt",
    lambda _dialect: (
        sa.select(_r.id, _r.buildsetid, _s.parent_buildid)
        .select_from(schema.buildrequests.join(schema.buildsets, _s.id == _r.buildsetid))
        .where(
            _r.builderid == sa.bindparam("builderid"),
            _r.id > sa.bindparam("after"),
            _r.complete == 1,
            _r.complete_at <= sa.bindparam("before_us"),
            sa.not_(sa.exists().where(_b.buildrequestid == _r.id)),
        )
        .order_by(_r.id)
        .limit(_COUNT)
    ),
)


@unit
def expire_build(buildid: int, now_us: int) -> Work[int]:
    """Set the tombstones of a finished build's logs; gives how many. The sealer removes the bytes."""
    rows = yield _EXPIRE(of_build=buildid, now_us=now_us)
    for (logid,) in rows:
        yield Hint("logs", logid, "expired")
    return len(rows)


@unit
def drop_data(buildid: int) -> Work[int]:
    """Remove the data that steps have attached to a build; gives how much there was."""
    return len((yield _DROP_DATA(of_build=buildid)))


@unit
def cut_results(buildid: int, count: int) -> Work[bool]:
    """Remove up to ``count`` test results of a build; True when none can be left."""
    return len((yield _CUT_RESULTS(of_build=buildid, count=count))) < count


@unit
def remove_build(buildid: int) -> Work[bool]:
    """Remove a build, and with it what there is for it alone; False if that can't be yet."""
    rows = yield _OVER(of_build=buildid)
    if not rows:
        return False
    requestid, buildsetid, parent = rows[0]
    if (yield _TEXT_LEFT(of_build=buildid)) or (yield from _is_awaited(buildsetid, parent)):
        return False
    yield _DROP_DATA(of_build=buildid)
    for statement in _DROP:
        yield statement(of_build=buildid)
    yield from _drop_request(requestid, buildsetid)
    return True


@unit
def unbuilt_requests(builderid: int, after: int, before_us: int, count: int) -> Work[list[int]]:
    """Requests of a builder that were complete by then and never had a build, by id."""
    rows = yield _UNBUILT(builderid=builderid, after=after, before_us=before_us, count=count)
    return [requestid for requestid, *_ in rows]


@unit
def remove_unbuilt(builderid: int, after: int, before_us: int, count: int) -> Work[tuple[int, int]]:
    """Remove requests that :func:`unbuilt_requests` gives; gives how many, and the last one looked at (0:
    there are no more).
    """
    rows = yield _UNBUILT(builderid=builderid, after=after, before_us=before_us, count=count)
    removed = 0
    for requestid, buildsetid, parent in rows:
        if not (yield from _is_awaited(buildsetid, parent)):
            yield from _drop_request(requestid, buildsetid)
            removed += 1
    return removed, rows[-1][0] if rows else 0


def _is_awaited(buildsetid: int, parent: int | None) -> Work[bool]:
    """Whether a scheduler or a running build has still to look at the buildset."""
    if parent is not None and (yield _RUNS(of_build=parent)):
        return True
    schedulers = [each for (each,) in (yield _SCHEDULERS())]
    return bool((yield _AWAITED(schedulerids=schedulers, of_buildset=buildsetid)))


def _drop_request(requestid: int, buildsetid: int) -> Work[None]:
    if (yield _DROP_REQUEST(requestid=requestid)) and (yield _DROP_BUILDSET(of_buildset=buildsetid)):
        for statement in _DROP_LINKS:
            yield statement(of_buildset=buildsetid)


# -- changes ------------------------------------------------------------------------------------------------

_CHANGES = Statement(
    "retention.changes",
    lambda _dialect: (
        sa.select(_c.id, _c.received_at).where(_c.id > sa.bindparam("after")).order_by(_c.id).limit(_COUNT)
    ),
)
# The last change beyond the newest so many; rows are counted from the end, in steps of the index.
_BEYOND = Statement(
    "retention.beyond",
    lambda _dialect: (
        sa.select(_c.id)
        .where(_c.id > 0)
        .order_by(_c.id.desc())
        .limit(sa.literal_column("1"))
        .offset(sa.bindparam("newest", type_=sa.Integer))
    ),
)
_FREE_CHANGES = Statement(
    "retention.free_changes",
    lambda dialect: sa.select(_c.id, _c.identity).where(
        in_set(_c.id, "changeids")(dialect),
        sa.not_(sa.exists().where(schema.scheduler_changes.c.changeid == _c.id)),
        sa.not_(
            sa.exists().where(
                schema.buildset_changes.c.changeid == _c.id,
                _s.id == schema.buildset_changes.c.buildsetid,
                _s.complete == 0,
            )
        ),
    ),
)
_DROP_CAUSES = Statement(
    "retention.drop_causes",
    lambda dialect: sa.delete(schema.buildset_changes).where(
        in_set(schema.buildset_changes.c.changeid, "changeids")(dialect)
    ),
)
_DROP_CHANGES = Statement(
    "retention.drop_changes",
    lambda dialect: sa.delete(schema.changes).where(in_set(_c.id, "changeids")(dialect)),
)
_KEEP_IDENTITY = Statement(
    "retention.keep_identity",
    lambda dialect: (
        insert(dialect, schema.idempotency)
        .values(key=sa.bindparam("key"), result=sa.bindparam("result"), created_at=sa.bindparam("now_us"))
        .on_conflict_do_nothing()
    ),
)


@unit
def oldest_changes(after: int, count: int) -> Work[list[tuple[int, int]]]:
    """Changes by id, as (id, when it was received)."""
    return [(changeid, at) for changeid, at in (yield _CHANGES(after=after, count=count))]


@unit
def last_beyond(newest: int) -> Work[int]:
    """The newest change that isn't among the ``newest`` newest; 0: there are no more than these."""
    rows = yield _BEYOND(newest=newest)
    return int(rows[0][0]) if rows else 0


@unit
def free_changes(changeids: Sequence[int]) -> Work[list[int]]:
    """Those of these changes that nothing open has still to use."""
    return [changeid for changeid, _ in (yield _FREE_CHANGES(changeids=list(changeids)))]


@unit
def remove_changes(changeids: Sequence[int], now_us: int) -> Work[int]:
    """Remove those of these changes that :func:`free_changes` gives; gives how many."""
    rows = yield _FREE_CHANGES(changeids=list(changeids))
    gone = [changeid for changeid, _ in rows]
    kept = [
        {"key": forgotten_key(identity), "result": str(changeid), "now_us": now_us}
        for changeid, identity in rows
        if identity is not None
    ]
    if kept:
        yield _KEEP_IDENTITY.many(kept)
    if gone:
        yield _DROP_CAUSES(changeids=gone)
        yield _DROP_CHANGES(changeids=gone)
    return len(gone)
