"""What a page shows of builders and workers at a glance: their latest builds, what runs, what waits, how long
it usually takes; and which changes builds are for.

These are fields of builders, workers, builds and steps that are there when they are asked for. Each is one
statement for all things of an answer, and what it reads of a thing is bounded, however long its history is:
so one request draws a page of a thousand builders. A builder's latest builds are found by their numbers,
which have an index.

What a build or step is expected to take is the median of the latest good ones before it: one that hung for a
night changes nothing. Nothing is expected where none of them was good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.base import Executable

from buildwright.store import schema
from buildwright.store.unit import POSTGRESQL, Row, Statement, in_set
from buildwright.web.fields import Condition, Derived, Element, integer
from buildwright.web.resource import Json

RECENT = 10
"""So many builds of a builder are its recent ones."""
LOOKED_AT = 20
"""Among so many builds of a builder the good ones are taken for what it is expected to take."""

_SECOND = 1_000_000
_builders = schema.builders.c
_b = schema.builds.alias("build").c
_this = schema.builds.alias("this_build")
_r = schema.buildrequests.c
_step = schema.steps.alias("this_step")
_earlier = schema.steps.alias("earlier_step")


def _good(results: Element) -> sa.ColumnElement[bool]:
    """SUCCESS or WARNINGS. As a sum, so that no database takes the index of all good builds there are."""
    return (results + sa.literal_column("0")).in_([sa.literal_column("0"), sa.literal_column("1")])


def _latest(
    dialect: str, owner: sa.FromClause, builderid: Element, before: Element, most: int
) -> tuple[sa.FromClause, Any]:
    """Things with the latest builds of the builder of each, below a number; and the columns of those builds.

    PostgreSQL would guess that a third of all builds are meant, and read them all: a limit tells it better.
    """
    builds = schema.builds.alias("latest")
    b = builds.c
    below = sa.and_(b.builderid == builderid, b.number < before, b.number >= before - most)
    if dialect != POSTGRESQL:
        return owner.join(builds, below), b
    few = (
        sa.select(b.id, b.number, b.results, b.started_at, b.complete_at)
        .where(below)
        .order_by(b.number.desc())
        .limit(sa.literal_column(str(most)))
        .lateral("few")
    )
    return owner.join(few, sa.true()), few.c


_SHOWN = (
    _b.id,
    _b.number,
    _b.builderid,
    _b.workerid,
    _b.started_at,
    _b.complete_at,
    _b.results,
    _b.state_string,
)


def _build(row: Row) -> Json:
    buildid, number, builderid, workerid, started_at, complete_at, results, state_string = row
    return {
        "builderid": builderid,
        "buildid": buildid,
        "complete": complete_at is not None,
        "complete_at": None if complete_at is None else complete_at // _SECOND,
        "complete_at_us": complete_at,
        "number": number,
        "results": results,
        "started_at": started_at // _SECOND,
        "started_at_us": started_at,
        "state_string": state_string,
        "workerid": workerid,
    }


def _brief(row: Row) -> Json:
    buildid, number, results, started_at, complete_at = row
    return {
        "buildid": buildid,
        "complete_at_us": complete_at,
        "number": number,
        "results": results,
        "started_at_us": started_at,
    }


def _median(rows: list[Row]) -> int | None:
    ordered = sorted(took for (took,) in rows)
    return ordered[(len(ordered) - 1) // 2] if ordered else None


def _on_request(
    name: str, key: Element, type: str, rows: Statement, collect: Callable[[list[Row]], Any], **more: Any
) -> Derived:
    return Derived(name, (key,), type, rows=rows, collect=collect, on_request=True, **more)


def _builds(name: str, key: Element, rows: Statement, collect: Callable[[Row], Json]) -> Derived:
    spec = {"type": "list", "of": {"name": "build"}}
    return _on_request(name, key, "list", rows, lambda found: [collect(row) for row in found], spec=spec)


# -- of builders ------------------------------------------------------------------------------------------

_newest = schema.builds.alias("newest").c
_LATEST = Statement(
    "api_latest_builds",
    lambda dialect: (
        sa.select(_builders.id, *_SHOWN)
        .where(
            in_set(_builders.id, "ids")(dialect),
            _b.id
            == sa.select(_newest.id)
            .where(_newest.builderid == _builders.id, _newest.complete_at.is_not(None))
            .order_by(_newest.number.desc())
            .limit(sa.literal_column("1"))
            .scalar_subquery(),
        )
        .order_by(_builders.id)
    ),
)


def _recent(dialect: str) -> Executable:
    joined, latest = _latest(dialect, schema.builders, _builders.id, _builders.next_number, RECENT)
    return (
        sa.select(
            _builders.id, latest.id, latest.number, latest.results, latest.started_at, latest.complete_at
        )
        .select_from(joined)
        .where(in_set(_builders.id, "ids")(dialect))
        .order_by(_builders.id, latest.number.desc())
    )


def _builders_took(dialect: str) -> Executable:
    joined, latest = _latest(dialect, schema.builders, _builders.id, _builders.next_number, LOOKED_AT)
    return (
        sa.select(_builders.id, latest.complete_at - latest.started_at)
        .select_from(joined)
        .where(in_set(_builders.id, "ids")(dialect), _good(latest.results))
    )


_RECENT = Statement("api_recent_builds", _recent)
_TOOK = Statement("api_builders_took", _builders_took)
_PENDING = Statement(
    "api_pending_requests",
    lambda dialect: (
        sa.select(_r.builderid, sa.func.count(sa.literal_column("*")))
        .where(
            in_set(_r.builderid, "ids")(dialect),
            _r.complete == sa.literal_column("0"),
            _r.claimed_by.is_(None),
        )
        .group_by(_r.builderid)
    ),
)


def _open(owner: Element, name: str) -> Statement:
    """The running builds of each owner: from the index of those that run, which are few."""
    running = schema.builds.alias("running").c
    return Statement(
        name,
        lambda dialect: (
            sa.select(owner, *_SHOWN)
            .where(
                in_set(owner, "ids")(dialect),
                _b.id.in_(sa.select(running.id).where(running.complete_at.is_(None))),
            )
            .order_by(_b.id)
        ),
    )


def of_builders(key: Element) -> tuple[Derived, ...]:
    """The fields of builders."""
    return (
        _on_request(
            "latest_build",
            key,
            "build",
            _LATEST,
            lambda found: _build(found[0]) if found else None,
            nullable=True,
        ),
        _builds("recent_builds", key, _RECENT, _brief),
        _builds("running_builds", key, _open(_b.builderid, "api_running_of_builders"), _build),
        _on_request("pending_requests", key, "integer", _PENDING, lambda found: found[0][0] if found else 0),
        _on_request("expected_us", key, "integer", _TOOK, _median, nullable=True),
    )


# -- of workers -------------------------------------------------------------------------------------------


def of_workers(key: Element) -> Derived:
    """The field of workers."""
    return _builds("running_builds", key, _open(_b.workerid, "api_running_of_workers"), _build)


# -- of builds and steps ----------------------------------------------------------------------------------


def _builds_took(dialect: str) -> Executable:
    joined, latest = _latest(dialect, _this, _this.c.builderid, _this.c.number, LOOKED_AT)
    return (
        sa.select(_this.c.id, latest.complete_at - latest.started_at)
        .select_from(joined)
        .where(in_set(_this.c.id, "ids")(dialect), _good(latest.results))
    )


def _steps_took(dialect: str) -> Executable:
    """A step's earlier ones are those of the same name at the same place."""
    owner = _step.join(_this, _this.c.id == _step.c.buildid)
    joined, latest = _latest(dialect, owner, _this.c.builderid, _this.c.number, LOOKED_AT)
    same = sa.and_(
        _earlier.c.buildid == latest.id,
        _earlier.c.number == _step.c.number,
        _earlier.c.name == _step.c.name,
        _good(_earlier.c.results),
    )
    return (
        sa.select(_step.c.id, _earlier.c.complete_at - _earlier.c.started_at)
        .select_from(joined.join(_earlier, same))
        .where(in_set(_step.c.id, "ids")(dialect), _good(latest.results))
    )


