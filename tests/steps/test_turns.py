"""A worker's next build is claimed while the commit of the one before is under way, and begins after it."""

from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa

from buildwright.model.results import SUCCESS
from buildwright.store import schema
from tests.steps.conftest import Start

BUILDERS = """
builder("b", steps.ShellCommand(command="until test -e {go}; do sleep 0.05; done"))
builder("c", steps.ShellCommand(command=["true"]))
"""


@pytest.mark.parametrize("rig_url", ["postgres"], indirect=True)
async def test_the_next_build_is_claimed_before_and_begins_after(
    start: Start, rig_url: str, tmp_path: Path
) -> None:
    """P3: two builds of one builder never run beside each other in its work directory."""
    go = tmp_path / "go"
    it = await start(BUILDERS.format(go=go))
    first = await it.submit("b")
    await it.started(first)
    second = await it.submit("b")
    outside = await asyncpg.connect(rig_url.replace("+asyncpg", ""))
    try:
        async with outside.transaction():
            held = "SELECT s.id FROM buildsets s JOIN buildrequests r ON r.buildsetid = s.id WHERE r.id = $1"
            await outside.execute(f"{held} FOR UPDATE OF s", first)  # the first build's end waits for it
            go.touch()

            async def claimed() -> bool:
                return bool(await it.builds(second))

            await it.until("builds", claimed)
            assert (await it.build("c")).results == SUCCESS, "others go on"
            (waiting,) = await it.builds(second)
            assert waiting.steps == []
            assert [build.results for build in await it.builds(first)] == [None]
    finally:
        await outside.close()
    assert (await it.finished(first)).results == SUCCESS
    assert (await it.finished(second)).results == SUCCESS
    builds, steps = schema.builds.c, schema.steps.c
    rows = await it.store.fetch(
        sa.select(builds.buildrequestid, steps.started_at, builds.complete_at)
        .select_from(schema.builds.join(schema.steps, steps.buildid == builds.id))
        .where(builds.buildrequestid.in_([first, second]))
        .order_by(builds.id)
    )
    (_, _, ended), (_, began, _) = rows
    assert began >= ended
