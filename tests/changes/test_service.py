"""Change sources on real stores: whatever dies when, each commit becomes one change."""

import asyncio
import contextlib
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from buildwright.changes.base import Found, Intake, Poll, PollError, PollingChangeSource
from buildwright.changes.gitpoller import GitPoller
from buildwright.model import asking
from buildwright.store import schema
from buildwright.store.base import Store
from buildwright.store.migrate import upgrade
from buildwright.store.unit import Unit
from buildwright.store.units import leases
from buildwright.store.units.changes import NewChange, add_changes, find_source, read_source, take_poll
from buildwright.store.units.schedulers import Wish, enable, register
from tests.support.polling import Master, rows
from tests.support.repositories import Origin
from tests.support.stores import started

NOW = 1_750_000_000_000_000
ROOT = Path(__file__).resolve().parents[2]


async def revisions(store: Store) -> list[str]:
    return [each["revision"] for each in await rows(store, schema.changes)]


class Scripted(PollingChangeSource):
    """A source whose polls a test writes: each may be an exception or what is found."""

    def __init__(self, name: str = "s", *script: Any, **more: Any) -> None:
        super().__init__(name, **{"pollInterval": 60, "pollAtLaunch": True, **more})
        self.script = list(script)
        self.polls: list[Poll] = []

    async def poll(self, poll: Poll) -> Found:
        self.polls.append(poll)
        answer = self.script.pop(0) if self.script else Found(poll.state or {})
        if isinstance(answer, Exception):
            raise answer
        if asyncio.iscoroutine(answer):
            answer = await answer
        assert isinstance(answer, Found)
        return answer


async def test_changes_and_memory_are_one(store: Store, origin: Origin, tmp_path: Path) -> None:
    origin.commit("old")
    master = await Master(store, tmp_path).start(GitPoller(origin.url, pollInterval=60, pollAtLaunch=True))
    made = [origin.commit(str(number)) for number in range(3)]
    await master.pass_time(59)
    assert not await revisions(store)
    await master.pass_time(1)
    assert await revisions(store) == made
    [change, *_] = await rows(store, schema.changes)
    assert (change["author"], change["branch"], change["repository"]) == (
        "Ann <ann@example.org>",
        "main",
        origin.url,
    )
    assert change["received_at"] == master.clock.now_us()
    stamps = {each["id"]: each for each in await rows(store, schema.sourcestamps)}
    assert stamps[change["sourcestampid"]]["revision"] == made[0]
    await master.sources.stop()


async def test_without_poll_at_launch_the_first_comes_after_the_interval(
    store: Store, tmp_path: Path
) -> None:
    source = Scripted(pollAtLaunch=False)
    master = await Master(store, tmp_path).start(source)
    assert not source.polls
    await master.pass_time(60)
    assert len(source.polls) == 1
    assert master.sources.poll_now("s")
    assert not master.sources.poll_now("other")
    await master.sources.settled()
    assert len(source.polls) == 2
    await master.sources.stop()


async def test_an_interval_of_zero_polls_when_asked(store: Store, tmp_path: Path) -> None:
    source = Scripted(pollInterval=0, pollAtLaunch=False)
    master = await Master(store, tmp_path).start(source)
    await master.pass_time(100_000)
    assert not source.polls
    master.sources.poll_now()
    await master.sources.settled()
    assert len(source.polls) == 1
    await master.sources.stop()


async def test_a_crash_between_fetch_and_commit_loses_and_doubles_nothing(
    store: Store, origin: Origin, tmp_path: Path
) -> None:
    """P1"""

    class Dying(GitPoller):
        """Has found everything, and dies before it is stored."""

        async def poll(self, poll: Poll) -> Found:
            await super().poll(poll)
            reached.set()
            await asyncio.Event().wait()
            raise AssertionError

    reached = asyncio.Event()
    origin.commit("old")
    arguments: dict[str, Any] = {"name": "p", "pollAtLaunch": True}
    first = await Master(store, tmp_path).start(GitPoller(origin.url, **arguments))
    await first.sources.stop()
    made = [origin.commit(str(number)) for number in range(2)]
    dying = Master(store, tmp_path)
    starting = asyncio.create_task(dying.start(Dying(origin.url, **arguments)))
    await reached.wait()
    await dying.sources.stop()
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await starting
    assert not await revisions(store)
    again = await Master(store, tmp_path).start(GitPoller(origin.url, **arguments))
    assert await revisions(store) == made
    await again.sources.stop()


