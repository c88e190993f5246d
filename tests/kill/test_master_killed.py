"""P4, P5: a master that is killed, at random moments, loses no build, no byte, and starts nothing twice."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.support.processes import Farm, eventually, farm

BUILDS = 10
SECONDS = 30.0
KILLS = 10

CONFIG = f"""
from buildwright.plugins import *
c = BuildmasterConfig = {{}}
c['workers'] = [worker.Worker(f"w{{n}}", "pw") for n in range(3)]
def job(n):
    return util.BuildFactory([
        steps.ShellCommand(name="before", command=["true"]),
        steps.ShellCommand(name="job", command=[PYTHON, JOB, f"job{{n}}", "{SECONDS}", LEDGER]),
        steps.ShellCommand(name="after", command=["true"]),
    ])
names = [f"b{{n}}" for n in range({BUILDS})]
c['builders'] = [
    util.BuilderConfig(name=name, workernames=[f"w{{n % 3}}"], factory=job(n)) for n, name in enumerate(names)
]
c['schedulers'] = [schedulers.ForceScheduler(name="force", builderNames=names)]
c['www'] = {{'port': PORT}}
"""


async def run_builds(made: Farm) -> None:
    made.configure(CONFIG)
    await made.start_master()
    await made.master_is_up()
    for number in range(3):
        await made.start_worker(f"w{number}")
    for number in range(BUILDS):
        await made.api.force("force", builderNames=[f"b{number}"])


async def check_all(made: Farm) -> None:
    builds = await eventually(lambda: made.api.builds_done(BUILDS), "all builds are done", 180)
    assert len(builds) == BUILDS, "one build each"
    names = {each["builderid"]: each["name"] for each in (await made.api.get("builders"))["builders"]}
    for build in builds:
        assert build["results"] == 0, build
        await made.check_job(build["buildid"], "job", f"job{names[build['builderid']].removeprefix('b')}")


@pytest.mark.parametrize("seed", [1])
async def test_a_master_killed_at_random_moments(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    async with farm(tmp_path) as made:
        await run_builds(made)
        for _ in range(KILLS):
            await asyncio.sleep(chance.uniform(0.2, 3.0))  # the random moment itself
            await made.master.kill()
            await made.start_master()
            await made.master_is_up()
        await check_all(made)
