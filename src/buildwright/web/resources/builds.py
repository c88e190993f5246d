"""Builds, their steps and the logs of those."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.web.fields import condition, decode_json, flag, number, opaque, seconds, text
from buildwright.web.paths import number as path_number
from buildwright.web.resource import Endpoint, resource
from buildwright.web.resources import causes, lately
from buildwright.web.ways import BUILD as BUILD_WAYS
from buildwright.web.ways import BUILD_BY_NUMBER, BUILDER, LOG_OF_STEP, STEP_OF_BUILD
from buildwright.web.ways import STEP as STEP_WAYS

_b = schema.builds.c
_s = schema.steps.c
_l = schema.logs.c
_r = schema.buildrequests.alias("request_of_build").c
_bs = schema.buildsets.alias("set_of_build").c

# Open builds are few and have an index of their own. Said this way, SQLite begins with them; of the plain
# condition it thinks little and walks through the whole history in the order asked for.
_o = schema.builds.alias("open_build").c
_open = _b.id.in_(sa.select(_o.id).where(_o.complete_at.is_(None)))

BUILD = resource(
    "build",
    schema.builds,
    _b.id,
    number("buildid", _b.id),
    number("number", _b.number),
    number("builderid", _b.builderid),
    number("buildrequestid", _b.buildrequestid),
    number("attempt", _b.attempt),
    number("workerid", _b.workerid),
    number("masterid", _b.masterid),
    seconds("started_at", _b.started_at),
    condition("complete", _b.complete_at.is_not(None), _open, few=True),
    seconds("complete_at", _b.complete_at, nullable=True),
    seconds("locks_duration_s", _b.locks_duration_us, type="integer", exact="locks_duration_us"),
    number("results", _b.results, nullable=True),
    text("state_string", _b.state_string),
    lately.of_builds(_b.id, _b.buildrequestid),
    causes.OF_BUILDS,
    properties=_b.properties,
)

# A step that waits for a lock says so in its state.
_waits = sa.and_(_s.started_at.is_not(None), _s.locks_acquired_at.is_(None), _s.complete_at.is_(None))
_why = sa.case((_waits, _s.state_string), else_=sa.literal_column("''", sa.Text))

STEP = resource(
    "step",
    schema.steps,
    _s.id,
    number("stepid", _s.id),
    number("number", _s.number),
    text("name", _s.name, type="identifier"),
    number("buildid", _s.buildid),
    seconds("started_at", _s.started_at, nullable=True),
    seconds("locks_acquired_at", _s.locks_acquired_at, nullable=True),
    condition("complete", _s.complete_at.is_not(None), _s.complete_at.is_(None)),
    seconds("complete_at", _s.complete_at, nullable=True),
    number("results", _s.results, nullable=True),
    text("state_string", _s.state_string),
    opaque("urls", _s.urls, decode=decode_json, type="list"),
    flag("hidden", _s.hidden),
    text("waits_for", _why),
    lately.of_steps(_s.id),
    null_differs=True,
)

_gone = sa.or_(_l.tier == sa.literal_column("'expiring'"), _l.tier == sa.literal_column("'expired'"))

LOG = resource(
    "log",
    schema.logs,
    _l.id,
    number("logid", _l.id),
    text("name", _l.name),
    text("slug", _l.slug, type="identifier"),
    number("stepid", _l.stepid),
    flag("complete", _l.complete),
    number("num_lines", _l.num_lines),
    number("length", _l.length),
    # A log past its retention is there, with Buildbot's type for a deleted one, and has no text.
    text("type", sa.case((_gone, sa.literal_column("'d'", sa.Text)), else_=_l.type), type="identifier"),
    null_differs=True,
)


def _of_buildset(condition: Any) -> sa.ColumnElement[bool]:
    requests = sa.select(_r.id).where(_r.buildsetid.in_(sa.select(_bs.id).where(condition)))
    return _b.buildrequestid.in_(requests)


def _of_change() -> sa.ColumnElement[bool]:
    """Builds of a change: of its source stamp, or of a buildset that was made for it among others."""
    changeid = path_number("changeid")
    stamp = sa.select(schema.changes.c.sourcestampid).where(schema.changes.c.id == changeid).scalar_subquery()
    sources, causes = schema.buildset_sourcestamps.c, schema.buildset_changes.c
    buildsets = sa.union(
        sa.select(sources.buildsetid).where(sources.sourcestampid == stamp),
        sa.select(causes.buildsetid).where(causes.changeid == changeid),
    )
    return _b.buildrequestid.in_(sa.select(_r.id).where(_r.buildsetid.in_(buildsets)))


ENDPOINTS = [
    Endpoint("/builds", BUILD, True),
    Endpoint("/builds/n:buildid", BUILD, False, _b.id == path_number("buildid")),
    *(Endpoint(path, BUILD, False, _b.id == buildid) for path, buildid in BUILD_BY_NUMBER),
    *(Endpoint(f"{path}/builds", BUILD, True, _b.builderid == builderid) for path, builderid in BUILDER),
    Endpoint(
        "/buildrequests/n:buildrequestid/builds",
        BUILD,
        True,
        _b.buildrequestid == path_number("buildrequestid"),
    ),
    Endpoint("/changes/n:changeid/builds", BUILD, True, _of_change()),
    Endpoint("/workers/n:workerid/builds", BUILD, True, _b.workerid == path_number("workerid")),
    Endpoint(
        "/builds/n:buildid/triggered_builds",
        BUILD,
        True,
        _of_buildset(_bs.parent_buildid == path_number("buildid")),
    ),
    Endpoint("/steps/n:stepid", STEP, False, _s.id == path_number("stepid")),
    *(Endpoint(f"{path}/steps", STEP, True, _s.buildid == buildid) for path, buildid in BUILD_WAYS),
    *(Endpoint(path, STEP, False, _s.id == stepid) for path, stepid in STEP_OF_BUILD),
    Endpoint("/logs/n:logid", LOG, False, _l.id == path_number("logid")),
    *(Endpoint(f"{path}/logs", LOG, True, _l.stepid == stepid) for path, stepid in STEP_WAYS),
    *(Endpoint(path, LOG, False, _l.id == logid) for path, logid in LOG_OF_STEP),
    # All logs of a build at once, for whoever shows its steps.
    *(
        Endpoint(f"{path}/logs", LOG, True, _l.stepid.in_(sa.select(_s.id).where(_s.buildid == buildid)))
        for path, buildid in BUILD_WAYS
    ),
]
