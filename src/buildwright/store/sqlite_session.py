"""A SQLite connection that runs units, several in one transaction.

The first unit of a transaction needs no savepoint (refusing it undoes the transaction), each later one has
its own, so that a refusal undoes only the unit that refused. A group is bounded in number and time. If its
transaction is lost (full disk, I/O error, a failed commit), its units are run again one by one, each in a
transaction of its own: the one that can't succeed gets the typed error, the others are done. If the write
lock can't be had, nothing has happened and every unit of the group is told so.

:class:`Session` knows nothing of threads and loops: :class:`~buildwright.store.sqlite.SqliteStore` gives
one to its writer's thread, :class:`~buildwright.store.memory.MemoryStore` calls it where it stands."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from typing import Any

from buildwright.store.base import Job, close_quietly, no_write, raise_bad_request
from buildwright.store.errors import (
    StatementFailed,
    StoreAway,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    from_sqlite,
)
from buildwright.store.unit import SQLITE, Bound, Hint, Many

GROUP_UNITS = 256
GROUP_SECONDS = 0.025
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
