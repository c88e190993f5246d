"""Schedulers that follow the clock: Periodic and Nightly.

A schedule is a sequence of due points, instants of wall time. Every one from the activation on is settled
exactly once (P2): it fires, or is recorded as skipped. The state keeps the last settled one (`settled`),
so deciding is: which due points lie after it and not after now?

Usually that is one. When it is more (no master ran, the clock was set forward), `catchup` decides:
`last`, the default, fires the newest and records the others as skipped; `all` fires each; `none` records
all of them, unless the newest is just due. What is skipped in a row is recorded as one cause,
`due:<first>-<last>`; a fired one is `due:<instant>`. Points that pass while the scheduler is disabled are
recorded as skipped, too.

The first decision ever, and the first after the fields of a Nightly were changed, activates the schedule:
nothing before it is due. A Periodic is due at its activation, then every `periodicBuildTimer` after its
last due point.

A clock that was set back: due points that come again are settled already. If it was more than a day (it
had been wrong before, and much of the future seemed to be settled), the schedule begins again from now;
what had fired can't fire again, because its cause is there. A Periodic begins its interval again.

With `onlyIfChanged` changes wait in the inbox, and a due point without an important one among them is
skipped, except the first ever, one after the option was switched on, and those of the `force_at_…`
expression.
"""

from __future__ import annotations

import abc
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from itertools import islice
from typing import Any, Literal, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from buildwright.model.errors import error, expect
from buildwright.model.filters import UNSET
from buildwright.schedulers.basic import MICROSECONDS, ChangeFollower, seconds
from buildwright.schedulers.cron import BadCron, Cron, DuePoints
from buildwright.schedulers.decisions import Arrival, Fire, Inbox, Skip, State, Verdict, Wishes

Catchup = Literal["last", "all", "none"]
DAY = 86_400 * MICROSECONDS
JUST_DUE = 60 * MICROSECONDS
"""A due point that is not older than this was not missed."""
AT_ONCE = 20
"""At most so many missed due points are fired in one decision."""


