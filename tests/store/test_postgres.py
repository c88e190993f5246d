"""PostgreSQL's own ways to fail: lost connections, restarts, deadlocks, doubtful commits."""

import asyncio
import contextlib
import gc
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa

from buildwright.store import postgres
from buildwright.store.base import Store
from buildwright.store.errors import (
    Health,
    StatementFailed,
    StoreAway,
    StoreFull,
    StoreReadOnly,
    StoreStopped,
)
from buildwright.store.postgres import PostgresStore
from buildwright.store.postgres_lanes import FAILURES
from buildwright.store.schema import workers
from buildwright.store.unit import Statement, Work, shortcut, unit
from buildwright.store.urls import open_store
from tests.store import units
from tests.store.units import ADD_AT_ONCE
from tests.support.postgres import Cluster
from tests.support.stores import make_tables, started

BIG = bytes(200_000)

# The driver leaves the sockets of connections that were given up while they were made to the garbage
# collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """Have them collected here, not in some later test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
async def store(postgres_store_url: str) -> AsyncIterator[Store]:
    async with started(postgres_store_url) as store:
        yield store


@pytest.fixture
async def admin(postgres_store_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A superuser's connection to the same database."""
    connection = await asyncpg.connect(postgres_store_url)
    yield connection
    await connection.close()


@pytest.fixture
def own_url(own_postgres: Cluster) -> Iterator[str]:
    with own_postgres.database() as url:
        make_tables(url)
        yield url


async def becomes(store: Store, state: str) -> Health:
    """Wait until the store's health is ``state``."""
    changed = asyncio.Event()
    store.on_health = lambda _health: changed.set()
    while store.health.state != state:
        changed.clear()
        await changed.wait()
    return store.health


async def others(admin: asyncpg.Connection, condition: str) -> list[int]:
    """The backends of this database, except the asking one, that are in some condition; waits for one."""
    while True:
        await admin.execute("SELECT pg_stat_clear_snapshot()")
        rows = await admin.fetch(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            f"AND {condition}"
        )
        if rows:
            return [row["pid"] for row in rows]


# -- one connection ----------------------------------------------------------------------------------------


async def test_a_killed_idle_connection_is_replaced(store: Store, admin: asyncpg.Connection) -> None:
    await store.run(units.add("one"))
    await store.read(units.names())
    for pid in await others(admin, "state = 'idle'"):
        await admin.execute("SELECT pg_terminate_backend($1)", pid)
    assert await store.run(units.add("two")) > 0
    assert await store.read(units.names()) == ["one", "two"]
    assert store.health.state == "ok"


async def test_a_connection_killed_in_a_unit_means_the_unit_runs_again(
    store: Store, admin: asyncpg.Connection
) -> None:
    workerid = await store.run(units.add("one"))
    runs: list[int] = []

    @unit
    def traced() -> Work[int]:
        runs.append(1)
        yield units.ADD(name="two")
        rows = yield units.BUMP(of_id=workerid)
        version: int = rows[0][0]
        return version

    async with admin.transaction():  # holds the row, so that the unit waits in its second statement
        await admin.execute("SELECT 1 FROM workers WHERE id = $1 FOR UPDATE", workerid)
        running = asyncio.create_task(store.run(traced()))
        [pid] = await others(admin, "wait_event_type = 'Lock'")
        await admin.execute("SELECT pg_terminate_backend($1)", pid)
        assert await others(admin, f"wait_event_type = 'Lock' AND pid <> {pid}")
    assert await running == 2
    assert len(runs) == 2
    assert await store.read(units.names()) == ["one", "two"]


async def test_units_that_lock_each_other_out_run_again(store: Store, admin: asyncpg.Connection) -> None:
    database = await admin.fetchval("SELECT current_database()")
    await admin.execute(f'ALTER DATABASE "{database}" SET deadlock_timeout = 5')
    await store.stop()
    await store.start()
    ids = [await store.run(units.add(name)) for name in ("one", "two")]
    runs = 0

    @unit
    def both(first: int, second: int) -> Work[None]:
        nonlocal runs
        runs += 1
        yield units.BUMP(of_id=first)
        yield PAUSE()
        yield units.BUMP(of_id=second)

    await asyncio.gather(*(store.run(both(*(ids if number % 2 else ids[::-1]))) for number in range(8)))
    assert runs > 8
    assert [await store.read(units.version_of(each)) for each in ids] == [9, 9]


PAUSE = Statement("pause", lambda _dialect: sa.select(sa.cast(sa.func.pg_sleep(0.01), sa.Text)))


async def test_a_changed_table_is_met_with_new_plans(store: Store, admin: asyncpg.Connection) -> None:
    everything = Statement("everything", lambda _dialect: sa.select(sa.text("*")).select_from(workers))

    @unit
    def look() -> Work[int]:
        [row] = yield everything()
        return len(row)

    await store.run(units.add("one"))
    width = await store.run(look())
    await admin.execute("ALTER TABLE workers ADD COLUMN later INTEGER")
    assert await store.run(look()) == width + 1


async def test_a_lost_answer_to_a_commit_means_the_unit_runs_again(postgres_store_url: str) -> None:
    """The connection breaks after the commit was sent: it happened, and the driver can't know."""
    async with doubtful(postgres_store_url) as (url, cut):
        store = open_store(url, Path("/"))
        await store.start()
        runs = []

        @unit
        def once() -> Work[bool]:
            runs.append(1)
            [(_, version)] = yield units.UPSERT(name="one", info="x")
            return bool(version)

        cut.set()
        assert await store.run(once()) is True  # it found what its own first run had left
        assert len(runs) == 2
        assert store.health.state == "ok"
        await store.stop()


async def test_a_lost_answer_to_a_shortcut_means_the_unit_runs_again(postgres_store_url: str) -> None:
    """A shortcut is its own commit: the second run finds that it happened, and goes step by step."""
    async with doubtful(postgres_store_url, b"of one statement") as (url, cut):
        store = open_store(url, Path("/"))
        await store.start()
        ways = []

        @shortcut
        def once() -> Work[str]:
            if (yield ADD_AT_ONCE(name="of one statement")):
                ways.append("at once")
                return "at once"
            ways.append("found")
            [(_, version)] = yield units.UPSERT(name="of one statement", info="x")
            return f"found {version}"

        cut.set()
        assert await store.run(once()) == "found 2"
        assert ways == ["found"]
        assert store.health.state == "ok"
        await store.stop()


@contextlib.asynccontextmanager
async def doubtful(url: str, word: bytes = b"COMMIT") -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A way to the server that, once the event is set, forwards a COMMIT and keeps its answer back.

    ``word`` is what it knows the COMMIT by, or a statement that is committed by itself.
    """
    cut = asyncio.Event()
    port = int(url.rpartition(":")[2].partition("/")[0])
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", port)
        closing = False

        async def answers() -> None:
            while data := await back_reader.read(65536):
                if not closing:
                    writer.write(data)

        answering = asyncio.create_task(answers())
        try:
            while data := await reader.read(65536):
                closing = cut.is_set() and word in data
                back_writer.write(data)
                if closing:
                    cut.clear()
                    await asyncio.wait([asyncio.create_task(back_reader.read(1))], timeout=0.01)
                    break
        finally:
            writer.close()
            back_writer.write(b"X\x00\x00\x00\x04")  # the server ends the session after what it has to do
            back_writer.write_eof()
            await asyncio.wait([answering])
            back_writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield url.replace(f":{port}/", f":{server.sockets[0].getsockname()[1]}/"), cut
    finally:
        server.close()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_statement_that_takes_too_long_is_ended(
    postgres_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgres.SESSION, "statement_timeout", "50ms")
    long = Statement("long", lambda _dialect: sa.select(sa.cast(sa.func.pg_sleep(60), sa.Text)))

    @unit
    def wait(*, write: bool) -> Work[None]:
        if write:
            yield units.ADD(name="one")
        yield long()

    async with started(postgres_store_url) as store:
        with pytest.raises(StatementFailed, match=r"wait: long: .* took too long"):
            await store.run(wait(write=True))
        with pytest.raises(StatementFailed, match=r"wait: long: .* took too long"):
            await store.read(wait(write=False))
        assert await store.read(units.names()) == []


async def test_a_frozen_holder_of_a_row_is_ended_by_the_server(
    store: Store, postgres_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A master that was stopped in the middle of a unit: its successor waits for the row only so long."""
    monkeypatch.setitem(postgres.SESSION, "idle_in_transaction_session_timeout", "100ms")
    workerid = await store.run(units.add("one"))
    frozen = PostgresStore(postgres_store_url, name="frozen")
    connection = await frozen.connect()
    await connection.execute("BEGIN")
    await connection.execute("UPDATE workers SET version = 100 WHERE id = $1", workerid)
    assert await store.run(units.bump(workerid)) == 2
    with pytest.raises(FAILURES):
        await connection.execute("COMMIT")
    await connection.close()


async def test_a_stop_leaves_a_unit_that_waits_for_a_row(
    store: Store, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "STOP_SECONDS", 0.05)
    workerid = await store.run(units.add("one"))
    async with admin.transaction():
        await admin.execute("SELECT 1 FROM workers WHERE id = $1 FOR UPDATE", workerid)
        waiting = asyncio.create_task(store.run(units.bump(workerid)))
        await others(admin, "wait_event_type = 'Lock'")
        await store.stop()
        with pytest.raises(StoreStopped):
            await waiting
    await store.start()
    assert await store.read(units.version_of(workerid)) == 1


# -- the server --------------------------------------------------------------------------------------------


async def test_a_crash_of_the_server_loses_no_unit(own_postgres: Cluster, own_url: str) -> None:
    async with started(own_url) as store:
        workerid = await store.run(units.add("one"))
        stop = False
        done = 0
        enough = asyncio.Event()

        async def write() -> None:
            nonlocal done
            while not stop:
                await store.run(units.bump(workerid))
                done += 1
                if done % 50 == 0:
                    enough.set()

        load = asyncio.gather(*(write() for _ in range(8)))
        await enough.wait()
        await asyncio.to_thread(own_postgres.kill)
        health = await becomes(store, "away")
        assert "goes on by itself" in health.text
        own_postgres.start()
        await becomes(store, "ok")
        enough.clear()
        await enough.wait()
        stop = True
        await load
        # A doubtful commit may have been counted twice by this unit, which has no key; none was lost.
        assert await store.read(units.version_of(workerid)) >= 1 + done


async def test_a_timeout_bounds_the_waiting_for_a_server(own_postgres: Cluster, own_url: str) -> None:
    async with started(own_url) as store:
        await asyncio.to_thread(own_postgres.stop)
        with pytest.raises(StoreAway, match="Gave up"):
            await store.run(units.add("one"), timeout=0.3)
        with pytest.raises(StoreAway, match="Gave up"):
            await store.read(units.names(), timeout=0.1)
        assert store.health.state == "away"
        own_postgres.start()
        await becomes(store, "ok")  # though nobody asks for anything
        await store.run(units.add("two"))


async def test_a_stop_ends_the_waiting_for_a_server(own_postgres: Cluster, own_url: str) -> None:
    async with started(own_url) as store:
        await asyncio.to_thread(own_postgres.stop)
        waiting = [asyncio.create_task(store.run(units.add(f"w{number}"))) for number in range(20)]
        waiting.append(asyncio.create_task(store.insist(units.add("insisting"))))
        await becomes(store, "away")
        await store.stop()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(outcome) for outcome in ended} == {StoreStopped}
        own_postgres.start()


