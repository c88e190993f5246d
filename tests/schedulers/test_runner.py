"""Schedulers on real stores: what comes in starts one buildset, whoever runs and whatever fails."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from buildwright.model.filters import ChangeFilter
from buildwright.model.interpolate import Interpolate
from buildwright.model.properties import Properties
from buildwright.model.render import Property, renderer
from buildwright.model.results import FAILURE, SUCCESS
from buildwright.model.sources import Change
from buildwright.schedulers.base import Scheduler
from buildwright.schedulers.basic import AnyBranchScheduler, SingleBranchScheduler
from buildwright.schedulers.dependent import Dependent
from buildwright.schedulers.runner import SchedulerRunner
from buildwright.schedulers.service import Schedulers
from buildwright.schedulers.timed import Nightly, Periodic
from buildwright.schedulers.triggerable import Triggerable
from buildwright.store import schema
from buildwright.store.base import Store
from buildwright.store.unit import Hint, Work, unit
from buildwright.store.units import leases
from buildwright.store.units.buildsets import add_buildset
from buildwright.store.units.changes import NewChange, add_changes
from buildwright.store.units.finishing import complete_request_work
from buildwright.store.units.schedulers import enable
from tests.support.clocks import ManualClock

BUILDERS = {"b1": 1, "b2": 2}


async def rows(store: Store, table: sa.Table) -> list[dict[str, Any]]:
    names = [column.name for column in table.columns]
    found = await store.fetch(sa.select(table).order_by(*table.primary_key.columns))
    return [dict(zip(names, row, strict=True)) for row in found]


class Master:
    """The part of a master that schedulers need."""

    def __init__(self, store: Store, clock: ManualClock, name: str = "m") -> None:
        self.store = store
        self.clock = clock
        self.name = name

    async def start(self, *schedulers: Scheduler) -> "Master":
        self.masterid, self.term = await self.store.run(leases.take(self.name, self.clock.now_us()))
        self.schedulers = Schedulers(self.store, self.clock, self.masterid, lambda: BUILDERS)
        await self.schedulers.start(schedulers)
        await self.schedulers.settled()
        return self

    async def change(self, **more: Any) -> int:
        values: dict[str, Any] = {
            "author": "me",
            "branch": "main",
            "revision": "r",
            "repository": "repo",
            **more,
        }
        [taken] = await self.store.run(add_changes([NewChange(**values)], self.clock.now_us()))
        await self.schedulers.settled()
        return taken.changeid

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.schedulers.settled()

    async def buildsets(self) -> list[dict[str, Any]]:
        return await rows(self.store, schema.buildsets)

    async def requests(self) -> list[dict[str, Any]]:
        return await rows(self.store, schema.buildrequests)


@pytest.fixture
async def master(store: Store) -> Master:
    return Master(store, ManualClock())


def follower(name: str = "s", timer: float | None = None, **more: Any) -> AnyBranchScheduler:
    return AnyBranchScheduler(name, ["b1", "b2"], timer, **more)


async def test_a_change_becomes_requests_with_the_stamp_of_the_change(master: Master) -> None:
    await master.start(follower(properties={"kind": "quick"}, priority=4))
    changeid = await master.change(
        revision="abc", properties={"kind": ("slow", "Change")}, codebase="", project="p"
    )
    [buildset] = await master.buildsets()
    assert json.loads(buildset["properties"]) == {"kind": ["slow", "Change"], "scheduler": ["s", "Scheduler"]}
    assert [each["builderid"] for each in await master.requests()] == [1, 2]
    assert {each["priority"] for each in await master.requests()} == {4}
    [change] = await rows(master.store, schema.changes)
    assert [each["sourcestampid"] for each in await rows(master.store, schema.buildset_sourcestamps)] == [
        change["sourcestampid"]
    ]
    assert [each["changeid"] for each in await rows(master.store, schema.buildset_changes)] == [changeid]
    [cause] = await rows(master.store, schema.scheduler_causes)
    assert (cause["cause"], cause["buildsetid"]) == (f"change:{changeid}", buildset["id"])
    assert not await rows(master.store, schema.scheduler_changes)


async def test_a_stable_timer_survives_a_restart_of_the_master(master: Master) -> None:
    await master.start(follower(timer=60))
    await master.change(revision="1")
    await master.pass_time(40)
    await master.schedulers.stop()
    assert not await master.buildsets()
    master.clock.advance(19)
    await master.start(follower(timer=60))
    assert not await master.buildsets()
    await master.pass_time(1)
    assert len(await master.buildsets()) == 1


async def test_a_stable_timer_goes_on_when_the_clock_is_set_back(master: Master) -> None:
    await master.start(follower(timer=60))
    await master.change()
    master.clock.set_wall(master.clock.now_us() - 3_600_000_000)
    await master.pass_time(59)
    assert not await master.buildsets()
    await master.pass_time(1)
    assert len(await master.buildsets()) == 1


async def test_unimportant_changes_wait_classified(master: Master) -> None:
    asked: list[int | None] = []

    def important(change: Change) -> bool:
        asked.append(change.number)
        return "x" in change.files

    await master.start(follower(timer=10, fileIsImportant=important))
    first = await master.change()
    await master.pass_time(30)
    assert [each["important"] for each in await rows(master.store, schema.scheduler_changes)] == [0]
    second = await master.change(files=["x"])
    await master.pass_time(10)
    assert asked == [first, second]
    assert [each["changeid"] for each in await rows(master.store, schema.buildset_changes)] == [first, second]


async def test_what_the_filter_refuses_leaves_the_inbox(master: Master) -> None:
    await master.start(follower(change_filter=ChangeFilter(project="other")))
    await master.change()
    assert not await rows(master.store, schema.scheduler_changes)
    assert not await master.buildsets()


async def test_two_masters_with_one_scheduler_act_once(stores: list[Store]) -> None:
    """P2: both run it, nobody cares who holds it."""
    clock = ManualClock()
    scheduler = Periodic("p", ["b1"], 60)
    masterid, _ = await stores[0].run(leases.take("m", clock.now_us()))
    service = Schedulers(stores[0], clock, masterid, lambda: BUILDERS)
    await service.start([scheduler])
    await service.stop()
    [schedulerid] = [each["id"] for each in await rows(stores[0], schema.schedulers)]
    for _ in range(5):
        await asyncio.gather(
            *(
                SchedulerRunner(stores[number % 2], scheduler, schedulerid, lambda: BUILDERS, clock).step()
                for number in range(6)
            )
        )
        clock.advance(60)
    made = await rows(stores[0], schema.buildsets)
    assert len(made) == 5
    causes = await rows(stores[0], schema.scheduler_causes)
    assert sorted(each["buildsetid"] for each in causes) == [each["id"] for each in made]


async def test_changes_that_come_while_two_runners_race_start_one_each(stores: list[Store]) -> None:
    clock = ManualClock()
    one = await Master(stores[0], clock, "one").start(follower())
    [schedulerid] = one.schedulers.ids.values()
    other = [SchedulerRunner(stores[1], follower(), schedulerid, lambda: BUILDERS, clock) for _ in range(3)]
    for number in range(5):
        await asyncio.gather(
            stores[1].run(add_changes([NewChange("me", revision=str(number))], clock.now_us())),
            one.schedulers.settled(),
            *(runner.step() for runner in other),
        )
    await one.schedulers.settled()
    assert len(await one.buildsets()) == 5
    await one.schedulers.stop()


async def test_a_living_masters_scheduler_is_left_alone_and_a_dead_ones_taken(stores: list[Store]) -> None:
    clock = ManualClock()
    one = await Master(stores[0], clock, "one").start(follower())
    two = await Master(stores[1], clock, "two").start(follower())
    assert [each["masterid"] for each in await rows(stores[0], schema.schedulers)] == [one.masterid]
    await two.change()
    assert not await two.buildsets()
    assert await stores[1].run(leases.retire(one.masterid, one.term, 0))
    await two.schedulers.settled()
    assert len(await two.buildsets()) == 1
    assert [each["masterid"] for each in await rows(stores[0], schema.schedulers)] == [two.masterid]
    await one.schedulers.stop()
    await two.schedulers.stop()
    assert [each["masterid"] for each in await rows(stores[0], schema.schedulers)] == [None]


async def test_a_broken_filter_stops_nothing_else_and_loses_nothing(master: Master) -> None:
    def broken(change: Change) -> bool:
        if change.revision == "bad":
            raise KeyError("mistake")
        return True

    with capture_logs() as logs:
        await master.start(follower("broken", fileIsImportant=broken), follower("other"))
        bad = await master.change(revision="bad")
        await master.change(revision="good")
    complaints = [each for each in logs if each["log_level"] == "error"]
    assert [(each["scheduler"], each["change"]) for each in complaints] == [("broken", bad)]
    assert "KeyError: 'mistake'" in complaints[0]["error"]
    by_scheduler = [json.loads(each["properties"])["scheduler"][0] for each in await master.buildsets()]
    assert sorted(by_scheduler) == ["broken", "other", "other"]
    # A configuration that works takes up what waited.
    await master.schedulers.reconfigure([follower("broken"), follower("other")])
    await master.schedulers.settled()
    assert len(await master.buildsets()) == 4


async def test_a_broken_priority_counts_as_none(master: Master) -> None:
    def priority(names: Any, changes: Mapping[str, Any]) -> int:
        assert names == ["b1", "b2"]
        assert [each.revision for each in changes[""]] == ["r"]
        raise RuntimeError("mistake")

    with capture_logs() as logs:
        await master.start(follower(priority=priority))
        await master.change()
    assert {each["priority"] for each in await master.requests()} == {0}
    [complaint] = [each for each in logs if each["log_level"] == "error"]
    assert complaint["scheduler"] == "s"


async def test_what_cant_be_rendered_is_tried_again(master: Master) -> None:
    answers: list[Any] = [ValueError("not yet"), ["b2"]]

    @renderer
    def names(props: Properties) -> list[str]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    with capture_logs() as logs:
        await master.start(AnyBranchScheduler("s", names))
        await master.change()
    assert not await master.buildsets()
    assert "AnyBranchScheduler 's': builderNames can't be rendered: ValueError: not yet" in [
        each.get("error") for each in logs
    ]
    await master.pass_time(61)
    assert [each["builderid"] for each in await master.requests()] == [2]


async def test_renderables_see_properties_files_and_stamps(master: Master) -> None:
    @renderer
    def names(props: Properties) -> list[str]:
        assert [stamp["revision"] for stamp in props.sourcestamps] == ["abc"]
        assert props.changes[0]["author"] == "me"
        return ["b1"] if "a.c" in props.files else []

    await master.start(
        SingleBranchScheduler(
            "s",
            names,
            branch="main",
            properties={"title": Interpolate("%(prop:who)s on %(src::branch)s"), "who": Property("who")},
        )
    )
    await master.change(revision="abc", files=["a.c"], properties={"who": ("ann", "Change")})
    [buildset] = await master.buildsets()
    assert json.loads(buildset["properties"])["title"] == ["ann on main", "Scheduler"]
    assert [each["builderid"] for each in await master.requests()] == [1]


async def test_unknown_builders_are_named_and_left_out(master: Master) -> None:
    with capture_logs() as logs:
        await master.start(AnyBranchScheduler("s", ["b1", "nobody"]))
        await master.change()
    assert [each["builderid"] for each in await master.requests()] == [1]
    assert ["nobody"] in [each.get("builders") for each in logs]


@unit
def complete(requestid: int, buildsetid: int, results: int) -> Work[None]:
    yield from complete_request_work(requestid, buildsetid, results, 1)


async def test_a_dependent_builds_the_same_stamps_once(master: Master) -> None:
    up = AnyBranchScheduler("up", ["b1"])
    await master.start(up, Dependent("down", up, ["b2"]))
    first = await master.change(revision="1")
    await master.change(revision="2")
    one, two = await master.requests()
    await master.store.run(complete(one["id"], one["buildsetid"], SUCCESS))
    await master.store.run(complete(two["id"], two["buildsetid"], FAILURE))
    await master.schedulers.settled()
    assert [each["builderid"] for each in await master.requests()] == [1, 1, 2]
    *_, made = await master.buildsets()
    assert made["reason"] == "downstream"
    stamps = await rows(master.store, schema.buildset_sourcestamps)
    by_buildset = {each["buildsetid"]: each["sourcestampid"] for each in stamps}
    assert by_buildset[made["id"]] == by_buildset[one["buildsetid"]]
    assert [
        each["changeid"]
        for each in await rows(master.store, schema.buildset_changes)
        if each["buildsetid"] == made["id"]
    ] == [first]
    outcomes = {each["cause"]: each["outcome"] for each in await rows(master.store, schema.scheduler_causes)}
    assert outcomes[f"buildset:{two['buildsetid']}"] == "skipped: upstream ended failure"


async def test_a_disabled_scheduler_gets_nothing_and_goes_on_when_enabled(master: Master) -> None:
    await master.start(follower(timer=60), Periodic("p", ["b1"], 3600))
    await master.change(revision="waits")
    for schedulerid in master.schedulers.ids.values():
        assert await master.store.run(enable(schedulerid, False))
    await master.pass_time(100)
    await master.change(revision="ignored")
    assert len(await master.buildsets()) == 1  # the periodic's first
    await master.pass_time(3600)
    for schedulerid in master.schedulers.ids.values():
        assert await master.store.run(enable(schedulerid, True))
    await master.schedulers.settled()
    assert len(await master.buildsets()) == 2
    assert [each["changeid"] for each in await rows(master.store, schema.buildset_changes)] == [1]
    assert not await master.store.run(enable(999, True))


async def test_a_decision_made_before_disabling_is_refused(store: Store) -> None:
    """The unit compares the version, so a fire can't slip through behind the switch."""
    clock = ManualClock()
    master = await Master(store, clock).start(follower())
    [schedulerid] = master.schedulers.ids.values()

    class Switching(AnyBranchScheduler):
        def decide(self, *args: Any, **more: Any) -> Any:
            verdict = super().decide(*args, **more)
            if verdict.fires and not switched:
                switched.append(asyncio.get_running_loop().create_task(store.run(enable(schedulerid, False))))
            return verdict

        @property
        def builder_names(self) -> list[str] | None:
            return None

    switched: list[asyncio.Task[bool]] = []

    @renderer
    async def names(props: Properties) -> list[str]:
        await switched[0]
        return ["b1"]

    await store.run(add_changes([NewChange("me")], clock.now_us()))
    runner = SchedulerRunner(store, Switching("s", names), schedulerid, lambda: BUILDERS, clock)
    await runner.step()
    assert not await master.buildsets()
    assert len(await rows(store, schema.scheduler_changes)) == 1


