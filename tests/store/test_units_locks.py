"""Locks on every database: limits, places in queues, and random walks that end with everybody served (P7)."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildwright.model.results import RETRY
from buildwright.store import schema
from buildwright.store.base import Store
from buildwright.store.memory import MemoryStore
from buildwright.store.unit import Hint, unit
from buildwright.store.units.claims import Claimed, Gone, NotFree, end_lingering, stop_request
from buildwright.store.units.collapse import collapse
from buildwright.store.units.engine import Fence, Part
from buildwright.store.units.leases import leave
from buildwright.store.units.locks import (
    COUNTING,
    EXCLUSIVE,
    Want,
    acquire_for_step,
    acquire_work,
    declare,
    free_request_work,
    free_step_work,
    leave_queues,
)
from tests.store.scenes import NOW, Build, World, counting, exclusive

_c = schema.lock_claims.c


@pytest.fixture
def world(store: Store) -> World:
    return World.on(store)


@dataclass
class Candidate:
    """A request with a worker that it may run on."""

    id: int
    builderid: int
    fence: Fence


async def candidate(world: World) -> Candidate:
    master = await world.master()
    builder = await world.builder(master)
    return Candidate(await world.request(builder), builder, await world.worker(master))


async def tried(world: World, who: Candidate, wants: Sequence[Want]) -> Any:
    return await world.store.run(world.claiming(who.id, who.builderid, who.fence, wants))


async def test_a_claim_that_is_not_free_keeps_its_place_and_says_why(world: World) -> None:
    hints: list[Hint] = []
    world.store.on_hints = hints.extend
    (lock,) = await world.locks(1)
    holder = await world.running(wants=[exclusive(lock)])
    who = await candidate(world)
    assert await tried(world, who, [exclusive(lock)]) == NotFree(f"lock-{lock}")
    places = await world.rows(schema.lock_claims, _c.lockid == lock)
    assert (await world.request_row(who.id))["waits_for"] == f"lock 'lock-{lock}' is taken"
    assert Hint("buildrequests", who.id, "update") in hints
    hints.clear()
    assert await tried(world, who, [exclusive(lock)]) == NotFree(f"lock-{lock}")
    assert await world.rows(schema.lock_claims, _c.lockid == lock) == places, "the same place"
    assert hints == [], "the same reason is told once"
    await world.store.run(world.finishing(holder))
    assert Hint("locks", lock, "freed") in hints
    assert isinstance(await tried(world, who, [exclusive(lock)]), Claimed)
    assert (await world.request_row(who.id))["waits_for"] == ""
    await world.check()


@pytest.mark.parametrize(
    ("limit", "held", "wanted", "free"),
    [
        (2, [("c", 1)], ("c", 1), True),
        (2, [("c", 2)], ("c", 1), False),
        (3, [("c", 1)], ("c", 2), True),
        (3, [("c", 2)], ("c", 2), False),
        (3, [("c", 1)], ("e", 1), False),
        (3, [("e", 1)], ("c", 1), False),
        (1, [], ("e", 1), True),
        (1, [], ("c", 2), False),
    ],
)
async def test_places_of_a_lock(
    world: World, limit: int, held: list[tuple[str, int]], wanted: tuple[str, int], free: bool
) -> None:
    (lock,) = await world.locks(limit)

    def want(mode: str, places: int) -> Want:
        return exclusive(lock) if mode == "e" else counting(lock, places)

    for each in held:
        await world.running(wants=[want(*each)])
    outcome = await tried(world, await candidate(world), [want(*wanted)])
    assert isinstance(outcome, Claimed) == free
    await world.check()


async def test_all_wanted_locks_or_none(world: World) -> None:
    one, two = await world.locks(1, 1)
    await world.running(wants=[exclusive(two)])
    who = await candidate(world)
    assert await tried(world, who, [exclusive(one), exclusive(two)]) == NotFree(f"lock-{two}")
    assert await world.queue(one) == [(who.id, 0)]
    later = await candidate(world)
    assert await tried(world, later, [exclusive(one)]) == NotFree(f"lock-{one}"), "it waits behind the first"


async def test_a_request_that_starts_without_locks_leaves_the_queues(world: World) -> None:
    """Its worker's locks weren't free; it starts on another one that wants none."""
    (lock,) = await world.locks(1)
    await world.running(wants=[exclusive(lock)])
    who = await candidate(world)
    assert isinstance(await tried(world, who, [exclusive(lock)]), NotFree)
    assert isinstance(await tried(world, who, []), Claimed)
    assert [granted for _, granted in await world.queue(lock)] == [1]


async def test_a_request_that_starts_with_other_locks_leaves_the_queues(world: World) -> None:
    one, two = await world.locks(1, 1)
    await world.running(wants=[exclusive(one)])
    who = await candidate(world)
    assert isinstance(await tried(world, who, [exclusive(one)]), NotFree)
    assert isinstance(await tried(world, who, [exclusive(two)]), Claimed)
    assert [granted for _, granted in await world.queue(one)] == [1]
    assert await world.queue(two) == [(who.id, 1)]


async def test_what_is_wanted_may_change_while_it_waits(world: World) -> None:
    """Another worker's access to the same lock, say: what is held is what was wanted last."""
    (lock,) = await world.locks(2)
    holder = await world.running(wants=[exclusive(lock)])
    who, sharer = await candidate(world), await candidate(world)
    assert isinstance(await tried(world, who, [counting(lock)]), NotFree)
    assert isinstance(await tried(world, who, [exclusive(lock)]), NotFree)
    await world.store.run(world.finishing(holder))
    assert isinstance(await tried(world, who, [exclusive(lock)]), Claimed)
    assert isinstance(await tried(world, sharer, [counting(lock)]), NotFree)


