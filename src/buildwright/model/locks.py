"""Locks as a configuration names them.

A lock is a name and its limits. Who holds and who waits is in the store, across all masters; two lock objects
with one name are the same lock and must agree in everything (the loader checks it). A worker lock is one lock
per worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from buildwright.model.errors import error, expect, shown

MODES = ("counting", "exclusive")


def _is_limit(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


class _Lock:
    """A named limit; ``access`` says how a builder, worker or step uses it."""

    kind: ClassVar[str]
    name: str
    maxCount: int

    def access(self, mode: str, count: Any = 1) -> LockAccess:
        """Use of this lock: ``counting`` takes ``count`` of its places, ``exclusive`` all of them."""
        if mode not in MODES:
            error(f"lock {self.name!r}: the mode must be 'counting' or 'exclusive', not {shown(mode)}")
            mode = "exclusive"
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            error(f"lock {self.name!r}: the count must be a number of 0 or more, not {shown(count)}")
            count = 1
        elif mode == "exclusive" and count != 1:
            error(f"lock {self.name!r}: an exclusive access takes the whole lock, so its count must be 1")
            count = 1
        return LockAccess(self, mode, count)

    def _check(self) -> None:
        expect(self.name, str, f"{type(self).__name__}: name", "text")
        if not _is_limit(self.maxCount):
            error(f"lock {self.name!r}: maxCount must be a number of 1 or more, not {shown(self.maxCount)}")


@dataclass(frozen=True)
class MasterLock(_Lock):
    """One lock for everything that names it, on all masters.

    Example::

        board = util.MasterLock("test-board", maxCount=2)
        factory.addStep(steps.ShellCommand(command=["flash", "board"], locks=[board.access("exclusive")]))
    """

    kind: ClassVar[str] = "master"
    name: str
    maxCount: int = 1

    def __post_init__(self) -> None:
        self._check()

    def limit_for(self, workername: str) -> int:  # noqa: ARG002 - the same on every worker
        """How many counting places there are."""
        return self.maxCount


@dataclass(frozen=True)
class WorkerLock(_Lock):
    """One lock per worker: limits what runs at once on the same worker.

    Example::

        disk = util.WorkerLock("disk", maxCount=1, maxCountForWorker={"linux": 3})
        factory.addStep(steps.ShellCommand(command=["make", "image"], locks=[disk.access("counting")]))
    """

    kind: ClassVar[str] = "worker"
    name: str
    maxCount: int = 1
    maxCountForWorker: dict[str, int] | None = None

    def __post_init__(self) -> None:
        self._check()
        limits = self.maxCountForWorker
        if limits is None:
            return
        if expect(limits, dict, f"lock {self.name!r}: maxCountForWorker", "a dict of worker name to number"):
            for worker, limit in limits.items():
                if not _is_limit(limit):
                    what = f"maxCountForWorker[{worker!r}]"
                    error(f"lock {self.name!r}: {what} must be a number of 1 or more, not {shown(limit)}")

    def __hash__(self) -> int:
        return hash((self.kind, self.name))

    def limit_for(self, workername: str) -> int:
        """How many counting places there are on this worker."""
        return (self.maxCountForWorker or {}).get(workername, self.maxCount)


Lock = MasterLock | WorkerLock


@dataclass(frozen=True, slots=True)
class LockAccess:
    """How a lock is used: ``counting`` with a count, or ``exclusive``."""

    lock: _Lock
    mode: str
    count: int = 1
