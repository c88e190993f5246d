"""Membership: a lease that holds no time.

The lease row has a term, counted up when it is taken, and a beat, counted up by every renewal. Others watch
the beat: they call it lapsed when it has stood still for ``LAPSED`` seconds of their own monotonic clock,
during which their own renewals succeeded, so an outage of the database, which stops all beats, expires
nobody. A holder stops acting ``AUTHORITY`` (less than ``LAPSED``) seconds after the *start* of its last
renewal that succeeded.

When authority is lost (the database is away, or this process was frozen), workers are told to look for
another master and running builds are let go; when a renewal succeeds again, it comes back. If another
master has retired the lease meanwhile, a new term is taken.

The basedir's file lock makes sure that a lease's name belongs to one process: a restarted master takes its
predecessor's lease at once, because it could take the lock. A second process on one basedir is refused.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from buildwright.model.clock import Clock
from buildwright.store.base import Store
from buildwright.store.errors import StoreError, StoreStopped
from buildwright.store.unit import Fenced
from buildwright.store.units import leases

log = structlog.get_logger(__name__)

RENEW_EVERY = 5.0
AUTHORITY = 20.0
LAPSED = 30.0


class BasedirTaken(Exception):
    """Another master runs on this basedir."""


class BasedirLock:
    """The lock on a basedir, held as long as the process lives."""

    def __init__(self, basedir: Path) -> None:
        self._path = basedir / "master.lock"
        self._file: int | None = None

    def take(self) -> None:
        """Take it. Raises BasedirTaken, with the holder's process id."""
        if self._file is not None:
            return
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 32).decode("ascii", "replace").strip()
            os.close(file)
            raise BasedirTaken(
                f"another master runs on {self._path.parent} (process {holder or 'unknown'}): stop it first"
            ) from None
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = None


class Membership:
    """This master's lease, and its view of the others'.

    ``on_lost`` and ``on_regained`` are told when authority goes and comes back.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        name: str,
        on_lost: Callable[[str], Awaitable[None]],
        on_regained: Callable[[], Awaitable[None]],
    ) -> None:
        self.name = name
        self.masterid = 0
        self.term = 0
        self.authority = False
        self._store = store
        self._clock = clock
        self._on_lost = on_lost
        self._on_regained = on_regained
        self._renewed = 0.0  # start of the last renewal that succeeded
        self._renewing: asyncio.Task[None] | None = None
        self._seen: dict[int, tuple[int, int, float]] = {}  # master id -> (term, beat, since when it stands)

    async def start(self) -> None:
        """Take the lease."""
        began = self._clock.monotonic()
        self.masterid, self.term = await self._store.run(leases.take(self.name, self._clock.now_us()))
        self._renewed = began
        self.authority = True

    async def stop(self) -> None:
        """Give the lease up."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
            self._renewing = None
        if self.term and self.authority:
            self.authority = False
            try:
                await self._store.run(leases.leave(self.masterid, self.term), timeout=2.0)
            except StoreError as error:
                log.warning("the lease could not be given up", why=str(error))

    async def sweep(self) -> None:
        """Renew when due, and notice that authority is over. Called about once a second."""
        now = self._clock.monotonic()
        if self.authority and now - self._renewed > AUTHORITY:
            self.authority = False
            log.error("authority is lost: the lease was not renewed", for_s=round(now - self._renewed, 1))
            await self._on_lost("its lease was not renewed")
        if self._renewing is None and now - self._renewed >= RENEW_EVERY:
            self._renewing = asyncio.get_running_loop().create_task(self._renew(), name="renew the lease")
            self._renewing.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._renewing = None
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, StoreStopped):
            log.warning("the lease could not be renewed", why=str(error))

    async def _renew(self) -> None:
        began = self._clock.monotonic()
        try:
            await self._store.run(
                leases.renew(self.masterid, self.term, self._clock.now_us()), timeout=AUTHORITY
            )
        except Fenced:
            if self.authority:
                self.authority = False
                await self._on_lost("another master has retired its lease")
            self.masterid, self.term = await self._store.run(leases.take(self.name, self._clock.now_us()))
        self._renewed = began
        if not self.authority and self._clock.monotonic() - began < AUTHORITY:
            self.authority = True
            log.info("authority is back", term=self.term)
            await self._on_regained()
        await self._watch(began)

    async def _watch(self, now: float) -> None:
        """Retire the masters whose beat stands still."""
        for masterid, name, term, beat, active in await self._store.read(leases.seen()):
            if masterid == self.masterid or not active:
                self._seen.pop(masterid, None)
                continue
            known = self._seen.get(masterid)
            if known is None or known[:2] != (term, beat):
                self._seen[masterid] = (term, beat, now)
            elif now - known[2] > LAPSED and self.authority:
                if await self._store.run(leases.retire(masterid, term, beat)):
                    log.warning("a master is gone", name=name)
                self._seen.pop(masterid, None)