async def test_nobody_waits_in_a_circle(world: World) -> None:
    """The first in one queue is before the other in every queue, though it came to the second one later."""
    both, left, right = await world.locks(1, 1, 1)
    holder = await world.running(wants=[exclusive(both)])
    first, second = await candidate(world), await candidate(world)
    assert isinstance(await tried(world, first, [exclusive(both), exclusive(left)]), NotFree)
    assert isinstance(await tried(world, second, [exclusive(both), exclusive(right)]), NotFree)
    # The first one's worker is gone, it tries the second one's.
    assert isinstance(await tried(world, first, [exclusive(both), exclusive(right)]), NotFree)
    await world.store.run(world.finishing(holder))
    assert isinstance(await tried(world, second, [exclusive(both), exclusive(right)]), NotFree)
    assert isinstance(await tried(world, first, [exclusive(both), exclusive(right)]), Claimed)


async def test_leaving_the_queues_frees_nothing_that_is_held(world: World) -> None:
    (lock,) = await world.locks(1)
    holder = await world.running(wants=[exclusive(lock)])
    who, other = await candidate(world), await candidate(world)
    await tried(world, who, [exclusive(lock)])
    await tried(world, other, [exclusive(lock)])
    both = [holder.requestid, who.id]
    await world.store.run(leave_queues(both, other.fence.masterid))
    assert len(await world.queue(lock)) == 3, "they wait under another master's care"
    await world.store.run(leave_queues(both, who.fence.masterid))
    assert await world.queue(lock) == [(holder.requestid, 1), (other.id, 0)]


async def test_who_tries_last_looks_after_the_waiting(world: World) -> None:
    """A master that goes takes only those from the queues that nobody else tries."""
    (lock,) = await world.locks(1)
    holder = await world.running(wants=[exclusive(lock)])
    going, staying = await world.master(), await world.master()
    builder = await world.builder(going)
    requests = [await world.request(builder) for _ in range(2)]
    for request in requests:
        await world.store.run(world.claiming(request, builder, await world.worker(going), [exclusive(lock)]))
    await world.store.run(
        world.claiming(requests[1], builder, await world.worker(staying), [exclusive(lock)])
    )
    await world.store.run(leave(going.id, going.term))
    assert await world.queue(lock) == [(holder.requestid, 1), (requests[1], 0)]


async def test_an_access_counts_with_the_newest_limit(world: World) -> None:
    name = world.name("lock")
    ids = await world.store.run(declare([(name, 0, 1)], generation=5))
    lock = ids[name, 0]
    await world.running(wants=[counting(lock)])
    who = await candidate(world)
    assert isinstance(await tried(world, who, [counting(lock)]), NotFree)
    await world.store.run(declare([(name, 0, 9)], generation=4))
    assert isinstance(await tried(world, who, [counting(lock)]), NotFree), "an older configuration's limit"
    await world.store.run(declare([(name, 0, 2)], generation=6))
    assert isinstance(await tried(world, who, [counting(lock)]), Claimed)


