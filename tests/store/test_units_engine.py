"""Attaching, writing behind the fence, losing and leases, on every database."""

from typing import Any

import pytest

from buildwright.builds.losing import lose_builds
from buildwright.logs.append import Piece, split
from buildwright.model.results import RETRY, SUCCESS
from buildwright.store import schema
from buildwright.store.base import Store
from buildwright.store.unit import Fenced, Hint, Unit, Work
from buildwright.store.units import leases
from buildwright.store.units.attach import (
    attach,
    builds_to_watch,
    detach,
    lingering_builds,
    open_builds,
)
from buildwright.store.units.claims import end_lingering
from buildwright.store.units.engine import (
    FINISH_STEP,
    KEEP_PROPERTIES_BEFORE,
    NEXT_TRY,
    NOTE,
    NOTE_ADDED_STEPS,
    SAY_STEP_STATE,
    SETTLE,
    START_STEP,
    Fence,
    Operation,
    Part,
)
from buildwright.store.units.logs import LogState, add_log_work, append_work
from buildwright.store.units.schedulers import Wish, register, take
from tests.store.scenes import NOW, Build, World, exclusive


@pytest.fixture
def world(store: Store) -> World:
    return World.on(store)


OF_A_STEP = (schema.steps, schema.logs, schema.journal)


def start_step(build: Build, stepid: int, number: int = 0) -> Any:
    return START_STEP(
        stepid=stepid,
        buildid=build.id,
        number=number,
        name=f"step {number}",
        now_us=NOW,
        locks_acquired_at=NOW,
        state="starting",
        fingerprint="f",
        arguments=b"args",
    )


def finish_step(stepid: int, results: int = SUCCESS) -> Any:
    return FINISH_STEP(stepid=stepid, now_us=NOW, to_results=results, state="done", to_hidden=0)


def note(stepid: int, seq: int, of_try: int = 0) -> Any:
    return NOTE(
        stepid=stepid,
        of_try=of_try,
        seq=seq,
        kind="command",
        fingerprint="f",
        logid=None,
        done=0,
        outcome=None,
    )


def begin_step(build: Build, stepid: int) -> list[Operation]:
    """What a step that is a command begins with."""
    log = Part(add_log_work, (stepid, stepid, "stdio", "stdio", "s"))
    told = Hint("steps", stepid, "started")
    return [start_step(build, stepid), told, log, note(stepid, 0)]


# -- the fence --------------------------------------------------------------------------------------------


async def test_a_write_with_an_old_attachment_is_refused(world: World) -> None:
    """P3: also by the same master, when the worker has attached to it again."""
    build = await world.running()
    old = world.writing(build, start_step(build, 1), state="written")
    old_step = world.writing(build, *begin_step(build, 1), state="written")
    master = await world.master()
    await world.attached(build.fence.workerid, master)
    before = (await world.builds_of(build.requestid), await world.rows(schema.steps))
    for late in (old, old_step, world.finishing(build)):
        with pytest.raises(Fenced):
            await world.store.run(late)
    assert (await world.builds_of(build.requestid), await world.rows(schema.steps)) == before
    fence = await world.attached(build.fence.workerid, master)
    await world.store.run(world.writing(Build(build.id, 0, 0, 0, fence), state="written"))
    assert (await world.row(schema.builds, build.id))["state_string"] == "written"


async def test_a_write_that_is_run_again_changes_nothing(world: World) -> None:
    """P10: the answer to its commit was lost."""
    build = await world.running()
    write = world.writing(build, start_step(build, 1), note(1, 0))
    assert await world.store.run(write) == []
    before = [await world.rows(table) for table in (schema.builds, schema.steps, schema.journal)]
    assert await world.store.run(write) == []
    assert [await world.rows(table) for table in (schema.builds, schema.steps, schema.journal)] == before


async def test_a_begun_step_that_is_run_again_changes_nothing(world: World) -> None:
    """P10"""
    build = await world.running()
    told: list[Hint] = []
    world.store.on_hints = told.extend
    begin = world.writing(build, *begin_step(build, 1), state="building", properties="{}")
    assert len(await world.store.run(begin)) == 1
    assert sorted(told) == [Hint("logs", 1, "new"), Hint("steps", 1, "started")]
    before = [await world.rows(table) for table in (schema.builds, *OF_A_STEP)]
    assert await world.store.run(begin) == []
    assert [await world.rows(table) for table in (schema.builds, *OF_A_STEP)] == before
    assert (before[0][-1]["state_string"], before[0][-1]["version"]) == ("building", 1)


