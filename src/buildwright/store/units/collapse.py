"""Collapsing: how a waiting request makes room for a newer one of the same builder.

`waiting_requests` shows what a decision needs (the rule itself is :mod:`buildwright.builds.collapse`, or
the configuration's own). `collapse` then completes the request `lower` as SKIPPED in favour of `higher`,
which inherits the greater priority of the two.

Only a lower id gives way to a higher one, so two masters that collapse at the same time can't skip both.
Both rows are locked, lower first, and have to be waiting still: unclaimed, not complete, nobody asked to
stop them. If one of them isn't, nothing happens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from buildwright.model.results import SKIPPED
from buildwright.store import schema
from buildwright.store.unit import Hint, Statement, Work, in_set, unit
from buildwright.store.units.claims import free_waiting_work
from buildwright.store.units.finishing import complete_request_work

_buildsets = schema.buildsets
_requests = schema.buildrequests
_sources = schema.buildset_sourcestamps


@dataclass(frozen=True, slots=True)
class WaitingSource:
    """One source stamp of a waiting request, as far as collapsing looks at it."""

    codebase: str
    repository: str
    project: str
    branch: str | None
    revision: str | None
    patched: int
    has_changes: int


@dataclass(frozen=True, slots=True)
class WaitingRequest:
    """A request that nobody has claimed, with what a rule for collapsing compares."""

    id: int
    buildsetid: int
    builderid: int
    priority: int
    submitted_at: int
    waited_for: bool
    properties: Mapping[str, tuple[Any, str]]
    sources: tuple[WaitingSource, ...]


_waiting = sa.and_(
    _requests.c.complete == 0, _requests.c.claimed_by.is_(None), _requests.c.stop_results.is_(None)
)
_with_changes = sa.exists().where(schema.changes.c.sourcestampid == schema.sourcestamps.c.id)

FIND_WAITING = Statement(
    "find_waiting_requests",
    lambda dialect: (
        sa.select(
            _requests.c.id,
            _requests.c.buildsetid,
            _requests.c.builderid,
            _requests.c.priority,
            _requests.c.submitted_at,
            _requests.c.waited_for,
            _buildsets.c.properties,
        )
        .join(_buildsets, _buildsets.c.id == _requests.c.buildsetid)
        .where(in_set(_requests.c.id, "ids")(dialect), _waiting)
        .order_by(_requests.c.id)
    ),
)
FIND_SOURCES = Statement(
    "find_sources_of_buildsets",
    lambda dialect: (
        sa.select(
            _sources.c.buildsetid,
            schema.sourcestamps.c.codebase,
            schema.sourcestamps.c.repository,
            schema.sourcestamps.c.project,
            schema.sourcestamps.c.branch,
            schema.sourcestamps.c.revision,
            schema.sourcestamps.c.patchid.is_not(None),
            _with_changes,
        )
        .join(schema.sourcestamps, schema.sourcestamps.c.id == _sources.c.sourcestampid)
        .where(in_set(_sources.c.buildsetid, "buildsetids")(dialect))
        .order_by(_sources.c.buildsetid, schema.sourcestamps.c.codebase)
    ),
)
LOCK_TWO = Statement(
    "lock_two_requests",
    lambda _dialect: (
        sa.select(
            _requests.c.id,
            _requests.c.builderid,
            _requests.c.buildsetid,
            _requests.c.priority,
            _requests.c.attempts,
        )
        .where(_requests.c.id.in_([sa.bindparam("lower"), sa.bindparam("higher")]), _waiting)
        .order_by(_requests.c.id)
        .with_for_update()
    ),
)
RAISE_PRIORITY = Statement(
    "raise_priority",
    lambda _dialect: (
        sa.update(_requests)
        .where(_requests.c.id == sa.bindparam("which"))
        .values(priority=sa.bindparam("to"), version=_requests.c.version + 1)
    ),
)


@unit
def waiting_requests(requestids: Sequence[int]) -> Work[list[WaitingRequest]]:
    """A read: those of the requests that wait still, lowest id first."""
    rows = yield FIND_WAITING(ids=requestids)
    sources: dict[int, list[WaitingSource]] = {}
    if rows:
        for buildsetid, *rest in (yield FIND_SOURCES(buildsetids=sorted({row[1] for row in rows}))):
            sources.setdefault(buildsetid, []).append(WaitingSource(*rest))
    return [
        WaitingRequest(
            id=requestid,
            buildsetid=buildsetid,
            builderid=builderid,
            priority=priority,
            submitted_at=submitted_at,
            waited_for=bool(waited_for),
            properties=msgspec.json.decode(properties, type=dict[str, tuple[Any, str]]),
            sources=tuple(sources.get(buildsetid, ())),
        )
        for requestid, buildsetid, builderid, priority, submitted_at, waited_for, properties in rows
    ]


@unit
def collapse(lower: int, higher: int, now_us: int) -> Work[bool]:
    """Complete ``lower`` as SKIPPED because ``higher`` will do its work; False if either no longer waits."""
    if lower >= higher:
        return False
    rows = yield LOCK_TWO(lower=lower, higher=higher)
    if len(rows) != 2 or rows[0][1] != rows[1][1]:
        return False
    (_, _, buildsetid, urgent, attempts), (_, _, _, priority, _) = rows
    if urgent > priority:
        yield RAISE_PRIORITY(which=higher, to=urgent)
        yield Hint("buildrequests", higher, "update")
    yield from complete_request_work(lower, buildsetid, SKIPPED, now_us)
    yield from free_waiting_work(lower, attempts)
    return True
