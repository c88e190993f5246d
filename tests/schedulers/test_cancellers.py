"""Cancellers with a real master and worker: what nobody needs any more is stopped, and says why."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from buildwright.model import asking
from buildwright.model.errors import ConfigErrors
from buildwright.model.filters import SourceStampFilter
from buildwright.model.results import CANCELLED, FAILURE, SUCCESS
from buildwright.schedulers.cancellers import FailingBuildsetCanceller, OldBuildCanceller, without_patchset
from buildwright.store import schema
from buildwright.store.base import wall_us
from buildwright.store.units.buildsets import add_buildset
from buildwright.store.units.changes import NewChange, add_changes
from tests.support.rig import Rig, rig

Start = Callable[[str], Awaitable[Rig]]

BUILDERS = """
for name, command in (
    ("good", "true"),
    ("bad", "while [ ! -e ../../go ]; do sleep 0.02; done; false"),
    ("slow", "echo waiting; exec sleep 1000"),
    ("waits", "echo never"),
):
    builder(name, steps.ShellCommand(command=command), locks=[LOCK.access("counting")] if name in (
        "slow", "waits") else [])
"""
LOCK = 'LOCK = util.MasterLock("one")\n'
MAIN = {"codebase": "", "branch": "main", "repository": "repo", "project": ""}


@pytest.fixture
async def start(database: str, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a rig with cancellers; it ends with the test."""
    async with AsyncExitStack() as stack:

        async def start(services: str) -> Rig:
            text = f"{LOCK}{BUILDERS}c['services'] = [{services}]\n"
            it = await stack.enter_async_context(rig(tmp_path, database, text))
            await it.until("workers", it.attached)
            return it

        yield start


async def ask(
    it: Rig, *builders: str, source: Mapping[str, Any] = MAIN, changes: Sequence[int] = ()
) -> dict[str, int]:
    """One buildset; the requests by builder."""
    ids = it.master.core.services.registry.builders
    _, requests = await it.store.run(
        add_buildset(
            sourcestamps=[source],
            builderids=[ids[name] for name in builders],
            now_us=wall_us(),
            changeids=list(changes),
        )
    )
    return {name: requests[ids[name]] for name in builders}


async def change(it: Rig, branch: str = "main", repository: str = "repo") -> int:
    new = NewChange("ann", branch=branch, repository=repository, revision="r")
    [taken] = await it.store.run(add_changes([new], wall_us()))
    return taken.changeid


async def has_ended(it: Rig, requestid: int) -> bool:
    wanted = sa.select(schema.buildrequests.c.complete).where(schema.buildrequests.c.id == requestid)
    ((complete,),) = await it.store.fetch(wanted)
    return bool(complete)


async def running(it: Rig, requestid: int) -> None:
    await it.until_output(requestid, b"waiting")


FAILING = """util.FailingBuildsetCanceller("no-use", [
    (["bad", "good"], ["slow", "waits"], util.SourceStampFilter(branch_eq="main")),
])"""


async def test_a_failure_ends_the_rest_of_its_buildset(start: Start) -> None:
    it = await start(FAILING)
    asked = await ask(it, "bad", "good", "slow")
    await running(it, asked["slow"])
    asked |= await ask(it, "waits")  # another buildset: goes on
    assert (await it.finished(asked["good"])).results == SUCCESS
    (it.directory / "w1/go").write_text("")
    ended = await it.finished(asked["slow"])
    assert (await it.finished(asked["bad"])).results == FAILURE
    assert ended.results == CANCELLED
    assert "bad has failed in the same buildset (FailingBuildsetCanceller 'no-use')" in ended.state
    assert (await it.finished(asked["waits"])).results == SUCCESS


async def test_p10_a_failure_that_no_master_saw_is_acted_on_by_the_next(start: Start) -> None:
    """The master dies between the failure and the stop: whoever starts finds it in the store."""
    it = await start(FAILING)
    it.master.core.cancelling.reconfigure([])
    asked = await ask(it, "bad", "slow")
    await running(it, asked["slow"])
    (it.directory / "w1/go").write_text("")
    assert (await it.finished(asked["bad"])).results == FAILURE
    await it.restart()
    assert (await it.finished(asked["slow"])).results == CANCELLED


