"""The configuration of the simulated masters, and what each of its builds comes to when nothing disturbs it.

Two variants differ in one builder's steps, for reloads. Commands are scripts named by a number that is made
of the step and the build's number, so the expectation needs nothing of what the program has stored.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from buildwright.builds.observers import LogLineObserver
from buildwright.builds.shell import ShellMixin
from buildwright.builds.step import BuildStep
from buildwright.model.builders import BuilderConfig, BuildFactory
from buildwright.model.interpolate import Interpolate
from buildwright.model.locks import Lock, MasterLock, WorkerLock
from buildwright.model.properties import Properties
from buildwright.model.results import FAILURE, SUCCESS
from buildwright.model.snapshot import Snapshot
from buildwright.model.workers import Worker
from buildwright.schedulers.basic import SingleBranchScheduler
from buildwright.schedulers.force import ForceScheduler
from buildwright.schedulers.timed import Nightly, Periodic
from buildwright.schedulers.triggerable import Triggerable
from buildwright.steps.shell import ShellCommand
from buildwright.steps.trigger import Trigger
from tests.simulation.machine import Script

WORKERS = ("w1", "w2", "w3")
MAX_BUILDS = 2
GRACE, DEADMAN = 8.0, 20.0
POOL = MasterLock("pool", maxCount=2)
DISK = WorkerLock("disk", maxCount=1)
LOCKS: dict[str, Lock] = {"pool": POOL, "disk": DISK}

STABLE = 3.0
PERIOD = 11.0
BRANCH = "main"


@dataclass(slots=True)
class Once:
    """What work on the master was done: the steps' own book."""

    begun: list[str] = field(default_factory=list)


ONCE = Once()


def number_of(base: int, build: int) -> int:
    return int(f"{base}{build:04d}")


def argv(base: int, builder: str, step: str, extra: Any = "") -> list[Any]:
    """The command line of a script."""
    number = Interpolate(f"{base}%(kw:n)s", n=_padded)
    return ["script", number, builder, Interpolate("%(prop:buildnumber)s"), step, extra]


class _Padded:
    """The build's number with four digits."""

    def getRenderingFor(self, props: Any) -> str:
        return f"{props.getProperty('buildnumber'):04d}"


_padded = _Padded()


