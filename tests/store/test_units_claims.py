"""From a request to a build and back, on every database: claiming, finishing, stopping, asking again."""

from typing import Any

import pytest

from buildwright.model.results import (
    CANCELLED,
    EXCEPTION,
    FAILURE,
    RETRY,
    SKIPPED,
    SUCCESS,
    WARNINGS,
    Results,
)
from buildwright.store import schema
from buildwright.store.base import Store
from buildwright.store.unit import Fenced, Hint, unit
from buildwright.store.units.changes import NewChange, add_changes
from buildwright.store.units.claims import (
    Claimed,
    Gone,
    end_lingering,
    facts,
    pending_builders,
    say_builders_wait,
    say_request_waits,
    stop_request,
    stops,
    waiting,
)
from buildwright.store.units.collapse import collapse
from buildwright.store.units.control import rebuild, set_priority, stop_build
from buildwright.store.units.engine import Fence
from buildwright.store.units.finishing import MAX_ATTEMPTS, finish_build_work
from buildwright.store.units.schedulers import Wish, register
from tests.store.scenes import NOW, Build, World


@pytest.fixture
def world(store: Store) -> World:
    return World.on(store)


@pytest.fixture
def told(store: Store) -> list[Hint]:
    hints: list[Hint] = []
    store.on_hints = hints.extend
    return hints


async def place(world: World) -> tuple[int, Fence]:
    """A builder and an attached worker."""
    master = await world.master()
    return await world.builder(master), await world.worker(master)


# -- claiming -----------------------------------------------------------------------------------------------


async def test_a_claim_makes_a_build(world: World, told: list[Hint]) -> None:
    builder, fence = await place(world)
    request = await world.request(builder)
    told.clear()
    outcome = await world.store.run(world.claiming(request, builder, fence))
    assert isinstance(outcome, Claimed)
    assert outcome[1:] == (1, 1)
    (build,) = await world.builds_of(request)
    assert (build["id"], build["workerid"], build["masterid"], build["started_at"]) == (
        outcome.buildid,
        fence.workerid,
        fence.masterid,
        NOW,
    )
    row = await world.request_row(request)
    assert (row["claimed_by"], row["claimed_at"], row["attempts"]) == (fence.masterid, NOW, 1)
    assert told == [Hint("buildrequests", request, "claimed"), Hint("builds", outcome.buildid, "new")]


async def test_a_claim_that_is_run_again_finds_its_own_build(world: World) -> None:
    """P10: the answer to its commit was lost; the build must not be left without a runner."""
    builder, fence = await place(world)
    request = await world.request(builder)
    claim = world.claiming(request, builder, fence)
    first = await world.store.run(claim)
    assert await world.store.run(claim) == first
    assert len(await world.builds_of(request)) == 1
    other = world.claiming(request, builder, fence, now_us=NOW + 1)
    assert await world.store.run(other) == Gone()


@pytest.mark.parametrize("what", ["claimed", "stopped", "complete"])
async def test_what_is_gone_is_not_claimed(world: World, what: str) -> None:
    builder, fence = await place(world)
    request = await world.request(builder)
    if what != "stopped":
        build = await world.claimed(request, builder, await world.worker(await world.master()))
        if what == "complete":
            await world.store.run(world.finishing(build))
    else:
        await world.store.run(stop_request(request, "enough", NOW))
    builds = await world.builds_of(request)
    assert await world.store.run(world.claiming(request, builder, fence)) == Gone()
    assert await world.builds_of(request) == builds
    assert await world.store.read(waiting(builder, 10)) == ([], [], [], [])


async def test_a_claim_needs_the_attachment(world: World) -> None:
    """P3: another number, another master, another worker: each is refused, and nothing has changed."""
    builder, fence = await place(world)
    request = await world.request(builder)
    other = await world.worker(await world.master())
    for wrong in (
        fence._replace(attachment=fence.attachment + 1),
        fence._replace(masterid=other.masterid),
        fence._replace(workerid=other.workerid),
    ):
        with pytest.raises(Fenced):
            await world.store.run(world.claiming(request, builder, wrong))
    assert (await world.request_row(request))["claimed_by"] is None


