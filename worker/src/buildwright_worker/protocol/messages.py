"""The messages between a master and a worker, and their bytes.

A frame is one msgpack array `[op, field, ...]` in one binary WebSocket message of at most `MAX_FRAME`
bytes. Each message is a NamedTuple below; `encode` and `decode` are each other's inverse. `decode` trusts
nothing: an unknown op, a missing or surplus field, a wrong type, an id that could not name a file, trailing
bytes, too deep a nesting or too large a frame is a `ProtocolError`, whose text says what was wrong. Whoever
catches it closes the connection; the state of commands does not change by a frame that was not understood.

Text travels as UTF-8 with `surrogateescape`, so that file names that are not UTF-8 come back as they were.
Output is bytes and never decoded.

Records are the hot path. The worker packs each record once (`pack_record`), keeps it packed in its spool,
and joins packed records into frames (`records_frame`) without unpacking them again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Callable, NamedTuple, TypeVar, Union

import msgpack  # type: ignore[import-untyped]  # it carries no types

VERSION = 1
MAX_FRAME = 1 << 20
MAX_RECORD_DATA = 1 << 16
RECORDS_PER_FRAME = 1 << 18  # bytes of records after which a frame is full
MAX_DEPTH = 32

OUTPUT_KINDS = frozenset("oehlb")  # kinds whose data is bytes


class ProtocolError(Exception):
    """The peer sent what this protocol does not allow: close the connection."""


class Record(NamedTuple):
    """One entry of a command's numbered sequence.

    kind: "o" stdout, "e" stderr, "h" header, "l" followed log file (`name` is the log), "b" block of an
    upload, "u" update (`name` is its key, `data` a plain value; values of one key that are lists continue
    each other), "r" result (`data` as in `Result.to_map`), always the last.
    """

    kind: str
    time_us: int
    data: Any
    name: str = ""


class Result(NamedTuple):
    """How a command ended.

    rc: exit code, -1 if a signal ended it or it never ran to an end
    failure: None, or why the worker ended it: "timeout_without_output", "timeout", "max_lines_failure",
        "interrupted", "deadman", "lost", "spawn"
    signal: the number of the signal that ended the process, else None
    error: one line for people about a failure of the worker's own doing, else None
    """

    rc: int
    failure: str | None = None
    elapsed_us: int = 0
    signal: int | None = None
    error: str | None = None

    def to_map(self) -> dict[str, Any]:
        return self._asdict()

    @classmethod
    def from_map(cls, data: dict[str, Any]) -> Result:
        return cls(
            _int(data.get("rc")),
            _optional_text(data.get("failure")),
            _count(data.get("elapsed_us")),
            None if data.get("signal") is None else _int(data["signal"]),
            _optional_text(data.get("error")),
        )


class HeldCommand(NamedTuple):
    """A command that the worker holds: `next_record` records were produced, `state` is "running" or
    "done"."""

    id: str
    attachment: int
    next_record: int
    state: str


class LostCommand(NamedTuple):
    """A command of a worker process that died; all of its processes are known dead."""

    id: str
    why: str


class CommandAnswer(NamedTuple):
    """The master's word on a held command: "resume" from record `next`, "kill" it and send from `next`,
    "forget"."""

    id: str
    action: str
    next: int


class Secret(NamedTuple):
    """A value to mask in all output of a command, and the name to show in its place."""

    name: str
    value: str


# Worker to master


class Hello(NamedTuple):
    version: int
    boot: str  # random, one per worker process
    ledger: str  # random, one per ledger directory
    info: dict[str, Any]
    capabilities: list[str]
    commands: list[HeldCommand]
    lost: list[LostCommand]


class Records(NamedTuple):
    id: str
    first: int
    records: list[Record]


class Pull(NamedTuple):
    id: str
    offset: int
    length: int


class Refused(NamedTuple):
    id: str
    attachment: int


class Goodbye(NamedTuple):
    graceful: bool
    why: str


class Room(NamedTuple):
    ok: bool
    why: str


# Both ways


class Ping(NamedTuple):
    token: int


class Pong(NamedTuple):
    token: int


# Master to worker


class Welcome(NamedTuple):
    attachment: int
    master: str
    deadman_s: float
    window: int
    commands: list[CommandAnswer]
    ping_idle_s: float
    ping_busy_s: float


class Start(NamedTuple):
    attachment: int
    id: str
    kind: str
    args: dict[str, Any]
    secrets: list[Secret]


class Interrupt(NamedTuple):
    attachment: int
    id: str
    why: str


class Ack(NamedTuple):
    attachment: int
    id: str
    next: int


class Window(NamedTuple):
    bytes: int


class Data(NamedTuple):
    attachment: int
    id: str
    offset: int
    data: bytes
    eof: bool


class Detach(NamedTuple):
    why: str


class Shutdown(NamedTuple):
    pass


Message = Union[
    Hello, Records, Pull, Refused, Goodbye, Room, Ping, Pong,
    Welcome, Start, Interrupt, Ack, Window, Data, Detach, Shutdown,
]  # fmt: skip


# Checks of what was received. Each returns the value in its final type or raises ProtocolError.

_T = TypeVar("_T")
_Check = Callable[[Any], Any]
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")


def valid_id(value: object) -> bool:
    """Whether this may be a command's id: it names files of the worker, so it is short and plain."""
    return isinstance(value, str) and _ID.match(value) is not None