class Lines(LogLineObserver):
    """Counts lines."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def outLineReceived(self, line: str) -> None:
        self.count += 1


class Census(ShellMixin, BuildStep):
    """Three commands with an observer, a log of its own, a property and data that are set twice, and test
    results.
    """

    name = "census"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**self.setupShellMixin(kwargs))

    async def run(self) -> int:
        lines = Lines()
        self.addLogObserver("stdio", lines)
        first = await self.makeRemoteShellCommand(collectStdout=True)
        await self.runCommand(first)
        notes = await self.addLog("notes")
        notes.addStdout(f"first gave {len(first.stdout)}\n")
        self.setProperty("census", len(first.stdout), "census")
        self.setBuildData("census", f"{len(first.stdout)}".encode(), "census")
        tests = await self.addTestResultSet("census", "pass_fail", "boolean")
        self.addTestResult(tests, "1", f"first gave {len(first.stdout)}")
        rest = [self.command[0], self.command[1] + "1", *self.command[2:5], str(lines.count)]
        second = await self.makeRemoteShellCommand(command=rest)
        await self.runCommand(second)
        notes.addStdout(f"second saw {lines.count}\n")
        for n in range(3):
            self.addTestResult(tests, str(n % 2), f"second saw {lines.count}, {n}")
        third = await self.makeRemoteShellCommand(command=[rest[0], rest[1] + "1", *rest[2:]])
        await self.runCommand(third)
        self.setProperty("census", [len(first.stdout), lines.count], "census")
        self.setBuildData("census", f"{len(first.stdout)} {lines.count}".encode(), "census")
        return max(first.results(), second.results(), third.results())


class Deed(BuildStep):
    """Work on the master."""

    name = "deed"

    async def run(self) -> int:
        await self.sleep(0.5)
        said = await self.once("deed", _do, f"{self.build.buildid}.{self._run.tries}")
        self.setProperty("deed", said, "deed")
        return SUCCESS


async def _do(key: str) -> str:
    ONCE.begun.append(key)
    await asyncio.sleep(0.4)
    return key.partition(".")[0]


@dataclass(slots=True)
class Expected:
    """What an undisturbed build comes to."""

    results: int
    properties: dict[str, Any]
    notes: bytes | None  # of the log that its second step writes by itself
    tests: list[tuple[str, str]] = field(default_factory=list)  # results by name, in their order
    data: bytes | None = None  # of the build


class Plan:
    """The configurations of one seed: ``snapshot(variant)``."""

    def __init__(self, seed: int) -> None:
        self.base = 100 + seed % 9000
        self._snapshots: dict[int, Snapshot] = {}

    def number(self, builder: str, step: int, variant: int = 0) -> int:
        """What the scripts of a step are made of."""
        return int(f"{self.base}{ord(builder[0]) - 96}{variant}{step}")

    def snapshot(self, variant: int) -> Snapshot:
        found = self._snapshots.get(variant)
        if found is None:
            found = self._snapshots[variant] = self._make(variant)
        return found

    def _make(self, variant: int) -> Snapshot:
        def shell(builder: str, place: int, **kwargs: Any) -> ShellCommand:
            changes = variant if builder == "b" else 0
            name = f"s{place}v{changes}"
            step: ShellCommand = ShellCommand(
                name=name, command=argv(self.number(builder, place, changes), builder, name), **kwargs
            )
            return step

        census = Census(command=argv(self.number("a", 1), "a", "census"))
        builders = [
            _builder("a", WORKERS, [shell("a", 0), census, shell("a", 2)]),
            _builder(
                "b",
                WORKERS[:2],
                [shell("b", 0, haltOnFailure=True), shell("b", 1), shell("b", 2, alwaysRun=True)],
                [POOL.access("counting")],
            ),
            _builder("c", WORKERS[1:], [shell("c", n) for n in range(3)], [POOL.access("exclusive")]),
            _builder(
                "d",
                ("w1", "w3"),
                [
                    shell("d", 0, locks=[DISK.access("counting")]),
                    Trigger(schedulerNames=["children"], waitForFinish=True),
                    shell("d", 2),
                ],
            ),
            _builder("e", WORKERS, [shell("e", 0, locks=[DISK.access("exclusive")]), Deed(), shell("e", 2)]),
        ]
        schedulers = [
            ForceScheduler("force", builderNames=["a", "b", "c", "d", "e"]),
            SingleBranchScheduler("quick", builderNames=["a"], branch=BRANCH),
            SingleBranchScheduler("stable", builderNames=["b"], branch=BRANCH, treeStableTimer=STABLE),
            Periodic("period", builderNames=["c"], periodicBuildTimer=PERIOD),
            Nightly("nightly", builderNames=["e"], minute="*", timezone="UTC"),
            Triggerable("children", builderNames=["e", "c"]),
        ]
        return Snapshot(
            basedir=Path("/nowhere"),
            filename="master.cfg",
            builders={each.name: each for each in builders},
            workers={
                name: Worker(name, "pw", max_builds=MAX_BUILDS, grace=GRACE, deadman=DEADMAN)
                for name in WORKERS
            },
            schedulers={each.name: each for each in schedulers},
            change_sources={},
            properties=Properties(),
            locks=dict(LOCKS),
            collapse_requests=False,
        )

    # -- what is expected
    # -------------------------------------------------------------------------------------

    def expected(self, builder: str, build: int, variant: int, children: int, deed: str) -> Expected:
        """What a build comes to. ``children`` is the worst result of what it triggered."""

        def code(place: int) -> int:
            changes = variant if builder == "b" else 0
            return FAILURE if Script(number_of(self.number(builder, place, changes), build)).code else SUCCESS

        properties: dict[str, Any] = {}
        notes: bytes | None = None
        tests: list[tuple[str, str]] = []
        data: bytes | None = None
        if builder == "a":
            first = number_of(self.number("a", 1), build)
            scripts = [Script(first), Script(int(f"{first}1")), Script(int(f"{first}11"))]
            length = len(scripts[0].output("o").decode("utf-8", "replace"))
            lines = [script.output("o").count(b"\n") for script in scripts]
            properties["census"] = [length, sum(lines)]
            notes = f"first gave {length}\nsecond saw {sum(lines[:2])}\n".encode()
            tests.append((f"first gave {length}", "1"))
            tests += [(f"second saw {sum(lines[:2])}, {n}", str(n % 2)) for n in range(3)]
            data = f"{length} {sum(lines)}".encode()
            steps = [code(0), max(FAILURE if each.code else SUCCESS for each in scripts), code(2)]
        elif builder == "b":
            steps = [code(0), code(2)] if code(0) else [code(0), code(1), code(2)]
        elif builder == "d":
            steps = [code(0), children, code(2)]
        elif builder == "e":
            properties["deed"] = deed
            steps = [code(0), SUCCESS, code(2)]
        else:
            steps = [code(n) for n in range(3)]
        return Expected(max(steps), properties, notes, tests, data)


def _builder(name: str, workers: tuple[str, ...], steps: list[BuildStep], locks: Any = None) -> BuilderConfig:
    return BuilderConfig(name, workernames=list(workers), factory=BuildFactory(steps), locks=locks)


def locks_of(command: list[str]) -> list[tuple[str, bool, bool]]:
    """The locks that a command line runs under: (name, exclusive, per worker)."""
    _, _, builder, _, step, *_ = command
    if builder == "b":
        return [("pool", False, False)]
    if builder == "c":
        return [("pool", True, False)]
    if builder == "d" and step.startswith("s0"):
        return [("disk", False, True)]
    if builder == "e" and step.startswith("s0"):
        return [("disk", True, True)]
    return []
