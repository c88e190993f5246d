"""Claims, writes, stops and finishes meet on PostgreSQL, at every statement, in both orders.

Each test says which promise it guards; what must hold in any store at any time (one owner, one open build per
claimed request, buildsets complete with their requests, limits of locks) is checked after every meeting.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from buildwright.builds.losing import lose_builds
from buildwright.model.results import CANCELLED, FAILURE, RETRY, SUCCESS
from buildwright.store import schema
from buildwright.store.base import Store
from buildwright.store.unit import Fenced, Unit
from buildwright.store.units.attach import detach
from buildwright.store.units.claims import Claimed, Gone, NotFree, end_lingering, stop_request
from buildwright.store.units.control import set_priority, stop_build
from buildwright.store.units.engine import Part
from buildwright.store.units.schedulers import Wish, register
from buildwright.store.units.testresults import ADD_SET, Batch, Result, add_results_work
from tests.store.scenes import NOW, Build, World, both_ways, exclusive
from tests.support.stores import started


@pytest.fixture
async def store(postgres_store_url: str) -> AsyncIterator[Store]:
    async with started(postgres_store_url) as store:
        yield store


@pytest.fixture
def world(store: Store) -> World:
    return World.on(store)


def losing(build: Build, *, whole: bool = True, lingering: bool = False) -> Unit[int]:
    return lose_builds(
        workerid=build.fence.workerid,
        attachment=build.fence.attachment,
        masterid=build.fence.masterid,
        buildids=None if whole else [build.id],
        results=RETRY,
        why="lost",
        lingering=lingering,
        now_us=NOW,
    )


async def test_a_write_and_a_takeover(world: World, postgres_store_url: str) -> None:
    """P3: the former owner's write is whole and before the takeover, or refused."""

    async def scene() -> tuple[Unit[Any], Unit[Any], Build]:
        build = await world.running()
        other = await world.master()
        taking = world.attaching(build.fence.workerid, other)
        return world.writing(build, state="old owner"), taking, build

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended(Fenced)
        assert met.b.value.previous_master == met.memory.fence.masterid
        row = await world.row(schema.builds, met.memory.id)
        written = met.a.error is None
        assert (row["state_string"], row["version"]) == (("old owner", 1) if written else ("starting", 0))
        worker = await world.row(schema.workers, met.memory.fence.workerid)
        assert row["masterid"] == worker["masterid"] != met.memory.fence.masterid


async def test_a_finish_and_a_takeover(world: World, postgres_store_url: str) -> None:
    """P3, P6: a build is finished by the one owner, or moved to the other and open."""

    async def scene() -> tuple[Unit[Any], Unit[Any], Build]:
        build = await world.running()
        return world.finishing(build), world.attaching(build.fence.workerid, await world.master()), build

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended(Fenced)
        request = await world.request_row(met.memory.requestid)
        assert bool(request["complete"]) == (met.a.error is None)
        assert (await world.buildset_of(met.memory.requestid))["complete"] == request["complete"]


async def test_two_takeovers(world: World, postgres_store_url: str) -> None:
    """P3: each gets a number of its own, and the build belongs to the higher one's master."""

    async def scene() -> tuple[Unit[Any], Unit[Any], tuple[Build, int, int]]:
        build = await world.running()
        one, two = await world.master(), await world.master()
        workerid = build.fence.workerid
        return world.attaching(workerid, one), world.attaching(workerid, two), (build, one.id, two.id)

    for met in await both_ways(postgres_store_url, world, scene):
        build, one, two = met.memory
        first, second = met.a.value.attachment, met.b.value.attachment
        assert sorted((first, second)) == [2, 3]
        assert {met.a.value.previous_master, met.b.value.previous_master} == {
            build.fence.masterid,
            one if first < second else two,
        }
        (row,) = await world.builds_of(build.requestid)
        assert row["masterid"] == (two if first < second else one)


@pytest.mark.parametrize("whole", [True, False])
async def test_a_write_and_a_loss(world: World, postgres_store_url: str, whole: bool) -> None:
    """P3, P6: after the loss nobody writes to the build; its request waits again, or was finished before."""

    async def scene() -> tuple[Unit[Any], Unit[Any], Build]:
        build = await world.running()
        return world.finishing(build), losing(build, whole=whole), build

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended(Fenced)
        finished = met.a.error is None
        assert met.b.value == (0 if finished else 1)
        (row,) = await world.builds_of(met.memory.requestid)
        request = await world.request_row(met.memory.requestid)
        assert row["results"] == (SUCCESS if finished else RETRY)
        assert (request["complete"], request["claimed_by"] is None) == ((1, False) if finished else (0, True))


