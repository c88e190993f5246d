"""Buildsets and build requests: what is to be done, and why it waits."""

from __future__ import annotations

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.unit import Statement, in_set
from buildwright.web.fields import Derived, condition, flag, number, seconds, text
from buildwright.web.paths import number as path_number
from buildwright.web.resource import Endpoint, resource
from buildwright.web.resources import causes
from buildwright.web.resources.sources import STAMP_COLUMNS, STAMP_SOURCE, stamp

_r = schema.buildrequests.c
_bs = schema.buildsets.c
_links = schema.buildset_sourcestamps

_ZERO: sa.ColumnElement[int] = sa.literal_column("0")
_ONE: sa.ColumnElement[int] = sa.literal_column("1")

_SOURCESTAMPS = Statement(
    "api_sourcestamps_of_buildsets",
    lambda dialect: (
        sa.select(_links.c.buildsetid, *STAMP_COLUMNS)
        .select_from(STAMP_SOURCE.join(_links, _links.c.sourcestampid == schema.sourcestamps.c.id))
        .where(in_set(_links.c.buildsetid, "ids")(dialect))
        .order_by(_links.c.buildsetid, schema.sourcestamps.c.id)
    ),
)

BUILDSET = resource(
    "buildset",
    schema.buildsets,
    _bs.id,
    number("bsid", _bs.id),
    text("external_idstring", _bs.external_idstring, nullable=True),
    text("reason", _bs.reason),
    number("rebuilt_buildid", _bs.rebuilt_buildid, nullable=True),
    seconds("submitted_at", _bs.submitted_at, type="integer"),
    flag("complete", _bs.complete),
    seconds("complete_at", _bs.complete_at, nullable=True, type="integer"),
    number("results", _bs.results, nullable=True),
    Derived(
        "sourcestamps",
        (_bs.id,),
        "list",
        spec={"type": "list", "of": {"name": "sourcestamp"}},
        rows=_SOURCESTAMPS,
        collect=lambda rows: [stamp(*row) for row in rows],
    ),
    number("parent_buildid", _bs.parent_buildid, nullable=True),
    text("parent_relationship", _bs.parent_relationship, nullable=True),
)

# A request that completed without ever being claimed (cancelled, collapsed) counts as claimed:
# Buildbot claims it for that. So "not claimed" is "waiting", which an index holds.
_waiting = sa.and_(_r.complete == _ZERO, _r.claimed_by.is_(None))
_claimed = sa.or_(_r.complete == _ONE, _r.claimed_by.is_not(None))
# A builder that no running master has goes before all that was stored when one had it; then a request's own
# reason goes before its builder's.
_at_home = sa.exists(
    sa.select(_ONE)
    .select_from(
        schema.builder_masters.join(schema.masters, schema.masters.c.id == schema.builder_masters.c.masterid)
    )
    .where(schema.builder_masters.c.builderid == _r.builderid, schema.masters.c.active == _ONE)
)
NO_MASTER = "no running master has this builder in its configuration"
_why = sa.case(
    (_claimed, sa.literal_column("''", sa.Text)),
    (sa.not_(_at_home), sa.literal_column(f"'{NO_MASTER}'", sa.Text)),
    else_=sa.func.coalesce(sa.func.nullif(_r.waits_for, ""), schema.builders.c.waits_for, ""),
)

BUILDREQUEST = resource(
    "buildrequest",
    schema.buildrequests.outerjoin(schema.buildsets, _bs.id == _r.buildsetid).outerjoin(
        schema.builders, schema.builders.c.id == _r.builderid
    ),
    _r.id,
    number("buildrequestid", _r.id),
    number("buildsetid", _r.buildsetid),
    number("builderid", _r.builderid),
    number("priority", _r.priority),
    condition("claimed", _claimed, _waiting),
    seconds("claimed_at", _r.claimed_at, nullable=True),
    number("claimed_by_masterid", _r.claimed_by, nullable=True),
    flag("complete", _r.complete),
    seconds("complete_at", _r.complete_at, nullable=True),
    number("results", _r.results, nullable=True),
    seconds("submitted_at", _r.submitted_at),
    flag("waited_for", _r.waited_for),
    number("attempts", _r.attempts),
    text("waits_for", _why),
    text("stop_reason", _r.stop_reason, nullable=True),
    causes.OF_REQUESTS,
    properties=_bs.properties,
    ties_ascend=frozenset({"priority"}),
)

ENDPOINTS = [
    Endpoint("/buildsets", BUILDSET, True),
    Endpoint("/buildsets/n:bsid", BUILDSET, False, _bs.id == path_number("bsid")),
    Endpoint("/buildrequests", BUILDREQUEST, True),
    Endpoint("/buildrequests/n:buildrequestid", BUILDREQUEST, False, _r.id == path_number("buildrequestid")),
    Endpoint(
        "/builders/n:builderid/buildrequests", BUILDREQUEST, True, _r.builderid == path_number("builderid")
    ),
]
