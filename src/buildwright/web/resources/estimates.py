"""How long a build will still take: by the durations of the steps of its builder's last good build, and by
what the running step says of its own progress.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from buildwright.model.results import SUCCESS, WARNINGS
from buildwright.store import schema
from buildwright.store.unit import Statement, Work, unit
from buildwright.web.paths import Params
from buildwright.web.resource import Computed, Json
from buildwright.web.services import WebServices
from buildwright.web.ways import BUILD as BUILD_WAYS

US = 1_000_000
LOOK_BACK = 100  # builds before it, among which a good one is looked for

_b = schema.builds.c
_s = schema.steps.c
_FIELDS = {
    "based_on": "integer or null",
    "buildid": "integer",
    "seconds_left": "number or null",
    "step": "string or null",
    "step_progress": "number or null",
}


class Step(NamedTuple):
    """A step of a build, as far as an estimate needs it."""

    name: str
    began_at: int | None  # when it had its locks
    complete_at: int | None


class Found(NamedTuple):
    """A build with its steps, and those of the build that it is compared with."""

    buildid: int
    complete: bool
    steps: Sequence[Step]
    like: int | None
    like_steps: Sequence[Step]


_STEPS = Statement(
    "estimate.steps",
    lambda _dialect: (
        sa.select(_s.name, _s.locks_acquired_at, _s.complete_at)
        .where(_s.buildid == sa.bindparam("of_buildid"))
        .order_by(_s.number)
    ),
)
_LAST_GOOD = Statement(
    "estimate.last_good",
    lambda _dialect: (
        sa.select(_b.id)
        .where(
            _b.builderid == sa.bindparam("of_builderid"),
            _b.number < sa.bindparam("before"),
            _b.number >= sa.bindparam("since"),
            _b.results.between(sa.literal_column(str(SUCCESS)), sa.literal_column(str(WARNINGS))),
        )
        .order_by(_b.number.desc())
        .limit(sa.literal_column("1"))
    ),
)


@unit
def _read(build: Statement, params: Mapping[str, Any]) -> Work[Found | None]:
    rows = yield build(**params)
    if not rows:
        return None
    buildid, builderid, number, complete_at = rows[0]
    steps = [Step(*row) for row in (yield _STEPS(of_buildid=buildid))]
    good = yield _LAST_GOOD(of_builderid=builderid, before=number, since=number - LOOK_BACK)
    like = good[0][0] if good else None
    like_steps = [Step(*row) for row in (yield _STEPS(of_buildid=like))] if good else []
    return Found(buildid, complete_at is not None, steps, like, like_steps)


def seconds_left(found: Found, now_us: int, part: float | None) -> float | None:
    """What is left of a build; ``part`` of its running step is done, None: only its time tells. None: there
    is nothing to compare it with.
    """
    if found.complete:
        return 0.0
    if found.like is None:
        return None
    usual = {
        step.name: max(step.complete_at - step.began_at, 0) / US
        for step in found.like_steps
        if step.began_at is not None and step.complete_at is not None
    }
    left = sum(usual.values()) - sum(usual.get(step.name, 0.0) for step in found.steps)
    for step in found.steps:
        if step.complete_at is None and step.name in usual:
            passed = 0.0 if step.began_at is None else max(now_us - step.began_at, 0) / US
            whole = usual[step.name]
            left += max(whole - passed, 0.0) if part is None else whole * (1.0 - part)
    return round(max(left, 0.0), 1)


def _estimate(path: str, buildid: sa.ColumnElement[Any]) -> Computed:
    statement = Statement(
        "estimate.build",
        lambda _dialect: sa.select(_b.id, _b.builderid, _b.number, _b.complete_at).where(_b.id == buildid),
    )

    async def objects(services: WebServices, params: Params) -> list[Json] | None:
        found = await services.store.browse(_read(statement, params))
        if found is None:
            return None
        part = services.step_progress(found.buildid)
        running = next((step.name for step in found.steps if step.complete_at is None), None)
        return [
            {
                "based_on": found.like,
                "buildid": found.buildid,
                "seconds_left": seconds_left(found, services.now_us(), part),
                "step": running,
                "step_progress": part,
            }
        ]

    return Computed(f"{path}/estimate", "estimate", "estimates", False, objects, _FIELDS)


ENDPOINTS = [_estimate(path, buildid) for path, buildid in BUILD_WAYS]