async def test_requests_wait_by_priority_then_by_age(world: World) -> None:
    builder, fence = await place(world)
    first = [await world.request(builder, priority=each) for each in (0, 5, -1, 5, 0)]
    order = [first[1], first[3], first[0], first[4], first[2]]
    page = await world.store.read(waiting(builder, 10))
    assert [each.requestid for each in page.requests] == order
    page = await world.store.read(waiting(builder, 2))
    assert [each.requestid for each in page.requests] == order[:2]
    await world.store.run(set_priority(first[2], 7))
    await world.claimed(first[1], builder, fence)
    page = await world.store.read(waiting(builder, 10))
    assert [each.requestid for each in page.requests] == [first[2], first[3], first[0], first[4]]


async def test_what_a_request_is_for_is_read_with_it(world: World) -> None:
    builder, _ = await place(world)
    [taken] = await world.store.run(add_changes([NewChange("me", revision="r1", files=["a"])], NOW))
    patch = {"level": 1, "body": b"diff\xff", "author": "me"}
    request = await world.request(
        builder,
        sourcestamps=[{"codebase": "b", "revision": "r1"}, {"codebase": "a", "patch": patch}],
        reason="because",
        properties={"x": (1, "Test")},
        parent_buildid=77,
        waited_for=True,
        changeids=[taken.changeid],
    )
    other = await world.request(builder)
    page = await world.store.read(waiting(builder, 1))
    (one,) = page.requests
    assert (one.requestid, one.reason, one.properties, one.parent_buildid, one.waited_for) == (
        request,
        "because",
        '{"x":[1,"Test"]}',
        77,
        1,
    )
    assert [(stamp.codebase, stamp.revision) for stamp in page.stamps] == [("a", None), ("b", "r1")]
    assert [(change.changeid, change.files) for change in page.changes] == [(taken.changeid, '["a"]')]
    assert [(each.id, each.body, each.level) for each in page.patches] == [
        (page.stamps[0].patchid, b"diff\xff", 1)
    ]
    await world.store.run(stop_request(other, "enough", NOW))
    known = await world.store.read(facts([request, other]))
    assert {each.requestid for each in known.requests} == {request, other}, "whatever their state"


async def test_builders_with_waiting_requests(world: World) -> None:
    (one, fence), (two, _), (idle, _) = [await place(world) for _ in range(3)]
    await world.request(one, priority=3)
    await world.request(one, priority=1)
    await world.request(two, priority=2)
    assert sorted(await world.store.read(pending_builders([one, two, idle]))) == [
        (one, 3, NOW),
        (two, 2, NOW),
    ]
    assert [row[0] for row in await world.store.read(pending_builders([two]))] == [two]
    for request in (await world.store.read(waiting(two, 1))).requests:
        await world.claimed(request.requestid, two, fence)
    assert [row[0] for row in await world.store.read(pending_builders([one, two]))] == [one]


async def test_reasons_for_waiting_are_told_once(world: World, told: list[Hint]) -> None:
    builder, _ = await place(world)
    request = await world.request(builder)
    told.clear()
    for _ in range(2):
        await world.store.run(say_request_waits(request, "no luck"))
        await world.store.run(say_builders_wait({builder: "no worker"}))
    assert told == [Hint("buildrequests", request, "update"), Hint("builders", builder, "update")]
    assert (await world.request_row(request))["waits_for"] == "no luck"
    assert (await world.row(schema.builders, builder))["waits_for"] == "no worker"


# -- finishing ----------------------------------------------------------------------------------------------


def finished_again(build: Build, results: int = FAILURE) -> Any:
    return unit(finish_build_work)(
        buildid=build.id,
        requestid=build.requestid,
        results=results,
        state_string="again",
        lingering=False,
        holds_locks=True,
        now_us=NOW + 1,
    )


async def test_finished_is_final(world: World, told: list[Hint]) -> None:
    """P6"""
    build = await world.running()
    assert await world.store.run(world.finishing(build)) == [SUCCESS]
    assert Hint("builds", build.id, "finished") in told
    before = (await world.builds_of(build.requestid), await world.request_row(build.requestid))
    told.clear()
    assert await world.store.run(finished_again(build)) is None
    with pytest.raises(Fenced):
        await world.store.run(world.finishing(build, FAILURE, version=1))
    assert (await world.builds_of(build.requestid), await world.request_row(build.requestid)) == before
    assert told == []


