"""What every store promises, on every database."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from buildwright.store.base import Store
from buildwright.store.errors import StatementFailed, StoreStopped, Violation
from buildwright.store.schema import builders, changes, workers
from buildwright.store.unit import (
    POSTGRESQL,
    Bound,
    Hint,
    Statement,
    Work,
    insert,
    shortcut,
    single,
    unit,
)
from buildwright.store.urls import open_store
from tests.store import units
from tests.store.units import Refused


@pytest.fixture
def told(store: Store) -> list[Hint]:
    """Every hint that the store has told."""
    hints: list[Hint] = []
    store.on_hints = hints.extend
    return hints


async def test_a_result_is_there_after_the_commit(store: Store) -> None:
    workerid = await store.run(units.add("one"))
    assert await store.read(units.version_of(workerid)) == 1
    assert await store.read(units.names()) == ["one"]


async def test_a_unit_of_one_statement(store: Store, told: list[Hint]) -> None:
    @single
    def add(name: str) -> Work[int]:
        ((workerid,),) = yield units.ADD(name=name)
        yield Hint("workers", workerid)
        return int(workerid)

    @single
    def add_twice() -> Work[None]:
        yield units.ADD(name="two")
        yield units.ADD(name="three")

    ids = await asyncio.gather(*(store.run(add(f"w{number}")) for number in range(20)))
    assert sorted(hint.id for hint in told) == sorted(ids)
    with pytest.raises(TypeError, match="unit add_twice is marked as single"):
        await store.run(add_twice())
    assert len(await store.read(units.names())) == 20 + ("two" in await store.read(units.names()))


@shortcut
def add_shortly(name: str, *, refuse: bool = False, more: bool = False) -> Work[str]:
    """A unit that is one statement if the name is new, on PostgreSQL; else several."""
    if rows := (yield units.ADD_AT_ONCE(name=name)):
        yield Hint("workers", rows[0][0])
        if more:
            yield units.BUMP(of_id=rows[0][0])
        return "at once"
    yield units.UPSERT(name=name, info="step by step")
    ((workerid, _),) = yield units.UPSERT(name=name, info="step by step")
    yield Hint("workers", workerid)
    if refuse:
        raise Refused(name)
    return "step by step"


async def test_a_unit_with_a_shortcut(store: Store, told: list[Hint]) -> None:
    names = [f"w{number}" for number in range(20)]
    ways = await asyncio.gather(*(store.run(add_shortly(name)) for name in names))
    assert set(ways) == {"at once" if store.dialect == POSTGRESQL else "step by step"}
    assert await store.fetch(sa.select(workers.c.version)) == [(1,)] * 20
    assert len(set(told)) == len(told) == 20


async def test_a_shortcut_that_is_none(store: Store) -> None:
    """Then the unit is as any other: it happens as a whole or not at all, beside those that are short."""
    workerid = await store.run(units.add("old"))
    asked = [add_shortly("old", refuse=True), *(add_shortly(f"w{number}") for number in range(10))]
    ended = await asyncio.gather(*(store.run(each) for each in asked * 3), return_exceptions=True)
    assert sum(isinstance(each, Refused) for each in ended) == 3
    assert await store.read(units.version_of(workerid)) == 1
    assert await store.run(add_shortly("old")) == "step by step"
    assert await store.read(units.version_of(workerid)) == 3
    assert len(await store.read(units.names())) == 11


async def test_nothing_follows_a_shortcut(store: Store) -> None:
    if store.dialect == POSTGRESQL:
        with pytest.raises(TypeError, match="unit add_shortly yielded a statement after its shortcut"):
            await store.run(add_shortly("one", more=True))
    else:
        assert await store.run(add_shortly("one", more=True)) == "step by step"
    assert await store.read(units.names()) == ["one"]


async def test_rows_are_tuples_of_plain_values(store: Store) -> None:
    await store.run(units.add("one"))
    rows = await store.fetch(
        sa.select(workers.c.id, workers.c.name, workers.c.pause_reason, workers.c.attachment)
    )
    assert rows == [(1, "one", None, 0)]
    assert type(rows[0]) is tuple


async def test_the_sum_of_integers_is_an_integer(store: Store) -> None:
    for name in ("one", "two"):
        await store.run(units.add(name))
    [(total,)] = await store.fetch(sa.select(sa.func.sum(workers.c.version)))
    assert total == 2
    assert type(total) is int


async def test_a_refusing_unit_leaves_nothing_and_reaches_its_caller(store: Store, told: list[Hint]) -> None:
    with pytest.raises(Refused, match="one"):
        await store.run(units.add("one", refuse=True))
    assert await store.read(units.names()) == []
    assert told == []


async def test_a_refusal_undoes_only_its_own_unit(store: Store, told: list[Hint]) -> None:
    """However units are put together into transactions, the first, middle or last of them may refuse."""
    asked = [units.add(f"w{number}", refuse=number % 3 == 0) for number in range(60)]
    ended = await asyncio.gather(*(store.run(each) for each in asked), return_exceptions=True)
    refused = {number for number, outcome in enumerate(ended) if isinstance(outcome, Refused)}
    assert refused == set(range(0, 60, 3))
    assert {*await store.read(units.names())} == {f"w{number}" for number in range(60) if number % 3}
    assert {hint.id for hint in told} == {outcome for outcome in ended if isinstance(outcome, int)}


async def test_a_hint_is_told_once_and_after_the_commit(store: Store) -> None:
    seen: list[tuple[Hint, list[str]]] = []
    looks: list[asyncio.Task[None]] = []

    async def look(hints: list[Hint]) -> None:
        names = await store.read(units.names())
        seen.extend((hint, names) for hint in hints)

    store.on_hints = lambda hints: looks.append(asyncio.create_task(look(hints)))

    @unit
    def twice() -> Work[None]:
        yield units.ADD(name="one")
        yield Hint("workers", 1)
        yield Hint("workers", 1)

    await store.run(twice())
    await asyncio.gather(*looks)
    assert seen == [(Hint("workers", 1), ["one"])]


async def test_a_receiver_of_hints_that_fails_hurts_nobody(store: Store) -> None:
    def fail(_hints: list[Hint]) -> None:
        raise RuntimeError("receiver")

    store.on_hints = fail
    assert await store.run(units.add("one")) == 1
    assert await store.run(units.add("two")) == 2


async def test_a_unit_that_only_hints_or_does_nothing(store: Store, told: list[Hint]) -> None:
    @unit
    def hint() -> Work[str]:
        yield Hint("masters", 7, "update")
        return "done"

    @unit
    def nothing() -> Work[str]:
        yield from ()
        return "nothing"

    assert await store.run(hint()) == "done"
    assert await store.run(nothing()) == "nothing"
    assert told == [Hint("masters", 7, "update")]


async def test_a_broken_constraint_is_a_violation(store: Store) -> None:
    await store.run(units.add("one"))
    with pytest.raises(Violation, match="add: add worker"):
        await store.run(units.add("one"))
    assert await store.run(units.add("two")) > 1


async def test_a_refused_statement_names_itself(store: Store) -> None:
    nowhere = Statement(
        "look nowhere", lambda _dialect: sa.select(sa.column("x")).select_from(sa.table("nowhere"))
    )

    @unit
    def lost() -> Work[None]:
        yield units.ADD(name="one")
        yield nowhere()

    with pytest.raises(StatementFailed, match="lost: look nowhere"):
        await store.run(lost())
    assert await store.read(units.names()) == []


async def test_a_missing_parameter_or_a_strange_request_is_the_callers_fault(store: Store) -> None:
    @unit
    def forgetful() -> Work[None]:
        yield Bound(units.ADD, {})

    @unit
    def strange() -> Work[None]:
        yield units.ADD(name="one")
        yield "SELECT 1"  # type: ignore[misc]

    with pytest.raises(KeyError):
        await store.run(forgetful())
    with pytest.raises(TypeError, match="neither a statement nor a hint"):
        await store.run(strange())
    assert await store.read(units.names()) == []


async def test_one_statement_for_many_rows(store: Store) -> None:
    assert await store.run(units.add_many([f"w{number}" for number in range(1000)])) == []
    assert await store.run(units.add_many([])) == []
    assert len(await store.read(units.names())) == 1000
    with pytest.raises(Violation):
        await store.run(units.add_many(["new", "w5"]))
    assert len(await store.read(units.names())) == 1000


async def test_a_set_of_any_length(store: Store) -> None:
    await store.run(units.add_many([f"w{number}" for number in range(5)]))
    assert await store.read(units.among([])) == []
    assert await store.read(units.among([2, 4])) == ["w1", "w3"]
    assert len(await store.read(units.among(list(range(5000))))) == 5


async def test_an_upsert_tells_what_it_did(store: Store) -> None:
    workerid, version = await store.run(units.upsert("one", "a"))
    assert version == 0
    assert await store.run(units.upsert("one", "b")) == (workerid, 1)


async def test_values_come_back_as_they_went(store: Store) -> None:
    content = bytes(range(256)) * 300
    await store.run(units.put("bytes", content))
    assert await store.read(units.get("bytes")) == content

    large = Statement(
        "set",
        lambda _dialect: sa.update(workers).values(attachment=sa.bindparam("n"), info=sa.bindparam("text")),
    )

    @unit
    def write() -> Work[None]:
        yield units.ADD(name="one")
        yield large(n=2**63 - 1, text="ä€😀 '\"%s $1 ?")

    await store.run(write())
    [row] = await store.fetch(sa.select(workers.c.attachment, workers.c.info))
    assert row == (2**63 - 1, "ä€😀 '\"%s $1 ?")


async def test_a_query_built_at_run_time(store: Store) -> None:
    await store.run(units.add_many([f"w{number}" for number in range(10)]))
    query = sa.select(workers.c.name).where(workers.c.id.in_([1, 2, 3]), workers.c.paused == 0)
    assert len(await store.fetch(query)) == 3
    named = sa.select(workers.c.id).where(workers.c.name == sa.bindparam("name"))
    assert await store.fetch(named, {"name": "w4"}) == [(5,)]
    page = sa.select(workers.c.id).order_by(workers.c.id.desc()).limit(2).offset(1)
    assert await store.fetch(page) == [(9,), (8,)]
    nobody = sa.select(workers.c.name).where(workers.c.id.in_([]))
    assert await store.fetch(nobody) == []


async def test_many_queries_built_at_run_time(store: Store) -> None:
    """More texts than any cache of prepared statements holds."""
    await store.run(units.add("one"))
    for count in range(1, 1100):
        query = sa.select(workers.c.id.label(f"n{count}"))
        assert await store.fetch(query) == [(1,)]


async def test_a_reader_does_not_write(store: Store) -> None:
    with pytest.raises(StatementFailed, match="given to read"):
        await store.read(units.add("one"))
    assert store.health.state == "ok"
    assert await store.run(units.add("one")) == 1


async def test_writers_of_one_row_come_one_after_the_other(store: Store) -> None:
    workerid = await store.run(units.add("one"))
    versions = await asyncio.gather(*(store.run(units.bump(workerid)) for _ in range(100)))
    assert sorted(versions) == list(range(2, 102))


async def test_compare_and_set_loses_no_write(store: Store) -> None:
    workerid = await store.run(units.add("one"))
    won = await asyncio.gather(*(store.run(units.compare_and_set(workerid)) for _ in range(100)))
    assert await store.read(units.version_of(workerid)) == 1 + sum(won)
    assert any(won)


async def test_one_callers_units_happen_in_its_order(store: Store) -> None:
    async def caller(number: int) -> None:
        for each in range(10):
            await store.run(units.add(f"{number}-{each}"))

    await asyncio.gather(*(caller(number) for number in range(8)))
    found = await store.read(units.names())
    for number in range(8):
        assert [name for name in found if name.startswith(f"{number}-")] == [
            f"{number}-{each}" for each in range(10)
        ]


async def test_a_cancelled_caller_leaves_a_whole_unit_or_none(store: Store) -> None:
    tasks: list[asyncio.Task[Any]] = []
    for number in range(40):
        task = asyncio.create_task(store.run(units.add(f"w{number}")))
        tasks.append(task)
        for _ in range(number % 5):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await store.run(units.add("last"))
    assert "last" in await store.read(units.names())
    # Each unit has two statements: none is ever found with only the first one's effect.
    assert await store.fetch(sa.select(workers.c.name).where(workers.c.version != 1)) == []


async def test_starting_and_stopping_is_idempotent(store: Store) -> None:
    await store.start()
    await store.run(units.add("one"))
    await store.stop()
    await store.stop()
    with pytest.raises(StoreStopped):
        await store.run(units.add("two"))
    with pytest.raises(StoreStopped):
        await store.read(units.names())
    await store.start()
    assert await store.read(units.names()) == ["one"]


async def test_a_stop_while_units_run_tells_each_caller(store: Store) -> None:
    running = [asyncio.create_task(store.run(units.add(f"w{number}"))) for number in range(200)]
    await asyncio.sleep(0)
    await store.stop()
    ended = await asyncio.gather(*running, return_exceptions=True)
    assert all(isinstance(outcome, int | StoreStopped) for outcome in ended)
    await store.start()
    found = await store.read(units.names())
    done = {f"w{number}" for number, outcome in enumerate(ended) if isinstance(outcome, int)}
    assert done <= {*found}


async def test_starts_and_stops_under_load(store: Store) -> None:
    done: set[str] = set()

    async def work(number: int) -> None:
        for each in range(25):
            name = f"{number}-{each}"
            try:
                await store.run(units.add(name))
                done.add(name)
            except StoreStopped:
                await asyncio.sleep(0)

    load = asyncio.gather(*(work(number) for number in range(8)))
    while not load.done():
        await store.stop()
        await store.start()
        await asyncio.sleep(0)
    await load
    assert done <= {*await store.read(units.names())}


async def test_verbs_are_counted(store: Store) -> None:
    await store.run(units.add("one"))
    with pytest.raises(Refused):
        await store.run(units.add("two", refuse=True))
    await store.read(units.names())
    assert store.metrics["add"].count == 2
    assert store.metrics["add"].raised == 1
    assert store.metrics["add"].seconds > 0 or store.name == ":memory:"
    assert store.metrics["names"].count == 1


async def test_two_stores_on_one_database(store: Store, store_url: str) -> None:
    if store_url == "sqlite://":
        return
    other = open_store(store_url, Path("/"))
    await other.start()
    try:
        workerid = await store.run(units.add("one"))
        each = [store, other] * 50
        versions = await asyncio.gather(*(which.run(units.bump(workerid)) for which in each))
        assert sorted(versions) == list(range(2, 102))
    finally:
        await other.stop()


async def test_integers_of_a_statement_stand_in_its_text(store: Store) -> None:
    """A partial index is used only by a statement that shows its condition."""
    waiting = Statement(
        "waiting",
        lambda _dialect: sa.select(builders.c.id).where(
            builders.c.projectid == 5, builders.c.name == sa.bindparam("name")
        ),
    )
    assert "projectid = 5" in waiting.compiled(store.dialect).sql


async def test_parts_of_an_insert_from_a_select(store: Store) -> None:
    copy = Statement(
        "copy",
        lambda dialect: insert(dialect, workers).from_select(
            ["name", "version"], sa.select(workers.c.name + sa.bindparam("tail"), workers.c.version + 10)
        ),
    )

    @unit
    def run() -> Work[None]:
        yield copy(tail="-2")

    await store.run(units.add("one"))
    await store.run(run())
    assert await store.read(units.names()) == ["one", "one-2"]
    assert await store.fetch(sa.select(sa.func.count()).select_from(changes)) == [(0,)]
