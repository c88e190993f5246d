"""Lanes: connections to PostgreSQL, each with the task that runs units on it.

A lane takes a job from its queue and doesn't let go of it before it has happened, was refused, or nobody
waits for it any more: it replaces a lost connection, runs the unit again after a lost deadlock, and waits
out a database that is away. The first statement opens the unit's transaction, unless it is a shortcut: that
is committed by itself, and only if it gives no rows a transaction is opened for the steps. While more jobs
are waiting a lane ends a transaction with ``COMMIT AND CHAIN``, which opens the next one and saves a round
trip per unit. Statements are prepared once per connection.

Callers never touch a connection: one that is cancelled leaves its unit to the lane, so that no half of a
unit and no connection in an unknown state is left behind."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import asyncpg
import structlog

from buildwright.store.base import Job, close_quietly, no_write, raise_after_shortcut, raise_bad_request
from buildwright.store.errors import StoreAway, StoreError, StoreReadOnly, from_postgres
from buildwright.store.unit import POSTGRESQL, Bound, Hint, Many, Shortcut

if TYPE_CHECKING:
    from buildwright.store.postgres import PostgresStore

log = structlog.get_logger(__name__)

PREPARED = 1000
AGAIN = frozenset({"40001", "40P01", "55P03"})
"""SQLSTATEs after which the same unit may succeed on the same connection."""
_NUMBERS = itertools.count(1)
OUTDATED = "0A000"
"""A prepared plan no longer fits its tables."""
FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""What a connection raises. The client's internal error is how it says that the server hung up early."""


class Lane:
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
        # By a name: without one, and without the client's own cache, it is parsed and planned for every call.
        name = f"buildwright_{next(_NUMBERS)}"
        statement = self.prepared[sql] = await self.connection.prepare(sql, name=name)
        return statement

    async def drive(self, job: Job[Any]) -> None:
        """Run a unit up to its commit; raises what stops it. The first statement opens the transaction."""
        connection, prepared = self.connection, self.prepared
        assert connection is not None
        hints: list[Hint] | None = None
        generator = job.unit.start()
        send = generator.send
        request: Any = None
        begin = self.transactions and not job.unit.single
        short = begin and job.unit.shortcut and not self.begun  # the next statement may be a shortcut
        taken = False
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
                if taken:
                    raise_after_shortcut(job.unit)
                short = short and type(request.statement) is Shortcut
                if begin and not self.begun and not short:
                    await connection.execute("BEGIN")
                    self.begun = True
                compiled = request.statement.compiled(POSTGRESQL)
                sql = compiled.sql
                statement = prepared.get(sql)
                if statement is None:
                    statement = await self.prepare(sql)
                if kind is Bound:
                    rows = await statement.fetch(*compiled.arguments(request.params))
                    taken, short = short and bool(rows), False
                    request = send([tuple(row) for row in rows])
                elif len(request.params) == 1:  # without the implicit transaction of a batch
                    await statement.fetch(*compiled.arguments(request.params[0]))
                    request = send([])
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


class Lanes:
    """A queue of jobs and the lanes that serve it; lanes are made when they are needed, up to a limit."""

    def __init__(self, store: PostgresStore, limit: int, *, transactions: bool) -> None:
        self._store = store
        self._limit = limit
        self._transactions = transactions
        self._queue: deque[Job[Any]] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._stopping = False
        self.lanes: list[Lane] = []
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

    def add(self, lane: Lane | None = None) -> None:
        lane = lane or Lane(self._transactions)
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

    async def _serve(self, lane: Lane) -> None:
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

    async def _settle(self, lane: Lane, job: Job[Any]) -> None:
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
                await lane.end("COMMIT", chain=self._chains())
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

    def _judge(self, lane: Lane, error: Exception) -> StoreError | None:
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

    def _chains(self) -> bool:
        """Whether the next unit wants a transaction from its first statement."""
        if not self._queue:
            return False
        unit = self._queue[0].unit
        return not (unit.single or unit.shortcut)

    async def _roll_back(self, lane: Lane) -> None:
        if lane.connection is None:
            return
        try:
            await lane.end("ROLLBACK", chain=self._chains())
        except FAILURES:
            lane.drop()
