"""What builds and requests are for: fields that are there when they are asked for, on every database."""

import aiohttp
import pytest

from tests.support.fill import SECOND
from tests.support.webserver import Server, execute
from tests.web.conftest import SMALL, Get, getter


@pytest.fixture
def read(each_server: Server, http: aiohttp.ClientSession) -> Get:
    return getter(each_server, http)


async def test_a_list_of_builds_shows_why_and_what_was_built(each_server: Server, read: Get) -> None:
    odd = SMALL.builds - 1  # its buildset has a reason
    await execute(
        each_server.store, f"INSERT INTO buildset_sourcestamps (buildsetid, sourcestampid) VALUES ({odd}, 1)"
    )
    _, body = await read("/builds", buildid=odd, field=["buildid", "reason", "sourcestamps"])
    [build] = body["builds"]
    _, body = await read(f"/buildsets/{odd}")
    [buildset] = body["buildsets"]
    assert build == {
        "buildid": odd,
        "reason": buildset["reason"],
        "sourcestamps": buildset["sourcestamps"],
    }
    assert build["reason"].startswith("change ")
    assert [each["ssid"] for each in build["sourcestamps"]] == [1, SMALL.changes]
    assert build["sourcestamps"][0]["created_at"] * SECOND <= build["sourcestamps"][0]["created_at_us"]


async def test_requests_show_the_same(read: Get) -> None:
    fields = "buildrequestid", "buildsetid", "claimed", "reason", "sourcestamps"
    _, body = await read("/buildrequests", claimed="false", order="buildrequestid", field=fields)
    assert len(body["buildrequests"]) == SMALL.waiting
    for request in body["buildrequests"]:
        assert request["reason"] == "forced <by> hand"
        stamps = [each["ssid"] for each in request["sourcestamps"]]
        assert stamps == [1 + request["buildsetid"] % SMALL.changes]


async def test_a_buildset_without_sources(each_server: Server, read: Get) -> None:
    await execute(
        each_server.store, "INSERT INTO buildsets (id, reason, submitted_at) VALUES (9999, 'bare', 1)"
    )
    await execute(each_server.store, f"UPDATE buildrequests SET buildsetid = 9999 WHERE id = {SMALL.builds}")
    _, body = await read(f"/buildrequests/{SMALL.builds}", field=["reason", "sourcestamps"])
    assert body["buildrequests"] == [{"reason": "bare", "sourcestamps": []}]


async def test_they_are_there_when_they_are_asked_for_only(read: Get) -> None:
    for path in ("/builds/1", "/buildrequests/1"):
        _, body = await read(path)
        [plural] = body.keys() - {"meta"}
        assert not body[plural][0].keys() & {"reason", "sourcestamps"}
