"""Decisions of the schedulers that follow the clock: each due point is settled exactly once (P2)."""

from datetime import datetime
from itertools import takewhile
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildwright.model.errors import ConfigErrors
from buildwright.model.sources import Change
from buildwright.schedulers.decisions import Arrival, Inbox, State, Verdict
from buildwright.schedulers.timed import Nightly, Periodic, Timed

S = 1_000_000
HOUR = 3600 * S
DAY = 24 * HOUR
BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()) * S


def nightly(**more: Any) -> Nightly:
    return Nightly("n", ["b"], **{"hour": 3, "timezone": "Europe/Berlin", **more})


def arrival(number: int, important: bool = True, **more: Any) -> Arrival:
    return Arrival(Change(**{"number": number, "branch": "main", **more}), important, 0, 100 + number)


class Ledger:
    """Decides as a runner does, and keeps what was fired and skipped."""

    def __init__(self, scheduler: Timed) -> None:
        self.scheduler = scheduler
        self.state: State = {}
        self.fired: list[int] = []
        self.skipped: list[tuple[int, int, str]] = []
        self.causes: set[str] = set()

    def look(self, now_us: int, *arrivals: Arrival, enabled: bool = True) -> Verdict:
        while True:
            verdict = self.scheduler.decide(Inbox(arrivals), self.state, now_us, enabled=enabled)
            self.state = verdict.state
            for fire in verdict.fires:
                if fire.cause not in self.causes:
                    self.fired.append(int(fire.cause.removeprefix("due:")))
                self.causes.add(fire.cause)
            for skip in verdict.skips:
                first, _, last = skip.cause.removeprefix("due:").partition("-")
                self.skipped.append((int(first), int(last or first), skip.outcome))
            if not verdict.more:
                return verdict

    def times_settled(self, due: int) -> int:
        return self.fired.count(due) + sum(first <= due <= last for first, last, _ in self.skipped)


def test_a_nightly_fires_at_its_times_from_its_activation_on() -> None:
    ledger = Ledger(nightly())
    verdict = ledger.look(at("2026-06-01T12:00"))
    assert not ledger.fired
    assert verdict.wait == 15 * HOUR
    assert not ledger.look(at("2026-06-02T02:59:59")).fires
    verdict = ledger.look(at("2026-06-02T03:00"))
    assert ledger.fired == [at("2026-06-02T03:00")]
    assert verdict.fires[0].stamps == [
        {"codebase": "", "repository": "", "project": "", "branch": None, "revision": None}
    ]
    assert verdict.fires[0].reason == "The Nightly scheduler named 'n' triggered this build"
    assert verdict.wait == DAY
    assert not ledger.look(at("2026-06-02T03:00:01")).fires


@pytest.mark.parametrize(
    ("catchup", "fired", "skipped"),
    [
        ("last", ["2026-06-04T03:00"], [("2026-06-02T03:00", "2026-06-03T03:00")]),
        ("all", ["2026-06-02T03:00", "2026-06-03T03:00", "2026-06-04T03:00"], []),
        ("none", [], [("2026-06-02T03:00", "2026-06-04T03:00")]),
    ],
)
def test_missed_due_points(catchup: str, fired: list[str], skipped: list[tuple[str, str]]) -> None:
    ledger = Ledger(nightly(catchup=catchup))
    ledger.look(at("2026-06-01T12:00"))
    ledger.look(at("2026-06-04T09:00"))
    assert ledger.fired == [at(each) for each in fired]
    assert [(first, last) for first, last, _ in ledger.skipped] == [(at(a), at(b)) for a, b in skipped]
    ledger.look(at("2026-06-05T03:00:30"))
    assert ledger.fired[-1] == at("2026-06-05T03:00")


def test_a_year_of_missed_minutes_is_settled_at_once() -> None:
    ledger = Ledger(nightly(minute="*", hour="*"))
    ledger.look(at("2025-06-01T12:00"))
    ledger.look(at("2026-06-01T12:00"))
    assert ledger.fired == [at("2026-06-01T12:00")]
    assert ledger.skipped == [(at("2025-06-01T12:01"), at("2026-06-01T11:59"), "skipped: missed")]


def test_other_fields_are_another_schedule() -> None:
    ledger = Ledger(nightly(month=1))
    ledger.look(at("2026-02-01T12:00"))
    ledger.scheduler = nightly(hour="*")
    assert not ledger.look(at("2026-06-01T12:30")).fires
    ledger.look(at("2026-06-01T13:00"))
    assert ledger.fired == [at("2026-06-01T13:00")]


def test_while_disabled_due_points_pass() -> None:
    ledger = Ledger(nightly())
    ledger.look(at("2026-06-01T12:00"))
    ledger.look(at("2026-06-02T03:00"), enabled=False)
    assert ledger.skipped == [(at("2026-06-02T03:00"), at("2026-06-02T03:00"), "skipped: disabled")]
    ledger.look(at("2026-06-02T12:00"))
    assert not ledger.fired


def test_a_clock_that_had_been_far_ahead_does_not_stop_the_schedule() -> None:
    ledger = Ledger(nightly())
    ledger.look(at("2026-06-01T12:00"))
    ledger.look(at("2031-06-01T12:00"))
    ledger.look(at("2026-06-01T12:01"))
    ledger.look(at("2026-06-02T03:00"))
    assert ledger.fired == [at("2031-06-01T03:00"), at("2026-06-02T03:00")]


