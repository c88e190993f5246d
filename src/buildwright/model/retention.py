"""What of the past is kept, and for how long: ``c['retention'] = util.Retention(...)``.

These can go, by age or by number: the text of logs (the build then says when it expired), the data that steps
have attached to builds, whole builds (with their steps, logs, results and request; they are then a 404), and
changes. :class:`Walk` decides for one
builder, from its newest finished build back; it is pure, so what a dry run tells is what would happen.

A build stays whole while it is one of the builder's ``keep`` newest, or its last good one. What something
open refers to is kept by whoever asks: that is known by the store.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, NamedTuple, Protocol

from buildwright.model.arguments import Checked
from buildwright.model.errors import error, expect, location, shown
from buildwright.model.results import SUCCESS, WARNINGS

KEEP = 10
"""How many of a builder's newest builds stay whole by default, however old they are."""
_GENERAL = ("changes", "max_changes", "audit", "builders")


class Times(Protocol):
    """Instants at which the clock that ages are measured by moves on."""

    def before(self, instant: int) -> Iterator[int]:
        """Those at or before an instant, descending."""
        ...


class Finished(NamedTuple):
    """A finished build, as far as it matters here."""

    id: int
    number: int
    complete_at: int
    results: int
    has_text: bool  # a log of it has not expired
    has_data: bool  # it has build data


class Verdict(NamedTuple):
    """What becomes of a build: of all of it, else of its logs and its data."""

    goes: bool = False
    logs_go: bool = False
    data_goes: bool = False

    @property
    def stays(self) -> bool:
        return not any(self)


STAYS = Verdict()


class Retention(metaclass=Checked):
    """What is kept.

    - ``logs``, ``build_data``, ``builds``, ``changes``, ``audit`` (who asked for what): an age, a
      ``timedelta`` or seconds; None keeps them for ever.
    - ``max_logs``, ``max_builds``: for so many of each builder's newest builds. ``max_changes``: so many.
    - ``keep``: so many of each builder's newest builds stay whole, however old; ``keep_good``: so does the
      newest that succeeded (warnings included).
    - ``builders``: name or pattern (as in ``'nightly-*'``) -> a Retention of its own; the first that fits.

    Where age and number are both given, what is beyond either goes.

    Example::

        from datetime import timedelta

        c["retention"] = util.Retention(
            logs=timedelta(days=60),
            builds=timedelta(days=365),
            keep=20,
            builders={"nightly-*": util.Retention(max_builds=30)},
        )
    """

    def __init__(
        self,
        *,
        logs: timedelta | float | None = None,
        build_data: timedelta | float | None = None,
        builds: timedelta | float | None = None,
        changes: timedelta | float | None = None,
        audit: timedelta | float | None = None,
        max_logs: int | None = None,
        max_builds: int | None = None,
        max_changes: int | None = None,
        keep: int = KEEP,
        keep_good: bool = True,
        builders: Mapping[str, Retention] | None = None,
    ) -> None:
        self.where = location(self)
        self.logs = _age(logs, "logs")
        self.build_data = _age(build_data, "build_data")
        self.builds = _age(builds, "builds")
        self.changes = _age(changes, "changes")
        self.audit = _age(audit, "audit")
        self.max_logs = _number(max_logs, "max_logs")
        self.max_builds = _number(max_builds, "max_builds")
        self.max_changes = _number(max_changes, "max_changes")
        self.keep = _number(keep, "keep") or 0
        self.keep_good = bool(keep_good)
        self.builders = self._inner(builders)
        self.times: Times | None = None

    def _inner(self, given: Any) -> dict[str, Retention]:
        if given is None or not expect(
            given, dict, "Retention: builders", "a dict of name to util.Retention"
        ):
            return {}
        for name, each in given.items():
            if not isinstance(each, Retention):
                error(f"Retention: builders[{name!r}] must be a util.Retention, not {shown(each)}")
                continue
            for key in _GENERAL:
                if getattr(each, key):
                    error(
                        f"Retention: builders[{name!r}] can't have {key!r}: it isn't of one builder",
                        "give it to the outer Retention",
                        each.where,
                    )
        return {name: each for name, each in given.items() if isinstance(each, Retention)}

    def of(self, builder: str) -> Retention:
        """What holds for a builder."""
        for pattern, inner in self.builders.items():
            if fnmatch.fnmatchcase(builder, pattern):
                return inner
        return self

    def as_of(self, now_us: int) -> int:
        """The instant that ages are measured from: now, or the last of the times that were given."""
        if self.times is None:
            return now_us
        return next(self.times.before(now_us), 0)

    @property
    def text(self) -> str:
        """What is kept, in one line for people."""
        limits = {
            "logs": _limits(self.logs, self.max_logs, "of the newest {} builds of each builder"),
            "build data": _limits(self.build_data, None, ""),
            "builds": _limits(self.builds, self.max_builds, "the newest {} of each builder"),
            "changes": _limits(self.changes, self.max_changes, "the newest {}"),
            "the audit": _limits(self.audit, None, ""),
        }
        said = [f"{name} {limit}" for name, limit in limits.items() if limit]
        if unlimited := [name for name, limit in limits.items() if not limit]:
            *first, last = unlimited
            said.append(f"{', '.join(first)} and {last} for ever" if first else f"{last} for ever")
        whole = [f"the newest {self.keep} builds"] if self.keep else []
        whole += ["the last good one"] if self.keep_good else []
        if whole and (limits["logs"] or limits["build data"] or limits["builds"]):
            said.append(f"of each builder {' and '.join(whole)} whole, however old")
        if self.builders:
            said.append(f"builders {', '.join(self.builders)} have rules of their own")
        return "; ".join(said)


