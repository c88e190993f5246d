"""P3, P4, P5: a master that dies at each named point of a build's way, and the next one that goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.processes import Farm, eventually, farm

DYING = str(Path(__file__).parent / "dying_master.py")
POINTS = [
    ("before journal commit", 1),
    ("before journal commit", 2),
    ("after journal commit", 1),
    ("after journal commit", 2),
    ("after send", 1),
    ("after send", 2),
    ("after output", 3),
    ("after result", 1),
    ("after result", 2),
    ("before finish commit", 1),
    ("after finish commit", 1),
]

CONFIG = """
from buildwright.plugins import *
c = BuildmasterConfig = {}
c['workers'] = [worker.Worker("w", "pw")]
f = util.BuildFactory([
    steps.ShellCommand(name="one", command=[PYTHON, JOB, "one", "0.3", LEDGER]),
    steps.ShellCommand(name="two", command=[PYTHON, JOB, "two", "0.3", LEDGER]),
])
c['builders'] = [util.BuilderConfig(name="b", workernames=["w"], factory=f)]
c['schedulers'] = [schedulers.ForceScheduler(name="force", builderNames=["b"])]
c['www'] = {'port': PORT}
"""


@pytest.mark.parametrize(("point", "time"), POINTS)
async def test_dying_at(tmp_path: Path, point: str, time: int) -> None:
    async with farm(tmp_path) as made:
        made.configure(CONFIG)
        await made.start_worker("w")
        await made.start_master([DYING], DIE_AT=point, DIE_TIME=str(time))
        await made.master_is_up()
        await made.api.force("force", builderNames=["b"])
        await made.master.wait()
        await _finish(made)


async def _finish(made: Farm) -> None:
    await made.start_master()
    await made.master_is_up()
    builds = await eventually(lambda: made.api.builds_done(1), "the build is done")
    assert len(builds) == 1, "one build"
    assert builds[0]["results"] == 0, builds[0]
    await made.check_job(builds[0]["buildid"], "one", "one")
    await made.check_job(builds[0]["buildid"], "two", "two")
    assert [step["results"] for step in (await made.api.get("builds/1/steps"))["steps"]] == [0, 0]
