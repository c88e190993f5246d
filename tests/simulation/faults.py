"""What goes wrong in a run: a plan of faults, each with its time and its length, all decided by the seed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

from tests.simulation.people import People
from tests.simulation.store import USUALLY_SLOW
from tests.simulation.world import MasterHost, World

HOUR_US = 3_600_000_000

Fault = Callable[["Faults"], Coroutine[Any, Any, str | None]]


class Faults:
    """Plays faults on a world. Every fault ends by itself; :meth:`heal` ends all that may still last."""

    def __init__(self, world: World, people: People, chance: random.Random) -> None:
        self.world = world
        self.people = people
        self.chance = chance
        self.planned = 0
        self.counts: dict[str, int] = {}
        self.happened: list[tuple[float, str]] = []
        self._tasks: list[asyncio.Task[Any]] = []

    def schedule(self, count: int, begin: float, end: float) -> None:
        """Plan this many faults between two times."""
        self.planned = count
        names = list(KINDS)
        weights = [weight for weight, _ in KINDS.values()]
        chosen = self.chance.choices(names, weights, k=count - 1)
        chosen.append("restart a master")  # there are two incarnations at least
        self.chance.shuffle(chosen)
        times = sorted(self.chance.uniform(begin, end) for _ in chosen)
        for at, name in zip(times, chosen, strict=True):
            self._tasks.append(asyncio.get_running_loop().create_task(self._play(at, name)))

    async def _play(self, at: float, name: str) -> None:
        await asyncio.sleep(at)
        self.counts[name] = self.counts.get(name, 0) + 1
        self.happened.append((self.world.loop.time(), name))
        self.world.say(f"FAULT {name}")
        await KINDS[name][1](self)
        self.world.say(f"over: {name}")

    async def done(self) -> None:
        await asyncio.gather(*self._tasks)

    async def heal(self) -> None:
        """Everything is well from now on, but for what is gone for good."""
        world = self.world
        if self.planned and len(world.masters) > 1 and self.chance.random() < 0.15:
            world.masters[0].gone = True
            world.masters[0].kill()
        if self.planned and self.chance.random() < 0.15:
            self.chance.choice(world.machines).vanish()
        world.database.away = world.database.full = False
        world.network.heal()
        for master in world.masters:
            if master.process is not None:
                master.process.thaw()
            if hasattr(master, "store"):
                master.store.unreachable = master.store.deaf = False
                master.store.release()
            master.listens = True
            master.start()
        world.tell_stores()
        for machine in world.machines:
            machine.start()
            await self.people.worker(machine.name, "unpause")

    # -- what helps -----------------------------------------------------------------------------------------

    def for_a_while(self, least: float, most: float) -> Coroutine[Any, Any, None]:
        return asyncio.sleep(self.chance.uniform(least, most))

    def master(self) -> MasterHost:
        return self.chance.choice(self.world.masters)

    async def restart_master(self) -> None:
        master = self.master()
        master.kill()
        await self.for_a_while(0.2, 4)
        master.start()

    async def stop_master(self) -> None:
        master = self.master()
        await master.stop()
        await self.for_a_while(0.2, 4)
        master.start()

    async def lose_master(self) -> None:
        """Away for longer than its lease lasts."""
        master = self.master()
        master.kill()
        await self.for_a_while(11, 16)
        master.start()

    async def _freeze(self, least: float, most: float) -> None:
        process = self.master().process
        if process is None or not process.alive or process.frozen:
            return
        process.freeze()
        await self.for_a_while(least, most)
        process.thaw()

    async def freeze_shortly(self) -> None:
        await self._freeze(0.5, 4)

    async def freeze_long(self) -> None:
        await self._freeze(8, 14)

    async def cut_worker(self) -> None:
        """A worker reaches no master."""
        machine = self.chance.choice(self.world.machines)
        ways = {(machine.name, master.name) for master in self.world.masters}
        self.world.network.cut |= ways
        await self.for_a_while(1, 7)
        self.world.network.heal(worker=machine.name)

    async def cut_master(self) -> None:
        """No worker reaches a master, which goes on."""
        master = self.master()
        self.world.network.cut |= {(machine.name, master.name) for machine in self.world.machines}
        await self.for_a_while(1, 12)
        self.world.network.heal(master=master.name)

    async def cut_long(self) -> None:
        """A worker is away beyond its grace, and sometimes beyond its dead-man limit."""
        machine = self.chance.choice(self.world.machines)
        self.world.network.cut |= {(machine.name, master.name) for master in self.world.masters}
        await self.for_a_while(9, 24)
        self.world.network.heal(worker=machine.name)

    async def reset(self) -> None:
        self.world.network.reset(self.chance.choice(self.world.machines).name)

    async def kill_worker(self) -> None:
        machine = self.chance.choice(self.world.machines)
        machine.kill()
        await self.for_a_while(0.05, 3)
        machine.start()

    async def lose_worker(self) -> None:
        """A worker's process is gone for longer than its grace."""
        machine = self.chance.choice(self.world.machines)
        machine.kill()
        await self.for_a_while(9, 18)
        machine.start()

    async def stop_worker(self) -> None:
        """In an orderly way: its commands are killed, and their results told if that is possible."""
        machine = self.chance.choice(self.world.machines)
        agent, process = machine.agent, machine.process
        if agent is None or process is None or not process.alive:
            return
        process.call(agent.stop, "the fault wants it")
        await self.for_a_while(5, 7)
        machine.start()

    async def retire_worker(self) -> None:
        """It takes no more work, and ends when it is idle."""
        machine = self.chance.choice(self.world.machines)
        agent, process = machine.agent, machine.process
        if agent is None or process is None or not process.alive:
            return
        process.call(agent.retire, "the fault wants it")
        ended = asyncio.get_running_loop().create_future()
        process.on_exit.append(lambda: ended.set_result(None))
        await ended
        machine.start()

    async def database_away(self) -> None:
        self.world.database.away = True
        self.world.tell_stores()
        await self.for_a_while(0.5, 5)
        self.world.database.away = False
        self.world.tell_stores()

    async def database_away_long(self) -> None:
        """Longer than any lease lasts."""
        self.world.database.away = True
        self.world.tell_stores()
        await self.for_a_while(8, 14)
        self.world.database.away = False
        self.world.tell_stores()

    async def database_full(self) -> None:
        self.world.database.full = True
        self.world.tell_stores()
        await self.for_a_while(0.5, 5)
        self.world.database.full = False
        self.world.tell_stores()

    async def database_unreachable(self) -> None:
        """For one master."""
        master = self.master()
        if not master.alive or not hasattr(master, "store"):
            return
        store = master.store
        store.unreachable = True
        store.look()
        await self.for_a_while(1, 15)
        store.unreachable = False
        store.look()

    async def database_slow(self) -> None:
        """For one master: what it writes may be overtaken by what happens elsewhere."""
        master = self.master()
        if not master.alive or not hasattr(master, "store"):
            return
        store = master.store
        store.slow = self.chance.choice((0.3, 1.0, 3.0))
        await self.for_a_while(2, 8)
        store.slow = USUALLY_SLOW  # not what it was before: that may have been another fault's

    async def lose_hints(self) -> None:
        stores = self.world.stores()
        for store in stores:
            store.deaf = True
        await self.for_a_while(3, 12)
        for store in stores:
            store.deaf = False

    async def set_clock_back(self) -> None:
        self.master().clock.offset_us -= HOUR_US
        await asyncio.sleep(0)

    async def reload(self) -> None:
        self.world.reloads += 1
        variant = self.chance.randrange(2)
        for master in self.world.masters:
            await master.reload(variant)
            await self.for_a_while(0, 2)

    async def pause_worker(self) -> None:
        name = self.chance.choice(self.world.machines).name
        await self.people.worker(name, "pause")
        await self.for_a_while(1, 8)
        await self.people.worker(name, "unpause")

    async def stop_request(self) -> None:
        await self.people.stop()

    async def stop_several(self) -> None:
        for _ in range(3):
            await self.people.stop()
            await self.for_a_while(0, 0.5)

    async def rebuild(self) -> None:
        await self.people.rebuild()

    async def hurry(self) -> None:
        await self.people.hurry()