DEFAULT_DAYS = 365


def default_retention() -> Retention:
    """What holds where the configuration says nothing: logs of a year, all builds and changes."""
    return Retention(logs=timedelta(days=DEFAULT_DAYS))


class Walk:
    """Judges one builder's finished builds, which must come newest first."""

    def __init__(self, rule: Retention, as_of_us: int) -> None:
        self._rule = rule
        self._as_of = as_of_us
        self._seen = 0
        self._good_seen = False

    def judge(self, build: Finished) -> Verdict:
        """What becomes of the next build."""
        rank = self._seen
        self._seen += 1
        is_good = build.results in (SUCCESS, WARNINGS)
        is_last_good = is_good and not self._good_seen
        self._good_seen = self._good_seen or is_good
        rule = self._rule
        if rank < rule.keep or (rule.keep_good and is_last_good) or build.complete_at > self._as_of:
            return STAYS
        if self._is_beyond(build, rank, rule.builds, rule.max_builds):
            return Verdict(goes=True)
        return Verdict(
            logs_go=build.has_text and self._is_beyond(build, rank, rule.logs, rule.max_logs),
            data_goes=build.has_data and self._is_beyond(build, rank, rule.build_data, None),
        )

    def _is_beyond(self, build: Finished, rank: int, age_us: int | None, number: int | None) -> bool:
        return (age_us is not None and build.complete_at <= self._as_of - age_us) or (
            number is not None and rank >= number
        )


def _age(given: Any, name: str) -> int | None:
    """Microseconds, or None."""
    if given is None:
        return None
    what = f"Retention: {name}"
    if not expect(given, (timedelta, int, float), what, "an age, as in timedelta(days=90)"):
        return None
    age = given if isinstance(given, timedelta) else timedelta(seconds=given)
    if age <= timedelta():
        error(f"{what} must be an age above 0", "leave it out to keep them for ever")
        return None
    return int(age.total_seconds() * 1_000_000)


def _number(given: Any, name: str) -> int | None:
    what = f"Retention: {name}"
    if given is None or not expect(given, int, what, "a number"):
        return None
    if given < 0:
        error(f"{what} must not be negative, and is {given}")
        return None
    return int(given)


def _limits(age_us: int | None, number: int | None, newest: str) -> str:
    """How long something is kept, and how much of it; empty: all, for ever."""
    limits = []
    if age_us is not None:
        limits.append(f"for {str(timedelta(microseconds=age_us)).removesuffix(', 0:00:00')}")
    if number is not None:
        limits.append(newest.format(number))
    return ", and only ".join(limits)
