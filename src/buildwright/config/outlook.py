"""Which schedulers would act on a change or at a time, and why the others would not. Nothing is stored.

The schedulers' own code decides: their filters and functions are asked about the change, `decide` says
whether they fire, and the buildset is planned as the master plans it. What only a master knows (when a
Periodic ran last, which changes wait) is said, not guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from buildwright.model.properties import Properties
from buildwright.model.snapshot import Snapshot
from buildwright.model.sources import Change
from buildwright.schedulers.base import Scheduler
from buildwright.schedulers.basic import MICROSECONDS, BasicScheduler, ChangeFollower
from buildwright.schedulers.decisions import Arrival, Fire, Inbox
from buildwright.schedulers.dependent import Dependent
from buildwright.schedulers.force import ForceScheduler
from buildwright.schedulers.plan import PlanError, plan_buildset
from buildwright.schedulers.timed import Nightly, Periodic
from buildwright.schedulers.tries import TryScheduler
from buildwright.schedulers.triggerable import NightlyTriggerable, Triggered

MINUTE = 60 * MICROSECONDS
LONG_AGO = 10**15
_STAMP = 1  # the change's own source stamp, among those that a scheduler names


@dataclass(slots=True)
class Firing:
    """A buildset that would be started."""

    scheduler: Scheduler
    when: str  # at once, after a pause, if another one succeeds
    builders: Sequence[str]
    properties: Properties
    stamps: Sequence[Mapping[str, Any]]
    changes: Sequence[Change] = ()
    unknown: Sequence[str] = ()  # builders that it names and that aren't there


@dataclass(slots=True)
class Idle:
    """A scheduler that would do nothing, and why."""

    scheduler: Scheduler
    why: str


@dataclass(slots=True)
class Outlook:
    """What all schedulers would do, in the configuration's order; those that follow others come last."""

    firing: list[Firing] = field(default_factory=list)
    idle: list[Idle] = field(default_factory=list)


async def on_change(snapshot: Snapshot, change: Change) -> Outlook:
    """What a change would start."""
    change.number = 1
    found = Outlook()
    stamp = _stamp_of(change)
    for scheduler in _others(snapshot):
        why = _unmoved(scheduler, change)
        if why:
            found.idle.append(Idle(scheduler, why))
            continue
        arrival = Arrival(change, important=True, age=LONG_AGO, stampid=_STAMP)
        verdict = scheduler.decide(Inbox([arrival]), {}, LONG_AGO)
        if not verdict.fires:
            found.idle.append(Idle(scheduler, "takes the change and starts nothing because of it alone"))
        for fire in verdict.fires:
            pause = scheduler.treeStableTimer if isinstance(scheduler, BasicScheduler) else None
            when = f"once no change has come for {pause:g} s" if pause else "at once"
            await _plan(snapshot, scheduler, fire, when, stamp, found)
    await _follow(snapshot, found)
    return found


async def at_time(snapshot: Snapshot, now_us: int) -> Outlook:
    """What the clock would start in the minute that begins then."""
    found = Outlook()
    for scheduler in _others(snapshot):
        if not isinstance(scheduler, Nightly):
            found.idle.append(Idle(scheduler, waits_for(scheduler)))
            continue
        due = next(scheduler.due_points.after(now_us - 1), None)
        if due is None or due >= now_us + MINUTE:
            why = "is never due again" if due is None else f"is due {_local(due)} next"
            found.idle.append(Idle(scheduler, why))
            continue
        when = f"{_local(due)}"
        if isinstance(scheduler, NightlyTriggerable):
            when += ", if a step has triggered it by then"
        elif scheduler.onlyIfChanged and not scheduler.is_forced(due):
            when += ", if an important change has come by then"
        fire = scheduler.fire_for([], {}, f"due:{due}")
        await _plan(snapshot, scheduler, fire, when, {}, found)
    await _follow(snapshot, found)
    return found


def _others(snapshot: Snapshot) -> list[Scheduler]:
    """All but those that follow another scheduler."""
    return [each for each in snapshot.schedulers.values() if not isinstance(each, Dependent)]