def _wrong(value: object, wanted: str) -> ProtocolError:
    return ProtocolError(
        f"expected {wanted}, got {type(value).__name__}"
    )  # never the value: it may be a secret


def _int(value: Any) -> int:
    if type(value) is not int:
        raise _wrong(value, "an integer")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise _wrong(value, "a non-negative integer")
    return value


def _seconds(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
        raise _wrong(value, "a number of seconds")
    return float(value)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise _wrong(value, "text")
    return value


def _optional_text(value: Any) -> str | None:
    return None if value is None else _text(value)


def _bytes(value: Any) -> bytes:
    if type(value) is not bytes:
        raise _wrong(value, "bytes")
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise _wrong(value, "true or false")
    return value


def _id(value: Any) -> str:
    if not valid_id(value):
        raise _wrong(value, "a command id")
    return str(value)


def _plain(value: Any, depth: int = 0) -> Any:
    """A value of none, flags, numbers, text, bytes, lists, and maps with text keys."""
    if depth > MAX_DEPTH:
        raise ProtocolError(f"a value is nested more than {MAX_DEPTH} deep")
    if type(value) is list:
        for item in value:
            _plain(item, depth + 1)
    elif type(value) is dict:
        for key, item in value.items():
            _text(key)
            _plain(item, depth + 1)
    elif value is not None and type(value) not in (bool, int, float, str, bytes):
        raise _wrong(value, "a plain value")
    return value


def _map(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise _wrong(value, "a map")
    return _plain(value)  # type: ignore[no-any-return]  # just checked


def _one_of(*words: str) -> _Check:
    def check(value: Any) -> str:
        if value not in words:
            raise _wrong(value, " or ".join(words))
        return str(value)

    return check


def _list_of(check: _Check) -> _Check:
    def check_list(value: Any) -> list[Any]:
        if type(value) is not list:
            raise _wrong(value, "a list")
        return [check(item) for item in value]

    return check_list


def _tuple_of(kind: Callable[..., _T], *checks: _Check) -> Callable[[Any], _T]:
    def check_tuple(value: Any) -> _T:
        if type(value) is not list or len(value) != len(checks):
            raise _wrong(value, f"a list of {len(checks)}")
        return kind(*[check(item) for check, item in zip(checks, value)])

    return check_tuple


def _record(value: Any) -> Record:
    if type(value) is not list or len(value) != 4:
        raise _wrong(value, "a record")
    kind, time_us, data, name = value
    _count(time_us)
    _text(name)
    if type(kind) is not str or len(kind) != 1:
        raise _wrong(kind, "a record's kind")
    if kind in OUTPUT_KINDS:
        if len(_bytes(data)) > MAX_RECORD_DATA:
            raise ProtocolError(f"a record carries {len(data)} bytes, more than {MAX_RECORD_DATA}")
    elif kind == "u":
        _plain(data)
    elif kind == "r":
        Result.from_map(_map(data))
    else:
        raise _wrong(kind, "a record's kind")
    return Record(kind, time_us, data, name)


_FIELDS: list[tuple[int, type[Message], tuple[_Check, ...]]] = [
    (
        1,
        Hello,
        (
            _count,
            _text,
            _text,
            _map,
            _list_of(_text),
            _list_of(_tuple_of(HeldCommand, _id, _count, _count, _one_of("running", "done"))),
            _list_of(_tuple_of(LostCommand, _id, _text)),
        ),
    ),
    (2, Records, (_id, _count, _list_of(_record))),
    (3, Pull, (_id, _count, _count)),
    (4, Refused, (_text, _count)),
    (5, Goodbye, (_flag, _text)),
    (6, Room, (_flag, _text)),
    (7, Ping, (_count,)),
    (8, Pong, (_count,)),
    (
        16,
        Welcome,
        (
            _count,
            _text,
            _seconds,
            _count,
            _list_of(_tuple_of(CommandAnswer, _id, _one_of("resume", "kill", "forget"), _count)),
            _seconds,
            _seconds,
        ),
    ),
    (17, Start, (_count, _id, _text, _map, _list_of(_tuple_of(Secret, _text, _text)))),
    (18, Interrupt, (_count, _id, _text)),
    (19, Ack, (_count, _id, _count)),
    (20, Window, (_count,)),
    (21, Data, (_count, _id, _count, _bytes, _flag)),
    (22, Detach, (_text,)),
    (23, Shutdown, ()),
]
_OP_OF: dict[type[Message], int] = {kind: op for op, kind, _ in _FIELDS}
_BY_OP: dict[int, tuple[type[Message], tuple[_Check, ...]]] = {
    op: (kind, checks) for op, kind, checks in _FIELDS
}


def _pack(value: object) -> bytes:
    try:
        return msgpack.packb(value, use_bin_type=True, unicode_errors="surrogateescape")  # type: ignore[no-any-return]  # msgpack is typed in part
    except (TypeError, ValueError, OverflowError) as error:
        raise ProtocolError(f"cannot be sent: {error}") from error


def encode(message: Message) -> bytes:
    """The frame of a message. Raises ProtocolError for what cannot be sent, naming the message and the
    limit."""
    name = type(message).__name__
    frame = _pack([_OP_OF[type(message)], *message])
    if len(frame) > MAX_FRAME:
        raise ProtocolError(f"{name} takes {len(frame)} bytes, more than a frame's {MAX_FRAME}")
    return frame


def decode(frame: bytes) -> Message:
    """The message of a frame. Raises ProtocolError for everything that `encode` would not have made."""
    if len(frame) > MAX_FRAME:
        raise ProtocolError(f"a frame of {len(frame)} bytes, more than {MAX_FRAME}")
    try:
        value = msgpack.unpackb(frame, raw=False, strict_map_key=True, unicode_errors="surrogateescape")
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(f"not a frame: {type(error).__name__} {error!s:.100}") from error
    if type(value) is not list or not value or type(value[0]) is not int:
        raise ProtocolError("a frame is a list that begins with its op")
    entry = _BY_OP.get(value[0])
    if entry is None:
        raise ProtocolError(f"unknown op {value[0]}")
    kind, checks = entry
    if len(value) != len(checks) + 1:
        raise ProtocolError(f"{kind.__name__} has {len(checks)} fields, not {len(value) - 1}")
    try:
        return kind(*[check(field) for check, field in zip(checks, value[1:])])
    except ProtocolError as error:
        raise ProtocolError(f"{kind.__name__}: {error}") from error


def pack_record(kind: str, time_us: int, data: Any, name: str = "") -> bytes:
    """One record, packed for `records_frame`. Raises ProtocolError if its data is too large for one
    record."""
    if kind not in OUTPUT_KINDS:
        packed = _pack(data)
    elif len(data) < 256:
        packed = b"\xc4%c%b" % (len(data), data)
    elif len(data) < 65536:
        packed = b"\xc5%b%b" % (len(data).to_bytes(2, "big"), data)
    else:
        packed = b"\xc6%b%b" % (len(data).to_bytes(4, "big"), data)
    if len(packed) > MAX_RECORD_DATA + 5:
        raise ProtocolError(f"a record carries {len(packed)} bytes, more than {MAX_RECORD_DATA}")
    return b"\x94\xa1%b\xcf%b%b%b" % (
        kind.encode(),
        time_us.to_bytes(8, "big"),
        packed,
        _pack(name) if name else b"\xa0",
    )


def unpack_record(packed: bytes) -> Record:
    """The inverse of `pack_record`."""
    return _record(msgpack.unpackb(packed, raw=False, unicode_errors="surrogateescape"))


def records_frame(id: str, first: int, packed: Sequence[bytes]) -> bytes:
    """The frame of `Records(id, first, ...)` from packed records."""
    return b"\x94\x02%b%b\xdd%b%b" % (
        _pack(id),
        _pack(first),
        len(packed).to_bytes(4, "big"),
        b"".join(packed),
    )
