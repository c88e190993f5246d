"""What cancellers decide from: requests that are still open, newer changes, and requests that have failed.

All of it is read anew at each look. Nothing is remembered between two looks, so it makes no difference
which master looks, and what died before. What is asked to stop already is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa

from buildwright.model.results import EXCEPTION, FAILURE
from buildwright.store import schema
from buildwright.store.unit import Statement, Work, in_set, unit

_r = schema.buildrequests.c
_s = schema.buildsets.c
_b = schema.builders.c
_links = schema.buildset_sourcestamps
_ss = schema.sourcestamps.c
_c = schema.changes.c
_causes = schema.buildset_changes


class OpenSource(NamedTuple):
    """One source of a request that has not ended."""

    requestid: int
    builder: str
    buildsetid: int
    submitted_at: int
    codebase: str
    project: str
    repository: str
    branch: str | None
    revision: str | None

    def asDict(self) -> dict[str, Any]:
        """The source stamp as filters know it."""
        names = ("codebase", "project", "repository", "branch", "revision")
        return {name: getattr(self, name) for name in names}


class Newest(NamedTuple):
    """The newest change of a branch."""

    codebase: str
    project: str
    repository: str
    branch: str | None
    changeid: int
    received_at: int


class Failed(NamedTuple):
    """A request that has failed, in a buildset that goes on."""

    buildsetid: int
    requestid: int
    builder: str


@dataclass(frozen=True, slots=True)
class Sources:
    """Open sources, what is the newest change that each buildset was made for by codebase, newer changes."""

    open: Sequence[OpenSource] = ()
    made_for: dict[tuple[int, str], int] = field(default_factory=dict)  # (buildsetid, codebase) -> changeid
    newest: Sequence[Newest] = ()


# Waiting requests and open builds have an index each; there is none of all that is open.
_waiting = schema.buildrequests.alias("waiting").c
_running = schema.builds.alias("running").c
OPEN_IDS = Statement(
    "cancelling.open_ids",
    lambda _dialect: (
        sa.select(_waiting.id)
        .where(_waiting.complete == sa.literal_column("0"), _waiting.claimed_by.is_(None))
        .union_all(sa.select(_running.buildrequestid).where(_running.complete_at.is_(None)))
    ),
)
OPEN = Statement(
    "cancelling.open",
    lambda dialect: (
        sa.select(
            _r.id,
            _b.name,
            _r.buildsetid,
            _s.submitted_at,
            _ss.codebase,
            _ss.project,
            _ss.repository,
            _ss.branch,
            _ss.revision,
        )
        .select_from(
            schema.buildrequests.join(schema.builders, _b.id == _r.builderid)
            .join(schema.buildsets, _s.id == _r.buildsetid)
            .join(_links, _links.c.buildsetid == _r.buildsetid)
            .join(schema.sourcestamps, _ss.id == _links.c.sourcestampid)
        )
        .where(
            in_set(_r.id, "requestids")(dialect),
            _r.complete == sa.literal_column("0"),
            _r.stop_results.is_(None),
            in_set(_b.name, "builders")(dialect),
        )
        .order_by(_r.id)
    ),
)
MADE_FOR = Statement(
    "cancelling.made_for",
    lambda dialect: (
        sa.select(_causes.c.buildsetid, _c.codebase, sa.func.max(_c.id))
        .select_from(_causes.join(schema.changes, _c.id == _causes.c.changeid))
        .where(in_set(_causes.c.buildsetid, "buildsetids")(dialect))
        .group_by(_causes.c.buildsetid, _c.codebase)
    ),
)
LAST_BEFORE = Statement(
    "cancelling.last_before",
    lambda _dialect: (
        sa.select(_c.id)
        .where(_c.received_at <= sa.bindparam("instant"))
        .order_by(_c.id.desc())
        .limit(sa.literal_column("1"))
    ),
)
NEWEST = Statement(
    "cancelling.newest",
    lambda _dialect: (
        sa.select(
            _c.codebase, _c.project, _c.repository, _c.branch, sa.func.max(_c.id), sa.func.max(_c.received_at)
        )
        .where(_c.id > sa.bindparam("after"))
        .group_by(_c.codebase, _c.project, _c.repository, _c.branch)
    ),
)
FAILED = Statement(
    "cancelling.failed",
    lambda dialect: (
        sa.select(_r.buildsetid, _r.id, _b.name)
        .select_from(schema.buildrequests.join(schema.builders, _b.id == _r.builderid))
        .where(
            in_set(_r.buildsetid, "buildsetids")(dialect),
            _r.complete == 1,
            _r.results.in_([sa.literal_column(str(FAILURE)), sa.literal_column(str(EXCEPTION))]),
        )
        .order_by(_r.id)
    ),
)


def _open_work(builders: Sequence[str]) -> Work[list[OpenSource]]:
    requestids = [requestid for (requestid,) in (yield OPEN_IDS())]
    if not requestids:
        return []
    return [OpenSource(*row) for row in (yield OPEN(requestids=requestids, builders=builders))]


@unit
def open_sources(builders: Sequence[str]) -> Work[Sources]:
    """A read: the open sources of these builders, and the changes that came in after their buildsets."""
    found = yield from _open_work(builders)
    if not found:
        return Sources()
    buildsetids = sorted({each.buildsetid for each in found})
    rows = yield MADE_FOR(buildsetids=buildsetids)
    made_for = {(buildsetid, codebase): changeid for buildsetid, codebase, changeid in rows}
    floors = list(made_for.values())
    without = [each.submitted_at for each in found if (each.buildsetid, each.codebase) not in made_for]
    if without:
        before = yield LAST_BEFORE(instant=min(without))
        floors.append(before[0][0] if before else 0)
    newest = [Newest(*row) for row in (yield NEWEST(after=min(floors)))]
    return Sources(found, made_for, newest)


@unit
def failed_among(builders: Sequence[str]) -> Work[tuple[list[OpenSource], list[Failed]]]:
    """A read: the open sources of these builders, and what of their buildsets has failed."""
    found = yield from _open_work(builders)
    if not found:
        return [], []
    rows = yield FAILED(buildsetids=sorted({each.buildsetid for each in found}))
    return found, [Failed(*row) for row in rows]
