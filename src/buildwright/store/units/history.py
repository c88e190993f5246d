"""Finished builds, for those who want to take something over from one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.unit import Statement, Work, unit

_b = schema.builds.c
_causes = schema.buildset_changes


class FinishedBuild(NamedTuple):
    """A build that has ended."""

    builder: str
    number: int
    results: int
    properties: str  # JSON
    buildsetid: int


_FINISHED = (
    sa.select(schema.builders.c.name, _b.number, _b.results, _b.properties, schema.buildrequests.c.buildsetid)
    .select_from(
        schema.builds.join(schema.builders, schema.builders.c.id == _b.builderid).join(
            schema.buildrequests, schema.buildrequests.c.id == _b.buildrequestid
        )
    )
    .where(schema.builders.c.name == sa.bindparam("builder"), _b.results.is_not(None))
)
RECENT = Statement(
    "history.recent",
    lambda _dialect: _FINISHED.order_by(_b.number.desc()).limit(sa.bindparam("most", type_=sa.Integer)),
)
NUMBERED = Statement(
    "history.numbered", lambda _dialect: _FINISHED.where(_b.number == sa.bindparam("number"))
)
CHANGES = Statement(
    "history.changes",
    lambda _dialect: sa.select(_causes.c.changeid).where(_causes.c.buildsetid == sa.bindparam("buildsetid")),
)


@unit
def recent_builds(builders: Sequence[str], most: int) -> Work[list[FinishedBuild]]:
    """A read: the newest finished builds of each builder."""
    found: list[FinishedBuild] = []
    for builder in builders:
        found += [FinishedBuild(*row) for row in (yield RECENT(builder=builder, most=most))]
    return found


@unit
def build_numbered(builder: str, number: int) -> Work[tuple[FinishedBuild, list[int]] | None]:
    """A read: a finished build, and the changes that its buildset was made for."""
    rows = yield NUMBERED(builder=builder, number=number)
    if not rows:
        return None
    build = FinishedBuild(*rows[0])
    changes = yield CHANGES(buildsetid=build.buildsetid)
    return build, sorted(changeid for (changeid,) in changes)
