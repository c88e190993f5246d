"""PostgreSQL: a few lanes, each a connection of its own with the task that runs units on it.

A unit is one READ COMMITTED transaction; what must not change under it, it locks (``FOR UPDATE``, ``FOR
SHARE``) or compares. Calls wait in one queue; a free lane takes the next. While more are waiting a lane
ends each transaction with ``COMMIT AND CHAIN``, which saves a round trip per unit. Statements are prepared
once per connection. Reads have lanes of their own, whose sessions refuse writes and commit by statement.

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
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import asyncpg
import structlog

from buildwright.store.base import (
    FIRST_PAUSE,
    PROBE_SECONDS,
    Job,
    Store,
    close_quietly,
    no_write,
    raise_bad_request,
    wall_us,
)
from buildwright.store.errors import StoreAway, StoreError, StoreReadOnly, StoreUnavailable, from_postgres
from buildwright.store.unit import POSTGRESQL, Bound, Hint, Many, Unit

R = TypeVar("R")

log = structlog.get_logger(__name__)

WRITERS = 12
READERS = 3
CONNECT_SECONDS = 10.0
WATCH_SECONDS = 5.0
STUCK_SECONDS = 60.0
"""A unit that takes longer has lost its server. More than the lock timeout: waiting for a row isn't it."""
STOP_SECONDS = 10.0
PREPARED = 1000
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

AGAIN = frozenset({"40001", "40P01", "55P03"})
"""SQLSTATEs after which the same unit may succeed on the same connection."""
OUTDATED = "0A000"
"""A prepared plan no longer fits its tables."""


FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""What a connection raises. The client's internal error is how it says that the server hung up early."""


def _number(text: str) -> int | float:
    """What ``sum()`` of integers gives is an integer here, as on SQLite."""
    return float(text) if "." in text or "N" in text else int(text)


class _Lane:
    """A connection and what is known of it; used by one task."""

    __slots__ = ("begun", "busy_since", "connection", "prepared", "transactions")

    def __init__(self, transactions: bool) -> None:
        self.transactions = transactions
        self.connection: asyncpg.Connection | None = None
        self.prepared: dict[str, Any] = {}
        self.begun = False  # a transaction is open
        self.busy_since: float | None = None  # the watchdog's: when the unit under way began

    def drop(self) -> None:
        """Forget the connection; whatever it had open is rolled back by the server."""
        connection, self.connection = self.connection, None
        self.begun = False
        self.prepared.clear()
        if connection is not None and not connection.is_closed():
            connection.terminate()

    async def prepare(self, sql: str) -> Any:
        assert self.connection is not None
        if len(self.prepared) >= PREPARED:  # queries built at run time differ without end
            self.prepared.clear()
        statement = self.prepared[sql] = await self.connection.prepare(sql)
        return statement

    async def drive(self, job: Job[Any]) -> None:
        """Run a unit up to its commit; raises what stops it. The first statement opens the transaction."""
        connection, prepared = self.connection, self.prepared
        assert connection is not None
        hints: list[Hint] | None = None
        generator = job.unit.start()
        send = generator.send
        request: Any = None
        begin = self.transactions
        try:
            request = send(None)
            while True:
                kind = type(request)
                if kind is Hint:
                    if hints is None:
                        hints = []
                    hints.append(request)
                    request = send(None)
                    continue
                if kind is not Bound and kind is not Many:
                    raise_bad_request(job.unit, request)
                if begin and not self.begun:
                    await connection.execute("BEGIN")
                    self.begun = True
                compiled = request.statement.compiled(POSTGRESQL)
                sql = compiled.sql
                statement = prepared.get(sql)
                if statement is None:
                    statement = await self.prepare(sql)
                if kind is Bound:
                    rows = await statement.fetch(*compiled.arguments(request.params))
                    request = send([tuple(row) for row in rows])
                else:
                    await statement.executemany([compiled.arguments(params) for params in request.params])
                    request = send([])
        except StopIteration as end:
            job.result = end.value
            job.hints = hints
        except FAILURES as error:
            close_quietly(generator)
            if isinstance(request, (Bound, Many)):
                error.add_note(f"{job.unit.name}: {request.statement.name}")
            raise
        except BaseException:
            close_quietly(generator)
            raise

    async def end(self, verb: str, chain: bool) -> None:
        """``COMMIT`` or ``ROLLBACK`` what is open, if anything is; ``chain`` opens the next with it."""
        if not self.begun:
            return
        assert self.connection is not None
        await self.connection.execute(f"{verb} AND CHAIN" if chain else verb)
        self.begun = chain


