"""Schedulers that follow changes: SingleBranchScheduler and AnyBranchScheduler.

A change passes the filter (`branch`, `categories` or `change_filter`), belongs to one of the codebases
and is important or not (`fileIsImportant`). Then:

- without `treeStableTimer` each important change starts a buildset at once; unimportant ones are dropped;
- with it changes wait in the inbox until none has come for that long, then all of them start one buildset
  together. Only an important change starts the waiting; an unimportant one that comes while it runs
  prolongs it, and is part of the buildset.

How long a change has waited is counted from its arrival in the store, so a restart of the master doesn't
begin again. AnyBranchScheduler waits for each branch (of each repository, project and codebase) by
itself.

The cause of a buildset is its newest change: that change starts one buildset, whatever happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from buildwright.model.errors import error, expect, expect_plain_function, shown
from buildwright.model.filters import UNSET, ChangeFilter, expect_texts, said
from buildwright.model.sources import Change
from buildwright.schedulers.base import Priority, Scheduler
from buildwright.schedulers.decisions import Arrival, Fire, Inbox, Skip, State, Verdict, Wishes

MICROSECONDS = 1_000_000


class ChangeFollower(Scheduler):
    """What schedulers that look at changes have in common: filter, importance, last seen revisions."""

    _branch_argument: ClassVar[str] = "branch"  # what the constructor calls it

    def __init__(
        self,
        name: str,
        builderNames: Any,
        *,
        branch: Any = UNSET,
        categories: Iterable[str] | None = None,
        change_filter: ChangeFilter | None = None,
        fileIsImportant: Callable[[Change], Any] | None = None,
        onlyImportant: bool = False,
        createAbsoluteSourceStamps: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(name, builderNames, **common)
        if fileIsImportant is not None:
            expect_plain_function(fileIsImportant, f"{self.what}: fileIsImportant")
        if change_filter is not None and not hasattr(change_filter, "filter_change"):
            error(f"{self.what}: change_filter must be a ChangeFilter, not {shown(change_filter)}")
            change_filter = None
        if branch is not UNSET and not expect_texts(branch, f"{self.what}: {self._branch_argument}"):
            branch = UNSET
        self.change_filter = ChangeFilter.fromSchedulerConstructorArgs(change_filter, branch, categories)
        self.fileIsImportant = fileIsImportant
        self.onlyImportant = bool(onlyImportant)
        self.createAbsoluteSourceStamps = bool(createAbsoluteSourceStamps)

    def accepts(self, change: Change) -> bool:
        if not super().accepts(change) or not self.change_filter.filter_change(change):
            return False
        return not self.onlyImportant or self.is_important(change)

    def is_important(self, change: Change) -> bool:
        return self.fileIsImportant is None or said(self.fileIsImportant(change), "fileIsImportant")

    def remembering(self, state: State, arrivals: Iterable[Arrival]) -> State:
        """The state with the revisions of these changes as the last seen ones of their codebases."""
        if not self.createAbsoluteSourceStamps:
            return state
        last: dict[str, dict[str, Any]] = dict(state.get("lastCodebases", {}))
        for arrival in arrivals:
            change = arrival.change
            if last.get(change.codebase, {}).get("lastChange", -1) < arrival.id:
                last[change.codebase] = {
                    "repository": change.repository,
                    "branch": change.branch,
                    "revision": change.revision,
                    "project": change.project,
                    "lastChange": arrival.id,
                }
        return {**state, "lastCodebases": last} if last != state.get("lastCodebases", {}) else state

    def stamps_for(self, arrivals: Sequence[Arrival], state: State) -> list[Mapping[str, Any] | int]:
        """A stamp per codebase: of its newest change, of what was seen last, or the configured default."""
        newest: dict[str, Arrival] = {}
        for arrival in sorted(arrivals, key=lambda each: each.id):
            newest[arrival.change.codebase] = arrival
        last = state.get("lastCodebases", {}) if self.createAbsoluteSourceStamps else {}
        return [
            newest[codebase].stampid
            if codebase in newest
            else self.default_stamp(codebase, last.get(codebase))
            for codebase in self.codebases
        ]

    def fire_for(self, arrivals: Sequence[Arrival], state: State, cause: str) -> Fire:
        """A buildset of these changes."""
        changes = [arrival.change for arrival in sorted(arrivals, key=lambda each: each.id)]
        return Fire(cause, self.reason, self.stamps_for(arrivals, state), changes)


def seconds(value: Any, what: str) -> float | None:
    """A duration of the configuration, or None."""
    if value is None or not expect(value, (int, float), what, "a number of seconds"):
        return None
    if value < 0:
        error(f"{what} must not be negative")
    return float(value)


class BasicScheduler(ChangeFollower):
    """A scheduler that starts buildsets because of changes."""

    def __init__(
        self, name: str, builderNames: Any, treeStableTimer: float | None = None, **arguments: Any
    ) -> None:
        super().__init__(name, builderNames, **arguments)
        self.treeStableTimer = seconds(treeStableTimer, f"{self.what}: treeStableTimer")

    @property
    def wishes(self) -> Wishes:
        return Wishes(changes=True)

    def timer_of(self, change: Change) -> Any:
        """Changes with the same key wait together."""
        del change
        return None

    def decide(self, inbox: Inbox, state: State, now_us: int, *, enabled: bool = True) -> Verdict:
        del now_us
        if not enabled:
            return Verdict(state)
        if not self.treeStableTimer:
            return self._at_once(inbox, state)
        groups: dict[Any, list[Arrival]] = {}
        for arrival in inbox.arrivals:
            groups.setdefault(self.timer_of(arrival.change), []).append(arrival)
        state = self.remembering(state, inbox.arrivals)
        fires: list[Fire] = []
        used: set[int] = set()
        waits: list[int] = []
        for arrivals in groups.values():
            if not any(arrival.important for arrival in arrivals):
                continue
            left = max(int(self.treeStableTimer * MICROSECONDS) - arrival.age for arrival in arrivals)
            if left > 0:
                waits.append(left)
                continue
            newest = max(arrival.id for arrival in arrivals)
            fires.append(self.fire_for(arrivals, state, f"change:{newest}"))
            used.update(arrival.id for arrival in arrivals)
        return Verdict(state, fires, used_changes=frozenset(used), wait=min(waits, default=None))

    def _at_once(self, inbox: Inbox, state: State) -> Verdict:
        fires: list[Fire] = []
        skips: list[Skip] = []
        for arrival in inbox.arrivals:
            state = self.remembering(state, [arrival])
            if arrival.important:
                fires.append(self.fire_for([arrival], state, f"change:{arrival.id}"))
        return Verdict(state, fires, skips, frozenset(arrival.id for arrival in inbox.arrivals))


class SingleBranchScheduler(BasicScheduler):
    """Builds the changes of one branch.

    Example::

        c["schedulers"].append(
            schedulers.SingleBranchScheduler(
                "commits",
                builderNames=["tests"],
                change_filter=util.ChangeFilter(project="project", branch="main"),
                treeStableTimer=120,
            )
        )
    """

    def __init__(
        self,
        name: str,
        builderNames: Any,
        treeStableTimer: float | None = None,
        branch: Any = UNSET,
        change_filter: ChangeFilter | None = None,
        **arguments: Any,
    ) -> None:
        if branch is UNSET and change_filter is None:
            error(
                f"SingleBranchScheduler {name!r} needs a branch or a change_filter",
                hint="change_filter=util.ChangeFilter(branch='main'); AnyBranchScheduler follows all",
            )
        super().__init__(
            name, builderNames, treeStableTimer, branch=branch, change_filter=change_filter, **arguments
        )


class AnyBranchScheduler(BasicScheduler):
    """Builds the changes of all branches that its filter lets in, each branch with a timer of its own.

    Example::

        c["schedulers"].append(
            schedulers.AnyBranchScheduler(
                "branches",
                builderNames=["tests"],
                treeStableTimer=60,
                change_filter=util.ChangeFilter(branch_not_eq="main"),
            )
        )
    """

    _branch_argument = "branches"

    def __init__(
        self,
        name: str,
        builderNames: Any,
        treeStableTimer: float | None = None,
        branches: Any = UNSET,
        **arguments: Any,
    ) -> None:
        if arguments.pop("createAbsoluteSourceStamps", False):
            error(
                f"AnyBranchScheduler {name!r} can't make absolute source stamps",
                hint="use a SingleBranchScheduler for each branch",
            )
        super().__init__(name, builderNames, treeStableTimer, branch=branches, **arguments)

    def timer_of(self, change: Change) -> Any:
        return (change.codebase, change.project, change.repository, change.branch)


__all__ = ["AnyBranchScheduler", "BasicScheduler", "ChangeFollower", "Priority", "SingleBranchScheduler"]
