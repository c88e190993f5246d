"""The data API over HTTP: ``/api`` and ``/api/v2``. See :mod:`buildwright.web.data` for what it answers.

GET and HEAD read, POST acts (:mod:`buildwright.web.rpc`), OPTIONS answers browsers' preflights; any other
method is an error of the caller's. Every answer is JSON, also to what went wrong."""

from __future__ import annotations

from aiohttp import web

from buildwright.web import cors, logtext, openapi, query, rawdata, rpc
from buildwright.web.auth.gate import Gate
from buildwright.web.data import TABLE, Data
from buildwright.web.errors import ApiError, NotFound
from buildwright.web.logtext import LogPath
from buildwright.web.paths import split
from buildwright.web.rawdata import ValuePath
from buildwright.web.replies import encode_collection, json_reply, reply, wants_compact
from buildwright.web.resource import Endpoint
from buildwright.web.services import WebServices

VERSIONS = ("v2", "latest")


class Api:
    """The handlers."""

    def __init__(self, services: WebServices, gate: Gate) -> None:
        self._services = services
        self._gate = gate
        self.data = Data(services)

    def add_routes(self, app: web.Application) -> None:
        app.on_cleanup.append(self._stop)
        app.router.add_route("*", "/api", self.versions)
        app.router.add_route("*", "/api/", self.versions)
        app.router.add_get("/api/openapi.json", self.description)
        for version in VERSIONS:
            app.router.add_route("*", f"/api/{version}", self.handle)
            app.router.add_route("*", f"/api/{version}/{{path:[\\s\\S]*}}", self.handle)

    async def _stop(self, _app: web.Application) -> None:
        await self._gate.audit.written()

    async def versions(self, request: web.Request) -> web.Response:
        if request.method not in ("GET", "HEAD"):
            raise ApiError(f"invalid HTTP method {request.method[:20]}")
        cors.check_origin(request, self._services.snapshot())
        base = self._services.snapshot().buildbot_url
        return json_reply({"api_versions": {"v2": f"{base}api/v2/"}})

    async def description(self, request: web.Request) -> web.Response:
        """What there is, for tools."""
        cors.check_origin(request, self._services.snapshot())
        return json_reply(openapi.description(), headers={"Cache-Control": "public, max-age=0"})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        snapshot = self._services.snapshot()
        if request.method == "OPTIONS":
            return web.Response(headers=cors.preflight_headers(request, snapshot))
        cors.check_origin(request, snapshot)
        raw_path = (
            request.rel_url.raw_path.split("/", 3)[3] if request.rel_url.raw_path.count("/") > 2 else ""
        )
        if request.method == "POST":
            response: web.StreamResponse = await rpc.handle(
                request, self._services, self.data, self._gate, raw_path
            )
        elif request.method in ("GET", "HEAD"):
            response = await self._get(request, raw_path)
        else:
            raise ApiError(f"invalid HTTP method {request.method[:20]}")
        return response

    async def _get(self, request: web.Request, raw_path: str) -> web.StreamResponse:
        found = TABLE.find(split(raw_path))
        if found is None:
            raise NotFound("there is nothing at this path")
        target, params = found
        parameters = query.pairs(request.rel_url.raw_query_string)
        if isinstance(target, LogPath):
            return await logtext.serve(request, target, params, parameters, self._services)
        if isinstance(target, ValuePath):
            return await rawdata.serve(target, params, parameters, self._services)
        if isinstance(target, Endpoint) and target.guarded:
            await self._gate.admit_guarded(request, raw_path, target.resource.plural)
            await self._gate.audit.written()  # it is the audit that is guarded
        answer = await self.data.get(target, params, parameters)
        body = await encode_collection(answer.plural, answer.objects, answer.total)
        response = reply(body, compact=wants_compact(request))
        seconds = self._services.snapshot().www.json_cache_seconds
        if seconds:
            response.headers["Cache-Control"] = f"max-age={seconds}"
        return response
