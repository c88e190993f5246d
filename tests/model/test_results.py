"""Results: their numbers, the order of badness, and what a step's result means for its build."""

import itertools
from typing import Any

import pytest

from buildwright.model.results import (
    CANCELLED,
    EXCEPTION,
    FAILURE,
    RETRY,
    SKIPPED,
    SUCCESS,
    WARNINGS,
    Flags,
    Results,
    contribution,
    status_to_string,
    worst_of,
    worst_status,
)

WORST_FIRST = [CANCELLED, RETRY, EXCEPTION, FAILURE, WARNINGS, SUCCESS, SKIPPED]


def test_the_numbers_are_those_of_the_data_api() -> None:
    numbers = [SUCCESS, WARNINGS, FAILURE, SKIPPED, EXCEPTION, RETRY, CANCELLED]
    assert numbers == list(range(7))
    assert [Results[number] for number in numbers] == [
        "success",
        "warnings",
        "failure",
        "skipped",
        "exception",
        "retry",
        "cancelled",
    ]


@pytest.mark.parametrize(("a", "b"), list(itertools.product(range(7), repeat=2)))
def test_worst_status_follows_the_order_of_badness(a: Any, b: Any) -> None:
    assert worst_status(a, b) == min(a, b, key=WORST_FIRST.index)


def test_skipped_is_neutral() -> None:
    assert worst_of([SKIPPED, SUCCESS]) == SUCCESS
    assert worst_of([SKIPPED, SKIPPED], start=SKIPPED) == SKIPPED
    assert worst_of([]) == SUCCESS


FLAGS = {
    "default": Flags(),
    "flunkOnWarnings": Flags(flunkOnWarnings=True),
    "warnOnWarnings": Flags(warnOnWarnings=True),
    "both for warnings": Flags(flunkOnWarnings=True, warnOnWarnings=True),
    "not flunkOnFailure": Flags(flunkOnFailure=False),
    "warnOnFailure": Flags(flunkOnFailure=False, warnOnFailure=True),
    "haltOnFailure": Flags(haltOnFailure=True),
    "halt but not flunk": Flags(haltOnFailure=True, flunkOnFailure=False),
}


@pytest.mark.parametrize(
    ("result", "flags", "weight", "terminates"),
    [
        (SUCCESS, "default", SUCCESS, False),
        (SUCCESS, "haltOnFailure", SUCCESS, False),
        (SKIPPED, "default", SKIPPED, False),
        (WARNINGS, "default", SUCCESS, False),
        (WARNINGS, "warnOnWarnings", WARNINGS, False),
        (WARNINGS, "flunkOnWarnings", FAILURE, False),
        (WARNINGS, "both for warnings", FAILURE, False),
        (WARNINGS, "haltOnFailure", SUCCESS, False),
        (FAILURE, "default", FAILURE, False),
        (FAILURE, "not flunkOnFailure", SUCCESS, False),
        (FAILURE, "warnOnFailure", WARNINGS, False),
        (FAILURE, "haltOnFailure", FAILURE, True),
        (FAILURE, "halt but not flunk", SUCCESS, True),
        (EXCEPTION, "default", EXCEPTION, True),
        (RETRY, "default", RETRY, True),
        (CANCELLED, "not flunkOnFailure", CANCELLED, True),
    ],
)
def test_what_a_step_contributes(result: Any, flags: Any, weight: Any, terminates: Any) -> None:
    assert contribution(result, FLAGS[flags]) == (weight, terminates)


def test_what_is_no_result_is_refused() -> None:
    with pytest.raises(ValueError, match="is no result of a step"):
        contribution(7, Flags())


@pytest.mark.parametrize(
    ("result", "text"), [(0, "success"), (6, "cancelled"), (None, "not finished"), (9, "invalid result 9")]
)
def test_names(result: Any, text: Any) -> None:
    assert status_to_string(result) == text
