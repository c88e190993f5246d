"""Takers, holders and declarers of locks meet on PostgreSQL, at every statement, in both orders (P7)."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.base import Store
from buildwright.store.unit import Fenced, Unit
from buildwright.store.units.claims import Claimed, NotFree, stop_request
from buildwright.store.units.engine import Part
from buildwright.store.units.leases import retire
from buildwright.store.units.locks import Want, acquire_for_step, declare, free_step_work, leave_queues
from tests.store.scenes import NOW, Build, World, both_ways, counting, exclusive
from tests.support.stores import started


@pytest.fixture
async def store(postgres_store_url: str) -> AsyncIterator[Store]:
    async with started(postgres_store_url) as store:
        yield store


@pytest.fixture
def world(store: Store) -> World:
    return World.on(store)


CARER = sa.select(schema.lock_claims.c.masterid).where(
    schema.lock_claims.c.lockid == sa.bindparam("lockid"), schema.lock_claims.c.granted == 0
)


async def a_claim(world: World, wants: Sequence[Want]) -> tuple[int, Unit[Any]]:
    """A request of a builder of its own, and its claim."""
    master = await world.master()
    builder = await world.builder(master)
    request = await world.request(builder)
    return request, world.claiming(request, builder, await world.worker(master), wants)


def stepping(build: Build, stepid: int, wants: Sequence[Want]) -> Unit[str | None]:
    return acquire_for_step(wants, build.requestid, stepid, *build.fence, NOW)


def claimed(*outcomes: Any) -> list[bool]:
    return [isinstance(outcome, Claimed) for outcome in outcomes]


async def test_two_takers_of_the_last_place(world: World, postgres_store_url: str) -> None:
    async def scene() -> tuple[Unit[Any], Unit[Any], int]:
        (lock,) = await world.locks(2)
        await world.running(wants=[counting(lock)])
        (_, one), (_, two) = [await a_claim(world, [counting(lock)]) for _ in range(2)]
        return one, two, lock

    for met in await both_ways(postgres_store_url, world, scene):
        assert sorted(claimed(met.a.value, met.b.value)) == [False, True], met.order
        assert [granted for _, granted in await world.queue(met.memory)] == [1, 1, 0]


async def test_takers_of_two_locks_in_different_orders(world: World, postgres_store_url: str) -> None:
    """Whoever wants several gets all or none, and none waits for another's in a circle."""

    async def scene() -> tuple[Unit[Any], Unit[Any], list[int]]:
        locks = await world.locks(1, 1)
        one = await a_claim(world, [exclusive(lock) for lock in locks])
        two = await a_claim(world, [exclusive(lock) for lock in locks[::-1]])
        return one[1], two[1], locks

    for met in await both_ways(postgres_store_url, world, scene):
        assert sorted(claimed(met.a.value, met.b.value)) == [False, True]
        assert [[granted for _, granted in await world.queue(lock)] for lock in met.memory] == [
            [1, 0],
            [1, 0],
        ]


async def test_an_exclusive_waiter_and_a_late_sharer(world: World, postgres_store_url: str) -> None:
    """The sharer that comes after the exclusive waiter waits behind it, though it would fit."""

    async def scene() -> tuple[Unit[Any], Unit[Any], int]:
        (lock,) = await world.locks(3)
        await world.running(wants=[counting(lock)])
        _, waiter = await a_claim(world, [exclusive(lock)])
        _, sharer = await a_claim(world, [counting(lock)])
        return waiter, sharer, lock

    for met in await both_ways(postgres_store_url, world, scene):
        assert isinstance(met.a.value, NotFree)
        places = await world.rows(schema.lock_claims, schema.lock_claims.c.lockid == met.memory)
        _, first, second = [(row["mode"], row["granted"]) for row in places]
        if claimed(met.b.value) == [True]:
            assert (first, second) == (("counting", 1), ("exclusive", 0))
        else:
            assert (first, second) == (("exclusive", 0), ("counting", 0))


