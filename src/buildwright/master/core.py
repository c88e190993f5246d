"""What a master does, once it has a store and a configuration: lease, schedulers, builds, workers, sweeper.

The core knows no file, no port and no process; :class:`~buildwright.master.master.Master` puts it on a
basedir, and the simulation puts several of them on one store. Services start in the order in which they lean
on each other and stop the other way round. Stopping lets go of running builds: whoever attaches their
workers goes on with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from buildwright.builds.distributor import Distributor
from buildwright.builds.services import BuildServices
from buildwright.bus.local import Bus
from buildwright.changes.base import Intake
from buildwright.changes.pb import PBChangeSource
from buildwright.changes.service import ChangeSources
from buildwright.master.membership import Membership
from buildwright.master.registry import registered
from buildwright.master.sweeper import Look, Sweeper
from buildwright.model.clock import Clock
from buildwright.model.properties import Properties
from buildwright.model.results import RETRY
from buildwright.model.snapshot import Snapshot
from buildwright.schedulers.cancelling import Cancelling
from buildwright.schedulers.force import ForceScheduler
from buildwright.schedulers.jobdirs import JobDirs
from buildwright.schedulers.service import Schedulers
from buildwright.schedulers.tries import Try_Userpass
from buildwright.schedulers.triggerable import Triggered
from buildwright.store.base import Store
from buildwright.store.ids import IdBlocks
from buildwright.store.unit import Hint
from buildwright.store.units.claims import stops
from buildwright.store.units.control import GRACEFUL, KILLED
from buildwright.store.units.registry import worker_wishes
from buildwright.web.control import StoreControl
from buildwright.workers.attaching import Workers

log = structlog.get_logger(__name__)


class Core:
    """A master's services on a started store. ``name`` is the lease's; ``looks`` are swept with its own."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        name: str,
        basedir: Path,
        snapshot: Snapshot,
        bus: Bus | None = None,
        looks: Sequence[tuple[str, Look]] = (),
    ) -> None:
        self.store = store
        self.clock = clock
        self.name = name
        self.basedir = basedir
        self.snapshot = snapshot
        self.bus = bus or Bus()
        self.membership = Membership(store, clock, name, self._authority_lost, self._authority_regained)
        self._ids = IdBlocks(store)
        self._looks = looks
        self._generation = 0
        # Made by start, in this order, once the lease has given this master its id.
        self.services: BuildServices
        self.distributor: Distributor
        self.workers: Workers
        self.schedulers: Schedulers
        self.sources: ChangeSources
        self.cancelling: Cancelling
        self.jobdirs: JobDirs
        self._sweeper: Sweeper

    # -- start and stop --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take the lease, bring the configuration's names into the store, and begin to work."""
        self.store.on_hints = self.bus.publish
        await self.membership.start()
        await self._ids.start()
        masterid = self.membership.masterid
        self.services = BuildServices(
            store=self.store,
            bus=self.bus,
            clock=self.clock,
            ids=self._ids,
            basedir=self.basedir,
            snapshot=self.snapshot,
            registry=await registered(self.store, self.snapshot, masterid, self._next_generation()),
            secret=self._secret,
            plan_trigger=self._plan_trigger,
            identity=self.name,
        )
        self.distributor = Distributor(self.services)
        self.workers = Workers(self.services, self.distributor, self.membership.term, self.name)
        self.schedulers = Schedulers(
            self.store, self.clock, masterid, lambda: self.services.registry.builders
        )
        self.sources = ChangeSources(
            self.store,
            self.clock,
            masterid,
            self.basedir,
            intake=self._intake,
            secret_source=self._secret,
        )
        self.cancelling = Cancelling(self.store, self.clock, lambda: self.services.registry.builders)
        self.jobdirs = JobDirs(
            self.store,
            self.clock,
            lambda: self.services.registry.schedulers,
            lambda: self.services.registry.builders,
        )
        self._subscribe()
        await self.distributor.start()
        await self.schedulers.start(self.snapshot.schedulers.values())
        self.services.registry.schedulers = dict(self.schedulers.ids)
        await self.sources.start(self.snapshot.change_sources.values())
        await self.cancelling.start(self.snapshot.services.values())
        self.jobdirs.reconfigure(self.snapshot.schedulers.values())
        self._sweeper = Sweeper(
            [
                ("membership", self.membership.sweep),
                ("connections", lambda: self.workers.tick(self.clock.monotonic())),
                ("workers", self.workers.sweep),
                ("stops", self._look_for_stops),
                ("wishes", self._look_for_wishes),
                ("schedulers", self.schedulers.poke),
                ("change sources", self.sources.poke),
                ("cancellers", self.cancelling.sweep),
                ("job directories", self.jobdirs.sweep),
                ("requests", self.distributor.look_at_locks),
                ("waits", self.bus.sweep),
                *self._looks,
            ]
        )
        await self._sweeper.start()

    async def stop(self) -> None:
        """Stop what was started; also after a start that failed."""
        if hasattr(self, "workers"):
            self.workers.close("this master stops")
        for name in (
            "_sweeper",
            "cancelling",
            "sources",
            "schedulers",
            "distributor",
            "workers",
            "_ids",
            "membership",
        ):
            service = getattr(self, name, None)
            if service is None:
                continue
            try:
                await service.stop()
            except Exception:
                log.exception("a service did not stop as it should", service=name)

    async def drain(self) -> None:
        """Start no more builds, and wait for those that run."""
        self.distributor.close()
        log.info("draining", builds=len(self.distributor.running))
        await self.distributor.drained()

    async def reconfigure(self, snapshot: Snapshot) -> None:
        """Go over to another configuration; what fails before its names are stored changes nothing."""
        registry = await registered(self.store, snapshot, self.membership.masterid, self._next_generation())
        registry.schedulers = self.services.registry.schedulers  # until the new ones are known
        self.services.registry = registry
        await self.schedulers.reconfigure(snapshot.schedulers.values())
        registry.schedulers = dict(self.schedulers.ids)
        self.snapshot = self.services.snapshot = snapshot
        for seat in self.workers.seats.values():
            seat.config = snapshot.workers.get(seat.name, seat.config)
        await self.sources.reconfigure(snapshot.change_sources.values())
        self.cancelling.reconfigure(snapshot.services.values())
        self.jobdirs.reconfigure(snapshot.schedulers.values())
        self.distributor.configuration_changed()

    def _next_generation(self) -> int:
        self._generation = max(self._generation + 1, self.clock.now_us())
        return self._generation

    # -- authority -------------------------------------------------------------------------------------

    async def _authority_lost(self, why: str) -> None:
        self.workers.close(f"this master has no authority: {why}")
        await self.distributor.let_go()

    async def _authority_regained(self) -> None:
        self.services.registry.masterid = self.membership.masterid
        self.workers.regain(self.membership.term)

    # -- what waits ------------------------------------------------------------------------------------

    def _subscribe(self) -> None:
        subscribe = self.bus.subscribe
        for kind in ("changes", "buildsets", "schedulers"):
            subscribe(kind, self.schedulers.on_hints)
        for kind in ("changes", "buildrequests"):
            subscribe(kind, self.cancelling.on_hints)
        subscribe("buildrequests", self._on_requests)
        subscribe("locks", lambda _hints: self.distributor.look_at_locks())
        subscribe("workers", self._on_workers)

    def _on_requests(self, hints: Sequence[Hint]) -> None:
        events = {hint.event for hint in hints}
        if events & {"new", "unclaimed", "update"}:
            self.distributor.wake()
        if "stop" in events:
            self._spawn(self._look_for_stops())

    def _on_workers(self, hints: Sequence[Hint]) -> None:
        if any(hint.event == "state_updated" for hint in hints):
            self._spawn(self._look_for_wishes())

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        task.add_done_callback(_told)

    async def _look_for_stops(self) -> None:
        if not self.distributor.running:
            return
        for requestid, results, reason in await self.store.read(stops(self.membership.masterid)):
            runner = self.distributor.by_request(requestid)
            if runner is not None:
                await runner.stop(reason or "", results)

    async def _look_for_wishes(self) -> None:
        """What people asked of workers (pause, go when idle, go at once), and whether they are still ours."""
        seats = self.workers.seats
        if not seats:
            return
        for workerid, paused, graceful, attachment in await self.store.read(worker_wishes(sorted(seats))):
            seat = seats.get(workerid)
            if seat is None:
                continue
            self.workers.superseded(seat, attachment)
            if seat.paused != bool(paused):
                seat.paused = bool(paused)
                self.distributor.worker_changed(seat)
            if graceful == KILLED:
                for runner in self.distributor.builds_of(workerid):
                    await runner.stop("the worker was told to go at once", RETRY)
            if graceful in (GRACEFUL, KILLED) and not seat.leaving and seat.session is not None:
                self.workers.dismiss(seat, "it was asked to go")

    # -- what others ask -------------------------------------------------------------------------------

    def control(self) -> StoreControl:
        """The verbs of people and programs, with the names of this configuration."""
        return StoreControl(
            self.store,
            self.clock.now_us,
            forms=lambda: {form.name: form for form in self.force_forms()},
            scheduler_ids=lambda: self.services.registry.schedulers,
            builder_ids=lambda: self.services.registry.builders,
            validation=lambda: self.snapshot.validation,
            tries=lambda: {each.name: each for each in self.try_schedulers()},
            change_sources=lambda: [
                each for each in self.snapshot.change_sources.values() if isinstance(each, PBChangeSource)
            ],
            intake=self._intake,
            secret_source=self._secret,
        )

    def step_progress(self, buildid: int) -> float | None:
        """Which part of its running step one of this master's builds has done, from 0 to 1."""
        runner = self.distributor.running.get(buildid)
        return runner.step_progress if runner is not None else None

    def try_schedulers(self) -> Sequence[Try_Userpass]:
        """The configured schedulers whose try jobs come over the API."""
        return [each for each in self.snapshot.schedulers.values() if isinstance(each, Try_Userpass)]

    def _intake(self) -> Intake:
        return Intake(self.snapshot.codebase_generator, self.snapshot.revlink)

    def force_forms(self) -> Sequence[ForceScheduler]:
        """The configured force schedulers."""
        return [each for each in self.snapshot.schedulers.values() if isinstance(each, ForceScheduler)]

    async def _secret(self, name: str) -> str | None:
        return await self.snapshot.secret(name)

    async def _plan_trigger(
        self, scheduler: str, stamps: Sequence[Mapping[str, Any]], properties: Properties
    ) -> Mapping[str, Any]:
        configured = self.snapshot.schedulers.get(scheduler)
        if not isinstance(configured, Triggered):
            raise LookupError(f"there is no Triggerable scheduler {scheduler!r} in the configuration")  # noqa: TRY004
        plan = await configured.plan(stamps, properties)
        return {
            **plan.arguments(self.services.registry.builders),
            "schedulerid": self.services.registry.schedulers.get(scheduler),
        }


def _told(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("a look after a hint failed; the sweeper looks again", why=str(error))