async def test_a_scheduler_that_leaves_the_configuration_is_told_nothing(master: Master) -> None:
    up = follower("up")
    await master.start(up, Dependent("down", up, ["b1"]), follower("stays"))
    await master.schedulers.reconfigure([follower("stays")])
    await master.change()
    assert not await rows(master.store, schema.scheduler_upstreams)
    assert not await rows(master.store, schema.scheduler_changes)
    assert len(await master.buildsets()) == 1
    wanted = {each["name"]: each["wants_changes"] for each in await rows(master.store, schema.schedulers)}
    assert wanted == {"up": 0, "down": 0, "stays": 1}


async def test_a_nightly_keeps_its_changes_when_its_due_point_was_settled_before(master: Master) -> None:
    """P1: a cause that is there already must not swallow what waits."""
    nightly = Nightly("n", ["b1"], hour="*", onlyIfChanged=True, timezone="UTC")
    await master.start(nightly)
    hour = 3600 - (master.clock.now_us() // 1_000_000) % 3600
    start = master.clock.now_us()
    await master.pass_time(hour)
    assert len(await master.buildsets()) == 1
    await master.pass_time(30 * 86_400)
    master.clock.set_wall(start)
    await master.schedulers.settled()
    await master.change()
    await master.pass_time(hour)  # the same due point again
    assert len(await rows(master.store, schema.scheduler_changes)) == 1
    await master.pass_time(3600)
    assert not await rows(master.store, schema.scheduler_changes)
    assert len(await rows(master.store, schema.buildset_changes)) == 1


async def test_a_trigger_is_planned_with_the_schedulers_codebases(master: Master) -> None:
    scheduler = Triggerable(
        "t",
        ["b1"],
        codebases={"a": {"branch": "stable"}, "b": {"repository": "rb"}},
        properties={"x": 1, "y": 1},
    )
    await master.start(scheduler)
    assert not await master.buildsets()
    given = Properties()
    given.update({"x": 2, "z": 2, "reason": "told so"}, "Trigger")
    plan = await scheduler.plan(
        [{"codebase": "a", "revision": "1", "branch": None}, {"codebase": "c", "revision": "2"}], given
    )
    assert plan.reason == "told so"
    assert plan.stamps == (
        {"codebase": "a", "repository": "", "project": "", "branch": "stable", "revision": "1"},
        {"codebase": "b", "repository": "rb", "project": "", "branch": None, "revision": None},
    )
    properties = json.loads(plan.properties)
    assert {key: value for key, (value, _) in properties.items()} == {
        "x": 1,
        "y": 1,
        "z": 2,
        "reason": "told so",
        "scheduler": "t",
    }
    await master.store.run(add_buildset(now_us=1, **plan.arguments(BUILDERS)))
    assert len(await master.requests()) == 1


async def test_hints_wake_those_who_wait(master: Master) -> None:
    up = follower("up")
    await master.start(up, Dependent("down", up, ["b1"]))
    wake = master.schedulers._wake
    for hint, wakes in [
        (Hint("changes", 1, "new"), True),
        (Hint("buildsets", 1, "complete"), True),
        (Hint("buildsets", 1, "new"), False),
        (Hint("schedulers", 1, "updated"), True),
        (Hint("builds", 1, "new"), False),
    ]:
        wake.clear()
        master.schedulers.on_hints([hint])
        assert wake.is_set() == wakes
    await master.schedulers.reconfigure([Periodic("p", ["b1"], 60)])
    wake.clear()
    master.schedulers.on_hints([Hint("changes", 1, "new"), Hint("buildsets", 1, "complete")])
    assert not wake.is_set()
    await master.schedulers.stop()


async def test_starting_and_stopping_again_and_again(master: Master) -> None:
    await master.start(follower())
    for _ in range(3):
        await master.schedulers.start([follower()])
        await master.schedulers.stop()
        await master.schedulers.stop()
    await master.schedulers.start([follower()])
    master.schedulers.poke()
    await master.change()
    assert len(await master.buildsets()) == 1
    await master.schedulers.stop()