_BUILD_TOOK = Statement("api_builds_took", _builds_took)
_STEP_TOOK = Statement("api_steps_took", _steps_took)


# The changes of builds: those that made their buildsets, and those of their source stamps.
_causes = schema.buildset_changes.c
_links = schema.buildset_sourcestamps.c
_changes = schema.changes.c


def _changes_of_builds(dialect: str) -> Executable:
    mine = in_set(_this.c.id, "ids")(dialect)
    causes = sa.select(_this.c.id, _causes.changeid).where(
        mine, _r.id == _this.c.buildrequestid, _causes.buildsetid == _r.buildsetid
    )
    stamps = sa.select(_this.c.id, _changes.id).where(
        mine,
        _r.id == _this.c.buildrequestid,
        _links.buildsetid == _r.buildsetid,
        _changes.sourcestampid == _links.sourcestampid,
    )
    return causes.union(stamps).order_by(sa.literal_column("1"), sa.literal_column("2"))


def _built_from(requestid: Element) -> Callable[[str], Callable[[str], Condition]]:
    """Whether a request is for one of the changes bound to a name."""

    def member(parameter: str) -> Callable[[str], Condition]:
        def build(dialect: str) -> Condition:
            causes = sa.select(_causes.buildsetid).where(in_set(_causes.changeid, parameter)(dialect))
            stamps = sa.select(_links.buildsetid).where(
                in_set(_changes.id, parameter)(dialect), _links.sourcestampid == _changes.sourcestampid
            )
            return requestid.in_(sa.select(_r.id).where(_r.buildsetid.in_(causes.union(stamps))))

        return build

    return member


def of_builds(key: Element, requestid: Element) -> tuple[Derived, ...]:
    """The fields of builds."""
    return (
        _on_request("expected_us", key, "integer", _BUILD_TOOK, _median, nullable=True),
        _on_request(
            "changeids",
            key,
            "list",
            Statement("api_changes_of_builds", _changes_of_builds),
            lambda found: [changeid for (changeid,) in found],
            spec={"type": "list", "of": {"name": "integer"}},
            operators=("contains",),
            member=_built_from(requestid),
            of=integer,
        ),
    )


def of_steps(key: Element) -> Derived:
    """The field of steps."""
    return _on_request("expected_us", key, "integer", _STEP_TOOK, _median, nullable=True)