async def test_a_commit_whose_answer_was_lost_is_not_repeated(
    store: Store, origin: Origin, tmp_path: Path
) -> None:
    """P1: the unit happened, the poller never learned of it."""
    origin.commit("old")
    master = await Master(store, tmp_path).start(GitPoller(origin.url, pollInterval=60, pollAtLaunch=True))
    made = origin.commit("new")
    run = store.run

    async def losing(unit: Unit[Any], **more: Any) -> Any:
        result = await run(unit, **more)
        if unit.name == "take_poll":
            raise ConnectionError("the answer was lost")
        return result

    store.run = losing  # type: ignore[method-assign]
    with capture_logs() as logs:
        await master.pass_time(60)
    store.run = run  # type: ignore[method-assign]
    assert [each["event"] for each in logs if each["log_level"] == "error"] == ["a poll failed"]
    await master.pass_time(60)
    assert await revisions(store) == [made]
    await master.sources.stop()


async def test_a_master_killed_at_any_moment_loses_and_doubles_nothing(
    origin: Origin, tmp_path: Path
) -> None:
    """P1, with a real process and kill -9."""
    chance = random.Random(7)
    basedir = tmp_path / "master"
    basedir.mkdir()
    url = f"sqlite:///{basedir / 'state.sqlite'}"
    await upgrade(url, basedir)
    origin.commit("old")
    command = [sys.executable, "-m", "tests.changes.poll_until_killed", str(basedir), origin.url]

    async def start() -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert await process.stdout.readline()
        return process

    process = await start()
    made: list[str] = []
    for _ in range(6):
        made += [origin.commit("x") for _ in range(chance.randint(1, 3))]
        await asyncio.sleep(chance.uniform(0, 0.1))  # any moment will do
        process.kill()
        await process.communicate()
        process = await start()
    assert process.stdout is not None
    made.append(origin.commit("last"))
    async with started(url) as store:
        while made[-1] not in await revisions(store):
            assert await process.stdout.readline()
        process.kill()
        await process.communicate()
        assert await revisions(store) == made


async def test_two_masters_poll_one_at_a_time_and_a_dead_ones_source_is_taken(
    stores: list[Store], tmp_path: Path
) -> None:
    one, two = Scripted(), Scripted()
    first = await Master(stores[0], tmp_path, "one").start(one)
    second = await Master(stores[1], tmp_path, "two").start(two)
    await first.pass_time(60)
    await second.pass_time(60)
    assert (len(one.polls), len(two.polls)) == (2, 0)
    assert await stores[1].run(leases.retire(first.masterid, first.term, 0))
    await second.pass_time(60)
    assert len(two.polls) == 1
    await first.sources.stop()
    [source] = await rows(stores[0], schema.changesources)
    assert source["masterid"] == second.masterid
    await second.sources.stop()
    [source] = await rows(stores[0], schema.changesources)
    assert source["masterid"] is None


async def test_a_refused_poll_is_done_again_from_what_is_remembered_now(store: Store, tmp_path: Path) -> None:
    async def overtaken() -> Found:
        sourceid = await store.run(find_source("s"))
        row = await store.read(read_source(sourceid))
        assert (
            await store.run(take_poll(sourceid, row.version, '{"at": 1}', [NewChange("other")], NOW))
            is not None
        )
        return Found({"at": 1}, [NewChange("mine")])

    source = Scripted("s", overtaken(), Found({"at": 2}, [NewChange("again")]))
    master = await Master(store, tmp_path).start(source)
    assert [poll.state for poll in source.polls] == [None, {"at": 1}]
    assert [each["author"] for each in await rows(store, schema.changes)] == ["other", "again"]
    await master.sources.stop()


async def test_failures_are_told_once_and_stop_nothing(store: Store, tmp_path: Path) -> None:
    failing = Scripted(
        "bad",
        PollError("no network"),
        PollError("no network"),
        PollError("no disk"),
        ValueError("bug"),
        Found({"a": 1}),
    )
    good = Scripted("good")
    with capture_logs() as logs:
        master = await Master(store, tmp_path).start(failing, good)
        for _ in range(5):
            await master.pass_time(60)
    told = [(each["event"], each.get("reason")) for each in logs if each["source"] == "bad"]
    assert told == [
        ("a change source needs a look", "no network"),
        ("a change source needs a look", "no disk"),
        ("a poll failed", None),
        ("a change source works again", None),
    ]
    assert len(good.polls) == 6
    await master.sources.stop()


