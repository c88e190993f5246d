"""Crawlers in the history: what fifty requests a second for old pages do to builds, and to the memory.

Builds are asked for fifty times a second throughout, at even moments, and pages at random ones; stretches
with the crawlers and without them take turns. A build's time is from its request's sending to its end as the
store has it, on one clock. Ours alone: the peer can't build so many.
"""

import asyncio
import random
import statistics
import time
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp

from bench.history import BUILDS, FILL
from bench.sides import Master, Setup, Side, master
from bench.table import Figure, Measurement, Row, percentile

BUILDERS = 20
RATE = 50.0
# Each stretch is compared with its neighbour of the other kind: machines get faster and slower on the way.
SECONDS = 4.0
WITH_CRAWLERS = (False, True, True, False) * 3
# Old builds have no steps: what is seen of a build is of one of those that the run began with.
RECENT = 300
PLACES = (
    "/api/v2/builds?limit=50&order=-buildid&offset={offset}",
    "/api/v2/builds?limit=50&results=2&order=-buildid&property=owner",
    "/api/v2/builders/{builder}/builds?limit=50&order=-number&offset={offset}",
    "/api/v2/builders/{builder}/builds?limit=50&order=-number&complete=true",
    "/api/v2/buildrequests?limit=50&order=-buildrequestid&offset={offset}",
    "/api/v2/builds/{build}",
    "/api/v2/builds/{build}/properties",
    "/api/v2/builds/{recent}/steps",
    "/api/v2/builds/{recent}/steps/step0/logs/stdio/contents",
    "/api/v2/builds/{recent}/steps/step0/logs/stdio/raw",
    "/feeds/builds.atom",
    "/feeds/failures.atom",
    "/feeds/builders/builder{number}/builds.atom",
)

Act = Callable[[], Coroutine[Any, Any, None]]


async def at(moments: list[float], act: Act) -> None:
    """Act at these seconds from now, whether or not what began before is done; returns when all is."""
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for moment in moments:
            await asyncio.sleep(began + moment - time.perf_counter())
            group.create_task(act())


class Run:
    """One master with a history, its builds and its crawlers."""

    def __init__(self, made: Master, crawlers: aiohttp.ClientSession, ids: list[int]) -> None:
        self._made = made
        self._crawlers = crawlers
        self._ids = ids
        self._random = random.Random(1)
        self.sent: dict[int, float] = {}
        self.waits: list[float] = []

    async def build(self) -> None:
        began = time.time()
        builder = f"builder{self._random.randrange(BUILDERS)}"
        self.sent[await self._made.rest.force(builder)] = began

    async def crawl(self) -> None:
        number = self._random.randrange(BUILDERS)
        path = self._random.choice(PLACES).format(
            offset=50 * self._random.randrange(40),
            builder=self._ids[number],
            number=number,
            build=self._random.randrange(1, BUILDS),
            recent=BUILDS + self._random.randrange(1, RECENT),
        )
        began = time.perf_counter()
        async with self._crawlers.get(f"http://127.0.0.1:{self._made.setup.web_port}{path}") as answer:
            await answer.read()
            if answer.status != 200:
                raise RuntimeError(f"GET {path}: {answer.status} {await answer.text()}")
        self.waits.append(1000 * (time.perf_counter() - began))

    async def stretch(self, seconds: float, *, crawled: bool) -> list[float]:
        """Build, with crawlers or without; milliseconds of each build."""
        first = max(self.sent, default=0)
        count = round(seconds * RATE)
        async with asyncio.TaskGroup() as group:
            group.create_task(at([number / RATE for number in range(count)], self.build))
            if crawled:
                moments = sorted(self._random.uniform(0, seconds) for _ in range(count))
                group.create_task(at(moments, self.crawl))
        return [
            1000 * (end - self.sent[request])
            for request, end in (await self._ends(first)).items()
            if request in self.sent
        ]

    async def _ends(self, first: int) -> dict[int, float]:
        """When each request after `first` was done; waits until all are."""
        fields = "field=buildrequestid&field=complete_at_us&limit=5000"
        while True:
            path = f"/buildrequests?buildrequestid__gt={first}&{fields}"
            rows = (await self._made.rest.get(path))["buildrequests"]
            if all(row["complete_at_us"] for row in rows):
                return {row["buildrequestid"]: row["complete_at_us"] / 1e6 for row in rows}
            await asyncio.sleep(0.1)


async def measure(side: Side, short: bool) -> dict[str, Figure]:
    if short:
        return {}
    setup = Setup(workers=4, builders=BUILDERS, absent=True)
    async with master(side, setup, attached=False) as made, aiohttp.ClientSession() as crawlers:
        made.stop()  # it has run once: builders and workers are in the database
        FILL[side.name](made.home / "state.sqlite")
        await made.start()
        await made.start_workers()
        builders = (await made.rest.get("/builders?field=name&field=builderid"))["builders"]
        by_name = {each["name"]: each["builderid"] for each in builders}
        run = Run(made, crawlers, [by_name[f"builder{number}"] for number in range(BUILDERS)])
        await run.stretch(RECENT / RATE, crawled=False)
        await run.stretch(3, crawled=True)
        run.waits.clear()
        times: dict[bool, list[float]] = {False: [], True: []}
        grown = {False: 0, True: 0}
        for crawled in WITH_CRAWLERS:
            before = made.running.rss()
            times[crawled].append(percentile(await run.stretch(SECONDS, crawled=crawled), 0.95))
            grown[crawled] += made.running.rss() - before
    ratios = [beside / usual for usual, beside in zip(times[False], times[True], strict=True)]
    middle = {crawled: statistics.median(found) for crawled, found in times.items()}
    return {
        "page_crawled_p95": Figure(
            100 * (statistics.median(ratios) - 1),
            len(ratios),
            f"p95 of builds {middle[False]:.1f} ms, beside crawlers {middle[True]:.1f} ms",
        ),
        "page_crawled_rss": Figure(
            (grown[True] - grown[False]) / 1_000_000,
            1,
            f"of the master, more than without them; {len(run.waits)} answers, "
            f"p50 {statistics.median(run.waits):.1f}, p95 {percentile(run.waits, 0.95):.1f} ms",
        ),
    }


MEASUREMENTS = (
    Measurement(measure, (Row("page_crawled_p95", "%", False, 10), Row("page_crawled_rss", "MB", False, 5))),
)
