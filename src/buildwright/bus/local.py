"""The bus of one process: hints of committed changes, to whoever wants to look at once.

A hint may be lost or come twice; whoever waits for something looks into the store after a hint, and about
once a second without one (:meth:`Bus.sweep`, called by the master's sweeper). So a lost hint costs a
second, never a build.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import structlog

from buildwright.store.unit import Hint

Listener = Callable[[list[Hint]], None]

log = structlog.get_logger(__name__)


class Bus:
    """Publish and subscribe by a hint's kind."""

    def __init__(self) -> None:
        self._listeners: dict[str | None, dict[int, Listener]] = {}
        self._waiters: dict[str, list[asyncio.Future[None]]] = {}
        self._count = 0

    def subscribe(self, kind: str | None, listener: Listener) -> Callable[[], None]:
        """Have ``listener`` called with the hints of a kind (None: of all); gives what ends it."""
        self._count += 1
        key = self._count
        self._listeners.setdefault(kind, {})[key] = listener

        def unsubscribe() -> None:
            self._listeners.get(kind, {}).pop(key, None)

        return unsubscribe

    def publish(self, hints: Iterable[Hint]) -> None:
        """Tell everybody. A listener's failure is logged and stops nobody else."""
        by_kind: dict[str | None, list[Hint]] = {}
        for hint in hints:
            by_kind.setdefault(hint.kind, []).append(hint)
        everything = self._listeners.get(None)
        if everything:
            by_kind[None] = [hint for found in list(by_kind.values()) for hint in found]
        for kind, found in by_kind.items():
            for listener in list(self._listeners.get(kind, {}).values()):
                try:
                    listener(found)
                except Exception:
                    log.exception("a listener of the bus failed", kind=kind)
            if kind is not None:
                self._wake(kind)

    def next(self, kind: str) -> asyncio.Future[None]:
        """Done at the next hint of a kind, or at the next sweep."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(kind, []).append(future)
        return future

    def sweep(self) -> None:
        """Have everybody who waits look again."""
        for kind in list(self._waiters):
            self._wake(kind)

    def _wake(self, kind: str) -> None:
        for future in self._waiters.pop(kind, ()):
            if not future.done():
                future.set_result(None)
