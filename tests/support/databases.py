"""Started stores for tests of what runs on one: an SQLite file, or a database of the test's PostgreSQL
server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from buildwright.store.base import Store
from buildwright.store.migrate import upgrade
from buildwright.store.urls import open_store
from tests.support.postgres import Cluster

KINDS = ("sqlite", "postgres")


@asynccontextmanager
async def started_stores(
    kind: str, directory: Path, cluster: Cluster | None, count: int = 1
) -> AsyncIterator[list[Store]]:
    """Several stores on one new database, each with connections of its own; SQLite gets only one."""
    if kind == "sqlite":
        await upgrade("sqlite:///state.sqlite", directory)
        store = open_store("sqlite:///state.sqlite", directory)
        await store.start()
        try:
            yield [store] * count
        finally:
            await store.stop()
        return
    assert cluster is not None

    def prepare(url: str) -> None:
        asyncio.run(upgrade(url, directory))

    template = await asyncio.to_thread(cluster.template, "buildwright_tables", prepare)
    with cluster.database(template) as url:
        stores = [open_store(url, directory) for _ in range(count)]
        for store in stores:
            await store.start()
        try:
            yield stores
        finally:
            for store in stores:
                await store.stop()