class Schedule(Protocol):
    """A sequence of due points."""

    def after(self, instant: int) -> Iterator[int]:
        """Those after an instant, ascending."""
        ...

    def before(self, instant: int) -> Iterator[int]:
        """Those at or before an instant, descending."""
        ...


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done about the due points up to now."""

    fire: tuple[int, ...]
    skip: tuple[int, int] | None  # the first and the last one
    settled: int
    more: bool = False


def due_points(schedule: Schedule, settled: int, now_us: int, catchup: Catchup) -> Due:
    """Settle the due points after ``settled`` up to now."""
    first = next(schedule.after(settled), None)
    if first is None or first > now_us:
        return Due((), None, settled)
    if catchup == "all":
        missed = [due for due in islice(schedule.after(settled), AT_ONCE) if due <= now_us]
        return Due(tuple(missed), None, missed[-1], more=len(missed) == AT_ONCE)
    newest, before = [*islice(schedule.before(now_us), 2), first][:2]
    if catchup == "none" and now_us - newest > JUST_DUE:
        return Due((), (first, newest), newest)
    return Due((newest,), (first, before) if newest != first else None, newest)


class Interval:
    """Due points at equal distances from a point."""

    def __init__(self, origin: int, length: int) -> None:
        self.origin = origin
        self.length = length

    def after(self, instant: int) -> Iterator[int]:
        due = self.origin + ((instant - self.origin) // self.length + 1) * self.length
        while True:
            yield due
            due += self.length

    def before(self, instant: int) -> Iterator[int]:
        due = self.origin + ((instant - self.origin) // self.length) * self.length
        while True:
            yield due
            due -= self.length


class Timed(ChangeFollower, abc.ABC):
    """What schedulers that follow the clock have in common."""

    def __init__(
        self,
        name: str,
        builderNames: Any,
        *,
        branch: Any = UNSET,
        onlyIfChanged: bool = False,
        catchup: Catchup = "last",
        **arguments: Any,
    ) -> None:
        filtered = UNSET if arguments.get("change_filter") is not None else branch
        super().__init__(name, builderNames, branch=filtered, **arguments)
        self.onlyIfChanged = bool(onlyIfChanged)
        if catchup not in ("last", "all", "none"):
            error(f"{self.what}: catchup must be 'last', 'all' or 'none', not {catchup!r}")
            catchup = "last"
        self.catchup = catchup
        if branch is not UNSET:
            self.codebases = {key: {"branch": branch, **entry} for key, entry in self.codebases.items()}

    @property
    def wishes(self) -> Wishes:
        return Wishes(changes=self.onlyIfChanged or self.createAbsoluteSourceStamps)

    @abc.abstractmethod
    def schedule(self, state: State) -> Schedule:
        """The due points, as the state has them."""

    @abc.abstractmethod
    def activated(self, state: State, now_us: int) -> State:
        """The state with an active schedule."""

    def is_forced(self, due: int) -> bool:
        """Whether a due point fires without an important change."""
        del due
        return False

    def decide(self, inbox: Inbox, state: State, now_us: int, *, enabled: bool = True) -> Verdict:
        state = self.activated(self.remembering(state, inbox.arrivals), now_us)
        schedule = self.schedule(state)
        due = due_points(schedule, state["settled"], now_us, self.catchup)
        skips: list[Skip] = []
        if due.skip is not None:
            skips.append(skipped(*due.skip, "skipped: missed"))
        fires: list[Fire] = []
        seen: frozenset[int] = frozenset()
        if not self.onlyIfChanged:  # they only tell the last revisions
            seen = frozenset(arrival.id for arrival in inbox.arrivals)
        used = set(seen)
        for point in due.fire:
            waiting = [arrival for arrival in inbox.arrivals if arrival.id not in used]
            if not enabled:
                skips.append(skipped(point, point, "skipped: disabled"))
            elif self._is_idle(waiting, state) and not self.is_forced(point):
                skips.append(skipped(point, point, "skipped: no important change"))
            else:
                taken = frozenset(arrival.id for arrival in waiting)
                fires.append(replace(self.fire_for(waiting, state, f"due:{point}"), used_changes=taken))
                used.update(taken)
                state = {**state, "last_only_if_changed": self.onlyIfChanged}
        state = {**state, "settled": due.settled}
        coming = next(schedule.after(due.settled), None)
        return Verdict(
            state,
            fires,
            skips,
            seen,
            wait=None if coming is None else max(coming - now_us, 0),
            more=due.more,
        )

    def _is_idle(self, waiting: list[Arrival], state: State) -> bool:
        return (
            self.onlyIfChanged
            and bool(state.get("last_only_if_changed", False))
            and not any(arrival.important for arrival in waiting)
        )


def skipped(first: int, last: int, outcome: str) -> Skip:
    return Skip(f"due:{first}" if first == last else f"due:{first}-{last}", outcome)


class Periodic(Timed):
    """Builds every so many seconds.

    Example::

        c["schedulers"].append(
            schedulers.Periodic("every-six-hours", builderNames=["tests"], periodicBuildTimer=6 * 60 * 60)
        )
    """

    def __init__(self, name: str, builderNames: Any, periodicBuildTimer: float, **arguments: Any) -> None:
        super().__init__(name, builderNames, **arguments)
        length = seconds(periodicBuildTimer, f"{self.what}: periodicBuildTimer")
        if length is None or length < 1:
            if length is not None or periodicBuildTimer is None:
                error(f"{self.what}: periodicBuildTimer must be at least a second")
            length = DAY / MICROSECONDS
        self.periodicBuildTimer = length
        self._length = int(length * MICROSECONDS)

    def schedule(self, state: State) -> Schedule:
        return Interval(state["settled"], self._length)

    def activated(self, state: State, now_us: int) -> State:
        settled = state.get("settled")
        if settled is None:
            settled = now_us - self._length
        elif state.get("schedule") != self._length:  # due at once if it is overdue by the new measure
            settled = max(settled, now_us - self._length)
        return {**state, "schedule": self._length, "settled": min(settled, now_us)}


class Nightly(Timed):
    """Builds at the times of a cron expression.

    Example::

        c["schedulers"].append(
            schedulers.Nightly(
                "nightly",
                builderNames=["tests"],
                branch="main",
                dayOfWeek="mon-fri",
                hour=2,
                minute=30,
                onlyIfChanged=True,
            )
        )
    """

    def __init__(
        self,
        name: str,
        builderNames: Any,
        *,
        minute: Any = 0,
        hour: Any = "*",
        dayOfMonth: Any = "*",
        month: Any = "*",
        dayOfWeek: Any = "*",
        force_at_minute: Any = None,
        force_at_hour: Any = None,
        force_at_day_of_month: Any = None,
        force_at_month: Any = None,
        force_at_day_of_week: Any = None,
        timezone: str | tzinfo | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(name, builderNames, **arguments)
        zone = self._zone(timezone)
        fields = {
            "minute": minute,
            "hour": hour,
            "dayOfMonth": dayOfMonth,
            "month": month,
            "dayOfWeek": dayOfWeek,
        }
        force = {
            "minute": force_at_minute,
            "hour": force_at_hour,
            "dayOfMonth": force_at_day_of_month,
            "month": force_at_month,
            "dayOfWeek": force_at_day_of_week,
        }
        forced: Cron | None = None
        if any(value is not None for value in force.values()):
            given = {key: value for key, value in force.items() if value is not None}
            forced = self._cron({**dict.fromkeys(fields, "*"), "minute": 0, **given}, zone, "force_at_")
        cron = self._cron(fields, zone) or Cron("0 * * * *", zone)
        self.due_points = DuePoints(cron, forced)

    def _zone(self, given: Any) -> tzinfo | None:
        if given is None or isinstance(given, tzinfo):
            return given
        if expect(given, str, f"{self.what}: timezone", "a name such as 'Europe/Berlin'"):
            try:
                return ZoneInfo(given)
            except (ZoneInfoNotFoundError, ValueError):
                error(
                    f"{self.what}: there is no time zone {given!r}", hint="for example 'Europe/Berlin', 'UTC'"
                )
        return None

    def _cron(self, fields: Mapping[str, Any], zone: tzinfo | None, prefix: str = "") -> Cron | None:
        try:
            return Cron.of(zone=zone, **fields)
        except BadCron as problem:
            field = problem.field
            if prefix:  # the arguments of the forced times are written in another way
                field = prefix + re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), field)
            named = f"{field}: " if problem.field else ""
            error(
                f"{self.what}: {named}{problem}",
                "as in 3, [3, 15] or '*/6'" if named else "as in hour=3, hour=[3, 15], hour='*/6'",
            )
            return None

    def schedule(self, state: State) -> Schedule:
        del state
        return self.due_points

    def activated(self, state: State, now_us: int) -> State:
        settled = state.get("settled")
        if settled is None or state.get("schedule") != self.due_points.identity or settled > now_us + DAY:
            settled = now_us
        return {**state, "schedule": self.due_points.identity, "settled": settled}

    def is_forced(self, due: int) -> bool:
        return self.due_points.is_forced(due)
