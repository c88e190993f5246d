"""Stores, and real repositories."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from buildwright.store.base import Store
from tests.support.repositories import Origin
from tests.support.stores import started


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str:
    """The URL of a database with tables; the test runs on each kind."""
    url: str = request.getfixturevalue(f"{request.param}_store_url")
    return url


@pytest.fixture
async def stores(database: str) -> AsyncIterator[list[Store]]:
    """Two stores on one database; one twice where there can be only one."""
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(started(database))
        second = (
            first if database.startswith("sqlite") else await stack.enter_async_context(started(database))
        )
        yield [first, second]


@pytest.fixture
def store(stores: list[Store]) -> Store:
    """A store; the test runs on each database."""
    return stores[0]


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    return Origin(tmp_path / "origin")