async def test_a_loss_and_a_takeover(world: World, postgres_store_url: str) -> None:
    """P3: a worker that comes back elsewhere while its builds are called lost either brings them or not."""

    async def scene() -> tuple[Unit[Any], Unit[Any], Build]:
        build = await world.running()
        return losing(build), world.attaching(build.fence.workerid, await world.master()), build

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended(Fenced)
        (row,) = await world.builds_of(met.memory.requestid)
        assert (row["complete_at"] is None) == (met.a.error is not None)


async def test_the_last_two_requests_of_a_buildset(world: World, postgres_store_url: str) -> None:
    """P6: whoever comes last completes the buildset, with the worst result; dependents are told once."""
    numbers = iter(range(1000))

    async def scene() -> tuple[Unit[Any], Unit[Any], tuple[int, int]]:
        master = await world.master()
        up, down = (f"{name}{next(numbers)}" for name in ("up", "down"))
        ids = await world.store.run(register([Wish(up), Wish(down, upstreams=(up,))]))
        builders = [await world.builder(master) for _ in range(2)]
        requests = await world.requests(*builders, schedulerid=ids[up])
        one, two = [
            await world.claimed(request, builder, await world.worker(master))
            for request, builder in zip(requests, builders, strict=True)
        ]
        return world.finishing(one, FAILURE), world.finishing(two), (one.requestid, ids[down])

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        requestid, down = met.memory
        buildset = await world.buildset_of(requestid)
        assert (buildset["complete"], buildset["results"]) == (1, FAILURE), met.order
        told = await world.rows(
            schema.scheduler_completions, schema.scheduler_completions.c.schedulerid == down
        )
        assert told == [{"schedulerid": down, "buildsetid": buildset["id"]}]
        hints = [hint for hint in [*met.a.hints, *met.b.hints] if hint[::2] == ("buildsets", "complete")]
        assert len(hints) == 1


async def test_a_cancel_of_a_waiting_request_and_the_last_finish(
    world: World, postgres_store_url: str
) -> None:
    async def scene() -> tuple[Unit[Any], Unit[Any], int]:
        master = await world.master()
        builders = [await world.builder(master) for _ in range(2)]
        runs, waits = await world.requests(*builders)
        build = await world.claimed(runs, builders[0], await world.worker(master))
        return world.finishing(build), stop_request(waits, "enough", NOW), waits

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        buildset = await world.buildset_of(met.memory)
        assert (buildset["complete"], buildset["results"]) == (1, CANCELLED)


async def test_a_cancel_and_a_claim(world: World, postgres_store_url: str) -> None:
    """P6: the request is complete and never built, or it is built and its owner sees the stop."""

    async def scene() -> tuple[Unit[Any], Unit[Any], int]:
        master = await world.master()
        builder = await world.builder(master)
        request = await world.request(builder)
        lock = await world.locks(1)
        claim = world.claiming(request, builder, await world.worker(master), [exclusive(lock[0])])
        return stop_request(request, "enough", NOW), claim, request

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        assert met.a.value is True
        row = await world.request_row(met.memory)
        assert row["stop_results"] == CANCELLED
        if isinstance(met.b.value, Claimed):
            assert row["complete"] == 0
        else:
            assert met.b.value == Gone()
            assert (row["complete"], row["results"]) == (1, CANCELLED)


async def test_a_stop_and_a_finish_with_retry(world: World, postgres_store_url: str) -> None:
    """P6: a stopped request isn't started again, whichever comes first."""

    async def scene() -> tuple[Unit[Any], Unit[Any], int]:
        build = await world.running()
        return stop_request(build.requestid, "enough", NOW), world.finishing(build, RETRY), build.requestid

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        assert met.a.value is True
        row = await world.request_row(met.memory)
        assert (row["complete"], row["results"]) == (1, CANCELLED)
        assert met.b.value in ([CANCELLED], [RETRY])
        assert (await world.buildset_of(met.memory))["results"] == CANCELLED


async def test_a_stop_of_a_build_and_its_finish(world: World, postgres_store_url: str) -> None:
    """P6: finished is final; a stop that comes too late says so."""

    async def scene() -> tuple[Unit[Any], Unit[Any], int]:
        build = await world.running()
        return stop_build(build.id, "enough", NOW), world.finishing(build), build.requestid

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        row = await world.request_row(met.memory)
        assert (row["complete"], row["results"]) == (1, SUCCESS)
        assert met.a.value == (row["stop_results"] is not None)