async def test_a_workers_lock_is_one_for_each_worker(world: World) -> None:
    ids = await world.store.run(declare([("w", 1, 1), ("w", 2, 1), ("w", 0, 1)], generation=1))
    assert len({ids["w", 1], ids["w", 2], ids["w", 0]}) == 3
    again = await world.store.run(declare([("w", 2, 1), ("w", 1, 1)], generation=2))
    assert again == ids


# -- lingering attempts -----------------------------------------------------------------------------------


async def lost(world: World, wants: Sequence[Want]) -> tuple[Build, Candidate]:
    """A lost attempt whose commands may still run, and its request with another worker."""
    master = await world.master()
    builder = await world.builder(master)
    build = await world.running(builderid=builder, wants=wants)
    assert await world.store.run(world.finishing(build, RETRY, lingering=True)) == [RETRY]
    return build, Candidate(build.requestid, builder, await world.worker(master))


async def test_a_lingering_attempt_keeps_its_locks_until_its_end(world: World) -> None:
    hints: list[Hint] = []
    world.store.on_hints = hints.extend
    (lock,) = await world.locks(1)
    build, again = await lost(world, [exclusive(lock)])
    row = await world.request_row(again.id)
    assert "the next begins when its commands are known dead" in row["waits_for"]
    other = await candidate(world)
    assert isinstance(await tried(world, other, [exclusive(lock)]), NotFree)
    assert await tried(world, again, [exclusive(lock)]) == Gone()
    assert await tried(world, again, []) == Gone()
    hints.clear()
    await world.store.run(end_lingering(build.id))
    assert {Hint("locks", lock, "freed"), Hint("buildrequests", again.id, "update")} <= {*hints}
    hints.clear()
    await world.store.run(end_lingering(build.id))
    assert hints == []
    assert isinstance(await tried(world, other, [exclusive(lock)]), Claimed)
    assert isinstance(await tried(world, again, [exclusive(lock)]), NotFree), "at the end of the queue"
    await world.check()


async def test_cancelling_the_request_of_a_lingering_attempt_frees_no_lock(world: World) -> None:
    (lock,) = await world.locks(1)
    build, again = await lost(world, [exclusive(lock)])
    assert await world.store.run(stop_request(again.id, "enough", NOW)) is True
    other = await candidate(world)
    assert isinstance(await tried(world, other, [exclusive(lock)]), NotFree)
    await world.store.run(end_lingering(build.id))
    assert isinstance(await tried(world, other, [exclusive(lock)]), Claimed)
    await world.check()


async def test_collapsing_the_request_of_a_lingering_attempt_frees_no_lock(world: World) -> None:
    (lock,) = await world.locks(1)
    build, again = await lost(world, [exclusive(lock)])
    newer = await world.request(again.builderid)
    assert await world.store.run(collapse(again.id, newer, NOW)) is True
    assert await world.queue(lock) == [(again.id, 1)]
    await world.store.run(end_lingering(build.id))
    assert await world.queue(lock) == []


async def test_a_lingering_attempt_leaves_the_queues_of_its_steps(world: World) -> None:
    """What runs keeps its locks; what only waited for one runs no more, so that nobody waits behind it."""
    held, wanted = await world.locks(1, 1)
    await world.running(wants=[exclusive(wanted)])
    build = await world.running()
    for stepid, lock in ((1, held), (2, wanted)):
        await world.store.run(acquire_for_step([exclusive(lock)], build.requestid, stepid, *build.fence, NOW))
    await world.store.run(world.finishing(build, RETRY, lingering=True))
    assert await world.queue(held) == [(build.requestid, 1)]
    assert [granted for _, granted in await world.queue(wanted)] == [1]


# -- steps ------------------------------------------------------------------------------------------------


async def test_a_steps_locks_are_its_own(world: World) -> None:
    one, two = await world.locks(1, 1)
    build = await world.running(wants=[exclusive(one)])
    take = acquire_for_step([exclusive(two)], build.requestid, 7, *build.fence, NOW)
    assert await world.store.run(take) is None
    assert await world.store.run(take) is None, "run again it holds it once"
    assert await world.queue(two) == [(build.requestid, 1)]
    await world.store.run(world.writing(build, Part(free_step_work, (build.requestid, 7))))
    assert await world.queue(two) == []
    assert await world.queue(one) == [(build.requestid, 1)]


# -- random walks -----------------------------------------------------------------------------------------

