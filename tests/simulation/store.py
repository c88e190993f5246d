"""The store that the simulated masters share, with its troubles, and a witness inside the database.

A :class:`Database` is one in memory. Each master has a :class:`SimulatedStore` on it, as it would have
connections: every call takes a while, before the unit and between its commit and the answer. The database
can be away (calls hang, and those with a timeout give up while their unit may still happen), its disk can
be full, the answer of a commit can be lost (the unit is run again, as the drivers do), and hints can be
lost.

The witness is triggers and tables of the test's own. They know nothing of the program but its tables: who
writes to a build under which attachment, who attached, that finished rows stay as they are, in which order
locks are granted.
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable
from typing import Any, TypeVar

from buildwright.store.base import Job
from buildwright.store.errors import StoreAway, StoreFull, StoreStopped, StoreUnavailable
from buildwright.store.memory import MemoryDatabase, MemoryStore
from buildwright.store.unit import Hint, Unit

R = TypeVar("R")

USUALLY_SLOW = 0.002  # seconds that a unit waits at most for another, unless a fault makes it more

_WRITTEN = """
CREATE TRIGGER w_{name} AFTER {event} ON builds BEGIN
  INSERT INTO w_writes (buildid, workerid, attachment, writer, at) VALUES (
    NEW.id, NEW.workerid, (SELECT attachment FROM workers WHERE id = NEW.workerid), w_writer(), w_now()
  );
END;
"""
_FINAL = """
CREATE TRIGGER w_final_{table} BEFORE UPDATE ON {table}
WHEN OLD.{end} AND (NEW.results IS NOT OLD.results OR NOT NEW.{end}) BEGIN
  INSERT INTO w_violations (promise, text, at)
  VALUES ('P6', '{table}: ' || OLD.id || ' was finished before', w_now());
END;
"""
WITNESS = "".join(
    [
        """
CREATE TABLE w_writes (seq INTEGER PRIMARY KEY, buildid, workerid, attachment, writer, at);
CREATE TABLE w_attached (seq INTEGER PRIMARY KEY, workerid, attachment, writer, at);
CREATE TABLE w_violations (seq INTEGER PRIMARY KEY, promise, text, at);
CREATE TRIGGER w_attach AFTER UPDATE OF attachment ON workers BEGIN
  INSERT INTO w_attached (workerid, attachment, writer, at)
  VALUES (NEW.id, NEW.attachment, w_writer(), w_now());
END;
CREATE TRIGGER w_grant AFTER UPDATE OF granted ON lock_claims
WHEN NEW.granted = 1 AND OLD.granted = 0 AND EXISTS (
  SELECT 1 FROM lock_claims c WHERE c.lockid = NEW.lockid AND c.granted = 0
  AND (SELECT min(f.id) FROM lock_claims f WHERE f.buildrequestid = c.buildrequestid AND f.stepid = c.stepid)
    < (SELECT min(f.id) FROM lock_claims f
       WHERE f.buildrequestid = NEW.buildrequestid AND f.stepid = NEW.stepid)
) BEGIN
  INSERT INTO w_violations (promise, text, at) VALUES (
    'P7', 'request ' || NEW.buildrequestid || ' got lock ' || NEW.lockid || ' before an earlier one', w_now()
  );
END;
""",
        _WRITTEN.format(name="write", event="UPDATE OF version"),
        _WRITTEN.format(name="claim", event="INSERT"),
        *(
            _FINAL.format(table=table, end=end)
            for table, end in (
                ("builds", "complete_at"),
                ("steps", "complete_at"),
                ("buildrequests", "complete"),
                ("buildsets", "complete"),
            )
        ),
    ]
)


@functools.cache
def _empty() -> bytes:
    """The bytes of a database with the program's tables and the witness."""
    made = MemoryDatabase()
    made.connection.executescript(WITNESS)
    return made.connection.serialize()


class Database(MemoryDatabase):
    """The shared database, with the witness in it."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(tables=False)
        self.connection.deserialize(_empty())
        self.writer = ""
        self.away = False
        self.full = False
        self.connection.create_function("w_writer", 0, lambda: self.writer)
        self.connection.create_function("w_now", 0, now)

    def rows(self, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """What a query of the test's own gives."""
        return self.connection.execute(query, arguments).fetchall()


