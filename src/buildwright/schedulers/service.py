"""All schedulers of one master: who of them has something to do, and when.

The master's sweeper calls `poke` about once a second, and so do hints of changes, buildsets and
schedulers. A sweep asks the store with one statement what is new before each scheduler, and lets those
act that have something new or whose time has come. Each acts in a task of its own, so that one with a
slow function holds up no other.

With several masters, a scheduler's row says which master runs it; one that no living master has is taken.
That saves work, nothing more: two masters that both run it are kept apart by the store.

The wall clock may jump. A sweep compares its step with the monotonic clock's, and after a jump everybody
decides anew.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

import structlog

from buildwright.model.clock import Clock
from buildwright.schedulers.base import Scheduler
from buildwright.schedulers.runner import US, BuilderIds, SchedulerRunner
from buildwright.store.base import Store
from buildwright.store.errors import StoreError, StoreStopped
from buildwright.store.unit import Hint
from buildwright.store.units import schedulers as units

log = structlog.get_logger(__name__)

JUMP_US = US
LEAVE_SECONDS = 2.0


class Schedulers:
    """The service that runs a master's schedulers."""

    def __init__(self, store: Store, clock: Clock, masterid: int, builder_ids: BuilderIds) -> None:
        self._store = store
        self._clock = clock
        self._masterid = masterid
        self._builder_ids = builder_ids
        self._runners: dict[int, SchedulerRunner] = {}
        self._acting: dict[int, asyncio.Task[None]] = {}
        self._waking: set[tuple[str, str]] = set()  # kinds and events of hints that may concern one of them
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._times: tuple[int, float] | None = None

    @property
    def ids(self) -> dict[str, int]:
        """The configured schedulers' ids by name."""
        return {runner.scheduler.name: schedulerid for schedulerid, runner in self._runners.items()}

    @property
    def next_due_us(self) -> int | None:
        """When the next one has something to do by the clock, as far as it is known."""
        return min(
            (runner.alarm.wall_us for runner in self._runners.values() if runner.alarm is not None),
            default=None,
        )

    async def start(self, schedulers: Iterable[Scheduler]) -> None:
        """Run these schedulers. Starting a running service is `reconfigure`."""
        await self.reconfigure(schedulers)
        if self._loop is None:
            self._loop = asyncio.create_task(self._sweeps(), name="schedulers")

    async def reconfigure(self, schedulers: Iterable[Scheduler]) -> None:
        """Run these schedulers from now on; what the others have before them stays there."""
        configured = list(schedulers)
        wishes = [units.Wish(each.name, each.wishes.changes, each.wishes.upstreams) for each in configured]
        ids = await self._store.run(units.register(wishes))
        await self._store.run(units.disregard_others(sorted(ids.values()), self._masterid))
        runners = {
            ids[each.name]: SchedulerRunner(self._store, each, ids[each.name], self._builder_ids, self._clock)
            for each in configured
        }
        self._waking = {("schedulers", "updated")}
        if any(each.wishes.changes for each in configured):
            self._waking.add(("changes", "new"))
        if any(each.wishes.upstreams for each in configured):
            self._waking.add(("buildsets", "complete"))
        gone = sorted(set(self._runners) - set(runners))
        self._runners = runners
        await self._end_acting()
        if gone:
            await self._store.run(units.leave(gone, self._masterid))
        self.poke()

    async def stop(self) -> None:
        """Stop. What was decided and not yet committed will be decided again by the next one."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)
        await self._end_acting()
        mine, self._runners = sorted(self._runners), {}
        if mine:
            with contextlib.suppress(StoreError):  # the master's lease ends, and with it its hold on them
                await self._store.run(units.leave(mine, self._masterid), timeout=LEAVE_SECONDS)

    def poke(self) -> None:
        """Look now."""
        self._wake.set()

    @property
    def _interested(self) -> bool:
        """Whether any scheduler acts on changes or on others' buildsets: clocks and people need no hints."""
        return any(
            runner.scheduler.wishes.changes or runner.scheduler.wishes.upstreams
            for runner in self._runners.values()
        )

    def on_hints(self, hints: Iterable[Hint]) -> None:
        """What a bus calls: look now, if one of the hints may concern schedulers.

        Buildsets come and go by the hundred in a second, so those that nobody waits for wake nobody.
        """
        if any((hint.kind, hint.event) in self._waking for hint in hints):
            self.poke()

    async def settled(self) -> None:
        """Sweep, and return when everybody who had something to do has done it. For tests and `reload`."""
        await self.sweep()
        while self._acting:
            await asyncio.wait(list(self._acting.values()))
            await self.sweep()

    async def _sweeps(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.sweep()
            except StoreStopped:
                return
            except Exception:
                log.exception("a sweep of the schedulers failed; the next one tries again")

    async def sweep(self) -> None:
        """Let everybody act who has something to do."""
        if not self._runners:
            return
        if self._jumped():
            for runner in self._runners.values():
                runner.look_again()
        signs = await self._store.read(units.signs(sorted(self._runners)))
        orphans = [sign.schedulerid for sign in signs if not sign.held]
        taken = await self._store.run(units.take(orphans, self._masterid)) if orphans else []
        mine = set(taken)
        mine.update(sign.schedulerid for sign in signs if sign.held and sign.masterid == self._masterid)
        for sign in signs:
            known = self._runners.get(sign.schedulerid)
            if known is None or sign.schedulerid not in mine or sign.schedulerid in self._acting:
                continue
            if known.is_due(sign):
                self._act(known, sign)

    def _act(self, runner: SchedulerRunner, sign: units.Sign) -> None:
        task = asyncio.create_task(self._step(runner, sign), name=f"scheduler {runner.scheduler.name}")
        self._acting[sign.schedulerid] = task
        task.add_done_callback(lambda done: self._acted(sign.schedulerid, done))

    def _acted(self, schedulerid: int, task: asyncio.Task[None]) -> None:
        if self._acting.get(schedulerid) is task:
            del self._acting[schedulerid]
        self.poke()  # what came in meanwhile

    async def _step(self, runner: SchedulerRunner, sign: units.Sign) -> None:
        with contextlib.suppress(StoreStopped):
            await runner.step(sign)

    async def _end_acting(self) -> None:
        acting, self._acting = list(self._acting.values()), {}
        for task in acting:
            task.cancel()
        await asyncio.gather(*acting, return_exceptions=True)

    def _jumped(self) -> bool:
        now = (self._clock.now_us(), self._clock.monotonic())
        before, self._times = self._times, now
        if before is None:
            return False
        return abs((now[0] - before[0]) - (now[1] - before[1]) * US) > JUMP_US
