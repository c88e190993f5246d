"""Full disks, the master's and a worker's: it is said, no new work is taken, with room all goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp

from buildwright_worker import config as worker_config
from tests.robust.rooms import fill, inside, small_disk
from tests.robust.support import attached, done, force, no_traceback, ready, said, started
from tests.support.processes import Farm, eventually, farm

# Prints as fast as it can for some seconds, and says in the ledger what it printed.
LOUD = r"""
import os, sys, time
name, seconds, ledger = sys.argv[1], float(sys.argv[2]), sys.argv[3]
open(f"{ledger}/{name}.starts", "a").write("1\n")
out = open(f"{ledger}/{name}.out", "ab", buffering=0)
open(f"{ledger}/{name}.err", "ab")
end, number = time.monotonic() + seconds, 0
while time.monotonic() < end or number < 300:
    data = b"".join(b"%s %d %d\n" % (name.encode(), number, each) * 10 for each in range(100))
    out.write(data)
    while data:
        data = data[os.write(1, data):]
    number += 1
    time.sleep(0.005)
"""


async def ready_status(made: Farm) -> tuple[int, dict[str, Any]]:
    async with made.api._session.get(f"{made.api.base}/readyz") as answer:
        return answer.status, await answer.json()


async def unready(made: Farm, why: str) -> bool:
    status, body = await ready_status(made)
    return status == 503 and why in body["error"]


async def well(made: Farm) -> bool:
    return (await ready_status(made))[0] == 200


async def test_the_masters_disk(tmp_path: Path) -> None:
    async with farm(tmp_path) as made:
        disk, loud = tmp_path / "disk", tmp_path / "loud.py"
        disk.mkdir()
        loud.write_text(LOUD)
        config = f"""
c['db_url'] = "sqlite:///{disk}/state.sqlite"
builder("loud", steps.ShellCommand(name="job", command=[PYTHON, {str(loud)!r}, "loud", "5", LEDGER]))
builder("quick", job("quick", 0.1))
"""
        made.wrapper = small_disk(disk, 40_000)
        await ready(made, config, "w")
        await force(made, "loud")
        await eventually(lambda: started(made, "loud"), "the command runs")
        filler = fill(inside(made.master.pid, disk))
        await eventually(lambda: unready(made, "is full"), "the master is not ready, and says why")
        assert await said(made, "the store is in trouble")
        assert await said(made, "Make room there")
        # A request is refused, or it is kept: whatever was answered with 2xx counts.
        kept = 0
        try:
            await force(made, "quick")
        except (AssertionError, aiohttp.ClientError, TimeoutError):
            pass
        else:
            kept = 1
        assert not made.starts("quick"), "no new work is taken"
        (build,) = (await made.api.get("builds"))["builds"]
        assert not build["complete"], "what runs waits for room"
        filler.unlink()
        await eventually(lambda: well(made), "it goes on by itself")
        builds = await done(made, 1 + kept)
        assert builds[0]["results"] == 0
        await made.check_job(builds[0]["buildid"], "job", "loud")
        await force(made, "quick")
        builds = await done(made, 2 + kept)
        assert [each["results"] for each in builds] == [0] * (2 + kept)
        no_traceback(made)


async def test_a_workers_disk(tmp_path: Path) -> None:
    """Its spool is on a full disk while the master is away: the command waits, and no byte is lost."""
    async with farm(tmp_path) as made:
        directory, loud = tmp_path / "workers" / "w", tmp_path / "loud.py"
        loud.write_text(LOUD)
        await ready(
            made,
            f"""
LOUD = [PYTHON, {str(loud)!r}, "loud", "1", LEDGER]
builder("loud", steps.ShellCommand(name="job", timeout=3, command=LOUD))
builder("quick", job("quick", 0.1))
""",
        )
        worker_config.create(directory, [f"ws://127.0.0.1:{made.port}/worker"], "w", "pw", None)
        (directory / ".buildwright").mkdir(exist_ok=True)
        made.wrapper = small_disk(directory / ".buildwright", 4_000)
        await made.start_worker("w")
        made.wrapper = []
        await eventually(lambda: attached(made, 1), "the worker is attached")
        worker = made.workers["w"]
        await force(made, "loud")
        await eventually(lambda: started(made, "loud"), "the command runs")
        await made.master.kill()  # from here on the worker keeps what is printed
        filler = fill(inside(worker.pid, directory / ".buildwright"))
        await eventually(lambda: _told(made, "no room: No space left on device"), "the worker says it")
        await made.start_master()
        await made.master_is_up()
        (build,) = await done(made)
        assert build["results"] == 0, build
        await made.check_job(build["buildid"], "job", "loud")
        fill(inside(worker.pid, directory / ".buildwright"))  # what the spool has given back
        # Without room for the list of what it runs, it takes no work, and says so.
        _, requests = await force(made, "quick")
        (requestid,) = requests.values()
        await eventually(lambda: _waits(made, requestid, "No space left on device"), "why it waits")
        assert await said(made, "a worker has no room")
        await force(made, "loud")
        assert not made.starts("quick")
        filler.unlink()
        builds = await done(made, 3)
        assert [each["results"] for each in builds] == [0, 0, 0], builds
        no_traceback(made)


async def _told(made: Farm, text: str) -> bool:
    return text in made.workers["w"].output.read_text()


async def _waits(made: Farm, requestid: int, why: str) -> bool:
    (request,) = (await made.api.get(f"buildrequests/{requestid}"))["buildrequests"]
    return why in str(request)
