"""SQLite in memory, run in the loop's own thread: the store of simulations and of fast tests.

Several stores can share one :class:`MemoryDatabase`, as several masters share a database. There is no
thread, no clock and no timer in it, so that under a virtual-time loop a run is a function of its seed.
:meth:`MemoryStore.run` lets other tasks run once before the unit and once between the commit and the
result: a loop that drops tasks to play a crash there loses a unit that never happened, or the knowledge of
one that did.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import TypeVar

from buildwright.store.base import Job, Store, wall_us
from buildwright.store.sqlite_session import Session
from buildwright.store.unit import SQLITE, Unit

R = TypeVar("R")


class MemoryDatabase:
    """One database in memory, with the program's tables; lives as long as it is referred to."""

    def __init__(self, *, tables: bool = True) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=1024)
        if tables:
            from buildwright.store.migrate import create_statements

            for statement in create_statements(SQLITE):
                self.connection.execute(statement)
        self.session = Session(self.connection, ":memory:")

    def close(self) -> None:
        self.connection.close()


class MemoryStore(Store):
    """A store on a :class:`MemoryDatabase`. See the module's docstring."""

    dialect = SQLITE
    name = ":memory:"

    def __init__(
        self, database: MemoryDatabase | None = None, *, now_us: Callable[[], int] = wall_us
    ) -> None:
        super().__init__(now_us)
        self._own = database is None
        self.database = database or MemoryDatabase()

    async def start(self) -> None:
        self._running = True

    async def stop(self) -> None:
        self._running = False
        self._release_waiters(self.stopped())

    async def run(self, unit: Unit[R], *, timeout: float | None = None) -> R:
        del timeout  # nothing is ever waited for
        return await self._inline(unit, write=True)

    async def read(self, unit: Unit[R], *, timeout: float | None = None) -> R:
        del timeout
        return await self._inline(unit, write=False)

    async def _inline(self, unit: Unit[R], *, write: bool) -> R:
        if not self._running:
            raise self.stopped()
        await asyncio.sleep(0)
        if not self._running:
            raise self.stopped()
        job: Job[R] = Job(unit, asyncio.get_running_loop().create_future())
        session = self.database.session
        if write:
            session.trouble = None
            session.run_group(job, lambda: None, lambda: 0.0)
        else:
            self.database.connection.execute("PRAGMA query_only=ON")
            session.read(job)
            self.database.connection.execute("PRAGMA query_only=OFF")
        await asyncio.sleep(0)
        if write:
            self._set_health(session.trouble)
        self._deliver((job,))
        return await job.future
