"""One master process: a :class:`~buildwright.master.core.Core` on a basedir.

Start: basedir lock, configuration, store, the core with everybody who works, and the ports last, so that
nobody is answered before everything is there. Stop goes the other way; by default it lets go of running
builds (their workers' commands go on, the next start goes on with them), with ``drain`` it starts no more
builds and waits for those that run.

A reload loads the configuration off the loop, brings its names into the store, and then swaps the snapshot
in one go; what fails before that leaves everything as it was.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from buildwright.bus.local import Bus
from buildwright.config.loader import load
from buildwright.logs.blobs import open_blobs
from buildwright.logs.reader import LogReader
from buildwright.logs.seal import Sealer
from buildwright.master.core import Core
from buildwright.master.membership import BasedirLock
from buildwright.master.metricslog import MetricsLog
from buildwright.master.retention import Retainer
from buildwright.master.serving import Serving, token_hashes
from buildwright.model.clock import Clock, SystemClock
from buildwright.model.logins import NoAuth, RemoteUserAuth
from buildwright.model.properties import Properties
from buildwright.model.renderable import SecretMissing, render
from buildwright.model.secrets import SecretUnavailable
from buildwright.model.snapshot import Snapshot
from buildwright.model.workers import LocalWorker
from buildwright.store.base import Store
from buildwright.store.migrate import State, inspect, upgrade
from buildwright.store.urls import open_store
from buildwright.web.services import WebServices
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
        self._tokens: dict[str, str] = {}
        self._passwords: dict[str, str] = {}
        self._sealing: asyncio.Task[int] | None = None
        self._reloading = asyncio.Lock()
        self._started = False
        self._draining = False
        # Made by start, in this order.
        self.store: Store
        self.core: Core
        self.serving: Serving
        self.local_workers: LocalWorkers
        self._sealer: Sealer
        self._metrics_log: MetricsLog
        self._retainer: Retainer

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
        snapshot = await self._load()
        self.store = await self._open_store(snapshot)
        blobs = open_blobs(snapshot.log_store, self.store, self.basedir / "logs")
        self._sealer = Sealer(self.store, blobs)
        self.core = Core(
            store=self.store,
            clock=self.clock,
            name=self.name,
            basedir=self.basedir,
            snapshot=snapshot,
            bus=self.bus,
            looks=[
                ("logs", self._tend_logs),
                ("retention", self._retain),
                ("metrics", self._log_metrics),
            ],
        )
        self._metrics_log = MetricsLog(
            self.store, self.clock, lambda: self.snapshot.log_metrics_every, self._gauges
        )
        self._retainer = Retainer(
            self.store, self.clock, lambda: self.snapshot.retention, lambda: self.core.membership.masterid
        )
        self._passwords, self._tokens = await _secrets(snapshot)
        await self.core.start()
        self.local_workers = LocalWorkers(self.basedir)
        self.serving = Serving(
            self._web_services(LogReader(self.store, blobs)),
            WorkerEndpoint(self.core.workers, self._password),
            others_act=await self._others_act(),
        )
        await self.serving.start(snapshot)
        await self._run_local_workers()
        log.info("the master is running", url=self.serving.url, workers_at=self.serving.worker_url)

    async def stop(self, *, drain: bool = False) -> None:
        """Stop everything; with ``drain``, when the running builds are done."""
        if drain and self._started:
            await self.drain()
        for name in ("local_workers", "serving", "core", "store"):
            service = getattr(self, name, None)
            if service is not None:
                try:
                    await service.stop()
                except Exception:
                    log.exception("a service did not stop as it should", service=name)
        if self._sealing is not None:
            self._sealing.cancel()
        self._lock.release()
        self._started = False

    async def drain(self) -> None:
        """Start no more builds, and wait for those that run."""
        self._draining = True
        await self.core.drain()

    # -- configuration ---------------------------------------------------------------------------------

    @property
    def snapshot(self) -> Snapshot:
        """The running configuration."""
        return self.core.snapshot

    async def reload(self) -> None:
        """Load the configuration again. Raises ConfigErrors, CannotStart; then everything is as it was."""
        async with self._reloading:
            snapshot = await self._load()
            if str(snapshot.db_url) != str(self.snapshot.db_url):
                raise CannotStart(
                    "the database can't be changed by a reload: stop the master and start it again"
                )
            passwords, tokens = await _secrets(snapshot)
            await self.core.reconfigure(snapshot)
            self._passwords, self._tokens = passwords, tokens
            await self._run_local_workers()
            log.info(
                "the configuration is loaded", builders=len(snapshot.builders), workers=len(snapshot.workers)
            )

    async def _load(self) -> Snapshot:
        snapshot = await asyncio.to_thread(load, self.basedir / self.config_file, self.basedir)
        for warning in snapshot.warnings:
            log.warning(warning.message, file=warning.file, line=warning.line, hint=warning.hint)
        log.info("what is kept", rule=snapshot.retention.text)
        return snapshot

    async def _open_store(self, snapshot: Snapshot) -> Store:
        properties = Properties()
        properties.secret_source = snapshot.secret
        db_url = await _text(snapshot.db_url, properties)
        found = await inspect(db_url, self.basedir)
        if found.state is State.EMPTY:
            await upgrade(db_url, self.basedir)
        elif found.state is not State.CURRENT:
            raise CannotStart(found.text)
        store = open_store(db_url, self.basedir, sole=True, now_us=self.clock.now_us)
        await store.start()
        return store

    async def _others_act(self) -> bool:
        """Whether somebody can say who they are, and so may act from elsewhere. A proxy's word is good from
        this machine alone.
        """
        from buildwright.web.auth.tokens import any_token

        if self._tokens or not isinstance(self.snapshot.www.auth, NoAuth | RemoteUserAuth):
            return True
        return await self.store.read(any_token())

    def _password(self, name: str) -> str | None:
        worker = self.snapshot.workers.get(name)
        if isinstance(worker, LocalWorker):
            return self.local_workers.password(worker)
        return self._passwords.get(name)

    async def _run_local_workers(self) -> None:
        local = [worker for worker in self.snapshot.workers.values() if isinstance(worker, LocalWorker)]
        if self.serving.worker_url is not None:
            await self.local_workers.run(local, self.serving.worker_url, self.snapshot.www.certificate)
        elif local:
            log.warning("local workers need a port: set c['www'] = {'port': ...} or c['protocols']")

    async def _retain(self) -> None:
        await self._retainer.look()

    async def _log_metrics(self) -> None:
        await self._metrics_log.look()

    def _tend_logs(self) -> None:
        if self._sealing is None or self._sealing.done():
            if self._sealing is not None and not self._sealing.cancelled() and self._sealing.exception():
                log.warning("logs could not be sealed", why=str(self._sealing.exception()))
            self._sealing = asyncio.get_running_loop().create_task(
                self._sealer.seal_some(SEAL_AT_ONCE), name="seal logs"
            )

    # -- what others ask -------------------------------------------------------------------------------

    def _web_services(self, logs: LogReader) -> WebServices:
        return WebServices(
            store=self.store,
            bus=self.bus,
            control=self.core.control(),
            logs=logs,
            snapshot=lambda: self.snapshot,
            now_us=self.clock.now_us,
            force_forms=self.core.force_forms,
            try_schedulers=self.core.try_schedulers,
            unready=self._unready,
            tokens=lambda: self._tokens,
            gauges=self._gauges,
            step_progress=self.core.step_progress,
        )

    def _unready(self) -> str:
        if not self._started:
            return "it is starting"
        if self._draining:
            return "it is draining"
        if not self.core.membership.authority:
            return "it has no authority"
        if self.store.health.state != "ok":
            return str(self.store.health.text)
        return ""

    def _gauges(self) -> Mapping[str, float]:
        seats = self.core.workers.seats.values()
        return {
            "buildwright_master_running_builds": len(self.core.distributor.running),
            "buildwright_master_attached_workers": sum(seat.session is not None for seat in seats),
        }


async def _secrets(snapshot: Snapshot) -> tuple[dict[str, str], dict[str, str]]:
    """What of a configuration may be secret, rendered: passwords of workers by name, hashes of API tokens."""
    properties = Properties()
    properties.secret_source = snapshot.secret
    passwords = {
        name: await _text(worker.password, properties)
        for name, worker in snapshot.workers.items()
        if worker.password is not None
    }
    tokens = {name: await _text(token, properties) for name, token in snapshot.www.tokens.items()}
    return passwords, token_hashes(tokens)


async def _text(value: Any, properties: Properties) -> str:
    """What a value of the configuration renders to; raises CannotStart for a secret that isn't there."""
    try:
        return str(await render(value, properties))
    except (SecretMissing, SecretUnavailable) as problem:
        raise CannotStart(str(problem)) from None
