"""Masters meet on PostgreSQL, at every statement, in both orders: leases, names, schedules, collapsing."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from buildwright.model.results import SKIPPED
from buildwright.store import schema
from buildwright.store.base import Store
from buildwright.store.unit import Fenced, Unit
from buildwright.store.units import leases, schedulers
from buildwright.store.units.buildsets import add_buildset
from buildwright.store.units.changes import NewChange, add_changes
from buildwright.store.units.claims import Claimed, Gone, stop_request
from buildwright.store.units.collapse import collapse
from buildwright.store.units.registry import BuilderRow, CodebaseRow, ProjectRow, register
from buildwright.store.units.schedulers import Decision, Settlement, Wish, settle
from tests.store.scenes import NOW, Master, World, both_ways
from tests.support.stores import started


@pytest.fixture
async def store(postgres_store_url: str) -> AsyncIterator[Store]:
    async with started(postgres_store_url) as store:
        yield store


@pytest.fixture
def world(store: Store) -> World:
    return World.on(store)


# -- leases -----------------------------------------------------------------------------------------------


async def test_a_renewal_and_a_retirement(world: World, postgres_store_url: str) -> None:
    """P3: a master that was declared dead learns it by renewing; one that renewed isn't declared dead."""

    async def scene() -> tuple[Unit[Any], Unit[Any], Master]:
        master = await world.master()
        return (
            leases.renew(master.id, master.term, NOW),
            leases.retire(master.id, master.term, 0),
            master,
        )

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended(Fenced)
        assert met.b.value == (met.a.error is not None), met.order
        row = await world.row(schema.masters, met.memory.id)
        assert (row["active"], row["beat"]) == ((0, 0) if met.b.value else (1, 1))


async def test_a_taking_and_a_retirement(world: World, postgres_store_url: str) -> None:
    """The new incarnation's lease and worker stay, whoever was faster."""

    async def scene() -> tuple[Unit[Any], Unit[Any], Master]:
        master = await world.master()
        await world.worker(master)
        return leases.take(master.name, NOW), leases.retire(master.id, master.term, 0), master

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        assert met.a.value == (met.memory.id, 2)
        row = await world.row(schema.masters, met.memory.id)
        assert (row["active"], row["term"], row["beat"]) == (1, 2, 0)


async def test_a_taking_and_a_frozen_incarnations_leave(world: World, postgres_store_url: str) -> None:
    """P3: what a former incarnation gives up is its own."""

    async def scene() -> tuple[Unit[Any], Unit[Any], tuple[Master, int]]:
        master = await world.master()
        ids = await world.store.run(schedulers.register([Wish(world.name("s"))]))
        (scheduler,) = ids.values()
        await world.store.run(schedulers.take([scheduler], master.id))
        return leases.take(master.name, NOW), leases.leave(master.id, master.term), (master, scheduler)

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        master, scheduler = met.memory
        assert met.a.value == (master.id, 2)
        assert (await world.row(schema.masters, master.id))["active"] == 1
        assert (await world.row(schema.schedulers, scheduler))["masterid"] is None


async def test_a_retirement_and_an_attaching(world: World, postgres_store_url: str) -> None:
    """P3: nobody attaches a worker under a lease that is over."""

    async def scene() -> tuple[Unit[Any], Unit[Any], tuple[Master, int]]:
        master, other = await world.master(), await world.master()
        fence = await world.worker(other)
        attaching = world.attaching(fence.workerid, master)
        return leases.retire(master.id, master.term, 0), attaching, (master, fence.workerid)

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended(Fenced)
        assert met.a.value is True
        master, workerid = met.memory
        worker = await world.row(schema.workers, workerid)
        attached = met.b.error is None
        assert (worker["masterid"] == master.id) == attached
        # Retired after it had attached: the worker counts as not connected.
        assert worker["connected"] == (0 if attached else 1)


