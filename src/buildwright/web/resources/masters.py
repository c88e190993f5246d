"""Masters, projects, codebases, schedulers, change sources: who there is, by name."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.web.fields import Element, condition, flag, number, opaque, seconds, text
from buildwright.web.paths import number as path_number
from buildwright.web.paths import text as path_text
from buildwright.web.resource import Endpoint, Json, resource

_m = schema.masters.c
_p = schema.projects.c
_s = schema.schedulers.c
_cs = schema.changesources.c
_cb = schema.codebases.c

MASTER = resource(
    "master",
    schema.masters,
    _m.id,
    number("masterid", _m.id),
    text("name", _m.name),
    flag("active", _m.active),
    seconds("last_active", _m.last_active),
)


def _master(masterid: int | None, name: Any, active: Any, last_active: Any) -> Json | None:
    if masterid is None:
        return None
    return {
        "active": bool(active),
        "last_active": last_active // 1_000_000,
        "last_active_us": last_active,
        "masterid": masterid,
        "name": name,
    }


def _owner(owned: sa.Table) -> tuple[sa.FromClause, tuple[Element, ...]]:
    """The table with its master beside it, and the master's columns."""
    owner = schema.masters.alias("owner")
    columns = (owner.c.id, owner.c.name, owner.c.active, owner.c.last_active)
    return owned.outerjoin(owner, owner.c.id == owned.c.masterid), columns


_scheduler_source, _scheduler_master = _owner(schema.schedulers)
_changesource_source, _changesource_master = _owner(schema.changesources)

SCHEDULER = resource(
    "scheduler",
    _scheduler_source,
    _s.id,
    number("schedulerid", _s.id),
    text("name", _s.name),
    flag("enabled", _s.enabled),
    opaque("master", *_scheduler_master, decode=_master, type="master", nullable=True),
    null_differs=True,
)

CHANGESOURCE = resource(
    "changesource",
    _changesource_source,
    _cs.id,
    number("changesourceid", _cs.id),
    text("name", _cs.name),
    opaque("master", *_changesource_master, decode=_master, type="master", nullable=True),
    null_differs=True,
)

# A project is active while a master that is there has a builder of it.
_active = sa.exists(
    sa.select(sa.literal_column("1"))
    .select_from(
        schema.builders.join(
            schema.builder_masters, schema.builder_masters.c.builderid == schema.builders.c.id
        ).join(schema.masters, schema.masters.c.id == schema.builder_masters.c.masterid)
    )
    .where(schema.builders.c.projectid == _p.id, schema.masters.c.active == 1)
)
PROJECT = resource(
    "project",
    schema.projects,
    _p.id,
    number("projectid", _p.id),
    text("name", _p.name),
    text("slug", _p.slug),
    condition("active", _active, sa.not_(_active)),
    text("description", _p.description, nullable=True),
    text("description_format", _p.description_format, nullable=True),
    text("description_html", sa.null().cast(sa.Text), nullable=True),
    null_differs=True,
)

CODEBASE = resource(
    "codebase",
    schema.codebases,
    _cb.id,
    number("codebaseid", _cb.id),
    number("projectid", _cb.projectid),
    text("name", _cb.name),
    text("slug", _cb.slug),
    null_differs=True,
)

_of_builder = sa.exists(
    sa.select(sa.literal_column("1")).where(
        schema.builder_masters.c.masterid == _m.id,
        schema.builder_masters.c.builderid == path_number("builderid"),
    )
)

ENDPOINTS = [
    Endpoint("/masters", MASTER, True),
    Endpoint("/masters/n:masterid", MASTER, False, _m.id == path_number("masterid")),
    Endpoint("/builders/n:builderid/masters", MASTER, True, _of_builder),
    Endpoint(
        "/builders/n:builderid/masters/n:masterid",
        MASTER,
        False,
        sa.and_(_of_builder, _m.id == path_number("masterid")),
    ),
    Endpoint("/schedulers", SCHEDULER, True),
    Endpoint("/schedulers/n:schedulerid", SCHEDULER, False, _s.id == path_number("schedulerid")),
    Endpoint("/masters/n:masterid/schedulers", SCHEDULER, True, _s.masterid == path_number("masterid")),
    Endpoint(
        "/masters/n:masterid/schedulers/n:schedulerid",
        SCHEDULER,
        False,
        sa.and_(_s.masterid == path_number("masterid"), _s.id == path_number("schedulerid")),
    ),
    Endpoint("/changesources", CHANGESOURCE, True),
    Endpoint("/changesources/n:changesourceid", CHANGESOURCE, False, _cs.id == path_number("changesourceid")),
    Endpoint(
        "/masters/n:masterid/changesources", CHANGESOURCE, True, _cs.masterid == path_number("masterid")
    ),
    Endpoint(
        "/masters/n:masterid/changesources/n:changesourceid",
        CHANGESOURCE,
        False,
        sa.and_(_cs.masterid == path_number("masterid"), _cs.id == path_number("changesourceid")),
    ),
    Endpoint("/projects", PROJECT, True),
    Endpoint("/projects/n:projectid", PROJECT, False, _p.id == path_number("projectid")),
    Endpoint("/projects/i:projectname", PROJECT, False, _p.name == path_text("projectname")),
    Endpoint("/codebases", CODEBASE, True),
    Endpoint("/codebases/n:codebaseid", CODEBASE, False, _cb.id == path_number("codebaseid")),
    Endpoint("/projects/n:projectid/codebases", CODEBASE, True, _cb.projectid == path_number("projectid")),
    Endpoint(
        "/projects/n:projectid/codebases/i:codebasename",
        CODEBASE,
        False,
        sa.and_(_cb.projectid == path_number("projectid"), _cb.name == path_text("codebasename")),
    ),
]
