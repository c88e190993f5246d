"""Build data, test results and codebases through the data API, on every database."""

from typing import Any

import aiohttp
import pytest

from tests.support.fill import tables
from tests.support.webserver import Server
from tests.web.conftest import SMALL, Get, getter

ROWS = {name: [dict(zip(columns, row, strict=True)) for row in rows] for name, columns, rows in tables(SMALL)}
LAST = SMALL.builds


@pytest.fixture
def read(each_server: Server, http: aiohttp.ClientSession) -> Get:
    return getter(each_server, http)


async def test_build_data_shows_no_value_but_has_one(
    read: Get, each_server: Server, http: aiohttp.ClientSession
) -> None:
    shown = {"buildid": LAST, "length": 5, "name": "report", "source": "step", "value": None}
    assert await read(f"/builds/{LAST}/data") == (200, {"build_data": [shown], "meta": {"total": 1}})
    assert await read(f"/builds/{LAST}/data/report") == (200, {"build_data": [shown], "meta": {}})
    [build] = [row for row in ROWS["builds"] if row["id"] == LAST]
    for path in (f"builds/{LAST}", f"builders/{build['builderid']}/builds/{build['number']}"):
        url = f"{each_server.url}/api/v2/{path}/data/report/value"
        async with http.get(url) as answer:
            assert await answer.read() == b"\0\xff<b>"
            assert answer.content_type == "application/octet-stream"
            assert answer.headers["Content-Disposition"].startswith("attachment")
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        async with http.head(url) as answer:
            assert (answer.status, answer.headers["Content-Length"]) == (200, "5")
    for path in ("/builds/1/data/report", "/builds/1/data/report/value", f"/builds/{LAST}/data/no/value"):
        status, body = await read(path)
        assert (status, list(body)) == (404, ["error"])
    assert await read("/builds/1/data") == (200, {"build_data": [], "meta": {"total": 0}})
    status, _ = await read(f"/builds/{LAST}/data/report/value", name="x")
    assert status == 400


async def test_result_sets_of_builds_builders_and_steps(read: Get) -> None:
    _, of_build = await read(f"/builds/{LAST}/test_result_sets", order="category")
    tests, speed = of_build["test_result_sets"]
    assert tests == {
        "builderid": 1,
        "buildid": LAST,
        "category": "pass_fail",
        "complete": True,
        "description": "tests",
        "num_results": 10,
        "stepid": LAST * 10 + SMALL.steps - 1,
        "test_result_setid": LAST,
        "tests_failed": 1,
        "tests_passed": 9,
        "value_unit": "boolean",
    }
    assert (speed["tests_passed"], speed["complete"]) == (None, False)
    _, of_step = await read(f"/steps/{tests['stepid']}/test_result_sets", order="category")
    assert of_step == of_build
    ids = sorted(row["id"] for row in ROWS["test_result_sets"] if row["builderid"] == 1)
    for builder in ("1", "waits-for-arm"):
        _, of_builder = await read(
            f"/builders/{builder}/test_result_sets", field="test_result_setid", limit=2
        )
        assert of_builder["meta"] == {"total": len(ids)}
        assert [each["test_result_setid"] for each in of_builder["test_result_sets"]] == ids[:2]
    _, failed = await read("/test_result_sets", tests_failed__gt=0, limit=1, order="-test_result_setid")
    assert failed == {"test_result_sets": [tests], "meta": {"total": SMALL.detailed}}


async def test_results_are_filtered_sorted_and_paged(read: Get) -> None:
    path = f"/test_result_sets/{LAST}/results"
    _, body = await read(path, limit=3, offset=2, order="-duration_ns")
    assert body["meta"] == {"total": 10}
    assert [each["duration_ns"] for each in body["test_results"]] == [8000, 7000, 6000]
    _, failed = await read(path, passed="false")
    [one] = failed["test_results"]
    expected: dict[str, Any] = {
        "builderid": 1,
        "duration_ns": 1000,
        "line": 1,
        "message": "assert 1 == 2",
        "passed": False,
        "test_code_path": "tests/2.py",
        "test_name": "tests.test_1",
        "test_result_setid": LAST,
        "test_resultid": one["test_resultid"],
        "value": "0",
    }
    assert one == expected
    assert await read(f"/builds/{LAST}/unsuccessful_test_results") == (200, failed)
    queries: dict[str, dict[str, Any]] = {
        "tests.test_10": {"test_name__contains": "_10"},
        "tests.test_2": {"test_name": "tests.test_2"},
        "tests.test_3": {"test_code_path": "tests/1.py", "order": "test_resultid", "limit": 1},
    }
    for name, query in queries.items():
        _, found = await read(path, **query)
        assert [each["test_name"] for each in found["test_results"]] == [name]
    _, speed = await read(f"/test_result_sets/{LAST + 10**6}/results")
    assert [(each["value"], each["passed"], each["test_name"]) for each in speed["test_results"]] == [
        ("17.5", None, None)
    ]
    _, unknown = await read(f"/test_result_sets/{LAST + 10**6}/results", passed__ne="true")
    assert unknown == speed
    assert await read("/test_result_sets/9/results") == (200, {"test_results": [], "meta": {"total": 0}})


async def test_codebases_of_projects(read: Get) -> None:
    main, docs = (
        {"codebaseid": i, "name": name, "projectid": 1, "slug": name}
        for i, name in ((1, "main"), (2, "docs"))
    )
    assert await read("/codebases", order="-name") == (200, {"codebases": [main, docs], "meta": {"total": 2}})
    assert await read("/codebases/2") == (200, {"codebases": [docs], "meta": {}})
    assert await read("/projects/1/codebases/main") == (200, {"codebases": [main], "meta": {}})
    assert await read("/projects/1/codebases", name="docs") == (
        200,
        {"codebases": [docs], "meta": {"total": 1}},
    )
    assert (await read("/projects/1/codebases/none"))[0] == 404
    assert (await read("/projects/2/codebases/main"))[0] == 404
