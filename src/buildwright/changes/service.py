"""All pollers of one master: who polls, when, and what becomes of what they find.

The master's sweeper calls `poke` about once a second; then those poll whose time has come, each in a task
of its own. What a poll found and what its source remembers from now on is one unit (`take_poll`),
compared with the memory the poll began with: if it has moved meanwhile, because another master has polled
too, the poll is done again from there.

With several masters, a source's row says which of them polls. One that no living master has is taken. A
poll that has been asked for (`poll_now`) is one more.

A source that listens is polled without an end: each thing that it is told is stored as a poll's findings are.
When its connection ends, or the configuration is loaded anew, that is a new poll.

A poll that fails is told once, with the reason, and when the reason changes or the source works again;
the next poll comes at its time. Stopping cancels polls, which ends their subprocesses; what they hadn't
stored is found again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import structlog

from buildwright.changes.base import (
    ChangeSource,
    Found,
    Intake,
    ListeningChangeSource,
    Poll,
    PollError,
    PollingChangeSource,
    SecretSource,
)
from buildwright.model.clock import Clock
from buildwright.store.base import Store
from buildwright.store.errors import StoreError, StoreStopped
from buildwright.store.unit import Unit
from buildwright.store.units import changes as units

log = structlog.get_logger(__name__)

Ask = Callable[[Unit[Any]], Awaitable[Any]]  # how a unit is run

ATTEMPTS = 5
TAKE_SECONDS = 5.0
LEAVE_SECONDS = 2.0


@dataclass(slots=True)
class PollRunner:
    """One poller. Owned by the service."""

    source: PollingChangeSource | ListeningChangeSource
    sourceid: int
    next_at: float | None = None  # monotonic; None: only when asked to
    mine: bool = False  # as far as we know, this master polls
    look_at: float = 0.0  # when to try again to take it
    asked: bool = False
    complaint: str = ""
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class ChangeSources:
    """The service that runs a master's change sources."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        masterid: int,
        basedir: Path,
        *,
        intake: Callable[[], Intake] = Intake,
        secret_source: SecretSource | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._masterid = masterid
        self._basedir = basedir
        self._intake = intake
        self._secret_source = secret_source
        self._runners: dict[str, PollRunner] = {}
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._sweeping = asyncio.Lock()  # from the look at a runner to the start of its poll

    @property
    def ids(self) -> dict[str, int]:
        """The configured sources' ids by name."""
        return {name: runner.sourceid for name, runner in self._runners.items()}

    async def start(self, sources: Iterable[ChangeSource]) -> None:
        """Run these sources. Starting a running service is `reconfigure`."""
        await self.reconfigure(sources)
        if self._loop is None:
            self._loop = asyncio.create_task(self._sweeps(), name="change sources")

    async def reconfigure(self, sources: Iterable[ChangeSource]) -> None:
        """Run these sources from now on. One that was there keeps its next poll's time or gets an earlier."""
        before = self._runners
        await self._end_polls(before.values())
        runners: dict[str, PollRunner] = {}
        now = self._clock.monotonic()
        for source in sources:
            sourceid = await self._store.run(units.find_source(source.name))
            if not isinstance(source, PollingChangeSource | ListeningChangeSource):
                continue
            runner = runners[source.name] = PollRunner(source, sourceid)
            known = before.get(source.name)
            if known is not None:
                runner.mine, runner.asked, runner.complaint = known.mine, known.asked, known.complaint
            if isinstance(source, ListeningChangeSource):
                runner.next_at = now
            elif known is None:
                runner.next_at = now if source.pollAtLaunch else self._after(source, now)
            else:
                later = self._after(source, now)
                times = [each for each in (known.next_at, later) if each is not None]
                runner.next_at = min(times) if later is not None else None
        self._runners = runners
        for name, runner in before.items():
            if name not in runners and runner.mine:
                await self._store.run(units.leave_source(runner.sourceid, self._masterid))
        self.poke()

    async def stop(self) -> None:
        """Stop, and end the polls under way."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)
        runners, self._runners = self._runners, {}
        await self._end_polls(runners.values())
        with contextlib.suppress(StoreError):  # the master's lease ends, and with it its hold on them
            for runner in runners.values():
                if runner.mine:
                    leave = units.leave_source(runner.sourceid, self._masterid)
                    await self._store.run(leave, timeout=LEAVE_SECONDS)

    def poke(self) -> None:
        """Look now whose time has come."""
        self._wake.set()

    def poll_now(self, name: str | None = None) -> bool:
        """Poll this source, or all of them, as soon as possible; False if there is no such source here."""
        found = [runner for key, runner in self._runners.items() if name in (None, key)]
        for runner in found:
            runner.asked = True
        self.poke()
        return bool(found)

    async def settled(self) -> None:
        """Sweep, and return when every poll that was due has ended. For tests."""
        await self.sweep()
        while tasks := [runner.task for runner in self._runners.values() if runner.task is not None]:
            await asyncio.wait(tasks)
            await self.sweep()

    async def sweep(self) -> None:
        """Begin the polls whose time has come."""
        async with self._sweeping:
            await self._sweep()

    async def _sweep(self) -> None:
        now = self._clock.monotonic()
        for runner in list(self._runners.values()):
            due = runner.asked or (runner.next_at is not None and now >= runner.next_at)
            if runner.task is not None or not due or (not runner.mine and now < runner.look_at):
                continue
            runner.mine = await self._store.run(units.try_take_source(runner.sourceid, self._masterid))
            if not runner.mine:
                runner.look_at = now + TAKE_SECONDS
                continue
            runner.asked = False
            runner.next_at = self._after(runner.source, now)
            runner.task = asyncio.create_task(self._poll(runner), name=f"poll of {runner.source.name}")
            runner.task.add_done_callback(lambda _done, runner=runner: self._ended(runner))  # type: ignore[misc]

    def _ended(self, runner: PollRunner) -> None:
        runner.task = None
        if runner.asked:
            self.poke()

    @staticmethod
    def _after(source: PollingChangeSource | ListeningChangeSource, now: float) -> float | None:
        """When the poll after this one is due."""
        if not source.pollInterval:
            return None
        # Spreads the load of many pollers, no secret.
        delay = random.uniform(source.pollRandomDelayMin, source.pollRandomDelayMax)
        return now + source.pollInterval + delay

    async def _sweeps(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.sweep()
            except StoreStopped:
                return
            except Exception:
                log.exception("a sweep of the change sources failed; the next one tries again")

    async def _poll(self, runner: PollRunner) -> None:
        try:
            if isinstance(runner.source, ListeningChangeSource):
                await self._listen_and_store(runner, runner.source)
                return
            notice = await self._poll_and_store(runner, runner.source)
        except StoreStopped:
            return
        except PollError as problem:
            self._complain(runner, str(problem))
        except Exception as problem:
            if runner.complaint != (text := f"{type(problem).__name__}: {problem}"):
                runner.complaint = text
                log.exception("a poll failed", source=runner.source.name)
        else:
            self._complain(runner, notice)

    def _complain(self, runner: PollRunner, text: str) -> None:
        if text == runner.complaint:
            return
        if text:
            log.warning("a change source needs a look", source=runner.source.name, reason=text)
        else:
            log.info("a change source works again", source=runner.source.name)
        runner.complaint = text

    async def _poll_and_store(self, runner: PollRunner, source: PollingChangeSource) -> str:
        for _ in range(ATTEMPTS):
            version, poll = await self._remembered(runner)
            found = await source.poll(poll)
            if await self._take(runner, version, poll, found):
                return found.notice
        raise PollError("other masters keep polling this source at the same time")

    async def _listen_and_store(self, runner: PollRunner, source: ListeningChangeSource) -> None:
        """Store what comes; an outage of the database is waited out, since nobody tells it again."""
        _, poll = await self._remembered(runner)
        async with contextlib.aclosing(source.listen(poll)) as findings:
            async for found in findings:
                self._complain(runner, found.notice)
                for _ in range(ATTEMPTS):
                    version, poll = await self._remembered(runner, self._store.insist)
                    if await self._take(runner, version, poll, found, self._store.insist):
                        break
                else:
                    raise PollError("other masters keep listening to this source at the same time")

    async def _remembered(self, runner: PollRunner, ask: Ask | None = None) -> tuple[int, Poll]:
        """What the source remembers, and that memory's version."""
        row = await (ask or self._store.read)(units.read_source(runner.sourceid))
        state = msgspec.json.decode(row.state) or None
        return row.version, Poll(state, self._basedir, self._secret_source)

    async def _take(
        self, runner: PollRunner, version: int, poll: Poll, found: Found, ask: Ask | None = None
    ) -> bool:
        """Store what was found on top of that memory; False if it isn't the newest any more."""
        if not found.changes and found.state == poll.state:
            return True
        intake = self._intake()
        has_codebase = getattr(runner.source, "codebase", None) is not None
        changes = [await intake.prepare(change, has_codebase=has_codebase) for change in found.changes]
        state = msgspec.json.encode(found.state).decode()
        taken = await (ask or self._store.run)(
            units.take_poll(runner.sourceid, version, state, changes, self._clock.now_us(), found.seen)
        )
        if taken is None:
            log.debug("another master polled meanwhile", source=runner.source.name)
            return False
        new = [each.changeid for each in taken if each.new]
        if new:
            log.info("a poll found changes", source=runner.source.name, changes=new)
        return True

    async def _end_polls(self, runners: Iterable[PollRunner]) -> None:
        tasks = [runner.task for runner in runners if runner.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
