"""SQLite: one writer thread that commits in groups, and a few reader threads.

The writer takes whatever units are waiting and runs them in one transaction, so that they share the one
costly thing, the commit's fsync (:mod:`buildwright.store.sqlite_session`). While one group commits, the
next one gathers. A group's results and hints travel to the loop in one call, after the commit.

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
so that no statement is held open across an await and no reader hinders the WAL's checkpoint for long. Those
who browse have a thread of their own: one, since with more of them SQLite would take every core there is.
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

from buildwright.store.base import PROBE_SECONDS, Job, Store, wall_us
from buildwright.store.errors import StoreAway, from_sqlite
from buildwright.store.sqlite_session import Session, connect
from buildwright.store.unit import SQLITE, Unit

R = TypeVar("R")

READERS = 2
BROWSERS = 1


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
        self._browses: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._sessions: list[Session] = []
        self._stopping = threading.Event()
        self._owner: int | None = None

    async def start(self) -> None:
        if self._running:
            return
        self._owner = take_file(self.path) if self._sole else None
        try:
            for _ in range(1 + READERS + BROWSERS):
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
        for place, reader in enumerate(readers):
            name, jobs = ("reader", self._reads) if place < READERS else ("browser", self._browses)
            self._threads.append(
                threading.Thread(
                    target=self._read, args=(reader, jobs, tell), name=f"store-{name}", daemon=True
                )
            )
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
        for _ in range(BROWSERS):
            self._browses.put(None)
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

    async def browse(self, unit: Unit[R], *, timeout: float | None = None) -> R:
        with self._one_more():
            return await self._submit(self._browses, unit, timeout)

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

    def _read(self, session: Session, jobs: queue.SimpleQueue[Job[Any] | None], tell: _Loop) -> None:
        while (job := jobs.get()) is not None:
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