def test_only_if_changed() -> None:
    ledger = Ledger(nightly(onlyIfChanged=True))
    assert ledger.scheduler.wishes.changes
    ledger.look(at("2026-06-01T12:00"))
    first = ledger.look(at("2026-06-02T03:00"))
    assert len(first.fires) == 1  # there is no previous one
    ledger.look(at("2026-06-03T03:00"), arrival(1, important=False))
    assert ledger.skipped[-1][2] == "skipped: no important change"
    third = ledger.look(at("2026-06-04T03:00"), arrival(1, important=False), arrival(2))
    [fire] = third.fires
    assert fire.stamps == [102]
    assert [each.number for each in fire.changes] == [1, 2]
    assert fire.used_changes == {1, 2}
    assert not third.used_changes


def test_force_at_builds_without_a_change() -> None:
    ledger = Ledger(nightly(hour="*", onlyIfChanged=True, force_at_hour=3))
    ledger.look(at("2026-06-01T00:30"))
    for hour in range(1, 7):
        ledger.look(at(f"2026-06-01T0{hour}:00"))
    assert ledger.fired == [at("2026-06-01T01:00"), at("2026-06-01T03:00")]


def test_a_branch_is_what_is_built_and_what_is_filtered_for() -> None:
    scheduler = nightly(branch="rel", onlyIfChanged=True)
    assert not scheduler.accepts(Change(branch="main"))
    assert scheduler.default_stamp("")["branch"] == "rel"


def test_without_only_if_changed_changes_tell_revisions_only() -> None:
    assert not nightly().wishes.changes
    scheduler = nightly(createAbsoluteSourceStamps=True, codebases=["a"])
    assert scheduler.wishes.changes
    ledger = Ledger(scheduler)
    verdict = ledger.look(at("2026-06-01T12:00"), arrival(1, codebase="a", revision="x"))
    assert verdict.used_changes == {1}
    [fire] = ledger.look(at("2026-06-02T03:00")).fires
    assert [each["revision"] for each in fire.stamps if not isinstance(each, int)] == ["x"]


def test_a_periodic_begins_at_once() -> None:
    ledger = Ledger(Periodic("p", ["b"], 60))
    start = at("2026-06-01T12:00")
    assert ledger.look(start).wait == 60 * S
    ledger.look(start + 59 * S)
    ledger.look(start + 61 * S)
    ledger.look(start + 120 * S)
    assert ledger.fired == [start, start + 60 * S, start + 120 * S]
    ledger.look(start + 400 * S)
    assert ledger.fired[-1] == start + 360 * S
    assert ledger.skipped == [(start + 180 * S, start + 300 * S, "skipped: missed")]


def test_a_periodic_goes_on_when_the_clock_was_set_back() -> None:
    ledger = Ledger(Periodic("p", ["b"], 60))
    start = at("2026-06-01T12:00")
    ledger.look(start)
    ledger.look(start - HOUR)
    ledger.look(start - HOUR + 60 * S)
    assert ledger.fired == [start, start - HOUR + 60 * S]


def test_a_periodic_with_another_length_is_due_by_that() -> None:
    ledger = Ledger(Periodic("p", ["b"], 86_400, catchup="all"))
    start = at("2026-06-01T12:00")
    ledger.look(start)
    ledger.scheduler = Periodic("p", ["b"], 60, catchup="all")
    ledger.look(start + HOUR)
    assert ledger.fired == [start, start + HOUR]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nightly(hour=25), "Bad hour"),
        (lambda: nightly(minute=None), "None is neither a number"),
        (lambda: nightly(timezone="Europe/Atlantis"), "there is no time zone 'Europe/Atlantis'"),
        (lambda: nightly(catchup="some"), "catchup must be 'last', 'all' or 'none'"),
        (lambda: Periodic("p", ["b"], 0), "periodicBuildTimer must be at least a second"),
        (lambda: Periodic("p", ["b"], "1h"), "periodicBuildTimer must be a number of seconds"),  # type: ignore[arg-type]
    ],
)
def test_mistakes_are_named(make: Any, message: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        make()
    assert message in str(caught.value)


SCHEDULES: list[dict[str, Any]] = [
    {"hour": 2, "minute": 30},
    {"hour": "*"},
    {"hour": "*", "minute": "*/20"},
    {"hour": [1, 2, 3], "minute": [0, 59]},
    {"hour": 2, "minute": 30, "force_at_hour": 3},
]
# What a master does: it looks after a while, or is down for long, or its clock jumps.
steps = st.one_of(
    st.tuples(st.just("look"), st.integers(1, 7200)),
    st.tuples(st.just("away"), st.integers(HOUR // S, 2 * DAY // S)),
    st.tuples(st.just("set"), st.integers(-HOUR // S, HOUR // S)),
)


@given(
    st.sampled_from(SCHEDULES),
    st.sampled_from(["last", "all", "none"]),
    st.sampled_from(["2026-03-22T10:00", "2026-10-18T10:00", "2026-06-01T10:00"]),
    st.lists(steps, max_size=60),
)
def test_over_a_fortnight_every_due_point_is_settled_once(
    fields: dict[str, Any], catchup: str, start: str, walk: list[tuple[str, int]]
) -> None:
    """P2, over a change of summer time, with a master that is away and a clock that is set to and fro."""
    ledger = Ledger(nightly(**fields, catchup=catchup))
    now = activation = latest = at(start)
    ledger.look(now)
    for _, seconds in [*walk, ("away", 0)]:
        now += seconds * S
        ledger.look(now)
        latest = max(latest, now)
        if latest > activation + 14 * DAY:
            break
    due_points = list(takewhile(lambda due: due <= latest, nightly(**fields).due_points.after(activation)))
    assert [ledger.times_settled(due) for due in due_points] == [1] * len(due_points)
    assert set(ledger.fired) <= set(due_points)
    if catchup == "all":
        assert ledger.fired == due_points
