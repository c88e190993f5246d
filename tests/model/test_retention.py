"""What is kept: the rule, its errors, and its judgement of one builder's builds."""

from datetime import UTC, datetime, timedelta

import pytest

from buildwright.model.errors import ConfigErrors
from buildwright.model.results import FAILURE, SUCCESS, WARNINGS
from buildwright.model.retention import STAYS, Finished, Retention, Verdict, Walk, default_retention
from buildwright.plugins import util
from buildwright.schedulers.janitor import JanitorConfigurator

DAY_SECONDS = 86_400
DAY = 86_400_000_000
NOW = 20_000 * DAY


def judged(rule: Retention, results: list[int], *, has_text: bool = True, as_of: int = NOW) -> list[Verdict]:
    """One build a day, the newest first, which ended just now."""
    walk = Walk(rule, as_of)
    builds = [
        Finished(100 - age, 100 - age, NOW - age * DAY, result, has_text, True)
        for age, result in enumerate(results)
    ]
    return [walk.judge(build) for build in builds]


def test_by_age_and_by_number_whatever_is_beyond_either_goes() -> None:
    rule = Retention(builds=timedelta(days=5), max_builds=4, max_logs=2, keep=0, keep_good=False)
    verdicts = judged(rule, [FAILURE] * 7)
    assert [goes for goes, *_ in verdicts] == [False] * 4 + [True] * 3
    assert [logs for _, logs, _ in verdicts] == [False, False, True, True, False, False, False]
    by_age = Retention(builds=timedelta(days=2), max_builds=4, keep=0, keep_good=False)
    assert [goes for goes, *_ in judged(by_age, [FAILURE] * 5)] == [False, False, True, True, True]


def test_the_newest_and_the_last_good_one_stay_whole() -> None:
    rule = Retention(builds=1, keep=2)
    verdicts = judged(rule, [FAILURE, FAILURE, FAILURE, WARNINGS, SUCCESS, FAILURE])
    assert [goes for goes, *_ in verdicts] == [False, False, True, False, True, True]
    assert judged(rule, [SUCCESS, FAILURE, FAILURE])[2][0]


def test_data_goes_by_its_own_age_and_expired_logs_dont_go_again() -> None:
    rule = Retention(build_data=timedelta(days=1), logs=timedelta(days=1), keep=0, keep_good=False)
    assert judged(rule, [SUCCESS, SUCCESS]) == [STAYS, Verdict(logs_go=True, data_goes=True)]
    assert judged(rule, [SUCCESS, SUCCESS], has_text=False)[1] == Verdict(data_goes=True)


def test_builders_have_rules_of_their_own() -> None:
    own, other = Retention(max_builds=3), Retention(max_builds=4)
    rule = Retention(logs=1.5, builders={"nightly-*": own, "nightly-b": other})
    assert rule.logs == 1_500_000
    assert rule.of("nightly-b") is own
    assert rule.of("commits") is rule
    assert "nightly-*" in rule.text


def test_the_default_keeps_all_but_the_logs_of_old_builds() -> None:
    assert default_retention().text == (
        "logs for 365 days; build data, builds, changes and the audit for ever; "
        "of each builder the newest 10 builds and the last good one whole, however old"
    )


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (Retention(), "logs, build data, builds, changes and the audit for ever"),
        (
            Retention(logs=DAY_SECONDS, max_logs=3, build_data=90, builds=9, max_changes=5, audit=7, keep=0),
            (
                "logs for 1 day, and only of the newest 3 builds of each builder; build data for 0:01:30; "
                "builds for 0:00:09; changes the newest 5; the audit for 0:00:07; "
                "of each builder the last good one whole, however old"
            ),
        ),
        (
            Retention(max_builds=9, keep=0, keep_good=False, builders={"n-*": Retention()}),
            (
                "builds the newest 9 of each builder; logs, build data, changes and the audit for ever; "
                "builders n-* have rules of their own"
            ),
        ),
    ],
)
def test_a_rule_is_said_in_words(rule: Retention, text: str) -> None:
    assert rule.text == text


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"logs": "90"}, "logs must be an age"),
        ({"builds": timedelta(0)}, "builds must be an age above 0"),
        ({"keep": -1}, "keep must not be negative"),
        ({"max_builds": 1.5}, "max_builds must be a number"),
        ({"builders": {"b": 3}}, "builders['b'] must be a util.Retention"),
        ({"builders": {"b": Retention(max_changes=3)}}, "can't have 'max_changes'"),
    ],
)
def test_what_is_wrong_is_said(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        Retention(**wrong)  # type: ignore[arg-type]
    assert said in str(caught.value)


def test_a_janitor_measures_ages_at_its_times() -> None:
    janitor = util.JanitorConfigurator(logHorizon=timedelta(days=7), hour=3, dayOfWeek=6, timezone=UTC)
    config: dict[str, object] = {}
    janitor.configure(config)
    rule = config["retention"]
    assert isinstance(rule, Retention)
    sunday = datetime(2026, 11, 22, 3, tzinfo=UTC)
    later = sunday + timedelta(days=4)
    assert rule.as_of(int(later.timestamp() * 1e6)) == sunday.timestamp() * 1e6
    walk = Walk(rule, rule.as_of(int(later.timestamp() * 1e6)))
    at = int((sunday - timedelta(days=6)).timestamp() * 1e6)
    assert walk.judge(Finished(2, 2, at, SUCCESS, True, True)) == STAYS
    assert walk.judge(Finished(1, 1, at - 2 * DAY, SUCCESS, True, True)) == Verdict(logs_go=True)


def test_a_janitor_beside_a_rule_is_an_error() -> None:
    with pytest.raises(ConfigErrors, match="remove one of them"):
        JanitorConfigurator(logHorizon=timedelta(days=7)).configure({"retention": Retention()})
