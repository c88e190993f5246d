"""The data API itself, without HTTP: a path and a query in, objects out. The table of all paths is here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from buildwright.web import logtext, memory, query, select
from buildwright.web.errors import NotFound
from buildwright.web.logtext import LogPath
from buildwright.web.methods import methods_of
from buildwright.web.paths import Params, Table
from buildwright.web.query import Query
from buildwright.web.rawdata import ValuePath
from buildwright.web.resource import Computed, Endpoint, Json, Resource
from buildwright.web.resources import (
    audits,
    builders,
    builds,
    commits,
    estimates,
    forms,
    leftovers,
    masters,
    properties,
    requests,
    schedules,
    sources,
    testhistory,
    tries,
)
from buildwright.web.services import WebServices

Target = Endpoint | Computed | LogPath | ValuePath

READ_SECONDS = 20.0
MOST_AT_ONCE = 10_000
"""So many things are in one answer at most: who wants more asks for the next page."""

RESOURCES: dict[str, Resource] = {
    each.plural: each
    for each in (
        masters.MASTER,
        masters.SCHEDULER,
        masters.CHANGESOURCE,
        masters.PROJECT,
        masters.CODEBASE,
        commits.COMMIT,
        commits.BRANCH,
        builders.BUILDER,
        builders.WORKER,
        builds.BUILD,
        builds.STEP,
        builds.LOG,
        requests.BUILDSET,
        requests.BUILDREQUEST,
        sources.SOURCESTAMP,
        sources.CHANGE,
        leftovers.TEST_RESULT_SET,
    )
}


async def _rootlinks(_services: WebServices, _params: Params) -> list[Json]:
    roots = {path.strip("/") for path, target in TABLE if path.count("/") == 1 and _is_collection(target)}
    return [{"name": name} for name in sorted(roots - {"", "application.spec"})]


async def _specs(_services: WebServices, _params: Params) -> list[Json]:
    return [_spec(path, target) for path, target in TABLE]


def kind_of(target: Target) -> str:
    """The plural of what a path leads to, as rules know it."""
    if isinstance(target, LogPath):
        return "logs"
    if isinstance(target, ValuePath):
        return "build_data"
    return target.resource.plural if isinstance(target, Endpoint) else target.plural


def _is_collection(target: Target) -> bool:
    return isinstance(target, Endpoint | Computed) and target.collection


def _spec(path: str, target: Target) -> Json:
    if isinstance(target, LogPath):
        name, plural, fields = logtext.SHAPES[target.kind]
        shown = [memory.MemoryField(*field).describe() for field in fields.items()]
    elif isinstance(target, ValuePath):
        name, plural = "build_data_value", "build_data_values"
        shown = [memory.MemoryField("value", "binary").describe()]
    elif isinstance(target, Computed):
        name, plural = target.name, target.plural
        shown = [field.describe() for field in memory.fields_of(target.fields).values()]
    else:
        name, plural = target.resource.name, target.resource.plural
        shown = [field.describe() for field in target.resource.fields.values()]
        if target.resource.properties is not None:
            kind = "sourcedproperties"
            shown.append(
                {"name": "properties", "type": kind, "type_spec": {"name": kind, "can_be_null": True}}
            )
    return {
        "path": path.lstrip("/"),
        "type": name,
        "plural": plural,
        "methods": sorted(methods_of(target)),
        "type_spec": {"fields": shown, "type": name},
    }


_SPEC = {"methods": "list", "path": "string", "plural": "string", "type": "string", "type_spec": "jsonobject"}


def _table() -> Table[Target]:
    table: Table[Target] = Table()
    table.add("/", Computed("/", "rootlink", "rootlinks", True, _rootlinks, {"name": "string"}))
    table.add("/application.spec", Computed("/application.spec", "spec", "specs", True, _specs, _SPEC))
    rooms = (
        masters, builders, builds, estimates, requests, sources, properties, forms, schedules, tries,
        leftovers, testhistory, commits, audits,
    )  # fmt: skip
    for room in rooms:
        for endpoint in room.ENDPOINTS:
            table.add(endpoint.path, endpoint)
    for path in logtext.PATHS:
        table.add(path.path, path)
    for value in leftovers.VALUES:
        table.add(value.path, value)
    return table


TABLE = _table()


@dataclass(frozen=True, slots=True)
class Answer:
    """The objects at a path; ``total`` is None for a single one."""

    plural: str
    objects: Iterable[Json]
    total: int | None


class Data:
    """Reads of the data API."""

    def __init__(self, services: WebServices) -> None:
        self._services = services
        self._plans = select.Plans()

    async def get(
        self, target: Endpoint | Computed, params: Params, parameters: list[tuple[str, str]]
    ) -> Answer:
        """What is at the path; raises :class:`~buildwright.web.errors.ApiError`."""
        if isinstance(target, Computed):
            return await self._computed(target, params, parameters)
        resource = target.resource
        asked = query.parse(
            parameters,
            resource.fields,
            collection=target.collection,
            has_properties=resource.properties is not None,
        )
        objects, total = await self._rows(target, params, asked)
        if target.collection:
            return Answer(resource.plural, objects, total)
        if not total:
            raise NotFound(f"there is no such {resource.name}")
        return Answer(resource.plural, objects, None)

    async def _rows(self, target: Endpoint, params: Params, asked: Query) -> tuple[Iterator[Json], int]:
        if target.collection:
            limit = MOST_AT_ONCE if asked.limit is None else min(asked.limit, MOST_AT_ONCE)
            asked = replace(asked, limit=limit)
        plan = self._plans.of(target, asked)
        bound = plan.bind(params, asked)
        page = await self._services.store.browse(
            select.read_page(plan, bound, asked.limit, asked.offset), timeout=READ_SECONDS
        )
        return plan.objects(page, asked), page.total

    async def _computed(self, target: Computed, params: Params, parameters: list[tuple[str, str]]) -> Answer:
        fields = memory.fields_of(target.fields)
        asked = query.parse(parameters, fields, collection=target.collection)
        objects = await target.objects(self._services, params)
        if objects is None:
            raise NotFound("there is nothing at this path")
        if not target.collection:
            return Answer(
                target.plural, objects if not asked.fields else memory.apply(objects, asked)[0], None
            )
        found, total = memory.apply(objects, asked)
        return Answer(target.plural, found, total)
