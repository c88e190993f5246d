"""How a database stands to this program, and what upgrading does to it."""

import asyncio
import contextlib
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from buildwright.store import schema
from buildwright.store.errors import StatementFailed, StoreAway, StoreBroken
from buildwright.store.migrate import OURS, VERSION_TABLE, Migrations, NotOurs, State, inspect, upgrade
from buildwright.store.sqlite import SqliteStore
from buildwright.store.urls import parse

HERE = Path("/")

LATER = '''"""A later schema."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{previous}"


def upgrade() -> None:
    op.add_column("workers", sa.Column("later", sa.Integer(), server_default="7", nullable=False))
    {more}
'''


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database: no file, or one without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state.sqlite'}"
    found: str = request.getfixturevalue("postgres_url")
    return found


def later(directory: Path, more: str = "pass") -> Migrations:
    """Our migrations and one more."""
    copy = directory / "migrations"
    shutil.copytree(OURS.directory, copy)
    number = f"{int(OURS.head) + 1:04d}"
    text = LATER.format(revision=number, previous=OURS.head, more=more)
    (copy / "versions" / f"{number}_later.py").write_text(text)
    return Migrations(copy)


def files(directory: Path) -> dict[str, int]:
    """The files of a directory with their permissions."""
    return {file.name: file.stat().st_mode & 0o777 for file in directory.iterdir()}


async def execute(url: str, *statements: str) -> list[tuple[object, ...]]:
    """Run statements past the store; the rows of the last."""
    target = parse(url, HERE)
    if target.path is not None:
        with contextlib.closing(sqlite3.connect(target.path, isolation_level=None)) as connection:
            return [connection.execute(statement).fetchall() for statement in statements][-1]
    postgres = await asyncpg.connect(url)
    try:
        return [[tuple(row) for row in await postgres.fetch(statement)] for statement in statements][-1]
    finally:
        await postgres.close()


async def test_an_empty_database_gets_the_tables(url: str) -> None:
    found = await inspect(url, HERE)
    assert found.state is State.EMPTY
    assert "has no tables yet. Run `buildwright upgrade-db`" in found.text
    assert (await upgrade(url, HERE)).state is State.EMPTY
    assert (await inspect(url, HERE)).state is State.CURRENT
    assert (await upgrade(url, HERE)).state is State.CURRENT
    await execute(url, "SELECT count(*) FROM builds")


async def test_inspecting_makes_no_file(tmp_path: Path) -> None:
    await inspect(f"sqlite:///{tmp_path / 'state.sqlite'}", HERE)
    assert files(tmp_path) == {}


async def test_an_older_database_is_upgraded_and_keeps_its_rows(url: str, tmp_path: Path) -> None:
    await upgrade(url, HERE)
    await execute(url, "INSERT INTO workers (name) VALUES ('one')")
    migrations = later(tmp_path)
    found = await inspect(url, HERE, migrations=migrations)
    assert found.state is State.OLDER
    assert f"has schema {OURS.head}, this version needs {migrations.head}" in found.text
    assert (await upgrade(url, HERE, migrations=migrations)).state is State.OLDER
    assert await execute(url, "SELECT name, later FROM workers") == [("one", 7)]
    assert (await inspect(url, HERE, migrations=migrations)).state is State.CURRENT


async def test_a_newer_database_is_left_alone(url: str, tmp_path: Path) -> None:
    migrations = later(tmp_path)
    await upgrade(url, HERE, migrations=migrations)
    found = await inspect(url, HERE)
    assert found.state is State.NEWER
    with pytest.raises(NotOurs, match="newer than this version"):
        await upgrade(url, HERE)


async def test_a_migration_that_fails_leaves_everything_as_it_was(url: str, tmp_path: Path) -> None:
    await upgrade(url, HERE)
    broken = later(tmp_path, more='op.execute("SELECT nothing FROM nowhere")')
    with pytest.raises((StatementFailed, sa.exc.DBAPIError)):
        await upgrade(url, HERE, migrations=broken)
    assert (await inspect(url, HERE)).state is State.CURRENT
    with pytest.raises((sqlite3.OperationalError, asyncpg.UndefinedColumnError)):
        await execute(url, "SELECT later FROM workers")


