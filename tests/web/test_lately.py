"""What a page shows at a glance: fields that are there when they are asked for, on every database."""

from typing import Any

import aiohttp
import pytest

from tests.support.fill import SECOND
from tests.support.webserver import Server, execute
from tests.web.conftest import SMALL, Get, getter
from tests.web.test_reading import BUILDS, ROWS

STEP = SMALL.builds * 10
OPEN = [row["id"] for row in BUILDS if row["complete_at"] is None]


@pytest.fixture
def read(each_server: Server, http: aiohttp.ClientSession) -> Get:
    return getter(each_server, http)


def of(builderid: int) -> list[dict[str, Any]]:
    """A builder's builds, newest first."""
    return [row for row in reversed(BUILDS) if row["builderid"] == builderid]


async def test_one_request_draws_the_builders(read: Get) -> None:
    fields = "builderid", "latest_build", "recent_builds", "running_builds", "pending_requests", "expected_us"
    status, body = await read("/builders", field=fields, order="builderid")
    assert status == 200, body
    assert [each["builderid"] for each in body["builders"]] == list(range(1, SMALL.builders + 1))
    for each in body["builders"]:
        mine = of(each["builderid"])
        done = [row for row in mine if row["complete_at"] is not None]
        latest = each["latest_build"]
        assert latest == {
            "builderid": each["builderid"],
            "buildid": done[0]["id"],
            "complete": True,
            "complete_at": done[0]["complete_at"] // SECOND,
            "complete_at_us": done[0]["complete_at"],
            "number": done[0]["number"],
            "results": done[0]["results"],
            "started_at": done[0]["started_at"] // SECOND,
            "started_at_us": done[0]["started_at"],
            "state_string": done[0]["state_string"],
            "workerid": done[0]["workerid"],
        }
        assert [build["buildid"] for build in each["recent_builds"]] == [row["id"] for row in mine[:10]]
        assert [build["results"] for build in each["recent_builds"]] == [row["results"] for row in mine[:10]]
        running = [row["id"] for row in reversed(mine) if row["complete_at"] is None]
        assert [build["buildid"] for build in each["running_builds"]] == running
        assert each["pending_requests"] == (SMALL.waiting if each["builderid"] == 1 else 0)
        assert each["expected_us"] == 20 * SECOND


async def test_they_are_there_when_they_are_asked_for_only(read: Get) -> None:
    for path in ("/builders/1", "/workers/2", f"/builds/{SMALL.builds}", f"/builds/{SMALL.builds}/steps"):
        _, body = await read(path)
        [plural] = body.keys() - {"meta"}
        assert not body[plural][0].keys() & {"latest_build", "recent_builds", "running_builds", "expected_us"}
    _, body = await read("/application.spec", path__eq="builders")
    told = {field["name"]: field for field in body["specs"][0]["type_spec"]["fields"]}
    assert told["latest_build"]["on_request"]
    assert "on_request" not in told["name"]


async def test_a_builder_without_history(each_server: Server, read: Get) -> None:
    await execute(each_server.store, "INSERT INTO builders (id, name) VALUES (99, 'new')")
    fields = "latest_build", "recent_builds", "running_builds", "pending_requests", "expected_us"
    _, body = await read("/builders/new", field=fields)
    assert body["builders"] == [
        {
            "expected_us": None,
            "latest_build": None,
            "pending_requests": 0,
            "recent_builds": [],
            "running_builds": [],
        }
    ]


async def test_workers_show_their_running_builds(read: Get) -> None:
    _, body = await read("/workers", field=["workerid", "running_builds"])
    found = {
        each["workerid"]: [build["buildid"] for build in each["running_builds"]] for each in body["workers"]
    }
    assert sorted(buildid for mine in found.values() for buildid in mine) == OPEN
    for row in BUILDS:
        if row["id"] in OPEN:
            assert row["id"] in found[row["workerid"]]