async def test_a_step_begins_the_same_also_with_more_to_write(world: World) -> None:
    """In one statement, where that can be, or step by step."""
    for stepid, more in ((1, []), (2, [SAY_STEP_STATE(stepid=2, state="starting")])):
        build = await world.running()
        await world.store.run(world.writing(build, *begin_step(build, stepid), *more))
    for table in OF_A_STEP:
        one, two = (
            {name: value for name, value in row.items() if name not in ("id", "stepid", "buildid")}
            for row in await world.rows(table)
        )
        assert one == two


async def test_a_finish_that_is_run_again_changes_nothing(world: World) -> None:
    build = await world.running()
    finish = world.finishing(build)
    assert await world.store.run(finish) == [SUCCESS]
    before = await world.builds_of(build.requestid)
    assert await world.store.run(finish) == []
    assert await world.builds_of(build.requestid) == before


async def test_a_former_owners_write_is_refused_though_its_successor_wrote_as_often(world: World) -> None:
    """P3: a version that has moved is no proof that this writer moved it."""
    build = await world.running()
    lost = world.writing(build, state="old owner")
    fence = await world.attached(build.fence.workerid, await world.master())
    successor = Build(build.id, build.requestid, build.number, build.attempt, fence)
    await world.store.run(world.writing(successor, state="new owner"))
    with pytest.raises(Fenced):
        await world.store.run(lost)
    row = await world.row(schema.builds, build.id)
    assert (row["state_string"], row["version"]) == ("new owner", 1)


async def test_writes_are_in_order(world: World) -> None:
    build = await world.running()
    with pytest.raises(Fenced):
        await world.store.run(world.writing(build, version=1))
    for version in range(3):
        await world.store.run(world.writing(build, version=version))
    with pytest.raises(Fenced):
        await world.store.run(world.writing(build, version=1))


async def test_a_write_is_whole(world: World) -> None:
    """One part that refuses undoes all of it; results of parts come in their order."""
    build = await world.running()

    def number(value: int) -> Work[int]:
        yield Hint("builds", value)
        return value

    def refuse() -> Work[None]:
        yield note(1, 0)
        raise Fenced("not this one")

    assert await world.store.run(world.writing(build, Part(number, (1,)), Part(number, (2,)))) == [1, 2]
    refused = world.writing(build, start_step(build, 1), Part(refuse, ()), version=1, state="half")
    with pytest.raises(Fenced):
        await world.store.run(refused)
    assert await world.rows(schema.steps) == []
    row = await world.row(schema.builds, build.id)
    assert (row["version"], row["state_string"]) == (1, "starting")


async def test_a_step_is_finished_once(world: World) -> None:
    """P6"""
    build = await world.running()
    await world.store.run(world.writing(build, start_step(build, 1), finish_step(1)))
    await world.store.run(world.writing(build, finish_step(1, RETRY), version=1))
    assert (await world.row(schema.steps, 1))["results"] == SUCCESS


# -- attaching --------------------------------------------------------------------------------------------


async def test_attaching_moves_builds_and_tells_who_held_the_worker(world: World) -> None:
    build, other = await world.running(), await world.running()
    workerid = build.fence.workerid
    master = await world.master()
    call = world.attaching(workerid, master)
    first = await world.store.run(call)
    assert first == (2, build.fence.masterid, "boot", "ledger", False, False)
    assert await world.store.run(call) == first, "run again: what was there before it first ran"
    assert (await world.row(schema.workers, workerid))["attachment"] == 2
    again = await world.store.run(world.attaching(workerid, master))
    assert again == (3, master.id, "boot", "ledger", False, False), (
        "nobody has said that it is another process"
    )
    fence = Fence(workerid, 3, master.id)
    await world.store.run(world.adopting(fence, "new boot", "new ledger"))
    third = await world.store.run(world.attaching(workerid, master))
    assert third == (4, master.id, "new boot", "new ledger", False, False)
    with pytest.raises(Fenced):
        await world.store.run(world.adopting(fence))
    (row,) = await world.builds_of(build.requestid)
    assert row["masterid"] == (await world.request_row(build.requestid))["claimed_by"] == master.id
    (row,) = await world.builds_of(other.requestid)
    assert row["masterid"] == other.fence.masterid