async def test_the_first_in_the_queue_and_a_newcomer(world: World, postgres_store_url: str) -> None:
    """First come, first served: a freed lock goes to who stands in the queue."""

    async def scene() -> tuple[Unit[Any], Unit[Any], tuple[int, int, int]]:
        (lock,) = await world.locks(1)
        holder = await world.running(wants=[exclusive(lock)])
        first, again = await a_claim(world, [exclusive(lock)])
        assert isinstance(await world.store.run(again), NotFree)
        await world.store.run(world.finishing(holder))
        newcomer, claim = await a_claim(world, [exclusive(lock)])
        return again, claim, (lock, first, newcomer)

    for met in await both_ways(postgres_store_url, world, scene):
        assert claimed(met.a.value, met.b.value) == [True, False]
        lock, first, newcomer = met.memory
        assert await world.queue(lock) == [(first, 1), (newcomer, 0)]


async def test_a_finish_and_a_taker(world: World, postgres_store_url: str) -> None:
    """The taker gets the lock, or stands in the queue and the hint of the freeing comes after."""

    async def scene() -> tuple[Unit[Any], Unit[Any], tuple[list[int], int]]:
        locks = await world.locks(1, 1)
        holder = await world.running(wants=[exclusive(lock) for lock in locks])
        request, claim = await a_claim(world, [exclusive(lock) for lock in locks])
        return world.finishing(holder), claim, (locks, request)

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        freed, request = met.memory
        granted = int(isinstance(met.b.value, Claimed))
        assert [await world.queue(lock) for lock in freed] == [[(request, granted)]] * 2
        assert [hint.id for hint in met.a.hints if hint.kind == "locks"] == freed


async def test_two_steps_and_the_last_place(world: World, postgres_store_url: str) -> None:
    async def scene() -> tuple[Unit[Any], Unit[Any], int]:
        (lock,) = await world.locks(1)
        one, two = await world.running(), await world.running()
        return stepping(one, 1, [counting(lock)]), stepping(two, 2, [counting(lock)]), lock

    for met in await both_ways(postgres_store_url, world, scene):
        outcomes = [met.a.value, met.b.value]
        assert sorted(map(str, outcomes)) == ["None", f"lock-{met.memory}"]
        assert [granted for _, granted in await world.queue(met.memory)] == [1, 0]


async def test_a_step_and_a_takeover(world: World, postgres_store_url: str) -> None:
    """P3: a former owner's step takes no lock that its successor doesn't find."""

    async def scene() -> tuple[Unit[Any], Unit[Any], tuple[int, Build]]:
        (lock,) = await world.locks(1)
        build = await world.running()
        taking = world.attaching(build.fence.workerid, await world.master())
        return stepping(build, 1, [exclusive(lock)]), taking, (lock, build)

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended(Fenced)
        lock, build = met.memory
        assert await world.queue(lock) == ([] if met.a.error else [(build.requestid, 1)])


async def test_a_steps_end_and_another_step(world: World, postgres_store_url: str) -> None:
    async def scene() -> tuple[Unit[Any], Unit[Any], tuple[int, Build]]:
        (lock,) = await world.locks(1)
        one, two = await world.running(), await world.running()
        await world.store.run(stepping(one, 1, [exclusive(lock)]))
        freeing = world.writing(one, Part(free_step_work, (one.requestid, 1)))
        return freeing, stepping(two, 2, [exclusive(lock)]), (lock, two)

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        lock, two = met.memory
        assert await world.queue(lock) == [(two.requestid, int(met.b.value is None))]


async def test_a_cancelled_waiter_and_its_claim(world: World, postgres_store_url: str) -> None:
    """P6: a cancelled request leaves no place in a queue behind."""

    async def scene() -> tuple[Unit[Any], Unit[Any], int]:
        (lock,) = await world.locks(1)
        await world.running(wants=[exclusive(lock)])
        request, claim = await a_claim(world, [exclusive(lock)])
        return stop_request(request, "enough", NOW), claim, lock

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        assert [granted for _, granted in await world.queue(met.memory)] == [1]


