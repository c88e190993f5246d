"""Decisions of the schedulers that follow changes: pure, by tables and properties."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildwright.model.errors import ConfigErrors
from buildwright.model.filters import ChangeFilter
from buildwright.model.sources import Change
from buildwright.schedulers.basic import AnyBranchScheduler, SingleBranchScheduler
from buildwright.schedulers.decisions import Arrival, Inbox

S = 1_000_000


def change(number: int, **more: Any) -> Change:
    return Change(
        **{"number": number, "branch": "main", "revision": f"r{number}", "repository": "repo", **more}
    )


def arrival(number: int, age: float = 0, important: bool = True, **more: Any) -> Arrival:
    return Arrival(change(number, **more), important, int(age * S), 100 + number)


def single(timer: Any = None, **more: Any) -> SingleBranchScheduler:
    return SingleBranchScheduler("s", ["b"], timer, **{"branch": "main", **more})


def test_without_a_timer_each_important_change_starts_one() -> None:
    verdict = single().decide(Inbox([arrival(1), arrival(2, important=False), arrival(3)]), {}, 0)
    assert [(fire.cause, fire.stamps, [each.number for each in fire.changes]) for fire in verdict.fires] == [
        ("change:1", [101], [1]),
        ("change:3", [103], [3]),
    ]
    assert verdict.used_changes == {1, 2, 3}
    assert verdict.wait is None
    assert verdict.fires[0].reason == "The SingleBranchScheduler scheduler named 's' triggered this build"


@pytest.mark.parametrize(
    ("arrivals", "fired", "wait"),
    [
        ([], [], None),
        ([arrival(1, 59)], [], 1 * S),
        ([arrival(1, 60)], [1], None),
        ([arrival(1, 100), arrival(2, 10)], [], 50 * S),
        ([arrival(1, 100), arrival(2, 60)], [1, 2], None),
        ([arrival(1, 100, important=False)], [], None),
        ([arrival(1, 100, important=False), arrival(2, 60)], [1, 2], None),
        ([arrival(1, 100), arrival(2, 20, important=False)], [], 40 * S),
    ],
)
def test_the_tree_has_to_be_stable(arrivals: list[Arrival], fired: list[int], wait: int | None) -> None:
    verdict = single(60).decide(Inbox(arrivals), {}, 0)
    assert [each.number for fire in verdict.fires for each in fire.changes] == fired
    assert verdict.used_changes == set(fired)
    assert verdict.wait == wait


def test_any_branch_waits_for_each_branch_by_itself() -> None:
    scheduler = AnyBranchScheduler("s", ["b"], 60)
    verdict = scheduler.decide(
        Inbox(
            [
                arrival(1, 70, branch="x"),
                arrival(2, 30, branch="y"),
                arrival(3, 65, branch="x"),
                arrival(4, 90, branch="x", repository="other"),
            ]
        ),
        {},
        0,
    )
    assert [(fire.cause, [each.number for each in fire.changes]) for fire in verdict.fires] == [
        ("change:3", [1, 3]),
        ("change:4", [4]),
    ]
    assert verdict.wait == 30 * S


def test_a_disabled_one_decides_nothing() -> None:
    assert not single().decide(Inbox([arrival(1)]), {}, 0, enabled=False).fires
    assert not single().decide(Inbox([arrival(1)]), {}, 0, enabled=False).used_changes


def test_codebases_without_a_change_get_their_defaults() -> None:
    scheduler = single(codebases={"app": {}, "lib": {"repository": "l", "branch": "stable"}})
    [fire] = scheduler.decide(Inbox([arrival(1, codebase="app")]), {}, 0).fires
    assert fire.stamps == [
        101,
        {"codebase": "lib", "repository": "l", "project": "", "branch": "stable", "revision": None},
    ]


def test_absolute_source_stamps_remember_what_was_seen() -> None:
    scheduler = single(codebases=["app", "lib"], createAbsoluteSourceStamps=True)
    first = scheduler.decide(Inbox([arrival(1, codebase="lib", important=False)]), {}, 0)
    assert not first.fires
    second = scheduler.decide(Inbox([arrival(2, codebase="app")]), first.state, 0)
    [fire] = second.fires
    assert fire.stamps[0] == 102
    lib = fire.stamps[1]
    assert not isinstance(lib, int)
    assert (lib["repository"], lib["branch"], lib["revision"]) == ("repo", "main", "r1")
    # A change that comes late doesn't turn the memory back.
    third = scheduler.decide(Inbox([arrival(0, codebase="app", important=False)]), second.state, 0)
    assert third.state["lastCodebases"]["app"]["revision"] == "r2"


def test_filters_and_importance() -> None:
    asked: list[int | None] = []

    def important(each: Change) -> bool:
        asked.append(each.number)
        return "src" in each.files

    scheduler = SingleBranchScheduler(
        "s",
        ["b"],
        change_filter=ChangeFilter(branch_re="rel/"),
        fileIsImportant=important,
        onlyImportant=True,
    )
    assert scheduler.accepts(change(1, branch="rel/1", files=["src"]))
    assert not scheduler.accepts(change(2, branch="rel/1", files=["doc"]))
    assert not scheduler.accepts(change(3, branch="main", files=["src"]))
    assert not scheduler.accepts(change(4, branch="rel/1", files=["src"], codebase="other"))
    assert asked == [1, 2]
    by_category = single(categories=["a", "b"])
    assert by_category.accepts(change(1, category="b"))
    assert not by_category.accepts(change(1, category=None))
    assert single(branch=None).accepts(change(1, branch=None))
    assert not single(branch=None).accepts(change(1))
    assert AnyBranchScheduler("s", ["b"], branches=["a", "b"]).accepts(change(1, branch="a"))
    assert not AnyBranchScheduler("s", ["b"], branches=["a", "b"]).accepts(change(1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SingleBranchScheduler("s", ["b"]), "needs a branch or a change_filter"),
        (lambda: single(-1), "treeStableTimer must not be negative"),
        (lambda: single("60"), "treeStableTimer must be a number of seconds, not str '60'"),
        (lambda: single(fileIsImportant=3), "fileIsImportant must be a function"),
        (lambda: single(change_filter=3, branch="x"), "change_filter must be a ChangeFilter"),
        (lambda: single(properties=[1]), "properties must be a dict"),
        (lambda: single(codebases={"a": {"rev": 1}}), "codebase 'a' has an unknown key 'rev'"),
        (lambda: single(codebases="a"), "codebases must be a dict of dicts or a list of names"),
        (lambda: single(priority="high"), "priority must be a number or a function"),
        (lambda: single(reason="%(nam)s"), "reason '%(nam)s' can't be filled in"),
        (lambda: AnyBranchScheduler("s", "b"), "builderNames must be a list of names"),
        (lambda: AnyBranchScheduler("s", [1]), "builderNames must be names of builders, not int 1"),
        (lambda: AnyBranchScheduler("", ["b"]), "name must not be empty"),
        (lambda: AnyBranchScheduler("s", [], createAbsoluteSourceStamps=True), "absolute source stamps"),
    ],
)
def test_mistakes_are_named(make: Any, message: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        make()
    assert message in str(caught.value)


arrivals_of_two_branches = st.lists(
    st.tuples(st.integers(0, 120), st.booleans(), st.sampled_from(["x", "y"])), max_size=12
)


@given(arrivals_of_two_branches, st.integers(1, 60))
def test_a_change_is_used_exactly_when_its_branch_is_stable(
    given_arrivals: list[tuple[int, bool, str]], timer: int
) -> None:
    arrivals = [
        arrival(number, age, important, branch=branch)
        for number, (age, important, branch) in enumerate(given_arrivals, 1)
    ]
    verdict = AnyBranchScheduler("s", ["b"], timer).decide(Inbox(arrivals), {}, 0)
    for branch in "xy":
        mine = [each for each in arrivals if each.change.branch == branch]
        ready = any(each.important for each in mine) and all(each.age >= timer * S for each in mine)
        assert {each.id for each in mine} & verdict.used_changes == (
            {each.id for each in mine} if ready else set()
        )
    fired = [each.number for fire in verdict.fires for each in fire.changes]
    assert set(fired) == verdict.used_changes
    assert len(fired) == len(verdict.used_changes)
