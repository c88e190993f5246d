"""What a db_url names."""

from pathlib import Path

import pytest

from buildwright.store.memory import MemoryStore
from buildwright.store.postgres import PostgresStore
from buildwright.store.sqlite import SqliteStore
from buildwright.store.unit import POSTGRESQL, SQLITE
from buildwright.store.urls import BadUrl, Target, open_store, parse

BASE = Path("/srv/ci")


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("sqlite:///state.sqlite", Target(SQLITE, BASE / "state.sqlite")),
        ("sqlite:////var/lib/state.sqlite", Target(SQLITE, Path("/var/lib/state.sqlite"))),
        ("sqlite:///%(basedir)s/state.sqlite", Target(SQLITE, BASE / "state.sqlite")),
        ("sqlite:///state.sqlite?mode=ro", Target(SQLITE, BASE / "state.sqlite", readonly=True)),
        ("sqlite:///state.sqlite?max_idle=300", Target(SQLITE, BASE / "state.sqlite")),
        ("sqlite://", Target(SQLITE)),
        ("sqlite:///:memory:", Target(SQLITE)),
        ("postgresql://ci:s%40cret@db/builds", Target(POSTGRESQL, dsn="postgresql://ci:s%40cret@db/builds")),
        ("postgresql+psycopg2://ci@db:5433/builds", Target(POSTGRESQL, dsn="postgresql://ci@db:5433/builds")),
        ("postgresql+asyncpg://db/builds", Target(POSTGRESQL, dsn="postgresql://db/builds")),
        (
            "postgres://db/builds?sslmode=require",
            Target(POSTGRESQL, dsn="postgresql://db/builds?sslmode=require"),
        ),
        ("postgresql:///builds?host=/run/pg", Target(POSTGRESQL, dsn="postgresql:///builds?host=/run/pg")),
    ],
)
def test_known_forms(url: str, target: Target) -> None:
    assert parse(url, BASE) == target


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("state.sqlite", "is no URL. Write for example"),
        ("sqlite://state.sqlite", "has a host, and SQLite is a file"),
        ("mysql://ci@db/builds", "MySQL is not supported"),
        ("oracle://db", "Buildwright runs on SQLite and PostgreSQL"),
    ],
)
def test_unknown_forms(url: str, message: str) -> None:
    with pytest.raises(BadUrl, match=message):
        parse(url, BASE)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("sqlite:///state.sqlite", "/srv/ci/state.sqlite"),
        ("sqlite://", ":memory:"),
        ("postgresql://ci:secret@db:5433/builds", "PostgreSQL database builds on db:5433"),
        ("postgresql:///builds?host=/run/pg", "PostgreSQL database builds on /run/pg"),
        ("postgresql://ci:secret@db", "PostgreSQL database (default) on db"),
    ],
)
def test_names_for_people_hold_no_password(url: str, name: str) -> None:
    assert parse(url, BASE).name == name


def test_each_has_its_store(tmp_path: Path) -> None:
    assert isinstance(open_store("sqlite:///state.sqlite", tmp_path), SqliteStore)
    assert isinstance(open_store("sqlite://", tmp_path), MemoryStore)
    assert isinstance(open_store("postgresql://ci@db/builds", tmp_path), PostgresStore)
