"""`buildwright upgrade-db`."""

import sqlite3
from pathlib import Path

from buildwright.store.migrate import OURS
from tests.cli.support import LEAST, Master, buildwright, failed, succeeded


def test_an_empty_database_gets_its_tables(resting: Master) -> None:
    before = buildwright("upgrade-db", "--check", cwd=resting.basedir)
    assert before.code == 1
    assert "has no tables yet" in before.out
    assert not (resting.basedir / "state.sqlite").exists()
    done = succeeded("upgrade-db", cwd=resting.basedir)
    assert f"it was empty and now has schema {OURS.head}" in done.out
    assert "is up to date" in succeeded("upgrade-db", resting.basedir).out
    assert succeeded("upgrade-db", resting.basedir, "--check", "--json").json == {
        "state": "current",
        "schema": OURS.head,
        "wanted": OURS.head,
        "upgraded": False,
    }


def test_a_running_masters_database(shared: Master) -> None:
    assert "is up to date" in succeeded("upgrade-db", shared.basedir).out


def test_databases_that_are_never_written(resting: Master) -> None:
    path = resting.basedir / "state.sqlite"
    succeeded("upgrade-db", resting.basedir)
    _execute(path, "UPDATE buildwright_version SET version_num = '9999'")
    assert "is newer than this version's" in failed("upgrade-db", resting.basedir)
    assert "is newer than this version's" in failed("start", resting.basedir)
    path.unlink()
    for table in ("buildrequests", "buildsets", "builders", "changes", "alembic_version"):
        _execute(path, f"CREATE TABLE {table} (id INTEGER)")
    before = path.read_bytes()
    assert "holds Buildbot's own tables" in failed("upgrade-db", resting.basedir)
    assert path.read_bytes() == before


def test_what_stands_in_the_way(resting: Master, tmp_path: Path) -> None:
    assert "it has no master.cfg" in failed("upgrade-db", tmp_path)
    resting.configure(LEAST + 'c["db_url"] = "mysql://h/d"\n')
    assert "MySQL is not supported" in failed("upgrade-db", resting.basedir)
    resting.configure(LEAST + 'c["db_url"] = "postgresql://nobody@127.0.0.1:1/ci"\n')
    assert "PostgreSQL database ci on 127.0.0.1:1" in failed("upgrade-db", resting.basedir)


def _execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()
