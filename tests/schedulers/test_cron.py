"""Cron expressions in local time: fields, gaps and folds."""

from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildwright.schedulers.cron import US, BadCron, Cron, DuePoints, field

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, fold: int = 0) -> int:
    """The instant of a local time in Berlin."""
    return int(datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).timestamp()) * US


@pytest.mark.parametrize(
    ("value", "weekday", "expected"),
    [
        (5, False, "5"),
        ("*/15", False, "*/15"),
        ([1, 2], False, "1,2"),
        (range(0, 6, 2), False, "0,2,4"),
        (0, True, "1"),  # 0 is Monday, which cron calls 1
        (4, True, "5"),
        (6, True, "0"),  # Sunday
        ([0, 6], True, "1,0"),
        ("0", True, "1"),
        ("5,sun", True, "6,sun"),
        ("mon-fri", True, "mon-fri"),
        ("L5", True, "5L"),
        ("1#1", True, "1#1"),
        ("*", True, "*"),
    ],
)
def test_fields(value: Any, weekday: bool, expected: str) -> None:
    assert field(value, weekday=weekday) == expected


@pytest.mark.parametrize(
    ("weekday", "days"),
    [(day, [day]) for day in range(7)]
    + [("mon-fri", [0, 1, 2, 3, 4]), ([5, 6], [5, 6]), ("L1", [0]), ("1#1", [0])],
)
def test_days_of_the_week(weekday: Any, days: list[int]) -> None:
    cron = Cron.of(minute=0, hour=12, dayOfMonth="*", month="*", dayOfWeek=weekday, zone=BERLIN)
    found = {cron.local(due).weekday() for due in islice(cron.after(at("2026-01-01T00:00")), 14)}
    assert found == set(days)


@pytest.mark.parametrize("value", [None, True, 3.5, [], object()])
def test_what_is_no_field(value: Any) -> None:
    with pytest.raises(BadCron):
        field(value)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("0 25 * * *", "Bad hour"),
        ("x 1 * * *", "Bad minute"),
        ("0 0 30 2 *", "Bad day"),
        ("0 0 1 * fri-mon", "Bad day-of-week"),
    ],
)
def test_what_is_no_expression(expression: str, message: str) -> None:
    with pytest.raises(BadCron, match=message):
        Cron(expression)


def local(cron: Cron, start: str, end: str) -> list[str]:
    """Due points between two local times as UTC offsets tell them apart."""
    found = []
    for due in cron.after(at(start)):
        if due > at(end):
            break
        found.append(datetime.fromtimestamp(due // US, BERLIN).strftime("%d %H:%M %z"))
    return found


def test_a_local_time_that_does_not_exist_is_due_at_the_gaps_end() -> None:
    """P2: on 29 March 2026 the clocks go from 02:00 to 03:00."""
    nightly = Cron("30 2 * * *", BERLIN)
    assert local(nightly, "2026-03-28T00:00", "2026-03-30T23:00") == [
        "28 02:30 +0100",
        "29 03:00 +0200",
        "30 02:30 +0200",
    ]
    several = Cron("*/20 2,3 * * *", BERLIN)
    assert local(several, "2026-03-29T00:00", "2026-03-29T23:00") == [
        "29 03:00 +0200",
        "29 03:20 +0200",
        "29 03:40 +0200",
    ]


def test_a_local_time_that_comes_twice_is_due_once() -> None:
    """P2: on 25 October 2026 the hour from 02:00 to 03:00 comes twice."""
    nightly = Cron("30 2 * * *", BERLIN)
    assert local(nightly, "2026-10-24T00:00", "2026-10-26T23:00") == [
        "24 02:30 +0200",
        "25 02:30 +0200",
        "26 02:30 +0100",
    ]
    hourly = Cron("0 * * * *", BERLIN)
    assert local(hourly, "2026-10-25T01:30", "2026-10-25T04:30") == [
        "25 02:00 +0200",
        "25 03:00 +0100",
        "25 04:00 +0100",
    ]


instants = st.integers(at("2026-03-20T00:00"), at("2026-11-05T00:00"))
expressions = st.sampled_from(
    ["30 2 * * *", "0 * * * *", "*/7 * * * *", "0,30 1-3 * * *", "59 23 * * 0", "15 2 29 3 *", "0 0 1 * *"]
)


@given(expressions, instants)
def test_forwards_and_backwards_agree(expression: str, instant: int) -> None:
    cron = Cron(expression, BERLIN)
    coming = list(islice(cron.after(instant), 5))
    assert coming == sorted(set(coming))
    assert all(due > instant for due in coming)
    assert list(islice(cron.before(coming[-1]), 5)) == coming[::-1]
    passed = next(cron.before(instant))
    assert passed <= instant
    assert next(cron.after(passed)) == coming[0]


@given(instants)
def test_every_local_minute_has_one_instant(instant: int) -> None:
    cron = Cron("* * * * *", BERLIN)
    minute = cron.local(instant).replace(second=0)
    first = cron.instant(minute)
    assert cron.local(first) == minute
    assert first <= instant < first + 2 * 3600 * US


def test_the_machines_own_zone_is_used_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    cron = Cron("0 12 * * *")
    due = next(cron.after(at("2026-01-01T00:00")))
    assert datetime.fromtimestamp(due // US).hour == 12  # noqa: DTZ006 - the machine's zone is what is meant


def test_two_expressions_are_one_schedule() -> None:
    both = DuePoints(Cron("0 */6 * * *", BERLIN), Cron("0 12 * * *", BERLIN))
    start = at("2026-01-01T01:00")
    found = list(islice(both.after(start), 5))
    assert [both.is_forced(due) for due in found] == [False, True, False, False, False]
    assert list(islice(both.before(found[-1]), 5)) == found[::-1]
    extra = DuePoints(Cron("0 3 * * *", BERLIN), Cron("0 4 * * *", BERLIN))
    assert [extra.is_forced(due) for due in islice(extra.after(start), 4)] == [False, True, False, True]
    assert found[0] == start + int(timedelta(hours=5).total_seconds()) * US
