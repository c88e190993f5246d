"""The wall clock is set in mid-build: builds end, timers don't hang, due points are settled once."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.robust.support import force, no_traceback, ready, started
from tests.support.processes import Farm, eventually, farm

CONFIG = """
builder("b", job("long", 4), job("after", 0.2))
builder("tree", job("tree", 0.1))
builder("hourly", job("hourly", 0.1))
builder("often", job("often", 0.1))
c['change_source'] = [
    changes.GitPoller(repourl=REPOSITORY, branches=["main"], pollInterval=1, pollAtLaunch=True)]
c['schedulers'] += [
    schedulers.SingleBranchScheduler(name="tree", treeStableTimer=2, builderNames=["tree"],
                                     change_filter=util.ChangeFilter(branch="main")),
    schedulers.Nightly(name="hourly", builderNames=["hourly"], minute=0, hour="*"),
    schedulers.Periodic(name="often", builderNames=["often"], periodicBuildTimer=2),
]
"""


class Clock:
    """The master's wall clock. Its monotonic one goes on as it is, as with a real machine's that is set."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "clock"
        found = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
        self.environment = {
            "LD_PRELOAD": str(found),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.shift(timedelta(0))

    def shift(self, by: timedelta) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{by.total_seconds():+.0f}")
        os.replace(fresh, self._file)  # noqa: PTH105


def git(repository: Path, *words: str) -> None:
    command = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *words]
    subprocess.run(command, cwd=repository, check=True, capture_output=True)


def commit(repository: Path, text: str) -> None:
    (repository / "file").write_text(text)
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", text)


async def test_a_clock_that_is_set(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    git(repository, "init", "-q", "-b", "main")
    commit(repository, "first")
    clock = Clock(tmp_path)
    # So far from the next full hour that none is passed unless the clock is set.
    now = datetime.now(UTC)
    base = now.replace(minute=20, second=0, microsecond=0) - now
    clock.shift(base)
    async with farm(tmp_path) as made:
        made.wrapper = ["env", *(f"{name}={value}" for name, value in clock.environment.items())]
        await ready(made, f"REPOSITORY = {str(repository)!r}\n{CONFIG}")
        made.wrapper = []
        await made.start_worker("w")
        await eventually(lambda: _polled(made, 0), "the poller has begun")
        await force(made, "b")
        await eventually(lambda: started(made, "long"), "the command runs")
        commit(repository, "second")
        await eventually(lambda: _polled(made, 1), "the change is seen; its timer runs")
        clock.shift(base - timedelta(hours=1))
        often = made.starts("often")
        await eventually(lambda: started(made, "tree"), "the stable timer passes")
        await eventually(lambda: _ended(made, "after"), "the build ends")
        await eventually(lambda: _more(made, often + 2), "the periodic one goes on")
        commit(repository, "third")
        await eventually(lambda: _more(made, 2, "tree"), "later changes are built")
        assert made.starts("hourly") == 0, "no full hour has come"
        clock.shift(base + timedelta(hours=3))
        await eventually(lambda: started(made, "hourly"), "of those passed, the last one is caught up with")
        clock.shift(base)
        often = made.starts("often")
        await eventually(lambda: _more(made, often + 1), "the periodic one goes on")
        assert made.starts("hourly") == 1, "no due point comes twice"
        builds = {build["builderid"]: build for build in await _complete(made)}
        assert all(build["results"] == 0 for build in builds.values())
        (b,) = [build for build in builds.values() if build["number"] == 1 and build["builderid"] == 1]
        await made.check_job(b["buildid"], "job", "long")
        no_traceback(made)


async def _polled(made: Farm, count: int) -> bool:
    if count:
        return len((await made.api.get("changes"))["changes"]) >= count
    return bool((await made.api.get("changesources"))["changesources"]) and made.starts("often") > 0


async def _ended(made: Farm, job: str) -> bool:
    return (made.ledger / f"{job}.ends").exists()


async def _more(made: Farm, count: int, job: str = "often") -> bool:
    return made.starts(job) >= count


async def _complete(made: Farm) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await made.api.get("builds", complete="true"))["builds"]
    return found
