"""A worker's seat at this master: its attachment, its open commands, and the connection it has just now.

The seat outlives connections. A command that is opened stays here until its result's acknowledgement. When
the worker connects again, it is told to go on from the record that is committed, since it drops all before
that; what it sends again and was read here before is left out. What it hasn't heard of is started again.
Records and a pull that arrive before the build's runner has opened the command (it is replaying its journal)
are kept until it does; the worker's window bounds them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import structlog

from buildwright.builds.links import CommandSink, Order
from buildwright.model.workers import WorkerConfig
from buildwright.store.units.engine import Fence
from buildwright_worker.protocol import CommandAnswer, Hello, MasterSession, ProtocolError, Record, Secret

log = structlog.get_logger(__name__)


class _Command:
    """An open command. Of its records, those below ``next`` were read here, those below ``seen`` came on this
    connection or were committed before it, and those below ``acked`` are committed.
    """

    __slots__ = ("acked", "asked", "early", "next", "order", "over", "seen", "sink")

    def __init__(self, next_record: int) -> None:
        self.next = next_record
        self.seen = next_record
        self.acked = next_record
        self.over = False  # its result is committed, but the worker can't be told yet
        self.order: Order | None = None
        self.sink: CommandSink | None = None
        self.early: list[tuple[int, Sequence[Record]]] = []
        self.asked: tuple[int, int] | None = None  # a pull that came before the sink: offset and length


class Reaper:
    """The sink of a command that nobody wants any more: it is killed, and what it says is dropped."""

    def __init__(self, seat: Seat, command_id: str, reaped: Callable[[], None]) -> None:
        self._seat = seat
        self._id = command_id
        self._reaped = reaped

    def records(self, first: int, records: Sequence[Record]) -> None:
        last = records[-1].kind == "r"
        self._seat.acknowledge(self._id, first + len(records), last=last)
        if last:
            self._reaped()

    def pull(self, offset: int, length: int) -> None:  # noqa: ARG002
        self._seat.answer(self._id, offset, b"", eof=True)


class Seat:
    """An attached worker; what :class:`buildwright.builds.links.WorkerLink` asks for."""

    def __init__(self, workerid: int, config: WorkerConfig, fence: Fence) -> None:
        self.workerid = workerid
        self.name = config.name
        self.config = config
        self.fence = fence
        self.info: Mapping[str, Any] = {}
        self.boot = ""
        self.ledger = ""
        self.paused = False
        self.leaving = False  # it wants to stop, or was told to: no new builds
        self.full: str | None = None  # why its disk takes no new work
        self.gone_since: float | None = None  # monotonic; None while connected
        self.session: MasterSession | None = None
        self._flush: Callable[[], None] = lambda: None
        self._commands: dict[str, _Command] = {}
        self._interrupts: dict[str, str] = {}  # asked for while the worker was away: command id -> why

    # -- WorkerLink ---------------------------------------------------------------------------------------

    @property
    def accepting(self) -> bool:
        return not self.why_not

    @property
    def why_not(self) -> str:
        if self.session is None:
            return "is not connected"
        if self.paused:
            return "is paused"
        if self.leaving:
            return "is leaving"
        if self.full is not None:
            return f"has no room: {self.full}"
        return ""

    def open(self, order: Order, sink: CommandSink) -> None:
        command = self._commands.get(order.id)
        if command is None:
            command = self._commands[order.id] = _Command(0)
            command.order, command.sink = order, sink
            self._start(command)
            return
        command.order, command.sink = order, sink
        if self.session is not None and order.id not in self.session.open:
            self._start(command)  # its former owner died before it was sent
        early, command.early = command.early, []
        for first, records in early:
            sink.records(first, records)
        asked, command.asked = command.asked, None
        if asked is not None:
            sink.pull(*asked)

    def interrupt(self, command_id: str, why: str) -> None:
        if self.session is not None and command_id in self.session.open:
            self.session.interrupt(command_id, why)
            self._flush()
        elif command_id in self._commands:
            self._interrupts.setdefault(command_id, why)

    def discard(self, command_id: str, why: str) -> asyncio.Future[None]:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        command = self._commands.get(command_id)
        if command is None:
            ended.set_result(None)
            return ended
        command.sink = Reaper(self, command_id, partial(ended.set_result, None))
        self.acknowledge(command_id, command.next, last=False)
        self.interrupt(command_id, why)
        return ended

    def acknowledge(self, command_id: str, next_record: int, *, last: bool) -> None:
        command = self._commands.get(command_id)
        if command is not None:
            command.acked = max(command.acked, next_record)
            command.over = command.over or last
            self._acknowledge(command_id, command)

    def _acknowledge(self, command_id: str, command: _Command) -> None:
        """Tell the worker what is committed, of what it has sent on this connection."""
        session = self.session
        if session is None or command_id not in session.open:
            return
        upto = min(command.acked, command.seen)
        if upto:
            session.ack(command_id, upto)
        if command.over and command.seen >= command.acked:
            self._commands.pop(command_id, None)
            self._interrupts.pop(command_id, None)
        self._flush()

    def answer(self, command_id: str, offset: int, data: bytes, *, eof: bool) -> None:
        if self.session is not None and command_id in self.session.open:
            self.session.data(command_id, offset, data, eof=eof)
            self._flush()

    # -- connections --------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        return bool(self._commands)

    @property
    def open_commands(self) -> list[str]:
        return list(self._commands)

    def expect(self, command_id: str, next_record: int) -> None:
        """A build that nobody drives here yet has this command open, with records below ``next_record``
        committed; what came beyond was lost with its former driver.
        """
        self._commands[command_id] = _Command(next_record)

    def answers(self, hello: Hello, reaped: Callable[[str], None]) -> list[CommandAnswer]:
        """What to say to each command that the worker holds: go on with it, or be rid of it, which means to
        kill it if it runs.
        """
        said = []
        for held in hello.commands:
            command = self._commands.get(held.id)
            if command is not None and command.over:
                del self._commands[held.id]
                said.append(CommandAnswer(held.id, "forget", command.acked))
                continue
            if command is not None:
                command.seen = command.acked
                said.append(CommandAnswer(held.id, "resume", command.acked))
                continue
            if held.state == "done":
                said.append(CommandAnswer(held.id, "forget", held.next_record))
                continue
            command = self._commands[held.id] = _Command(held.next_record)
            command.sink = Reaper(self, held.id, partial(reaped, held.id))
            said.append(CommandAnswer(held.id, "kill", held.next_record))
        return said

    def connected(self, session: MasterSession, hello: Hello, flush: Callable[[], None]) -> None:
        """The session is welcomed: start what the worker hasn't heard of, interrupt what was to be
        interrupted.
        """
        self.session = session
        self._flush = flush
        self.info = hello.info
        self.boot, self.ledger = hello.boot, hello.ledger
        self.gone_since = None
        self.leaving = False
        self.full = None
        held = {each.id for each in hello.commands}
        for command_id, command in list(self._commands.items()):
            if command_id in held:
                continue
            if command.over:
                del self._commands[command_id]
            elif command.order is not None:
                self._start(command)
        for command_id, why in list(self._interrupts.items()):
            if command_id in session.open:
                session.interrupt(command_id, why)
        self._flush()

    def disconnected(self, session: MasterSession, now: float) -> bool:
        """The connection is gone; False if another one has taken its place already."""
        if self.session is not session:
            return False
        self.session = None
        self.gone_since = now
        return True

    def take(self, command_id: str, first: int, records: Sequence[Record]) -> None:
        """Records that the session has received."""
        command = self._commands.get(command_id)
        if command is None:
            return
        command.seen = first + len(records)
        if command.acked > first:  # some of it was committed when the connection before this one went
            self._acknowledge(command_id, command)
        known = command.next - first
        if known > 0:
            first, records = command.next, records[known:]
        if not records:
            return
        command.next = first + len(records)
        if command.sink is None:
            command.early.append((first, records))
        else:
            command.sink.records(first, records)

    def pulled(self, command_id: str, offset: int, length: int) -> None:
        command = self._commands.get(command_id)
        if command is None:
            return
        if command.sink is None:
            command.asked = (offset, length)
        else:
            command.sink.pull(offset, length)

    def forget(self, command_ids: Iterable[str]) -> None:
        """These aren't wanted by any build any more."""
        for command_id in command_ids:
            self._commands.pop(command_id, None)

    # -- inside -------------------------------------------------------------------------------------------

    def _start(self, command: _Command) -> None:
        order, sink = command.order, command.sink
        assert order is not None
        assert sink is not None
        if self.session is None:
            return
        try:
            self.session.start(
                order.id, order.kind, order.args, [Secret(*secret) for secret in order.secrets]
            )
        except (ProtocolError, ValueError) as error:
            self._commands.pop(order.id, None)
            result = {"rc": -1, "failure": "spawn", "elapsed_us": 0, "signal": None, "error": str(error)}
            said = Record("h", 0, f"the command can't be sent to the worker: {error}\n".encode())
            sink.records(0, [said, Record("r", 0, result)])
            return
        self._flush()
