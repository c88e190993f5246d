"""One run: the installation at work, faults, healing, quiet, and the promises checked."""

from __future__ import annotations

import asyncio
import logging
import random
import time
import traceback
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn
from unittest.mock import patch

import structlog

from buildwright.master import membership
from buildwright.schedulers import runner as scheduling
from buildwright.workers import missing
from tests.simulation.checker import Checker, LocksWatch
from tests.simulation.config import ONCE
from tests.simulation.faults import Faults
from tests.simulation.loop import OWNER, Stuck, VirtualLoop, virtual_time
from tests.simulation.people import People
from tests.simulation.world import World

BUSY = 30.0  # virtual seconds in which builds are asked for and faults begin
ASKED = 10  # for builds; schedules and triggers add theirs
BUILDS = 20  # that there are at least
SCHEDULER_SECONDS = 3.0  # after which a scheduler that couldn't act has tried again
LEASE_SECONDS = 13.0  # after which others have what a master had that is gone
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


class Complaints:
    """What the program itself calls a defect: a logged traceback, an exception that nobody took."""

    def __init__(self, loop: VirtualLoop, *, trace: bool) -> None:
        self.found: list[str] = []
        self.lines: list[str] = []
        self._loop = loop
        self._trace = trace
        loop.set_exception_handler(self._unhandled)

    def _unhandled(self, _loop: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is None and "never" not in str(context.get("message")):
            return
        text = "".join(traceback.format_exception(error)) if error is not None else ""
        self.found.append(f"-- {context.get('message')} {text}")

    def processor(self, _logger: Any, method: str, event: MutableMapping[str, Any]) -> NoReturn:
        """What structlog hands its events to."""
        error = event.pop("exc_info", None)
        if error:
            text = traceback.format_exc() if error is True else "".join(traceback.format_exception(error))
            self.found.append(f"-- logged: {event} {text}")
        if self._trace:
            said = event.pop("event")
            rest = " ".join(f"{key}={value!r}" for key, value in event.items())
            self.say(f"{method}: {said} {rest}")
        raise structlog.DropEvent

    def say(self, text: str) -> None:
        """A line of the trace."""
        if self._trace:
            owner = OWNER.get()
            name = owner.name if owner is not None else ""
            self.lines.append(f"{self._loop.time():10.3f} {name:8} {text}")


class _Logged(logging.Handler):
    """The worker's messages."""

    def __init__(self, complaints: Complaints) -> None:
        super().__init__()
        self._complaints = complaints

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            text = "".join(traceback.format_exception(*record.exc_info))
            self._complaints.found.append(f"-- logged: {record.getMessage()} {text}")
        self._complaints.say(f"{record.levelname.lower()}: {record.getMessage()}")


@contextmanager
def listening(complaints: Complaints, *, trace: bool) -> Iterator[None]:
    """Hear what the program says."""
    level = logging.DEBUG if trace else logging.ERROR
    structlog.configure(
        processors=[complaints.processor],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    handler = _Logged(complaints)
    root = logging.getLogger("buildwright_worker")
    before = root.level, root.propagate
    root.addHandler(handler)
    root.setLevel(level)
    root.propagate = False
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before[0])
        root.propagate = before[1]
        structlog.reset_defaults()


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


def run(seed: int, *, faults: int | None = None, trace: bool = False) -> Report:
    """Play a seed. The same seed plays the same in a process with the same PYTHONHASHSEED."""
    began = time.perf_counter()
    random.seed(seed)  # of the program's own chances
    ONCE.begun.clear()
    chance = random.Random(seed)
    loop = VirtualLoop(random.Random(seed + 2))
    complaints = Complaints(loop, trace=trace)
    report = Report(seed)
    KEPT.append(loop)
    asyncio.set_event_loop(None)
    with virtual_time(loop), quick_leases(), listening(complaints, trace=trace):
        try:
            loop.run_until_complete(_Run(loop, chance, report, complaints, faults).go())
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


class _Run:
    def __init__(
        self,
        loop: VirtualLoop,
        chance: random.Random,
        report: Report,
        complaints: Complaints,
        faults: int | None,
    ) -> None:
        self.chance = chance
        self.report = report
        self.loop = loop
        self.world = World(loop, chance.randrange(1 << 30), masters=chance.choice((1, 2, 2)))
        self.world.say = complaints.say  # type: ignore[method-assign]
        self.people = People(self.world)
        self.faults = Faults(self.world, self.people, random.Random(chance.random()))
        self.count = chance.randrange(10, 15) if faults is None else faults
        self.watch = LocksWatch(self.world)
        book = self.world.book
        book.on_start.append(
            lambda run: complaints.say(f"command {run.id} starts on {run.machine}: {run.argv}")
        )
        book.on_over.append(
            lambda run: complaints.say(f"command {run.id} is over on {run.machine}: {run.how}")
        )
        KEPT.append(self.world)

    async def go(self) -> None:
        self.world.start()
        await asyncio.sleep(0.5)
        if self.count:
            self.faults.schedule(self.count, 0.5, BUSY - 5)
        await asyncio.gather(*(self._ask() for _ in range(ASKED)))
        await self.faults.done()
        await self.faults.heal()
        quiet = await self._quiet()
        report = self.report
        report.found += self.watch.found + self.people.found
        if not quiet:
            report.found.append(f"P6 not everything has come to its end {QUIET:g} s after the last fault")
        report.found += Checker(self.world, self.people, set(self.faults.counts)).check()
        rows = self.world.database.rows
        [(report.builds,)] = rows("SELECT count(*) FROM builds")
        [(report.steps,)] = rows("SELECT count(*) FROM steps")
        report.commands = len(self.world.book.runs)
        report.kinds = self.faults.counts
        report.faults = sum(self.faults.counts.values())
        report.incarnations = sum(master.incarnation for master in self.world.masters)
        if self.count and (report.builds < BUILDS or report.faults < 10 or report.incarnations < 2):
            report.found.append("-- too little has happened")

    async def _ask(self) -> None:
        await asyncio.sleep(self.chance.random() * BUSY)
        if self.chance.random() < 0.2:
            await self.people.push()
        else:
            await self.people.force(self.chance.choice("aabbccddee"))

    async def _quiet(self) -> bool:
        """Close the schedules once the changes are used, and wait for the end of everything."""
        end = self.loop.time() + QUIET
        gone = any(master.gone for master in self.world.masters)
        await asyncio.sleep(SCHEDULER_SECONDS + (LEASE_SECONDS if gone else 0.0))
        coming = self._count("builds") + self._count(
            "buildrequests WHERE complete = 0 AND claimed_by IS NULL"
        )
        for number in range(BUILDS - coming):
            await self.people.force("be"[number % 2])
        await self._until(lambda: not self._any("scheduler_changes"), end)
        await self.people.close_schedules()
        return await self._until(self._is_quiet, end)

    def _is_quiet(self) -> bool:
        return not (
            self._any("buildsets WHERE complete = 0")
            or self._any("builds WHERE complete_at IS NULL OR lingering = 1")
            or any(not machine.quiet for machine in self.world.machines)
        )

    def _count(self, what: str) -> int:
        return int(self.world.database.rows(f"SELECT count(*) FROM {what}")[0][0])

    def _any(self, what: str) -> bool:
        return bool(self.world.database.rows(f"SELECT 1 FROM {what} LIMIT 1"))

    async def _until(self, condition: Callable[[], bool], end: float) -> bool:
        """Wait until it holds, on two looks in a row, or for as long as there is time."""
        while self.loop.time() < end:
            await asyncio.sleep(0.5)
            if condition():
                await asyncio.sleep(1.5)
                if condition():
                    return True
        return False
