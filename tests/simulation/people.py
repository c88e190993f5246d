"""Those who use the installation: they force, push changes, stop, rebuild, pause, and repeat what wasn't
answered.

What was acknowledged, and what was only tried, is kept for the checker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from buildwright.store.units.changes import NewChange, add_changes
from tests.simulation.config import BRANCH
from tests.simulation.world import MasterHost, World

Ask = Callable[[Any], Awaitable[Any]]


class People:
    """See the module's docstring."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.forced: dict[str, int | None] = {}  # key -> buildset, once it was acknowledged
        self.pushed: dict[str, int | None] = {}  # revision -> change
        self.rebuilt: dict[str, tuple[int, int | None]] = {}  # key -> (build, buildset)
        self.stopped: dict[int, float] = {}  # request -> when the stop was acknowledged
        self.tried_to_stop: set[int] = set()
        self.found: list[str] = []
        self._keys = 0

    async def force(self, builder: str) -> None:
        key = self._key("force")
        self.forced[key] = None

        async def ask(control: Any) -> Any:
            params = {"builderNames": [builder], "reason": key}
            return await control.force("force", params, "somebody", key)

        answer = await self._insist(ask)
        self.forced[key] = answer[0]
        if self.world.chance.random() < 0.2:  # the answer got lost on the way
            again = await self._insist(ask)
            if again[0] != answer[0]:
                self.found.append(f"P1 {key} was answered {answer}, and then {again}")

    async def push(self) -> None:
        revision = self._key("r")
        self.pushed[revision] = None
        change = NewChange(
            author="somebody", branch=BRANCH, revision=revision, files=["a.c"], identity=f"test:{revision}"
        )

        async def ask(master: MasterHost) -> Any:
            return await master.store.run(add_changes([change], master.clock.now_us()))

        answer = await self._insist_at(ask)
        self.pushed[revision] = answer[0].changeid
        if self.world.chance.random() < 0.2:  # a hook that is delivered twice
            again = await self._insist_at(ask)
            if again[0] != (answer[0].changeid, False):
                self.found.append(f"P1 change {revision} was taken as {answer}, and then as {again}")

    async def rebuild(self) -> None:
        done = self.world.database.rows("SELECT id FROM builds WHERE complete_at IS NOT NULL ORDER BY id")
        if not done:
            return
        [buildid] = self.world.chance.choice(done)
        key = self._key("rebuild")
        self.rebuilt[key] = buildid, None
        answer = await self._insist(lambda control: control.rebuild(buildid, "somebody", key))
        self.rebuilt[key] = buildid, answer[0]

    async def stop(self) -> None:
        """Stop a request, waiting or running."""
        open_ = self.world.database.rows("SELECT id FROM buildrequests WHERE complete = 0 ORDER BY id")
        if not open_:
            return
        [requestid] = self.world.chance.choice(open_)
        self.world.say(f"stop request {requestid}")
        self.tried_to_stop.add(requestid)
        if await self._insist(lambda control: control.cancel_request(requestid, "not wanted")):
            self.stopped[requestid] = self.world.loop.time()

    async def hurry(self, requestid: int | None = None) -> None:
        """Give a waiting request, this one or any, another priority."""
        if requestid is None:
            open_ = self.world.database.rows("SELECT id FROM buildrequests WHERE complete = 0 ORDER BY id")
            if not open_:
                return
            [requestid] = self.world.chance.choice(open_)
        await self._insist(lambda control: control.set_priority(requestid, 5))

    async def worker(self, name: str, action: str) -> None:
        rows = self.world.database.rows("SELECT id FROM workers WHERE name = ?", name)
        if rows:
            await self._insist(lambda control: control.worker_action(rows[0][0], action, "because"))

    async def close_schedules(self) -> None:
        """Disable all schedulers, so that there comes an end."""
        for (schedulerid,) in self.world.database.rows("SELECT id FROM schedulers ORDER BY id"):
            await self._disable(schedulerid)

    async def _disable(self, schedulerid: int) -> None:
        await self._insist(lambda control: control.enable_scheduler(schedulerid, enabled=False))

    def _key(self, kind: str) -> str:
        self._keys += 1
        return f"{kind}-{self._keys}"

    async def _insist(self, ask: Callable[..., Awaitable[Any]]) -> Any:
        async def at(master: MasterHost) -> Any:
            assert master.core is not None
            return await ask(master.core.control())

        return await self._insist_at(at)

    async def _insist_at(self, ask: Callable[[MasterHost], Awaitable[Any]]) -> Any:
        """Ask one master after the other until one answers."""
        chance = self.world.chance
        while True:
            up = [master for master in self.world.masters if master.up]
            if up:
                master = chance.choice(up)
                answered, value = await self.world.ask(master, partial(ask, master))
                if answered:
                    return value
            await asyncio.sleep(0.2 + chance.random())
