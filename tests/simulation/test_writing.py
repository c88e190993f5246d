"""When a build's writer commits, on virtual time: together what comes together, and nothing is left."""

import asyncio
import random
from typing import Any

from buildwright.builds.writer import FOLLOW_AFTER, SHOW_AFTER, BuildWriter
from buildwright.store.memory import MemoryStore
from buildwright.store.units.engine import Fence
from buildwright.testing.loop import VirtualLoop


class _Link:
    fence = Fence(1, 1, 1)


class _Slow(MemoryStore):
    """Takes its time for each unit; notes when each began."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.began: list[float] = []

    async def insist(self, unit: Any) -> Any:
        self.began.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.seconds)
        return []


def _commits(seconds: float, additions: list[tuple[float, str]]) -> list[float]:
    """When units began, in seconds from the start. An addition is a time to wait before it, and its kind:
    "add", or "output", which may be followed by more.
    """
    store = _Slow(seconds)

    async def go() -> float:
        writer = BuildWriter(store, 1, 0, _Link())  # type: ignore[arg-type]  # of a link it asks the fence only
        began = asyncio.get_running_loop().time()
        for pause, how in additions:
            await asyncio.sleep(pause)
            writer.say(state=how)
            if how == "output":
                writer.shortly()
        await asyncio.sleep(60)
        return began

    loop = VirtualLoop(random.Random(1))
    try:
        began = loop.run_until_complete(go())
    finally:
        loop.close()
    return [round(each - began, 4) for each in store.began]


def test_what_follows_at_once_shares_the_unit() -> None:
    assert _commits(0.001, [(0, "output"), (FOLLOW_AFTER / 2, "output")]) == [FOLLOW_AFTER]
    assert _commits(0.001, [(0, "add"), (FOLLOW_AFTER, "add")]) == [SHOW_AFTER]


def test_output_hurries_what_had_more_time() -> None:
    assert _commits(0.001, [(0, "add"), (0.001, "output")]) == [round(0.001 + FOLLOW_AFTER, 4)]


def test_what_is_added_during_a_slow_commit_is_in_the_next_one() -> None:
    slow = 4 * SHOW_AFTER
    expected = [FOLLOW_AFTER, round(FOLLOW_AFTER + slow, 4)]
    assert _commits(slow, [(0, "output"), (SHOW_AFTER, "output")]) == expected
    assert _commits(slow, [(0, "output"), (SHOW_AFTER, "add")]) == expected
