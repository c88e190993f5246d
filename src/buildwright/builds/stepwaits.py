"""What the code of a step waits for, and what ends that from outside: a stop, or an abort.

The engine knows of the waits that go through it: commands, the store, time. They end by themselves at a
stop. Whatever else the code awaits is noted in the step's row, since such a step can't be gone on with; at
a stop the step's own ``interrupt`` may end it, and if it doesn't, the code is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NoReturn, TypeVar

import structlog

from buildwright.builds.noticing import Abort
from buildwright.builds.step import BuildStep, BuildStepCancelled
from buildwright.builds.writer import BuildWriter, Nowhere
from buildwright.bus.local import Bus
from buildwright.model.renderable import settle
from buildwright.store.units.engine import NOTE_FOREIGN_WAIT

T = TypeVar("T")

INTERRUPT_SECONDS = 10.0  # for a step's own `interrupt`

log = structlog.get_logger(__name__)


class StepWaits:
    """The waits of a step. ``stopped`` and ``aborted`` say why its code is to end; None: it isn't."""

    def __init__(
        self, step: BuildStep, stepid: int, writer: BuildWriter | Nowhere, bus: Bus, *, noticed: bool
    ) -> None:
        self.stopped: str | None = None
        self.aborted: Abort | None = None
        self._step = step
        self._stepid = stepid
        self._writer = writer
        self._bus = bus
        self._code: asyncio.Task[Any] | None = None  # of the step, while it runs
        self._serving = 0  # engine calls that the step's code waits in
        self._own_work = 0  # those of them that run the step's own coroutines
        self._noticed = noticed
        self._interrupting: asyncio.Task[None] | None = None
        self._stop_wanted: set[asyncio.Future[None]] = set()  # of those who wait with `wait`

    # -- the step's code ----------------------------------------------------------------------------------

    def begin(self, code: asyncio.Task[Any]) -> None:
        """The step's code runs."""
        self._code = code

    def end(self) -> None:
        """The step's code has ended."""
        self._code = None
        self.forget_interrupt()

    def begin_try(self, step: BuildStep) -> None:
        """The step starts again, as another object."""
        self._step = step
        self.aborted = None
        self._noticed = False

    def notice(self) -> None:
        """The step's code waits: note it, if it is for something foreign."""
        if self._serving == 0 and not self._noticed:
            self._noticed = True
            self._writer.add(NOTE_FOREIGN_WAIT(stepid=self._stepid))
            self._writer.soon()

    # -- what ends it -------------------------------------------------------------------------------------

    def stop(self, reason: str) -> None:
        """The build is being stopped: end the waits."""
        self.stopped = reason
        self._step.stopped = True
        self._end_waits()
        # A task of its own, so that a step's own code holds up nobody but the step.
        self._interrupting = asyncio.get_running_loop().create_task(
            self._interrupt(reason), name=f"interrupt step {self._step.name}"
        )

    async def _interrupt(self, reason: str) -> None:
        try:
            async with asyncio.timeout(INTERRUPT_SECONDS):
                await settle(self._step.interrupt(reason))
        except Exception:
            log.exception("a step's interrupt failed", step=self._step.name)
        if self._code is not None and self._serving == self._own_work:
            self._code.cancel()  # it waits for something of its own, which nobody else can end

    def forget_interrupt(self) -> None:
        """Nothing of the step is left to interrupt."""
        if self._interrupting is not None and self._interrupting is not asyncio.current_task():
            self._interrupting.cancel()
            self._interrupting = None

    def abort(self, why: str, *, again: bool = False) -> None:
        """Cancel the step's code, whatever it does."""
        if self.aborted is None:
            self.aborted = Abort(why, again=again)
        if self._code is not None:
            self._code.cancel()
        else:
            self._end_waits()

    def abort_here(self, why: str) -> NoReturn:
        """What the step's code does can't be gone on with: start it again."""
        self.abort(why, again=True)
        raise asyncio.CancelledError

    def _end_waits(self) -> None:
        for future in self._stop_wanted:
            if not future.done():
                future.set_result(None)

    def check(self) -> None:
        """Raises what ends the code, if anything does."""
        if self.aborted is not None:
            raise asyncio.CancelledError
        if self.stopped is not None:
            raise BuildStepCancelled(self.stopped)

    # -- waiting ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def served(self) -> Iterator[None]:
        """Within this the engine does something for the step's code."""
        self._serving += 1
        try:
            yield
        finally:
            self._serving -= 1

    @contextlib.contextmanager
    def own_work(self) -> Iterator[None]:
        """Within this what the engine does runs a coroutine of the step, which a stop may cancel."""
        self._own_work += 1
        try:
            yield
        finally:
            self._own_work -= 1

    async def wait(self, awaited: asyncio.Future[Any]) -> None:
        """Wait for something of the engine's, or for the stop. Raises BuildStepCancelled at a stop."""
        with self.served():
            self.check()
            stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._stop_wanted.add(stopped)
            try:
                await asyncio.wait({awaited, stopped}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._stop_wanted.discard(stopped)
            self.check()

    async def until(self, kind: str, look: Callable[[], Awaitable[T | None]]) -> T:
        """Look into the store until it shows what is waited for: now, and again after each hint of a kind.

        Raises BuildStepCancelled at a stop.
        """
        with self.served():
            while True:
                hint = self._bus.next(kind)
                found = await look()
                if found is not None:
                    return found
                await self.wait(hint)

    async def sleep(self, seconds: float) -> None:
        """Wait for a time, or for the stop. Raises BuildStepCancelled at a stop."""
        slept = asyncio.ensure_future(asyncio.sleep(seconds))
        try:
            await self.wait(slept)
        finally:
            slept.cancel()

    async def serve(self, awaitable: Awaitable[T]) -> T:
        """Await something that may be asked again after a takeover: a look into the store, an idempotent
        unit.
        """
        with self.served():
            return await awaitable


def is_dropped() -> bool:
    """Whether the build is being dropped: that goes before all that the step may want."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
