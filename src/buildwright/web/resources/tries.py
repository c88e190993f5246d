"""Try schedulers: of this master's configuration, those whose jobs come over the API."""

from __future__ import annotations

from buildwright.web.paths import Params
from buildwright.web.resource import Computed, Json
from buildwright.web.resources.forms import enabled_schedulers
from buildwright.web.services import WebServices

_FIELDS = {
    "builder_names": "list",
    "codebases": "list",
    "enabled": "boolean",
    "name": "identifier",
    "needs_user": "boolean",
}


async def _all(services: WebServices, _params: Params) -> list[Json]:
    found = sorted(services.try_schedulers(), key=lambda each: each.name)
    if not found:
        return []
    enabled = await services.store.browse(enabled_schedulers([each.name for each in found]))
    return [
        {
            "builder_names": each.builder_names or [],
            "codebases": list(each.codebases),
            "enabled": bool(enabled.get(each.name, True)),
            "name": each.name,
            "needs_user": bool(each.userpass),
        }
        for each in found
    ]


async def _one(services: WebServices, params: Params) -> list[Json] | None:
    return [each for each in await _all(services, params) if each["name"] == params["schedulername"]] or None


ENDPOINTS = [
    Computed("/tryschedulers", "tryscheduler", "tryschedulers", True, _all, _FIELDS),
    Computed("/tryschedulers/s:schedulername", "tryscheduler", "tryschedulers", False, _one, _FIELDS),
]