async def test_two_stops(world: World, postgres_store_url: str) -> None:
    async def scene() -> tuple[Unit[Any], Unit[Any], int]:
        master = await world.master()
        request = await world.request(await world.builder(master))
        return stop_request(request, "one", NOW), stop_request(request, "two", NOW), request

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        assert sorted((met.a.value, met.b.value)) == [False, True]
        row = await world.request_row(met.memory)
        assert row["stop_reason"] == ("one" if met.a.value else "two")


async def test_two_claims_of_one_request(world: World, postgres_store_url: str) -> None:
    """P3: one of two masters builds it."""

    async def scene() -> tuple[Unit[Any], Unit[Any], int]:
        one, two = await world.master(), await world.master()
        builder = await world.builder(one)
        request = await world.request(builder)
        lock = await world.locks(1)
        claims = [
            world.claiming(request, builder, await world.worker(master), [exclusive(lock[0])], NOW + at)
            for at, master in enumerate((one, two))
        ]
        return claims[0], claims[1], request

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        outcomes = [met.a.value, met.b.value]
        assert sorted(type(each).__name__ for each in outcomes) == ["Claimed", "Gone"], outcomes
        (build,) = await world.builds_of(met.memory)
        assert (build["id"], build["number"], build["attempt"]) in outcomes


async def test_two_claims_of_one_builder(world: World, postgres_store_url: str) -> None:
    """Builds are numbered without a gap or a double."""

    async def scene() -> tuple[Unit[Any], Unit[Any], None]:
        master = await world.master()
        builder = await world.builder(master)
        claims = [
            world.claiming(await world.request(builder), builder, await world.worker(master))
            for _ in range(2)
        ]
        return claims[0], claims[1], None

    for met in await both_ways(postgres_store_url, world, scene):
        assert sorted((met.a.value.number, met.b.value.number)) == [1, 2]


async def test_a_claim_and_a_takeover_of_its_worker(world: World, postgres_store_url: str) -> None:
    """P3: the build is there for the new owner to find, or the claim is refused."""

    async def scene() -> tuple[Unit[Any], Unit[Any], tuple[int, int]]:
        master, other = await world.master(), await world.master()
        builder = await world.builder(master)
        request = await world.request(builder)
        fence = await world.worker(master)
        claim = world.claiming(request, builder, fence)
        return claim, world.attaching(fence.workerid, other), (request, other.id)

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended(Fenced)
        request, other = met.memory
        builds = await world.builds_of(request)
        assert [build["masterid"] for build in builds] == ([] if met.a.error else [other])


async def test_a_claim_and_a_detach(world: World, postgres_store_url: str) -> None:
    """A connection that goes doesn't end the attachment: the claim is good."""

    async def scene() -> tuple[Unit[Any], Unit[Any], int]:
        master = await world.master()
        builder = await world.builder(master)
        fence = await world.worker(master)
        claim = world.claiming(await world.request(builder), builder, fence)
        return claim, detach(*fence), fence.workerid

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        assert isinstance(met.a.value, Claimed)
        assert met.b.value is True
        assert (await world.row(schema.workers, met.memory))["connected"] == 0


async def test_a_priority_and_a_claim(world: World, postgres_store_url: str) -> None:
    async def scene() -> tuple[Unit[Any], Unit[Any], int]:
        master = await world.master()
        builder = await world.builder(master)
        request = await world.request(builder)
        return (
            set_priority(request, 9),
            world.claiming(request, builder, await world.worker(master)),
            request,
        )

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        assert isinstance(met.b.value, Claimed)
        row = await world.request_row(met.memory)
        assert (row["priority"], row["attempts"], row["claimed_by"] is not None) == (9, 1, True)
        assert row["version"] == 2


