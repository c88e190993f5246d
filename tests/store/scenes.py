"""A small world for tests of units: masters with leases, attached workers, builders, requests, builds, locks.

Everything is made by the shipped units. Names count on, so that many scenes fit into one database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from buildwright.model.results import SUCCESS
from buildwright.store import schema
from buildwright.store.base import Store
from buildwright.store.unit import Unit
from buildwright.store.units import leases
from buildwright.store.units.attach import adopt, attach
from buildwright.store.units.buildsets import add_buildset
from buildwright.store.units.claims import Claimed, claim
from buildwright.store.units.engine import Fence, Operation, Part, write
from buildwright.store.units.finishing import finish_build_work
from buildwright.store.units.locks import COUNTING, EXCLUSIVE, Want, declare
from buildwright.store.units.registry import BuilderRow, register
from tests.support.interleave import Ended, Scene, meetings

NOW = 1_750_000_000_000_000
M = TypeVar("M")

_r, _b, _s, _c = (
    schema.buildrequests.c,
    schema.builds.c,
    schema.buildsets.c,
    schema.lock_claims.c,
)


@dataclass(frozen=True)
class Master:
    id: int
    term: int
    name: str


@dataclass(frozen=True)
class Build:
    """A claimed build, and the fence that its writer knows."""

    id: int
    requestid: int
    number: int
    attempt: int
    fence: Fence
    buildsetid: int | None = None


@dataclass(frozen=True)
class World:
    """What a test makes and looks at in one store."""

    store: Store
    numbers: Any

    @classmethod
    def on(cls, store: Store) -> World:
        return cls(store, count(1))

    def name(self, kind: str) -> str:
        return f"{kind}-{next(self.numbers):06}"

    # -- making ---------------------------------------------------------------------------------------------

    async def master(self) -> Master:
        name = self.name("master")
        masterid, term = await self.store.run(leases.take(name, NOW))
        return Master(masterid, term, name)

    async def builder(self, master: Master, *workers: str) -> int:
        name = self.name("builder")
        row = BuilderRow(name, None, None, "[]", None, workers)
        ids = await self.store.run(register(master.id, [row], workers))
        return ids.builders[name]

    async def worker(self, master: Master, boot: str = "boot") -> Fence:
        """An attached worker."""
        name = self.name("worker")
        ids = await self.store.run(register(master.id, [], [name]))
        return await self.attached(ids.workers[name], master, boot)

    async def attached(self, workerid: int, master: Master, boot: str = "boot") -> Fence:
        gained = await self.store.run(self.attaching(workerid, master))
        fence = Fence(workerid, gained.attachment, master.id)
        await self.store.run(self.adopting(fence, boot))
        return fence

    def attaching(self, workerid: int, master: Master) -> Unit[Any]:
        return attach(workerid=workerid, masterid=master.id, term=master.term, info="{}")

    def adopting(self, fence: Fence, boot: str = "boot", ledger: str = "ledger") -> Unit[Any]:
        return adopt(**fence._asdict(), boot=boot, ledger=ledger)

    async def requests(self, *builderids: int, priority: int = 0, **more: Any) -> list[int]:
        """The requests of one buildset, in the order of the builders."""
        asked = {"sourcestamps": [{}], "builderids": builderids, "priority": priority, **more}
        _, made = await self.store.run(add_buildset(now_us=NOW, **asked))
        return [made[builderid] for builderid in builderids]

    async def request(self, builderid: int, **more: Any) -> int:
        (made,) = await self.requests(builderid, **more)
        return made

    async def locks(self, *limits: int, workerid: int = 0) -> list[int]:
        """Locks with these limits; ids in their order."""
        names = [self.name("lock") for _ in limits]
        ids = await self.store.run(
            declare(
                [(name, workerid, limit) for name, limit in zip(names, limits, strict=True)], generation=1
            )
        )
        return [ids[name, workerid] for name in names]

    def claiming(
        self,
        requestid: int,
        builderid: int,
        fence: Fence,
        wants: Sequence[Want] = (),
        now_us: int = NOW,
    ) -> Unit[Any]:
        return claim(
            requestid=requestid,
            builderid=builderid,
            workerid=fence.workerid,
            attachment=fence.attachment,
            masterid=fence.masterid,
            wants=wants,
            fingerprint="[]",
            now_us=now_us,
        )

    async def claimed(
        self, requestid: int, builderid: int, fence: Fence, wants: Sequence[Want] = ()
    ) -> Build:
        outcome = await self.store.run(self.claiming(requestid, builderid, fence, wants))
        assert isinstance(outcome, Claimed), outcome
        buildsetid = (await self.request_row(requestid))["buildsetid"]
        return Build(outcome.buildid, requestid, outcome.number, outcome.attempt, fence, buildsetid)

    async def running(self, *, builderid: int | None = None, wants: Sequence[Want] = ()) -> Build:
        """A build on a worker and a master of its own."""
        master = await self.master()
        if builderid is None:
            builderid = await self.builder(master)
        request = await self.request(builderid)
        return await self.claimed(request, builderid, await self.worker(master), wants)

    def writing(self, build: Build, *operations: Operation, version: int = 0, **said: str) -> Unit[list[Any]]:
        return write(build.id, version, build.fence, operations, **said)

    def finishing(
        self, build: Build, results: int = SUCCESS, *, version: int = 0, lingering: bool = False, **more: Any
    ) -> Unit[list[Any]]:
        return self.writing(build, finish(build, results, lingering=lingering, **more), version=version)

    # -- looking --------------------------------------------------------------------------------------------

    async def row(self, table: sa.Table, rowid: int) -> dict[str, Any]:
        (found,) = await self.store.fetch(sa.select(table).where(table.c.id == rowid))
        return dict(zip([column.name for column in table.columns], found, strict=True))

    async def rows(self, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> list[dict[str, Any]]:
        query = sa.select(table).where(*conditions).order_by(*table.primary_key.columns)
        names = [column.name for column in table.columns]
        return [dict(zip(names, row, strict=True)) for row in await self.store.fetch(query)]

    async def request_row(self, requestid: int) -> dict[str, Any]:
        return await self.row(schema.buildrequests, requestid)

    async def builds_of(self, requestid: int) -> list[dict[str, Any]]:
        return await self.rows(schema.builds, _b.buildrequestid == requestid)

    async def buildset_of(self, requestid: int) -> dict[str, Any]:
        return await self.row(schema.buildsets, (await self.request_row(requestid))["buildsetid"])

    async def queue(self, lockid: int) -> list[tuple[int, int]]:
        """(request id, granted) in the order of the queue."""
        rows = await self.rows(schema.lock_claims, _c.lockid == lockid)
        return [(row["buildrequestid"], row["granted"]) for row in rows]

    async def check(self) -> None:
        """What holds in every store at any time, whatever happened in it."""
        builds = await self.rows(schema.builds)
        requests = {row["id"]: row for row in await self.rows(schema.buildrequests)}
        open_of = {row["buildrequestid"]: row for row in builds if row["complete_at"] is None}
        for requestid, request in requests.items():
            is_open = requestid in open_of
            assert not (is_open and request["complete"]), "a complete request has an open build"
            assert is_open == (request["claimed_by"] is not None and not request["complete"]), (
                "exactly the claimed requests have an open build"
            )
            if is_open:
                assert request["claimed_by"] == open_of[requestid]["masterid"], "request and build differ"
            if not request["complete"]:
                assert request["results"] == -1
        occupied = {row["buildrequestid"] for row in builds if row["complete_at"] is None or row["lingering"]}
        for row in await self.rows(schema.lock_claims):
            if row["granted"]:
                assert row["buildrequestid"] in occupied, "a lock is held by nothing that runs"
            else:
                assert not requests[row["buildrequestid"]]["complete"], "a complete request stands in a queue"
        await self._check_buildsets(requests)
        await self._check_locks()

    async def _check_buildsets(self, requests: dict[int, dict[str, Any]]) -> None:
        for buildset in await self.rows(schema.buildsets):
            mine = [row for row in requests.values() if row["buildsetid"] == buildset["id"]]
            assert bool(buildset["complete"]) == all(row["complete"] for row in mine), (
                "a buildset is complete when all its requests are"
            )

    async def _check_locks(self) -> None:
        for lock in await self.rows(schema.locks):
            held = await self.rows(schema.lock_claims, _c.lockid == lock["id"], _c.granted == 1)
            if any(row["mode"] == EXCLUSIVE for row in held):
                assert len(held) == 1, "an exclusive holder is not alone"
            else:
                assert sum(row["count"] for row in held) <= lock["max_count"], "more held than there is"


def finish(build: Build, results: int = SUCCESS, *, lingering: bool = False, **more: Any) -> Part:
    """The operation that ends a build."""

    def work() -> Any:
        return finish_build_work(
            buildid=build.id,
            requestid=build.requestid,
            results=results,
            state_string="done",
            lingering=lingering,
            holds_locks=True,
            now_us=NOW,
            buildsetid=build.buildsetid,
            **more,
        )

    return Part(work, ())


def counting(lockid: int, places: int = 1) -> Want:
    return Want(lockid, f"lock-{lockid}", COUNTING, places)


def exclusive(lockid: int) -> Want:
    return Want(lockid, f"lock-{lockid}", EXCLUSIVE, 1)


# -- meetings ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Meeting(Generic[M]):
    """Two units have met; ``a`` and ``b`` in the order in which the scene gave them."""

    a: Ended
    b: Ended
    memory: M
    order: str

    def ended(self, *kinds: type[BaseException]) -> None:
        """Assert that nothing went wrong but these refusals."""
        for which in (self.a, self.b):
            assert which.error is None or isinstance(which.error, kinds), (self.order, which.error)


BATCH = 4
"""Scenes that are made at once: each is many commits, and those of several share their syncs."""


async def both_ways(
    url: str, world: World, scene: Callable[[], Awaitable[tuple[Unit[Any], Unit[Any], M]]]
) -> list[Meeting[M]]:
    """Every meeting of the scene's two units, each of them once as the one that is stopped.

    Each has rows of its own, so they are looked at when all have met. What always holds is checked here, and
    that none lost a deadlock: units lock rows in one order.
    """
    held = [*chain(*await asyncio.gather(*(_one_way(url, scene, swap) for swap in (False, True))))]
    await world.check()
    assert [each.order for each in held if each.a.runs + each.b.runs > 2] == [], "deadlocks"
    return held


async def _one_way(
    url: str, scene: Callable[[], Awaitable[tuple[Unit[Any], Unit[Any], M]]], swap: bool
) -> list[Meeting[M]]:
    made: list[tuple[Unit[Any], Unit[Any], M]] = []

    async def play() -> Scene[M]:
        if not made:
            made.extend(await asyncio.gather(*(scene() for _ in range(BATCH))))
        a, b, memory = made.pop(0)
        return Scene(b, a, memory) if swap else Scene(a, b, memory)

    held = []
    async for met in meetings(url, play):
        a, b = (met.second, met.first) if swap else (met.first, met.second)
        waited = "waited" if met.waited else "didn't wait"
        held.append(
            Meeting(a, b, met.memory, f"{'b' if swap else 'a'} stopped after {met.after}, the other {waited}")
        )
    return held
