"""NightlyTriggerable: what was triggered is built once, at the next time."""

import json

import pytest
import sqlalchemy as sa

from buildwright.model.properties import Properties
from buildwright.model.results import SUCCESS
from buildwright.schedulers.decisions import Inbox, State, Upstream
from buildwright.schedulers.triggerable import NightlyTriggerable
from buildwright.store import schema
from buildwright.store.base import Store
from buildwright.store.unit import Work, unit
from buildwright.store.units.buildsets import add_buildset
from buildwright.store.units.finishing import complete_request_work
from buildwright.store.units.schedulers import enable
from tests.schedulers.test_runner import BUILDERS, Master, rows
from tests.support.clocks import ManualClock

S = 1_000_000
HOUR = 3600 * S
NOW = 1_750_000_000 * S  # 15:06:40 UTC


def hourly(**more: object) -> NightlyTriggerable:
    return NightlyTriggerable("n", ["b1", "b2"], timezone="UTC", **more)


def trigger(buildsetid: int, **values: object) -> Upstream:
    properties = Properties()
    properties.update(values, "Trigger")
    return Upstream(buildsetid, SUCCESS, (buildsetid + 100,), (7,), 3, properties.to_json())


def test_the_newest_trigger_fires_at_the_due_point_and_takes_the_others_along() -> None:
    scheduler = hourly()
    state: State = scheduler.decide(Inbox(), {}, NOW).state
    triggers = [trigger(1), trigger(2, reason="told so")]
    before = scheduler.decide(Inbox(upstream=triggers), state, NOW + HOUR // 2)
    assert (before.fires, before.used_upstream) == ([], frozenset())
    verdict = scheduler.decide(Inbox(upstream=triggers), state, NOW + HOUR)
    [fire] = verdict.fires
    assert fire.cause == f"due:{NOW // HOUR * HOUR + HOUR}:buildset:2"
    assert (fire.reason, fire.stamps, fire.changeids) == ("told so", (102,), (7,))
    assert verdict.used_upstream == {1, 2}


def test_without_a_trigger_a_due_point_is_skipped() -> None:
    scheduler = hourly()
    state = scheduler.decide(Inbox(), {}, NOW).state
    verdict = scheduler.decide(Inbox(), state, NOW + HOUR)
    assert [skip.outcome for skip in verdict.skips] == ["skipped: not triggered"]
    off = scheduler.decide(Inbox(upstream=[trigger(1)]), state, NOW + HOUR, enabled=False)
    assert [skip.outcome for skip in off.skips] == ["skipped: disabled"]
    assert not off.used_upstream


def test_its_own_finished_builds_are_no_triggers() -> None:
    scheduler = hourly()
    state = scheduler.decide(Inbox(), {}, NOW).state
    done = Upstream(9, SUCCESS, (1,), ())
    verdict = scheduler.decide(Inbox(upstream=[done]), state, NOW + HOUR)
    assert not verdict.fires
    assert verdict.used_upstream == {9}


@unit
def finish(requestid: int, buildsetid: int) -> Work[None]:
    yield from complete_request_work(requestid, buildsetid, SUCCESS, 1)


@pytest.mark.parametrize("twice", [False, True])
async def test_p2_a_trigger_is_built_once_whatever_dies(store: Store, twice: bool) -> None:
    """P2: the trigger is in the store; a master that comes later builds it, and builds it once."""
    clock = ManualClock(NOW)
    master = await Master(store, clock).start(hourly(codebases={"": {"branch": "main"}}))
    given = Properties()
    given.update({"x": 1}, "Trigger")
    for number in range(1 + twice):
        plan = await hourly(codebases={"": {"branch": "main"}}).plan([{"revision": str(number)}], given)
        assert plan.builder_names == ()
        arguments = {**plan.arguments(BUILDERS), "schedulerid": master.schedulers.ids["n"]}
        await store.run(add_buildset(now_us=clock.now_us(), parent_buildid=5, **arguments))
    await master.schedulers.settled()
    assert not await master.requests()
    await master.schedulers.stop()
    later = await Master(store, clock).start(hourly(codebases={"": {"branch": "main"}}))
    await later.pass_time(3600)
    requests = await later.requests()
    assert [each["builderid"] for each in requests] == [1, 2]
    [fired] = [each for each in await later.buildsets() if each["parent_buildid"] is None]
    assert {key: value for key, (value, _) in json.loads(fired["properties"]).items()} == {
        "x": 1,
        "scheduler": "n",
    }
    links, stamps = schema.buildset_sourcestamps.c, schema.sourcestamps.c
    wanted = (
        sa.select(stamps.branch, stamps.revision)
        .join_from(schema.sourcestamps, schema.buildset_sourcestamps, links.sourcestampid == stamps.id)
        .where(links.buildsetid == fired["id"])
    )
    assert [tuple(row) for row in await store.fetch(wanted)] == [("main", "1" if twice else "0")]
    for request in requests:
        await store.run(finish(request["id"], fired["id"]))
    await later.pass_time(3600)
    assert len(await later.requests()) == 2
    assert not await rows(store, schema.scheduler_completions)


async def test_a_trigger_waits_while_the_scheduler_is_disabled(store: Store) -> None:
    clock = ManualClock(NOW)
    master = await Master(store, clock).start(hourly())
    schedulerid = master.schedulers.ids["n"]
    await store.run(enable(schedulerid, False))
    plan = await hourly().plan()
    arguments = {**plan.arguments(BUILDERS), "schedulerid": schedulerid}
    await store.run(add_buildset(now_us=clock.now_us(), parent_buildid=5, **arguments))
    await master.pass_time(3600)
    assert not await master.requests()
    await store.run(enable(schedulerid, True))
    await master.pass_time(3600)
    assert len(await master.requests()) == 2
