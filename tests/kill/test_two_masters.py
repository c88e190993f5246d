"""P3, P4: a build follows its worker to another master, and its former owner can write no more."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aiohttp

from tests.support.processes import Farm, eventually

CONFIG = """
from buildwright.plugins import *
c = BuildmasterConfig = {}
c['workers'] = [worker.Worker("w", "pw")]
c['builders'] = [util.BuilderConfig(name="b", workernames=["w"], factory=util.BuildFactory([
    steps.ShellCommand(name="job", command=[PYTHON, JOB, "job", SECONDS, LEDGER]),
    steps.ShellCommand(name="after", command=["true"]),
]))]
c['schedulers'] = [schedulers.ForceScheduler(name="force", builderNames=["b"])]
c['multiMaster'] = True
c['logStore'] = 'database'
c['www'] = {'port': PORT}
"""


async def test_a_frozen_master_is_succeeded(tmp_path: Path, postgres_url: str) -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        first, second = Farm(tmp_path / "a", session), Farm(tmp_path / "b", session)
        second.ledger, second.job = first.ledger, first.job
        try:
            for made in (first, second):
                made.configure(f"SECONDS = '60'\n{CONFIG}c['db_url'] = {postgres_url!r}\n")
                await made.start_master()
                await made.master_is_up()
            await first.start_worker("w", f"ws://127.0.0.1:{first.port}", f"ws://127.0.0.1:{second.port}")
            await first.api.force("force", builderNames=["b"])
            await eventually(lambda: _true(first.starts("job")), "the command runs")
            first.master.signal(signal.SIGSTOP)
            await eventually(
                lambda: _true("going on" in second.master.output.read_text()), "it has moved", 90
            )
            await asyncio.sleep(1)  # the new owner writes some of its log before the old one wakes
            first.master.signal(signal.SIGCONT)
            await eventually(lambda: second.api.builds_done(1), "the build is done", 120)
            (build,) = (await second.api.get("builds"))["builds"]
            assert build["results"] == 0, build
            masters = {
                each["masterid"]: each["name"] for each in (await second.api.get("masters"))["masters"]
            }
            assert masters[build["masterid"]].endswith("/b/master")
            await second.check_job(build["buildid"], "job", "job")
        finally:
            await first.stop()
            await second.stop()


async def _true(value: object) -> bool:
    return bool(value)
