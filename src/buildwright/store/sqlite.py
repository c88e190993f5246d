"""SQLite: one writer thread that commits in groups, and a few reader threads.

The writer takes whatever units are waiting and runs them in one transaction, so that they share the one
costly thing, the commit's fsync. The first unit of a transaction needs no savepoint (refusing it undoes the
transaction), each later one has its own, so that a refusal undoes only the unit that refused. While one
group commits, the next one gathers. A group is bounded in number and time, and its results and hints travel
to the loop in one call, after the commit.

What happens when things fail:

- **the transaction is lost** (full disk, I/O error, a failed commit): the group's units are run again one
  by one, each in a transaction of its own; the one that can't succeed gets the typed error, the others are
  done;
- **another process holds the write lock** longer than SQLite waits by itself: nothing is refused, the group
  waits in the thread and tries again until it succeeds, its callers' timeouts pass, or the store is
  stopped;
- **trouble lasts**: ``health`` says so, and about once a second the thread probes with a write of its own,
  until it works;
- **the process dies**: the journal is WAL with ``synchronous=FULL``, so what was committed is there, what
  wasn't is not.

Readers are connections of their own with ``query_only``; a unit's reads run in one go in a reader's thread,
so that no statement is held open across an await and no reader hinders the WAL's checkpoint for long.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import fcntl
import functools
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import structlog

from buildwright.store.base import (
    PROBE_SECONDS,
    Job,
    Store,
    close_quietly,
    no_write,
    raise_bad_request,
    wall_us,
)
from buildwright.store.errors import (
    StatementFailed,
    StoreAway,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    from_sqlite,
)
from buildwright.store.unit import SQLITE, Bound, Hint, Many, Unit

R = TypeVar("R")

log = structlog.get_logger(__name__)

GROUP_UNITS = 256
GROUP_SECONDS = 0.025
READERS = 2
BUSY_MS = 2000
ROOM_BYTES = 1 << 20
"""A full disk counts as well again when this much is free."""


def connect(path: str, *, readonly: bool = False) -> sqlite3.Connection:
    """A connection in autocommit, for use from one thread at a time; never makes a file."""
    uri = "file:" + path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    connection = sqlite3.connect(
        f"{uri}?mode={'ro' if readonly else 'rw'}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=1024,
        timeout=BUSY_MS / 1000,
    )
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA temp_store=MEMORY")
    connection.execute("PRAGMA cache_size=-16384")
    return connection


class Session:
    """A connection that runs units. It belongs to one thread at a time and knows nothing of threads or
    loops.
    """

    def __init__(self, connection: sqlite3.Connection, where: str) -> None:
        self.connection = connection
        self.where = where
        self._cursor = connection.cursor()
        # Why a transaction was lost; the owner forgets it when a probe or a retry has succeeded.
        self.trouble: StoreUnavailable | None = None

    def drive(self, job: Job[Any]) -> None:
        """Run a unit to its end inside whatever transaction there is; raises what stops it."""
        cursor = self._cursor
        execute = cursor.execute
        hints: list[Hint] | None = None
        generator = job.unit.start()
        send = generator.send
        request: Any = None
        try:
            request = send(None)
            while True:
                kind = type(request)
                if kind is Bound:
                    compiled = request.statement.compiled(SQLITE)
                    execute(compiled.sql, compiled.arguments(request.params))
                    request = send(cursor.fetchall())
                elif kind is Hint:
                    if hints is None:
                        hints = []
                    hints.append(request)
                    request = send(None)
                elif kind is Many:
                    compiled = request.statement.compiled(SQLITE)
                    cursor.executemany(
                        compiled.sql, [compiled.arguments(params) for params in request.params]
                    )
                    request = send([])
                else:
                    raise_bad_request(job.unit, request)
        except StopIteration as end:
            job.result = end.value
            job.hints = hints
        except sqlite3.Error as error:
            close_quietly(generator)
            statement = request.statement.name if isinstance(request, (Bound, Many)) else "?"
            raise from_sqlite(error, self.where, f"{job.unit.name}: {statement}") from error
        except BaseException:
            close_quietly(generator)
            raise

    def run_group(
        self,
        first: Job[Any],
        more: Callable[[], Job[Any] | None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> list[Job[Any]]:
        """Run a unit and those that wait behind it in one transaction; gives the jobs, each with its outcome.

        Jobs whose outcome is a :class:`StoreAway` have not happened and can be given again.
        """
        jobs = [first]
        lost = self._together(jobs, more, clock)
        if lost is None:
            return jobs
        if len(jobs) == 1 or isinstance(lost, StoreAway):
            for job in jobs:
                job.error = lost
            return jobs
        for job in jobs:
            job.result, job.hints = None, None
            failed = self._together([job], lambda: None, clock)
            if failed is not None:
                job.error = failed
        return jobs

    def _together(
        self, jobs: list[Job[Any]], more: Callable[[], Job[Any] | None], clock: Callable[[], float]
    ) -> StoreError | None:
        """One transaction over ``jobs[0]`` and what ``more`` gives; why it is lost as a whole, or None."""
        execute = self._cursor.execute
        begun = clock()
        end = begun + GROUP_SECONDS
        job: Job[Any] | None = jobs[0]
        alone = True  # nothing worth keeping is in the transaction yet
        try:
            execute("BEGIN IMMEDIATE")
            while job is not None:
                job.error = None
                if not job.future.done():  # else given up on, perhaps while the lock was waited for
                    alone = self._one(job, alone)
                now = clock()
                job.seconds = now - begun
                begun = now
                job = more() if now < end and len(jobs) < GROUP_UNITS else None
                if job is not None:
                    jobs.append(job)
            execute("COMMIT")
        except sqlite3.Error as error:
            return self._lost(from_sqlite(error, self.where, "transaction"))
        except StoreError as error:
            return self._lost(error)
        return None

    def _one(self, job: Job[Any], alone: bool) -> bool:
        """One unit of the transaction; gives whether there still is nothing worth keeping in it."""
        execute = self._cursor.execute
        if not alone:
            execute("SAVEPOINT unit")
        try:
            self.drive(job)
        except StoreUnavailable:
            raise
        except BaseException as error:  # whatever a unit raises is its caller's
            if not self.connection.in_transaction:
                text = f"{job.unit.name}: the transaction ended by itself: {error}"
                raise StatementFailed(text) from error
            if alone:
                execute("ROLLBACK")
                execute("BEGIN IMMEDIATE")
            else:
                execute("ROLLBACK TO unit")
                execute("RELEASE unit")
            job.error = error
            return alone
        if not alone:
            execute("RELEASE unit")
        return False

    def _lost(self, error: StoreError) -> StoreError:
        if self.connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._cursor.execute("ROLLBACK")
        if isinstance(error, StoreUnavailable):
            self.trouble = error
        return error

    def read(self, job: Job[Any]) -> BaseException | None:
        """Run a unit that only reads, in one read transaction; gives its error."""
        begun = time.perf_counter()
        job.error = None
        try:
            self._cursor.execute("BEGIN")
            self.drive(job)
        except sqlite3.Error as error:
            job.error = from_sqlite(error, self.where, "transaction")
        except StoreReadOnly as error:
            job.error = no_write(job.unit, error)
        except BaseException as error:
            job.error = error
        if self.connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._cursor.execute("ROLLBACK")
        job.seconds = time.perf_counter() - begun
        return job.error

    def probe(self) -> StoreUnavailable | None:
        """Whether the database takes writes: what is wrong, or None. Writes one page, changes nothing."""
        execute = self._cursor.execute
        try:
            execute("BEGIN IMMEDIATE")
            version = execute("PRAGMA user_version").fetchone()[0]
            execute(f"PRAGMA user_version={int(version)}")
            execute("COMMIT")
            free = execute("PRAGMA freelist_count").fetchone()[0]
            pages = execute("PRAGMA page_count").fetchone()[0]
            limit = execute("PRAGMA max_page_count").fetchone()[0]
        except sqlite3.Error as error:
            trouble = self._lost(from_sqlite(error, self.where, "probe"))
            return trouble if isinstance(trouble, StoreUnavailable) else None
        full = free == 0 and pages >= limit
        if not full and os.path.exists(self.where):  # noqa: PTH110 - the name is a plain string here
            room = os.statvfs(self.where)
            full = room.f_bavail * room.f_frsize < ROOM_BYTES
        if full:
            return StoreFull(f"The disk of the database {self.where} is full. Make room there.")
        return None

    def close(self) -> None:
        self.connection.close()


class _Loop:
    """The way from a driver's threads into the loop that started the store."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def __call__(self, callback: Callable[..., object], *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(callback, *args)