LOCKS = 3
LIMITS = (1, 2, 3)
accesses = st.dictionaries(
    st.integers(0, LOCKS - 1),
    st.sampled_from([(EXCLUSIVE, 1), (COUNTING, 1), (COUNTING, 2), (COUNTING, 3)]),
    min_size=1,
)
walks = st.lists(
    st.one_of(
        st.tuples(st.just("come"), accesses),
        st.tuples(st.just("try"), st.integers(0, 9)),
        st.tuples(st.just("change"), st.tuples(st.integers(0, 9), accesses)),
        st.tuples(st.just("end"), st.integers(0, 9)),
        st.tuples(st.just("leave"), st.integers(0, 9)),
    ),
    max_size=40,
)


@dataclass
class Walk:
    """Builds that come, wait, hold and end, on three locks with limits of one, two and three places."""

    store: Store
    locks: list[int]
    next: int = 1
    waiting: dict[int, list[Want]] = field(default_factory=dict)  # in the order of their arrival
    holding: dict[int, list[Want]] = field(default_factory=dict)

    def wants(self, access: dict[int, tuple[str, int]]) -> list[Want]:
        return [
            Want(self.locks[at], f"lock {at}", mode, min(places, LIMITS[at]))
            for at, (mode, places) in access.items()
        ]

    async def step(self, kind: str, value: Any) -> None:
        match kind:
            case "come":
                who, self.next = self.next, self.next + 1
                self.waiting[who] = self.wants(value)
                await self.try_(who)
            case "try" if self.waiting:
                await self.try_([*self.waiting][value % len(self.waiting)])
            case "change" if self.waiting:
                who = [*self.waiting][value[0] % len(self.waiting)]
                self.waiting[who] = self.wants(value[1])
                await self.try_(who)
            case "end" if self.holding:
                await self.end([*self.holding][value % len(self.holding)])
            case "leave" if self.waiting:
                who = [*self.waiting][value % len(self.waiting)]
                del self.waiting[who]
                await self.store.run(leave_queues([who], 1))

    async def try_(self, who: int) -> None:
        wants = self.waiting[who]
        obstacle = await self.store.run(unit(acquire_work)(wants, who, 0, 1, NOW))
        ahead = [other for other in self.waiting if other < who]
        mine = {want.lockid for want in wants}
        blocked = [name for name in (self.no_room(want) for want in wants) if name]
        if obstacle is None:
            assert not blocked, f"{who} got what is held"
            for other in ahead:
                assert not mine & await self.queued(other), f"{who} passed {other}"
            self.holding[who] = self.waiting.pop(who)
        elif not blocked:
            assert any([mine & await self.queued(other) for other in ahead]), f"{who} waits for nobody"

    def no_room(self, want: Want) -> str | None:
        held = [each for wants in self.holding.values() for each in wants if each.lockid == want.lockid]
        if want.mode == EXCLUSIVE:
            return want.name if held else None
        if any(each.mode == EXCLUSIVE for each in held):
            return want.name
        limit = LIMITS[self.locks.index(want.lockid)]
        return want.name if sum(each.places for each in held) + want.places > limit else None

    async def queued(self, who: int) -> set[int]:
        rows = await World.on(self.store).rows(schema.lock_claims, _c.buildrequestid == who)
        return {row["lockid"] for row in rows}

    async def end(self, who: int) -> None:
        del self.holding[who]
        await self.store.run(unit(free_request_work)(who))

    async def serve_all(self) -> None:
        """Whoever holds ends, whoever waits tries: each round serves at least the one that came first."""
        while self.waiting:
            for who in [*self.holding]:
                await self.end(who)
            first = min(self.waiting)
            for who in sorted(self.waiting, reverse=True):
                await self.try_(who)
            assert first not in self.waiting, f"{first} is starved"


@settings(deadline=None, max_examples=60)
@given(walks)
def test_limits_hold_and_everybody_is_served_in_turn(steps: Iterable[tuple[str, Any]]) -> None:
    async def walk() -> None:
        store = MemoryStore()
        await store.start()
        try:
            limits = [(f"lock {at}", 0, limit) for at, limit in enumerate(LIMITS)]
            ids = await store.run(declare(limits, 1))
            walking = Walk(store, [ids[name, 0] for name, _, _ in limits])
            for kind, value in steps:
                await walking.step(kind, value)
            await walking.serve_all()
        finally:
            await store.stop()
            store.database.close()

    with asyncio.Runner() as runner:
        runner.run(walk())
