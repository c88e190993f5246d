"""The worker's end of the session, without sockets, clocks or processes.

One `WorkerSession` lives as long as the worker process and outlives connections. It holds, per command, a
store of packed records and what of them was sent. The shell around it calls `connected`, `receive`,
`disconnected` and `tick`, acts on `events()`, and sends what `take_outgoing()` gives.

*Exactly once.* A command's records are numbered from 0 and leave the store only when the master has
acknowledged them as committed. After each connection the master says from which number to go on, so records
that were under way are sent again and none is skipped. A `Start` of an id that is held, or known lost,
starts nothing.

*The fence.* Each attachment has a number, and numbers only grow. A frame that carries an older number than
the last one welcomed is answered with `Refused` and has no other effect, on whatever connection it comes.

*Credit.* Records beyond `window` unacknowledged bytes stay in the store. One record is always allowed when
nothing is under way, so that a window smaller than a record slows a command down and does not stop it; a
window of 0 stops.

*Losing the master.* Without an attachment commands go on; after `deadman_s` the event `DeadmanPassed` tells
the shell to kill them. The count begins when the master was last heard, not when the silence was noticed.

*What cannot go on.* A master that asks for records that it had acknowledged before (its store was set
back), or for ones that never were, gets the event `Unresumable`: the shell kills the command and calls
`lost`, and the next hello says so.

Errors of the peer raise ProtocolError; the shell closes the connection, calls `disconnected`, and tries
again.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable

from .checks import ProtocolError
from .codec import decode, encode, pack_record, records_frame
from .liveness import Liveness
from .messages import (
    RECORDS_PER_FRAME,
    VERSION,
    Ack,
    CommandAnswer,
    Data,
    Detach,
    Goodbye,
    HeldCommand,
    Hello,
    Interrupt,
    LostCommand,
    Ping,
    Pong,
    Pull,
    Refused,
    Result,
    Room,
    Shutdown,
    Start,
    Welcome,
    Window,
)
from .store import MemoryStore, RecordStore
from .worker_events import (
    DataArrived,
    DeadmanPassed,
    Detached,
    Event,
    Forgotten,
    InterruptWanted,
    ShutdownWanted,
    StartWanted,
    Unresumable,
    Welcomed,
)


class _Held:
    """One command: what of its records was sent on this connection, and what is unacknowledged."""

    __slots__ = ("attachment", "done", "pull", "resumable", "sent", "store", "under_way")

    def __init__(self, attachment: int, store: RecordStore) -> None:
        self.attachment = attachment
        self.store = store
        self.sent = 0  # number of the next record to send
        self.under_way: deque[tuple[int, int]] = deque()  # (number after its last record, bytes) per frame
        self.done = False
        self.resumable = True  # false from Unresumable until lost() is called: nothing is sent
        self.pull: Pull | None = None


class WorkerSession:
    def __init__(
        self,
        *,
        boot: str,
        ledger: str,
        info: dict[str, Any],
        capabilities: list[str],
        store: Callable[[str], RecordStore] | None = None,  # makes the store of a command id
        now: float = 0.0,
    ) -> None:
        self.attachment = 0  # the last one welcomed; never goes back
        self.master = ""
        self.welcomed = False
        self.deadman_s: float | None = None
        self._boot = boot
        self._ledger = ledger
        self._info = info
        self._capabilities = capabilities
        self._make_store = store or (lambda _: MemoryStore())
        self._held: dict[str, _Held] = {}
        self._lost: dict[str, str] = {}
        self._running = 0
        self._unsent: dict[str, None] = {}  # ids with records to send, in turn
        self._patient: dict[str, None] = {}  # ids with nothing but records that may wait for company
        self._window = 0
        self._in_flight = 0
        self._connected = False
        self._detach_said = False  # on this connection
        self._detached_at = now  # means something while not welcomed
        self._deadman_passed = False
        self._liveness = Liveness(now)
        self._room = Room(True, "")
        self._goodbye: Goodbye | None = None
        self._outbox: list[bytes] = []
        self._events: list[Event] = []

    # What the shell asks

    @property
    def held(self) -> list[str]:
        """Ids of the commands that run or whose records are not all acknowledged."""
        return list(self._held)

    @property
    def running(self) -> int:
        """Number of commands without a result."""
        return self._running

    @property
    def in_flight(self) -> int:
        """Bytes of records sent and not acknowledged."""
        return self._in_flight

    @property
    def has_outgoing(self) -> bool:
        return bool(self._outbox) or (self.welcomed and bool(self._unsent) and self._in_flight < self._window)

    def events(self) -> list[Event]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    def take_outgoing(self, budget: int = RECORDS_PER_FRAME) -> list[bytes]:
        """Frames to send now: all control frames, and record frames until `budget` bytes are exceeded."""
        frames, self._outbox = self._outbox, []
        while self.welcomed and self._unsent and budget > 0:
            frame = self._next_records(next(iter(self._unsent)))
            if frame is None:
                break
            frames.append(frame)
            budget -= len(frame)
        return frames

    def next_tick(self) -> float | None:
        """When `tick` must be called, unless something else happens before."""
        due = self._liveness.due(bool(self._held)) if self._connected else None
        deadman = self._deadman_at()
        return deadman if due is None else due if deadman is None else min(due, deadman)

    # The connection

    def connected(self, now: float) -> None:
        """A connection is open: says hello on it."""
        self._connected = True
        self._detach_said = False
        self._liveness = Liveness(now)
        commands = [
            HeldCommand(command, held.attachment, held.store.next, "done" if held.done else "running")
            for command, held in self._held.items()
        ]
        lost = [LostCommand(*entry) for entry in self._lost.items()]
        self._outbox = [
            encode(Hello(VERSION, self._boot, self._ledger, self._info, self._capabilities, commands, lost))
        ]

    def disconnected(self) -> None:
        """The connection is gone, for whatever reason."""
        self._leave()
        self._connected = False
        self._outbox = []

    def receive(self, frame: bytes, now: float) -> None:
        """Act on a frame. Raises ProtocolError."""
        message = decode(frame)
        self._liveness.heard(now)
        if isinstance(message, Ping):
            self._outbox.append(encode(Pong(message.token)))
        elif isinstance(message, Pong):
            pass
        elif isinstance(message, Detach):
            self._detach(message.why)
        elif isinstance(message, Welcome):
            self._receive_welcome(message)
        elif isinstance(message, (Start, Interrupt, Ack, Data)):
            if message.attachment < self.attachment:
                self._outbox.append(encode(Refused(message.id, message.attachment)))
            elif self.welcomed and message.attachment == self.attachment:
                self._receive_order(message)
            elif not self._detach_said:
                raise ProtocolError(
                    f"{type(message).__name__} of attachment {message.attachment} before its welcome"
                )
        elif isinstance(message, Window):
            self._window = message.bytes
        elif isinstance(message, Shutdown):
            self._events.append(ShutdownWanted())
        else:
            raise ProtocolError(f"{type(message).__name__} is not for a worker")

    def tick(self, now: float) -> None:
        """Pings, and notices silence and the dead-man limit. Raises PeerSilent."""
        deadman = self._deadman_at()
        if deadman is not None and now >= deadman:
            self._deadman_passed = True
            self._events.append(DeadmanPassed())
        if self._connected:
            token = self._liveness.tick(now, bool(self._held))
            if token is not None:
                self._outbox.append(encode(Ping(token)))

    # Commands

    def append(
        self, id: str, kind: str, time_us: int, data: Any, name: str = "", *, patient: bool = False
    ) -> None:
        """The command's next record. Data larger than a record's limit raises ProtocolError.

        A patient one is not sent before the command's next record, or `hurry`.
        """
        self._append(id, pack_record(kind, time_us, data, name), patient=patient)

    def hurry(self) -> None:
        """Patient records have waited for long enough."""
        for command in self._patient:
            self._unsent.setdefault(command)
        self._patient = {}

    def finish(self, id: str, time_us: int, result: Result) -> None:
        """The command's last record."""
        self._append(id, pack_record("r", time_us, result.to_map()))
        self._held[id].done = True
        self._running -= 1

    def lost(self, id: str, why: str) -> None:
        """All processes of this command of an earlier worker process are dead; or of an unresumable one."""
        self._lost[id] = why
        if id in self._held:
            self._forget(id)

    def pull(self, id: str, offset: int, length: int) -> None:
        """Ask for bytes of the command's download; asked again after a new welcome until they come."""
        self._held[id].pull = Pull(id, offset, length)
        if self.welcomed:
            self._outbox.append(encode(Pull(id, offset, length)))

    def room(self, ok: bool, why: str) -> None:
        """Whether this worker's disk has room for new work; said again after each welcome while it has
        none."""
        changed = self._room.ok != ok
        self._room = Room(ok, why)
        if self.welcomed and changed:
            self._outbox.append(encode(self._room))

    def goodbye(self, graceful: bool, why: str) -> None:
        """This worker wants to stop; said again after each welcome."""
        self._goodbye = Goodbye(graceful, why)
        if self.welcomed:
            self._outbox.append(encode(self._goodbye))

    # Inside

    def _append(self, id: str, packed: bytes, *, patient: bool = False) -> None:
        held = self._held[id]
        if held.done:
            raise RuntimeError(f"command {id} has ended: no record may follow its result")
        held.store.append(packed)
        if not held.resumable:
            return
        if patient and id not in self._unsent:
            self._patient.setdefault(id)
        else:
            self._patient.pop(id, None)
            self._unsent.setdefault(id)

    def _next_records(self, id: str) -> bytes | None:
        """The next frame of this command's records, if the window allows one."""
        held = self._held[id]
        credit = self._window - self._in_flight
        if credit <= 0:
            return None
        packed = held.store.read(held.sent, min(RECORDS_PER_FRAME, credit))
        size = sum(map(len, packed))
        if size > credit and self._in_flight:
            return None
        frame = records_frame(id, held.sent, packed)
        held.sent += len(packed)
        held.under_way.append((held.sent, size))
        self._in_flight += size
        del self._unsent[id]
        if held.sent < held.store.next:
            self._unsent[id] = None
        return frame

    def _deadman_at(self) -> float | None:
        if self.welcomed or self._deadman_passed or self.deadman_s is None or not self._running:
            return None
        return self._detached_at + self.deadman_s

    def _leave(self) -> None:
        if self.welcomed:
            self._detached_at = self._liveness.heard_at
        self.welcomed = False

    def _detach(self, why: str) -> None:
        self._leave()
        self._detach_said = True
        self._events.append(Detached(why))

    def _receive_welcome(self, message: Welcome) -> None:
        if message.attachment < self.attachment:
            self._outbox.append(encode(Refused("", message.attachment)))
            self._detach(f"{message.master} welcomed with an older attachment")
            return
        if self.welcomed:
            raise ProtocolError("a second Welcome on one connection")
        answers = {answer.id: answer for answer in message.commands}
        missing = [command for command in self._held if command not in answers]
        if missing:
            raise ProtocolError(f"Welcome has no answer for command {missing[0]}")
        self.attachment = message.attachment
        self.master = message.master
        self.deadman_s = message.deadman_s
        self._liveness.configure(message.ping_idle_s, message.ping_busy_s)
        self.welcomed = True
        self._deadman_passed = False
        self._window = message.window
        self._in_flight = 0
        self._unsent = {}
        self._patient = {}
        for held in self._held.values():
            held.under_way.clear()
        self._events.append(Welcomed(message.attachment, message.master))
        for answer in message.commands:
            self._apply_answer(answer)
        if not self._room.ok:
            self._outbox.append(encode(self._room))
        if self._goodbye is not None:
            self._outbox.append(encode(self._goodbye))

    def _apply_answer(self, answer: CommandAnswer) -> None:
        held = self._held.get(answer.id)
        if answer.action == "forget":
            if held is not None:
                self._forget(answer.id)
                self._events.append(Forgotten(answer.id))
            elif self._lost.pop(answer.id, None) is not None:
                self._events.append(Forgotten(answer.id))
            return
        if held is None:
            return  # a lost one, which the master has not settled yet
        held.attachment = self.attachment
        if not held.store.first <= answer.next <= held.store.next:
            held.resumable = False
            why = (
                f"records from {answer.next} on are wanted, {held.store.first} to {held.store.next} are kept"
            )
            self._events.append(Unresumable(answer.id, why))
            return
        held.store.drop(answer.next)
        held.sent = answer.next
        if held.done and answer.next == held.store.next:
            self._forget(answer.id)
            self._events.append(Forgotten(answer.id))
            return
        if held.sent < held.store.next:
            self._unsent[answer.id] = None
        if held.pull is not None:
            self._outbox.append(encode(held.pull))
        if answer.action == "kill" and not held.done:
            self._events.append(InterruptWanted(answer.id, "the master does not want it any more"))

    def _receive_order(self, message: Start | Interrupt | Ack | Data) -> None:
        held = self._held.get(message.id)
        if isinstance(message, Start):
            if held is None and message.id not in self._lost:
                self._held[message.id] = _Held(self.attachment, self._make_store(message.id))
                self._running += 1
                self._events.append(StartWanted(message.id, message.kind, message.args, message.secrets))
        elif isinstance(message, Ack):
            if held is not None:
                self._receive_ack(message, held)
            elif self._lost.pop(message.id, None) is not None:
                self._events.append(Forgotten(message.id))
        elif held is None or held.done:
            pass  # it has ended meanwhile
        elif isinstance(message, Interrupt):
            self._events.append(InterruptWanted(message.id, message.why))
        else:
            self._receive_data(message, held)

    def _receive_ack(self, message: Ack, held: _Held) -> None:
        if message.next > held.sent:
            raise ProtocolError(
                f"Ack of record {message.next - 1} of {message.id}, of which {held.sent} were sent"
            )
        while held.under_way and held.under_way[0][0] <= message.next:
            self._in_flight -= held.under_way.popleft()[1]
        held.store.drop(message.next)
        if held.done and message.next == held.store.next:
            self._forget(message.id)
            self._events.append(Forgotten(message.id))

    def _receive_data(self, message: Data, held: _Held) -> None:
        pull = held.pull
        if pull is None or message.offset != pull.offset:
            return  # the answer to a pull of an earlier attachment
        if len(message.data) > pull.length or (not message.data and not message.eof):
            raise ProtocolError(f"Data of {len(message.data)} bytes for a pull of {pull.length}")
        held.pull = None
        self._events.append(DataArrived(message.id, message.offset, message.data, message.eof))

    def _forget(self, id: str) -> None:
        held = self._held.pop(id)
        self._in_flight -= sum(size for _, size in held.under_way)
        self._unsent.pop(id, None)
        self._patient.pop(id, None)
        if not held.done:
            self._running -= 1
        held.store.close()