async def test_an_attempt_is_finished_once_also_when_its_request_runs_again(world: World) -> None:
    """P6: a late finish of the first attempt changes neither it nor the second one."""
    builder, fence = await place(world)
    build = await world.claimed(await world.request(builder), builder, fence)
    await world.store.run(world.finishing(build, RETRY))
    again = await world.claimed(build.requestid, builder, fence)
    assert (again.attempt, again.number) == (2, 2)
    assert await world.store.run(finished_again(build)) is None
    assert [row["results"] for row in await world.builds_of(build.requestid)] == [RETRY, None]
    await world.check()


async def test_retry_is_bounded(world: World, told: list[Hint]) -> None:
    """P6: after its attempts the request ends with EXCEPTION and says why."""
    builder, fence = await place(world)
    request = await world.request(builder)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        build = await world.claimed(request, builder, fence)
        assert (build.attempt, build.number) == (attempt, attempt)
        told.clear()
        last = attempt == MAX_ATTEMPTS
        assert await world.store.run(world.finishing(build, RETRY)) == [EXCEPTION if last else RETRY]
        event = "complete" if last else "unclaimed"
        assert Hint("buildrequests", request, event) in told
        row = await world.request_row(request)
        assert row["waits_for"] == ("" if last else f"attempt {attempt} ended: done")
        await world.check()
    builds = await world.builds_of(request)
    assert [row["results"] for row in builds] == [RETRY] * (MAX_ATTEMPTS - 1) + [EXCEPTION]
    assert builds[-1]["state_string"] == f"done (given up after {MAX_ATTEMPTS} attempts)"
    assert (await world.buildset_of(request))["results"] == EXCEPTION


async def test_a_bound_of_ones_own(world: World) -> None:
    build = await world.running()
    assert await world.store.run(world.finishing(build, RETRY, max_attempts=1)) == [EXCEPTION]


async def test_retry_of_a_stopped_build_is_cancelled(world: World) -> None:
    """P6"""
    build = await world.running()
    assert await world.store.run(stop_build(build.id, "enough", NOW)) is True
    assert await world.store.run(world.finishing(build, RETRY)) == [CANCELLED]
    row = await world.request_row(build.requestid)
    assert (row["complete"], row["results"], row["stop_reason"]) == (1, CANCELLED, "enough")


@pytest.mark.parametrize(
    ("results", "overall"),
    [
        ([SUCCESS, SUCCESS], SUCCESS),
        ([SUCCESS, WARNINGS], WARNINGS),
        ([WARNINGS, FAILURE], FAILURE),
        ([SKIPPED, SKIPPED], SUCCESS),
        ([EXCEPTION, FAILURE], EXCEPTION),
        ([FAILURE, CANCELLED, SUCCESS], CANCELLED),
    ],
    ids=lambda value: "-".join(Results[each] for each in value) if isinstance(value, list) else None,
)
async def test_a_buildset_has_the_worst_result(
    world: World, told: list[Hint], results: list[int], overall: int
) -> None:
    master = await world.master()
    builders = [await world.builder(master) for _ in results]
    requests = await world.requests(*builders)
    for request, builder, result in zip(requests, builders, results, strict=True):
        assert (await world.buildset_of(request))["complete"] == 0
        build = await world.claimed(request, builder, await world.worker(master))
        await world.store.run(world.finishing(build, result))
    buildset = await world.buildset_of(requests[0])
    assert (buildset["complete"], buildset["complete_at"], buildset["results"]) == (1, NOW, overall)
    assert told.count(Hint("buildsets", buildset["id"], "complete")) == 1


# -- stopping -----------------------------------------------------------------------------------------------


async def test_stopping_a_waiting_request_completes_it_and_tells_dependents(
    world: World, told: list[Hint]
) -> None:
    ids = await world.store.run(register([Wish("up"), Wish("down", upstreams=("up",))]))
    builder, _ = await place(world)
    request = await world.request(builder, schedulerid=ids["up"])
    assert await world.store.run(stop_request(request, "enough", NOW)) is True
    row = await world.request_row(request)
    assert (row["complete"], row["results"], row["complete_at"]) == (1, CANCELLED, NOW)
    assert Hint("buildrequests", request, "cancel") in told
    buildset = await world.buildset_of(request)
    assert (buildset["complete"], buildset["results"]) == (1, CANCELLED)
    assert await world.rows(schema.scheduler_completions) == [
        {"schedulerid": ids["down"], "buildsetid": buildset["id"]}
    ]
    assert await world.store.run(stop_request(request, "again", NOW)) is False
    assert await world.store.run(stop_request(999, "nobody", NOW)) is False