async def test_a_server_that_does_not_answer_is_left(
    own_postgres: Cluster, own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen server looks as a cut network does: the unit's connection is dropped, another one is tried."""
    monkeypatch.setattr(postgres, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(postgres, "STUCK_SECONDS", 0.2)
    monkeypatch.setattr(postgres, "CONNECT_SECONDS", 0.2)
    async with started(own_url) as store:
        await store.run(units.add("one"))
        own_postgres.signal("STOP")
        waiting = asyncio.create_task(store.run(units.add("two")))
        await becomes(store, "away")
        own_postgres.signal("CONT")
        await waiting
        await becomes(store, "ok")
        assert await store.read(units.names()) == ["one", "two"]


async def test_no_server_at_the_start(own_postgres: Cluster, own_url: str) -> None:
    await asyncio.to_thread(own_postgres.stop)
    store = open_store(own_url, Path("/"))
    with pytest.raises(StoreAway, match=r"PostgreSQL database .* on 127\.0\.0\.1:.* can't be reached"):
        await store.start()
    own_postgres.start()
    await store.start()
    await store.stop()


async def test_a_database_that_does_not_exist(postgres_store_url: str) -> None:
    store = open_store(postgres_store_url + "-not", Path("/"))
    with pytest.raises(StoreAway, match="does not exist"):
        await store.start()


# -- its disk ----------------------------------------------------------------------------------------------

REFUSE_BLOBS = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '{code}'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON blobs EXECUTE FUNCTION refuse();
"""


async def test_a_full_disk_is_said_and_the_store_goes_on_when_there_is_room(
    store: Store, admin: asyncpg.Connection
) -> None:
    """The server itself reports its disk full, from a trigger, with the code that a real one has."""
    await admin.execute(REFUSE_BLOBS.format(code="53100"))
    with pytest.raises(StoreFull, match=r"is full .*Make room"):
        await store.run(units.put("big", BIG))
    assert store.health.state == "full"
    await store.run(units.add("one"))
    insisting = asyncio.create_task(store.insist(units.put("big", BIG)))
    await admin.execute("DROP TRIGGER refuse ON blobs")
    await becomes(store, "ok")
    await insisting
    assert await store.read(units.get("big")) == BIG


async def test_a_standby_takes_no_writes(store: Store, admin: asyncpg.Connection) -> None:
    await admin.execute(REFUSE_BLOBS.format(code="25006"))
    with pytest.raises(StoreReadOnly, match="not at a standby"):
        await store.run(units.put("big", BIG))
    assert store.health.state == "readonly"


async def test_what_probes_write_is_rolled_back(store: Store, admin: asyncpg.Connection) -> None:
    assert isinstance(store, PostgresStore)
    assert await store._probe_once() is None
    assert await admin.fetchval("SELECT count(*) FROM blobs") == 0
    await admin.execute(REFUSE_BLOBS.format(code="53100"))
    assert isinstance(await store._probe_once(), StoreFull)
