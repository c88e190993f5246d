"""What ``p4 -G`` prints: Python's marshalled dicts, of texts and small numbers only.

They are read here and not by ``marshal``, which is not meant for what comes from elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Record = Mapping[str, bytes | int]

WARNING = 2  # the severity of what is no failure: nothing matches, say


class NoRecord(ValueError):
    """This is not what ``p4 -G`` prints."""


def read_records(data: bytes) -> Sequence[Record]:
    """The records, in their order. Raises NoRecord."""
    records = []
    at = 0
    while at < len(data):
        if data[at : at + 1] != b"{":
            raise NoRecord(data[at : at + 80])
        at += 1
        record: dict[str, bytes | int] = {}
        while data[at : at + 1] != b"0":
            key, at = _value(data, at)
            value, at = _value(data, at)
            if isinstance(key, int):
                raise NoRecord(key)
            record[key.decode("utf-8", "replace")] = value
        at += 1
        records.append(record)
    return records


def failure(records: Sequence[Record], encoding: str) -> str:
    """What p4 complains of; empty if nothing failed."""
    for record in records:
        severity = record.get("severity", 0)
        if record.get("code") == b"error" and isinstance(severity, int) and severity > WARNING:
            return " ".join(text(record, "data", encoding).split())
    return ""


def text(record: Record, name: str, encoding: str) -> str:
    """A record's text under a name; empty if there is none."""
    value = record.get(name, b"")
    return str(value) if isinstance(value, int) else value.decode(encoding, "replace")


def _value(data: bytes, at: int) -> tuple[bytes | int, int]:
    kind, number = data[at : at + 1], data[at + 1 : at + 5]
    size = int.from_bytes(number, "little", signed=True)
    end = at + 5
    if kind == b"i" and len(number) == 4:
        return size, end
    if kind != b"s" or size < 0 or end + size > len(data):
        raise NoRecord(data[at : at + 80])
    return data[end : end + size], end + size
