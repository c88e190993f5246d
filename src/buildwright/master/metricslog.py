"""The master's numbers in its log, every so often, for those who read logs and no /metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from buildwright.model.clock import Clock
from buildwright.store.base import Store
from buildwright.web.metrics import count_work

log = structlog.get_logger(__name__)

PREFIX = "buildwright_"


class MetricsLog:
    """Looks with the sweeper. ``every`` is in seconds, as the configuration says now; None: never."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        every: Callable[[], float | None],
        gauges: Callable[[], Mapping[str, float]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._every = every
        self._gauges = gauges
        self._last: float | None = None  # monotonic

    async def look(self) -> None:
        """Log the numbers, if it is time."""
        every, now = self._every(), self._clock.monotonic()
        if every is None or (self._last is not None and now - self._last < every):
            return
        self._last = now
        numbers = {**await self._store.read(count_work()), **self._gauges()}
        log.info("metrics", **{name.removeprefix(PREFIX): number for name, number in numbers.items()})
