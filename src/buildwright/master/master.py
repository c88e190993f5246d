"""One master: the order in which its services start and stop.

Start: basedir lock, configuration, store, lease, names into the store, then whoever does the work, and the
ports last, so that nobody is answered before everything is there. Stop goes the other way; by default it
lets go of running builds (their workers' commands go on, the next start goes on with them), with ``drain``
it starts no more builds and waits for those that run.

A reload loads the configuration off the loop, brings its names into the store, and then swaps the snapshot
in one go; what fails before that leaves everything as it was.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from buildwright.builds.distributor import Distributor
from buildwright.builds.services import BuildServices
from buildwright.bus.local import Bus
from buildwright.changes.service import ChangeSources
from buildwright.config.loader import load
from buildwright.logs.blobs import FileBlobs
from buildwright.logs.reader import LogReader
from buildwright.logs.seal import Sealer
from buildwright.master.membership import BasedirLock, Membership
from buildwright.master.registry import registered
from buildwright.master.serving import Serving, token_hashes
from buildwright.master.sweeper import Sweeper
from buildwright.model.clock import Clock, SystemClock
from buildwright.model.properties import Properties
from buildwright.model.renderable import render
from buildwright.model.results import RETRY
from buildwright.model.snapshot import Snapshot
from buildwright.model.workers import LocalWorker
from buildwright.schedulers.force import ForceScheduler
from buildwright.schedulers.service import Schedulers
from buildwright.schedulers.triggerable import Triggerable
from buildwright.store.base import Store
from buildwright.store.ids import IdBlocks
from buildwright.store.migrate import State, inspect, upgrade
from buildwright.store.unit import Hint
from buildwright.store.units.claims import stops
from buildwright.store.units.control import GRACEFUL, KILLED
from buildwright.store.units.registry import worker_wishes
from buildwright.store.urls import open_store
from buildwright.web.control import StoreControl
from buildwright.web.services import WebServices
from buildwright.workers.attaching import Workers
from buildwright.workers.endpoint import WorkerEndpoint
from buildwright.workers.local import LocalWorkers

log = structlog.get_logger(__name__)

SEAL_AT_ONCE = 64


class CannotStart(Exception):
    """The master can't start; the text says why and what to do."""


