"""A loop on virtual time that plays several processes, each of which can be frozen or killed.

Time stands still while there is something to do and then jumps to the next timer, so a run costs only its
work, and the same seed gives the same run.

A :class:`Process` is a context: whatever runs in it, and every task and timer that comes from there,
belongs to it. Killing one drops all of that for ever: its coroutines stay suspended where they are,
nobody's ``finally`` runs, as after SIGKILL. Freezing keeps it for later, as SIGSTOP does: timers that came
due meanwhile run late, at once.

What is ready in different processes runs in an order that chance decides; within a process it stays as
asyncio promises. Further interleavings come from the delays of whatever a process waits for: store,
network, commands.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

SPINS = 200_000
"""So many callbacks without time going on are a loop that never ends."""


class Process:
    """Something that runs by itself. ``alive`` until it is killed or has ended."""

    def __init__(self, loop: VirtualLoop, name: str) -> None:
        self.name = name
        self.alive = True
        self.frozen = False
        self.loop = loop
        self.context = contextvars.copy_context()
        self.context.run(OWNER.set, self)
        self.backlog: list[asyncio.Handle] = []
        self.on_exit: list[Callable[[], None]] = []  # what the kernel does for it: close its connections

    def spawn(self, work: Coroutine[Any, Any, Any], name: str | None = None) -> asyncio.Task[Any]:
        return self.loop.create_task(work, name=name or self.name, context=self.context)

    def call(self, callback: Callable[..., object], *args: Any, after: float = 0.0) -> asyncio.Handle:
        """Have a function called in this process."""
        if after <= 0:
            return self.loop.call_soon(callback, *args, context=self.context)
        return self.loop.call_later(after, callback, *args, context=self.context)

    def freeze(self) -> None:
        self.frozen = True

    def thaw(self) -> None:
        self.frozen = False
        backlog, self.backlog = self.backlog, []
        if self.alive:
            self.loop.ready_again(backlog)

    def kill(self) -> None:
        if self.alive:
            self.alive = False
            self.backlog = []
            for callback in self.on_exit:
                callback()


OWNER: contextvars.ContextVar[Process | None] = contextvars.ContextVar("OWNER", default=None)


class Stuck(Exception):
    """Nothing is left to do, or things are done without end."""


class VirtualLoop(asyncio.BaseEventLoop):
    """See the module's docstring."""

    _ready: deque[asyncio.Handle]

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance
        self._now = 1000.0
        self._spins = 0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []  # a heap
        self._count = 0
        self.tasks: list[asyncio.Task[Any]] = []  # kept: a task that is dropped must not be collected
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self._now

    # As asyncio's own, without its checks for a loop that is used from other threads.

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, timer))
        return timer

    def ready_again(self, handles: list[asyncio.Handle]) -> None:
        """Run what a process has missed."""
        self._ready.extend(handles)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """There are no threads: it happens now."""
        del executor
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def _make_task(self, loop: Any, work: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
        self.tasks.append(task)
        return task

    def _process_events(self, event_list: Any) -> None:
        """There are none: everything is a timer."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who has to be woken."""

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is left out when its time comes."""

    def _run_once(self) -> None:
        ready, timers = self._ready, self._timers
        if not ready:
            self._jump()
        while timers and timers[0][0] <= self._now:
            ready.append(heapq.heappop(timers)[2])
        batch = list(ready)
        ready.clear()
        self._spins += len(batch)
        if self._spins > SPINS:
            raise Stuck(f"{SPINS} callbacks without time going on, the last one {batch[-1]!r}")
        for handle in batch if len(batch) < 2 else self._shuffled(batch):
            if handle._cancelled:
                continue
            owner: Process | None = handle._context.get(OWNER)  # type: ignore[attr-defined]
            if owner is not None:
                if not owner.alive:
                    continue
                if owner.frozen:
                    owner.backlog.append(handle)
                    continue
            handle._run()

    def _jump(self) -> None:
        """Let time go on to the next timer of somebody who lives."""
        timers = self._timers
        while timers:
            when, _, timer = timers[0]
            owner = timer._context.get(OWNER)  # type: ignore[attr-defined]
            if not timer.cancelled() and (owner is None or owner.alive):
                self._now = max(self._now, when)
                self._spins = 0
                return
            heapq.heappop(timers)
        raise Stuck("everybody waits, and no timer runs")

    def _shuffled(self, batch: list[asyncio.Handle]) -> list[asyncio.Handle]:
        """The batch with the processes' turns as chance decides."""
        turns: dict[Process | None, deque[asyncio.Handle]] = {}
        owners: list[Process | None] = []
        for handle in batch:
            owner = handle._context.get(OWNER)  # type: ignore[attr-defined]
            turns.setdefault(owner, deque()).append(handle)
            owners.append(owner)
        if len(turns) == 1:
            return batch
        self._chance.shuffle(owners)
        return [turns[owner].popleft() for owner in owners]


class VirtualClock:
    """A machine's clocks: ``start_us`` is the wall time at the loop's zero, ``offset_us`` is how wrong its
    wall clock is.
    """

    START_US = 1_750_000_000_000_000

    def __init__(self, loop: VirtualLoop, start_us: int = START_US) -> None:
        self._loop = loop
        self._start_us = start_us
        self.offset_us = 0

    def now_us(self) -> int:
        return self._start_us + self.offset_us + round(self._loop.time() * 1_000_000)

    def monotonic(self) -> float:
        return self._loop.time()


@contextmanager
def virtual_time(loop: VirtualLoop, start_us: int = VirtualClock.START_US) -> Iterator[None]:
    """Let those who ask the system for the time be told the loop's, as a `VirtualClock` tells it."""

    def seconds() -> float:
        return loop.time()

    def nanoseconds() -> int:
        return start_us * 1000 + round(loop.time() * 1e9)

    with (
        patch.object(time, "monotonic", seconds),
        patch.object(time, "time", lambda: nanoseconds() / 1e9),
        patch.object(time, "time_ns", nanoseconds),
        patch.object(time, "clock_gettime", lambda _clock: seconds()),
    ):
        yield
