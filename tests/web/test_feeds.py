"""What other programs follow: cc.xml, and Atom feeds."""

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

import aiohttp
import pytest

from tests.support.fill import SECOND
from tests.support.webserver import Server, execute
from tests.web.conftest import SMALL
from tests.web.test_reading import BUILDS

ATOM = "{http://www.w3.org/2005/Atom}"
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
Fetch = Callable[..., Awaitable[tuple[aiohttp.ClientResponse, bytes]]]


@pytest.fixture
def fetch(each_server: Server, http: aiohttp.ClientSession) -> Fetch:
    async def fetch(path: str, headers: Any = None, **params: Any) -> tuple[aiohttp.ClientResponse, bytes]:
        async with http.get(f"{each_server.url}{path}", params=params, headers=headers) as response:
            return response, await response.read()

    return fetch


def of(builderid: int) -> list[dict[str, Any]]:
    """A builder's builds that have ended, newest first."""
    done = [row for row in reversed(BUILDS) if row["complete_at"] is not None]
    return [row for row in done if row["builderid"] == builderid]


# -- cc.xml -------------------------------------------------------------------------------------------------


async def projects(fetch: Fetch, **params: Any) -> dict[str, ET.Element]:
    response, body = await fetch("/cc.xml", **params)
    assert (response.status, response.content_type) == (200, "application/xml"), body
    root = ET.fromstring(body)
    assert root.tag == "Projects"
    assert {each.tag for each in root} <= {"Project"}
    return {each.attrib["name"]: each for each in root}


