"""Removing the past: real builds whose API answers stay consistent, what is kept, and deaths anywhere."""

import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
import sqlalchemy as sa

from buildwright.logs.blobs import FileBlobs
from buildwright.master.retention import Pass, remove_at_once
from buildwright.model.retention import Retention
from buildwright.store import schema
from buildwright.store.base import Store
from buildwright.store.sqlite import SqliteStore
from buildwright.store.unit import Unit
from buildwright.store.units import control
from buildwright.store.units.changes import NewChange, add_changes
from tests.support.fill import NOW_US, Size, fill_sqlite, make_sqlite
from tests.support.rig import Rig, rig
from tests.support.webserver import execute

R = TypeVar("R")

CONFIG = """
from datetime import timedelta
builder("b", steps.ShellCommand(name="say", command=["echo", "hello"]))
builder("late", steps.ShellCommand(command=["true"]))
"""
RULE = """
c["retention"] = util.Retention(
    keep=0, keep_good=False, max_logs=1, max_builds=2, max_changes=1,
    builders={"late": util.Retention()},
)
"""


@pytest.fixture(params=["sqlite", "postgres"])
def db_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"{request.param}_store_url")
    return url


async def count(store: Store, table: sa.Table) -> int:
    return int((await store.fetch(sa.select(sa.func.count()).select_from(table)))[0][0])


async def asked(it: Rig, path: str) -> tuple[int, Any]:
    url = f"http://127.0.0.1:{it.port}/api/v2/{path}"
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        return answer.status, await answer.json()


async def test_a_running_master_removes_what_is_beyond_its_rule(tmp_path: Path, db_url: str) -> None:
    async with rig(tmp_path, db_url, CONFIG) as it:
        late = await it.build("late")
        built = [await it.build() for _ in range(3)]
        found = [NewChange("me", revision=str(at), identity=f"one/{at}") for at in range(3)]
        taken = await it.store.run(add_changes(found, NOW_US))
        it.configure(CONFIG + RULE)
        await it.master.reload()

        async def gone() -> bool:
            return (await asked(it, f"builds/{built[0].id}"))[0] == 404

        await it.until("logs", gone)
        status, left = await asked(it, "builders/b/builds")
        assert [each["number"] for each in left["builds"]] == [2, 3]
        for path in (
            f"buildrequests/{built[0].requestid}",
            f"steps/{built[0].steps[0].id}",
            f"builds/{built[0].id}/steps/say",
            f"builds/{built[0].id}/steps/say/logs/stdio/contents",
            "builders/b/builds/1",
        ):
            assert (await asked(it, path))[0] == 404, path
        assert (await asked(it, f"buildrequests/{built[0].requestid}/builds"))[1].get("builds", []) == []
        status, old = await asked(it, f"builds/{built[1].id}/steps/say/logs/stdio/contents")
        assert status == 410
        assert "expired on" in old["error"]
        status, kept = await asked(it, f"builds/{built[2].id}/steps/say/logs/stdio/contents")
        assert "hello" in kept["logchunks"][0]["content"]
        assert (await asked(it, f"builds/{late.id}"))[0] == 200
        assert await it.store.run(control.rebuild(built[0].id, NOW_US)) is None

        async def changes_are_few() -> bool:
            return await count(it.store, schema.changes) == 1

        await it.until("logs", changes_are_few)
        again = await it.store.run(add_changes(found, NOW_US))
        assert again == [(each.changeid, False) for each in taken]  # known, though the first two are gone
        assert await count(it.store, schema.changes) == 1
        assert (await it.build()).number == 4


async def test_what_something_open_refers_to_stays(tmp_path: Path, sqlite_store_url: str) -> None:
    rule = Retention(keep=0, keep_good=False, max_builds=0, max_changes=0)
    async with rig(tmp_path, sqlite_store_url, CONFIG) as it:
        rebuilt, parent, other = [await it.build() for _ in range(3)]
        await it.stop_worker()
        await it.store.run(control.rebuild(rebuilt.id, NOW_US))
        await it.submit("late", parent_buildid=parent.id, parent_relationship="Triggered from")
        [waits, _] = await it.store.run(add_changes([NewChange("a"), NewChange("b")], NOW_US))
        await it.submit("late", changeids=[waits.changeid])
        looked = await Pass(it.store, rule, NOW_US * 2).count()
        assert (looked["b"].builds, looked[""].changes) == (1, 1)
        await remove_at_once(it.store, it.blobs, rule, NOW_US * 2)
        found = await it.store.fetch(sa.select(schema.builds.c.id).order_by(schema.builds.c.id))
        assert [buildid for (buildid,) in found] == [rebuilt.id, parent.id]
        assert await it.store.fetch(sa.select(schema.changes.c.id)) == [(waits.changeid,)]
        assert not await it.builds(other.requestid)