async def test_reconfiguring_keeps_the_time_of_the_next_poll(store: Store, tmp_path: Path) -> None:
    master = await Master(store, tmp_path).start(Scripted("kept"), Scripted("gone"))
    await master.pass_time(40)
    kept, new = Scripted("kept"), Scripted("new")
    await master.sources.reconfigure([kept, new])
    await master.sources.settled()
    assert (len(kept.polls), len(new.polls)) == (0, 1)
    await master.pass_time(20)
    assert len(kept.polls) == 1
    owners = {each["name"]: each["masterid"] for each in await rows(store, schema.changesources)}
    assert owners["gone"] is None
    assert set(master.sources.ids) == {"kept", "new"}
    for _ in range(2):
        await master.sources.stop()


async def test_stopping_ends_a_poll_and_its_processes(store: Store, tmp_path: Path) -> None:
    script = tmp_path / "git"
    script.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 1000\n")
    script.chmod(0o755)
    master = Master(store, tmp_path)
    starting = asyncio.create_task(master.start(GitPoller("u", gitbin=str(script), pollAtLaunch=True)))
    pid = tmp_path / "pid"
    async with asyncio.timeout(60):
        while not (pid.exists() and pid.read_text()):  # noqa: ASYNC110 - another process tells
            await asyncio.sleep(0.01)
    await master.sources.stop()
    await starting
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


async def test_identity_counts_once_also_at_the_same_time(stores: list[Store]) -> None:
    changes = [NewChange("me", revision=str(number), identity=f"hook:{number}") for number in range(5)]
    answers = await asyncio.gather(*(stores[n % 2].run(add_changes(changes, NOW)) for n in range(6)))
    assert len({tuple(taken.changeid for taken in answer) for answer in answers}) == 1
    assert sum(taken.new for answer in answers for taken in answer) == 5
    assert len(await rows(stores[0], schema.changes)) == 5
    [twice, again] = await stores[0].run(add_changes([NewChange("me", identity="x")] * 2, NOW))
    assert (twice.new, again.new, twice.changeid) == (True, False, again.changeid)


async def test_schedulers_that_want_changes_get_them(store: Store) -> None:
    ids = await store.run(
        register([Wish("wants", changes=True), Wish("off", changes=True), Wish("indifferent")])
    )
    await store.run(enable(ids["off"], False))
    taken = await store.run(add_changes([NewChange("a"), NewChange("b")], NOW))
    assert [
        (each["schedulerid"], each["changeid"]) for each in await rows(store, schema.scheduler_changes)
    ] == [(ids["wants"], each.changeid) for each in taken]


async def test_codebases_and_links_come_from_the_configuration(store: Store, tmp_path: Path) -> None:
    def codebase(change: Mapping[str, Any]) -> str:
        if change["project"] == "bad":
            raise KeyError("mistake")
        return f"cb-{change['repository']}"

    intake = Intake(codebase, lambda revision, repository: f"http://{repository}/{revision}")
    found = Found(
        {"a": 1},
        [
            NewChange("a", revision="1", repository="r"),
            NewChange("b", revision="2", repository="r", project="bad", revlink="own"),
        ],
    )
    with capture_logs() as logs:
        master = await Master(store, tmp_path).start(Scripted("s", found), intake=intake)
    assert [(each["codebase"], each["revlink"]) for each in await rows(store, schema.changes)] == [
        ("cb-r", "http://r/1"),
        ("", "own"),
    ]
    assert [each["function"] for each in logs if each["log_level"] == "error"] == ["codebaseGenerator"]
    await master.sources.stop()


async def test_a_function_that_does_not_come_back_holds_a_poll_up_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "WAITING_SECONDS", 0.1)
    asked: list[str] = []

    async def link(revision: str, repository: str) -> str:
        asked.append(revision)
        await asyncio.get_running_loop().create_future()
        return "never"

    async def codebase(change: Mapping[str, Any]) -> str:
        await asyncio.sleep(0)
        return f"cb-{change['revision']}"

    found = Found({"a": 1}, [NewChange("a", revision=str(number), repository="r") for number in range(3)])
    with capture_logs() as logs:
        master = await Master(store, tmp_path).start(Scripted("s", found), intake=Intake(codebase, link))
    assert [(each["codebase"], each["revlink"]) for each in await rows(store, schema.changes)] == [
        ("cb-0", None),
        ("cb-1", None),
        ("cb-2", None),
    ]
    assert asked == ["0"]
    told = [each for each in logs if each["log_level"] == "error"]
    assert [each["error"] for each in told] == ["TookTooLong: revlink didn't come back within 0.1 s"]
    await master.sources.stop()


@pytest.mark.parametrize("name", ["", None])
def test_a_source_needs_a_name(name: Any) -> None:
    from buildwright.model.errors import ConfigErrors

    with pytest.raises(ConfigErrors):
        Scripted(name)
