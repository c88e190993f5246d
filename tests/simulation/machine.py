"""Simulated machines of workers: the shipped agent, with commands that only exist in virtual time.

A machine outlives the worker process on it, and so do the commands that this process started: they run on,
holding whatever they hold, until they end or the next worker process finds them in the ledger and kills
them. A command is a :class:`Script`: some bytes at some times, then an exit code.

The :class:`Book` is what the checker believes: which command was started where and when, what it wrote into
the worker's spool, when nothing of it ran any more. It is written here, by the machines, and the program
never sees it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from buildwright.testing.loop import Process, VirtualLoop
from buildwright_worker.agent import Agent
from buildwright_worker.commands import Command, Context
from buildwright_worker.config import AgentConfig
from buildwright_worker.ledger import Ledger
from buildwright_worker.protocol import LostCommand, Result
from tests.simulation.network import Network

PIECES = (
    b"ok\n",
    b"half a line",
    b" and its end\n",
    b"\xff\xfe\x00\n",
    b"x" * 300 + b"\n",
    b"\r\n",
    b"a\nb\nc\n",
)


class Script:
    """What a command does, all of it decided by one number."""

    def __init__(self, number: int) -> None:
        self.number = number

    @cached_property
    def acts(self) -> list[tuple[float, Literal["o", "e"], bytes]]:
        """(seconds after the one before, stream, bytes)."""
        chance = random.Random(self.number)
        lazy = chance.random() < 0.15
        return [
            (
                chance.expovariate(0.4 if lazy else 4.0),
                "e" if chance.random() < 0.25 else "o",
                b"%d " % self.number + chance.choice(PIECES) * chance.choice((1, 1, 3)),
            )
            for _ in range(chance.randrange(4))
        ]

    @cached_property
    def code(self) -> int:
        return 1 if random.Random(self.number + 1).random() < 0.1 else 0

    @cached_property
    def rest(self) -> float:
        """Seconds from the last act to the end."""
        return random.Random(self.number + 2).expovariate(5.0)

    def output(self, stream: str) -> bytes:
        """All that it writes to a stream."""
        return b"".join(data for _, which, data in self.acts if which == stream)


@dataclass(slots=True)
class Run:
    """A command as it ran on a machine."""

    id: str
    machine: str
    argv: list[str]
    began: float
    spooled: dict[str, bytearray] = field(default_factory=lambda: {"o": bytearray(), "e": bytearray()})
    over: float | None = None  # when nothing of it ran any more
    how: str = ""  # "ended", or what killed it


class Book:
    """The independent ledger of all that ran."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.runs: list[Run] = []
        self.on_start: list[Callable[[Run], None]] = []
        self.on_over: list[Callable[[Run], None]] = []

    def start(self, id: str, machine: str, argv: list[str]) -> Run:
        run = Run(id, machine, argv, self.now())
        self.runs.append(run)
        for callback in self.on_start:
            callback(run)
        return run

    def end(self, run: Run, how: str) -> None:
        run.over, run.how = self.now(), how
        for callback in self.on_over:
            callback(run)


