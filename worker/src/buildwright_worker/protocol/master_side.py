"""The master's end of the session, without sockets, clocks or the store.

One `MasterSession` lives as long as one connection of a worker. Its shell feeds it with `receive` and
`tick`, acts on `events()`, and sends what `take_outgoing()` gives. The life of a connection:

1. `HelloReceived` comes. The master attaches the worker in its store, which gives the attachment number,
reads what it
   has stored of each command that the hello lists, and calls `welcome` with an answer for each.
2. `start`, `interrupt`, `window`, `data` and `ack` in any order. Every frame carries the attachment number.
3. `detach` when this master has no authority (any more), or the connection ends.

Records arrive in order without gap or repeat, per command: the session checks it and raises ProtocolError
else, so whoever stores them needs to compare nothing. `ack` must be called only after the records are
committed; the worker then drops them. Acknowledging the result record makes the worker forget the command.
After a connection is lost, records that were received and not acknowledged come again on the next one.

`RefusedReceived` means that a newer attachment exists: this master does not own the worker any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Union

from .checks import ProtocolError, valid_id
from .codec import decode, encode
from .liveness import Liveness
from .messages import (
    Ack,
    CommandAnswer,
    Data,
    Detach,
    Goodbye,
    Hello,
    Interrupt,
    Ping,
    Pong,
    Pull,
    Record,
    Records,
    Refused,
    Room,
    Secret,
    Shutdown,
    Start,
    Welcome,
    Window,
)

# Events


class HelloReceived(NamedTuple):
    """First of a connection. Answer with `welcome` or `detach`."""

    hello: Hello


class RecordsReceived(NamedTuple):
    """The command's records from number `first` on; a record of kind "r" is the last of its command."""

    id: str
    first: int
    records: list[Record]


class PullReceived(NamedTuple):
    """The command's download wants up to `length` bytes from `offset`: answer once with `data`."""

    id: str
    offset: int
    length: int


class RefusedReceived(NamedTuple):
    """The worker has been welcomed under a newer attachment."""

    id: str
    attachment: int


class GoodbyeReceived(NamedTuple):
    """The worker wants to stop. If graceful: give it no more work, then `shutdown`."""

    graceful: bool
    why: str


class RoomReceived(NamedTuple):
    """Whether the worker's disk has room for new work."""

    ok: bool
    why: str


class PongReceived(NamedTuple):
    """The answer to the `probe` that returned this token."""

    token: int


Event = Union[
    HelloReceived, RecordsReceived, PullReceived, RefusedReceived, GoodbyeReceived, RoomReceived, PongReceived
]


class _Open:
    """A command whose result is not acknowledged: which record comes next."""

    __slots__ = ("acked", "done", "next")

    def __init__(self, next: int) -> None:
        self.next = next
        self.acked = next
        self.done = False


