"""The plain first page and ``/config``: static files that use the public data API and nothing else.

The page is HTML, a style sheet and a few scripts, served as they are from ``static/``. A content policy lets
it load its own files and talk to its own origin, so that even a text that got past the scripts' escaping
could run nothing."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from aiohttp import web

from buildwright import __version__
from buildwright.web.errors import NotFound
from buildwright.web.replies import json_reply
from buildwright.web.services import WebServices

_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


class Page:
    """The handlers."""

    def __init__(self, services: WebServices) -> None:
        self._services = services
        self._files: dict[str, tuple[bytes, str]] = {}

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/", self.index)
        app.router.add_get("/page/{name}", self.file)
        app.router.add_get("/favicon.ico", self.icon)
        app.router.add_get("/config", self.config)

    async def index(self, request: web.Request) -> web.Response:
        return self._serve(request, "index.html")

    async def file(self, request: web.Request) -> web.Response:
        return self._serve(request, request.match_info["name"])

    async def icon(self, request: web.Request) -> web.Response:
        return self._serve(request, "icon.svg")

    async def config(self, _request: web.Request) -> web.Response:
        """What a page needs to know before it asks for anything else."""
        snapshot = self._services.snapshot()
        told = {
            "buildbotURL": snapshot.buildbot_url,
            "multiMaster": snapshot.multi_master,
            "title": snapshot.title,
            "titleURL": snapshot.title_url,
            "user": {"anonymous": True},
            "versions": [["Buildwright", __version__]],
        }
        return json_reply(told, headers={"Cache-Control": "public, max-age=0"})

    def _serve(self, request: web.Request, name: str) -> web.Response:
        found = self._read().get(name)
        if found is None:
            raise NotFound("there is nothing at this path")
        body, tag = found
        headers = {
            "Cache-Control": "public, max-age=0",
            "Content-Security-Policy": _POLICY,
            "ETag": tag,
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
        }
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        kind = _TYPES[name.rpartition(".")[2]]
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)

    def _read(self) -> dict[str, tuple[bytes, str]]:
        """All files by name; a name that isn't among them leads nowhere, however it is spelled."""
        if not self._files:
            for entry in files("buildwright.web").joinpath("static").iterdir():
                if entry.name.rpartition(".")[2] in _TYPES:
                    body = entry.read_bytes()
                    self._files[entry.name] = (body, f'"{hashlib.sha256(body).hexdigest()[:16]}"')
        return self._files
