"""P4, P6: the worker's own death ends its commands: the attempt is RETRY, and nothing of it runs beside the
next.
"""

from __future__ import annotations

from pathlib import Path

from tests.support.processes import Farm, eventually, farm

# Ignores SIGTERM, starts a child in a session of its own, and notes the life of both in the ledger.
STUBBORN = r"""
import os, signal, subprocess, sys, time
ledger, seconds = sys.argv[1], float(sys.argv[2])
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(
    [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True,
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
with open(f"{ledger}/alive", "a") as alive:
    alive.write(f"{os.getpid()} {child.pid}\n")
others = [line.split() for line in open(f"{ledger}/alive").read().splitlines()][:-1]
def alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
for pids in others:
    for pid in pids:
        if alive(pid):
            open(f"{ledger}/overlap", "a").write(f"{pid}\n")
if len(others) == 0:
    time.sleep(600)
child.kill()
child.wait()
print("done")
"""

CONFIG = """
from buildwright.plugins import *
c = BuildmasterConfig = {}
c['workers'] = [worker.Worker("w", "pw")]
c['builders'] = [util.BuilderConfig(name="b", workernames=["w"], factory=util.BuildFactory([
    steps.ShellCommand(name="job", command=[PYTHON, STUBBORN, LEDGER, "600"]),
    steps.ShellCommand(name="after", command=["true"], alwaysRun=True)]))]
c['schedulers'] = [schedulers.ForceScheduler(name="force", builderNames=["b"])]
c['www'] = {'port': PORT}
"""


def _exist(pids: list[int]) -> bool:
    return any(Path(f"/proc/{pid}").exists() for pid in pids)


async def _alive(made: Farm) -> list[int]:
    path = made.ledger / "alive"
    return [int(pid) for pid in path.read_text().split()] if path.exists() else []


async def test_a_killed_worker(tmp_path: Path) -> None:
    script = tmp_path / "stubborn.py"
    script.write_text(STUBBORN)
    async with farm(tmp_path) as made:
        made.configure(f"STUBBORN = {str(script)!r}\n{CONFIG}")
        await made.start_master()
        await made.master_is_up()
        worker = await made.start_worker("w")
        await made.api.force("force", builderNames=["b"])
        first = await eventually(lambda: _alive(made), "the command runs")
        await worker.kill()
        assert _exist(first), "its commands outlive the worker's process"
        await made.start_worker("w")
        await eventually(lambda: made.api.builds_done(1), "the build is done", 60)
        builds = (await made.api.get("builds", order="number"))["builds"]
        assert [build["results"] for build in builds] == [5, 0], builds
        assert not (made.ledger / "overlap").exists(), "something of the first attempt ran beside the second"
        steps = (await made.api.get(f"builds/{builds[0]['buildid']}/steps"))["steps"]
        assert [(step["name"], step["results"]) for step in steps] == [("job", 5)]
        assert "died" in builds[0]["state_string"]