async def test_buildbots_tables_are_never_written(url: str) -> None:
    tables = ["alembic_version", "builders", "buildrequests", "buildsets", "changes", "workers"]
    await execute(url, *(f"CREATE TABLE {name} (id INTEGER)" for name in tables))
    found = await inspect(url, HERE)
    assert found.state is State.BUILDBOT
    with pytest.raises(NotOurs, match="Buildbot's own tables, which are left as they are"):
        await upgrade(url, HERE)
    assert (await inspect(url, HERE)) == found


async def test_a_foreign_database_is_never_written(url: str) -> None:
    await execute(url, "CREATE TABLE invoices (id INTEGER)")
    assert (await inspect(url, HERE)).state is State.FOREIGN
    with pytest.raises(NotOurs, match="tables of another program"):
        await upgrade(url, HERE)


async def test_upgrades_at_once_on_postgresql_wait_for_each_other(postgres_url: str) -> None:
    found = await asyncio.gather(*(upgrade(postgres_url, HERE) for _ in range(4)))
    assert sorted(each.state.value for each in found) == ["current", "current", "current", "empty"]


async def test_no_upgrade_under_a_running_master(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.sqlite'}"
    await upgrade(url, HERE)
    store = SqliteStore(tmp_path / "state.sqlite", sole=True)
    await store.start()
    with pytest.raises(StoreAway, match="belongs to another running master"):
        await upgrade(url, HERE)
    await store.stop()
    await upgrade(url, HERE)


async def test_a_sqlite_file_is_private_and_durable(tmp_path: Path) -> None:
    await upgrade("sqlite:///state.sqlite", tmp_path)
    assert await execute(f"sqlite:///{tmp_path / 'state.sqlite'}", "PRAGMA journal_mode") == [("wal",)]
    assert files(tmp_path) == {"state.sqlite": 0o600, "state.sqlite.lock": 0o600}


async def test_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(StoreAway, match="doesn't exist"):
        await upgrade("sqlite:///nowhere/state.sqlite", tmp_path)


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite").write_text("notes " * 1000)
    for verb in (inspect, upgrade):
        with pytest.raises(StoreBroken, match="is no SQLite database"):
            await verb("sqlite:///state.sqlite", tmp_path)


async def test_memory_needs_no_upgrade() -> None:
    assert (await upgrade("sqlite://", HERE)).state is State.EMPTY


# -- the migrations and the schema agree -------------------------------------------------------------------


async def shape(url: str) -> set[tuple[object, ...]]:
    """Everything that the database knows of its tables and indexes, in no order."""
    if parse(url, HERE).path is not None:
        rows = await execute(url, "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return {(name, *sorted(re.split(r"[,()\s]+", str(sql).replace('"', "")))) for name, sql in rows}
    columns = await execute(
        url,
        "SELECT table_name, column_name, data_type, is_nullable, regexp_replace(column_default, ':.*', '') "
        "FROM information_schema.columns WHERE table_schema = 'public'",
    )
    return {*columns, *await execute(url, "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'")}


async def test_migrations_make_the_same_tables_as_the_schema(url: str, tmp_path: Path) -> None:
    """If this fails: `python tools/new_migration.py "what changed"`."""
    shutil.copytree(OURS.directory, tmp_path / "migrations")
    await upgrade(url, HERE, migrations=Migrations(tmp_path / "migrations"))
    by_migrations = await shape(url)
    if parse(url, HERE).path is not None:
        (tmp_path / "state.sqlite").unlink()
    else:
        rows = await execute(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        tables = [str(name) for (name,) in rows]
        await execute(url, f"DROP TABLE {', '.join(tables)}")
    await upgrade(url, HERE)
    assert by_migrations == await shape(url)


def test_nothing_is_missing_in_the_migrations(tmp_path: Path) -> None:
    """As above, in Alembic's own words."""
    shutil.copytree(OURS.directory, tmp_path / "migrations")
    with asyncio.Runner() as runner:
        runner.run(
            upgrade("sqlite:///state.sqlite", tmp_path, migrations=Migrations(tmp_path / "migrations"))
        )
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'state.sqlite'}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()


def test_a_master_that_looks_at_its_database_does_not_load_alembic(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from buildwright.store.migrate import inspect, upgrade\n"
        "asyncio.run(upgrade('sqlite:///state.sqlite', Path.cwd()))\n"
        "found = asyncio.run(inspect('sqlite:///state.sqlite', Path.cwd()))\n"
        "print(found.state.value, 'alembic' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "current False\n"
