"""Ids of steps, logs and test result sets, handed out by the master, so that a unit can name rows it is about
to make.

A master reserves blocks of ids with one unit (``id_blocks``: a counter per name that only grows) and hands
them out without asking again. The next block is fetched when half of one is left, and is twice as large
after one that ran out before its successor came. Ids are never given twice: what a dying master had
reserved is lost, which only leaves gaps; a reservation whose commit is in doubt is made again, and leaves
one too.

While the database is away a refill waits with everything else; :meth:`IdBlocks.take` then waits for it, and
:meth:`IdBlocks.next`, which can't wait, raises :class:`IdsUsedUp` once the reserve is gone.
"""

from __future__ import annotations

import asyncio

import sqlalchemy as sa
import structlog

from buildwright.store.base import Store
from buildwright.store.errors import StoreError, StoreStopped
from buildwright.store.schema import id_blocks
from buildwright.store.unit import Statement, Work, insert, unit

log = structlog.get_logger(__name__)

BLOCK = 1000
LARGEST = 64_000
NAMES = ("steps", "logs", "test_result_sets")

_RESERVE = Statement(
    "reserve ids",
    lambda dialect: (
        insert(dialect, id_blocks)
        .values(
            name=sa.bindparam("name"),
            next=sa.bindparam("count", type_=sa.BigInteger) + sa.literal_column("1"),
        )
        .on_conflict_do_update(
            index_elements=["name"],
            set_={"next": id_blocks.c.next + sa.bindparam("count", type_=sa.BigInteger)},
        )
        .returning(id_blocks.c.next)
    ),
)


class IdsUsedUp(StoreError):
    """No reserved id is left, and the store hasn't given the next block yet."""


@unit
def reserve_ids(name: str, count: int) -> Work[int]:
    """Reserve ``count`` ids in a row; gives the first."""
    rows = yield _RESERVE(name=name, count=count)
    end: int = rows[0][0]
    return end - count


class _Block:
    """The reserve of one name: at most two ranges, the older one first."""

    __slots__ = ("arrived", "end", "error", "later", "next", "refill", "size")

    def __init__(self) -> None:
        self.next = 0
        self.end = 0
        self.later: range | None = None
        self.size = BLOCK
        self.refill: asyncio.Task[None] | None = None
        self.arrived = asyncio.Event()
        self.error: BaseException | None = None  # why the last refill failed


class IdBlocks:
    """The reserves of one master. ``start`` fetches the first block of each name."""

    def __init__(self, store: Store, names: tuple[str, ...] = NAMES) -> None:
        self._store = store
        self._names = names
        self._blocks: dict[str, _Block] = {}

    async def start(self) -> None:
        if not self._blocks:
            blocks = {name: _Block() for name in self._names}
            await asyncio.gather(*(self._fetch(name, block) for name, block in blocks.items()))
            self._blocks = blocks

    async def stop(self) -> None:
        blocks, self._blocks = self._blocks, {}
        tasks = [block.refill for block in blocks.values() if block.refill is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def next(self, name: str) -> int:
        """An id that nobody else has or gets; raises :class:`IdsUsedUp` when the reserve is gone."""
        block = self._blocks[name]
        number = block.next
        if number >= block.end:
            if block.later is None:
                self._refill(name, block)
                raise IdsUsedUp(f"No id for {name} is left until the database answers.")
            number, block.end, block.later = block.later.start, block.later.stop, None
        block.next = number + 1
        if block.later is None and block.refill is None and (block.end - number) * 2 <= block.size:
            self._refill(name, block)
        return number

    async def take(self, name: str) -> int:
        """As :meth:`next`, and waits for the next block if it must."""
        while True:
            try:
                return self.next(name)
            except IdsUsedUp:
                block = self._blocks[name]
                await block.arrived.wait()
                if block.error is not None:
                    raise block.error from None

    def _refill(self, name: str, block: _Block) -> None:
        if block.refill is None:
            block.arrived.clear()
            block.error = None
            block.refill = asyncio.create_task(self._fetch(name, block), name=f"ids-{name}")
            block.refill.add_done_callback(lambda task: self._refilled(name, block, task))

    def _refilled(self, name: str, block: _Block, task: asyncio.Task[None]) -> None:
        block.refill = None
        block.error = self._store.stopped() if task.cancelled() else task.exception()
        if block.error is not None and not isinstance(block.error, StoreStopped):
            log.error(
                "ids could not be reserved; the next call tries again", ids=name, reason=str(block.error)
            )
        block.arrived.set()

    async def _fetch(self, name: str, block: _Block) -> None:
        size = block.size
        first = await self._store.insist(reserve_ids(name, size))
        if block.next >= block.end:  # ran out while this was under way (or the very first one)
            if block.end:
                block.size = min(size * 2, LARGEST)
            block.next, block.end = first, first + size
        else:
            block.later = range(first, first + size)
