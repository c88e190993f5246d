"""Ids from reserved blocks: none twice, none missing its master's wait."""

import asyncio

import pytest

from buildwright.store.base import Store
from buildwright.store.errors import StoreStopped
from buildwright.store.ids import BLOCK, IdBlocks, IdsUsedUp
from buildwright.store.memory import MemoryDatabase, MemoryStore


async def test_ids_differ_between_masters_and_names(store: Store) -> None:
    one, two = IdBlocks(store), IdBlocks(store)
    await asyncio.gather(one.start(), two.start())
    steps = [await which.take("steps") for _ in range(2500) for which in (one, two)]
    assert len({*steps}) == len(steps)
    assert min(steps) == 1
    assert await one.take("logs") <= 2 * BLOCK
    await one.stop()
    await two.stop()


async def test_a_started_master_has_ids_at_hand(store: Store) -> None:
    ids = IdBlocks(store)
    await ids.start()
    await ids.start()
    assert [ids.next("steps") for _ in range(3)] == [1, 2, 3]
    await ids.stop()
    await ids.stop()


async def test_the_next_block_comes_before_one_is_used_up(store: Store) -> None:
    ids = IdBlocks(store)
    await ids.start()
    given = [ids.next("steps") for _ in range(BLOCK // 2 + 1)]
    await asyncio.wait([task for task in asyncio.all_tasks() if task.get_name() == "ids-steps"])
    given += [ids.next("steps") for _ in range(BLOCK)]
    assert given == list(range(1, BLOCK + BLOCK // 2 + 2))
    await ids.stop()


async def test_without_a_wait_the_reserve_ends(store: Store) -> None:
    ids = IdBlocks(store)
    await ids.start()
    for _ in range(BLOCK):
        ids.next("steps")
    with pytest.raises(IdsUsedUp):
        ids.next("steps")
    assert await ids.take("steps") == BLOCK + 1
    await ids.stop()


async def test_a_reserve_that_ran_out_is_larger_next_time() -> None:
    store = MemoryStore()
    await store.start()
    ids = IdBlocks(store)
    await ids.start()
    waiting = [asyncio.create_task(ids.take("steps")) for _ in range(3 * BLOCK)]
    given = await asyncio.gather(*waiting)
    assert sorted(given) == list(range(1, 3 * BLOCK + 1))
    assert ids._blocks["steps"].size > BLOCK
    await ids.stop()
    await store.stop()


async def test_a_stopped_store_gives_no_ids() -> None:
    store = MemoryStore(MemoryDatabase())
    await store.start()
    ids = IdBlocks(store)
    await ids.start()
    await store.stop()
    for _ in range(BLOCK):
        ids.next("steps")
    with pytest.raises(StoreStopped):
        await ids.take("steps")
    await ids.stop()
