"""The store's interface: units of work go in, results come out after the commit.

:class:`Store` is what the rest of the program knows of a database. Three drivers implement it:
:class:`~buildwright.store.sqlite.SqliteStore`, :class:`~buildwright.store.postgres.PostgresStore` and
:class:`~buildwright.store.memory.MemoryStore` (simulation and tests). They share one conformance suite.

What callers may lean on:

- **run** gives a unit's result after its commit, or raises what the unit raised, which undid it. Units of
  one caller that awaits each before the next happen in that order. Nothing is promised about units that run
  at the same time, except what the rows they lock and compare make sure of.
- **hints** are told to ``on_hints`` in the loop, after the commit, without duplicates. They can be lost
  with the process; nothing but speed may depend on them.
- **Cancelling** a caller doesn't undo its unit: one that still waits in the queue may be dropped, one that
  has begun goes on to its end. Like after a crash, whoever cares looks into the store. The same holds for a
  ``timeout``.
- **A database that is away** (restarting, unreachable, its write lock held by another process) makes calls
  wait and go on by themselves; ``timeout`` bounds that and raises :class:`StoreAway`. A full disk, a
  read-only or a broken database raise after the driver has tried; :meth:`Store.insist` waits these out too,
  for writes that can't be given up.
- **health** says how the database does. It turns from ``ok`` when a write fails for the database's reasons,
  and back when a probe has found that it takes writes again, also when nobody writes.
- **stop** runs what is queued, then ends; calls that can't be served any more raise :class:`StoreStopped`.
- **read** takes the same form of unit on a connection that refuses writes. Each of its statements sees what
  is committed when it begins; several statements are not promised one snapshot.
- **browse** reads for those who look around: people, programs, whoever crawls through the history. It has
  connections of its own, so that however many of them come, and however long they look, what builds read
  doesn't wait behind them. When too many wait, one more is refused at once (:class:`StoreBusy`).
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

import structlog
from sqlalchemy.sql.base import Executable

from buildwright.store.errors import (
    Health,
    StatementFailed,
    StoreAway,
    StoreBusy,
    StoreReadOnly,
    StoreStopped,
    StoreUnavailable,
)
from buildwright.store.unit import AdHoc, Bound, Hint, Rows, Unit, Work

R = TypeVar("R")

log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0
PROBE_SECONDS = 1.0
MOST_BROWSING = 500
"""So many calls of ``browse`` may wait at once."""


def wall_us() -> int:
    """The wall clock, in microseconds since the epoch."""
    return time.time_ns() // 1000


@dataclass(slots=True)
class Meter:
    """What one verb has cost since the start: runs (refused ones included), their seconds, and how many
    raised.
    """

    count: int = 0
    seconds: float = 0.0
    raised: int = 0


class Job(Generic[R]):
    """One call on its way through a driver: the unit, whoever waits for it, and what became of it."""

    __slots__ = ("error", "future", "hints", "result", "seconds", "unit")

    def __init__(self, unit: Unit[R], future: asyncio.Future[R]) -> None:
        self.unit = unit
        self.future = future
        self.result: R | None = None
        self.error: BaseException | None = None
        self.hints: list[Hint] | None = None
        self.seconds = 0.0


def _nobody(_hints: list[Hint]) -> None:
    pass


class Store(abc.ABC):
    """A database that runs units of work. See the module's docstring for what it promises."""

    dialect: str
    name: str
    """What messages call the database: its file, or host and database."""

    def __init__(self, now_us: Callable[[], int] = wall_us) -> None:
        self.on_hints: Callable[[list[Hint]], None] = _nobody
        self.on_health: Callable[[Health], None] = lambda _health: None
        self.metrics: dict[str, Meter] = {}
        self.health = Health("ok", now_us())
        self._now_us = now_us
        self._running = False
        self._browsing = 0
        self._healthy: asyncio.Future[None] | None = None

    @abc.abstractmethod
    async def start(self) -> None:
        """Open the database. Starting a started store does nothing; a stopped one can be started again."""

    @abc.abstractmethod
    async def stop(self) -> None:
        """Run what is queued, then close. Stopping a stopped store does nothing."""

    @abc.abstractmethod
    async def run(self, unit: Unit[R], *, timeout: float | None = None) -> R:
        """Run a unit that may write; gives its result after the commit. ``timeout`` bounds the wait, in
        seconds.
        """

    @abc.abstractmethod
    async def read(self, unit: Unit[R], *, timeout: float | None = None) -> R:
        """Run a unit that only reads."""

    async def browse(self, unit: Unit[R], *, timeout: float | None = None) -> R:
        """As :meth:`read`, for those whom builds must not wait for."""
        return await self.read(unit, timeout=timeout)

    async def insist(self, unit: Unit[R]) -> R:
        """As :meth:`run`, and wait out a full, read-only or broken database until the store is stopped."""
        pause = FIRST_PAUSE
        while True:
            try:
                return await self.run(unit)
            except StoreUnavailable:
                # A probe may find room where a large unit finds none, so there is a pause of its own, too.
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                await self.wait_ok()

    async def fetch(
        self, core: Executable, params: Mapping[str, Any] | None = None, *, timeout: float | None = None
    ) -> Rows:
        """Run a Core query that was built at run time. ``in_()`` with a list is fine here."""
        return await self.read(Unit("fetch", _fetch, (AdHoc(core), params or {}), {}), timeout=timeout)

    async def wait_ok(self) -> None:
        """Return when ``health`` is ``ok``; raises :class:`StoreStopped` if the store is stopped before."""
        while self.health.state != "ok":
            if not self._running:
                raise self.stopped()
            if self._healthy is None:
                self._healthy = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._healthy)

    # -- for the drivers -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _one_more(self) -> Iterator[None]:
        """A call of ``browse``, unless too many wait."""
        if self._browsing >= MOST_BROWSING:
            raise StoreBusy(f"The database {self.name} has too many readers.")
        self._browsing += 1
        try:
            yield
        finally:
            self._browsing -= 1

    def _set_health(self, error: StoreUnavailable | None) -> None:
        """Note what ails the database, or that nothing does any more."""
        state = "ok" if error is None else error.state
        if state == self.health.state:
            return
        self.health = Health(state, self._now_us(), "" if error is None else str(error))
        if error is None:
            log.info("the store is well again", store=self.name)
            self._release_waiters()
        else:
            log.error("the store is in trouble", store=self.name, state=state, reason=str(error))
        self.on_health(self.health)

    def _release_waiters(self, error: StoreStopped | None = None) -> None:
        waiters, self._healthy = self._healthy, None
        if waiters is None or waiters.done():
            return
        if error is None:
            waiters.set_result(None)
        else:
            waiters.set_exception(error)
            waiters.exception()  # nobody may be waiting, which is no error

    def stopped(self) -> StoreStopped:
        """What calls are told that a stop leaves behind."""
        return StoreStopped(f"The store {self.name} is not running.")

    def _deliver(self, jobs: Iterable[Job[Any]]) -> None:
        """Tell callers what became of their units; runs in the loop, after the commit."""
        hints: dict[Hint, None] = {}
        for job in jobs:
            self._meter(job.unit.name, job.seconds, job.error is not None)
            if not job.future.done():
                if job.error is None:
                    job.future.set_result(job.result)
                else:
                    job.future.set_exception(job.error)
            if job.hints and job.error is None:
                hints.update(dict.fromkeys(job.hints))
        if hints:
            self._tell(list(hints))

    def _tell(self, hints: list[Hint]) -> None:
        try:
            self.on_hints(hints)
        except Exception:
            log.exception("a hint's receiver failed; whoever waits looks by itself")

    def _meter(self, verb: str, seconds: float, raised: bool) -> None:
        meter = self.metrics.get(verb)
        if meter is None:
            meter = self.metrics[verb] = Meter()
        meter.count += 1
        meter.seconds += seconds
        meter.raised += raised

    async def _bounded(self, future: asyncio.Future[R], timeout: float | None) -> R:
        """Wait for a job; after ``timeout`` seconds say what the database's trouble is."""
        if timeout is None:
            return await future
        handle = asyncio.get_running_loop().call_later(timeout, self._expire, future, timeout)
        try:
            return await future
        finally:
            handle.cancel()

    def _expire(self, future: asyncio.Future[Any], timeout: float) -> None:
        if not future.done():
            reason = self.health.text or f"The database {self.name} is slow to answer."
            future.set_exception(
                StoreAway(f"{reason} Gave up after {timeout:g} s; the write may still happen.")
            )


def _fetch(statement: AdHoc, params: Mapping[str, Any]) -> Work[Rows]:
    rows: Rows = yield Bound(statement, params)
    return rows


def close_quietly(generator: Generator[Any, Any, Any]) -> None:
    """End a unit that was interrupted; its own complaints don't hide the reason for the interruption."""
    with contextlib.suppress(Exception):
        generator.close()


def raise_bad_request(unit: Unit[Any], request: object) -> NoReturn:
    """A unit yielded something that no driver understands."""
    raise TypeError(f"unit {unit.name} yielded {request!r}: neither a statement nor a hint")


def raise_after_shortcut(unit: Unit[Any]) -> NoReturn:
    """A unit went on after the statement that did, and committed, all of it."""
    raise TypeError(f"unit {unit.name} yielded a statement after its shortcut")


def no_write(unit: Unit[Any], error: StoreReadOnly) -> StatementFailed:
    """A unit was given to ``read`` and writes."""
    return StatementFailed(
        f"{unit.name}: a unit that writes was given to read() ({error.__cause__ or error})"
    )
