"""How often a login may be tried: so many failures per client and per name in some minutes.

A try counts before its password is looked at, so that many at once don't get more; one that succeeds is taken
back. Of a name that somebody has logged in to from an address, that address's tries don't count as others':
who guesses at a name can't keep its owner out. What is counted is bounded; the oldest goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

WINDOW_US: Final = 300_000_000
PER_CLIENT: Final = 30
PER_NAME: Final = 10
MOST_KEYS: Final = 10_000


class _Counts:
    """Tries by key, each in a window of its own that begins with the first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._begun: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def wait_us(self, key: str, now_us: int) -> int:
        """How long to wait before the next; 0: none."""
        begun, count = self._begun.get(key, (now_us, 0))
        left = begun + WINDOW_US - now_us
        return left if count >= self._most and left > 0 else 0

    def add(self, key: str, now_us: int) -> None:
        begun, count = self._begun.get(key, (now_us, 0))
        if begun + WINDOW_US <= now_us:
            begun, count = now_us, 0
            self._begun.pop(key, None)
        self._begun[key] = (begun, count + 1)
        if len(self._begun) > MOST_KEYS:
            self._begun.popitem(last=False)

    def take_back(self, key: str) -> None:
        begun, count = self._begun.get(key, (0, 0))
        if count:
            self._begun[key] = (begun, count - 1)


class Tries:
    """The tries of one master."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._clients = _Counts(PER_CLIENT)
        self._names = _Counts(PER_NAME)
        self._friends: OrderedDict[tuple[str, str], None] = OrderedDict()

    def begin(self, client: str, name: str) -> int:
        """Count a try; gives 0, or for how many microseconds there is none."""
        now = self._now_us()
        key = self._key(client, name)
        wait = max(self._clients.wait_us(client, now), self._names.wait_us(key, now))
        if not wait:
            self._clients.add(client, now)
            self._names.add(key, now)
        return wait

    def succeeded(self, client: str, name: str) -> None:
        """Take a try back whose password was right."""
        self._clients.take_back(client)
        self._names.take_back(self._key(client, name))
        self._friends[client, name] = None
        self._friends.move_to_end((client, name))
        if len(self._friends) > MOST_KEYS:
            self._friends.popitem(last=False)

    def _key(self, client: str, name: str) -> str:
        return f"{client} {name}" if (client, name) in self._friends else name
