"""Databases that a master can't use, each named in one message and left as it is; those that go and come."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.robust.rooms import read_only
from tests.robust.support import HEAD, attached, done, force, no_traceback, ready, said, started
from tests.robust.test_full_disks import ready_status, unready, well
from tests.support.postgres import Cluster
from tests.support.processes import Farm, eventually, farm

HASTY = str(Path(__file__).parent / "hasty_master.py")
LONG = 'builder("b", job("long", 4), job("after", 0.1))\nbuilder("c", job("c", 0.1))\n'
ONE = 'builder("b", job("one", 0.1))\n'

# The names of Buildbot 4's tables, as far as they tell whose database it is.
BUILDBOTS = ("builders", "buildsets", "buildrequests", "builds", "changes", "masters", "steps", "workers")


async def refused(made: Farm) -> str:
    """What a start that can't succeed says: a message, no traceback, the exit code 1."""
    await made.start_master()
    assert await made.master.wait() == 1
    text = made.master.output.read_text()
    assert "Traceback" not in text
    assert len(text.strip().splitlines()) <= 3, text
    return text


def fingerprint(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}


def _not_a_database(path: Path) -> None:
    path.write_bytes(os.urandom(20_000))


def _newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE buildwright_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO buildwright_version VALUES ('9999')")
    connection.close()


def _buildbots(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        for name in BUILDBOTS:
            connection.execute(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, name TEXT)")
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO builders VALUES (1, 'old')")
    connection.close()


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE recipes (id INTEGER PRIMARY KEY, name TEXT)")
    connection.close()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (_not_a_database, "is no SQLite database"),
        (_newer, "newer than this version's"),
        (_buildbots, "holds Buildbot's own tables, which are left as they are"),
        (_foreign, "holds tables of another program"),
    ],
)
async def test_databases_that_are_never_written(
    tmp_path: Path, make: Callable[[Path], None], told: str
) -> None:
    async with farm(tmp_path) as made:
        directory = tmp_path / "db"
        directory.mkdir()
        make(directory / "state.sqlite")
        before = fingerprint(directory)
        made.configure(HEAD + ONE + f"c['db_url'] = 'sqlite:///{directory}/state.sqlite'\n")
        text = await refused(made)
        assert told in text
        assert str(directory / "state.sqlite") in text
        assert fingerprint(directory) == before, "not a byte is written, and no file left beside it"


async def test_databases_that_cannot_be_reached(tmp_path: Path, own_postgres: Cluster) -> None:
    url = own_postgres.url("postgres")
    port = own_postgres.port
    for db_url, told in {
        f"sqlite:///{tmp_path}/none/here.sqlite": "The directory",
        url.replace("/postgres", "/missing").replace("postgresql:/missing", "postgresql:/"): "missing",
        f"postgresql://nobody@127.0.0.1:{port}/postgres": "nobody",
        "postgresql://someone@127.0.0.1:1/none": "can't be reached",
    }.items():
        directory = tmp_path / hashlib.sha256(db_url.encode()).hexdigest()[:8]
        directory.mkdir()
        async with farm(directory) as made:
            made.configure(HEAD + ONE + f"c['db_url'] = {db_url!r}\n")
            assert told in await refused(made)


async def test_a_read_only_database(tmp_path: Path) -> None:
    """On a file system that became read-only, and at a start on one."""
    async with farm(tmp_path) as made:
        directory = tmp_path / "db"
        directory.mkdir()
        await ready(made, ONE + f"c['db_url'] = 'sqlite:///{directory}/state.sqlite'\n", "w")
        await force(made, "b")
        await done(made)
        await made.master.stop()
        made.master.output.write_text("")
        made.wrapper = read_only(directory)
        text = await refused(made)
        assert "not be read-only" in text
        assert "state.sqlite" in text


async def test_postgres_turns_read_only(tmp_path: Path, own_postgres: Cluster) -> None:
    """As a primary does that became a standby."""
    async with farm(tmp_path) as made:
        await ready(made, f"c['db_url'] = {own_postgres.url('postgres')!r}\n{LONG}", "w")
        await force(made, "b")
        await eventually(lambda: started(made, "long"), "the command runs")
        own_postgres.sql("ALTER SYSTEM SET default_transaction_read_only = on")
        own_postgres.sql("SELECT pg_reload_conf()")
        await eventually(lambda: unready(made, "takes no writes"), "the master says it")
        await eventually(lambda: _ended(made, "long"), "the command comes to its end")
        (build,) = (await made.api.get("builds"))["builds"]
        assert not build["complete"]
        own_postgres.sql("ALTER SYSTEM RESET default_transaction_read_only")
        own_postgres.sql("SELECT pg_reload_conf()")
        (build,) = await done(made)
        assert build["results"] == 0
        await made.check_job(build["buildid"], "job", "long")
        await eventually(lambda: well(made), "the master is ready again")
        no_traceback(made)


