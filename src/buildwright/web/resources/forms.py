"""Force schedulers: forms of this master's configuration, switched on and off in the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
import structlog

from buildwright.model.properties import Properties
from buildwright.store import schema
from buildwright.store.unit import Statement, Work, in_set, unit
from buildwright.store.units.history import recent_builds
from buildwright.web.paths import Params
from buildwright.web.resource import Computed, Json
from buildwright.web.services import ForceForm, WebServices

log = structlog.get_logger(__name__)

MOST_BUILDS = 20
"""So many of each builder can be inherited from."""

_s = schema.schedulers.c

_ENABLED = Statement(
    "api_enabled_schedulers",
    lambda dialect: sa.select(_s.name, _s.enabled).where(in_set(_s.name, "names")(dialect)),
)
_BUILDER_NAME = Statement(
    "api_builder_name",
    lambda _dialect: sa.select(schema.builders.c.name).where(
        schema.builders.c.id == sa.bindparam("builderid")
    ),
)

_FIELDS = {
    "all_fields": "jsonobject",
    "builder_names": "list",
    "button_name": "string",
    "enabled": "boolean",
    "label": "string",
    "name": "identifier",
}


@unit
def enabled_schedulers(names: list[str]) -> Work[dict[str, int]]:
    """A read: whether each of these schedulers is enabled, if it is known."""
    return dict((yield _ENABLED(names=names)))


@unit
def _builder_name(builderid: int) -> Work[str | None]:
    rows = yield _BUILDER_NAME(builderid=builderid)
    return rows[0][0] if rows else None


async def _all(services: WebServices) -> list[Json]:
    forms = sorted(services.force_forms(), key=lambda form: form.name)
    if not forms:
        return []
    enabled = await services.store.browse(enabled_schedulers([form.name for form in forms]))
    return [{**await _shown(services, form), "enabled": bool(enabled.get(form.name, True))} for form in forms]


async def _shown(services: WebServices, form: ForceForm) -> Mapping[str, Any]:
    shown = form.form()
    if not form.inherited:
        return shown
    builds = [
        {
            "builder": build.builder,
            "number": build.number,
            "results": build.results,
            "properties": {
                name: value for name, (value, _) in Properties.from_json(build.properties).items()
            },
        }
        for build in await services.store.browse(recent_builds(shown["builder_names"], MOST_BUILDS))
    ]
    try:
        return form.form(builds)
    except Exception as problem:
        log.exception(
            "compatible_builds failed; the form offers no builds",
            scheduler=form.name,
            error=f"{type(problem).__name__}: {problem}",
        )
        return shown


async def _list(services: WebServices, _params: Params) -> list[Json]:
    return await _all(services)


async def _one(services: WebServices, params: Params) -> list[Json] | None:
    return [form for form in await _all(services) if form["name"] == params["schedulername"]] or None


async def _of_builder(services: WebServices, params: Params) -> list[Json]:
    name = params.get("buildername")
    if name is None:
        name = await services.store.browse(_builder_name(params["builderid"]))
    return [form for form in await _all(services) if name in form["builder_names"]]


def _computed(path: str, collection: bool, objects: object) -> Computed:
    return Computed(path, "forcescheduler", "forceschedulers", collection, objects, _FIELDS)  # type: ignore[arg-type]


ENDPOINTS = [
    _computed("/forceschedulers", True, _list),
    _computed("/forceschedulers/i:schedulername", False, _one),
    _computed("/builders/n:builderid/forceschedulers", True, _of_builder),
    _computed("/builders/s:buildername/forceschedulers", True, _of_builder),
]