class SimulatedStore(MemoryStore):
    """One master's way to the database. ``writer`` is what the witness calls it."""

    def __init__(
        self, database: Database, writer: str, chance: random.Random, now_us: Callable[[], int]
    ) -> None:
        super().__init__(database, now_us=now_us)
        self.shared = database
        self.writer = writer
        self.unreachable = False  # for this master alone
        self.deaf = False  # hints are lost
        self.slow = USUALLY_SLOW
        self.held: set[str] = set()  # units that don't get through, by name
        self.unanswered: set[str] = set()  # units that happen, whose answers don't come
        self._chance = chance
        self._changed: asyncio.Future[None] | None = None

    @property
    def away(self) -> bool:
        return self.unreachable or self.shared.away

    def look(self) -> None:
        """The database's troubles have changed."""
        trouble: StoreUnavailable | None = None
        if self.away:
            trouble = StoreAway("the database is away")
        elif self.shared.full:
            trouble = StoreFull("the database's disk is full")
        self._set_health(trouble)
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)

    async def run(self, unit: Unit[R], *, timeout: float | None = None) -> R:
        return await self._call(unit, timeout, write=True)

    async def read(self, unit: Unit[R], *, timeout: float | None = None) -> R:
        return await self._call(unit, timeout, write=False)

    async def _call(self, unit: Unit[R], timeout: float | None, *, write: bool) -> R:
        if not self._running:
            raise self.stopped()
        if timeout is None:
            return await self._served(unit, write=write)
        inner = asyncio.ensure_future(self._served(unit, write=write))
        done, _ = await asyncio.wait({inner}, timeout=timeout)
        if not done:
            inner.add_done_callback(lambda late: late.cancelled() or late.exception())
            raise StoreAway(f"gave up after {timeout:g} s; the write may still happen")
        return inner.result()

    async def _served(self, unit: Unit[R], *, write: bool) -> R:
        await self._pause()
        await self._let_through(unit.name, self.held)
        await self._reachable()
        job: Job[R] = Job(unit, asyncio.get_running_loop().create_future())
        self._do(job, write=write)
        await self._pause()
        await self._let_through(unit.name, self.unanswered)
        if self.away:  # the answer is lost: ask again when it is back
            await self._reachable()
            self._do(job, write=write)
        if not self._running:
            raise self.stopped()
        self._deliver((job,))
        return await job.future

    def _do(self, job: Job[Any], *, write: bool) -> None:
        shared = self.shared
        job.result, job.error, job.hints = None, None, None
        if not write:
            try:
                shared.session.drive(job)
            except Exception as error:
                job.error = error
        elif shared.full:
            job.error = StoreFull("the database's disk is full")
        else:
            shared.writer = self.writer
            shared.session.run_group(job, lambda: None, lambda: 0.0)

    async def _pause(self) -> None:
        chance = self._chance.random()
        if chance > 0.7:
            await asyncio.sleep((chance - 0.7) / 0.3 * self.slow)
        elif chance > 0.6:
            await asyncio.sleep(0)

    async def _reachable(self) -> None:
        while self.away:
            await self._change()

    async def _let_through(self, name: str, held: set[str]) -> None:
        while name in held:
            await self._change()

    async def _change(self) -> None:
        """Wait for the next :meth:`look`."""
        if not self._running:
            raise self.stopped()
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._changed)

    def hold(self, *names: str) -> None:
        """Let these units not get through."""
        self.held.update(names)

    def hold_answers(self, *names: str) -> None:
        """Let these units happen, and nobody hear of it."""
        self.unanswered.update(names)

    def release(self, *names: str) -> None:
        """Let these through, or all."""
        for held in (self.held, self.unanswered):
            held.difference_update(names or tuple(held))
        self.look()

    async def stop(self) -> None:
        await super().stop()
        self.look_stopped()

    def look_stopped(self) -> None:
        """Let those go who wait for the database to come back: :class:`StoreStopped` is what they get."""
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_exception(StoreStopped("stopped"))

    def _tell(self, hints: list[Hint]) -> None:
        if not self.deaf:
            super()._tell(hints)