async def test_a_locked_database(tmp_path: Path) -> None:
    """Another program holds the write lock: what runs goes on, what is asked for waits or is refused."""
    async with farm(tmp_path) as made:
        await ready(
            made, 'builder("b", job("long", 4), job("after", 0.1))\n' + 'builder("c", job("c", 0.1))\n', "w"
        )
        await force(made, "b")
        await eventually(lambda: started(made, "long"), "the command runs")
        other = sqlite3.connect(made.basedir / "state.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        await eventually(lambda: unready(made, "Another program holds the write lock"), "the master says it")
        asked = asyncio.create_task(force(made, "c"))
        assert len((await made.api.get("builds"))["builds"]) == 1, "reading goes on"
        await eventually(lambda: _ended(made, "long"), "the command comes to its end")
        (build,) = (await made.api.get("builds"))["builds"]
        assert not build["complete"], build
        assert not made.starts("c"), "no new work"
        other.execute("ROLLBACK")
        other.close()
        await eventually(lambda: well(made), "it goes on by itself")
        try:
            await asked
            kept = 1
        except AssertionError:
            kept = 0
        builds = await done(made, 1 + kept)
        assert [each["results"] for each in builds] == [0] * (1 + kept)
        await made.check_job(builds[0]["buildid"], "job", "long")
        no_traceback(made)


async def _ended(made: Farm, job: str) -> bool:
    return (made.ledger / f"{job}.ends").exists()


CONFIG = """
c['workers'].append(worker.Worker("v", "pw"))
builder("b", job("long", SECONDS), job("after", 0.2))
builder("short", job("short", 0.5), job("short after", 0.2))
builder("quick", job("quick", 0.1))
builder("parent", steps.Trigger(schedulerNames=["children"], waitForFinish=True))
builder("child", job("child", 2))
c['schedulers'].append(schedulers.Triggerable(name="children", builderNames=["child"]))
"""


@pytest.mark.parametrize("frozen", [False, True], ids=["stopped", "frozen"])
@pytest.mark.parametrize("lease", [False, True], ids=["briefly", "beyond the lease"])
async def test_postgres_goes_and_comes(
    tmp_path: Path, own_postgres: Cluster, frozen: bool, lease: bool
) -> None:
    """P4, P10: builds come to their true ends, and no restart by hand is needed."""
    away = 6.0 if lease else 2.0
    async with farm(tmp_path) as made:
        url = own_postgres.url("postgres")
        made.configure(f"{HEAD}SECONDS = {away + 3}\nc['db_url'] = {url!r}\n{CONFIG}")
        await made.start_master([HASTY], **({"HASTY_LEASE": "1"} if lease else {}))
        await made.master_is_up()
        await made.start_worker("w")
        await made.start_worker("v")
        await eventually(lambda: attached(made, 2), "the workers are attached")
        for name in ("b", "short", "parent"):
            await force(made, name)
        for name in ("long", "short", "child"):
            await eventually(lambda: started(made, name), "the commands run")  # noqa: B023 - awaited here
        own_postgres.signal("STOP") if frozen else own_postgres.stop()
        try:
            if not frozen:
                await eventually(lambda: unready(made, "can't be reached"), "the master says it")
            elif not lease:
                await eventually(lambda: _is_unready(made), "the master says it")
            if lease:
                await eventually(lambda: said(made, "authority is lost"), "it acts no more")
            await asyncio.sleep(away)  # the outage itself
        finally:
            own_postgres.signal("CONT") if frozen else own_postgres.start()
        builds = await done(made, 4, 60)
        assert [build["results"] for build in builds] == [0, 0, 0, 0], builds
        for build in builds:
            steps = (await made.api.get(f"builds/{build['buildid']}/steps"))["steps"]
            assert all(step["results"] == 0 for step in steps)
        names = {each["builderid"]: each["name"] for each in (await made.api.get("builders"))["builders"]}
        by_name = {names[build["builderid"]]: build["buildid"] for build in builds}
        await made.check_job(by_name["b"], "job", "long")
        await made.check_job(by_name["b"], "job_1", "after")
        await made.check_job(by_name["short"], "job", "short")
        await made.check_job(by_name["short"], "job_1", "short after")
        await made.check_job(by_name["child"], "job", "child")
        assert lease == await said(made, "authority is back")
        await force(made, "quick")
        assert len(await done(made, 5)) == 5
        no_traceback(made)


async def _is_unready(made: Farm) -> bool:
    return (await ready_status(made))[0] == 503