class MasterSession:
    def __init__(self, *, now: float, ping_idle_s: float = 20.0, ping_busy_s: float = 2.0) -> None:
        self.hello: Hello | None = None
        self.attachment: int | None = None  # once welcomed
        self.detached = False
        self._idle_s = ping_idle_s
        self._busy_s = ping_busy_s
        self._liveness = Liveness(now, ping_idle_s, ping_busy_s)
        self._open: dict[str, _Open] = {}
        self._outbox: list[bytes] = []
        self._events: list[Event] = []

    @property
    def heard_at(self) -> float:
        """When the last frame came."""
        return self._liveness.heard_at

    @property
    def open(self) -> list[str]:
        """Ids of the commands that were started or resumed here and whose results are not acknowledged."""
        return list(self._open)

    def events(self) -> list[Event]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    def take_outgoing(self) -> list[bytes]:
        """Frames to send now, in this order."""
        frames, self._outbox = self._outbox, []
        return frames

    def next_tick(self) -> float:
        """When `tick` must be called, unless a frame comes before."""
        return self._liveness.due(bool(self._open))

    def tick(self, now: float) -> None:
        """Pings when due. Raises PeerSilent when the worker does not answer. Call it within a second of
        `next_tick`."""
        token = self._liveness.tick(now, bool(self._open))
        if token is not None:
            self._send(Ping(token))

    def probe(self, now: float) -> int:
        """Ask for a sign of life now; `PongReceived` with the returned token is the answer."""
        token = self._liveness.ping(now)
        self._send(Ping(token))
        return token

    def receive(self, frame: bytes, now: float) -> None:
        """Act on a frame. Raises ProtocolError."""
        message = decode(frame)
        self._liveness.heard(now)
        if isinstance(message, Ping):
            self._send(Pong(message.token))
        elif isinstance(message, Pong):
            self._events.append(PongReceived(message.token))
        elif isinstance(message, Hello):
            self._receive_hello(message)
        elif self.hello is None:
            raise ProtocolError(f"{type(message).__name__} before Hello")
        elif self.detached:
            pass  # was under way when the worker was told
        elif isinstance(message, Records):
            self._receive_records(message)
        elif isinstance(message, Pull):
            if message.id not in self._open:
                raise ProtocolError(f"Pull of command {message.id}, which is not open here")
            self._events.append(PullReceived(*message))
        elif isinstance(message, Refused):
            self._events.append(RefusedReceived(*message))
        elif isinstance(message, Goodbye):
            self._events.append(GoodbyeReceived(*message))
        elif isinstance(message, Room):
            self._events.append(RoomReceived(*message))
        else:
            raise ProtocolError(f"{type(message).__name__} is not for a master")

    # Verbs. Those about commands need `welcome` first.

    def welcome(
        self,
        *,
        attachment: int,
        master: str,
        deadman_s: float,
        window: int,
        commands: Iterable[CommandAnswer],
    ) -> None:
        """Take the worker on. Every command of the hello needs an answer; a lost one is forgotten or left
        out."""
        if self.hello is None or self.attachment is not None or self.detached:
            raise RuntimeError("welcome answers a hello, once")
        answers = [CommandAnswer(*answer) for answer in commands]
        answered = {answer.id for answer in answers}
        for held in self.hello.commands:
            if held.id not in answered:
                raise ValueError(f"command {held.id} of the hello has no answer")
        held_ids = {held.id for held in self.hello.commands}
        for answer in answers:
            if answer.id in held_ids and answer.action != "forget":
                self._open[answer.id] = _Open(answer.next)
        self.attachment = attachment
        self._send(Welcome(attachment, master, float(deadman_s), window, answers, self._idle_s, self._busy_s))

    def start(self, id: str, kind: str, args: dict[str, Any], secrets: Iterable[Secret] = ()) -> None:
        """Start a command; again with the same id starts nothing. Raises ProtocolError if it exceeds a
        frame."""
        if not valid_id(id):
            raise ValueError(
                f"{id!r} can't be a command's id: up to 128 letters, digits and ._:- after a letter or digit"
            )
        self._send(Start(self._attached(), id, kind, args, [Secret(*secret) for secret in secrets]))
        self._open.setdefault(id, _Open(0))

    def interrupt(self, id: str, why: str) -> None:
        """Kill the command; its result comes as usual, unless it has ended meanwhile."""
        self._send(Interrupt(self._attached(), id, why))

    def ack(self, id: str, next: int) -> None:
        """The command's records before number `next` are committed."""
        open_ = self._open.get(id)
        if open_ is None or next > open_.next:
            raise ValueError(f"record {next - 1} of command {id} was not received here")
        if next <= open_.acked and next > 0:
            return
        open_.acked = next
        if open_.done and next == open_.next:
            del self._open[id]
        self._send(Ack(self._attached(), id, next))

    def forget_lost(self, id: str) -> None:
        """The loss of a command that the hello listed as lost is committed: the worker need not say it
        again."""
        self._send(Ack(self._attached(), id, 0))

    def window(self, bytes: int) -> None:
        """How many bytes of records the worker may have sent and not seen acknowledged; 0 parks it."""
        self._attached()
        self._send(Window(bytes))

    def data(self, id: str, offset: int, data: bytes, *, eof: bool) -> None:
        """Answer a pull: `length` bytes, or fewer with `eof`."""
        self._send(Data(self._attached(), id, offset, data, eof))

    def detach(self, why: str) -> None:
        """Say that this master has no authority: the worker looks for another one, its commands go on."""
        if not self.detached:
            self.detached = True
            self._send(Detach(why))

    def shutdown(self) -> None:
        """Have the worker process end when no command is left."""
        self._send(Shutdown())

    # Inside

    def _send(self, message: Any) -> None:
        self._outbox.append(encode(message))

    def _attached(self) -> int:
        if self.attachment is None or self.detached:
            raise RuntimeError("this worker is not attached here")
        return self.attachment

    def _receive_hello(self, hello: Hello) -> None:
        if self.hello is not None:
            raise ProtocolError("a second Hello on one connection")
        self.hello = hello
        self._events.append(HelloReceived(hello))

    def _receive_records(self, message: Records) -> None:
        open_ = self._open.get(message.id)
        if open_ is None:
            raise ProtocolError(f"Records of command {message.id}, which is not open here")
        if message.first != open_.next or not message.records:
            raise ProtocolError(f"Records of {message.id} begin at {message.first}, expected {open_.next}")
        if open_.done or any(record.kind == "r" for record in message.records[:-1]):
            raise ProtocolError(f"Records of {message.id} after its result")
        open_.next += len(message.records)
        open_.done = message.records[-1].kind == "r"
        self._events.append(RecordsReceived(*message))