class Machine:
    """The computer of one worker."""

    def __init__(
        self,
        name: str,
        loop: VirtualLoop,
        network: Network,
        book: Book,
        masters: list[str],
        chance: random.Random,
    ) -> None:
        self.name = name
        self.book = book
        self.kernel = Process(loop, f"kernel of {name}")
        self.agent: Agent | None = None
        self.process: Process | None = None
        self.entries: dict[str, VirtualCommand | None] = {}  # the ledger on its disk
        self.identity = f"ledger of {name}"
        self.boots = 0
        self.lengths: dict[
            str, float
        ] = {}  # by builder: how long its commands take, else as their script says
        self.gone = False  # for good
        self._loop = loop
        self._network = network
        self._chance = chance
        self._config = AgentConfig(
            basedir=Path("/nowhere") / name,
            masters=[f"ws://{master}/worker" for master in masters],
            name=name,
            password="pw",
            environ={},
        )

    def start(self) -> None:
        """Start a worker process, unless one runs."""
        if not self.gone and (self.process is None or not self.process.alive):
            self.boots += 1
            self.process = Process(self._loop, f"{self.name}#{self.boots}")
            self.process.spawn(self._work(self.process))

    def kill(self) -> None:
        """Kill the worker process. Its commands run on."""
        if self.process is not None and self.process.alive:
            self.process.kill()
            self.agent = None

    def vanish(self) -> None:
        """The machine is gone for good, with all that runs on it."""
        self.gone = True
        self.kill()
        for command in self.entries.values():
            if command is not None:
                command.killed("its machine is gone")

    async def _work(self, process: Process) -> None:
        ledger = VirtualLedger(self)
        lost = []
        for id_, command in list(self.entries.items()):
            await asyncio.sleep(self._chance.random() * 0.05)
            if command is not None:
                command.killed("the worker's next process")
            lost.append(LostCommand(id_, "the worker process that ran it ended"))

        def make(context: Context, args: dict[str, Any]) -> VirtualCommand:
            return VirtualCommand(context, args, self, process)

        agent = self.agent = Agent(
            self._config,
            kinds={"shell": make},  # type: ignore[dict-item]
            connect=self._network.connector(self.name, process),
        )
        await agent.work(ledger, lost)
        process.kill()

    @property
    def quiet(self) -> bool:
        """Whether nothing runs and the ledger is empty."""
        return self.gone or not self.entries


class VirtualLedger(Ledger):
    """The worker's ledger on a machine's disk."""

    def __init__(self, machine: Machine) -> None:
        self.identity = machine.identity
        self._machine_of = machine

    def begin(self, id: str) -> None:
        if id in self._machine_of.entries:
            raise FileExistsError(17, "File exists", id)
        self._machine_of.entries[id] = None

    def started(self, id: str, pid: int) -> None:
        """The command notes itself in :meth:`VirtualCommand.start`."""

    def forget(self, id: str) -> None:
        self._machine_of.entries.pop(id, None)

    def close(self) -> None:
        """Nothing is open."""


class VirtualCommand(Command):
    """A command that plays a script: ``command`` is ["script", number, ...]."""

    def __init__(self, context: Context, args: dict[str, Any], machine: Machine, process: Process) -> None:
        super().__init__(context, args)
        self.argv: list[str] = args["command"]
        self._script = Script(int(self.argv[1]))
        self._machine = machine
        self._process = process
        self._running = False
        self._run: Run
        self._failure: tuple[str, str] | None = None

    def start(self) -> None:
        machine = self._machine
        self._run = machine.book.start(self.context.id, machine.name, self.argv)
        machine.entries[self.context.id] = self
        self.context.started(1)
        self.context.header(f"{' '.join(self.argv)}\n", urgent=False)
        self._running = True
        self._next(0)

    def interrupt(self, failure: str, why: str, *, at_once: bool = False) -> None:
        del at_once
        if self._failure is None:
            self._failure = failure, why
            self._machine.kernel.call(self.killed, f"interrupted: {why}", after=0.02)

    def killed(self, how: str) -> None:
        """Nothing of it runs any more."""
        if self._running:
            self._running = False
            self._machine.book.end(self._run, how)
            self._process.call(self._tell_end)

    # What happens in the machine, whoever lives.

    def _next(self, number: int) -> None:
        acts = self._script.acts
        length = self._machine.lengths.get(self.argv[2])
        last = number >= len(acts)
        if length is None:
            after = self._script.rest if last else acts[number][0]
        else:
            after = length if last else 0.01
        self._machine.kernel.call(self._act, number, after=after)

    def _act(self, number: int) -> None:
        if not self._running:
            return
        acts = self._script.acts
        if number < len(acts):
            self._process.call(self._output, acts[number][1], acts[number][2])
            self._next(number + 1)
        else:
            self._running = False
            self._machine.book.end(self._run, "ended")
            self._process.call(self._tell_end)

    # What the worker's process notices.

    def _output(self, stream: str, data: bytes) -> None:
        self._run.spooled[stream] += data
        self.context.output(stream, data)

    def _tell_end(self) -> None:
        if self._failure is not None:
            self.context.finish(Result(-1, self._failure[0], signal=9, error=self._failure[1]))
        else:
            self.context.header(f"program finished with exit code {self._script.code}\n")
            self.context.finish(Result(self._script.code))
