"""Whoever looks around holds up nobody: their reads have connections of their own."""

import asyncio
import threading
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa

from buildwright.store import base, postgres, sqlite
from buildwright.store.errors import StatementFailed, StoreBusy
from buildwright.store.unit import Statement, Work, unit
from buildwright.store.urls import open_store
from tests.store import units

LOCK = Statement("lock", lambda _dialect: sa.text("SELECT count(pg_advisory_xact_lock_shared(7))"))


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "MOST_BROWSING", 5)


async def test_builds_read_while_those_who_browse_take_their_time_on_sqlite(
    sqlite_store_url: str, tmp_path: Path
) -> None:
    store = open_store(sqlite_store_url, tmp_path)
    await store.start()
    begun, go_on = threading.Event(), threading.Event()

    @unit
    def slow() -> Work[int]:
        begun.set()
        assert go_on.wait(60)
        return len((yield units.NAMES()))

    try:
        browsing = [asyncio.create_task(store.browse(slow())) for _ in range(5)]
        await asyncio.to_thread(begun.wait, 60)
        assert len(browsing) > sqlite.BROWSERS
        workerid = await store.run(units.add("one"))
        assert await store.read(units.version_of(workerid)) == 1
        with pytest.raises(StoreBusy, match="has too many readers"):
            await store.browse(units.names())
        assert not any(task.done() for task in browsing)
        go_on.set()
        assert await asyncio.gather(*browsing) == [1] * 5
        assert await store.browse(units.names()) == ["one"]
        assert store.health.state == "ok"
    finally:
        go_on.set()
        await store.stop()


async def test_builds_read_while_those_who_browse_take_their_time_on_postgresql(
    postgres_store_url: str, tmp_path: Path
) -> None:
    store = open_store(postgres_store_url, tmp_path)
    await store.start()
    other = await asyncpg.connect(postgres_store_url)

    @unit
    def slow() -> Work[int]:
        yield LOCK()
        return len((yield units.NAMES()))

    try:
        await other.execute("SELECT pg_advisory_lock(7)")
        browsing = [asyncio.create_task(store.browse(slow())) for _ in range(5)]
        assert len(browsing) > postgres.BROWSERS
        workerid = await store.run(units.add("one"))
        assert await store.read(units.version_of(workerid)) == 1
        with pytest.raises(StoreBusy, match="has too many readers"):
            await store.browse(units.names())
        assert not any(task.done() for task in browsing)
        await other.execute("SELECT pg_advisory_unlock(7)")
        assert await asyncio.gather(*browsing) == [1] * 5
        assert await store.browse(units.names()) == ["one"]
    finally:
        await other.close()
        await store.stop()


async def test_who_browses_does_not_write(store: base.Store) -> None:
    with pytest.raises(StatementFailed, match="a unit that writes was given to read"):
        await store.browse(units.add("one"))
    assert await store.read(units.names()) == []


async def test_a_caller_that_gave_up_counts_no_more(store: base.Store) -> None:
    for _ in range(8):
        task = asyncio.create_task(store.browse(units.names()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert await store.browse(units.names()) == []
