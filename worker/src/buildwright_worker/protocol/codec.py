"""The bytes of messages. `encode` and `decode` are each other's inverse.

A frame is one msgpack array `[op, field, ...]` in one binary WebSocket message of at most `MAX_FRAME`
bytes. `decode` trusts nothing: an unknown op, a missing or surplus field, a wrong type, an id that could
not name a file, trailing bytes, too deep a nesting or too large a frame is a `ProtocolError`, whose text
says what was wrong. Whoever catches it closes the connection; the state of commands does not change by a
frame that was not understood.

Text travels as UTF-8 with `surrogateescape`, so that file names that are not UTF-8 come back as they were.
Output is bytes and never decoded.

Records are the hot path. The worker packs each record once (`pack_record`), keeps it packed in its spool, and
joins packed records into frames (`records_frame`) without unpacking them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable, TypeVar

import msgpack  # type: ignore[import-untyped]  # it carries no types

from .checks import (
    ProtocolError,
    byte_string,
    command_id,
    count,
    flag,
    plain,
    plain_map,
    seconds,
    text,
    wrong,
)
from .messages import (
    MAX_FRAME,
    MAX_RECORD_DATA,
    OUTPUT_KINDS,
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
    Message,
    Ping,
    Pong,
    Pull,
    Record,
    Records,
    Refused,
    Result,
    Room,
    Secret,
    Shutdown,
    Start,
    Welcome,
    Window,
)

_T = TypeVar("_T")
_Check = Callable[[Any], Any]


def _one_of(*words: str) -> _Check:
    def check(value: Any) -> str:
        if value not in words:
            raise wrong(value, " or ".join(words))
        return str(value)

    return check


def _list_of(check: _Check) -> _Check:
    def check_list(value: Any) -> list[Any]:
        if type(value) is not list:
            raise wrong(value, "a list")
        return [check(item) for item in value]

    return check_list


def _tuple_of(kind: Callable[..., _T], *checks: _Check) -> Callable[[Any], _T]:
    def check_tuple(value: Any) -> _T:
        if type(value) is not list or len(value) != len(checks):
            raise wrong(value, f"a list of {len(checks)}")
        return kind(*[check(item) for check, item in zip(checks, value)])

    return check_tuple


def _record(value: Any) -> Record:
    if type(value) is not list or len(value) != 4:
        raise wrong(value, "a record")
    kind, time_us, data, name = value
    count(time_us)
    text(name)
    if type(kind) is not str or len(kind) != 1:
        raise wrong(kind, "a record's kind")
    if kind in OUTPUT_KINDS:
        if len(byte_string(data)) > MAX_RECORD_DATA:
            raise ProtocolError(f"a record carries {len(data)} bytes, more than {MAX_RECORD_DATA}")
    elif kind == "u":
        plain(data)
    elif kind == "r":
        Result.from_map(plain_map(data))
    else:
        raise wrong(kind, "a record's kind")
    return Record(kind, time_us, data, name)


_FIELDS: list[tuple[int, type[Message], tuple[_Check, ...]]] = [
    (
        1,
        Hello,
        (
            count,
            text,
            text,
            plain_map,
            _list_of(text),
            _list_of(_tuple_of(HeldCommand, command_id, count, count, _one_of("running", "done"))),
            _list_of(_tuple_of(LostCommand, command_id, text)),
        ),
    ),
    (2, Records, (command_id, count, _list_of(_record))),
    (3, Pull, (command_id, count, count)),
    (4, Refused, (text, count)),
    (5, Goodbye, (flag, text)),
    (6, Room, (flag, text)),
    (7, Ping, (count,)),
    (8, Pong, (count,)),
    (
        16,
        Welcome,
        (
            count,
            text,
            seconds,
            count,
            _list_of(_tuple_of(CommandAnswer, command_id, _one_of("resume", "kill", "forget"), count)),
            seconds,
            seconds,
        ),
    ),
    (17, Start, (count, command_id, text, plain_map, _list_of(_tuple_of(Secret, text, text)))),
    (18, Interrupt, (count, command_id, text)),
    (19, Ack, (count, command_id, count)),
    (20, Window, (count,)),
    (21, Data, (count, command_id, count, byte_string, flag)),
    (22, Detach, (text,)),
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
    if kind is Hello and len(value) > 1:
        check_version(value[1])  # before all else: another version's Hello may have other fields
    if len(value) != len(checks) + 1:
        raise ProtocolError(f"{kind.__name__} has {len(checks)} fields, not {len(value) - 1}")
    try:
        return kind(*[check(field) for check, field in zip(checks, value[1:])])
    except ProtocolError as error:
        raise ProtocolError(f"{kind.__name__}: {error}") from error


def check_version(version: Any) -> None:
    """Raises ProtocolError, with what to do, for a worker's version that this side doesn't speak."""
    if type(version) is int and version != VERSION:
        older, newer = ("worker", "master") if version < VERSION else ("master", "worker")
        raise ProtocolError(
            f"the worker speaks version {version} of the protocol, the master {VERSION}: "
            f"upgrade the {older}, or install an older {newer}"
        )


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
