"""What a scheduler decides from and what it decides: plain data between the pure part and the runner.

Durations are µs. Ages and waits are relative, so that a clock that was set back can't stall anything: the
runner gives as age the greater of what the wall clock and what the monotonic clock says, and comes back
when either has come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from buildwright.model.sources import Change

State = dict[str, Any]
"""What a scheduler remembers, as JSON can hold it."""

Stamp = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A change that the scheduler's filter has let in."""

    change: Change
    important: bool
    age: int  # since it was received
    stampid: int

    @property
    def id(self) -> int:
        assert self.change.number is not None
        return self.change.number


@dataclass(frozen=True, slots=True)
class Upstream:
    """A finished buildset of the scheduler that this one waits for."""

    buildsetid: int
    results: int
    stampids: tuple[int, ...]
    changeids: tuple[int, ...]
    parent_buildid: int | None = None  # of the build that triggered it
    properties: str = "{}"  # JSON


@dataclass(frozen=True, slots=True)
class Inbox:
    """What has come in and is not used yet, oldest first."""

    arrivals: Sequence[Arrival] = ()
    upstream: Sequence[Upstream] = ()


@dataclass(frozen=True, slots=True)
class Fire:
    """A buildset to start, and the cause that it is started for once."""

    cause: str
    reason: str
    stamps: Sequence[Stamp | int]
    changes: Sequence[Change] = ()
    changeids: tuple[int, ...] = ()  # of changes that are known by their ids only
    used_changes: frozenset[int] = frozenset()  # of the inbox, unless the cause turns out to be settled
    properties: str = "{}"  # JSON; the scheduler's own override them


@dataclass(frozen=True, slots=True)
class Skip:
    """A cause that is settled without a buildset, and why."""

    cause: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """One decision. If it uses, fires and skips nothing and leaves the state, nothing is written."""

    state: State
    fires: Sequence[Fire] = ()
    skips: Sequence[Skip] = ()
    used_changes: frozenset[int] = frozenset()  # done with, whatever becomes of the fires
    used_upstream: frozenset[int] = frozenset()
    wait: int | None = None  # look again after this long at the latest, even if nothing comes in
    more: bool = False  # there is more to decide at once


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a scheduler wants to be told of."""

    changes: bool = False
    upstreams: tuple[str, ...] = field(default=())
