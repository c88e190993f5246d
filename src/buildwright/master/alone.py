"""One builder without a master's surroundings: engine, store and worker in this process, for one build.

The engine is the shipped one on a store in memory, the workers are shipped agents, which run commands as they
always do. Of the configuration's schedulers only those that steps trigger are there; change sources, ports
and schedules are not. The builds that a step triggers are built too, by the same workers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from buildwright.logs.blobs import DatabaseBlobs
from buildwright.logs.reader import LogReader
from buildwright.master.core import Core
from buildwright.model.builders import BuilderConfig
from buildwright.model.clock import SystemClock
from buildwright.model.locks import LockAccess
from buildwright.model.render import is_plain
from buildwright.model.results import CANCELLED
from buildwright.model.snapshot import Snapshot
from buildwright.schedulers.triggerable import NightlyTriggerable, Triggered
from buildwright.steps.source import Source
from buildwright.steps.trigger import Trigger
from buildwright.store.memory import MemoryStore
from buildwright.store.units.buildsets import add_buildset
from buildwright.store.units.claims import stop_request
from buildwright.web.services import WebServices
from buildwright.workers.inprocess import joined
from buildwright_worker.agent import Agent
from buildwright_worker.config import AgentConfig

ATTACH_SECONDS = 60.0
SOURCE = "Command line"


class Alone:
    """A builder's engine and workers. ``workdir`` gets a directory per worker."""

    def __init__(self, snapshot: Snapshot, builder: BuilderConfig, worker: str, workdir: Path) -> None:
        self.builder = builder
        self.workdir = workdir
        reached = reachable(snapshot, builder)
        self.workers = workers_for(reached, worker)
        self.snapshot = replace(
            snapshot,
            schedulers={
                name: each for name, each in snapshot.schedulers.items() if isinstance(each, Triggered)
            },
            services={},
            change_sources={},
            collapse_requests=False,
        )
        self._clock = SystemClock()
        self.store = MemoryStore()
        self.core = Core(
            store=self.store,
            clock=self._clock,
            name="alone",
            basedir=snapshot.basedir,
            snapshot=self.snapshot,
        )
        self._agents: list[tuple[Agent, asyncio.Task[None]]] = []

    async def start(self) -> None:
        """Start the engine and attach the workers. Raises what an agent does that can't start."""
        await self.store.start()
        await self.core.start()
        connect = joined(lambda: self.core.workers)
        for name in self.workers:
            basedir = self.workdir / name
            basedir.mkdir(parents=True, exist_ok=True)
            agent = Agent(
                AgentConfig(basedir=basedir, masters=["ws://here/worker"], name=name, password=""),
                connect=connect,
            )
            task = asyncio.get_running_loop().create_task(agent.run(), name=f"worker {name}")
            self._agents.append((agent, task))
            attached = asyncio.ensure_future(agent.attached.wait())
            await asyncio.wait({attached, task}, timeout=ATTACH_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                attached.cancel()
                task.result()

    async def stop(self) -> None:
        """End everything; what still runs is killed."""
        for agent, _ in self._agents:
            agent.stop("the build is over")
        await asyncio.gather(*(task for _, task in self._agents), return_exceptions=True)
        await self.core.stop()
        await self.store.stop()

    async def ask(self, stamps: Sequence[Mapping[str, Any]], properties: Mapping[str, Any]) -> int:
        """Ask for the build; gives its request's id."""
        builderid = self.core.services.registry.builders[self.builder.name]
        _, requests = await self.store.run(
            add_buildset(
                sourcestamps=list(stamps),
                builderids=[builderid],
                now_us=self._clock.now_us(),
                reason="asked for on the command line",
                properties={name: (value, SOURCE) for name, value in properties.items()},
            )
        )
        return requests[builderid]

    async def cancel(self, requestid: int, why: str) -> None:
        """Stop a request's build, as a master does."""
        await self.store.run(stop_request(requestid, why, self._clock.now_us(), CANCELLED))

    def services(self) -> WebServices:
        """What the data API reads."""
        return WebServices(
            store=self.store,
            bus=self.core.bus,
            control=self.core.control(),
            logs=LogReader(self.store, DatabaseBlobs(self.store)),
            snapshot=lambda: self.snapshot,
            now_us=self._clock.now_us,
        )


def reachable(snapshot: Snapshot, builder: BuilderConfig) -> list[BuilderConfig]:
    """The builder, and those that its steps may trigger, and those that theirs may, and so on."""
    found = {builder.name: builder}
    waiting = [builder]
    while waiting:
        for scheduler in triggered(snapshot, waiting.pop()):
            if isinstance(scheduler, NightlyTriggerable):
                continue  # what it starts begins at its next time
            for name in scheduler.builder_names or snapshot.builders:
                if name in snapshot.builders and name not in found:
                    found[name] = snapshot.builders[name]
                    waiting.append(found[name])
    return list(found.values())


def triggered(snapshot: Snapshot, builder: BuilderConfig) -> list[Triggered]:
    """The schedulers that the builder's steps may trigger."""
    known = {name: each for name, each in snapshot.schedulers.items() if isinstance(each, Triggered)}
    found: dict[str, Triggered] = {}
    for spec in builder.factory.steps:
        if issubclass(spec.cls, Trigger):
            names = spec.kwargs.get("schedulerNames", spec.args[0] if spec.args else None)
            plain = [names] if isinstance(names, str) else names
            if not isinstance(plain, list | tuple) or not is_plain(plain):
                return list(known.values())  # known only when it runs
            found.update({name: known[name] for name in plain if name in known})
    return list(found.values())


def workers_for(builders: Sequence[BuilderConfig], first: str) -> list[str]:
    """A worker for each builder, as few as can be; ``first`` is the first builder's."""
    chosen = [first]
    for builder in builders[1:]:
        if not set(builder.workernames) & set(chosen):
            chosen.append(builder.workernames[0])
    return chosen


def codebases_of(builder: BuilderConfig) -> dict[str, str]:
    """The codebases that the builder's source steps get, each with its repository as far as that is plain."""
    found: dict[str, str] = {}
    for spec in builder.factory.steps:
        if issubclass(spec.cls, Source):
            codebase = spec.kwargs.get("codebase", "")
            repository = spec.kwargs.get("repourl", spec.args[0] if spec.args else "")
            if isinstance(codebase, str):
                found.setdefault(codebase, repository if isinstance(repository, str) else "")
    return found or {"": ""}


def locks_of(builder: BuilderConfig) -> list[LockAccess]:
    """The locks of the builder and its steps, as far as they are known before a build; each once."""
    given = [builder.locks, *(spec.kwargs.get("locks") for spec in builder.factory.steps)]
    found: dict[tuple[str, str], LockAccess] = {}
    for accesses in given:
        for access in accesses if isinstance(accesses, list | tuple) else ():
            if isinstance(access, LockAccess):
                found.setdefault((access.lock.name, access.mode), access)
    return list(found.values())
