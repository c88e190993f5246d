"""What became of the buildsets that a step has triggered."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.unit import Statement, Work, in_set, unit

_s = schema.buildsets.c
_b = schema.builds.c

_RESULTS = Statement(
    "triggered.results",
    lambda dialect: sa.select(_s.id, _s.complete, _s.results).where(in_set(_s.id, "buildsetids")(dialect)),
)
_BUILDS = Statement(
    "triggered.builds",
    lambda dialect: (
        sa.select(_b.builderid, schema.builders.c.name, _b.number, _b.results)
        .select_from(schema.builds.join(schema.builders, schema.builders.c.id == _b.builderid))
        .where(in_set(_b.buildrequestid, "requestids")(dialect), _b.complete_at.is_not(None))
        .order_by(_b.id)
    ),
)


@unit
def buildset_results(buildsetids: Sequence[int]) -> Work[dict[int, int | None]]:
    """The results of buildsets; None for one that isn't complete."""
    rows = yield _RESULTS(buildsetids=buildsetids)
    return {buildsetid: results if complete else None for buildsetid, complete, results in rows}


@unit
def finished_builds(requestids: Sequence[int]) -> Work[list[tuple[int, str, int, int]]]:
    """The finished builds of requests: (builderid, builder's name, number, results)."""
    return list((yield _BUILDS(requestids=requestids)))
