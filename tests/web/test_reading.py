"""The data API's reads on every database, against what the filled store is known to hold."""

import json
from typing import Any

import aiohttp
import pytest

from buildwright.web.data import TABLE
from buildwright.web.resource import Computed, Endpoint
from tests.support.fill import NOW_US, SECOND, tables
from tests.support.webserver import Server, execute
from tests.web.conftest import SMALL, Get, getter

ROWS = {name: [dict(zip(columns, row, strict=True)) for row in rows] for name, columns, rows in tables(SMALL)}
BUILDS = ROWS["builds"]
LAST = SMALL.builds
STEP = LAST * 10 + SMALL.steps - 1
SAMPLES = {
    "builderid": 2,
    "buildername": "builder-02",
    "buildid": LAST,
    "build_number": 1,
    "step_number": 1,
    "step_name": "make",
    "stepid": STEP,
    "log_slug": "stdio",
    "logid": STEP,
    "auditid": 1,
    "masterid": 1,
    "workerid": 2,
    "name": "worker-2",
    "buildrequestid": LAST,
    "bsid": LAST,
    "buildsetid": LAST,
    "changeid": SMALL.changes,
    "ssid": SMALL.changes,
    "schedulerid": 1,
    "changesourceid": 1,
    "projectid": 1,
    "codebaseid": 1,
    "codebasename": "main",
    "commitid": 1,
    "commitid1": 1,
    "commitid2": 2,
    "revision": f"{1:040x}",
    "branchid": 1,
    "test_name": "test_0",
    "test_result_setid": LAST,
    "projectname": "pyflakes",
    "schedulername": "force",
}


@pytest.fixture
def read(each_server: Server, http: aiohttp.ClientSession) -> Get:
    return getter(each_server, http)


def path_of(pattern: str) -> str:
    """A path that the pattern matches, to something that is there."""
    if "/data/" in pattern:
        pattern = pattern.replace("s:name", "report")
    return "/".join(str(SAMPLES[part[2:]]) if part[1:2] == ":" else part for part in pattern.split("/"))


async def test_every_path_answers(read: Get) -> None:
    for pattern, target in TABLE:
        if not isinstance(target, Endpoint | Computed):
            continue
        status, body = await read(path_of(pattern))
        # The builds that samples name by number are old: they have no steps and no data any more.
        by_number = "build_number" in pattern and ("/steps" in pattern or "/data" in pattern)
        # No try scheduler is configured, and nobody has asked for anything.
        nobodys = by_number or pattern.startswith(("/tryschedulers/", "/audits/"))
        # The second builder has no tests.
        missing = (nobodys and not target.collection) or "/tests/s:test_name/" in pattern
        assert status == (404 if missing else 200), (pattern, body)
        if status == 200:
            [plural] = body.keys() - {"meta"}
            assert list(body) == sorted(body)
            if target.collection:
                assert body["meta"] == {"total": len(body[plural])}, pattern
            else:
                assert body["meta"] == {}
                assert len(body[plural]) == 1, pattern
            for each in body[plural]:
                assert list(each) == sorted(each)


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/builds/x",
        "/builds/999999",
        "/builds/99999999999999999999999",
        "/builders/none",
        "/builders/%00",
        "/builders/1/builds/999999",
        "/workers/none",
        "/builds/999999/properties",
        "/forceschedulers/none",
        "/steps/1/logs/none",
    ],
)
async def test_what_is_not_there_is_404_in_json(read: Get, path: str) -> None:
    status, body = await read(path)
    assert (status, list(body)) == (404, ["error"])


async def test_a_build_has_buildbots_fields_and_exact_times(read: Get) -> None:
    _, body = await read("/builds/100")
    row = BUILDS[99]
    assert body["builds"] == [
        {
            "attempt": 1,
            "builderid": row["builderid"],
            "buildid": 100,
            "buildrequestid": 100,
            "complete": True,
            "complete_at": row["complete_at"] // SECOND,
            "complete_at_us": row["complete_at"],
            "locks_duration_s": 1,
            "locks_duration_us": 1_500_000,
            "masterid": 1,
            "number": row["number"],
            "properties": {},
            "results": 2,
            "started_at": row["started_at"] // SECOND,
            "started_at_us": row["started_at"],
            "state_string": "failed make test",
            "workerid": row["workerid"],
        }
    ]


