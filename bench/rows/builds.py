"""Builds per second: four workers kept busy through the API, one request a build.

The load keeps enough requests waiting that no worker is ever idle, and watches how many are still open. A
rate is what was finished between two looks, several seconds apart, divided by the time between them.
"""

import asyncio
import time
from dataclasses import dataclass

from bench.rest import Rest
from bench.sides import TRUE, Setup, Side, master
from bench.support import postgres
from bench.table import Figure, Measurement, Row, median_of

WORKERS = 4
LOOK_SECONDS = 0.1


@dataclass
class Load:
    """Keeps requests waiting. `posted - open_requests` is what was finished at the last look."""

    rest: Rest
    posted: int = 0
    open_requests: int = 0
    target: int = 4 * WORKERS

    @property
    def finished(self) -> int:
        return self.posted - self.open_requests

    async def look(self) -> None:
        """Count the open requests, and keep well more of them than are finished between two looks."""
        before = self.finished
        waiting = await self.rest.get("/buildrequests?complete=false&field=buildrequestid&field=complete")
        self.open_requests = len(waiting["buildrequests"])
        self.target = max(self.target, 3 * (self.finished - before))
        missing = self.target - self.open_requests
        for _ in range(0, missing, 8):
            await asyncio.gather(*(self.rest.force() for _ in range(8)))
            self.posted += 8
            self.open_requests += 8

    async def run(self, seconds: float) -> float:
        """Load for so long; the builds finished a second."""
        await self.look()
        began, before = time.perf_counter(), self.finished
        while time.perf_counter() - began < seconds:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()
        return (self.finished - before) / (time.perf_counter() - began)


async def measure(side: Side, short: bool, setup: Setup, steps: int) -> tuple[Figure, Figure]:
    """Builds per second, and the master's milliseconds of CPU per step."""
    windows, seconds = (1, 20.0) if short else (3, 5.0)
    async with master(side, setup) as made:
        load = Load(made.rest)
        await load.run(2.0)  # until connections, caches and the backlog are as they stay
        rates: list[float] = []
        cpu: list[float] = []
        for _ in range(windows):
            used, finished = made.running.cpu_seconds(), load.finished
            rates.append(await load.run(seconds))
            built = max(1, load.finished - finished)
            cpu.append(1000 * (made.running.cpu_seconds() - used) / (built * steps))
        return median_of(rates), median_of(cpu)


async def on_sqlite(side: Side, short: bool) -> dict[str, Figure]:
    rate, cpu = await measure(side, short, Setup(workers=WORKERS), 1)
    return {"builds_sqlite": Figure(rate.value, rate.runs, f"{cpu.value:.2f} ms of master CPU a build")}


async def on_postgres(side: Side, short: bool) -> dict[str, Figure]:
    with postgres() as url:
        rate, cpu = await measure(side, short, Setup(workers=WORKERS, db_url=url), 1)
    return {"builds_postgres": Figure(rate.value, rate.runs, f"{cpu.value:.2f} ms of master CPU a build")}


async def ten_steps(side: Side, short: bool) -> dict[str, Figure]:
    rate, cpu = await measure(side, short, Setup(workers=WORKERS, steps=TRUE * 10), 10)
    return {"ten_steps_sqlite": rate, "cpu_per_step": cpu}


MEASUREMENTS = (
    Measurement(on_sqlite, (Row("builds_sqlite", "builds/s", True, "spawns"),)),
    Measurement(on_postgres, (Row("builds_postgres", "builds/s", True, "spawns"),)),
    Measurement(
        ten_steps,
        (
            Row("ten_steps_sqlite", "builds/s", True, "ten_spawns"),
            Row("cpu_per_step", "ms", False),
        ),
    ),
)
