"""The ways in which a path names a builder, a build, a step or a log, each with the SQL for its id.

Buildbot names a build by its id or by builder and number, a builder by id or name, a step by number or name,
a log by its slug. Endpoints below such a thing are made for all of its ways with one loop over these lists.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.web.fields import Element
from buildwright.web.paths import number, text

Way = tuple[str, Element]

_builders = schema.builders.alias("named_builder").c
_builds = schema.builds.alias("numbered_build").c
_steps = schema.steps.alias("named_step").c
_logs = schema.logs.alias("named_log").c


def _id(column: Element, *where: Any) -> Element:
    return sa.select(column).where(*where).scalar_subquery()


BUILDER: list[Way] = [
    ("/builders/n:builderid", number("builderid")),
    ("/builders/s:buildername", _id(_builders.id, _builders.name == text("buildername"))),
]
# The same build by its builder; an id of its own comes first.
BUILD_BY_NUMBER: list[Way] = [
    (
        f"{path}/builds/n:build_number",
        _id(_builds.id, _builds.builderid == builderid, _builds.number == number("build_number")),
    )
    for path, builderid in BUILDER
]
BUILD: list[Way] = [("/builds/n:buildid", number("buildid")), *BUILD_BY_NUMBER]
STEP_OF_BUILD: list[Way] = [
    (f"{path}/steps/{element}", _id(_steps.id, _steps.buildid == buildid, condition))
    for path, buildid in BUILD
    for element, condition in (
        ("n:step_number", _steps.number == number("step_number")),
        ("i:step_name", _steps.name == text("step_name")),
    )
]
STEP: list[Way] = [("/steps/n:stepid", number("stepid")), *STEP_OF_BUILD]
LOG_OF_STEP: list[Way] = [
    (f"{path}/logs/i:log_slug", _id(_logs.id, _logs.stepid == stepid, _logs.slug == text("log_slug")))
    for path, stepid in STEP
]
LOG: list[Way] = [("/logs/n:logid", number("logid")), *LOG_OF_STEP]
