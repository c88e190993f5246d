"""Making and upgrading the tables.

A database names its schema's revision in ``buildwright_version``. :func:`inspect` tells, without writing
and without loading Alembic, how a database stands to this program; a master starts on a ``current`` one
only. :func:`upgrade` is what ``buildwright upgrade-db`` runs: it makes the tables in an empty database, or
runs the missing migrations (``migrations/versions/NNNN_*.py``) with Alembic.

Rules for migrations: the first release that needs a new shape only *expands* (new tables, columns with
defaults, indexes), a later one *contracts* what no supported version uses any more. A migration never reads
more than it must.

What happens when things fail:

- everything is one transaction on both databases, the revision's row included: what fails leaves the
  database as it was;
- two upgrades at once wait for each other (PostgreSQL: an advisory lock) or the second is refused (SQLite:
  a lock on a file beside the database, which a running master holds too);
- tables that aren't ours, Buildbot's among them, are never written: the upgrade is refused and says what to
  do."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.schema import CreateIndex, CreateTable

from buildwright.store.errors import StoreAway, StoreError, from_postgres, from_sqlite
from buildwright.store.schema import metadata
from buildwright.store.sqlite import take_file
from buildwright.store.sqlite_session import connect
from buildwright.store.unit import POSTGRESQL, SQLITE, dialect_of
from buildwright.store.urls import Target, parse

if TYPE_CHECKING:
    import asyncpg  # loaded with PostgreSQL only

VERSION_TABLE = "buildwright_version"
_CREATE_VERSION = (
    f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL, "
    f"CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num))"
)
_BUILDBOTS = {"buildrequests", "buildsets", "builders", "changes"}
_BUILDBOTS_VERSIONS = {"alembic_version", "migrate_version"}
_ADVISORY = 0x6275696C64  # the name of the lock among all of the server's advisory locks


class State(enum.Enum):
    """How a database stands to this program."""

    EMPTY = "empty"
    """No tables: ``upgrade`` makes them."""
    CURRENT = "current"
    """Ready for use."""
    OLDER = "older"
    """Made by an older version: ``upgrade`` brings it up to date."""
    NEWER = "newer"
    """Upgraded by a newer version than this one: never written."""
    BUILDBOT = "buildbot"
    """Holds Buildbot's own tables: never written."""
    FOREIGN = "foreign"
    """Holds tables of something else: never written."""


class NotOurs(StoreError):
    """The database can't be upgraded by this program: its tables are newer than it, or not its own."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What :func:`inspect` found."""

    state: State
    name: str
    revision: str | None
    head: str

    @property
    def text(self) -> str:
        """One sentence for people: what it is, and what to do."""
        match self.state:
            case State.EMPTY:
                return f"The {self._what} has no tables yet. Run `buildwright upgrade-db`."
            case State.CURRENT:
                return f"The {self._what} is up to date (schema {self.head})."
            case State.OLDER:
                return (
                    f"The {self._what} has schema {self.revision}, this version needs {self.head}. Stop the "
                    "masters, make a backup, and run `buildwright upgrade-db`."
                )
            case State.NEWER:
                return (
                    f"The {self._what} has schema {self.revision}, which is newer than this version's "
                    f"{self.head}. Install the version that upgraded it, or a newer one."
                )
            case State.BUILDBOT:
                return (
                    f"The {self._what} holds Buildbot's own tables, which are left as they are. Give "
                    "db_url a database of its own, for example sqlite:///state-buildwright.sqlite."
                )
            case State.FOREIGN:
                return (
                    f"The {self._what} holds tables of another program, which are left as they are. Give "
                    "db_url a database of its own."
                )

    @property
    def _what(self) -> str:
        return self.name if self.name.startswith("PostgreSQL") else f"database {self.name}"


