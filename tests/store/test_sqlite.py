"""SQLite's own ways to fail: the group, the disk, the lock, the file."""

import asyncio
import resource
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from buildwright.store import sqlite_session
from buildwright.store.base import Job
from buildwright.store.errors import (
    Health,
    StoreAway,
    StoreBroken,
    StoreFull,
    StoreReadOnly,
    StoreStopped,
)
from buildwright.store.memory import MemoryDatabase, MemoryStore
from buildwright.store.migrate import upgrade
from buildwright.store.sqlite import SqliteStore
from buildwright.store.sqlite_session import Session, connect
from buildwright.store.unit import Hint, Unit, Work, unit
from buildwright.store.urls import open_store
from tests.store import units
from tests.support.stores import sqlite_with_tables

BIG = bytes(200_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    sqlite_with_tables(tmp_path)
    return tmp_path / "state.sqlite"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    await store.start()
    yield store
    await store.stop()


def limit_pages(store: SqliteStore, spare: int) -> None:
    """Let the writer's file grow by ``spare`` pages and no more: what a full disk does."""
    execute = store._sessions[0].connection.execute
    pages = execute("PRAGMA page_count").fetchone()[0]
    execute(f"PRAGMA max_page_count={pages + spare}")


@contextmanager
def write_lock(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program in the middle of a write."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield other
    finally:
        other.close()


async def becomes(store: SqliteStore, state: str) -> Health:
    """Wait until the store's health is ``state``."""
    changed = asyncio.Event()
    store.on_health = lambda _health: changed.set()
    while store.health.state != state:
        changed.clear()
        await changed.wait()
    return store.health


def spoil(path: Path) -> None:
    """Overwrite the second half, as a bad disk might."""
    content = path.read_bytes()
    half = len(content) // 2
    path.write_bytes(content[:half] + b"\xff" * (len(content) - half))


# -- groups --------------------------------------------------------------------------------------------------


def jobs_of(*work: Unit[Any]) -> tuple[list[Job[Any]], Callable[[], Job[Any] | None]]:
    loop = asyncio.get_running_loop()
    jobs = [Job(each, loop.create_future()) for each in work]
    rest = iter(jobs[1:])
    return jobs, lambda: next(rest, None)


async def test_what_waits_is_one_transaction(path: Path) -> None:
    session = Session(connect(str(path)), "here")
    traced: list[str] = []
    session.connection.set_trace_callback(traced.append)
    jobs, more = jobs_of(units.add("a"), units.add("b", refuse=True), units.add("c"))
    assert session.run_group(jobs[0], more) == jobs
    assert [type(job.error) for job in jobs] == [type(None), units.Refused, type(None)]
    assert [line for line in traced if "INTO" not in line and "UPDATE" not in line] == [
        "BEGIN IMMEDIATE",
        "SAVEPOINT unit",
        "ROLLBACK TO unit",
        "RELEASE unit",
        "SAVEPOINT unit",
        "RELEASE unit",
        "COMMIT",
    ]
    session.close()


async def test_a_first_unit_that_refuses_takes_nobody_with_it(path: Path) -> None:
    session = Session(connect(str(path)), "here")
    jobs, more = jobs_of(units.add("a", refuse=True), units.add("b"), units.add("c", refuse=True))
    session.run_group(jobs[0], more)
    assert session.connection.execute("SELECT name FROM workers").fetchall() == [("b",)]
    session.close()


async def test_a_group_is_bounded_in_time_and_number(path: Path) -> None:
    session = Session(connect(str(path)), "here")
    now = iter(range(1000))
    jobs, more = jobs_of(*(units.add(f"w{number}") for number in range(300)))
    done = session.run_group(jobs[0], more, lambda: 0.0)
    assert len(done) == sqlite_session.GROUP_UNITS
    # A clock that jumps by a second with every look: the first unit already takes too long.
    assert len(session.run_group(jobs[256], more, lambda: float(next(now)))) == 1
    session.close()


async def test_a_lost_transaction_is_run_again_one_by_one(store: SqliteStore) -> None:
    limit_pages(store, 20)
    names = [f"w{number}" for number in range(10)]
    asked: list[Unit[Any]] = [units.add(name) for name in names]
    asked.insert(5, units.put("big", BIG))
    ended = await asyncio.gather(*(store.run(each) for each in asked), return_exceptions=True)
    assert isinstance(ended[5], StoreFull)
    assert all(isinstance(outcome, int) for number, outcome in enumerate(ended) if number != 5)
    assert await store.read(units.names()) == names


async def test_a_lost_group_tells_each_hint_once(path: Path) -> None:
    session = Session(connect(str(path)), "here")
    pages = session.connection.execute("PRAGMA page_count").fetchone()[0]
    session.connection.execute(f"PRAGMA max_page_count={pages + 20}")
    jobs, more = jobs_of(units.add("a"), units.add("b"), units.put("big", BIG))
    session.run_group(jobs[0], more)
    assert [job.hints for job in jobs] == [[Hint("workers", 1, "new")], [Hint("workers", 2, "new")], None]
    session.close()


# -- the disk ------------------------------------------------------------------------------------------------


async def test_a_full_disk_is_said_and_the_store_goes_on_when_there_is_room(store: SqliteStore) -> None:
    limit_pages(store, 0)
    with pytest.raises(StoreFull, match=r"state\.sqlite is full .*Make room"):
        await store.run(units.put("big", BIG))
    health = await becomes(store, "full")
    assert "Make room" in health.text
    assert health.since_us > 0
    limit_pages(store, 1000)
    await becomes(store, "ok")
    await store.run(units.put("big", BIG))


async def test_what_must_be_written_waits_for_room(store: SqliteStore) -> None:
    limit_pages(store, 0)
    waiting = asyncio.create_task(store.insist(units.put("big", BIG)))
    await becomes(store, "full")
    assert not waiting.done()
    limit_pages(store, 1000)
    await waiting
    assert await store.read(units.get("big")) == BIG


async def test_a_stop_ends_the_waiting_for_room(store: SqliteStore) -> None:
    limit_pages(store, 0)
    waiting = asyncio.create_task(store.insist(units.put("big", BIG)))
    await becomes(store, "full")
    await store.stop()
    with pytest.raises(StoreStopped):
        await waiting


async def test_a_write_error_of_the_disk_is_told_and_nothing_is_lost(store: SqliteStore) -> None:
    """The kernel refuses to let the write-ahead log grow: an I/O error in the middle of a group."""
    await store.run(units.add("before"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(StoreBroken, match=r"Reading or writing .* failed"):
            await store.run(units.put("big", BIG))
        await becomes(store, "broken")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    await becomes(store, "ok")
    await store.run(units.put("big", BIG))
    assert await store.read(units.names()) == ["before"]


async def test_memory_can_be_full_too() -> None:
    database = MemoryDatabase()
    store = MemoryStore(database)
    await store.start()
    pages = database.connection.execute("PRAGMA page_count").fetchone()[0]
    database.connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StoreFull):
        await store.run(units.put("big", BIG))
    healths = [store.health.state]
    database.connection.execute(f"PRAGMA max_page_count={pages + 1000}")
    await store.run(units.put("big", BIG))
    healths.append(store.health.state)
    assert healths == ["full", "ok"]
    await store.stop()
    database.close()


# -- the write lock ------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite itself waits for a lock only a moment."""
    monkeypatch.setattr(sqlite_session, "BUSY_MS", 20)


async def test_a_locked_database_is_waited_for(impatient: None, path: Path) -> None:
    store = SqliteStore(path)
    await store.start()
    with write_lock(path):
        waiting = [asyncio.create_task(store.run(units.add(name))) for name in ("a", "b", "c")]
        health = await becomes(store, "away")
        assert "write lock" in health.text
        assert not any(task.done() for task in waiting)
        assert await store.read(units.names()) == []
    await asyncio.gather(*waiting)
    assert await store.read(units.names()) == ["a", "b", "c"]
    assert store.health.state == "ok"
    await store.stop()


async def test_a_timeout_bounds_the_waiting(impatient: None, path: Path) -> None:
    store = SqliteStore(path)
    await store.start()
    with write_lock(path):
        with pytest.raises(StoreAway, match=r"Gave up after 0\.1 s"):
            await store.run(units.add("a"), timeout=0.1)
        assert store.health.state == "away"
    await becomes(store, "ok")
    assert await store.run(units.add("b"), timeout=10) > 0
    assert await store.read(units.names(), timeout=10) == ["b"]
    await store.stop()


async def test_a_stop_ends_the_waiting_for_the_lock(impatient: None, path: Path) -> None:
    store = SqliteStore(path)
    await store.start()
    with write_lock(path):
        waiting = asyncio.create_task(store.run(units.add("a")))
        await becomes(store, "away")
        await store.stop()
        with pytest.raises(StoreStopped):
            await waiting


async def test_a_reader_in_the_middle_hinders_no_writer(store: SqliteStore) -> None:
    entered = asyncio.Event()
    loop = asyncio.get_running_loop()
    written = asyncio.Event()

    @unit
    def slow() -> Work[list[str]]:
        yield units.NAMES()
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(written.wait(), loop).result()
        rows = yield units.NAMES()
        return [name for (name,) in rows]

    reading = asyncio.create_task(store.read(slow()))
    await entered.wait()
    await store.run(units.add("a"))
    written.set()
    assert await reading == []  # its own snapshot


# -- the file ------------------------------------------------------------------------------------------------


async def test_a_file_that_must_not_be_written(path: Path) -> None:
    store = open_store(f"sqlite:///{path}?mode=ro", Path("/"))
    await store.start()
    assert await store.read(units.names()) == []
    with pytest.raises(StoreReadOnly, match="must own the file"):
        await store.run(units.add("a"))
    await store.stop()
    assert store.health.state == "readonly"


async def test_no_file(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "absent.sqlite")
    with pytest.raises(StoreAway, match="upgrade-db"):
        await store.start()
    assert not (tmp_path / "absent.sqlite").exists()


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("These are notes.\n" * 1000)
    with pytest.raises(StoreBroken, match="is no SQLite database"):
        await SqliteStore(tmp_path / "notes.txt").start()


async def test_a_corrupt_file(path: Path) -> None:
    store = SqliteStore(path)
    await store.start()
    for number in range(20):
        await store.run(units.put(f"k{number}", BIG))
    await store.stop()
    spoil(path)
    await store.start()
    with pytest.raises(StoreBroken, match="is corrupt"):
        await store.read(units.get("k17"))
    await store.stop()


async def test_a_second_sole_user_is_refused(path: Path) -> None:
    first = SqliteStore(path, sole=True)
    await first.start()
    with pytest.raises(StoreAway, match="belongs to another running master"):
        await SqliteStore(path, sole=True).start()
    tool = SqliteStore(path)
    await tool.start()
    await tool.stop()
    await first.stop()
    second = SqliteStore(path, sole=True)
    await second.start()
    await second.stop()


async def test_a_name_with_an_uris_marks(tmp_path: Path) -> None:
    directory = tmp_path / "a?b#c%20d"
    directory.mkdir()
    await upgrade("sqlite:///state.sqlite", directory)
    store = SqliteStore(directory / "state.sqlite")
    await store.start()
    await store.run(units.add("a"))
    await store.stop()
    assert {file.name for file in directory.iterdir()} == {"state.sqlite", "state.sqlite.lock"}
