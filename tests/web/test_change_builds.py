"""What became of changes, in one request: the newest build of each builder for each of them."""

from typing import Any

import aiohttp
import pytest

from tests.support.webserver import Server, execute
from tests.web.conftest import SMALL, Get, getter
from tests.web.test_reading import BUILDS

FIELDS = ["changeid", "builds"]
LAST = SMALL.changes


@pytest.fixture
def read(each_server: Server, http: aiohttp.ClientSession) -> Get:
    return getter(each_server, http)


def newest(builds: list[dict[str, Any]]) -> list[int]:
    """Of each builder the newest build, in the order of builders."""
    found = {
        build["builderid"]: build["buildid"] for build in sorted(builds, key=lambda each: each["buildid"])
    }
    return [found[builderid] for builderid in sorted(found)]


async def test_they_are_the_newest_builds_of_each_change(read: Get) -> None:
    _, body = await read("/changes", field=FIELDS, order="-changeid", limit=10)
    assert [each["changeid"] for each in body["changes"]] == list(range(LAST, LAST - 10, -1))
    for each in body["changes"]:
        _, all_of_it = await read(f"/changes/{each['changeid']}/builds", field=["buildid", "builderid"])
        assert all_of_it["builds"]
        assert [build["buildid"] for build in each["builds"]] == newest(all_of_it["builds"])
    row = BUILDS[-1]
    [last] = [build for build in body["changes"][0]["builds"] if build["buildid"] == row["id"]]
    assert last == {
        "builderid": row["builderid"],
        "buildid": row["id"],
        "complete": False,
        "complete_at_us": None,
        "number": row["number"],
        "results": None,
        "started_at_us": row["started_at"],
        "state_string": "running make test",
    }


async def test_a_change_that_was_built_again_shows_its_newest_build(each_server: Server, read: Get) -> None:
    first, second = BUILDS[0], next(row for row in BUILDS[1:] if row["builderid"] == BUILDS[0]["builderid"])
    # The second buildset was made for the first change among others, of another source stamp.
    await execute(each_server.store, "DELETE FROM buildset_changes")
    before = await read("/changes/1", field=FIELDS)
    assert first["id"] in [build["buildid"] for build in before[1]["changes"][0]["builds"]]
    request = second["buildrequestid"]
    await execute(
        each_server.store,
        f"INSERT INTO buildset_changes SELECT buildsetid, 1 FROM buildrequests WHERE id = {request}",
    )
    _, body = await read("/changes/1", field=FIELDS)
    builds = {build["builderid"]: build["buildid"] for build in body["changes"][0]["builds"]}
    assert builds[first["builderid"]] == second["id"]


async def test_they_are_there_when_they_are_asked_for_only(read: Get) -> None:
    _, body = await read("/changes/1")
    assert "builds" not in body["changes"][0]


async def test_a_change_that_nobody_built_has_none(each_server: Server, read: Get) -> None:
    await execute(each_server.store, "DELETE FROM buildset_sourcestamps WHERE sourcestampid = 3")
    await execute(each_server.store, "DELETE FROM buildset_changes WHERE changeid = 3")
    _, body = await read("/changes/3", field=FIELDS)
    assert body["changes"] == [{"builds": [], "changeid": 3}]
