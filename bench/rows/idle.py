"""What it costs to wait: memory and start of an idle master and worker, and of a thousand workers.

The thousand are real sessions, 250 in each of four processes. Their attaching is timed from the word to go,
when the four processes have everything imported, to REST showing all of them attached; each process has ten
attaching at a time.
"""

import asyncio
import time

from bench.processes import Process
from bench.sides import Master, Setup, Side, master
from bench.table import Figure, Measurement, Row, median_of

MB = 1_000_000
CROWD = 1000
A_PROCESS = 250


async def alone(side: Side, short: bool) -> dict[str, Figure]:
    """An idle master with one idle worker; and starts, until there are ten seconds of them."""
    starts: list[float] = []
    async with master(side, Setup()) as made:
        await made.rest.finished_build(await made.rest.force())
        await asyncio.sleep(2)  # memory of a process at rest, after one build
        master_rss = made.running.rss()
        worker_rss = made.workers[0].rss()
    while len(starts) < 3 or (not short and sum(starts) < 10):
        async with master(side, Setup(), started=False) as made:
            starts.append(await made.start())
    return {
        "idle_master_rss": Figure(master_rss / MB, 1),
        "idle_worker_rss": Figure(worker_rss / MB, 1),
        "start": median_of(starts),
    }


async def crowd(side: Side, short: bool) -> dict[str, Figure]:
    async with master(side, Setup(workers=CROWD), attached=False) as made:
        await asyncio.sleep(1)
        before = made.running.rss()
        hosts = [_host(side, made, first) for first in range(0, CROWD, A_PROCESS)]
        made.workers += hosts
        while not all("ready" in host.output.read_text() for host in hosts):
            for host in hosts:
                host.require_alive()
            await asyncio.sleep(0.05)
        began = time.monotonic()
        for host in hosts:
            host.tell("go")
        await made.rest.wait_for_workers(CROWD)
        attach = time.monotonic() - began
        await asyncio.sleep(5)
        grown = made.running.rss() - before
        seconds = 20 if short else 60
        used = made.running.cpu_seconds()
        await asyncio.sleep(seconds)
        used = made.running.cpu_seconds() - used
    return {
        "idle_workers_rss": Figure(grown / 1024 / CROWD, 1, f"of the master, for each of {CROWD} workers"),
        "idle_workers_cpu": Figure(100 * used / seconds, 1, f"of a core, over {seconds} s"),
        "idle_workers_attach": Figure(attach, 1, f"{CROWD} workers"),
    }


def _host(side: Side, made: Master, first: int) -> Process:
    home = made.home / f"host{first}"
    home.mkdir()
    names = [f"worker{number}" for number in range(first, first + A_PROCESS)]
    command = side.host_workers(made.setup, names, home)
    return Process(command, home, home / "output.log", {"PYTHONUNBUFFERED": "1"})


MEASUREMENTS = (
    Measurement(
        alone,
        (
            Row("idle_master_rss", "MB", False),
            Row("idle_worker_rss", "MB", False),
            Row("start", "s", False),
        ),
    ),
    Measurement(
        crowd,
        (
            Row("idle_workers_rss", "KiB", False),
            Row("idle_workers_cpu", "%", False),
            Row("idle_workers_attach", "s", False),
        ),
    ),
)