async def test_properties_are_shown_as_asked_for(read: Get) -> None:
    _, one = await read("/builds/100", property="owners")
    _, all_ = await read("/builds/100", property="*")
    _, whole = await read("/builds/100/properties")
    _, listed = await read("/builds/100/property_list", name="owners")
    stored = json.loads(BUILDS[99]["properties"])
    assert one["builds"][0]["properties"] == {"owners": stored["owners"]}
    assert all_["builds"][0]["properties"] == whole["properties"][0] == stored
    assert listed["_properties"] == [{"name": "owners", "source": "Build", "value": ["ann@example.org"]}]
    _, requests = await read("/buildrequests", limit=1, property="owner")
    assert requests["buildrequests"][0]["properties"] == {"owner": ["ann@example.org", "Force"]}


async def test_builders_and_workers_know_each_other(read: Get) -> None:
    _, builders = await read("/builders", order="builderid")
    assert [each["masterids"] for each in builders["builders"]] == [[1]] * (SMALL.builders - 1) + [[]]
    assert builders["builders"][1]["tags"] == ["linux", "even"]
    _, worker = await read("/workers/arm-board")
    assert worker["workers"][0]["configured_on"] == [{"builderid": 1, "masterid": 1}]
    assert worker["workers"][0]["connected_to"] == []
    assert worker["workers"][0]["workerinfo"] == {"admin": "Ann", "host": "Debian 12", "version": "0.1"}
    _, of_builder = await read("/builders/2/workers", field="name", order="name")
    assert of_builder["workers"] == [{"name": f"worker-{i}"} for i in range(2, SMALL.workers + 1)]
    _, even = await read("/builders", tags__contains=["even", "nothing"], field=["builderid", "tags"])
    assert [each["builderid"] for each in even["builders"]] == [2, 4, 6, 8]
    _, mine = await read("/builders", masterids__contains=1)
    assert mine["meta"] == {"total": SMALL.builders - 1}


async def test_a_buildset_carries_its_source_stamps(read: Get) -> None:
    stampid = next(row["sourcestampid"] for row in ROWS["buildset_sourcestamps"] if row["buildsetid"] == 40)
    _, body = await read("/buildsets/40")
    [stamp] = body["buildsets"][0]["sourcestamps"]
    _, alone = await read(f"/sourcestamps/{stampid}")
    _, listed = await read("/buildsets/40/sourcestamps")
    assert stamp == alone["sourcestamps"][0] == listed["sourcestamps"][0]
    _, patched = await read("/sourcestamps/7")
    assert patched["sourcestamps"][0]["patch"] == {
        "author": "Ann",
        "body": None,
        "comment": "try this",
        "level": 1,
        "patchid": 1,
        "subdir": None,
    }


async def test_a_change_carries_its_source_stamp_and_parent(read: Get) -> None:
    _, body = await read("/changes/9")
    [change] = body["changes"]
    assert change["parent_changeids"] == [8]
    assert change["files"] == ["src/file9.py", "README"]
    assert change["sourcestamp"]["ssid"] == 9
    assert change["properties"] == {"kind": ["fix", "Change"]}
    assert change["when_timestamp"] * SECOND == change["when_timestamp_us"]
    _, built = await read("/changes/9/builds", field="buildid")
    links = ROWS["buildset_sourcestamps"]
    expected = {row["buildsetid"] for row in links if row["sourcestampid"] == 9} - set(
        range(LAST + 1, LAST + 999)
    )
    assert {build["buildid"] for build in built["builds"]} == expected


async def test_the_blame_list_ends_at_the_last_success(read: Get) -> None:
    # The newest change grows from one build to the next; each change's parent is the one before.
    stamps = {row["buildsetid"]: row["sourcestampid"] for row in ROWS["buildset_sourcestamps"]}
    branches = {row["id"]: row["branch"] for row in ROWS["sourcestamps"]}
    mine = [(row["id"], stamps[row["id"]], row["results"]) for row in BUILDS if row["builderid"] == 1]
    lengths = set()
    for at, (buildid, stamp, _) in enumerate(mine[:40]):
        before = [s for _, s, results in mine[:at] if results == 0 and branches[s] == branches[stamp]]
        _, body = await read(f"/builds/{buildid}/changes", field="changeid")
        expected = list(range((before[-1] if before else 0) + 1, stamp + 1))
        assert [change["changeid"] for change in body["changes"]] == expected
        lengths.add(len(expected))
    assert len(lengths) > 2


async def test_waiting_requests_say_why(read: Get) -> None:
    _, body = await read("/builders/1/buildrequests", claimed="false", order="-priority", limit=100)
    requests = body["buildrequests"]
    assert body["meta"] == {"total": SMALL.waiting}
    key = [(-each["priority"], each["buildrequestid"]) for each in requests]
    assert key == sorted(key)
    assert {each["waits_for"] for each in requests} == {
        "none of its workers is attached: arm-board",
        "lock 'arm' is taken",
    }
    assert {each["results"] for each in requests} == {-1}


