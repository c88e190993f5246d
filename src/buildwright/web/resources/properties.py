"""Properties of builds, buildsets and changes, as one object or as a list of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.unit import Row, Statement, Work, unit
from buildwright.web.fields import Element, decode_json
from buildwright.web.paths import Params
from buildwright.web.paths import number as path_number
from buildwright.web.resource import Computed, Json
from buildwright.web.services import WebServices
from buildwright.web.ways import BUILD as BUILD_WAYS

_FIELDS = {"name": "string", "source": "string", "value": "jsonobject"}

Objects = Callable[[WebServices, Params], Awaitable[list[Json] | None]]


@unit
def read_one(statement: Statement, params: Params) -> Work[Row | None]:
    """Read the first row of a statement."""
    rows = yield statement(**params)
    return tuple(rows[0]) if rows else None


def _reader(table: sa.Table, which: Element) -> Callable[[WebServices, Params], Awaitable[Json | None]]:
    statement = Statement(
        f"api_properties_of_{table.name}",
        lambda _dialect: sa.select(table.c.properties).where(table.c.id == which),
    )

    async def read(services: WebServices, params: Params) -> Json | None:
        row = await services.store.browse(read_one(statement, params))
        properties: Json | None = None if row is None else decode_json(row[0])
        return properties

    return read


def _whole(table: sa.Table, which: Element) -> Objects:
    read = _reader(table, which)

    async def objects(services: WebServices, params: Params) -> list[Json] | None:
        properties = await read(services, params)
        return None if properties is None else [properties]

    return objects


def _listed(table: sa.Table, which: Element) -> Objects:
    read = _reader(table, which)

    async def objects(services: WebServices, params: Params) -> list[Json] | None:
        properties = await read(services, params)
        return [
            {"name": name, "source": source, "value": value}
            for name, (value, source) in (properties or {}).items()
        ]

    return objects


def _computed(path: str, collection: bool, objects: Any) -> Computed:
    name, plural = ("_property", "_properties") if collection else ("sourcedproperties", "properties")
    return Computed(path, name, plural, collection, objects, _FIELDS if collection else {})


ENDPOINTS = [
    *(_computed(f"{path}/properties", False, _whole(schema.builds, buildid)) for path, buildid in BUILD_WAYS),
    _computed("/buildsets/n:bsid/properties", False, _whole(schema.buildsets, path_number("bsid"))),
    _computed("/builds/n:buildid/property_list", True, _listed(schema.builds, path_number("buildid"))),
    _computed("/buildsets/n:bsid/properties_list", True, _listed(schema.buildsets, path_number("bsid"))),
    _computed("/changes/n:changeid/properties_list", True, _listed(schema.changes, path_number("changeid"))),
]
