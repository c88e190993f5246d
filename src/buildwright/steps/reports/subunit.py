"""subunit streams, version 2 (packets) and version 1 (text), read here rather than with python-subunit.

The package would be a dependency of every master for two small formats that no longer change. In a stream of
version 2 each packet has a checksum; what lies between packets is output of the tests and is passed over.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from buildwright.steps.reports.case import FAILED, PASSED, SKIPPED, Case, Malformed, case

SIGNATURE = b"\xb3"

_TEST_ID, _TIME, _TAGS, _MIME, _FILE, _STATUS = 0x0800, 0x0200, 0x0080, 0x0020, 0x0040, 0x0007
_OUTCOMES = {3: PASSED, 4: FAILED, 5: SKIPPED, 6: FAILED, 7: SKIPPED}
_BEGINS = 2
_HEAD = 6  # signature, flags, the longest length
_MESSAGE_MOST = 64 * 1024


def read(data: bytes) -> Iterator[Case]:
    """The cases of a stream. Raises Malformed."""
    return _read_packets(data) if SIGNATURE in data else _read_text(data)


# -- version 2 -----------------------------------------------------------------------------------------------


class _Packet(NamedTuple):
    """What a packet says of a test."""

    status: int
    seconds: float | None
    test: str
    content: bytes


class _Fields:
    """Takes the fields of a packet one after another. Raises Malformed where there are too few bytes."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self._data = data
        self.at = at
        self._end = end

    def take(self, count: int) -> bytes:
        if count > self._end - self.at:
            raise Malformed("a subunit packet is shorter than its fields")
        self.at += count
        return self._data[self.at - count : self.at]

    def number(self) -> int:
        """A number of 1 to 4 bytes, of which the two highest bits say how many more there are."""
        first = self.take(1)[0]
        return int.from_bytes(bytes([first & 0x3F]) + self.take(first >> 6), "big")

    def part(self) -> bytes:
        return self.take(self.number())


def _read_packets(data: bytes) -> Iterator[Case]:
    begun: dict[str, float | None] = {}
    said: dict[str, bytes] = {}
    at = data.find(SIGNATURE)
    while at >= 0:
        packet, end = _packet(data, at)
        test = packet.test
        if packet.content and len(said.get(test, b"")) < _MESSAGE_MOST:
            said[test] = said.get(test, b"") + packet.content
        if packet.status == _BEGINS:
            begun[test] = packet.seconds
        elif test and packet.status in _OUTCOMES:
            since = begun.pop(test, None)
            took = None if since is None or packet.seconds is None else packet.seconds - since
            message = said.pop(test, b"").decode("utf-8", "replace")
            yield case(test, _OUTCOMES[packet.status], took, message)
        at = data.find(SIGNATURE, end)
    if begun:
        name = next(iter(begun))[:200]
        raise Malformed(f"it ends while {name!r} runs")


def _packet(data: bytes, at: int) -> tuple[_Packet, int]:
    """The packet that begins there, and where it ends. Raises Malformed."""
    fields = _Fields(data, at + 1, min(at + _HEAD + 1, len(data)))
    (flags,) = struct.unpack(">H", fields.take(2))
    if flags >> 12 != 2:
        raise Malformed(f"a subunit packet of the unknown version {flags >> 12}")
    end = at + fields.number()
    if end > len(data) or end - 4 < fields.at:
        raise Malformed("its last subunit packet is cut off")
    if zlib.crc32(data[at : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
        raise Malformed("the checksum of a subunit packet is wrong")
    fields = _Fields(data, fields.at, end - 4)
    seconds = None
    if flags & _TIME:
        (whole,) = struct.unpack(">I", fields.take(4))
        seconds = whole + fields.number() / 1e9
    test = fields.part().decode("utf-8", "replace") if flags & _TEST_ID else ""
    if flags & _TAGS:
        for _ in range(fields.number()):
            fields.part()
    mime = fields.part() if flags & _MIME else b""
    content = b""
    if flags & _FILE:
        fields.part()  # its name
        content = fields.part()
        if mime and not mime.startswith(b"text/"):
            content = b""
    return _Packet(flags & _STATUS, seconds, test, content), end


# -- version 1 -----------------------------------------------------------------------------------------------

_LINE = re.compile(
    r"(?P<word>test|testing|success|successful|failure|error|skip|xfail|uxsuccess|time)(?::| ) *(?P<rest>.*)"
)
_LENGTH = re.compile(r"[0-9A-Fa-f]{1,8}")
_ENDS = {
    "success": PASSED,
    "successful": PASSED,
    "failure": FAILED,
    "error": FAILED,
    "uxsuccess": FAILED,
    "skip": SKIPPED,
    "xfail": SKIPPED,
}


def _read_text(data: bytes) -> Iterator[Case]:
    now: float | None = None
    begun: dict[str, float | None] = {}
    count, at = 0, 0
    while at < len(data):
        line, at = _line(data, at)
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        word, rest = found["word"], found["rest"]
        if word == "time":
            now = _instant(rest)
        elif word in ("test", "testing"):
            begun[rest] = now
        else:
            count += 1
            details = ""
            if rest.endswith(" [ multipart"):
                rest = rest.removesuffix(" [ multipart")
                details, at = _parts(data, at, rest)
            elif rest.endswith(" ["):
                rest = rest.removesuffix(" [")
                details, at = _plain(data, at, rest)
            since = begun.pop(rest, None)
            took = None if since is None or now is None else now - since
            yield case(rest, _ENDS[word], took, details)
    if begun:
        raise Malformed(f"it ends while {next(iter(begun))[:200]!r} runs")
    if not count:
        raise Malformed("no subunit stream: it names no test")


def _line(data: bytes, at: int) -> tuple[str, int]:
    """The line that begins there, and where the next one does."""
    end = data.find(b"\n", at)
    end = len(data) if end < 0 else end
    return data[at:end].decode("utf-8", "replace").rstrip("\r"), end + 1


def _plain(data: bytes, at: int, test: str) -> tuple[str, int]:
    """The lines up to a closing bracket."""
    lines: list[str] = []
    while at < len(data):
        line, at = _line(data, at)
        if line == "]":
            return "\n".join(lines), at
        lines.append(line)
    raise Malformed(f"it ends within what it says of {test[:200]!r}")


def _parts(data: bytes, at: int, test: str) -> tuple[str, int]:
    """The texts up to a closing bracket: each has a type, a name, and chunks with their lengths."""
    texts: list[bytes] = []
    while at < len(data):
        kind, at = _line(data, at)
        if kind == "]":
            return b"\n".join(texts).decode("utf-8", "replace"), at
        _, at = _line(data, at)
        content = b""
        while True:
            length, at = _line(data, at)
            if not _LENGTH.fullmatch(length) or at + int(length, 16) > len(data):
                raise Malformed(f"a part of what it says of {test[:200]!r} is cut off")
            if int(length, 16) == 0:
                break
            if len(content) < _MESSAGE_MOST:
                content += data[at : at + int(length, 16)]
            at += int(length, 16)
        if kind.startswith("Content-Type: text/"):
            texts.append(content)
    raise Malformed(f"it ends within what it says of {test[:200]!r}")


def _instant(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError):
        return None
