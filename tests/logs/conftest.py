"""Stores of every kind with the program's tables, and what a log should say, computed in the plainest way."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from buildwright.store.base import Store
from buildwright.store.migrate import create_statements
from buildwright.store.urls import open_store


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A started store; each database in its turn."""
    if request.param == "memory":
        db_url = "sqlite://"
    elif request.param == "sqlite":
        db_url = "sqlite:///state.sqlite"
        connection = sqlite3.connect(tmp_path / "state.sqlite")
        for statement in create_statements("sqlite"):
            connection.execute(statement)
        connection.close()
    else:
        db_url = request.getfixturevalue("postgres_url")
        database = await asyncpg.connect(db_url)
        for statement in create_statements("postgresql"):
            await database.execute(statement)
        await database.close()
    opened = open_store(db_url, tmp_path)
    await opened.start()
    yield opened
    await opened.stop()