def _unmoved(scheduler: Scheduler, change: Change) -> str:
    """Why a change starts nothing of this scheduler; empty if it does."""
    if not scheduler.wishes.changes:
        return waits_for(scheduler)
    if change.codebase not in scheduler.codebases:
        known = ", ".join(repr(name) for name in scheduler.codebases)
        return f"follows the codebase {known}, not {change.codebase!r}"
    try:
        if isinstance(scheduler, ChangeFollower) and not scheduler.change_filter.filter_change(change):
            return f"its filter wants {_wanted(scheduler)}"
        if not scheduler.is_important(change):
            return "its fileIsImportant says that the change is not important"
        if not scheduler.accepts(change):
            return "does not take the change"
    except Exception as problem:
        return f"a function of its own fails: {type(problem).__name__}: {problem}"
    if isinstance(scheduler, Nightly | Periodic):
        return f"notes the change for its next time: {waits_for(scheduler)}"
    return ""


def _wanted(scheduler: ChangeFollower) -> str:
    criteria = scheduler.change_filter.criteria
    return ", ".join(f"{name} {_shown(value)}" for name, value in criteria.items())


def _shown(value: Any) -> str:
    if callable(value):
        return f"as {getattr(value, '__name__', 'a function')} says"
    if isinstance(value, list | tuple | set | frozenset):
        return " or ".join(_shown(each) for each in value)
    return repr(getattr(value, "pattern", value))


def waits_for(scheduler: Scheduler) -> str:
    """What starts a scheduler, in words that follow its name."""
    if isinstance(scheduler, ForceScheduler):
        return "waits for somebody to ask"
    if isinstance(scheduler, NightlyTriggerable):
        clock = scheduler.due_points.cron.expression
        return f"waits for a step that triggers it, and then for the clock: {clock}"
    if isinstance(scheduler, Triggered):
        return "waits for a step that triggers it"
    if isinstance(scheduler, TryScheduler):
        return "waits for somebody to try a difference"
    if isinstance(scheduler, Periodic):
        return f"comes every {scheduler.periodicBuildTimer:g} s, counted from its last build"
    if isinstance(scheduler, Nightly):
        return f"comes by the clock ({scheduler.due_points.cron.expression})"
    if scheduler.wishes.changes:
        return "waits for changes"
    return f"is a {type(scheduler).__name__}, which neither changes nor the clock start"


async def _plan(
    snapshot: Snapshot,
    scheduler: Scheduler,
    fire: Fire,
    when: str,
    stamp: Mapping[str, Any],
    found: Outlook,
    given: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Plan a buildset; what fails is told as the reason why there is none."""
    stamps = given
    if stamps is None:
        stamps = [stamp if isinstance(each, int) else each for each in fire.stamps]
    try:
        plan = await plan_buildset(
            scheduler, reason=fire.reason, stamps=list(stamps), changes=list(fire.changes)
        )
    except PlanError as problem:
        found.idle.append(Idle(scheduler, f"can't start: {problem}"))
        return
    found.firing.append(
        Firing(
            scheduler,
            when,
            [name for name in plan.builder_names if name in snapshot.builders],
            Properties.from_json(plan.properties),
            stamps,
            fire.changes,
            [name for name in plan.builder_names if name not in snapshot.builders],
        )
    )


async def _follow(snapshot: Snapshot, found: Outlook) -> None:
    """Those that follow others, and those that follow them."""
    dependents = [each for each in snapshot.schedulers.values() if isinstance(each, Dependent)]
    for firing in found.firing:  # grows
        for each in [one for one in dependents if one.upstream_name == firing.scheduler.name]:
            dependents.remove(each)
            when = f"if {firing.scheduler.name} succeeds"
            fire = Fire("", each.reason, ())
            await _plan(snapshot, each, fire, when, {}, found, given=firing.stamps)
            if found.firing[-1].scheduler is each:
                found.firing[-1].changes = firing.changes
    found.idle += [Idle(each, f"follows {each.upstream_name}, which starts nothing") for each in dependents]


def _stamp_of(change: Change) -> dict[str, Any]:
    return {
        "codebase": change.codebase,
        "repository": change.repository,
        "project": change.project,
        "branch": change.branch,
        "revision": change.revision,
    }


def _local(instant_us: int) -> str:
    moment = datetime.fromtimestamp(instant_us / MICROSECONDS)  # noqa: DTZ006 - local time, as it is configured
    return f"on {moment:%A, %Y-%m-%d at %H:%M}"