async def test_cc_xml_has_every_builder_of_a_running_master(fetch: Fetch) -> None:
    found = await projects(fetch)
    assert list(found) == sorted(["waits-for-arm", *(f"builder-{i:02}" for i in range(2, SMALL.builders))])
    running = {row["builderid"] for row in BUILDS if row["complete_at"] is None}
    states = {0: "Success", 1: "Success", 2: "Failure", 4: "Exception"}
    for builderid in range(2, SMALL.builders):
        project = found[f"builder-{builderid:02}"]
        latest = of(builderid)[0]
        assert project.attrib["activity"] == ("Building" if builderid in running else "Sleeping")
        assert project.attrib["lastBuildStatus"] == states[latest["results"]]
        assert project.attrib["lastBuildLabel"] == str(latest["number"])
        when = datetime.fromisoformat(project.attrib["lastBuildTime"])
        assert when == datetime.fromtimestamp(latest["complete_at"] // SECOND, UTC)
        assert project.attrib["webUrl"] == f"http://localhost:8010/#/builders/{builderid}"
        assert project.get("category") == ("pyflakes" if builderid % 3 == 0 else None)


async def test_cc_xml_is_narrowed_and_kept(each_server: Server, fetch: Fetch) -> None:
    assert list(await projects(fetch, builder="builder-03")) == ["builder-03"]
    assert list(await projects(fetch, builder=["builder-03", "builder-02"])) == ["builder-02", "builder-03"]
    assert list(await projects(fetch, tag="even")) == ["builder-02", "builder-04", "builder-06"]
    assert list(await projects(fetch, project="pyflakes")) == ["builder-03", "builder-06"]
    assert await projects(fetch, builder="nothing") == {}
    response, body = await fetch("/cc.xml", name="x")
    assert (response.status, "not by 'name'" in body.decode()) == (400, True)
    first, _ = await fetch("/cctray.xml")
    again, _ = await fetch("/cc.xml", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status == 304
    await execute(each_server.store, "UPDATE builders SET name = 'a\x1b<&\"' WHERE id = 2")
    assert 'a\ufffd<&"' in await projects(fetch)


# -- Atom ---------------------------------------------------------------------------------------------------


def text(element: ET.Element, name: str) -> str:
    [found] = element.findall(f"{ATOM}{name}")
    return found.text or ""


async def feed(fetch: Fetch, path: str, **params: Any) -> ET.Element:
    """A feed that is as RFC 4287 wants it."""
    response, body = await fetch(path, **params)
    assert (response.status, response.content_type) == (200, "application/atom+xml"), body
    root = ET.fromstring(body)
    assert root.tag == f"{ATOM}feed"
    entries = root.findall(f"{ATOM}entry")
    for each in (root, *entries):
        assert text(each, "title")
        assert text(each, "id").startswith("tag:localhost,2026:")
        assert RFC3339.fullmatch(text(each, "updated"))
    links = {each.get("rel"): each.get("href") for each in root.findall(f"{ATOM}link")}
    assert links["self"] == f"http://localhost:8010{quote(path.split('?', maxsplit=1)[0], safe='/')}"
    for each in entries:
        author = each.find(f"{ATOM}author")
        assert author is not None
        assert text(author, "name")
        [link] = each.findall(f"{ATOM}link")
        assert link.attrib["rel"] == "alternate"
        assert link.attrib["href"].startswith("http://localhost:8010/#/builders/")
        assert text(each, "summary")
    ids = [text(each, "id") for each in entries]
    assert len({*ids, text(root, "id")}) == len(ids) + 1
    return root


def builds_of(root: ET.Element) -> list[int]:
    return [int(text(each, "id").rpartition("/")[2]) for each in root.findall(f"{ATOM}entry")]


async def test_feeds_of_builds_and_failures(fetch: Fetch) -> None:
    done = [row for row in reversed(BUILDS) if row["complete_at"] is not None]
    assert builds_of(await feed(fetch, "/feeds/builds.atom")) == [row["id"] for row in done[:25]]
    failed = [row["id"] for row in done if row["results"] in (2, 4)]
    assert builds_of(await feed(fetch, "/feeds/failures.atom")) == failed[:25]
    assert builds_of(await feed(fetch, "/feeds/builds.atom", limit=3)) == [row["id"] for row in done[:3]]
    mine = [row["id"] for row in of(1)]
    assert builds_of(await feed(fetch, "/feeds/builders/waits-for-arm/builds.atom", limit=100)) == mine[:100]
    bad = [row["id"] for row in of(1) if row["results"] in (2, 4)]
    assert builds_of(await feed(fetch, "/feeds/builders/waits-for-arm/failures.atom")) == bad[:25]


async def test_an_entry_says_what_became_of_the_build(fetch: Fetch) -> None:
    root = await feed(fetch, "/feeds/builders/builder-02/builds.atom", limit=1)
    [entry] = root.findall(f"{ATOM}entry")
    latest = of(2)[0]
    result = {0: "success", 1: "warnings", 2: "failure", 4: "exception"}[latest["results"]]
    assert text(entry, "title") == f"builder-02 #{latest['number']}: {result}"
    [category] = entry.findall(f"{ATOM}category")
    assert category.attrib["term"] == result
    when = datetime.fromtimestamp(latest["complete_at"] // SECOND, UTC)
    assert text(entry, "updated") == when.isoformat().replace("+00:00", "Z") == text(root, "updated")


async def test_an_entry_stays_the_same(each_server: Server, fetch: Fetch) -> None:
    first = await feed(fetch, "/feeds/builds.atom", limit=2)
    entries = [ET.tostring(each) for each in first.findall(f"{ATOM}entry")]
    newest = BUILDS[-1]["id"]
    await execute(
        each_server.store,
        f"UPDATE builds SET complete_at = started_at + 5000000, results = 0 WHERE id = {newest}",
    )
    second = await feed(fetch, "/feeds/builds.atom", limit=3)
    again = [ET.tostring(each) for each in second.findall(f"{ATOM}entry")]
    assert builds_of(second)[0] == newest
    assert again[1:] == entries
    response, _ = await fetch("/feeds/builds.atom", limit=3)
    same, _ = await fetch("/feeds/builds.atom", headers={"If-None-Match": response.headers["ETag"]}, limit=3)
    assert same.status == 304


async def test_odd_names_and_what_is_not_there(each_server: Server, fetch: Fetch) -> None:
    await execute(each_server.store, "UPDATE builders SET name = 'a/<b>&\x07' WHERE id = 2")
    await execute(each_server.store, "UPDATE builds SET state_string = '\x1b[31mred' WHERE builderid = 2")
    path = f"/feeds/builders/{quote('a/<b>&' + chr(7), safe='')}/builds.atom"
    response, body = await fetch(path, limit=1)
    assert response.status == 200
    [entry] = ET.fromstring(body).findall(f"{ATOM}entry")
    assert text(entry, "title").startswith("a/<b>&\ufffd #")
    assert text(entry, "summary").startswith("\ufffd[31mred")
    for gone in ("/feeds/builders/none/builds.atom", "/feeds/changes.atom"):
        response, _ = await fetch(gone)
        assert response.status == 404
    for params in ({"limit": 0}, {"limit": 101}, {"limit": "x"}, {"order": "x"}):
        response, _ = await fetch("/feeds/builds.atom", **params)
        assert response.status == 400
