"""How long builds still take: by their builder's last good build, and by what a step says of its progress."""

from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa

from buildwright.builds.progress import StepProgress
from buildwright.model.results import FAILURE, SUCCESS
from buildwright.store import schema
from buildwright.web.resources.estimates import US, Found, Step, seconds_left
from tests.steps.conftest import BOTH_STORES, Start
from tests.support.rig import Rig

COUNTING = """
class Counting(steps.ShellMixin, steps.BuildStep):
    def __init__(self, **kwargs):
        kwargs = self.setupShellMixin(kwargs, prohibitArgs=["command"])
        super().__init__(**kwargs)

    async def run(self):
        for number in (1, 2):
            wait = f"until [ -e ../go{number} ]; do sleep 0.02; done"
            command = await self.makeRemoteShellCommand(command=wait)
            await self.runCommand(command)
            await self.setProgress("halves", number)
        held = await self.makeRemoteShellCommand(command="until [ -e ../end ]; do sleep 0.02; done")
        await self.runCommand(held)
        return util.FAILURE if self.getProperty("fails") else util.SUCCESS

builder("b", Counting(name="count"), steps.ShellCommand(name="after", command="true"))
"""


async def estimate(it: Rig, buildid: int) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{it.port}/api/v2/builds/{buildid}/estimate") as answer,
    ):
        [found] = (await answer.json())["estimates"]
        return dict(found)


async def progress(it: Rig, buildid: int, part: float) -> dict[str, Any]:
    """The estimate, as soon as the running step has come so far."""
    found: dict[str, Any] = {}

    async def so_far() -> bool:
        found.update(await estimate(it, buildid))
        return bool(found["step_progress"] == part)

    await it.until("steps", so_far)
    return found


@BOTH_STORES
async def test_a_step_that_tells_its_progress(start: Start) -> None:
    it = await start(COUNTING)
    directory = it.builddir()
    directory.mkdir(parents=True)
    for name in ("go1", "go2", "end"):
        (directory / name).touch()
    first = await it.build()
    assert first.results == SUCCESS
    assert (await it.build(properties={"fails": True})).results == FAILURE  # is no measure of others
    assert (await estimate(it, first.id))["seconds_left"] == 0
    (directory / "go2").unlink()
    (directory / "end").unlink()
    request = await it.submit()
    await it.started(request)
    [running] = await it.builds(request)
    found = await progress(it, running.id, 0.5)
    columns = schema.steps.c
    query = sa.select(columns.name, columns.complete_at - columns.locks_acquired_at)
    rows = await it.store.fetch(query.where(columns.buildid == first.id))
    usual = {name: took / US for name, took in rows}
    assert found == {
        "based_on": first.id,
        "buildid": running.id,
        "seconds_left": pytest.approx(usual["count"] / 2 + usual["after"], abs=0.1),
        "step": "count",
        "step_progress": 0.5,
    }
    (directory / "go2").touch()
    await progress(it, running.id, 1.0)
    (directory / "end").touch()
    assert (await it.finished(request)).results == SUCCESS


async def test_what_is_no_progress_is_named(start: Start) -> None:
    it = await start(
        """
class Odd(steps.BuildStep):
    async def run(self):
        self.setProgress("lines", "many")
        return util.SUCCESS
builder("b", Odd(name="odd"))
"""
    )
    said = (await it.build()).log("odd", "err.text").text
    assert "setProgress('lines', ...) takes a number that isn't negative, not 'many'" in said


def test_the_part_that_is_done() -> None:
    totals: dict[tuple[int, str], dict[str, float]] = {}
    first = StepProgress(totals, 1, "tests")
    first.set("tests", 200)
    first.set("files", 0)
    assert first.part is None
    first.ended_well()
    second = StepProgress(totals, 1, "tests")
    second.set("tests", 50)
    second.set("files", 3)  # there were none the last time: that says nothing
    assert second.part == pytest.approx(0.25)
    second.set("tests", 500)
    assert second.part == pytest.approx(1.0)
    second.begin_try()
    assert [second.part, StepProgress(totals, 2, "tests").part] == [None, None]


NOW = 1_000 * US
LIKE = [Step("get", 0, 10 * US), Step("make", 10 * US, 70 * US), Step("test", 75 * US, 105 * US)]


@pytest.mark.parametrize(
    ("steps", "part", "left"),
    [
        ([], None, 100),
        ([Step("get", NOW - 4 * US, None)], None, 96),
        ([Step("get", NOW - 40 * US, None)], None, 90),  # it takes longer than usual: what follows is left
        ([Step("get", None, None)], None, 100),  # it waits for a lock
        ([Step("get", 0, 1), Step("make", NOW, None)], 0.75, 45),
        ([Step("get", 0, 1), Step("make", 0, 1), Step("new", NOW - 9 * US, None)], None, 30),
    ],
)
def test_what_is_left(steps: list[Step], part: float | None, left: float) -> None:
    assert seconds_left(Found(2, False, steps, 1, LIKE), NOW, part) == left
    assert seconds_left(Found(2, False, steps, None, []), NOW, part) is None
    assert seconds_left(Found(2, True, steps, 1, LIKE), NOW, part) == 0
