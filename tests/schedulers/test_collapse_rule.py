"""The rule for collapsing requests, by a table."""

from typing import Any

import pytest

from buildwright.builds.collapse import can_be_collapsed
from buildwright.store.units.collapse import WaitingRequest, WaitingSource


def source(**more: Any) -> WaitingSource:
    values: dict[str, Any] = {
        "codebase": "",
        "repository": "r",
        "project": "p",
        "branch": "main",
        "revision": "a",
        "patched": 0,
        "has_changes": 0,
    }
    return WaitingSource(**{**values, **more})


def request(number: int, *sources: WaitingSource, builderid: int = 1, **properties: Any) -> WaitingRequest:
    return WaitingRequest(
        id=number,
        buildsetid=number,
        builderid=builderid,
        priority=0,
        submitted_at=0,
        waited_for=False,
        properties=properties,
        sources=sources or (source(),),
    )


@pytest.mark.parametrize(
    ("newer", "older", "expected"),
    [
        (source(), source(), True),
        (source(revision="b"), source(), False),
        (source(revision="b", has_changes=1), source(has_changes=1), True),
        (source(has_changes=1), source(), False),
        (source(), source(has_changes=1), False),
        (source(branch="x"), source(), False),
        (source(repository="x"), source(), False),
        (source(project="x"), source(), False),
        (source(codebase="x"), source(), False),
        (source(patched=1), source(), False),
        (source(), source(patched=1), False),
    ],
)
def test_sources(newer: WaitingSource, older: WaitingSource, expected: bool) -> None:
    assert can_be_collapsed(request(2, newer), request(1, older)) is expected


def test_all_codebases_count() -> None:
    two = (source(), source(codebase="lib", revision="l1"))
    assert can_be_collapsed(request(2, *two), request(1, *two))
    assert not can_be_collapsed(request(2, *two), request(1, two[0]))
    assert not can_be_collapsed(request(2, two[0], source(codebase="lib", revision="l2")), request(1, *two))


def test_what_schedulers_give_counts_but_not_their_names() -> None:
    older = request(1, scheduler=("a", "Scheduler"), owner=("x", "Force"), flag=(1, "Scheduler"))
    newer = request(2, scheduler=("b", "Scheduler"), owner=("y", "Force"), flag=(1, "Scheduler"))
    assert can_be_collapsed(newer, older)
    assert not can_be_collapsed(request(2, flag=(2, "Scheduler")), older)


def test_only_lower_into_higher_of_the_same_builder() -> None:
    assert not can_be_collapsed(request(1), request(2))
    assert not can_be_collapsed(request(1), request(1))
    assert not can_be_collapsed(request(2, builderid=2), request(1))
