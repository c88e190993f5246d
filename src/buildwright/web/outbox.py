"""What waits to be sent to one client: bounded, so that a client that doesn't read costs no memory and delays
nobody.

The producer never waits. When the client is further behind than the bounds it is given up: whoever falls
behind by thousands of events is better off reading the resources again than receiving them all late."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

MOST_MESSAGES = 4000
MOST_BYTES = 4 * 1024 * 1024


class Outbox:
    """Messages in order. ``give_up`` is called once, when the client is too slow."""

    def __init__(self, give_up: Callable[[], None]) -> None:
        self._give_up = give_up
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._closed = False

    def put(self, message: bytes) -> None:
        if self._closed:
            return
        self._messages.append(message)
        self._bytes += len(message)
        if len(self._messages) > MOST_MESSAGES or self._bytes > MOST_BYTES:
            self._closed = True
            self._messages.clear()
            self._give_up()
        self._filled.set()

    async def take(self) -> list[bytes]:
        """All messages that wait; waits for one."""
        await self._filled.wait()
        self._filled.clear()
        messages = list(self._messages)
        self._messages.clear()
        self._bytes = 0
        return messages