async def test_a_source_that_is_filtered_out_goes_on(start: Start) -> None:
    it = await start(FAILING)
    asked = await ask(it, "bad", "slow", source={**MAIN, "branch": "side"})
    await running(it, asked["slow"])
    (it.directory / "w1/go").write_text("")
    assert (await it.finished(asked["bad"])).results == FAILURE
    await it.master.core.cancelling.look()
    await it.stop_build(asked["slow"], "the test ends")
    assert "the test ends" in (await it.finished(asked["slow"])).state


OLD = """util.OldBuildCanceller("old", [
    (["slow", "waits"], util.SourceStampFilter(repository_eq="repo", branch_not_eq="kept")),
])"""


async def test_a_newer_change_ends_what_runs_and_what_waits(start: Start) -> None:
    it = await start(OLD)
    first = await change(it)
    asked = await ask(it, "slow", changes=[first])
    await running(it, asked["slow"])
    asked |= await ask(it, "waits", changes=[first])
    await change(it, branch="side")
    await change(it, repository="other")
    await it.master.core.cancelling.look()
    assert not await has_ended(it, asked["waits"])
    newer = await change(it)
    ended = await it.finished(asked["slow"])
    assert ended.results == CANCELLED
    assert f"change {newer} of main is newer (OldBuildCanceller 'old')" in ended.state
    await it.until("buildrequests", lambda: has_ended(it, asked["waits"]))
    again = await ask(it, "waits", changes=[newer])
    assert (await it.finished(again["waits"])).results == SUCCESS


async def test_without_changes_of_its_own_a_buildset_counts_from_when_it_was_asked_for(start: Start) -> None:
    it = await start(OLD)
    await change(it)
    asked = await ask(it, "slow")
    await running(it, asked["slow"])
    await it.master.core.cancelling.look()
    await change(it)
    assert (await it.finished(asked["slow"])).results == CANCELLED


async def test_a_branch_key_that_fails_cancels_nothing(start: Start) -> None:
    it = await start('util.OldBuildCanceller("old", [("slow", util.SourceStampFilter())], lambda ss: 1 / 0)')
    asked = await ask(it, "slow", changes=[await change(it)])
    await running(it, asked["slow"])
    await change(it)
    await it.master.core.cancelling.look()
    await it.stop_build(asked["slow"], "the test ends")
    assert "the test ends" in (await it.finished(asked["slow"])).state


async def test_a_branch_key_that_does_not_come_back_is_asked_once(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(asking, "PLAIN_SECONDS", 0.2)
    asked_once = tmp_path / "asked"
    key = f"lambda ss: __import__('os').mkdir({str(asked_once)!r}) or [None for _ in iter(int, 1)]"
    it = await start(f'util.OldBuildCanceller("old", [("slow", util.SourceStampFilter())], {key})')
    asked = await ask(it, "slow", changes=[await change(it)])
    await running(it, asked["slow"])
    await change(it)
    for _ in range(3):
        await it.master.core.cancelling.look()
    told = capsys.readouterr().out
    assert told.count("a function of a canceller failed") == 1, "mkdir would fail the second time"
    assert "didn't come back within 0.2 s" in told
    await it.stop_build(asked["slow"], "the test ends")
    assert "the test ends" in (await it.finished(asked["slow"])).state


def test_patch_sets_are_one_branch() -> None:
    assert without_patchset({"branch": "refs/changes/10/4210/3"}) == "refs/changes/10/4210"
    assert without_patchset({"branch": "main"}) == "main"
    assert without_patchset({"branch": None}) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OldBuildCanceller("x", None), "filters must be a list of .*, not None"),
        (lambda: OldBuildCanceller("x", [("b",)]), "a filter must be"),
        (lambda: OldBuildCanceller("x", [("b", "main")]), "must be a SourceStampFilter, not str 'main'"),
        (lambda: OldBuildCanceller("x", [(7, SourceStampFilter())]), "builders of a filter must be"),
        (
            lambda: OldBuildCanceller("x", [("b", SourceStampFilter())], 7),  # type: ignore[arg-type]
            "branch_key must be a function",
        ),
        (lambda: FailingBuildsetCanceller("x", [("b", SourceStampFilter())]), "a filter must be"),
        (lambda: FailingBuildsetCanceller("", [("b", "c", SourceStampFilter())]), "name must not be empty"),
        (lambda: SourceStampFilter(filter_fn=3), "filter_fn must be a function, not int 3"),
        (lambda: SourceStampFilter(branch_re="("), "branch_re: '\\(' is no regular expression"),
    ],
)
def test_what_is_wrong_is_said(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigErrors, match=message):
        make()