KINDS: dict[str, tuple[int, Fault]] = {
    "restart a master": (6, Faults.restart_master),
    "stop a master": (2, Faults.stop_master),
    "lose a master": (2, Faults.lose_master),
    "freeze a master shortly": (3, Faults.freeze_shortly),
    "freeze a master beyond its lease": (4, Faults.freeze_long),
    "cut a worker off": (4, Faults.cut_worker),
    "cut a master off": (3, Faults.cut_master),
    "cut a worker off beyond its grace": (2, Faults.cut_long),
    "reset a worker's connections": (3, Faults.reset),
    "kill a worker": (4, Faults.kill_worker),
    "lose a worker": (2, Faults.lose_worker),
    "a worker is stopped": (2, Faults.stop_worker),
    "a worker retires": (1, Faults.retire_worker),
    "the database is away": (3, Faults.database_away),
    "the database is away beyond the leases": (1, Faults.database_away_long),
    "the database is full": (2, Faults.database_full),
    "a master can't reach the database": (3, Faults.database_unreachable),
    "the database is slow for a master": (3, Faults.database_slow),
    "hints are lost": (2, Faults.lose_hints),
    "a clock is set back": (1, Faults.set_clock_back),
    "a reload": (2, Faults.reload),
    "a worker is paused": (2, Faults.pause_worker),
    "a request is stopped": (3, Faults.stop_request),
    "requests are stopped": (1, Faults.stop_several),
    "a rebuild": (2, Faults.rebuild),
    "another priority": (1, Faults.hurry),
}
