"""Masters and workers that are stopped, started, started twice and drained in the middle of builds."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.robust.support import HEAD, alive, attached, done, force, no_traceback, ready, said, started, told
from tests.support.processes import Farm, Process, eventually, farm

CONFIG = """
builder("b", job("long", 3), job("after", 0.1))
builder("c", job("c", 0.1))
"""


async def test_a_worker_is_stopped_in_the_middle(tmp_path: Path) -> None:
    """Its command ends with it: the attempt is RETRY, and the next worker process does it again."""
    async with farm(tmp_path) as made:
        await ready(made, CONFIG, "w")
        await force(made, "b")
        await eventually(lambda: started(made, "long"), "the command runs")
        worker = made.workers["w"]
        worker.signal(signal.SIGTERM)
        assert await worker.wait(15) == 0
        await eventually(lambda: _builds(made, 1), "the attempt has ended")
        (build,) = (await made.api.get("builds"))["builds"]
        assert build["results"] == 5, build
        assert "retry" in build["state_string"].lower()
        (pid,) = (made.ledger / "long.starts").read_text().split()
        assert not alive(pid), "nothing of it runs any more"
        await made.start_worker("w")
        builds = await done(made)
        assert [each["results"] for each in builds] == [5, 0], builds
        assert made.starts("long") == 2
        no_traceback(made)


async def _builds(made: Farm, complete: int) -> bool:
    return sum(bool(each["complete"]) for each in (await made.api.get("builds"))["builds"]) >= complete


async def test_two_masters_on_one_directory(tmp_path: Path) -> None:
    async with farm(tmp_path) as made:
        await ready(made, CONFIG, "w")
        await force(made, "b")
        await eventually(lambda: started(made, "long"), "the command runs")
        second = Process("second", made.master._arguments, tmp_path / "second.log")
        await second.start()
        assert await second.wait() == 1
        text = second.output.read_text()
        assert "another master runs on" in text
        assert f"process {made.master.pid}" in text
        assert "Traceback" not in text
        (build,) = await done(made)
        assert build["results"] == 0
        await made.check_job(build["buildid"], "job", "long")


async def test_two_masters_on_one_file(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    db_url = f"sqlite:///{tmp_path}/shared.sqlite"
    async with farm(tmp_path / "one") as made, farm(tmp_path / "two") as other:
        await ready(made, f"c['db_url'] = {db_url!r}\n{CONFIG}", "w")
        await force(made, "b")
        other.configure(f"{HEAD}c['db_url'] = {db_url!r}\n{CONFIG}")
        await other.start_master()
        assert await other.master.wait() == 1
        assert "belongs to another running master" in told(other)
        assert "PostgreSQL" in told(other), "it says what to do"
        assert "Traceback" not in told(other)
        (build,) = await done(made)
        assert build["results"] == 0
        await made.master.stop()
        await other.start_master()
        await other.master_is_up()
        assert len((await other.api.get("builds"))["builds"]) == 1, "now it is the second's"


async def test_a_stop_and_a_start(tmp_path: Path) -> None:
    """SIGTERM in the middle of builds, also twice, also while a worker is away: the next start goes on."""
    async with farm(tmp_path) as made:
        await ready(made, "c['workers'].append(worker.Worker('v', 'pw'))\n" + CONFIG, "w")
        await force(made, "b")
        await eventually(lambda: started(made, "long"), "the command runs")
        for _ in range(2):
            made.master.signal(signal.SIGTERM)
            assert await made.master.wait(10) == 0
            await made.start_master()
            await made.master_is_up()
        (build,) = await done(made)
        assert build["results"] == 0
        await made.check_job(build["buildid"], "job", "long")
        await made.check_job(build["buildid"], "job_1", "after")
        made.master.signal(signal.SIGTERM)
        made.master.signal(signal.SIGTERM)
        assert await made.master.wait(10) == 0, "stopped while nothing runs, asked twice"
        await made.start_master()
        await made.master_is_up()
        await force(made, "c")
        assert [each["results"] for each in await done(made, 2)] == [0, 0]
        no_traceback(made)


async def test_draining(tmp_path: Path) -> None:
    """SIGUSR1: what runs comes to its end, what waits is left for the next start."""
    async with farm(tmp_path) as made:
        await ready(made, CONFIG, "w")
        await force(made, "b")
        await eventually(lambda: started(made, "long"), "the command runs")
        made.master.signal(signal.SIGUSR1)
        await eventually(lambda: said(made, "draining"), "it drains")
        await force(made, "c")
        assert await made.master.wait(20) == 0
        assert made.starts("after") == 1, "the running build has come to its end"
        assert made.starts("c") == 0
        await made.start_master()
        await made.master_is_up()
        builds = await done(made, 2)
        assert [each["results"] for each in builds] == [0, 0]
        assert made.starts("long") == 1
        assert made.starts("c") == 1
        no_traceback(made)


async def test_a_drain_that_is_cut_short(tmp_path: Path) -> None:
    async with farm(tmp_path) as made:
        await ready(made, CONFIG, "w")
        await force(made, "b")
        await eventually(lambda: started(made, "long"), "the command runs")
        made.master.signal(signal.SIGUSR1)
        await eventually(lambda: said(made, "draining"), "it drains")
        made.master.signal(signal.SIGTERM)
        assert await made.master.wait(10) == 0
        await made.start_master()
        await made.master_is_up()
        await eventually(lambda: attached(made, 1), "the worker is back")
        (build,) = await done(made)
        assert build["results"] == 0
        await made.check_job(build["buildid"], "job", "long")
        no_traceback(made)
