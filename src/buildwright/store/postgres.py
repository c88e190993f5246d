"""PostgreSQL: a few lanes, each a connection of its own with the task that runs units on it.

A unit is one READ COMMITTED transaction; what must not change under it, it locks (``FOR UPDATE``, ``FOR
SHARE``) or compares. Calls wait in one queue; a free lane takes the next
(:mod:`buildwright.store.postgres_lanes`). Reads have lanes of their own, whose sessions refuse writes and
commit by statement, and those who browse have others again.

What happens when things fail:

- **serialization failure, deadlock, lock timeout**: the unit is rolled back and run again after a short,
  growing, random pause;
- **the connection is lost**, also in the middle of a commit: the unit is run again on a new connection.
  Whether the lost one was committed is unknown, and units are written so that running them again settles
  it;
- **the database is away**: ``health`` says so, every call waits, and one task tries to connect, often at
  first and about once a second later, until it answers; ``stop`` and a call's timeout end the waiting;
- **its disk is full, it is a standby**: the call raises; the same task probes with a write that it rolls
  back;
- **a statement takes too long**: the server ends it, and the call raises; a wait for a row lock is no such
  thing and goes on;
- **it doesn't answer** (a cut network): a unit that takes more than a minute loses its connection and is
  run again;
- **this process is frozen or cut off** while it holds row locks: the server ends a session that is idle in
  a transaction, so that a successor waits seconds, not for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import asyncpg
import structlog

from buildwright.store.base import FIRST_PAUSE, PROBE_SECONDS, Job, Store, wall_us
from buildwright.store.errors import StoreAway, StoreError, StoreUnavailable, from_postgres
from buildwright.store.postgres_lanes import FAILURES, Lane, Lanes
from buildwright.store.unit import POSTGRESQL, Unit

R = TypeVar("R")

log = structlog.get_logger(__name__)

WRITERS = 12
READERS = 3
BROWSERS = 2
CONNECT_SECONDS = 10.0
WATCH_SECONDS = 5.0
STUCK_SECONDS = 60.0
"""A unit that takes longer has lost its server. More than the lock timeout: waiting for a row isn't it."""
STOP_SECONDS = 10.0
SESSION = {
    "application_name": "buildwright",
    "synchronous_commit": "on",
    "jit": "off",
    "idle_in_transaction_session_timeout": "15s",
    "lock_timeout": "20s",
    "statement_timeout": "50s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


def _number(text: str) -> int | float:
    """What ``sum()`` of integers gives is an integer here, as on SQLite."""
    return float(text) if "." in text or "N" in text else int(text)


class PostgresStore(Store):
    """The store on PostgreSQL. See the module's docstring."""

    dialect = POSTGRESQL

    def __init__(
        self,
        dsn: str,
        *,
        name: str,
        writers: int = WRITERS,
        readers: int = READERS,
        now_us: Callable[[], int] = wall_us,
    ) -> None:
        super().__init__(now_us)
        self.name = name
        self._dsn = dsn
        self._limits = (writers, readers)
        self._writes = Lanes(self, writers, transactions=True)
        self._reads = Lanes(self, readers, transactions=False)
        self._browses = Lanes(self, BROWSERS, transactions=False)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Connect; raises :class:`StoreAway` if the database doesn't answer now, saying why."""
        if self._running:
            return
        first = Lane(transactions=True)
        first.connection = await self.connect()
        writers, readers = self._limits
        self._writes = Lanes(self, writers, transactions=True)
        self._reads = Lanes(self, readers, transactions=False)
        self._browses = Lanes(self, BROWSERS, transactions=False)
        self._writes.add(first)
        self._running = True
        self._own("watch", self._watch())

    async def stop(self) -> None:
        if not self._running:
            return
        self._running = False
        self._release_waiters(self.stopped())
        await asyncio.gather(*(lanes.stop(STOP_SECONDS) for lanes in self._lanes()))
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._release_waiters(self.stopped())

    async def run(self, unit: Unit[R], *, timeout: float | None = None) -> R:
        return await self._submit(self._writes, unit, timeout)

    async def read(self, unit: Unit[R], *, timeout: float | None = None) -> R:
        return await self._submit(self._reads, unit, timeout)

    async def browse(self, unit: Unit[R], *, timeout: float | None = None) -> R:
        with self._one_more():
            return await self._submit(self._browses, unit, timeout)

    def _lanes(self) -> tuple[Lanes, ...]:
        return self._writes, self._reads, self._browses

    async def _submit(self, lanes: Lanes, unit: Unit[R], timeout: float | None) -> R:
        if not self._running:
            raise self.stopped()
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        lanes.submit(Job(unit, future))
        if timeout is None:
            return await future
        return await self._bounded(future, timeout)

    # -- for the lanes -------------------------------------------------------------------------------------

    async def connect(self, *, readonly: bool = False) -> asyncpg.Connection:
        """A session as units need it; raises :class:`StoreAway` with the reason."""
        settings = SESSION | {"default_transaction_read_only": "on"} if readonly else SESSION
        try:
            connection = await asyncpg.connect(
                self._dsn, server_settings=settings, timeout=CONNECT_SECONDS, statement_cache_size=0
            )
            await connection.set_type_codec(
                "numeric", schema="pg_catalog", encoder=str, decoder=_number, format="text"
            )
        except (*FAILURES, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise StoreAway(
                f"The {self.name} can't be reached: {reason}. It must run and let this user in (db_url); "
                "the master waits and goes on by itself."
            ) from error
        return connection

    async def wait_out(self, error: StoreUnavailable) -> bool:
        """Wait until the database is well again; False if the store is being stopped."""
        self._set_health(error)
        if not self._running:
            return False
        self._own("probe", self._probe())
        try:
            await self.wait_ok()
        except StoreError:
            return False
        return self._running

    def settled(self, job: Job[Any]) -> None:
        error = job.error
        if isinstance(error, StoreUnavailable):
            self._set_health(error)
            if self._running:
                self._own("probe", self._probe())
        self._deliver((job,))

    def deliver(self, jobs: deque[Job[Any]] | tuple[Job[Any], ...]) -> None:
        self._deliver(jobs)

    # -- tasks of the store itself -------------------------------------------------------------------------

    def _own(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run a task of which there is one at a time."""
        if name in self._tasks:
            work.close()
            return
        task = self._tasks[name] = asyncio.create_task(work, name=f"store-{name}")
        task.add_done_callback(lambda task: self._ended(name, task))

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        del self._tasks[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the store failed", task=name, exc_info=error)

    async def _watch(self) -> None:
        """Take the connection from units that wait for an answer that doesn't come."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            limit = time.monotonic() - STUCK_SECONDS
            for lane in [lane for lanes in self._lanes() for lane in lanes.lanes]:
                if lane.busy_since is not None and lane.busy_since < limit and lane.connection is not None:
                    log.warning("the database doesn't answer; trying a new connection", store=self.name)
                    lane.connection.terminate()

    async def _probe(self) -> None:
        """Try until the database takes writes."""
        pause = FIRST_PAUSE
        while True:
            await asyncio.sleep(pause)
            pause = min(pause * 2, PROBE_SECONDS)
            trouble = await self._probe_once()
            self._set_health(trouble)
            if trouble is None:
                return

    async def _probe_once(self) -> StoreUnavailable | None:
        try:
            connection = await self.connect()
        except StoreAway as error:
            return error
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await connection.execute("BEGIN")
                await connection.execute(
                    "INSERT INTO blobs (key, piece, content) VALUES ('probe ' || $1::bigint, 0, $2::bytea)",
                    self._now_us(),
                    os.urandom(1 << 16),  # doesn't compress, so that it takes room
                )
                await connection.execute("ROLLBACK")
        except FAILURES as error:
            typed = from_postgres(error, self.name)
            return typed if isinstance(typed, StoreUnavailable) else None
        finally:
            with contextlib.suppress(Exception):
                await connection.close(timeout=1.0)
        return None
