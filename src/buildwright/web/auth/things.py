"""Of which builder and owner a thing of the data API is, however its path names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.unit import Statement, Work, unit
from buildwright.web.data import TABLE, Data
from buildwright.web.errors import NotFound
from buildwright.web.fields import decode_json
from buildwright.web.paths import Params, split
from buildwright.web.resource import Endpoint
from buildwright.web.services import WebServices

_named = schema.builders.alias("builder_of_thing")
_builds, _requests, _sets = schema.builds, schema.buildrequests, schema.buildsets


class Thing(NamedTuple):
    """What rules can ask of a thing."""

    builders: Sequence[str] = ()
    owner: str | None = None


NO_THING = Thing()


def _statement(source: Any, key: Any, builderid: Any, properties: Any) -> Statement:
    name = sa.select(_named.c.name).where(_named.c.id == builderid).scalar_subquery()
    query = (
        sa.select(name, properties).select_from(source).where(key == sa.bindparam("id", type_=sa.BigInteger))
    )
    return Statement("thing_of", lambda _dialect: query)


_NULL: Any = sa.null().cast(sa.Text)
_OF_STEP = schema.steps.join(_builds, _builds.c.id == schema.steps.c.buildid)
_BY_KIND = {
    "builders": _statement(schema.builders, schema.builders.c.id, schema.builders.c.id, _NULL),
    "builds": _statement(_builds, _builds.c.id, _builds.c.builderid, _builds.c.properties),
    "buildrequests": _statement(
        _requests.join(_sets, _sets.c.id == _requests.c.buildsetid),
        _requests.c.id,
        _requests.c.builderid,
        _sets.c.properties,
    ),
    "buildsets": _statement(
        _sets.outerjoin(_requests, _requests.c.buildsetid == _sets.c.id),
        _sets.c.id,
        _requests.c.builderid,
        _sets.c.properties,
    ),
    "steps": _statement(_OF_STEP, schema.steps.c.id, _builds.c.builderid, _builds.c.properties),
    "logs": _statement(
        _OF_STEP.join(schema.logs, schema.logs.c.stepid == schema.steps.c.id),
        schema.logs.c.id,
        _builds.c.builderid,
        _builds.c.properties,
    ),
    "test_result_sets": _statement(
        schema.test_result_sets.join(_builds, _builds.c.id == schema.test_result_sets.c.buildid),
        schema.test_result_sets.c.id,
        _builds.c.builderid,
        _builds.c.properties,
    ),
}


@unit
def _read(statement: Statement, id: int) -> Work[Thing]:
    rows = yield statement(id=id)
    if not rows:
        return NO_THING
    owner = (decode_json(rows[0][1] or "{}").get("owner") or [None])[0]
    builders = dict.fromkeys(name for name, _ in rows if name is not None)
    return Thing(tuple(builders), owner if isinstance(owner, str) else None)


async def thing_of(services: WebServices, kind: str, id: int) -> Thing:
    """Of which builder and owner something is; of none, if nothing is known of its kind."""
    statement = _BY_KIND.get(kind)
    return NO_THING if statement is None else await services.store.read(_read(statement, id))


async def thing_at(services: WebServices, data: Data, raw_path: str) -> Thing:
    """The same of what a path leads to, or of the nearest thing above it that has a builder."""
    path = split(raw_path)
    for end in range(len(path), 1, -1):
        found = TABLE.find(path[:end])
        if found is None:
            continue
        target, params = found
        if not isinstance(target, Endpoint) or target.collection or target.resource.plural not in _BY_KIND:
            continue
        key = target.resource.key_name
        try:
            answer = await data.get(target, params, [("field", key)])
        except NotFound:
            return NO_THING
        return await thing_of(services, target.resource.plural, next(iter(answer.objects))[key])
    return NO_THING


async def thing_of_call(
    services: WebServices,
    data: Data,
    kind: str,
    method: str,
    path: Params,
    params: Mapping[str, Any],
    raw_path: str,
) -> Thing:
    """The same of a call; of one that forces, the builders that it would start."""
    if (kind, method) == ("forceschedulers", "force"):
        return Thing(tuple(services.control.force_builders(path["schedulername"], params)))
    return await thing_at(services, data, raw_path)