async def test_what_a_scheduler_or_a_running_parent_has_still_to_look_at_stays(
    tmp_path: Path, sqlite_store_url: str
) -> None:
    rule = Retention(keep=0, keep_good=False, max_builds=0)
    text = (
        CONFIG + 'builder("long", steps.ShellCommand(name="wait", command="while :; do sleep 0.1; done"))\n'
    )
    async with rig(tmp_path, sqlite_store_url, text) as it:
        awaited = await it.build()
        await execute(
            it.store,
            "INSERT INTO scheduler_completions (schedulerid, buildsetid)"
            " SELECT (SELECT min(id) FROM schedulers), buildsetid FROM buildrequests"
            f" WHERE id = {awaited.requestid}",
        )
        running = await it.submit("long")
        await it.started(running)
        [parent] = await it.builds(running)
        child = await it.submit("late", parent_buildid=parent.id, parent_relationship="Triggered from")
        await execute(
            it.store,
            f"UPDATE buildrequests SET complete = 1, complete_at = 5, results = 6 WHERE id = {child}",
        )
        everything = await count(it.store, schema.buildrequests)
        await remove_at_once(it.store, it.blobs, rule, NOW_US * 2)
        await remove_at_once(it.store, it.blobs, Retention(builds=1, keep=0), NOW_US * 2)
        assert await count(it.store, schema.buildrequests) == everything
        await it.stop_build(running)
        await it.finished(running)
        await execute(it.store, "DELETE FROM scheduler_completions")
        await execute(it.store, "UPDATE buildsets SET complete = 1")
        await remove_at_once(it.store, it.blobs, Retention(builds=1, keep=0, keep_good=False), NOW_US * 2)
        assert await count(it.store, schema.buildrequests) == 0
        for table in (
            schema.builds,
            schema.buildsets,
            schema.buildset_sourcestamps,
            schema.logs,
            schema.steps,
        ):
            assert await count(it.store, table) == 0, table.name


# -- dying ---------------------------------------------------------------------------------------------------

SIZE = Size(builds=14, waiting=2, builders=2, workers=2, changes=6, detailed=14)
ALL = Retention(
    builds=timedelta(seconds=1),
    changes=timedelta(seconds=1),
    logs=timedelta(seconds=1),
    keep=1,
    keep_good=False,
)


class Died(BaseException):
    """The process is gone."""


class MortalStore(SqliteStore):
    """Dies after so many writes, before or after the commit of the last."""

    left = 1 << 30

    async def run(self, unit: Unit[R], *, timeout: float | None = None) -> R:
        self.left -= 1
        if self.left == 0:
            raise Died
        result = await super().run(unit, timeout=timeout)
        self.left -= 1
        if self.left == 0:
            raise Died
        return result


async def remove_all(path: Path, left: int = 1 << 30) -> int:
    """Passes until nothing is left to do; gives how many points of death they went by."""
    store = MortalStore(path)
    await store.start()
    store.left = left
    try:
        now = NOW_US + 10_000_000_000
        await remove_at_once(store, FileBlobs(path.parent / "logs"), ALL, now)
        assert not await Pass(store, ALL, now).count()
    finally:
        used = left - store.left
        await store.stop()
    return used


def change(path: Path, script: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()


def rows_of(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    connection = sqlite3.connect(path)
    try:
        return {
            name: sorted(connection.execute(f"SELECT * FROM {name}"), key=repr)
            for name in schema.metadata.tables
        }
    finally:
        connection.close()


LEFT_BEHIND = """
INSERT INTO build_data (buildid, name, value, length, source) SELECT id, 'more', 'x', 1, 's' FROM builds;
INSERT INTO test_result_sets (id, builderid, buildid, stepid, number, category, value_unit)
    SELECT id + 1000, builderid, id, 1, id + 1000, 'c', 'u' FROM builds;
INSERT INTO test_results (builderid, test_result_setid, value)
    SELECT builds.builderid, builds.id + 1000, 'v' FROM builds, steps WHERE steps.id < 15;
"""
"""What steps leave with each build: data, and a set of results that one unit doesn't remove."""


async def test_a_death_anywhere_leaves_nothing_and_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildwright.master.retention.RESULTS_AT_ONCE", 2)
    filled = tmp_path / "filled.sqlite"
    make_sqlite(filled)
    fill_sqlite(filled, SIZE)
    change(filled, LEFT_BEHIND)
    whole = tmp_path / "whole" / "state.sqlite"
    whole.parent.mkdir()
    shutil.copy(filled, whole)
    points = await remove_all(whole)
    expected = rows_of(whole)
    assert len(expected["builds"]) < SIZE.builds / 2
    builds = {row[0] for row in expected["builds"]}
    assert {row[1] for row in expected["build_data"]} == builds
    assert {row[2] for row in expected["test_result_sets"]} == builds
    assert {row[2] for row in expected["test_results"]} <= {row[0] for row in expected["test_result_sets"]}
    assert len(expected["logs"]) < len(rows_of(filled)["logs"]) / 2
    for left in range(1, points, 13):
        path = tmp_path / str(left) / "state.sqlite"
        path.parent.mkdir()
        shutil.copy(filled, path)
        with pytest.raises(Died):
            await remove_all(path, left)
        await remove_all(path)
        assert rows_of(path) == expected, left
        assert not [each for each in (path.parent / "logs").rglob("*") if each.is_file()], left
