"""What steps that count a tool's complaints share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from buildwright.builds.observers import HEADER, LogBlockObserver

if TYPE_CHECKING:
    from buildwright.builds.step import BuildStep

KEPT_MOST = 16 * 1024 * 1024  # bytes for a log; what comes after that is only counted


class Kept:
    """Lines for a log of their own: all are counted, the first ones are kept."""

    def __init__(self) -> None:
        self.count = 0
        self._data = bytearray()

    def add(self, line: str) -> None:
        self.count += 1
        if len(self._data) < KEPT_MOST:
            self._data += line.encode("utf-8", "surrogateescape") + b"\n"

    def write(self, step: BuildStep, name: str) -> None:
        """Make the log, if there is anything for it."""
        if self.count:
            more = b"...\n" if len(self._data) >= KEPT_MOST else b""
            step.addCompleteLog(name, bytes(self._data) + more)


class IssueObserver(LogBlockObserver):
    """Sorts the lines of a log by kind: ``kind_of(stream, line)`` names it, or None for no issue at all."""

    def __init__(self, kinds: Iterable[str], kind_of: Callable[[str, str], str | None]) -> None:
        super().__init__()
        self.issues = {kind: Kept() for kind in kinds}
        self._kind_of = kind_of

    def blockReceived(self, stream: str, block: bytes) -> None:
        if stream == HEADER:
            return
        for raw in block.removesuffix(b"\n").split(b"\n"):
            line = raw.decode("utf-8", "replace").rstrip("\r")
            kind = self._kind_of(stream, line)
            if kind is not None:
                self.issues[kind].add(line)

    @property
    def total(self) -> int:
        return sum(kept.count for kept in self.issues.values())

    def tell(self, step: BuildStep, prefix: str) -> None:
        """Make of each kind a log, the property ``PREFIX-KIND`` and a statistic; ``PREFIX-total`` is of all
        kinds.
        """
        for kind, kept in self.issues.items():
            kept.write(step, kind)
            _set(step, f"{prefix}-{kind}", kept.count)
        _set(step, f"{prefix}-total", self.total)

    def summary(self, text: Any) -> str:
        """A step's summary with the numbers of its issues: "pylint error=1 warning=2"."""
        words = [f"{kind}={kept.count}" for kind, kept in self.issues.items() if kept.count]
        return " ".join([str(text), *words]).lstrip()


def _set(step: BuildStep, name: str, count: int) -> None:
    step.setProperty(name, count, type(step).__name__)
    step.setStatistic(name, count)


def with_count(text: str, count: int, what: str) -> str:
    """A step's summary with a number of things, if there are any: "compile 2 warnings"."""
    return f"{text} {count} {what}{'s' * (count != 1)}".lstrip() if count else text
