"""``/cc.xml``: the state of all builders in the form that CCMenu, CCTray and wall displays read.

Each builder of a running master is a project. It is Building while a build of it runs; what its latest build
that has ended came to is its last status. ``builder``, ``tag`` and ``project`` in the query narrow the list.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aiohttp import web

from buildwright.model.results import EXCEPTION, FAILURE, SUCCESS, WARNINGS
from buildwright.web import query
from buildwright.web.asked import page_url, things_at
from buildwright.web.data import Data
from buildwright.web.errors import BadQuery
from buildwright.web.resource import Json
from buildwright.web.services import WebServices
from buildwright.web.xmltext import document, element, tagged

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_STATUS = {SUCCESS: "Success", WARNINGS: "Success", FAILURE: "Failure", EXCEPTION: "Exception"}
_FIELDS = ("builderid", "name", "masterids", "projectid", "tags", "latest_build", "running_builds")
_NARROWING = {"builder": "name", "tag": "tags__contains"}


class CCTray:
    """The handler."""

    def __init__(self, services: WebServices) -> None:
        self._services = services
        self._data = Data(services)

    def add_routes(self, app: web.Application) -> None:
        for path in ("/cc.xml", "/cctray.xml"):
            app.router.add_get(path, self.serve)

    async def serve(self, request: web.Request) -> web.Response:
        projects = {each["projectid"]: each["name"] for each in await things_at(self._data, ("projects",))}
        parameters = [("field", name) for name in _FIELDS] + [("order", "name")]
        wanted: list[str] = []
        for name, value in query.pairs(request.rel_url.raw_query_string):
            if name == "project":
                wanted.append(value)
            elif name in _NARROWING:
                parameters.append((_NARROWING[name], value))
            else:
                raise BadQuery(f"cc.xml is narrowed by builder, tag and project, not by {name[:60]!r}")
        root = element("Projects", {})
        for builder in await things_at(self._data, ("builders",), parameters):
            project = projects.get(builder["projectid"], "")
            if builder["masterids"] and (not wanted or project in wanted):
                root.append(self._project(builder, project))
        return tagged(request, document(root), "application/xml", {})

    def _project(self, builder: Json, project: str) -> Element:
        latest = builder["latest_build"]
        told = {
            "name": builder["name"],
            "activity": "Building" if builder["running_builds"] else "Sleeping",
            "lastBuildStatus": "Unknown" if latest is None else _STATUS.get(latest["results"], "Unknown"),
            "webUrl": page_url(self._services.snapshot(), "builders", builder["builderid"]),
        }
        if latest is not None:
            told["lastBuildLabel"] = str(latest["number"])
            told["lastBuildTime"] = datetime.fromtimestamp(latest["complete_at"], UTC).isoformat()
        if project:
            told["category"] = project
        return element("Project", told)