async def test_what_is_expected_is_the_median_of_good_builds_before(each_server: Server, read: Get) -> None:
    mine = [row for row in of(1) if row["complete_at"] is not None]
    good = [row for row in mine if row["results"] in (0, 1)]
    bad = next(row for row in mine if row["results"] == 2)
    # The newest good one hung for a day, the one before it was quick, a bad one ended at once.
    for row, seconds in ((good[0], 86_400), (good[1], 5), (bad, 1)):
        took = seconds * SECOND
        await execute(
            each_server.store, f"UPDATE builds SET complete_at = started_at + {took} WHERE id = {row['id']}"
        )
    _, builders = await read("/builders/1", field="expected_us")
    assert builders["builders"] == [{"expected_us": 20 * SECOND}]
    _, builds = await read("/builds", complete="false", field=["buildid", "complete", "expected_us"])
    assert [each["buildid"] for each in builds["builds"]] == OPEN
    assert {each["expected_us"] for each in builds["builds"]} == {20 * SECOND}
    first = min(row["id"] for row in BUILDS if row["builderid"] == 1)
    _, none = await read(f"/builds/{first}", field="expected_us")
    assert none["builds"] == [{"expected_us": None}]
    # Without a good one among the latest, nothing is expected.
    await execute(
        each_server.store, "UPDATE builds SET results = 2 WHERE builderid = 2 AND results IN (0, 1)"
    )
    _, builders = await read("/builders/2", field="expected_us")
    assert builders["builders"] == [{"expected_us": None}]


async def test_steps_are_expected_to_take_what_they_took(each_server: Server, read: Get) -> None:
    mine = [row["id"] for row in of(BUILDS[-1]["builderid"])]
    detailed = {row["buildid"] for row in ROWS["steps"]}
    assert sum(buildid in detailed for buildid in mine) > 1
    fields = "name", "expected_us", "complete"
    _, body = await read(f"/builds/{mine[0]}/steps", field=fields)
    assert [each["expected_us"] for each in body["steps"]] == [4 * SECOND] * SMALL.steps
    await execute(each_server.store, "UPDATE steps SET name = 'renamed' WHERE id = " + str(mine[0] * 10))
    _, body = await read(f"/builds/{mine[0]}/steps", field=fields)
    assert [each["expected_us"] for each in body["steps"]] == [None, *[4 * SECOND] * (SMALL.steps - 1)]


async def test_builds_tell_their_changes_and_are_found_by_them(read: Get) -> None:
    stamps = {row["buildsetid"]: row["sourcestampid"] for row in ROWS["buildset_sourcestamps"]}
    wanted = [SMALL.changes, 7, 99_999]
    _, body = await read(
        "/builds", changeids__contains=wanted, field=["buildid", "changeids"], order="-buildid"
    )
    # A change of the fill has the id of its source stamp.
    expected = [row["id"] for row in reversed(BUILDS) if stamps[row["id"]] in wanted]
    assert [build["buildid"] for build in body["builds"]] == expected
    assert body["meta"] == {"total": len(expected)}
    assert all(build["changeids"] == [stamps[build["buildid"]]] for build in body["builds"])
    _, page = await read("/builds", field=["buildid", "changeids"], order="-buildid", limit=20)
    assert [build["changeids"] for build in page["builds"]] == [
        [stamps[row["id"]]] for row in BUILDS[:-21:-1]
    ]


@pytest.mark.parametrize(
    "asked",
    [
        {"complete": "true"},
        {"complete__ne": "false"},
        {"complete": ["true", "false"]},
        {"complete": "true", "complete__ne": "true"},
        {"complete": "true", "results__in": [0, 2], "number__gt": 3},
        {"complete": "false"},
    ],
    ids=str,
)
async def test_builds_are_counted_exactly_however_they_are_filtered(read: Get, asked: dict[str, Any]) -> None:
    for path in ("/builds", "/builders/1/builds"):
        _, whole = await read(path, **asked)
        _, page = await read(path, limit=1, **asked)
        assert page["meta"] == whole["meta"] == {"total": len(whole["builds"])}