async def test_a_stop_of_a_running_one_reaches_its_owner(world: World, told: list[Hint]) -> None:
    """P6: the first stop's reason and result stay; another owner reads it, too."""
    build = await world.running()
    assert await world.store.run(stop_request(build.requestid, "first", NOW, FAILURE)) is True
    assert await world.store.run(stop_request(build.requestid, "second", NOW)) is True
    assert Hint("buildrequests", build.requestid, "stop") in told
    assert await world.store.read(stops(build.fence.masterid)) == [(build.requestid, FAILURE, "first")]
    other = await world.master()
    await world.attached(build.fence.workerid, other)
    assert await world.store.read(stops(build.fence.masterid)) == []
    assert await world.store.read(stops(other.id)) == [(build.requestid, FAILURE, "first")]


async def test_a_stop_of_a_build_that_does_not_run(world: World) -> None:
    build = await world.running()
    await world.store.run(world.finishing(build))
    assert await world.store.run(stop_build(build.id, "late", NOW)) is False
    assert await world.store.run(stop_build(999, "nobody", NOW)) is False
    assert await world.store.run(set_priority(build.requestid, 3)) is False


async def test_a_lost_attempt_waits_for_its_commands(world: World) -> None:
    """P4: no leftover runs beside the next attempt."""
    master = await world.master()
    builder = await world.builder(master)
    build = await world.running(builderid=builder)
    later = await world.request(builder)
    await world.store.run(world.finishing(build, RETRY, lingering=True))
    page = await world.store.read(waiting(builder, 10))
    assert [each.requestid for each in page.requests] == [later], "nobody waits behind it"
    await world.store.run(end_lingering(build.id))
    page = await world.store.read(waiting(builder, 10))
    assert [each.requestid for each in page.requests] == [build.requestid, later]
    again = await world.claimed(build.requestid, builder, await world.worker(master))
    assert again.attempt == 2


# -- collapsing and building again --------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["claimed", "stopped", "other builder", "order"])
async def test_what_is_not_collapsed(world: World, what: str) -> None:
    builder, fence = await place(world)
    lower, higher = await world.request(builder), await world.request(builder)
    if what == "claimed":
        await world.claimed(higher, builder, fence)
    elif what == "stopped":
        await world.store.run(stop_request(lower, "enough", NOW))
    elif what == "other builder":
        higher = await world.request((await place(world))[0])
    else:
        lower, higher = higher, lower
    before = [await world.request_row(each) for each in (lower, higher)]
    assert await world.store.run(collapse(lower, higher, NOW)) is False
    assert [await world.request_row(each) for each in (lower, higher)] == before


async def test_a_rebuild_asks_for_the_same(world: World) -> None:
    builder, fence = await place(world)
    request = await world.request(builder, properties={"x": (1, "Test")}, changeids=[5], priority=4)
    build = await world.claimed(request, builder, fence)
    added = await world.store.run(rebuild(build.id, NOW + 1))
    assert added is not None
    again = added[1][builder]
    first, second = await world.buildset_of(request), await world.buildset_of(again)
    assert (second["properties"], second["rebuilt_buildid"]) == (first["properties"], build.id)
    assert (await world.request_row(again))["priority"] == 4
    for table in (schema.buildset_sourcestamps, schema.buildset_changes):
        links = [await world.rows(table, table.c.buildsetid == each["id"]) for each in (first, second)]
        assert [[*row.values()][1:] for row in links[0]] == [[*row.values()][1:] for row in links[1]]
    assert await world.store.run(rebuild(999, NOW)) is None


async def test_a_rebuild_that_is_run_again_asks_once(world: World) -> None:
    """P1: the answer to its commit was lost."""
    build = await world.running()
    call = rebuild(build.id, NOW)
    assert await world.store.run(call) == await world.store.run(call)
    assert await world.store.run(rebuild(build.id, NOW)) != await world.store.run(call), "asked for anew"