FILTERS: list[tuple[dict[str, Any], Any]] = [
    ({"results": 2}, lambda b: b["results"] == 2),
    ({"results": [1, 2]}, lambda b: b["results"] in (1, 2)),
    ({"results__in": [1, 2, 99_999_999_999]}, lambda b: b["results"] in (1, 2)),
    ({"results__ne": 0}, lambda b: b["results"] not in (0, None)),
    ({"results__ne": [0, 2]}, lambda b: b["results"] not in (0, 2, None)),
    ({"results__notin": 0}, lambda b: b["results"] not in (0, None)),
    ({"number__lt": 5}, lambda b: b["number"] < 5),
    ({"number__le": 5}, lambda b: b["number"] <= 5),
    ({"number__gt": 30}, lambda b: b["number"] > 30),
    ({"number__ge": 30}, lambda b: b["number"] >= 30),
    ({"complete": "false"}, lambda b: b["complete_at"] is None),
    ({"complete": "yes"}, lambda b: b["complete_at"] is not None),
    ({"complete__ne": "1"}, lambda b: b["complete_at"] is None),
    ({"complete": ["true", "false"]}, lambda b: True),
    ({"state_string__contains": "make"}, lambda b: "make" in b["state_string"]),
    ({"state_string__contains": ["warn", "exc"]}, lambda b: b["state_string"] in ("warnings", "exception")),
    ({"state_string": ["warnings", "exception"]}, lambda b: b["state_string"] in ("warnings", "exception")),
    ({"state_string__contains": "100%_"}, lambda b: False),
    ({"started_at": BUILDS[10]["started_at"] // SECOND}, lambda b: b["id"] == 11),
    ({"started_at__in": BUILDS[10]["started_at"] // SECOND}, lambda b: b["id"] == 11),
    ({"started_at__ne": BUILDS[10]["started_at"] // SECOND}, lambda b: b["id"] != 11),
    ({"started_at__lt": BUILDS[10]["started_at"] // SECOND}, lambda b: b["id"] < 11),
    ({"started_at__le": BUILDS[10]["started_at"] // SECOND}, lambda b: b["id"] <= 11),
    ({"started_at__gt": BUILDS[10]["started_at"] // SECOND}, lambda b: b["id"] > 11),
    ({"started_at__ge": BUILDS[10]["started_at"] // SECOND}, lambda b: b["id"] >= 11),
    ({"started_at_us": BUILDS[10]["started_at"]}, lambda b: b["id"] == 11),
    ({"locks_duration_s": 1}, lambda b: b["locks_duration_us"] == 1_500_000),
    (
        {"builderid": 1, "results": 2, "number__gt": 3},
        lambda b: b["builderid"] == 1 and b["results"] == 2 and b["number"] > 3,
    ),
]


@pytest.mark.parametrize(("params", "holds"), FILTERS, ids=[json.dumps(params) for params, _ in FILTERS])
async def test_filters(get: Get, params: dict[str, Any], holds: Any) -> None:
    await _filters(get, params, holds)


async def test_filters_on_every_database(read: Get) -> None:
    for params, holds in FILTERS:
        await _filters(read, params, holds)


async def _filters(read: Get, params: dict[str, Any], holds: Any) -> None:
    status, body = await read("/builds", **params)
    assert status == 200, body
    expected = [row["id"] for row in BUILDS if holds(row)]
    assert [build["buildid"] for build in body["builds"]] == expected, params
    assert body["meta"] == {"total": len(expected)}


@pytest.mark.parametrize(
    "order", [["results"], ["-results"], ["builderid", "-number"], ["-started_at"], ["state_string"]]
)
async def test_pages_neither_overlap_nor_leave_out(read: Get, order: list[str]) -> None:
    _, whole = await read("/builds", order=order)
    keys = [build["buildid"] for build in whole["builds"]]
    assert len(set(keys)) == SMALL.builds
    paged: list[int] = []
    for offset in range(0, SMALL.builds + 70, 70):
        _, page = await read(
            "/builds", order=order, limit=70, offset=offset, field=["buildid", *(o.strip("-") for o in order)]
        )
        assert page["meta"] == {"total": SMALL.builds}
        paged += [build["buildid"] for build in page["builds"]]
    assert paged == keys
    column = order[0].strip("-")
    values = [build[column] for build in whole["builds"]]
    assert values == sorted(values, key=lambda v: (v is not None, v), reverse=order[0].startswith("-"))


async def test_null_comes_first_and_differs_where_buildbot_filters_in_python(read: Get) -> None:
    _, steps = await read(f"/builds/{LAST}/steps", order="results", field="results")
    assert steps["steps"][0] == {"results": None}
    _, differs = await read(f"/builds/{LAST}/steps", results__ne=2)
    assert len(differs["steps"]) == SMALL.steps


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/builds", {"nothing": 1}),
        ("/builds", {"x__y": 1}),
        ("/builds", {"results__eqq": 1}),
        ("/builds", {"results": "two"}),
        ("/builds", {"results": "9" * 30}),
        ("/builds", {"results__contains": 2}),
        ("/builds", {"results__lt": [1, 2]}),
        ("/builds", {"state_string": "a\0b"}),
        ("/builds", {"field": "nothing"}),
        ("/builds", {"order": "nothing"}),
        ("/builds", {"order": "--results"}),
        ("/builds", {"field": "buildid", "order": "number"}),
        ("/builds", {"field": "buildid", "number": 1}),
        ("/builds", {"limit": "x"}),
        ("/builds", {"limit": -1}),
        ("/builds", {"offset": "1.5"}),
        ("/builds", {"limit": [1, 2]}),
        ("/builds", {"limit": 10**12}),
        ("/builders", {"order": "masterids"}),
        ("/builders", {"tags": "linux"}),
        ("/builders", {"property": "owner"}),
        ("/builds/1", {"limit": 1}),
        ("/builds/1", {"results": 1}),
        ("/builds/1", {"order": "results"}),
        ("/forceschedulers", {"nothing": 1}),
        ("/workers", {"configured_on__contains": 1}),
        ("/builds", {f"results__{i}": "1" for i in range(300)}),
    ],
)
async def test_what_a_query_gets_wrong_is_400(get: Get, path: str, params: dict[str, Any]) -> None:
    status, body = await get(path, **params)
    assert (status, list(body)) == (400, ["error"])


async def test_objects_that_are_no_rows_are_queried_alike(read: Get) -> None:
    status, forms = await read("/forceschedulers", order="-name", limit=1, enabled="true")
    assert status == 200
    assert [form["name"] for form in forms["forceschedulers"]] == ["other"]
    assert forms["meta"] == {"total": 2}
    _, mine = await read("/builders/waits-for-arm/forceschedulers", builder_names__contains="waits-for-arm")
    assert [form["name"] for form in mine["forceschedulers"]] == ["force"]
    assert len(mine["forceschedulers"][0]["all_fields"]) == 2
    _, by_id = await read("/builders/1/forceschedulers")
    assert by_id == mine
    _, roots = await read("/")
    assert {"name": "builds"} in roots["rootlinks"]
    _, specs = await read("/application.spec", path__contains="triggered")
    assert [spec["type"] for spec in specs["specs"]] == ["build"]


async def test_a_long_collection_comes_whole(read: Get) -> None:
    _, body = await read("/buildrequests")
    assert [each["buildrequestid"] for each in body["buildrequests"]] == list(
        range(1, LAST + SMALL.waiting + 1)
    )


async def test_head_and_the_form_of_json(server: Server, http: aiohttp.ClientSession) -> None:
    url = f"{server.url}/api/v2/masters"
    async with http.get(url, headers={"Accept": "application/json"}) as response:
        compact = await response.text()
        assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    async with http.get(url, headers={"Accept": "text/html"}) as response:
        readable = await response.text()
    async with http.head(url, headers={"Accept": "application/json"}) as response:
        assert (response.status, await response.read()) == (200, b"")
        assert int(response.headers["Content-Length"]) == len(compact)
    assert json.loads(compact) == json.loads(readable)
    assert "\n" not in compact
    assert "\n" in readable


async def test_versions_and_latest(server: Server, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{server.url}/api") as response:
        assert await response.json() == {"api_versions": {"v2": "http://localhost:8010/api/v2/"}}
    async with http.get(f"{server.url}/api/latest/builds/1") as response:
        assert response.status == 200


async def test_a_name_may_hold_a_slash(server: Server, get: Get, http: aiohttp.ClientSession) -> None:
    await execute(server.store, "UPDATE builders SET name = 'a/b' WHERE id = 2")
    async with http.get(f"{server.url}/api/v2/builders/a%2Fb/builds?limit=1") as response:
        assert (await response.json())["builds"]


def test_the_fill_is_as_the_tests_take_it() -> None:
    assert BUILDS[-1]["complete_at"] is None
    assert NOW_US - BUILDS[-1]["started_at"] < SECOND


async def test_all_logs_of_a_build_at_once(each_server: Server, http: aiohttp.ClientSession) -> None:
    get = getter(each_server, http)
    _, steps = await get("/builds/290/steps")
    single = [
        log for step in steps["steps"] for log in (await get(f"/steps/{step['stepid']}/logs"))[1]["logs"]
    ]
    assert len(single) > 1
    status, found = await get("/builds/290/logs", order="logid")
    assert (status, found["logs"]) == (200, sorted(single, key=lambda log: log["logid"]))
