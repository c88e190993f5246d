"""Where a command's packed records wait until the master has committed them, as the session sees it."""

from __future__ import annotations

from collections import deque
from typing import Protocol


class RecordStore(Protocol):
    """Where a command's packed records wait for their acknowledgement."""

    first: int  # number of the oldest record kept
    next: int  # number that the next record gets

    def append(self, packed: bytes) -> None:
        """Keep one more record."""

    def read(self, start: int, budget: int) -> list[bytes]:
        """Records from number `start` on, of at most `budget` bytes, at least one if there is one."""

    def drop(self, next: int) -> None:
        """Forget the records before number `next`."""

    def close(self) -> None:
        """Forget everything."""


class MemoryStore:
    """A RecordStore that keeps all in memory."""

    def __init__(self) -> None:
        self.first = 0
        self.next = 0
        self._records: deque[bytes] = deque()

    def append(self, packed: bytes) -> None:
        self._records.append(packed)
        self.next += 1

    def read(self, start: int, budget: int) -> list[bytes]:
        chosen: list[bytes] = []
        for number in range(start, self.next):
            packed = self._records[number - self.first]
            budget -= len(packed)
            if budget < 0 and chosen:
                break
            chosen.append(packed)
        return chosen

    def drop(self, next: int) -> None:
        while self.first < next and self._records:
            self._records.popleft()
            self.first += 1

    def close(self) -> None:
        self.drop(self.next)
