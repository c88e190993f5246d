"""Atom feeds of builds that have ended: ``/feeds/builds.atom``, ``/feeds/failures.atom``, and both of one
builder below ``/feeds/builders/BUILDER/``.

An entry's id is made of the master's address and the build's id and stays the same for good, and a build that
has ended doesn't change: a reader shows each build once. ``limit`` says how many there are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from aiohttp import web

from buildwright import __version__
from buildwright.model.results import EXCEPTION, FAILURE, Results
from buildwright.model.snapshot import Snapshot
from buildwright.web import query
from buildwright.web.asked import page_url, things_at
from buildwright.web.data import Data
from buildwright.web.errors import BadQuery
from buildwright.web.fields import integer
from buildwright.web.paths import split
from buildwright.web.resource import Json
from buildwright.web.services import WebServices
from buildwright.web.xmltext import document, element, tagged

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

USUAL, MOST = 25, 100

_ATOM = "http://www.w3.org/2005/Atom"
_FIELDS = (
    "buildid",
    "builderid",
    "number",
    "complete",
    "complete_at",
    "started_at",
    "results",
    "state_string",
)
_FAILED = [("results", str(FAILURE)), ("results", str(EXCEPTION))]


class Feeds:
    """The handlers."""

    def __init__(self, services: WebServices) -> None:
        self._services = services
        self._data = Data(services)

    def add_routes(self, app: web.Application) -> None:
        for kind in ("builds", "failures"):
            app.router.add_get(f"/feeds/{kind}.atom", self.serve)
            app.router.add_get(f"/feeds/builders/{{name:.+}}/{kind}.atom", self.serve)

    async def serve(self, request: web.Request) -> web.Response:
        _feeds, *of, kind = split(request.rel_url.raw_path)
        failures = kind == "failures.atom"
        limit = USUAL
        for name, value in query.pairs(request.rel_url.raw_query_string):
            if name != "limit":
                raise BadQuery(f"a feed has a limit, and nothing called {name[:60]!r}")
            limit = integer(value, "limit", 1, MOST)
        names = {}
        path: tuple[str, ...] = ("builds",)
        order = "-buildid"
        if of:
            [builder] = await things_at(self._data, tuple(of), [("field", "builderid"), ("field", "name")])
            names[builder["builderid"]] = builder["name"]
            path, order = ("builders", str(builder["builderid"]), "builds"), "-number"
        parameters = [*(("field", name) for name in _FIELDS), ("complete", "true"), ("order", order)]
        parameters += [("limit", str(limit)), *(_FAILED if failures else [])]
        builds = await things_at(self._data, path, parameters)
        if not of and builds:
            wanted = sorted({build["builderid"] for build in builds})
            asked = [("field", "builderid"), ("field", "name"), *(("builderid", str(one)) for one in wanted)]
            found = await things_at(self._data, ("builders",), asked)
            names = {each["builderid"]: each["name"] for each in found}
        feed = self._feed(request.path.lstrip("/"), of[1] if of else None, builds, names, failures=failures)
        return tagged(request, document(feed), "application/atom+xml", {})

    def _feed(
        self, path: str, builder: str | None, builds: list[Json], names: dict[int, str], *, failures: bool
    ) -> Element:
        snapshot = self._services.snapshot()
        what = (
            f"{'failures' if failures else 'builds'} of {builder}"
            if builder
            else ("failures" if failures else "builds")
        )
        feed = element("feed", {"xmlns": _ATOM})
        newest = max((build["complete_at"] for build in builds), default=0)
        _add(feed, "title", f"{snapshot.title}: {what}")
        _add(feed, "id", _tag(snapshot, path))
        _add(feed, "updated", _time(newest))
        _add(feed, "generator", "Buildwright", version=__version__)
        _add(feed, "link", rel="self", type="application/atom+xml", href=snapshot.buildbot_url + quote(path))
        _add(feed, "link", rel="alternate", type="text/html", href=snapshot.buildbot_url)
        for build in builds:
            name = names.get(build["builderid"], str(build["builderid"]))
            result = Results[build["results"]]
            entry = _add(feed, "entry")
            url = page_url(snapshot, "builders", build["builderid"], "builds", build["number"])
            _add(entry, "title", f"{name} #{build['number']}: {result}")
            _add(entry, "id", _tag(snapshot, f"builds/{build['buildid']}"))
            _add(entry, "updated", _time(build["complete_at"]))
            _add(entry, "published", _time(build["complete_at"]))
            _add(_add(entry, "author"), "name", name)
            _add(entry, "category", term=result)
            _add(entry, "link", rel="alternate", type="text/html", href=url)
            took = build["complete_at"] - build["started_at"]
            _add(entry, "summary", f"{build['state_string'] or result}, after {took} s", type="text")
        return feed


def _add(parent: Element, name: str, text: str | None = None, **attributes: str) -> Element:
    made = element(name, attributes, text)
    parent.append(made)
    return made


def _tag(snapshot: Snapshot, path: str) -> str:
    """An id for good (RFC 4151): the master's host and place, and what it is of there."""
    base = urlsplit(snapshot.buildbot_url)
    return f"tag:{base.hostname or 'localhost'},2026:{quote(base.path.lstrip('/') + path)}"


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