async def test_two_observers_retire_one_master(world: World, postgres_store_url: str) -> None:
    async def scene() -> tuple[Unit[Any], Unit[Any], None]:
        dead = await world.master()
        for _ in range(2):
            await world.worker(dead)
        return leases.retire(dead.id, dead.term, 0), leases.retire(dead.id, dead.term, 0), None

    for met in await both_ways(postgres_store_url, world, scene):
        assert sorted((met.a.value, met.b.value)) == [False, True]


# -- registering ------------------------------------------------------------------------------------------


def builder(name: str, description: str, *workers: str) -> BuilderRow:
    return BuilderRow(name, description, None, "[]", None, workers)


@pytest.mark.parametrize("what", ["projects", "codebases", "workers", "builders", "changes"])
async def test_two_masters_register_the_same_names(world: World, postgres_store_url: str, what: str) -> None:
    """New rows and changed ones alike, whatever the order of the two configurations.

    Each kind by itself: the first rows that are new to both make one wait for the other's end.
    """

    async def scene() -> tuple[Unit[Any], Unit[Any], tuple[list[str], Master, Master]]:
        one, two = await world.master(), await world.master()
        names = [world.name("b") for _ in range(2)]
        workers = [world.name("w") for _ in range(2)]
        projects = [ProjectRow(world.name("p"), "slug", "described") for _ in range(2)]
        codebases = [CodebaseRow(project.name, "code", "slug") for project in projects]
        before = [project._replace(description="old") for project in projects]
        known = names if what != "builders" else []
        await world.store.run(
            register(
                one.id,
                [builder(name, "old" if what == "changes" else "new") for name in known],
                workers if what != "workers" else [],
                (before if what == "changes" else projects) if what != "projects" else [],
                codebases if what not in ("projects", "codebases") else [],
            )
        )
        rows = [builder(name, "new", *workers) for name in names]
        return (
            register(one.id, rows, workers, projects, codebases),
            register(two.id, rows[::-1], workers[::-1], projects[::-1], codebases[::-1]),
            (names, one, two),
        )

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        assert met.a.value[:2] == met.b.value[:2]
        names, *masters = met.memory
        for name in names:
            builderid = met.a.value.builders[name]
            assert (await world.row(schema.builders, builderid))["description"] == "new"
            for table in (schema.builder_masters, schema.configured_workers):
                found = await world.rows(table, table.c.builderid == builderid)
                assert {row["masterid"] for row in found} == {master.id for master in masters}


async def test_a_registration_and_a_claim(world: World, postgres_store_url: str) -> None:
    """The counter of a builder that is changed meanwhile counts on."""

    async def scene() -> tuple[Unit[Any], Unit[Any], int]:
        master = await world.master()
        names = [world.name("b") for _ in range(2)]
        ids = await world.store.run(register(master.id, [builder(name, "old") for name in names], []))
        builderid = ids.builders[names[0]]
        claim = world.claiming(await world.request(builderid), builderid, await world.worker(master))
        return register(master.id, [builder(name, "new") for name in names], []), claim, builderid

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        assert isinstance(met.b.value, Claimed)
        row = await world.row(schema.builders, met.memory)
        assert (row["description"], row["next_number"]) == ("new", 2)


@pytest.mark.parametrize("known", [0, 3])
async def test_two_masters_register_the_same_schedulers(
    world: World, postgres_store_url: str, known: int
) -> None:
    async def scene() -> tuple[Unit[Any], Unit[Any], list[Wish]]:
        names = [world.name("s") for _ in range(3)]
        await world.store.run(schedulers.register([Wish(name) for name in names[:known]]))
        wishes = [Wish(name, changes=True, upstreams=(names[0], names[2])) for name in names]
        return schedulers.register(wishes), schedulers.register(wishes[::-1]), wishes

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        ids = met.a.value
        assert ids == met.b.value
        for wish in met.memory:
            assert (await world.row(schema.schedulers, ids[wish.name]))["wants_changes"] == 1
            upstreams = schema.scheduler_upstreams
            found = await world.rows(upstreams, upstreams.c.schedulerid == ids[wish.name])
            assert {row["upstreamid"] for row in found} == {ids[name] for name in wish.upstreams}