class Migrations:
    """A directory of migrations, one after the other, named by number: ``0001_first.py``, ``0002_….py``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        files = (directory / "versions").glob("[0-9][0-9][0-9][0-9]_*.py")
        self.revisions = sorted(path.name[:4] for path in files)

    @property
    def head(self) -> str:
        return self.revisions[-1]

    def run(self, connection: Any, revision: str | None) -> None:
        """Run what is missing on a SQLAlchemy connection that is in a transaction."""
        from alembic.config import Config
        from alembic.runtime.environment import EnvironmentContext
        from alembic.runtime.migration import MigrationStep
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", str(self.directory))
        config.set_main_option("path_separator", "os")
        script = ScriptDirectory.from_config(config)

        def missing(_revision: Any, _context: Any) -> list[Any]:
            steps = [*script.iterate_revisions(self.head, revision or "base")][::-1]
            return [MigrationStep.upgrade_from_script(script.revision_map, step) for step in steps]

        with EnvironmentContext(config, script, fn=missing) as environment:
            environment.configure(connection=connection, version_table=VERSION_TABLE)
            environment.run_migrations()


OURS = Migrations(Path(__file__).parent / "migrations")


def create_statements(dialect: str) -> Iterator[str]:
    """The statements that make every table and index in an empty database."""
    kind = dialect_of(dialect)
    for table in metadata.sorted_tables:
        yield str(CreateTable(table).compile(dialect=kind))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            where = index.info.get("where")
            yield str(CreateIndex(index).compile(dialect=kind)) + (f" WHERE {where}" if where else "")


async def inspect(db_url: str, basedir: Path, *, migrations: Migrations = OURS) -> Inspection:
    """How the database stands to this program. Writes nothing; a missing SQLite file is an empty database."""
    target = parse(db_url, basedir)
    if target.dialect == POSTGRESQL:
        import asyncpg

        connection = await _connect(target)
        try:
            return await _inspect_postgres(connection, target, migrations)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise from_postgres(error, target.name) from error
        finally:
            await connection.close()
    return await asyncio.to_thread(_inspect_file, target, migrations)


async def upgrade(db_url: str, basedir: Path, *, migrations: Migrations = OURS) -> Inspection:
    """Bring the database to this program's schema; gives what was found before.

    Raises :class:`NotOurs` if it must not be touched, and other :class:`StoreError` if it can't.
    """
    target = parse(db_url, basedir)
    if target.dialect == POSTGRESQL:
        return await _upgrade_postgres(target, migrations)
    if target.path is None:
        return Inspection(State.EMPTY, target.name, None, migrations.head)
    return await asyncio.to_thread(_upgrade_file, target, target.path, migrations)


def _judge(target: Target, tables: set[str], revision: str | None, migrations: Migrations) -> Inspection:
    if VERSION_TABLE in tables and revision is not None:
        if revision == migrations.head:
            state = State.CURRENT
        else:
            state = State.OLDER if revision in migrations.revisions else State.NEWER
    elif not tables:
        state = State.EMPTY
    elif tables >= _BUILDBOTS and tables & _BUILDBOTS_VERSIONS:
        state = State.BUILDBOT
    else:
        state = State.FOREIGN
    return Inspection(state, target.name, revision, migrations.head)


def _refuse(found: Inspection) -> None:
    if found.state in (State.NEWER, State.BUILDBOT, State.FOREIGN):
        raise NotOurs(found.text)


# -- SQLite ------------------------------------------------------------------------------------------------


def _inspect_file(target: Target, migrations: Migrations) -> Inspection:
    if target.path is None or not target.path.exists():
        return _judge(target, set(), None, migrations)
    try:
        connection = connect(str(target.path), readonly=True)
        try:
            return _inspect_sqlite(connection, target, migrations)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise from_sqlite(error, target.name, "inspect") from error


def _inspect_sqlite(connection: sqlite3.Connection, target: Target, migrations: Migrations) -> Inspection:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    tables = {name for name in tables if not name.startswith("sqlite_")}
    row = None
    if VERSION_TABLE in tables:
        row = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608 - a constant
    return _judge(target, tables, row[0] if row else None, migrations)


def _upgrade_file(target: Target, path: Path, migrations: Migrations) -> Inspection:
    if not path.parent.is_dir():
        raise StoreAway(
            f"The directory {path.parent} of the database doesn't exist. Make it, or correct db_url."
        )
    lock = take_file(path)
    try:
        made = not path.exists()
        path.touch(mode=0o600)  # its rows hold what builds printed
        connection = connect(str(path))
        try:
            found = _inspect_sqlite(connection, target, migrations)
            _refuse(found)
            connection.execute("PRAGMA journal_mode=WAL")
            if found.state is not State.CURRENT:
                _migrate_sqlite(connection, found, migrations)
        finally:
            connection.close()
        if made:
            directory = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        return found
    except sqlite3.Error as error:
        raise from_sqlite(error, target.name, "upgrade") from error
    finally:
        os.close(lock)


def _migrate_sqlite(connection: sqlite3.Connection, found: Inspection, migrations: Migrations) -> None:
    if found.state is State.EMPTY and migrations is OURS:
        with _transaction(connection):
            for statement in (*create_statements(SQLITE), _CREATE_VERSION):
                connection.execute(statement)
            connection.execute(f"INSERT INTO {VERSION_TABLE} VALUES (?)", (migrations.head,))  # noqa: S608
        return
    import sqlalchemy as sa

    engine = sa.create_engine("sqlite://", creator=lambda: connection, poolclass=sa.StaticPool)
    sa.event.listen(engine, "begin", lambda bound: bound.exec_driver_sql("BEGIN IMMEDIATE"))
    with engine.begin() as bound:
        migrations.run(bound, found.revision)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


# -- PostgreSQL --------------------------------------------------------------------------------------------


async def _connect(target: Target) -> asyncpg.Connection:
    from buildwright.store.postgres import PostgresStore

    return await PostgresStore(target.dsn, name=target.name).connect()


async def _inspect_postgres(
    connection: asyncpg.Connection, target: Target, migrations: Migrations
) -> Inspection:
    rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    tables = {row[0] for row in rows}
    revision = None
    if VERSION_TABLE in tables:
        revision = await connection.fetchval(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608
    return _judge(target, tables, revision, migrations)


async def _upgrade_postgres(target: Target, migrations: Migrations) -> Inspection:
    import asyncpg

    connection = await _connect(target)
    try:
        await connection.execute("SET idle_in_transaction_session_timeout = 0")
        await connection.execute("SET lock_timeout = 0")
        await connection.execute("SET statement_timeout = 0")
        await connection.execute("SELECT pg_advisory_lock($1::bigint)", _ADVISORY)
        # A migration that waits for a master's transaction would make all of them wait behind it.
        await connection.execute("SET lock_timeout = '10s'")
        found = await _inspect_postgres(connection, target, migrations)
        _refuse(found)
        if found.state is State.EMPTY and migrations is OURS:
            async with connection.transaction():
                for statement in (*create_statements(POSTGRESQL), _CREATE_VERSION):
                    await connection.execute(statement)
                await connection.execute(
                    f"INSERT INTO {VERSION_TABLE} VALUES ($1::varchar)",  # noqa: S608
                    migrations.head,
                )
        elif found.state is not State.CURRENT:
            await _migrate_postgres(target, found, migrations)
        return found
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise from_postgres(error, target.name) from error
    finally:
        await connection.close()


async def _migrate_postgres(target: Target, found: Inspection, migrations: Migrations) -> None:
    """On a connection of SQLAlchemy's, while the caller's holds the lock."""
    import asyncpg
    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import create_async_engine

    async def creator() -> asyncpg.Connection:
        return await asyncpg.connect(target.dsn, server_settings={"lock_timeout": "10s"})

    engine = create_async_engine("postgresql+asyncpg://", async_creator=creator, poolclass=sa.NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(migrations.run, found.revision)
    except sa.exc.DBAPIError as error:
        cause = error.orig.__cause__ if error.orig is not None else None
        raise from_postgres(cause or error, target.name) from error
    finally:
        await engine.dispose()