async def test_the_end_of_lingering_and_the_next_attempt(world: World, postgres_store_url: str) -> None:
    """P4, P7: the next attempt begins when the commands of the lost one are known dead, not before."""

    async def scene() -> tuple[Unit[Any], Unit[Any], tuple[int, int]]:
        master = await world.master()
        builder = await world.builder(master)
        (lock,) = await world.locks(1)
        build = await world.running(builderid=builder, wants=[exclusive(lock)])
        await world.store.run(world.finishing(build, RETRY, lingering=True))
        claim = world.claiming(build.requestid, builder, await world.worker(master), [exclusive(lock)])
        return end_lingering(build.id), claim, (build.requestid, lock)

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        request, lock = met.memory
        builds = await world.builds_of(request)
        if isinstance(met.b.value, Claimed):
            assert [build["lingering"] for build in builds] == [0, 0]
            assert await world.queue(lock) == [(request, 1)]
        else:
            assert met.b.value == Gone()
            assert await world.queue(lock) == []


async def test_the_end_of_lingering_and_a_claim_with_the_same_lock(
    world: World, postgres_store_url: str
) -> None:
    """P7: another request gets the lock after the end of lingering, or stands in its queue."""

    async def scene() -> tuple[Unit[Any], Unit[Any], tuple[int, int]]:
        master = await world.master()
        builder = await world.builder(master)
        (lock,) = await world.locks(1)
        build = await world.running(wants=[exclusive(lock)])
        await world.store.run(world.finishing(build, RETRY, lingering=True))
        request = await world.request(builder)
        claim = world.claiming(request, builder, await world.worker(master), [exclusive(lock)])
        return end_lingering(build.id), claim, (request, lock)

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        request, lock = met.memory
        if isinstance(met.b.value, Claimed):
            assert await world.queue(lock) == [(request, 1)]
        else:
            assert isinstance(met.b.value, NotFree)
            assert await world.queue(lock) == [(request, 0)]


async def test_the_end_of_lingering_and_a_cancel_of_its_request(
    world: World, postgres_store_url: str
) -> None:
    """P7: cancelling the request of a lost attempt doesn't free its locks; the end of lingering does."""

    async def scene() -> tuple[Unit[Any], Unit[Any], tuple[Build, int]]:
        (lock,) = await world.locks(1)
        build = await world.running(wants=[exclusive(lock)])
        await world.store.run(world.finishing(build, RETRY, lingering=True))
        return end_lingering(build.id), stop_request(build.requestid, "enough", NOW), (build, lock)

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        build, lock = met.memory
        assert await world.queue(lock) == []
        assert (await world.request_row(build.requestid))["results"] == CANCELLED


async def test_a_lingering_loss_and_a_cancel(world: World, postgres_store_url: str) -> None:
    """P7: whichever comes first, the lock stays with what may still run."""

    async def scene() -> tuple[Unit[Any], Unit[Any], tuple[Build, int]]:
        (lock,) = await world.locks(1)
        build = await world.running(wants=[exclusive(lock)])
        loss = world.finishing(build, RETRY, lingering=True)
        return loss, stop_request(build.requestid, "enough", NOW), (build, lock)

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        build, lock = met.memory
        assert await world.queue(lock) == [(build.requestid, 1)]
        assert (await world.request_row(build.requestid))["results"] == CANCELLED


async def test_two_builds_that_meet_the_same_new_tests(world: World, postgres_store_url: str) -> None:
    """Each name is stored once, whoever comes first, and nobody waits for the other in a circle."""

    async def with_set(builderid: int) -> tuple[Build, int]:
        build = await world.running(builderid=builderid)
        setid = build.id
        adding = ADD_SET(
            setid=setid,
            builderid=builderid,
            buildid=build.id,
            stepid=build.id,
            number=0,
            description=None,
            category="pass_fail",
            value_unit="boolean",
            counts=0,
        )
        await world.store.run(world.writing(build, adding))
        return build, setid

    async def scene() -> tuple[Unit[Any], Unit[Any], tuple[int, tuple[int, ...]]]:
        builderid = await world.builder(await world.master())
        results = [Result("1", f"test {i}", f"path {i}") for i in range(6)]
        (one, first), (two, second) = [await with_set(builderid) for _ in range(2)]

        def adding(build: Build, setid: int, order: list[Result]) -> Unit[Any]:
            batch = Batch(setid, "pass_fail", 0, order)
            return world.writing(build, Part(add_results_work, (builderid, [batch])), version=1)

        units = adding(one, first, results), adding(two, second, results[::-1])
        return *units, (builderid, (first, second))

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        builderid, sets = met.memory
        for table in (schema.test_names, schema.test_code_paths):
            assert len(await world.rows(table, table.c.builderid == builderid)) == 6
        for setid in sets:
            row = await world.row(schema.test_result_sets, setid)
            assert (row["tests_passed"], row["tests_failed"], row["num_results"]) == (6, 0, 6)
