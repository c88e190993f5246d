"""What the web server needs of the master, as interfaces: it reads the store, and asks :class:`Control` to
act.

Every verb of Control writes to the store before it returns (promise P1); the hint that follows only makes the
owner look earlier. A verb gives a false value, or raises :class:`~buildwright.web.errors.Refused`, where it
can't act."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from buildwright.logs.reader import LogReader
from buildwright.logs.search import Searcher
from buildwright.model.snapshot import Snapshot
from buildwright.store.base import Store
from buildwright.store.unit import Hint

# A buildset's id, and each builder's id with its request's.
Added = tuple[int, dict[int, int]]


class ForceForm(Protocol):
    """A force scheduler of the configuration, as the data API shows it."""

    @property
    def name(self) -> str: ...

    @property
    def inherited(self) -> Sequence[Any]:
        """The fields that name a finished build."""
        ...

    def form(self, builds: Sequence[Mapping[str, Any]] = ()) -> Mapping[str, Any]:
        """name, button_name, label, builder_names and all_fields; ``builds`` can be inherited from."""
        ...


class TryForm(Protocol):
    """A try scheduler of the configuration, as the data API shows it."""

    @property
    def name(self) -> str: ...

    @property
    def builder_names(self) -> list[str] | None: ...

    @property
    def codebases(self) -> Mapping[str, Any]: ...

    @property
    def userpass(self) -> Sequence[Any]: ...


class Control(Protocol):
    """What can be asked of the masters. ``owner`` is who asks, for people; ``key`` makes a repetition act
    once.
    """

    async def force(
        self, scheduler: str, params: Mapping[str, Any], owner: str, key: str | None
    ) -> Added | None: ...

    def force_builders(self, scheduler: str, params: Mapping[str, Any]) -> Sequence[str]:
        """The builders that :meth:`force` would start with these parameters, for those who ask whether it
        may.
        """
        ...

    async def try_build(self, scheduler: str, params: Mapping[str, Any], key: str | None) -> Added | None: ...

    async def add_change(self, params: Mapping[str, Any], key: str | None) -> int | None:
        """Gives the change's id; None if its source leaves it out."""
        ...

    async def rebuild(
        self, buildid: int, owner: str, key: str | None, *, from_failed: bool = False
    ) -> Added | None: ...

    async def stop_build(self, buildid: int, reason: str, results: int | None) -> bool: ...

    async def cancel_request(self, requestid: int, reason: str) -> bool: ...

    async def set_priority(self, requestid: int, priority: int) -> bool: ...

    async def enable_scheduler(self, schedulerid: int, enabled: bool) -> bool: ...

    async def worker_action(self, workerid: int, action: str, reason: str) -> bool:
        """``action`` is stop (when idle), kill, pause or unpause."""
        ...


class Bus(Protocol):
    """Where hints arrive."""

    def subscribe(self, kind: str | None, callback: Callable[[list[Hint]], None]) -> Callable[[], None]: ...


@dataclass
class WebServices:
    """Everything that a handler can use."""

    store: Store
    bus: Bus
    control: Control
    logs: LogReader
    snapshot: Callable[[], Snapshot]
    now_us: Callable[[], int]
    force_forms: Callable[[], Sequence[ForceForm]] = lambda: ()
    try_schedulers: Callable[[], Sequence[TryForm]] = lambda: ()
    # Why no work is taken just now; empty: ready.
    unready: Callable[[], str] = lambda: ""
    # SHA-256 of tokens from the configuration, in hex, with their names; more are in the store.
    tokens: Callable[[], Mapping[str, str]] = dict
    # Which part of its running step a build of this master has done, from 0 to 1; None: nobody knows.
    step_progress: Callable[[int], float | None] = lambda _buildid: None
    # The master's own numbers for /metrics, by metric name.
    gauges: Callable[[], Mapping[str, float]] = dict
    searcher: Searcher = field(init=False)

    def __post_init__(self) -> None:
        self.searcher = Searcher(self.logs)
