"""Stores on every database, with the program's tables in them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from buildwright.store.base import Store
from buildwright.store.migrate import upgrade
from buildwright.store.urls import open_store
from tests.support.postgres import Cluster

KINDS = ("sqlite", "memory", "postgres")


def make_tables(url: str) -> None:
    """Migrate; for callers outside a loop."""
    with asyncio.Runner() as runner:
        runner.run(upgrade(url, Path("/")))


@contextmanager
def postgres_with_tables(cluster: Cluster) -> Iterator[str]:
    """The URL of a PostgreSQL database of one's own that has the tables."""
    with cluster.database(cluster.template("buildwright", make_tables)) as url:
        yield url


def sqlite_with_tables(directory: Path) -> str:
    """The URL of a new SQLite file that has the tables."""
    url = f"sqlite:///{directory / 'state.sqlite'}"
    make_tables(url)
    return url


@asynccontextmanager
async def started(url: str) -> AsyncIterator[Store]:
    """The store that the URL names, started; stopped at the end."""
    store = open_store(url, Path("/"))
    await store.start()
    try:
        yield store
    finally:
        await store.stop()
