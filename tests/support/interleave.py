"""Two units meet on PostgreSQL: one stops between two of its statements, the other runs, the first goes on.

A store's driver runs units as fast as it can, so that a test of two at once sees one order and calls it
proof. :func:`meetings` runs every order in which the second comes as a whole between two statements of the
first: on real connections, with real row locks. If the second has to wait for a lock, that is noticed, and
the first is let go on. Like the driver, a unit that loses a deadlock is run again::

    async def scene() -> Scene[None]:
        worker = await store.run(add_worker(...))        # rows of its own for every meeting
        return Scene(write_log(worker, attachment=1), take_over(worker))

    async for met in meetings(url, scene):
        assert met.first.error is None or isinstance(met.first.error, Fenced)
        ...                                              # and what the store holds now

Swap the two in a second scene to stop the other one. Where a unit took a shortcut, all is played once more
without any, so that the steps that they stand for meet, too.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import asyncpg

from buildwright.store.postgres_lanes import AGAIN
from buildwright.store.unit import POSTGRESQL, Bound, Hint, Many, Shortcut, Unit

C = TypeVar("C")


@dataclass(frozen=True)
class Scene(Generic[C]):
    """Two units that are to meet, and whatever the test wants to remember about their rows."""

    first: Unit[Any]
    second: Unit[Any]
    memory: C


@dataclass
class Ended:
    """What became of a unit."""

    result: Any = None
    error: BaseException | None = None
    hints: list[Hint] = field(default_factory=list)
    runs: int = 1
    short: bool = False  # a shortcut did its work

    @property
    def value(self) -> Any:
        """The result; raises what the unit raised."""
        if self.error is not None:
            raise self.error
        return self.result


@dataclass(frozen=True)
class Met(Generic[C]):
    """One meeting: the first unit had run ``after`` statements when the second came."""

    after: int
    waited: bool
    """The second waited for a lock of the first."""
    first: Ended
    second: Ended
    memory: C


class Runner:
    """A unit on a connection of its own; before each statement and the commit it stops until it is let on.

    A statement with several sets of parameters is several here: a meeting may come between them.
    """

    def __init__(self, connection: asyncpg.Connection, unit: Unit[Any], *, stepwise: bool) -> None:
        self._connection = connection
        self._unit = unit
        self._stepwise = stepwise
        self._allowed = 0
        self._go = asyncio.Event()
        self._moved = asyncio.Event()
        self.done = 0  # statements that have been run
        self.before_commit = False
        self.ended = Ended()
        self.task = asyncio.create_task(self._run(), name=f"runner-{unit.name}")

    async def _run(self) -> None:
        while True:
            try:
                await self._once()
                return
            except asyncpg.PostgresError as error:
                if error.sqlstate not in AGAIN:
                    self.ended.error = error
                    return
                self.ended.runs += 1
                self.allow(1_000_000)
            except Exception as error:
                self.ended.error = error
                return
            finally:
                self._moved.set()

    async def _once(self) -> None:
        hints: list[Hint] = []
        result: Any = None
        async with self._connection.transaction():
            generator = self._unit.start()
            try:
                request = next(generator)
                while True:
                    rows: list[tuple[Any, ...]] = []
                    if isinstance(request, Hint):
                        hints.append(request)
                    elif isinstance(request, Many):
                        for params in request.params:
                            await self._statement(Bound(request.statement, params))
                    elif not isinstance(request.statement, Shortcut):
                        rows = await self._statement(request)
                    elif not self._stepwise:
                        rows = await self._statement(request)
                        self.ended.short |= bool(rows)
                    request = generator.send(rows)
            except StopIteration as end:
                result = end.value
            self.before_commit = True
            self._moved.set()
            await self._permit()
        self.ended.result, self.ended.hints = result, hints

    async def _statement(self, request: Bound) -> list[tuple[Any, ...]]:
        await self._permit()
        compiled = request.statement.compiled(POSTGRESQL)
        rows = await self._connection.fetch(compiled.sql, *compiled.arguments(request.params))
        self.done += 1
        self._moved.set()
        return [tuple(row) for row in rows]

    async def _permit(self) -> None:
        while self._allowed == 0:
            self._go.clear()
            await self._go.wait()
        self._allowed -= 1

    def allow(self, steps: int) -> None:
        self._allowed += steps
        self._go.set()

    async def until(self, condition: Callable[[], bool], monitor: asyncpg.Connection) -> bool:
        """Wait until the condition holds (True), or the unit waits for another's lock (False)."""
        pid = self._connection.get_server_pid()
        while not condition() and not self.task.done():
            self._moved.clear()
            try:
                async with asyncio.timeout(0.02):
                    await self._moved.wait()
            except TimeoutError:
                if await monitor.fetchval("SELECT cardinality(pg_blocking_pids($1)) > 0", pid):
                    return False
        return True

    async def finish(self) -> Ended:
        self.allow(1_000_000)
        await self.task
        return self.ended


async def meet(
    connections: list[asyncpg.Connection], scene: Scene[C], after: int, *, stepwise: bool = False
) -> Met[C] | None:
    """One meeting; None if the first unit has fewer than ``after`` statements."""
    one, two, monitor = connections
    first = Runner(one, scene.first, stepwise=stepwise)
    first.allow(after)
    await first.until(lambda: first.done >= after or first.before_commit, monitor)
    if first.done < after or first.task.done():
        await first.finish()
        return None
    second = Runner(two, scene.second, stepwise=stepwise)
    second.allow(1_000_000)
    waited = not await second.until(second.task.done, monitor)
    ended = await first.finish()
    await second.task
    return Met(after, waited, ended, second.ended, scene.memory)


async def meetings(url: str, scene: Callable[[], Awaitable[Scene[C]]]) -> AsyncIterator[Met[C]]:
    """Every meeting of two units, each in a scene of its own."""
    connections = [await asyncpg.connect(url) for _ in range(3)]
    try:
        for stepwise in (False, True):
            after, short = 0, False
            while (met := await meet(connections, await scene(), after, stepwise=stepwise)) is not None:
                yield met
                short |= met.first.short or met.second.short
                after += 1
            if not short:
                break
    finally:
        for connection in connections:
            await connection.close()
