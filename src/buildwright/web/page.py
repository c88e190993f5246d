"""The page: its files, and ``/config``.

The files are built from ``web/`` (``tools/web.py``) into ``static/``: one HTML document, which is asked for
anew each time, and beside it scripts and styles whose names carry a hash of their content, so that a browser
keeps them for good. Texts lie there compressed as well. A content policy lets the page load its own files and
talk to its own origin, so that even a text that got past its escaping could run nothing.

The whole page is read into memory at the first request, a few hundred kilobytes: a name that isn't among what
was read then leads nowhere, however it is spelled, and an upgrade on disk doesn't mix two pages."""

from __future__ import annotations

import asyncio
import hashlib
import platform
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path

from aiohttp import web

from buildwright import __version__
from buildwright.web.auth.gate import gate_of
from buildwright.web.auth.routes import told as told_of_logins
from buildwright.web.dashboards import menu
from buildwright.web.errors import NotFound
from buildwright.web.replies import json_reply
from buildwright.web.services import WebServices

_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".json": "application/json",
}
_CODINGS = {".br": "br", ".gz": "gzip"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
_FOR_GOOD = "public, max-age=31536000, immutable"
_ASK_ANEW = "public, max-age=0"


@dataclass
class _File:
    """A file of the page; `codings` are its compressed forms by content coding, best first."""

    body: bytes
    type: str
    tag: str
    cache: str
    codings: dict[str, bytes] = field(default_factory=dict)


class Page:
    """The handlers."""

    def __init__(self, services: WebServices) -> None:
        self._services = services
        self._files: dict[str, _File] | None = None

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/", self.index)
        app.router.add_get("/assets/{name}", self.asset)
        app.router.add_get("/icon.svg", self.icon)
        app.router.add_get("/favicon.ico", self.icon)
        app.router.add_get("/robots.txt", self.robots)
        app.router.add_get("/config", self.config)

    async def index(self, request: web.Request) -> web.Response:
        return await self._serve(request, "index.html")

    async def asset(self, request: web.Request) -> web.Response:
        return await self._serve(request, f"assets/{request.match_info['name']}")

    async def icon(self, request: web.Request) -> web.Response:
        return await self._serve(request, "icon.svg")

    async def robots(self, request: web.Request) -> web.Response:
        return await self._serve(request, "robots.txt")

    async def config(self, request: web.Request) -> web.Response:
        """What a page needs to know before it asks for anything else."""
        snapshot = self._services.snapshot()
        told = {
            "buildbotURL": snapshot.buildbot_url,
            "multiMaster": snapshot.multi_master,
            "plugins": {"wsgi_dashboards": menu(snapshot.www.dashboards)},
            "title": snapshot.title,
            "titleURL": snapshot.title_url,
            "versions": [["Buildwright", __version__], ["Python", platform.python_version()]],
        }
        told |= await told_of_logins(gate_of(request), request)
        return json_reply(told, headers={"Cache-Control": "private, no-cache", "Vary": "Cookie"})

    async def _serve(self, request: web.Request, name: str) -> web.Response:
        if self._files is None:
            self._files = await asyncio.to_thread(_read)
        found = self._files.get(name)
        if found is None:
            if name == "index.html":
                raise NotFound("the page isn't built: run `make page`; the data API is at /api/v2")
            raise NotFound("there is nothing at this path")
        headers = {
            "Cache-Control": found.cache,
            "Content-Security-Policy": _POLICY,
            "ETag": found.tag,
            "Referrer-Policy": "same-origin",
            "Vary": "Accept-Encoding",
            "X-Content-Type-Options": "nosniff",
        }
        if request.headers.get("If-None-Match") == found.tag:
            return web.Response(status=304, headers=headers)
        body = found.body
        accepted = request.headers.get("Accept-Encoding", "")
        for coding, compressed in found.codings.items():
            if coding in accepted:
                body = compressed
                headers["Content-Encoding"] = coding
                break
        return web.Response(body=body, content_type=found.type, charset="utf-8", headers=headers)


def _read() -> dict[str, _File]:
    """All files by their path below the page."""
    read: dict[str, _File] = {}
    with as_file(files("buildwright.web").joinpath("static")) as root:
        if not root.is_dir():
            return read
        paths = [path for path in sorted(root.rglob("*")) if path.suffix in _TYPES and path.is_file()]
        for path in paths:
            name = path.relative_to(root).as_posix()
            body = path.read_bytes()
            read[name] = _File(
                body,
                _TYPES[path.suffix],
                f'"{hashlib.sha256(body).hexdigest()[:16]}"',
                _FOR_GOOD if name.startswith("assets/") else _ASK_ANEW,
                _compressed(path),
            )
    return read


def _compressed(path: Path) -> dict[str, bytes]:
    found = {}
    for suffix, coding in _CODINGS.items():
        beside = path.with_name(path.name + suffix)
        if beside.is_file():
            found[coding] = beside.read_bytes()
    return found