async def test_two_masters_take_one_scheduler(world: World, postgres_store_url: str) -> None:
    async def scene() -> tuple[Unit[Any], Unit[Any], tuple[int, list[int]]]:
        one, two = await world.master(), await world.master()
        (scheduler,) = (await world.store.run(schedulers.register([Wish(world.name("s"))]))).values()
        return (
            schedulers.take([scheduler], one.id),
            schedulers.take([scheduler], two.id),
            (scheduler, [one.id, two.id]),
        )

    for met in await both_ways(postgres_store_url, world, scene):
        scheduler, masters = met.memory
        taken = [bool(met.a.value), bool(met.b.value)]
        assert sorted(taken) == [False, True]
        row = await world.row(schema.schedulers, scheduler)
        assert row["masterid"] == masters[taken.index(True)]


# -- acting once ------------------------------------------------------------------------------------------


async def test_two_masters_settle_one_cause(world: World, postgres_store_url: str) -> None:
    """P2: one due point, one buildset; who comes second is told to look again."""

    async def scene() -> tuple[Unit[Any], Unit[Any], int]:
        master = await world.master()
        builderid = await world.builder(master)
        (scheduler,) = (await world.store.run(schedulers.register([Wish(world.name("s"))]))).values()
        buildset = {"sourcestamps": [{"revision": world.name("r")}], "builderids": [builderid]}
        decision = Decision("{}", [Settlement("due 1", buildset)])
        return settle(scheduler, 0, decision, NOW), settle(scheduler, 0, decision, NOW), scheduler

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        made = [each for each in (met.a.value, met.b.value) if each is not None]
        assert len(made) == 1
        found = await world.rows(schema.buildsets, schema.buildsets.c.schedulerid == met.memory)
        assert [row["id"] for row in found] == [made[0][0][0]]
        (cause,) = await world.rows(
            schema.scheduler_causes, schema.scheduler_causes.c.schedulerid == met.memory
        )
        assert (cause["cause"], cause["buildsetid"]) == ("due 1", made[0][0][0])


async def test_a_decision_and_disabling(world: World, postgres_store_url: str) -> None:
    """What was decided before the disabling and comes after it is refused."""

    async def scene() -> tuple[Unit[Any], Unit[Any], int]:
        master = await world.master()
        builderid = await world.builder(master)
        (scheduler,) = (await world.store.run(schedulers.register([Wish(world.name("s"))]))).values()
        buildset = {"sourcestamps": [{}], "builderids": [builderid]}
        decision = Decision("{}", [Settlement("due 1", buildset)])
        return settle(scheduler, 0, decision, NOW), schedulers.enable(scheduler, False), scheduler

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        row = await world.row(schema.schedulers, met.memory)
        assert (row["enabled"], row["version"]) == (0, 1 if met.a.value is None else 2)


async def test_two_calls_with_one_key(world: World, postgres_store_url: str) -> None:
    """P1: a repetition, also one that runs at the same time, gets the first one's answer."""

    async def scene() -> tuple[Unit[Any], Unit[Any], str]:
        builderid = await world.builder(await world.master())
        key = world.name("key")
        calls = [
            add_buildset(
                sourcestamps=[{"revision": key, "patch": {"body": b"x"}}],
                builderids=[builderid],
                now_us=NOW,
                key=key,
                reason=key,
            )
            for _ in range(2)
        ]
        return calls[0], calls[1], key

    for met in await both_ways(postgres_store_url, world, scene):
        assert met.a.value == met.b.value
        found = await world.rows(schema.buildsets, schema.buildsets.c.reason == met.memory)
        assert [row["id"] for row in found] == [met.a.value[0]]


