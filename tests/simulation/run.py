"""One run: the installation at work, faults, healing, quiet, and the promises checked."""

from __future__ import annotations

import asyncio
import random
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest.mock import patch

from buildwright.master import membership
from buildwright.schedulers import runner as scheduling
from buildwright.testing.loop import Stuck, VirtualLoop, virtual_time
from buildwright.workers import missing
from tests.simulation.checker import Checker, LocksWatch
from tests.simulation.complaints import Complaints, listening
from tests.simulation.config import ONCE
from tests.simulation.faults import Faults
from tests.simulation.people import People
from tests.simulation.world import World

BUSY = 26.0  # virtual seconds in which builds are asked for and faults begin
ASKED = 10  # for builds; schedules and triggers add theirs
BUILDS = 20  # that there are at least
SCHEDULER_SECONDS = 3.0  # after which a scheduler that couldn't act has tried again
LEASE_SECONDS = 18.0  # after which others have what a master had that is gone
QUIET = 300.0  # virtual seconds after the healing within which everything must have come to its end


@dataclass
class Report:
    """What became of a run."""

    seed: int
    found: list[str] = field(default_factory=list)
    builds: int = 0
    steps: int = 0
    commands: int = 0
    faults: int = 0
    incarnations: int = 0
    virtual: float = 0.0
    seconds: float = 0.0
    kinds: dict[str, int] = field(default_factory=dict)
    trace: str = ""


@contextmanager
def quick_leases() -> Iterator[None]:
    """A third of the time for everything that has to do with leases: most of it is waiting."""
    with (
        patch.object(membership, "RENEW_EVERY", 1.7),
        patch.object(membership, "AUTHORITY", 7.0),
        patch.object(membership, "LAPSED", 10.0),
        patch.object(missing, "LOOK_SECONDS", 2.0),
        patch.object(scheduling, "FAILED_SECONDS", 1.7),
        patch.object(missing, "MARGIN_SECONDS", 10.0),
    ):
        yield


def run(seed: int, *, faults: int | None = None, trace: bool = False, play: Play | None = None) -> Report:
    """Play a seed, or something of one's own. The same plays the same in a process with the same
    PYTHONHASHSEED.
    """
    began = time.perf_counter()
    random.seed(seed)  # of the program's own chances
    ONCE.begun.clear()
    loop = VirtualLoop(random.Random(seed + 2))
    complaints = Complaints(loop, trace=trace)
    report = Report(seed)
    KEPT.append(loop)
    asyncio.set_event_loop(None)
    with virtual_time(loop), quick_leases(), listening(complaints, trace=trace):
        try:
            it = Installation(loop, random.Random(seed), complaints, masters=2 if play is not None else None)
            loop.run_until_complete(it.run(play or partial(chance_decides, faults=faults), report))
        except Stuck as stuck:
            report.found.append(f"P6 {stuck}")
        except Exception:
            report.found.append(f"-- the simulation failed: {traceback.format_exc()}")
        report.virtual = loop.time() - 1000.0
    report.found += complaints.found
    report.trace = "\n".join(complaints.lines)
    report.seconds = time.perf_counter() - began
    return report


KEPT: list[Any] = []
"""Suspended coroutines must not be collected: that would run their ``finally``."""


class Installation:
    """A world with its people, watched; :meth:`run` lets something happen to it and checks the promises."""

    def __init__(
        self, loop: VirtualLoop, chance: random.Random, complaints: Complaints, masters: int | None
    ) -> None:
        self.chance = chance
        self.loop = loop
        self.found: list[str] = []
        self.world = World(loop, chance.randrange(1 << 30), masters or chance.choice((1, 2, 2)))
        self.world.say = complaints.say  # type: ignore[method-assign]
        self.people = People(self.world)
        self.faults = Faults(self.world, self.people, random.Random(chance.random()))
        self._watch = LocksWatch(self.world)
        book = self.world.book
        book.on_start.append(
            lambda run: complaints.say(f"command {run.id} starts on {run.machine}: {run.argv}")
        )
        book.on_over.append(
            lambda run: complaints.say(f"command {run.id} is over on {run.machine}: {run.how}")
        )
        KEPT.append(self.world)

    async def run(self, play: Play, report: Report) -> None:
        """Start everything, let it happen, heal, wait for quiet, and check."""
        self.world.start()
        await asyncio.sleep(0.5)
        await play(self)
        await self.faults.heal()
        quiet = await self._quiet()
        report.found += self._watch.found + self.people.found + self.found
        if not quiet:
            report.found.append(f"P6 not everything has come to its end {QUIET:g} s after the last fault")
        report.found += Checker(self.world, self.people, set(self.faults.counts)).check()
        report.builds, report.steps = self.count("builds"), self.count("steps")
        report.commands = len(self.world.book.runs)
        report.kinds = self.faults.counts
        report.faults = sum(self.faults.counts.values())
        report.incarnations = sum(master.incarnation for master in self.world.masters)
        if self.faults.planned and (report.builds < BUILDS or report.faults < 10 or report.incarnations < 2):
            report.found.append("-- too little has happened")

    async def until(self, condition: Callable[[], Any], seconds: float) -> bool:
        """Wait until it holds; False if it doesn't in this time."""
        end = self.loop.time() + seconds
        while not condition():
            if self.loop.time() >= end:
                return False
            await asyncio.sleep(0.01)
        return True

    def count(self, what: str) -> int:
        """The rows of a table, or those ``WHERE`` ..."""
        return int(self.world.database.rows(f"SELECT count(*) FROM {what}")[0][0])

    async def _quiet(self) -> bool:
        """Close the schedules once the changes are used, and wait for the end of everything."""
        end = self.loop.time() + QUIET
        gone = any(master.gone for master in self.world.masters)
        await asyncio.sleep(SCHEDULER_SECONDS + (LEASE_SECONDS if gone else 0.0))
        if self.faults.planned:  # as few were asked for, or some were stopped before they began
            waiting = self.count("buildrequests WHERE complete = 0 AND claimed_by IS NULL")
            for number in range(BUILDS - waiting - self.count("builds")):
                await self.people.force("be"[number % 2])
        await self._settled(lambda: not self.count("scheduler_changes"), end)
        await self.people.close_schedules()
        return await self._settled(self._is_quiet, end)

    def _is_quiet(self) -> bool:
        return not (
            self.count("buildsets WHERE complete = 0")
            or self.count("builds WHERE complete_at IS NULL OR lingering = 1")
            or any(not machine.quiet for machine in self.world.machines)
        )

    async def _settled(self, condition: Callable[[], bool], end: float) -> bool:
        """Wait until it holds, on two looks in a row, or for as long as there is time."""
        while self.loop.time() < end:
            await asyncio.sleep(0.5)
            if condition():
                await asyncio.sleep(1.5)
                if condition():
                    return True
        return False


Play = Callable[[Installation], Awaitable[None]]


async def chance_decides(it: Installation, faults: int | None = None) -> None:
    """What is asked for, what goes wrong, and when."""
    count = it.chance.randrange(10, 15) if faults is None else faults
    if count:
        it.faults.schedule(count, 0.5, BUSY - 5)
    await asyncio.gather(*(_ask(it) for _ in range(ASKED)))
    await it.faults.done()


async def _ask(it: Installation) -> None:
    await asyncio.sleep(it.chance.random() * BUSY)
    if it.chance.random() < 0.2:
        await it.people.push()
    else:
        await it.people.force(it.chance.choice("aabbccddee"))
