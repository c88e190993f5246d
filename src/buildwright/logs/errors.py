"""What reading and sealing logs can answer instead of bytes.

::

    LogError
    ├── NoSuchLog      no log has this id
    ├── Expired        it was there, and has been removed on purpose; ``on`` says when (µs)
    ├── BlobMissing    a blob store has no blob of this key
    └── LogDamaged     what is stored contradicts itself; nothing of it is served
"""

from __future__ import annotations

from datetime import UTC, datetime


class LogError(Exception):
    """A log can't be read."""


class NoSuchLog(LogError):
    """No log has this id."""

    def __init__(self, logid: int) -> None:
        super().__init__(f"there is no log {logid}")
        self.logid = logid


class Expired(LogError):
    """The log's bytes have been removed as its retention says."""

    def __init__(self, logid: int, on: int) -> None:
        day = datetime.fromtimestamp(on / 1e6, UTC).strftime("%Y-%m-%d")
        super().__init__(f"log {logid} expired on {day}")
        self.logid = logid
        self.on = on


class BlobMissing(LogError):
    """The blob store has no such blob, or it is shorter than its index says."""

    def __init__(self, key: str, where: str) -> None:
        super().__init__(
            f"{where} has no whole blob {key}: was it moved, or restored from another day than the database?"
        )
        self.key = key
        self.where = where


class LogDamaged(LogError):
    """The stored parts of a log contradict each other."""

    def __init__(self, logid: int, why: str) -> None:
        super().__init__(f"log {logid} is damaged: {why}")
        self.logid = logid
        self.why = why
