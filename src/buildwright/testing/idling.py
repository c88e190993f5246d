"""Time that costs nothing while nothing happens.

A rehearsal's loop jumps to what comes next: the end of a command, a pause, or a scheduler's due time, which
no timer stands for. What a master and its workers do once a second or so is left out meanwhile. That is safe,
because it is there for what can't be here: lost hints, silent connections, other masters. Once an hour it is
done all the same, for what waits for nothing else.
"""

from __future__ import annotations

import heapq
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import structlog

from buildwright.master import membership, sweeper
from buildwright.testing.loop import VirtualLoop
from buildwright_worker.protocol.liveness import Liveness

HOUSEKEEPING = 3600.0


class JumpingLoop(VirtualLoop):
    """Jumps to ``due`` as well, a time of the loop's, and calls ``look`` there."""

    def __init__(self) -> None:
        super().__init__(random.Random(1))
        self.due: Callable[[], float | None] = lambda: None
        self.look: Callable[[], None] = lambda: None
        self._looked = 0.0

    def _jump(self) -> None:
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        due = self.due()
        first = timers[0][0] if timers else None
        if due is not None and due > self._looked and (first is None or due <= first):
            self._looked = self._now = max(self._now, due)
            self._spins = 0
            self.look()
        else:
            super()._jump()


@contextmanager
def alone() -> Iterator[None]:
    """Leave out what is there for lost hints, silent connections and other masters."""
    never = float("inf")
    with (
        patch.object(sweeper, "EVERY", HOUSEKEEPING),
        patch.object(membership, "RENEW_EVERY", never),
        patch.object(membership, "AUTHORITY", never),
        patch.object(Liveness, "due", lambda _self, _busy: never),
    ):
        yield


@contextmanager
def listening(said: list[dict[str, Any]]) -> Iterator[None]:
    """Keep what the master logs, instead of printing it."""

    def keep(_logger: Any, method: str, event: Any) -> Any:
        said.append({"level": method, **event})
        raise structlog.DropEvent

    before = structlog.get_config()
    worker = logging.getLogger("buildwright_worker")
    level = worker.level
    worker.setLevel(logging.ERROR)
    structlog.configure(
        processors=[keep],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
        worker.setLevel(level)