class _Lanes:
    """A queue of jobs and the lanes that serve it; lanes are made when they are needed, up to a limit."""

    def __init__(self, store: PostgresStore, limit: int, *, transactions: bool) -> None:
        self._store = store
        self._limit = limit
        self._transactions = transactions
        self._queue: deque[Job[Any]] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._stopping = False
        self.lanes: list[_Lane] = []
        self.tasks: set[asyncio.Task[None]] = set()

    def submit(self, job: Job[Any]) -> None:
        self._queue.append(job)
        while self._idle:
            wake = self._idle.pop()
            if not wake.done():
                wake.set_result(None)
                return
        if len(self.tasks) < self._limit:
            self.add()

    def add(self, lane: _Lane | None = None) -> None:
        lane = lane or _Lane(self._transactions)
        self.lanes.append(lane)
        task = asyncio.create_task(self._serve(lane), name="store-lane")
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def stop(self, grace: float) -> None:
        """End all lanes, after what is queued or after ``grace`` seconds."""
        self._stopping = True
        for wake in self._idle:
            if not wake.done():
                wake.set_result(None)
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=grace)
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        left, self._queue = self._queue, deque()
        for job in left:
            job.error = self._store.stopped()
        self._store.deliver(left)

    async def _serve(self, lane: _Lane) -> None:
        """A lane's life: take a job, bring it to an end, take the next."""
        job: Job[Any] | None = None
        try:
            while True:
                while not self._queue:
                    await lane.end("COMMIT", chain=False)  # chained, and then another lane took the job
                    if self._queue:
                        break
                    if self._stopping:
                        return
                    wake = asyncio.get_running_loop().create_future()
                    self._idle.append(wake)
                    await wake
                job = self._queue.popleft()
                if not job.future.done():
                    await self._settle(lane, job)
                job = None
        except asyncio.CancelledError:
            if job is not None:
                job.error = self._store.stopped()
                self._store.deliver((job,))
            raise
        except FAILURES:
            log.debug("an idle connection was lost")  # the next call opens another lane
        finally:
            lane.busy_since = None
            lane.drop()
            self.lanes.remove(lane)
            if self._queue and not self._stopping:
                self.add()

    async def _settle(self, lane: _Lane, job: Job[Any]) -> None:
        """Run a unit until it has happened, was refused, or nobody waits for it any more."""
        store = self._store
        pause = 0.002
        begun = time.monotonic()
        while not job.future.done():
            lane.busy_since = time.monotonic()
            try:
                if lane.connection is None:
                    lane.connection = await store.connect(readonly=not self._transactions)
                await lane.drive(job)
                await lane.end("COMMIT", chain=bool(self._queue))
            except StoreAway as error:
                if not await store.wait_out(error):
                    job.error = store.stopped()
                    break
                continue
            except FAILURES as error:
                typed = self._judge(lane, error)
                await self._roll_back(lane)
                if isinstance(typed, StoreReadOnly) and not self._transactions:
                    typed = no_write(job.unit, typed)
                if typed is not None:
                    job.error = typed
                    break
                await asyncio.sleep(random.uniform(pause / 2, pause))
                pause = min(pause * 2, 1.0)
                continue
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                await self._roll_back(lane)
                job.error = error
                break
            finally:
                lane.busy_since = None
            break
        job.seconds = time.monotonic() - begun
        store.settled(job)

    def _judge(self, lane: _Lane, error: Exception) -> StoreError | None:
        """What a failed unit's caller is told; None: run it again, on a new connection if need be."""
        connection = lane.connection
        state = getattr(error, "sqlstate", None)
        if state in AGAIN:
            return None
        typed = from_postgres(error, self._store.name)
        lost = connection is None or connection.is_closed() or isinstance(typed, StoreAway)
        lost = lost or isinstance(error, asyncpg.InternalClientError)
        if lost or (state == OUTDATED and lane.prepared):
            lane.drop()
            return None
        return typed

    async def _roll_back(self, lane: _Lane) -> None:
        if lane.connection is None:
            return
        try:
            await lane.end("ROLLBACK", chain=bool(self._queue))
        except FAILURES:
            lane.drop()


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
        self._writes = _Lanes(self, writers, transactions=True)
        self._reads = _Lanes(self, readers, transactions=False)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Connect; raises :class:`StoreAway` if the database doesn't answer now, saying why."""
        if self._running:
            return
        first = _Lane(transactions=True)
        first.connection = await self.connect()
        writers, readers = self._limits
        self._writes = _Lanes(self, writers, transactions=True)
        self._reads = _Lanes(self, readers, transactions=False)
        self._writes.add(first)
        self._running = True
        self._own("watch", self._watch())

    async def stop(self) -> None:
        if not self._running:
            return
        self._running = False
        self._release_waiters(self.stopped())
        await asyncio.gather(self._writes.stop(STOP_SECONDS), self._reads.stop(STOP_SECONDS))
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._release_waiters(self.stopped())

    async def run(self, unit: Unit[R], *, timeout: float | None = None) -> R:
        return await self._submit(self._writes, unit, timeout)

    async def read(self, unit: Unit[R], *, timeout: float | None = None) -> R:
        return await self._submit(self._reads, unit, timeout)

    async def _submit(self, lanes: _Lanes, unit: Unit[R], timeout: float | None) -> R:
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
            for lane in [*self._writes.lanes, *self._reads.lanes]:
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
