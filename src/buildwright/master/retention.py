"""Carrying out ``c['retention']``: what is beyond it goes, a little at a time.

A pass goes over all builders that the store knows, from each one's newest build back, then over the oldest
changes. Nothing of it is remembered: the next pass, of whichever master, finds what is left. So it may die
anywhere, and two masters may be at it at once; each removal is one small unit that makes sure of itself
(:mod:`buildwright.store.units.retention`). To save work, only the active master with the lowest id is.

A build goes in two steps. Its logs get their tombstones, the sealer removes their bytes, and a later pass
removes the build. So passes follow each other quickly while there is something to do, and are rare else.
Between two writes there is a pause, in which builds have the store for themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from buildwright.logs.blobs import BlobStore
from buildwright.logs.seal import Sealer
from buildwright.model.clock import Clock
from buildwright.model.retention import Retention, Verdict, Walk
from buildwright.store.base import Store
from buildwright.store.units import audit
from buildwright.store.units import retention as units

log = structlog.get_logger(__name__)

PAGE = 200
RESULTS_AT_ONCE = 1000
SEAL_AT_ONCE = 256
PAUSE_SECONDS = 0.02
SOON_SECONDS = 2.0
LATER_SECONDS = 600.0

_LAST = (1 << 63) - 1


class Doomed(NamedTuple):
    """A build that something of has to go."""

    builder: str
    id: int
    verdict: Verdict


@dataclass(slots=True)
class Count:
    """What goes, or has gone."""

    builds: int = 0
    requests: int = 0  # that never had a build
    logs: int = 0
    log_bytes: int = 0
    build_data: int = 0  # builds that lose theirs
    changes: int = 0
    audits: int = 0

    def __bool__(self) -> bool:
        return any((self.builds, self.requests, self.logs, self.build_data, self.changes, self.audits))


@dataclass(slots=True)
class Outcome:
    """What a pass has done, and what it left for the next one."""

    gone: Count = field(default_factory=Count)
    waiting: int = 0  # builds whose logs' bytes have to go first, or that something waits for


class Pass:
    """One pass over a store."""

    def __init__(
        self, store: Store, retention: Retention, now_us: int, *, pause: float = PAUSE_SECONDS
    ) -> None:
        self._store = store
        self._retention = retention
        self._now_us = now_us
        self._as_of = retention.as_of(now_us)
        self._pause = pause

    async def count(self) -> dict[str, Count]:
        """What would go, by builder; what is of none under an empty name. Writes nothing."""
        found: dict[str, Count] = {}
        batch: list[Doomed] = []
        async for doomed in self._doomed():
            counted = found.setdefault(doomed.builder, Count())
            counted.builds += doomed.verdict.goes
            counted.build_data += doomed.verdict.data_goes
            if doomed.verdict.goes or doomed.verdict.logs_go:
                batch.append(doomed)
            if len(batch) == PAGE:
                await self._count_logs(batch, found)
                batch = []
        await self._count_logs(batch, found)
        for builderid, name in await self._store.read(units.all_builders()):
            before, after = self._unbuilt_before(name), 0
            while before is not None:
                ids = await self._store.read(units.unbuilt_requests(builderid, after, before, PAGE))
                if not ids:
                    break
                found.setdefault(name, Count()).requests += len(ids)
                after = ids[-1]
        async for page in self._old_changes():
            free = await self._store.read(units.free_changes(page))
            found.setdefault("", Count()).changes += len(free)
        if self._retention.audit is not None:
            before_us = self._as_of - self._retention.audit
            found.setdefault("", Count()).audits = await self._store.read(audit.count_before(before_us))
        return {name: counted for name, counted in found.items() if counted}

    async def carry_out(self) -> Outcome:
        """Remove what can go now. Raises StoreError."""
        outcome = Outcome()
        async for doomed in self._doomed():
            await self._remove(doomed, outcome)
            await asyncio.sleep(self._pause)
        for builderid, name in await self._store.read(units.all_builders()):
            before, after = self._unbuilt_before(name), 0
            while before is not None:
                unit = units.remove_unbuilt(builderid, after, before, PAGE)
                removed, after = await self._store.run(unit)
                outcome.gone.requests += removed
                if not after:
                    break
                await asyncio.sleep(self._pause)
        async for page in self._old_changes():
            outcome.gone.changes += await self._store.run(units.remove_changes(page, self._now_us))
            await asyncio.sleep(self._pause)
        cut = PAGE
        while cut == PAGE and self._retention.audit is not None:
            cut = await self._store.run(audit.cut(self._as_of - self._retention.audit, PAGE))
            outcome.gone.audits += cut
            await asyncio.sleep(self._pause)
        return outcome

    async def _doomed(self) -> AsyncIterator[Doomed]:
        referenced = await self._store.read(units.referenced())
        for builderid, name in await self._store.read(units.all_builders()):
            walk = Walk(self._retention.of(name), self._as_of)
            below = _LAST
            while page := await self._store.read(units.finished_builds(builderid, below, PAGE)):
                for build in page:
                    verdict = walk.judge(build)
                    if not verdict.stays and build.id not in referenced:
                        yield Doomed(name, build.id, verdict)
                below = page[-1].number

    async def _remove(self, doomed: Doomed, outcome: Outcome) -> None:
        run, buildid, verdict = self._store.run, doomed.id, doomed.verdict
        if verdict.logs_go or verdict.goes:
            outcome.gone.logs += await run(units.expire_build(buildid, self._now_us))
        if verdict.data_goes:
            outcome.gone.build_data += bool(await run(units.drop_data(buildid)))
        if verdict.goes:
            left = True
            while left:
                left = not await run(units.cut_results(buildid, RESULTS_AT_ONCE))
                await asyncio.sleep(self._pause)
            if await run(units.remove_build(buildid)):
                outcome.gone.builds += 1
            else:
                outcome.waiting += 1

    async def _count_logs(self, batch: list[Doomed], found: dict[str, Count]) -> None:
        for name in dict.fromkeys(each.builder for each in batch):
            ids = [each.id for each in batch if each.builder == name]
            logs = await self._store.read(units.logs_of(ids))
            found[name].logs += logs.logs
            found[name].log_bytes += logs.size

    def _unbuilt_before(self, builder: str) -> int | None:
        """Requests that never had a build go by the age of builds."""
        age = self._retention.of(builder).builds
        return None if age is None else self._as_of - age

    async def _old_changes(self) -> AsyncIterator[list[int]]:
        rule = self._retention
        if rule.changes is None and rule.max_changes is None:
            return
        beyond = 0
        if rule.max_changes is not None:
            beyond = await self._store.read(units.last_beyond(rule.max_changes))
        before = self._as_of - rule.changes if rule.changes is not None else 0
        after = 0
        while page := await self._store.read(units.oldest_changes(after, PAGE)):
            old = [changeid for changeid, at in page if changeid <= beyond or at <= before]
            if old:
                yield old
            after = page[-1][0]
            if len(old) < len(page):  # they come in by time, so no older ones follow
                return


async def remove_at_once(store: Store, blobs: BlobStore, retention: Retention, now_us: int) -> None:
    """Pass after pass, with a sealer between them, until there is nothing left to do. Raises StoreError."""
    sealer = Sealer(store, blobs)
    while True:
        outcome = await Pass(store, retention, now_us, pause=0).carry_out()
        sealed = 0
        while some := await sealer.seal_some(SEAL_AT_ONCE):
            sealed += some
        if not outcome.gone and not sealed:
            return


class Retainer:
    """What a master's sweeper calls: passes in their time, on the master that does it for all."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        retention: Callable[[], Retention],
        masterid: Callable[[], int],
    ) -> None:
        self._store = store
        self._clock = clock
        self._retention = retention
        self._masterid = masterid
        self._next = 0.0
        self._wait = SOON_SECONDS
        self._rule: Retention | None = None

    async def look(self) -> None:
        """A pass, if it is time for one; a changed configuration has its first one at once."""
        rule = self._retention()
        if rule is self._rule and self._clock.monotonic() < self._next:
            return
        self._rule, self._next = rule, self._clock.monotonic() + LATER_SECONDS
        if await self._store.read(units.leader()) != self._masterid():
            return
        outcome = await Pass(self._store, rule, self._clock.now_us()).carry_out()
        gone = outcome.gone
        if gone:
            log.info(
                "what is beyond its time has gone",
                builds=gone.builds,
                requests=gone.requests,
                logs=gone.logs,
                changes=gone.changes,
                to_go=outcome.waiting,
            )
        if gone:
            self._wait = SOON_SECONDS
        else:  # what waits for something else than the sealer may do so for long
            self._wait = min(2 * self._wait, LATER_SECONDS) if outcome.waiting else LATER_SECONDS
        self._next = self._clock.monotonic() + self._wait
