"""How far a step is, by its own account.

A step says with ``setProgress`` how much of something it has done: tests run, bytes written. How much there
is in all nobody knows; but what the same step of the same builder had done at its last good end is a fair
guess. These totals are kept in memory: they serve an estimate, and are there again after the next build.
"""

from __future__ import annotations

from typing import Any, Final

Totals = dict[tuple[int, str], dict[str, float]]  # (builder, step) -> metric -> how much at the end

MOST_STEPS: Final = 100_000  # of the totals that are kept; the oldest go


class StepProgress:
    """How much a running step has done. Owned by its run."""

    def __init__(self, totals: Totals, builderid: int, name: str) -> None:
        self._totals = totals
        self._key = (builderid, name)
        self._done: dict[str, float] = {}

    def set(self, metric: str, value: Any) -> None:
        """So much of this is done."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise TypeError(f"setProgress({metric!r}, ...) takes a number that isn't negative, not {value!r}")
        self._done[metric] = float(value)

    def begin_try(self) -> None:
        """The step starts from its beginning."""
        self._done = {}

    def ended_well(self) -> None:
        """What is done by now is all that there was."""
        if self._done:
            self._totals.pop(self._key, None)
            self._totals[self._key] = self._done
            while len(self._totals) > MOST_STEPS:
                del self._totals[next(iter(self._totals))]

    @property
    def part(self) -> float | None:
        """Which part is done, from 0 to 1: the mean over what the step counts. None: nobody knows."""
        totals = self._totals.get(self._key, {})
        parts = [
            min(value / totals[metric], 1.0) for metric, value in self._done.items() if totals.get(metric)
        ]
        return sum(parts) / len(parts) if parts else None