async def test_attaching_needs_the_lease(world: World) -> None:
    """P3"""
    master = await world.master()
    fence = await world.worker(master)
    _, term = await world.store.run(leases.take(master.name, NOW))
    with pytest.raises(Fenced):
        await world.store.run(world.attaching(fence.workerid, master))
    await world.store.run(leases.leave(master.id, term))
    with pytest.raises(Fenced):
        await world.store.run(attach(workerid=fence.workerid, masterid=master.id, term=term, info="{}"))
    assert (await world.row(schema.workers, fence.workerid))["attachment"] == fence.attachment


async def test_detaching_is_of_one_attachment(world: World) -> None:
    master = await world.master()
    old = await world.worker(master)
    fence = await world.attached(old.workerid, master)
    assert await world.store.run(detach(*old)) is False
    assert (await world.row(schema.workers, fence.workerid))["connected"] == 1
    assert await world.store.run(detach(*fence)) is True
    row = await world.row(schema.workers, fence.workerid)
    assert (row["connected"], row["attachment"], row["masterid"]) == (0, fence.attachment, master.id)


async def test_a_successor_reads_all_that_it_needs(world: World) -> None:
    build = await world.running()
    operations = [start_step(build, 1), note(1, 0), note(1, 1), NOTE_ADDED_STEPS(stepid=1), finish_step(1)]
    operations += [start_step(build, 2, 1), note(2, 0), finish_step(2)]
    operations += [start_step(build, 3, 2), note(3, 0)]
    operations += [KEEP_PROPERTIES_BEFORE(stepid=3, properties=text) for text in ("{0}", "{1}")]
    operations += [Part(add_log_work, (stepid, stepid, "stdio", "stdio", "s")) for stepid in (2, 3)]
    settle = SETTLE(of_stepid=3, of_try=0, of_seq=0, next_record=7, whole=b"outcome")
    await world.store.run(world.writing(build, *operations, settle, properties="{1}"))
    found = await world.store.read(open_builds(build.fence.workerid))
    (row,) = found.builds
    assert (row.buildid, row.requestid, row.version, row.properties) == (build.id, build.requestid, 1, "{1}")
    assert [(step.stepid, step.complete_at is None) for step in found.steps] == [
        (1, False),
        (2, False),
        (3, True),
    ]
    assert found.steps[2].properties_before == "{0}", "the first that were kept"
    # Of finished steps only those that added some are run again.
    assert [(entry.stepid, entry.seq, entry.done, entry.acked, entry.outcome) for entry in found.journal] == [
        (1, 0, 0, 0, None),
        (1, 1, 0, 0, None),
        (3, 0, 1, 7, b"outcome"),
    ]
    assert [log.logid for log in found.logs] == [3]
    await world.store.run(world.writing(build, NEXT_TRY(stepid=3, new_try=1), note(3, 0, 1), version=1))
    found = await world.store.read(open_builds(build.fence.workerid))
    assert found.steps[2].tries == 1
    assert [(entry.tries, entry.seq) for entry in found.journal if entry.stepid == 3] == [(0, 0), (1, 0)]
    await world.store.run(world.finishing(build, version=2))
    assert await world.store.read(open_builds(build.fence.workerid)) == ([], [], [], [])


# -- losing -----------------------------------------------------------------------------------------------


def losing(build: Build, buildids: list[int] | None = None, *, lingering: bool = True) -> Unit[int]:
    return lose_builds(
        workerid=build.fence.workerid,
        attachment=build.fence.attachment,
        masterid=build.fence.masterid,
        buildids=buildids,
        results=RETRY,
        why="the worker is gone",
        lingering=lingering,
        now_us=NOW,
    )


async def watched(world: World, build: Build) -> tuple[int, int, bool]:
    """What its master knows of a build's worker when it starts: id, attachment, whether a build is open."""
    (row,) = await world.store.read(builds_to_watch(build.fence.masterid))
    return row[0], row[1], row[-1]


