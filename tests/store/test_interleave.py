"""Units that meet between their statements on PostgreSQL: the tool, and what the drivers' users lean on."""

from collections.abc import AsyncIterator
from itertools import count

import pytest
import sqlalchemy as sa

from buildwright.store.base import Store
from buildwright.store.schema import workers
from buildwright.store.unit import Fenced, Statement, Unit, Work, unit
from tests.store import units
from tests.support.interleave import Met, Scene, meetings
from tests.support.stores import started

SHARE = Statement(
    "lock attachment",
    lambda _dialect: (
        sa.select(workers.c.id)
        .where(workers.c.id == sa.bindparam("of_id"), workers.c.attachment == sa.bindparam("of_attachment"))
        .with_for_update(read=True)
    ),
)
ATTACH = Statement(
    "attach",
    lambda _dialect: (
        sa.update(workers)
        .values(attachment=workers.c.attachment + 1)
        .where(workers.c.id == sa.bindparam("of_id"))
    ),
)
NOTE = Statement(
    "note",
    lambda _dialect: (
        sa.update(workers).values(info=sa.bindparam("text")).where(workers.c.name == sa.bindparam("of_name"))
    ),
)
INFO = Statement(
    "info", lambda _dialect: sa.select(workers.c.info).where(workers.c.name == sa.bindparam("of_name"))
)


@unit
def fenced_write(workerid: int, attachment: int, other: str) -> Work[None]:
    """As the engine writes: the worker's row locked shared with the writer's own number, then the write."""
    rows = yield SHARE(of_id=workerid, of_attachment=attachment)
    if not rows:
        raise Fenced
    yield NOTE(of_name=other, text="written")


@unit
def take_over(workerid: int, other: str) -> Work[str]:
    """As a successor attaches: the number first, then what the predecessor has left."""
    yield ATTACH(of_id=workerid)
    [(info,)] = yield INFO(of_name=other)
    assert isinstance(info, str)
    return info


@unit
def info_of(name: str) -> Work[str]:
    [(info,)] = yield INFO(of_name=name)
    assert isinstance(info, str)
    return info


@pytest.fixture
async def store(postgres_store_url: str) -> AsyncIterator[Store]:
    async with started(postgres_store_url) as store:
        yield store


async def test_a_write_is_seen_by_the_successor_or_refused(store: Store, postgres_store_url: str) -> None:
    """The fence: whatever the order, no write lands after the successor has looked."""
    numbers = count()

    async def scene(*, swap: bool = False) -> Scene[str]:
        name = f"w{next(numbers)}"
        workerid = await store.run(units.add(name))
        await store.run(units.add(f"{name}-log"))
        both: list[Unit[object]] = [
            fenced_write(workerid, 0, f"{name}-log"),
            take_over(workerid, f"{name}-log"),
        ]
        first, second = both[::-1] if swap else both
        return Scene(first, second, f"{name}-log")

    met: list[Met[str]] = [each async for each in meetings(postgres_store_url, scene)]
    assert [(each.after, each.waited) for each in met] == [(0, False), (1, True), (2, True)]
    for each in met:
        await check_fence(store, each, each.first.error, each.second.value)
    met = [each async for each in meetings(postgres_store_url, lambda: scene(swap=True))]
    assert [(each.after, each.waited) for each in met] == [(0, False), (1, True), (2, True)]
    for each in met:
        await check_fence(store, each, each.second.error, each.first.value)


async def check_fence(store: Store, met: Met[str], writer: BaseException | None, seen: str) -> None:
    assert writer is None or isinstance(writer, Fenced)
    assert (await store.read(info_of(met.memory)) == "written") == (writer is None)
    assert seen == ("written" if writer is None else "{}")


async def test_compare_and_set_has_one_winner(store: Store, postgres_store_url: str) -> None:
    numbers = count()

    async def scene() -> Scene[int]:
        workerid = await store.run(units.add(f"w{next(numbers)}"))
        return Scene(units.compare_and_set(workerid), units.compare_and_set(workerid), workerid)

    met = [each async for each in meetings(postgres_store_url, scene)]
    assert len(met) == 3
    for each in met:
        won = [each.first.value, each.second.value]
        assert await store.read(units.version_of(each.memory)) == 1 + sum(won)
    # Alone first; then the second wins while the first has only read; then the first has written.
    assert [(each.first.value, each.second.value) for each in met] == [
        (True, True),
        (False, True),
        (True, False),
    ]


async def test_a_unit_that_loses_a_deadlock_runs_again(store: Store, postgres_store_url: str) -> None:
    numbers = count()

    @unit
    def both(first: int, second: int) -> Work[None]:
        yield units.BUMP(of_id=first)
        yield units.BUMP(of_id=second)

    async def scene() -> Scene[list[int]]:
        ids = [await store.run(units.add(f"w{next(numbers)}")) for _ in range(2)]
        return Scene(both(*ids), both(*ids[::-1]), ids)

    met = [each async for each in meetings(postgres_store_url, scene)]
    assert [each.first.runs + each.second.runs > 2 for each in met] == [False, True, False]
    for each in met:
        assert [await store.read(units.version_of(workerid)) for workerid in each.memory] == [3, 3]
