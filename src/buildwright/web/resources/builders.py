"""Builders and workers, and how they belong together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.unit import Statement, in_set
from buildwright.web.fields import (
    Condition,
    Derived,
    condition,
    decode_json,
    flag,
    integer,
    json_list,
    number,
    opaque,
    text,
)
from buildwright.web.paths import number as path_number
from buildwright.web.paths import text as path_text
from buildwright.web.resource import Endpoint, Json, resource
from buildwright.web.resources import lately
from buildwright.web.ways import BUILDER as BUILDER_WAYS

_b = schema.builders.c
_w = schema.workers.c
_bm = schema.builder_masters.c
_cw = schema.configured_workers.c

_ONE: sa.ColumnElement[int] = sa.literal_column("1")

_MASTERIDS = Statement(
    "api_masterids",
    lambda dialect: (
        sa.select(_bm.builderid, _bm.masterid)
        .where(in_set(_bm.builderid, "ids")(dialect))
        .order_by(_bm.builderid, _bm.masterid)
    ),
)
_CONFIGURED_ON = Statement(
    "api_configured_on",
    lambda dialect: (
        sa.select(_cw.workerid, _cw.masterid, _cw.builderid)
        .where(in_set(_cw.workerid, "ids")(dialect))
        .order_by(_cw.workerid, _cw.masterid, _cw.builderid)
    ),
)


def _on_master(parameter: str) -> Callable[[str], Condition]:
    return lambda dialect: sa.exists(
        sa.select(_ONE).where(_bm.builderid == _b.id, in_set(_bm.masterid, parameter)(dialect))
    )


BUILDER = resource(
    "builder",
    schema.builders,
    _b.id,
    number("builderid", _b.id),
    text("name", _b.name),
    Derived(
        "masterids",
        (_b.id,),
        "list",
        operators=("contains",),
        spec={"type": "list", "of": {"name": "integer"}},
        member=_on_master,
        of=integer,
        rows=_MASTERIDS,
        collect=lambda rows: [masterid for (masterid,) in rows],
    ),
    text("description", _b.description, nullable=True),
    text("description_format", _b.description_format, nullable=True),
    text("description_html", sa.null().cast(sa.Text), nullable=True),
    number("projectid", _b.projectid, nullable=True),
    json_list("tags", _b.tags),
    text("waits_for", _b.waits_for),
    lately.of_builders(_b.id),
    null_differs=True,
)

# What Buildbot shows of a worker's information; the rest becomes properties of its builds.
_INFO = ("admin", "host", "access_uri", "version")


def _info(stored: str) -> Json:
    info = decode_json(stored)
    return {name: info[name] for name in _INFO if name in info}


_connected = sa.and_(_w.connected == sa.literal_column("1"), _w.masterid.is_not(None))

WORKER = resource(
    "worker",
    schema.workers,
    _w.id,
    number("workerid", _w.id),
    text("name", _w.name),
    opaque(
        "connected_to",
        sa.case((_connected, _w.masterid), else_=0),
        decode=lambda masterid: [{"masterid": masterid}] if masterid else [],
        type="list",
    ),
    Derived(
        "configured_on",
        (_w.id,),
        "list",
        spec={"type": "list", "of": {"name": "master_builder"}},
        rows=_CONFIGURED_ON,
        collect=lambda rows: [{"builderid": builderid, "masterid": masterid} for masterid, builderid in rows],
    ),
    opaque("workerinfo", _w.info, decode=_info),
    flag("paused", _w.paused),
    text("pause_reason", _w.pause_reason, nullable=True),
    condition("graceful", _w.graceful != sa.literal_column("0"), _w.graceful == sa.literal_column("0")),
    lately.of_workers(_w.id),
    null_differs=True,
)


def _configured(*conditions: Any) -> Condition:
    return sa.exists(sa.select(_ONE).where(_cw.workerid == _w.id, *conditions))


def _builder_endpoints() -> list[Endpoint]:
    of_master = sa.exists(
        sa.select(_ONE).where(_bm.builderid == _b.id, _bm.masterid == path_number("masterid"))
    )
    of_worker = sa.exists(
        sa.select(_ONE).where(_cw.builderid == _b.id, _cw.workerid == path_number("workerid"))
    )
    return [
        Endpoint("/builders", BUILDER, True),
        *(Endpoint(path, BUILDER, False, _b.id == builderid) for path, builderid in BUILDER_WAYS),
        Endpoint("/masters/n:masterid/builders", BUILDER, True, of_master),
        Endpoint(
            "/masters/n:masterid/builders/n:builderid",
            BUILDER,
            False,
            sa.and_(of_master, _b.id == path_number("builderid")),
        ),
        Endpoint("/projects/n:projectid/builders", BUILDER, True, _b.projectid == path_number("projectid")),
        Endpoint("/workers/n:workerid/builders", BUILDER, True, of_worker),
    ]


def _worker_endpoints() -> list[Endpoint]:
    masterid, builderid = path_number("masterid"), path_number("builderid")
    on_master = sa.or_(_configured(_cw.masterid == masterid), sa.and_(_connected, _w.masterid == masterid))
    ways: list[tuple[str, Condition | None]] = [
        ("", None),
        ("/masters/n:masterid", on_master),
        (
            "/masters/n:masterid/builders/n:builderid",
            _configured(_cw.masterid == masterid, _cw.builderid == builderid),
        ),
        ("/builders/n:builderid", _configured(_cw.builderid == builderid)),
    ]
    found = []
    for path, where in ways:
        found.append(Endpoint(f"{path}/workers", WORKER, True, where))
        for element, which in (
            ("n:workerid", _w.id == path_number("workerid")),
            ("i:name", _w.name == path_text("name")),
        ):
            both = which if where is None else sa.and_(where, which)
            found.append(Endpoint(f"{path}/workers/{element}", WORKER, False, both))
    return found


ENDPOINTS = [*_builder_endpoints(), *_worker_endpoints()]