async def test_two_deliveries_of_the_same_changes(world: World, postgres_store_url: str) -> None:
    """P1: each change is taken once, and each scheduler that wants changes has it once in its inbox."""
    ids = await world.store.run(schedulers.register([Wish(world.name("s"), changes=True)]))
    (scheduler,) = ids.values()

    async def scene() -> tuple[Unit[Any], Unit[Any], None]:
        names = [world.name("rev") for _ in range(2)]
        changes = [NewChange("me", revision=name, identity=name) for name in names]
        return add_changes(changes, NOW), add_changes(changes, NOW), None

    for met in await both_ways(postgres_store_url, world, scene):
        assert [taken.changeid for taken in met.a.value] == [taken.changeid for taken in met.b.value]
        new = [taken.new for taken in [*met.a.value, *met.b.value]]
        assert sorted(new) == [False, False, True, True]
        for taken in met.a.value:
            inbox = schema.scheduler_changes
            (row,) = await world.rows(inbox, inbox.c.changeid == taken.changeid)
            assert row["schedulerid"] == scheduler


# -- collapsing -------------------------------------------------------------------------------------------


async def waiting(world: World, count: int) -> list[int]:
    builderid = await world.builder(await world.master())
    return [await world.request(builderid) for _ in range(count)]


async def test_two_masters_collapse_the_same_two(world: World, postgres_store_url: str) -> None:
    """P6: one of them stays, also when both try."""

    async def scene() -> tuple[Unit[Any], Unit[Any], list[int]]:
        requests = await waiting(world, 2)
        return collapse(requests[0], requests[1], NOW), collapse(requests[0], requests[1], NOW), requests

    for met in await both_ways(postgres_store_url, world, scene):
        assert sorted((met.a.value, met.b.value)) == [False, True]
        rows = [await world.request_row(each) for each in met.memory]
        assert [(row["complete"], row["results"]) for row in rows] == [(1, SKIPPED), (0, -1)]


async def test_a_chain_is_collapsed_from_both_ends(world: World, postgres_store_url: str) -> None:
    async def scene() -> tuple[Unit[Any], Unit[Any], list[int]]:
        first, second, third = await waiting(world, 3)
        return collapse(first, second, NOW), collapse(second, third, NOW), [first, second, third]

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        rows = [await world.request_row(each) for each in met.memory]
        assert [row["complete"] for row in rows] == [int(met.a.value), int(met.b.value), 0]
        assert met.b.value is True


@pytest.mark.parametrize("claimed", [0, 1], ids=["lower", "higher"])
async def test_a_collapse_and_a_claim(world: World, postgres_store_url: str, claimed: int) -> None:
    """P6: of the two at least one is built: what was claimed is, and nothing makes room for what is gone."""

    async def scene() -> tuple[Unit[Any], Unit[Any], list[int]]:
        master = await world.master()
        builderid = await world.builder(master)
        requests = [await world.request(builderid) for _ in range(2)]
        claim = world.claiming(requests[claimed], builderid, await world.worker(master))
        return collapse(requests[0], requests[1], NOW), claim, requests

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        if claimed == 0:
            assert met.a.value == (met.b.value == Gone())
        else:
            assert isinstance(met.b.value, Claimed)
        lower, higher = [await world.request_row(each) for each in met.memory]
        assert (lower["complete"], higher["complete"]) == (int(met.a.value), 0)


async def test_a_collapse_and_a_cancel_of_the_higher(world: World, postgres_store_url: str) -> None:
    """What was cancelled answers for nobody: the lower one is skipped only before."""

    async def scene() -> tuple[Unit[Any], Unit[Any], list[int]]:
        requests = await waiting(world, 2)
        return collapse(requests[0], requests[1], NOW), stop_request(requests[1], "enough", NOW), requests

    for met in await both_ways(postgres_store_url, world, scene):
        met.ended()
        assert met.b.value is True
        lower, higher = [await world.request_row(each) for each in met.memory]
        assert (lower["complete"], higher["complete"]) == (int(met.a.value), 1)
