"""The plain first page and ``/config``: static files that use the public data API and nothing else.

The page is HTML, one script and one style sheet, served as they are. A content policy lets it load its own
files and talk to its own origin, so that even a text that got past the script's escaping could run nothing.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files

from aiohttp import web

from buildwright import __version__
from buildwright.web.replies import json_reply
from buildwright.web.services import WebServices

_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_FILES = {"/": "index.html", "/page.js": "page.js", "/page.css": "page.css", "/icon.svg": "icon.svg"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


class Page:
    """The handlers."""

    def __init__(self, services: WebServices) -> None:
        self._services = services
        self._read: dict[str, tuple[bytes, str]] = {}

    def add_routes(self, app: web.Application) -> None:
        for path in _FILES:
            app.router.add_get(path, self.file)
        app.router.add_get("/favicon.ico", self.icon)
        app.router.add_get("/config", self.config)

    async def file(self, request: web.Request) -> web.Response:
        return self._serve(request, _FILES[request.path])

    async def icon(self, request: web.Request) -> web.Response:
        return self._serve(request, _FILES["/icon.svg"])

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
        body, tag = self._file(name)
        headers = {
            "Cache-Control": "public, max-age=0",
            "Content-Security-Policy": _POLICY,
            "ETag": tag,
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
        }
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        kind = _TYPES[name[name.rindex(".") :]]
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)

    def _file(self, name: str) -> tuple[bytes, str]:
        if name not in self._read:
            body = files("buildwright.web").joinpath("static", name).read_bytes()
            self._read[name] = (body, f'"{hashlib.sha256(body).hexdigest()[:16]}"')
        return self._read[name]
