"""The history of codebases through the data API, on every database."""

import aiohttp
import pytest

from buildwright.store.base import wall_us
from buildwright.store.unit import unit
from buildwright.store.units.commits import Seen, SeenCommit, see_work
from tests.support.webserver import Server
from tests.web.conftest import Get, getter
from tests.web.test_events import Socket, socket

__all__ = ["socket"]  # a fixture

WAY = "/codebases/1/commit_range"


@pytest.fixture
def read(each_server: Server, http: aiohttp.ClientSession) -> Get:
    return getter(each_server, http)


async def test_commits_and_branches(read: Get) -> None:
    status, body = await read("/codebases/1/commits", order="-commitid", limit=2)
    newest = body["commits"][0]
    assert (status, body["meta"]) == (200, {"total": 5})
    assert newest.items() >= {
        "author": "Ann <ann@example.org>",
        "codebaseid": 1,
        "comments": "Commit 5",
        "commitid": 5,
        "committer": None,
        "parent_commitid": 4,
        "revision": f"{5:040x}",
    }.items()  # fmt: skip
    assert newest["when_timestamp"] == newest["when_timestamp_us"] // 1_000_000
    assert await read("/commits/5") == (200, {"commits": [newest], "meta": {}})
    found = await read(f"/codebases/1/commits_by_revision/{5:040x}")
    assert found == (200, {"commits": [newest], "meta": {}})
    status, body = await read("/codebases/1/branches", name="side")
    [side] = body["branches"]
    assert (side["branchid"], side["codebaseid"], side["commitid"]) == (2, 1, 5)
    assert await read("/branches/2") == (200, {"branches": [side], "meta": {}})
    assert (await read("/codebases/2/commits"))[1] == {"commits": [], "meta": {"total": 0}}
    for path in (
        "/commits/99",
        "/branches/99",
        f"/codebases/2/commits_by_revision/{5:040x}",
        "/codebases/1/commits_by_revision/x",
    ):
        assert (await read(path))[0] == 404, path


async def test_the_way_between_two_commits(read: Get) -> None:
    for ends, graph in {
        "3/5": {"common": 2, "to1": [3], "to2": [5, 4]},
        "5/3": {"common": 2, "to1": [5, 4], "to2": [3]},
        "1/3": {"common": 1, "to1": [], "to2": [3, 2]},
        "4/4": {"common": 4, "to1": [], "to2": []},
    }.items():
        found = await read(f"{WAY}/{ends}/commits_common_parent")
        assert found == (200, {"commit_graphs": [graph], "meta": {}}), ends
    for path in (f"{WAY}/3/99/commits_common_parent", "/codebases/2/commit_range/1/3/commits_common_parent"):
        assert (await read(path))[0] == 404, path


async def test_results_of_another_codebase_are_not_along_the_way(read: Get) -> None:
    """Builds' source stamps have these revisions, but they are of another codebase."""
    _, body = await read("/sourcestamps", revision=f"{2:040x}")
    assert len(body["sourcestamps"]) == 1
    assert await read(f"{WAY}/1/3/test_result_sets") == (200, {"test_result_sets": [], "meta": {"total": 0}})


async def test_what_is_seen_is_told(server: Server, socket: Socket) -> None:
    await socket.consume("commits/*/new", "codebases/*/commits/*/*", "branches/*/*")
    commits = [SeenCommit("new", "Zoë", "Bob", "more", 5_000_000, f"{3:040x}")]
    seen = Seen("main", "", commits, [("main", "new"), ("side", f"{5:040x}"), ("fresh", f"{1:040x}")])
    await server.store.run(unit(see_work)(seen, wall_us()))
    events = [await socket.event() for _ in range(4)]
    assert {event["k"].rpartition("/")[2] for event in events} == {"new", "update"}
    told = {event["k"].partition("/")[0]: event["m"] for event in events}
    assert told["commits"]["parent_commitid"] == 3
    assert told["branches"]["name"] in ("main", "fresh")
