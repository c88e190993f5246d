"""Due points of a cron expression in local time, as instants.

The expression is walked in naive local time, which knows nothing of summer time, and each local time is
then given its one instant: one that comes twice is due at its first coming only, one that doesn't exist
is due at the end of the gap. So the instants never go back, and several points inside one gap are one.

Fields are Buildbot's: numbers, lists of numbers, or cron text. Numbers for the day of the week count from
0 = Monday, also in text that lists plain numbers; cron itself counts from 0 = Sunday, and that is what
ranges and steps in text are.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, tzinfo
from typing import Any

from cronsim import CronSim, CronSimError

US = 1_000_000
# No zone sets its clocks back by more than this in one go.
LONGEST_FOLD = timedelta(hours=3)


class BadCron(ValueError):
    """A field or an expression that cron doesn't know; ``field`` is the field's name, if it is one."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


def field(value: Any, *, weekday: bool = False) -> str:
    """One field as cron text."""
    if isinstance(value, bool) or value is None:
        raise BadCron(f"{value!r} is neither a number, a list of numbers nor cron text")
    if isinstance(value, int):
        return str((value + 1) % 7) if weekday else str(value)
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(",")]
        if not weekday:
            return ",".join(parts)
        return ",".join(_weekday(part) for part in parts)
    if isinstance(value, Iterable):
        each = [field(item, weekday=weekday) for item in value]
        if not each:
            raise BadCron("an empty list is never due")
        return ",".join(each)
    raise BadCron(f"{value!r} is neither a number, a list of numbers nor cron text")


def _weekday(part: str) -> str:
    if part.isascii() and part.isdigit():
        return str((int(part) + 1) % 7)
    if (
        len(part) == 2 and part[0] in "Ll" and part[1].isdigit()
    ):  # "L5" is the last Friday; the library's "5L"
        return f"{part[1]}L"
    return part


class Cron:
    """One expression in one time zone; None is the machine's own."""

    def __init__(self, expression: str, zone: tzinfo | None = None) -> None:
        self.expression = expression
        self.zone = zone
        try:
            next(CronSim(expression, datetime(2000, 1, 1)))  # noqa: DTZ001 - local times are naive here
        except CronSimError as problem:
            raise BadCron(f"cron expression {expression!r}: {problem}") from None
        except StopIteration:
            raise BadCron(f"cron expression {expression!r} is never due") from None

    @classmethod
    def of(
        cls,
        *,
        minute: Any,
        hour: Any,
        dayOfMonth: Any,
        month: Any,
        dayOfWeek: Any,
        zone: tzinfo | None = None,
    ) -> Cron:
        """From the fields as a configuration gives them."""
        given = {
            "minute": minute,
            "hour": hour,
            "dayOfMonth": dayOfMonth,
            "month": month,
            "dayOfWeek": dayOfWeek,
        }
        fields = []
        for name, value in given.items():
            try:
                fields.append(field(value, weekday=name == "dayOfWeek"))
            except BadCron as problem:
                raise BadCron(str(problem), name) from None
        return cls(" ".join(fields), zone)

    def after(self, instant: int) -> Iterator[int]:
        """The instants after this one, ascending, each once."""
        last = instant
        for local in CronSim(self.expression, self.local(instant)):
            due = self.instant(local)
            if due > last:
                yield due
                last = due

    def before(self, instant: int) -> Iterator[int]:
        """The instants at or before this one, descending, each once."""
        last = instant + 1
        # An hour that comes twice: local times later than now may have had their instant already.
        start = self.local(instant) + LONGEST_FOLD
        for local in CronSim(self.expression, start, reverse=True):
            due = self.instant(local)
            if due < last:
                yield due
                last = due

    def local(self, instant: int) -> datetime:
        """The local time at an instant, naive."""
        return _local(instant // US, self.zone)

    def instant(self, local: datetime) -> int:
        """The one instant of a naive local time."""
        first = _seconds(local, self.zone, fold=0)
        if _local(first, self.zone) == local:
            return first * US
        # Inside a gap: the offsets before and after it give times on its two sides.
        low, high = sorted((first, _seconds(local, self.zone, fold=1)))
        while high - low > 1:
            middle = (low + high) // 2
            if _local(middle, self.zone) < local:
                low = middle
            else:
                high = middle
        return high * US


def _local(seconds: int, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(seconds, zone).replace(tzinfo=None, fold=0)


def _seconds(local: datetime, zone: tzinfo | None, fold: int) -> int:
    return int(local.replace(tzinfo=zone, fold=fold).timestamp())


class DuePoints:
    """The due points of a schedule: those of its expression and those of the one that forces."""

    def __init__(self, cron: Cron, forced: Cron | None = None) -> None:
        self.cron = cron
        self.forced = forced

    def after(self, instant: int) -> Iterator[int]:
        """As `Cron.after`, of both."""
        if self.forced is None:
            return self.cron.after(instant)
        return _once(heapq.merge(self.cron.after(instant), self.forced.after(instant)))

    def before(self, instant: int) -> Iterator[int]:
        """As `Cron.before`, of both."""
        if self.forced is None:
            return self.cron.before(instant)
        return _once(heapq.merge(self.cron.before(instant), self.forced.before(instant), reverse=True))

    def is_forced(self, due: int) -> bool:
        """Whether this due point is one of the expression that forces."""
        return self.forced is not None and next(self.forced.before(due), None) == due

    @property
    def identity(self) -> str:
        """What makes this schedule another one."""
        zone = "" if self.cron.zone is None else str(self.cron.zone)
        parts = [self.cron.expression, self.forced.expression if self.forced else "", zone]
        return "|".join(parts)


def _once(instants: Iterable[int]) -> Iterator[int]:
    last: int | None = None
    for instant in instants:
        if instant != last:
            yield instant
            last = instant