class SqliteStore(Store):
    """The store on a SQLite file. See the module's docstring."""

    dialect = SQLITE

    def __init__(
        self, path: Path, *, readonly: bool = False, sole: bool = False, now_us: Callable[[], int] = wall_us
    ) -> None:
        """``sole``: refuse to start while another process has the file for its own (a running master)."""
        super().__init__(now_us)
        self.path = path
        self.name = str(path)
        self._readonly = readonly
        self._sole = sole
        self._writes: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._reads: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._sessions: list[Session] = []
        self._stopping = threading.Event()
        self._owner: int | None = None

    async def start(self) -> None:
        if self._running:
            return
        self._owner = take_file(self.path) if self._sole else None
        try:
            for _ in range(1 + READERS):
                self._sessions.append(await asyncio.to_thread(self._open, len(self._sessions)))
        except BaseException:
            self._close()
            raise
        self._stopping.clear()
        tell = _Loop()
        writer, *readers = self._sessions
        self._threads = [
            threading.Thread(target=self._write, args=(writer, tell), name="store-writer", daemon=True)
        ]
        self._threads += [
            threading.Thread(target=self._read, args=(reader, tell), name="store-reader", daemon=True)
            for reader in readers
        ]
        for thread in self._threads:
            thread.start()
        self._running = True

    def _open(self, number: int) -> Session:
        try:
            connection = connect(self.name, readonly=self._readonly)
            if number == 0 and not self._readonly:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA journal_size_limit=67108864")
            if number:
                connection.execute("PRAGMA query_only=ON")
            connection.execute("SELECT count(*) FROM sqlite_master")
        except sqlite3.Error as error:
            raise from_sqlite(error, self.name, "open") from error
        return Session(connection, self.name)

    async def stop(self) -> None:
        if not self._running:
            return
        self._running = False
        self._stopping.set()
        self._writes.put(None)
        for _ in range(READERS):
            self._reads.put(None)
        await asyncio.to_thread(self._close)
        self._release_waiters(self.stopped())
        await asyncio.sleep(0)  # what the threads told the loop last is delivered before this returns

    def _close(self) -> None:
        for thread in self._threads:
            thread.join()
        for session in self._sessions:
            session.close()
        self._sessions.clear()
        self._threads.clear()
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None

    async def run(self, unit: Unit[R], *, timeout: float | None = None) -> R:
        return await self._submit(self._writes, unit, timeout)

    async def read(self, unit: Unit[R], *, timeout: float | None = None) -> R:
        return await self._submit(self._reads, unit, timeout)

    async def _submit(
        self, jobs: queue.SimpleQueue[Job[Any] | None], unit: Unit[R], timeout: float | None
    ) -> R:
        if not self._running:
            raise self.stopped()
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        jobs.put(Job(unit, future))
        if timeout is None:
            return await future
        return await self._bounded(future, timeout)

    # -- the writer's thread -------------------------------------------------------------------------------

    def _write(self, session: Session, tell: _Loop) -> None:
        """Run groups until the None that ``stop`` puts behind the last unit."""
        ended = False

        def more() -> Job[Any] | None:
            nonlocal ended
            while not ended:
                try:
                    job = self._writes.get_nowait()
                except queue.Empty:
                    return None
                if job is None:
                    ended = True
                elif not job.future.done():
                    return job
            return None

        probed = time.monotonic()
        while not ended:
            try:
                job = self._writes.get(timeout=PROBE_SECONDS if session.trouble else None)
            except queue.Empty:
                job = None
            else:
                ended = job is None
            if job is not None and not job.future.done():
                self._write_group(session, tell, job, more)
            if session.trouble is not None and time.monotonic() - probed >= PROBE_SECONDS and not ended:
                session.trouble = session.probe()
                probed = time.monotonic()
                tell(self._set_health, session.trouble)

    def _write_group(
        self, session: Session, tell: _Loop, first: Job[Any], more: Callable[[], Job[Any] | None]
    ) -> None:
        """One group to its end. Units that found the database away wait here, in their order."""
        jobs = session.run_group(first, more)
        while True:
            if session.trouble is not None:
                tell(self._set_health, session.trouble)
            waiting = [job for job in jobs if isinstance(job.error, StoreAway)]
            if len(waiting) < len(jobs):
                tell(self._deliver, [job for job in jobs if not isinstance(job.error, StoreAway)])
            waiting = [job for job in waiting if not job.future.done()]
            if not waiting:
                return
            if self._stopping.is_set():
                for job in waiting:
                    job.error = self.stopped()
                tell(self._deliver, waiting)
                return
            # SQLite has waited BUSY_MS inside BEGIN already, unless the file couldn't even be opened.
            self._stopping.wait(0.05)
            session.trouble = None
            jobs = []
            rest = collections.deque(waiting)
            while rest:  # more than once only if a group's time was up before all had their turn
                jobs += session.run_group(rest.popleft(), functools.partial(_pop, rest))
            if session.trouble is None:
                tell(self._set_health, None)

    # -- the readers' threads ------------------------------------------------------------------------------

    def _read(self, session: Session, tell: _Loop) -> None:
        while (job := self._reads.get()) is not None:
            while not job.future.done():
                error = session.read(job)
                if not isinstance(error, StoreAway) or self._stopping.wait(0.05):
                    tell(self._deliver, (job,))
                    break


def _pop(jobs: collections.deque[Job[Any]]) -> Job[Any] | None:
    return jobs.popleft() if jobs else None


def take_file(path: Path) -> int:
    """Become the sole user of a database file among those who ask; gives the lock's descriptor.

    The lock is on a file beside it, since closing any descriptor of the database itself would drop SQLite's
    own locks.
    """
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StoreAway(
            f"The database {path} belongs to another running master. One SQLite database serves one master: "
            "stop that one, or use PostgreSQL for several."
        ) from None
    return descriptor
