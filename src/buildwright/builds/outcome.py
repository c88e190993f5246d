"""What a build has come to: the results of its steps put together, and the stop that ended it."""

from __future__ import annotations

from dataclasses import dataclass

from buildwright.builds.step import BuildStep
from buildwright.model.results import (
    CANCELLED,
    RETRY,
    SKIPPED,
    SUCCESS,
    WARNINGS,
    Results,
    contribution,
    worst_status,
)


@dataclass(slots=True)
class Stop:
    """Somebody has stopped the build; ``results`` is CANCELLED or RETRY."""

    results: int
    reason: str


class Outcome:
    """What a build has come to so far. ``terminated``: only steps with alwaysRun run any more."""

    def __init__(self) -> None:
        self.results = SUCCESS
        self.terminated = False
        self.stop: Stop | None = None
        self._texts: list[str] = []

    def count(self, result: int, step: BuildStep) -> None:
        """Let a finished step's result count."""
        counts = contribution(result, step)
        self.results = worst_status(self.results, counts.result)
        if counts.terminates:
            self.terminated = True
        if counts.result not in (SUCCESS, SKIPPED):
            try:
                text = step.getResultSummary().get("build")
            except Exception:
                text = None
            self._texts.append(str(text) if text else step.name)

    def set(self, results: int, *texts: str) -> None:
        """Whatever the steps have come to, it is this."""
        self.results, self._texts = results, [*texts]

    def final(self) -> int:
        """The build's result."""
        if self.stop is None:
            return self.results
        return RETRY if self.stop.results == RETRY else worst_status(self.results, self.stop.results)

    def summary(self, results: int) -> str:
        """How the build's end is shown."""
        if results == SUCCESS and not self._texts:
            return "build successful"
        words = {SUCCESS: "build successful", SKIPPED: "skipped"}.get(results)
        if words is None:
            began = {RETRY: "retry:", WARNINGS: "warnings"}.get(results, "failed")
            words = f"{began} {' '.join(self._texts)}".strip()
            if results == CANCELLED and self.stop is not None:
                words = f"cancelled: {self.stop.reason}" if self.stop.reason else "cancelled"
        return f"{words} ({Results[results]})" if results not in (SUCCESS, SKIPPED) else words
