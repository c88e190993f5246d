"""The bytes of build data over HTTP, as they were stored.

They are the work of a build, so they come as a file to keep, and can do nothing in this origin's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import sqlalchemy as sa
from aiohttp import web

from buildwright.store import schema
from buildwright.store.unit import Statement, Work, unit
from buildwright.web.errors import BadQuery, NotFound
from buildwright.web.fields import Element
from buildwright.web.paths import Params

if TYPE_CHECKING:
    from buildwright.web.services import WebServices

_d = schema.build_data.c


class ValuePath(NamedTuple):
    """A path to the bytes of build data."""

    path: str
    find: Statement

    @classmethod
    def of(cls, path: str, buildid: Element, name: Element) -> ValuePath:
        query = sa.select(_d.name, _d.value).where(_d.buildid == buildid, _d.name == name)
        return cls(path, Statement("api_build_data_value", lambda _dialect: query))


@unit
def _read(find: Statement, params: Params) -> Work[tuple[str, bytes] | None]:
    rows = yield find(**params)
    return (rows[0][0], rows[0][1]) if rows else None


async def serve(
    target: ValuePath, params: Params, query: list[tuple[str, str]], services: WebServices
) -> web.Response:
    """Answer a GET or HEAD of a value."""
    if query:
        raise BadQuery(f"unrecognized query parameter {query[0][0][:60]!r}; there are none here")
    found = await services.store.browse(_read(target.find, params))
    if found is None:
        raise NotFound("there is no such build_data")
    name, value = found
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
    }
    return web.Response(body=bytes(value), headers=headers)
