"""One simulated installation: a database, masters, the workers' machines, and the network between them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from buildwright.master.core import Core
from buildwright.store.errors import StoreError
from buildwright.testing.loop import Process, VirtualClock, VirtualLoop
from buildwright.workers.endpoint import Shell
from tests.simulation.config import WORKERS, Plan
from tests.simulation.machine import Book, Machine
from tests.simulation.network import WORLD, Network, ServerEnd
from tests.simulation.store import Database, SimulatedStore

PATIENCE = 15.0


class MasterHost:
    """The place of one master: its basedir, its clock, and the process that runs there now."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.clock = VirtualClock(world.loop)
        self.incarnation = 0
        self.process: Process | None = None
        self.store: SimulatedStore
        self.core: Core | None = None  # of a process that has come up
        self.variant = 0  # of the configuration on its disk
        self.gone = False  # for good
        self.listens = True  # else it refuses connections

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.alive

    @property
    def up(self) -> bool:
        return self.alive and self.core is not None

    def start(self) -> None:
        """Start a process here, unless one runs. One that finds the database away is started again."""
        if self.alive or self.gone:
            return
        self.incarnation += 1
        self.process = Process(self.world.loop, f"{self.name}#{self.incarnation}")
        self.process.spawn(self._run(self.process))

    def kill(self) -> None:
        if self.process is not None and self.process.alive:
            self.process.kill()
        self.core = None
        self.world.network.listening.pop(self.name, None)

    async def _run(self, process: Process) -> None:
        world = self.world
        store = self.store = SimulatedStore(
            world.database, process.name, random.Random(world.chance.random()), self.clock.now_us
        )
        await store.start()
        store.look()
        core = Core(
            store=store,
            clock=self.clock,
            name=self.name,
            basedir=Path("/nowhere") / self.name,
            snapshot=world.plan.snapshot(self.variant),
        )
        try:
            await core.start()
        except StoreError:
            process.call(self._again, process, after=1.0)
            return
        self.core = core

        def accept(end: ServerEnd, worker: str) -> None:
            end.accept()
            config = core.snapshot.workers[worker]
            shell = Shell(core.workers, config, end, end.abort)
            world.serve(process.loop.create_task(shell.run(), name=f"shell of {worker}"))

        world.network.listening[self.name] = (process, accept, lambda: self.listens)

    def _again(self, process: Process) -> None:
        process.kill()
        self.start()

    async def stop(self) -> None:
        """An orderly stop and end of the process."""
        process, core = self.process, self.core
        if process is None or core is None or not process.alive:
            return
        self.core = None
        self.world.network.listening.pop(self.name, None)
        done = process.loop.create_future()

        async def stopping() -> None:
            await core.stop()
            await self.store.stop()
            done.set_result(None)

        process.spawn(stopping())
        await asyncio.wait({done}, timeout=PATIENCE)
        process.kill()

    async def reload(self, variant: int) -> None:
        self.variant = variant
        core = self.core
        if core is not None and self.alive:
            await self.world.ask(self, lambda: core.reconfigure(self.world.plan.snapshot(variant)))


class World:
    """See the module's docstring."""

    def __init__(self, loop: VirtualLoop, seed: int, masters: int) -> None:
        self.loop = loop
        self.chance = random.Random(seed)
        self.plan = Plan(seed)
        self.outside = Process(loop, "world")
        WORLD.context = self.outside.context
        self.database = Database(loop.time)
        self.book = Book(loop.time)
        self.network = Network(random.Random(seed + 1))
        self.masters = [MasterHost(self, f"m{n + 1}") for n in range(masters)]
        names = [master.name for master in self.masters]
        self.machines = [
            Machine(name, loop, self.network, self.book, self._order(names), random.Random(seed + n))
            for n, name in enumerate(WORKERS)
        ]
        self.said: list[tuple[float, str]] = []  # the trace
        self.reloads = 0

    def _order(self, names: list[str]) -> list[str]:
        order = list(names)
        self.chance.shuffle(order)
        return order

    def say(self, text: str) -> None:
        self.said.append((self.loop.time(), text))

    def start(self) -> None:
        for master in self.masters:
            master.start()
        for machine in self.machines:
            machine.start()

    def stores(self) -> list[SimulatedStore]:
        return [master.store for master in self.masters if master.alive and hasattr(master, "store")]

    def serve(self, task: asyncio.Task[Any]) -> None:
        """A connection's handler: the web server would log its failure."""
        task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, StoreError):
            self.loop.call_exception_handler({"message": "a connection's handler failed", "exception": error})

    def tell_stores(self) -> None:
        """The database's troubles have changed."""
        for store in self.stores():
            store.look()

    async def ask(self, master: MasterHost, what: Callable[[], Awaitable[Any]]) -> tuple[bool, Any]:
        """Have something done by a master's process: (whether it answered, what).

        Like a client over a connection: a master that dies, freezes or fails gives no answer, and what was
        asked for may have happened or not.
        """
        process = master.process
        assert process is not None
        answer: asyncio.Future[tuple[bool, Any]] = self.loop.create_future()

        async def serve() -> None:
            try:
                value: tuple[bool, Any] = True, await what()
            except StoreError as error:
                value = False, error
            self.outside.call(_answer, answer, value)

        process.spawn(serve(), name="a request")
        done, _ = await asyncio.wait({answer}, timeout=PATIENCE)
        return answer.result() if done else (False, None)


def _answer(future: asyncio.Future[tuple[bool, Any]], value: tuple[bool, Any]) -> None:
    if not future.done():  # else whoever asked has given up
        future.set_result(value)