async def test_losing_a_worker_ends_its_builds_and_fences_their_writers(world: World) -> None:
    (lock,) = await world.locks(1)
    build = await world.running(wants=[exclusive(lock)])
    log = Part(add_log_work, (5, 1, "stdio", "stdio", "s"))
    chunks, state = split(LogState(), [Piece("o", NOW, "1.0.0", b"half a line")])
    await world.store.run(
        world.writing(build, start_step(build, 1), log, Part(append_work, (5, 0, chunks, state)))
    )
    assert await world.store.run(losing(build)) == 1
    with pytest.raises(Fenced):
        await world.store.run(world.writing(build, version=1))
    (row,) = await world.builds_of(build.requestid)
    assert (row["results"], row["state_string"], row["lingering"]) == (RETRY, "the worker is gone", 1)
    step = await world.row(schema.steps, 1)
    assert (step["results"], step["complete_at"]) == (RETRY, NOW)
    stored = await world.row(schema.logs, 5)
    assert (stored["complete"], stored["num_lines"]) == (1, 1)
    assert await world.queue(lock) == [(build.requestid, 1)]
    assert await world.store.read(lingering_builds(build.fence.workerid)) == [(build.id, row["builderid"])]
    assert await watched(world, build) == (build.fence.workerid, build.fence.attachment + 1, False)
    await world.store.run(end_lingering(build.id))
    assert await world.store.read(builds_to_watch(build.fence.masterid)) == []
    await world.check()


async def test_what_ran_nothing_does_not_linger(world: World) -> None:
    (lock,) = await world.locks(1)
    build = await world.running(wants=[exclusive(lock)])
    assert await watched(world, build) == (build.fence.workerid, build.fence.attachment, True)
    await world.store.run(losing(build))
    assert await world.queue(lock) == []
    assert await world.store.read(lingering_builds(build.fence.workerid)) == []


async def test_losing_some_builds_keeps_the_others(world: World) -> None:
    master = await world.master()
    fence = await world.worker(master)
    builds = []
    for _ in range(2):
        builder = await world.builder(master)
        builds.append(await world.claimed(await world.request(builder), builder, fence))
    kept, lost = builds
    assert await world.store.run(losing(lost, [lost.id], lingering=False)) == 1
    with pytest.raises(Fenced):
        await world.store.run(world.writing(lost))
    await world.store.run(world.writing(kept))
    assert await world.store.run(losing(lost, [lost.id])) == 0
    await world.check()


async def test_losing_needs_the_attachment(world: World) -> None:
    build = await world.running()
    await world.attached(build.fence.workerid, await world.master())
    with pytest.raises(Fenced):
        await world.store.run(losing(build))


# -- leases -----------------------------------------------------------------------------------------------


async def test_a_lease(world: World) -> None:
    name = "ci.example.org:/srv/ci"
    masterid, term = await world.store.run(leases.take(name, NOW))
    assert [await world.store.run(leases.renew(masterid, term, NOW)) for _ in range(2)] == [1, 2]
    assert await world.store.read(leases.seen()) == [(masterid, name, term, 2, 1)]
    assert await world.store.run(leases.retire(masterid, term, 1)) is False, "it has renewed since"
    assert await world.store.run(leases.take(name, NOW)) == (masterid, term + 1)
    for late in (leases.renew(masterid, term, NOW),):
        with pytest.raises(Fenced):
            await world.store.run(late)
    assert await world.store.run(leases.retire(masterid, term, 2)) is False, "another incarnation"
    assert await world.store.run(leases.retire(masterid, term + 1, 0)) is True
    with pytest.raises(Fenced):
        await world.store.run(leases.renew(masterid, term + 1, NOW))


async def test_whose_lease_ends_leaves_what_others_may_take(world: World) -> None:
    """P10: schedulers and waiting places at once; builds stay with their workers' attachments."""
    master = await world.master()
    builder = await world.builder(master)
    build = await world.claimed(await world.request(builder), builder, await world.worker(master))
    (scheduler,) = (await world.store.run(register([Wish("s")]))).values()
    assert await world.store.run(take([scheduler], master.id)) == [scheduler]
    other = await world.master()
    assert await world.store.run(take([scheduler], other.id)) == []
    await world.store.run(leases.leave(master.id, master.term - 1))
    assert await world.store.run(take([scheduler], other.id)) == [], "a former incarnation leaves nothing"
    await world.store.run(leases.leave(master.id, master.term))
    assert await world.store.run(take([scheduler], other.id)) == [scheduler]
    row = await world.row(schema.workers, build.fence.workerid)
    assert (row["connected"], row["masterid"]) == (0, master.id)
    (row,) = await world.builds_of(build.requestid)
    assert (row["complete_at"], row["masterid"]) == (None, master.id)
    moved = await world.attached(build.fence.workerid, other)
    await world.store.run(world.finishing(Build(build.id, build.requestid, 1, 1, moved)))
    await world.check()