class Master:
    """A master on a basedir. ``config_file`` is relative to it."""

    def __init__(self, basedir: Path, config_file: str = "master.cfg", clock: Clock | None = None) -> None:
        self.basedir = basedir.absolute()
        self.config_file = config_file
        self.clock: Clock = clock or SystemClock()
        self.name = f"{socket.gethostname()}:{self.basedir}"
        self.bus = Bus()
        self._lock = BasedirLock(self.basedir)
        self._generation = 0
        self._tokens: dict[str, str] = {}
        self._passwords: dict[str, str] = {}
        self._sealing: asyncio.Task[int] | None = None
        self._reloading = asyncio.Lock()
        self._started = False
        self._draining = False
        # Made by start, in this order.
        self.snapshot: Snapshot
        self.store: Store
        self.membership: Membership
        self.services: BuildServices
        self.distributor: Distributor
        self.workers: Workers
        self.schedulers: Schedulers
        self.sources: ChangeSources
        self.serving: Serving
        self.local_workers: LocalWorkers
        self._ids: IdBlocks
        self._sealer: Sealer
        self._sweeper: Sweeper

    # -- start and stop --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start everything. Raises BasedirTaken, ConfigErrors, CannotStart, StoreError, PortTaken,
        BadCertificate.
        """
        if self._started:
            return
        self._lock.take()
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        self._started = True

    async def _start(self) -> None:
        self.snapshot = await self._load()
        self.store = await self._open_store(self.snapshot)
        self.store.on_hints = self.bus.publish
        self.membership = Membership(
            self.store, self.clock, self.name, self._authority_lost, self._authority_regained
        )
        await self.membership.start()
        self._ids = IdBlocks(self.store)
        await self._ids.start()
        registry = await registered(
            self.store, self.snapshot, self.membership.masterid, self._next_generation()
        )
        self.services = BuildServices(
            store=self.store,
            bus=self.bus,
            clock=self.clock,
            ids=self._ids,
            basedir=self.basedir,
            snapshot=self.snapshot,
            registry=registry,
            secret=lambda name: self.snapshot.secret(name),
            plan_trigger=self._plan_trigger,
            identity=self.name,
        )
        await self._read_secrets(self.snapshot)
        blobs = FileBlobs(self.basedir / "logs")
        self._sealer = Sealer(self.store, blobs)
        self.distributor = Distributor(self.services)
        self.workers = Workers(self.services, self.distributor, self.membership.term, self.name)
        self.local_workers = LocalWorkers(self.basedir)
        self.schedulers = Schedulers(
            self.store, self.clock, self.membership.masterid, lambda: self.services.registry.builders
        )
        self.sources = ChangeSources(self.store, self.clock, self.membership.masterid, self.basedir)
        self.serving = Serving(
            self._web_services(LogReader(self.store, blobs)),
            WorkerEndpoint(self.workers, self._password),
            has_tokens=await self._has_tokens(),
        )
        self._subscribe()
        await self.workers.start()
        await self.distributor.start()
        await self.schedulers.start(self.snapshot.schedulers.values())
        self.services.registry.schedulers = dict(self.schedulers.ids)
        await self.sources.start(self.snapshot.change_sources.values())
        self._sweeper = Sweeper(
            [
                ("membership", self.membership.sweep),
                ("connections", lambda: self.workers.tick(self.clock.monotonic())),
                ("workers", self.workers.sweep),
                ("stops", self._look_for_stops),
                ("wishes", self._look_for_wishes),
                ("schedulers", self.schedulers.poke),
                ("change sources", self.sources.poke),
                ("requests", self.distributor.wake),
                ("waits", self.bus.sweep),
                ("logs", self._tend_logs),
            ]
        )
        await self._sweeper.start()
        await self.serving.start(self.snapshot)
        await self._run_local_workers()
        log.info("the master is running", url=self.serving.url, workers_at=self.serving.worker_url)

    async def stop(self, *, drain: bool = False) -> None:
        """Stop everything; with ``drain``, when the running builds are done."""
        if drain and self._started:
            await self.drain()
        for name in ("local_workers", "serving"):
            await self._stop_if_there(name)
        if hasattr(self, "workers"):
            self.workers.close("this master stops")
        for name in (
            "_sweeper",
            "sources",
            "schedulers",
            "distributor",
            "workers",
            "_ids",
            "membership",
            "store",
        ):
            await self._stop_if_there(name)
        if self._sealing is not None:
            self._sealing.cancel()
        self._lock.release()
        self._started = False

    async def _stop_if_there(self, name: str) -> None:
        service = getattr(self, name, None)
        if service is not None:
            try:
                await service.stop()
            except Exception:
                log.exception("a service did not stop as it should", service=name)

    async def drain(self) -> None:
        """Start no more builds, and wait for those that run."""
        self._draining = True
        self.distributor.close()
        log.info("draining", builds=len(self.distributor.running))
        await self.distributor.drained()

    # -- configuration ---------------------------------------------------------------------------------

    async def reload(self) -> None:
        """Load the configuration again. Raises ConfigErrors, CannotStart; then everything is as it was."""
        async with self._reloading:
            snapshot = await self._load()
            if str(snapshot.db_url) != str(self.snapshot.db_url):
                raise CannotStart(
                    "the database can't be changed by a reload: stop the master and start it again"
                )
            registry = await registered(
                self.store, snapshot, self.membership.masterid, self._next_generation()
            )
            await self._read_secrets(snapshot)
            self.snapshot = self.services.snapshot = snapshot
            self.services.registry = registry
            for seat in self.workers.seats.values():
                seat.config = snapshot.workers.get(seat.name, seat.config)
            await self.schedulers.reconfigure(snapshot.schedulers.values())
            registry.schedulers = dict(self.schedulers.ids)
            await self.sources.reconfigure(snapshot.change_sources.values())
            await self._run_local_workers()
            self.distributor.configuration_changed()
            log.info(
                "the configuration is loaded", builders=len(snapshot.builders), workers=len(snapshot.workers)
            )

    async def _load(self) -> Snapshot:
        snapshot = await asyncio.to_thread(load, self.basedir / self.config_file, self.basedir)
        for warning in snapshot.warnings:
            log.warning(warning.message, file=warning.file, line=warning.line, hint=warning.hint)
        return snapshot

    async def _open_store(self, snapshot: Snapshot) -> Store:
        properties = Properties()
        properties.secret_source = snapshot.secret
        db_url = str(await render(snapshot.db_url, properties))
        found = await inspect(db_url, self.basedir)
        if found.state is State.EMPTY:
            await upgrade(db_url, self.basedir)
        elif found.state is not State.CURRENT:
            raise CannotStart(found.text)
        store = open_store(db_url, self.basedir, sole=True, now_us=self.clock.now_us)
        await store.start()
        return store

    async def _read_secrets(self, snapshot: Snapshot) -> None:
        """Render what of the configuration may be secret: passwords of workers, API tokens."""
        properties = Properties()
        properties.secret_source = snapshot.secret
        self._passwords = {
            name: str(await render(worker.password, properties))
            for name, worker in snapshot.workers.items()
            if worker.password is not None
        }
        tokens = {name: str(await render(token, properties)) for name, token in snapshot.www.tokens.items()}
        self._tokens = token_hashes(tokens)

    async def _has_tokens(self) -> bool:
        from buildwright.web.auth import any_token

        return bool(self._tokens) or await self.store.read(any_token())

    def _next_generation(self) -> int:
        self._generation = max(self._generation + 1, self.clock.now_us())
        return self._generation

    def _password(self, name: str) -> str | None:
        worker = self.snapshot.workers.get(name)
        if isinstance(worker, LocalWorker):
            return self.local_workers.password(worker)
        return self._passwords.get(name)

    async def _run_local_workers(self) -> None:
        local = [worker for worker in self.snapshot.workers.values() if isinstance(worker, LocalWorker)]
        if self.serving.worker_url is not None:
            await self.local_workers.run(local, self.serving.worker_url)
        elif local:
            log.warning("local workers need a port: set c['www'] = {'port': ...} or c['protocols']")

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
        subscribe("buildrequests", self._on_requests)
        subscribe("locks", lambda _hints: self.distributor.wake())
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
        """What people asked of workers: pause, go when idle, go at once."""
        seats = self.workers.seats
        if not seats:
            return
        for workerid, paused, graceful in await self.store.read(worker_wishes(sorted(seats))):
            seat = seats.get(workerid)
            if seat is None:
                continue
            if seat.paused != bool(paused):
                seat.paused = bool(paused)
                self.distributor.worker_changed(seat)
            if graceful == KILLED:
                for runner in self.distributor.builds_of(workerid):
                    await runner.stop("the worker was told to go at once", RETRY)
            if graceful in (GRACEFUL, KILLED) and not seat.leaving and seat.session is not None:
                self.workers.dismiss(seat, "it was asked to go")

    def _tend_logs(self) -> None:
        if self._sealing is None or self._sealing.done():
            if self._sealing is not None and not self._sealing.cancelled() and self._sealing.exception():
                log.warning("logs could not be sealed", why=str(self._sealing.exception()))
            self._sealing = asyncio.get_running_loop().create_task(
                self._sealer.seal_some(SEAL_AT_ONCE), name="seal logs"
            )

    # -- what others ask -------------------------------------------------------------------------------

    async def _plan_trigger(
        self, scheduler: str, stamps: Sequence[Mapping[str, Any]], properties: Properties
    ) -> Mapping[str, Any]:
        configured = self.snapshot.schedulers.get(scheduler)
        if not isinstance(configured, Triggerable):
            raise LookupError(f"there is no Triggerable scheduler {scheduler!r} in the configuration")  # noqa: TRY004
        plan = await configured.plan(stamps, properties)
        return {
            **plan.arguments(self.services.registry.builders),
            "schedulerid": self.services.registry.schedulers.get(scheduler),
        }

    def _web_services(self, logs: LogReader) -> WebServices:
        return WebServices(
            store=self.store,
            bus=self.bus,
            control=StoreControl(
                self.store,
                self.clock.now_us,
                forms=lambda: {form.name: form for form in self._force_forms()},
                scheduler_ids=lambda: self.services.registry.schedulers,
                builder_ids=lambda: self.services.registry.builders,
            ),
            logs=logs,
            snapshot=lambda: self.snapshot,
            now_us=self.clock.now_us,
            force_forms=self._force_forms,
            unready=self._unready,
            tokens=lambda: self._tokens,
            gauges=self._gauges,
        )

    def _force_forms(self) -> Sequence[ForceScheduler]:
        return [each for each in self.snapshot.schedulers.values() if isinstance(each, ForceScheduler)]

    def _unready(self) -> str:
        if not self._started:
            return "it is starting"
        if self._draining:
            return "it is draining"
        if not self.membership.authority:
            return "it has no authority"
        if self.store.health.state != "ok":
            return str(self.store.health.text)
        return ""

    def _gauges(self) -> Mapping[str, float]:
        return {
            "builds_running": len(self.distributor.running),
            "workers_attached": sum(seat.session is not None for seat in self.workers.seats.values()),
        }


def _told(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("a look after a hint failed; the sweeper looks again", why=str(error))