async def test_leaving_the_queues_and_a_claim(world: World, postgres_store_url: str) -> None:
    """A place that is given up while its request gets the lock after all frees nothing that is held."""

    async def scene() -> tuple[Unit[Any], Unit[Any], tuple[list[int], int]]:
        locks = await world.locks(1, 1)
        holder = await world.running(wants=[exclusive(lock) for lock in locks])
        request, claim = await a_claim(world, [exclusive(lock) for lock in locks])
        await world.store.run(claim)
        await world.store.run(world.finishing(holder))
        ((masterid,),) = await world.store.fetch(CARER, {"lockid": locks[0]})
        return leave_queues([request], masterid), claim, (locks, request)

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        locks, request = met.memory
        assert claimed(met.b.value) == [True]
        assert [await world.queue(lock) for lock in locks] == [[(request, 1)]] * 2


async def test_a_master_is_retired_while_another_claims_what_it_had_queued(
    world: World, postgres_store_url: str
) -> None:
    """What waited under the dead master's care gives its places up; the new claim is as good as any."""

    async def scene() -> tuple[Unit[Any], Unit[Any], tuple[list[int], int]]:
        locks = await world.locks(1, 1)
        wants = [exclusive(lock) for lock in locks]
        holder = await world.running(wants=wants)
        dead, alive = await world.master(), await world.master()
        builder = await world.builder(dead)
        request = await world.request(builder)
        await world.store.run(world.claiming(request, builder, await world.worker(dead), wants))
        await world.store.run(world.finishing(holder))
        claim = world.claiming(request, builder, await world.worker(alive), wants)
        return retire(dead.id, dead.term, 0), claim, (locks, request)

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        locks, request = met.memory
        assert met.a.value is True
        assert claimed(met.b.value) == [True]
        assert [await world.queue(lock) for lock in locks] == [[(request, 1)]] * 2


@pytest.mark.parametrize("older_limit", [1, 5])
async def test_an_older_and_a_newer_declaration(
    world: World, postgres_store_url: str, older_limit: int
) -> None:
    """The newest configuration's limits win, also for locks that both declare anew in different orders."""

    async def scene() -> tuple[Unit[Any], Unit[Any], list[tuple[str, int]]]:
        names = [world.name("lock") for _ in range(4)]
        await world.store.run(declare([(name, 0, 3) for name in names[2:]], generation=1))
        older = declare([(name, 0, older_limit) for name in names], generation=2)
        newer = declare([(name, 0, 2) for name in names[::-1]], generation=3)
        return older, newer, [(name, 0) for name in names]

    for met in await both_ways(postgres_store_url, world, scene):
        assert {met.a.value[name] for name in met.memory} == {met.b.value[name] for name in met.memory}
        for name in met.memory:
            row = await world.row(schema.locks, met.b.value[name])
            assert (row["max_count"], row["generation"]) == (2, 3), met.order


async def test_a_declaration_and_a_taker(world: World, postgres_store_url: str) -> None:
    """Both lock rows in the order of their ids, whatever that of the names is; a taker sees one limit."""

    async def scene() -> tuple[Unit[Any], Unit[Any], list[int]]:
        names = [world.name("z"), world.name("a")]
        ids: list[int] = []
        for name in names:
            known = await world.store.run(declare([(name, 0, 1)], generation=1))
            ids.append(known[name, 0])
        await world.running(wants=[counting(lock) for lock in ids])
        _, claim = await a_claim(world, [counting(lock) for lock in ids])
        return declare([(name, 0, 2) for name in sorted(names)], generation=2), claim, ids

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        taken = claimed(met.b.value) == [True]
        for lock in met.memory:
            assert [granted for _, granted in await world.queue(lock)] == [1, int(taken)]
