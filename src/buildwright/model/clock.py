"""Time as it is handed to those who decide: nobody else reads a clock.

Wall time (µs since the epoch) says when something happened and when a schedule is due; it may jump. Monotonic
time (seconds) says how long something has lasted; only differences mean anything.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A source of time: the system's, or a virtual one."""

    def now_us(self) -> int:
        """Wall time in µs since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that never jumps."""
        ...


class SystemClock:
    """The system's own clocks."""

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()
