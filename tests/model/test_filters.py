"""Filters of changes: every criterion, and all of them together."""

import re
from typing import Any

import pytest

from buildwright.model.asking import Misbehaved
from buildwright.model.errors import ConfigErrors
from buildwright.model.filters import ChangeFilter, SourceStampFilter
from buildwright.model.properties import Properties
from buildwright.model.sources import Change


def change(**values: Any) -> Any:
    return Change(**{"branch": "main", "project": "p", "repository": "r", "codebase": "c", **values})


@pytest.mark.parametrize(
    ("criteria", "given", "passes"),
    [
        ({}, {}, True),
        ({"branch": "main"}, {}, True),
        ({"branch": ["dev", "main"]}, {}, True),
        ({"branch": "main"}, {"branch": None}, False),
        ({"branch": None}, {"branch": None}, True),
        ({"branch": None}, {}, False),
        ({"branch": [None, "main"]}, {}, True),
        ({"branch_not_eq": "dev"}, {}, True),
        ({"branch_not_eq": None}, {"branch": None}, False),
        ({"branch_not_eq": ["dev", "main"]}, {}, False),
        ({"branch_re": "ma"}, {}, True),
        ({"branch_re": "ain"}, {}, False),
        ({"branch_re": [re.compile("dev"), "ma.n$"]}, {}, True),
        ({"branch_re": ".*"}, {"branch": None}, False),
        ({"branch_not_re": ".*"}, {"branch": None}, True),
        ({"branch_not_re": "ma"}, {}, False),
        ({"branch_not_re": ["x", "y"]}, {}, True),
        ({"branch_fn": lambda branch: branch.startswith("m")}, {}, True),
        ({"category_fn": lambda category: category is None}, {}, True),
        ({"category": "x"}, {}, False),
        ({"category_re": ".*"}, {}, False),
        ({"project": "p", "repository": "r", "codebase": "c"}, {}, True),
        ({"project": "p", "repository": "other"}, {}, False),
        ({"filter_fn": lambda each: each.who == "ann"}, {"who": "ann"}, True),
        ({"filter_fn": lambda each: None}, {}, False),
        ({"filter_fn": lambda each: True, "branch": "dev"}, {}, False),
        ({"property_eq": {"a": "1"}}, {"properties": Properties(a="1")}, True),
        ({"property_eq": {"a": "1"}}, {}, False),
        ({"property_eq": {"a": ""}}, {}, True),
        ({"property_eq": {"a": ["1", "2"], "b": "3"}}, {"properties": Properties(a="2", b="3")}, True),
        ({"property_not_eq": {"a": "1"}}, {}, True),
        ({"property_not_eq": {"a": "1"}}, {"properties": Properties(a="1")}, False),
        ({"property_re": {"a": "^1"}}, {"properties": Properties(a="12")}, True),
        ({"property_re": {"a": "^1"}}, {"properties": Properties(a=12)}, False),
        ({"property_not_re": {"a": "^1"}}, {"properties": Properties(a="12")}, False),
    ],
)
def test_criteria(criteria: Any, given: Any, passes: Any) -> None:
    assert ChangeFilter(**criteria).filter_change(change(**given)) is passes


@pytest.mark.parametrize(
    ("criteria", "said"),
    [
        ({"branch_re": "("}, "no regular expression"),
        ({"branch_re": 3}, "not int 3"),
        ({"branch_fn": "x"}, "must be a function"),
        ({"filter_fn": "x"}, "must be a function"),
        ({"property_eq": "x"}, "must be a dict"),
    ],
)
def test_wrong_criteria(criteria: Any, said: Any) -> None:
    with pytest.raises(ConfigErrors, match=said):
        ChangeFilter(**criteria)


def test_a_scheduler_gives_branch_and_categories_or_a_filter() -> None:
    both = ChangeFilter.fromSchedulerConstructorArgs(branch="main", categories=["a", "b"])
    assert both.filter_change(change(category="b"))
    assert not both.filter_change(change())
    given = ChangeFilter(branch="dev")
    assert ChangeFilter.fromSchedulerConstructorArgs(given) is given
    assert ChangeFilter.fromSchedulerConstructorArgs().filter_change(change())
    with pytest.raises(ConfigErrors, match="not both"):
        ChangeFilter.fromSchedulerConstructorArgs(given, branch="x")


async def _asynchronous(_value: object) -> bool:
    return False


def test_a_function_that_is_async_is_refused() -> None:
    refused = "_fn must be a plain function, not async"
    with pytest.raises(ConfigErrors, match=refused):
        ChangeFilter(filter_fn=_asynchronous)
    with pytest.raises(ConfigErrors, match=refused):
        ChangeFilter(branch_fn=_asynchronous)
    with pytest.raises(ConfigErrors, match=refused):
        SourceStampFilter(filter_fn=_asynchronous)


def test_what_would_have_to_be_awaited_is_no_answer() -> None:
    """A coroutine would be true, always."""

    def plain(value: object) -> Any:
        return _asynchronous(value)

    for wanted in (ChangeFilter(filter_fn=plain), ChangeFilter(branch_fn=plain)):
        with pytest.raises(Misbehaved, match="must give True or False at once"):
            wanted.filter_change(change(branch="main"))
