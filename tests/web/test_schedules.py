"""What a page of schedulers shows, on a running master with one of every kind."""

from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from buildwright.store.base import wall_us
from buildwright.store.units.changes import NewChange, add_changes
from tests.support.rig import Rig, rig
from tests.support.webserver import execute
from tests.web.conftest import Get

MINUTE = 60_000_000
TEXT = """
builder("b")
builder("c")
commits = schedulers.SingleBranchScheduler("commits", branch="main", treeStableTimer=600, builderNames=["b"])
c["schedulers"] += [
    commits,
    schedulers.AnyBranchScheduler(
        "branches", treeStableTimer=300, builderNames=["b", "c"],
        change_filter=util.ChangeFilter(branch_not_eq="main"),
        fileIsImportant=lambda change: change.branch != "idle",
    ),
    schedulers.Dependent("after", upstream=commits, builderNames=["c"]),
    schedulers.Nightly("hourly", builderNames=["b"], minute=7, timezone="UTC"),
    schedulers.Nightly(
        "leap", builderNames=["b"], dayOfMonth=29, month=2, hour=0, timezone="UTC", onlyIfChanged=True
    ),
    schedulers.Periodic("often", builderNames=["c"], periodicBuildTimer=3600),
    schedulers.ForceScheduler("force", builderNames=["b"]),
    schedulers.SingleBranchScheduler("told-later", branch="never", builderNames=util.Property("which")),
]
"""


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path, "sqlite:///state.sqlite", TEXT, workers=()) as it:
        yield it


@pytest.fixture
def read(it: Rig, http: aiohttp.ClientSession) -> Get:
    async def read(path: str, **params: Any) -> tuple[int, Any]:
        url = f"http://127.0.0.1:{it.port}/api/v2{path}"
        async with http.get(url, params=params) as response:
            return response.status, await response.json()

    return read


async def schedules(read: Get) -> dict[str, dict[str, Any]]:
    status, body = await read("/schedules")
    assert status == 200, body
    return {each["name"]: each for each in body["schedules"]}


async def change(it: Rig, branch: str, received_at: int) -> None:
    new = NewChange(author="Ann", revision=f"{branch}-{received_at}", branch=branch)
    await it.store.run(add_changes([new], received_at))


async def test_what_they_are_and_what_they_start(it: Rig, read: Get) -> None:
    found = await schedules(read)
    assert {name: each["kind"] for name, each in found.items()} == {
        "run-b": "Triggerable",
        "run-c": "Triggerable",
        "commits": "SingleBranchScheduler",
        "branches": "AnyBranchScheduler",
        "after": "Dependent",
        "hourly": "Nightly",
        "leap": "Nightly",
        "often": "Periodic",
        "force": "ForceScheduler",
        "told-later": "SingleBranchScheduler",
    }
    assert found["branches"]["builder_names"] == ["b", "c"]
    assert found["told-later"]["builder_names"] is None
    assert found["after"]["follows"] == "commits"
    assert found["after"]["waits_for"] == "waits for commits to succeed"
    assert found["force"]["waits_for"] == "waits for somebody to ask"
    _, mine = await read("/schedules", builder_names__contains="c")
    assert {each["name"] for each in mine["schedules"]} == {"run-c", "branches", "after", "often"}


async def test_when_they_come_next_and_what_they_settled(it: Rig, read: Get) -> None:
    async def periodic() -> dict[str, Any] | None:
        often = (await schedules(read))["often"]
        return often if often["settled_us"] is not None else None

    often = await it.until("buildsets", periodic)
    assert (often["settled_outcome"], often["settled_buildsetid"] is not None) == ("fired", True)
    assert [due - often["settled_us"] for due in often["next_due_us"]] == [
        60 * MINUTE,
        120 * MINUTE,
        180 * MINUTE,
    ]
    found = await schedules(read)
    hourly = found["hourly"]["next_due_us"]
    assert [due % (60 * MINUTE) for due in hourly] == [7 * MINUTE] * 3
    assert hourly[0] + MINUTE > wall_us()
    assert [later - due for due, later in pairwise(hourly)] == [60 * MINUTE] * 2
    assert len(found["leap"]["next_due_us"]) == 3
    assert found["commits"]["next_due_us"] == []


async def test_p6_changes_that_wait_for_a_timer(it: Rig, read: Get) -> None:
    now = wall_us()
    for branch, age in (("main", 120), ("main", 60), ("one", 30), ("two", 20), ("two", 10), ("idle", 5)):
        await change(it, branch, now - age * 1_000_000)

    async def sorted_in() -> dict[str, Any] | None:
        found = await schedules(read)
        seen = sum(each["important"] for name in ("commits", "branches") for each in found[name]["waiting"])
        # Those of other branches are put away when all have been looked at.
        return found if seen == 5 and len(found["commits"]["waiting"]) == 1 else None

    found = await it.until("schedulers", sorted_in)
    [main] = found["commits"]["waiting"]
    assert (main["branch"], main["changes"], main["important"]) == ("main", 2, 2)
    assert main["fires_at_us"] == now + 540_000_000
    timers = {each["branch"]: each["fires_at_us"] for each in found["branches"]["waiting"]}
    assert timers == {"one": now + 270_000_000, "two": now + 290_000_000, "idle": None}


async def test_one_of_them_and_one_that_only_another_master_has(it: Rig, read: Get) -> None:
    async def same() -> bool:
        """They may differ while the master takes its schedulers up."""
        commits = (await schedules(read))["commits"]
        _, one = await read(f"/schedulers/{commits['schedulerid']}/schedule")
        return bool(one["schedules"] == [commits])

    await it.until("schedulers", same)
    status, _ = await read("/schedulers/9999/schedule")
    assert status == 404
    await execute(it.store, "INSERT INTO schedulers (name, masterid) VALUES ('elsewhere', 1), ('gone', NULL)")
    found = await schedules(read)
    assert "gone" not in found
    assert (found["elsewhere"]["kind"], found["elsewhere"]["builder_names"]) == (None, None)
    # A field without a value can be compared: it is neither equal, nor less, nor more.
    _, settled = await read("/schedules", settled_us__gt=0, kind__ne="Periodic")
    assert settled["schedules"] == []
