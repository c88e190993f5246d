"""Filters of changes and of source stamps: which of them a scheduler or a canceller looks at.

Everything that is given must match. ``x`` compares with a value or any of a list, ``x_not_eq`` with none of
them, ``x_re`` matches one regular expression (from the start) of one or a list, ``x_not_re`` none of them,
``x_fn`` asks a function. ``x`` is project, repository, branch, category or codebase; ``property_eq`` and its
kin take a dict of property name to values. ``filter_fn`` asks about the whole change.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from buildwright.model.arguments import Checked
from buildwright.model.asking import Misbehaved
from buildwright.model.errors import error, expect_plain_function, shown
from buildwright.model.sources import Change


class Unset:
    """An argument that was not given, where None has a meaning of its own: the branch of a trunk."""

    def __repr__(self) -> str:
        return "<unset>"

    def __bool__(self) -> bool:
        return False


UNSET: Any = Unset()

_Check = Callable[[Any], bool]


def _values(given: Any) -> tuple[Any, ...]:
    return tuple(given) if isinstance(given, (list, tuple, set, frozenset)) else (given,)


def expect_texts(given: Any, what: str) -> bool:
    """Report what is neither text, None nor a list of these, and whether it is."""
    wrong = [each for each in _values(given) if each is not None and not isinstance(each, str)]
    for each in wrong:
        error(f"{what} must be text or a list of texts, not {shown(each)}")
    return not wrong


def said(answer: Any, what: str) -> bool:
    """What a function of a filter says. Raises Misbehaved if it is one that would have to be awaited."""
    if inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()
        raise Misbehaved(f"{what} must give True or False at once, and gave something to wait for")
    return bool(answer)


def _equal(given: Any) -> _Check:
    wanted = _values(given)
    return lambda value: value in wanted


def _not_equal(given: Any) -> _Check:
    unwanted = _values(given)
    return lambda value: value not in unwanted


def patterns(given: Any, what: str) -> tuple[re.Pattern[str], ...]:
    """Regular expressions of an argument that takes one or a list of them, as text or compiled."""
    made = []
    for each in _values(given):
        if isinstance(each, re.Pattern):
            made.append(each)
        elif isinstance(each, str):
            try:
                made.append(re.compile(each))
            except re.error as problem:
                error(f"{what}: {each!r} is no regular expression: {problem}")
        else:
            error(f"{what} must be a regular expression or a list of them, not {shown(each)}")
    return tuple(made)


def _matches(given: Any, what: str) -> _Check:
    wanted = patterns(given, what)
    return lambda value: isinstance(value, str) and any(pattern.match(value) for pattern in wanted)


def _no_match(given: Any, what: str) -> _Check:
    unwanted = patterns(given, what)
    return lambda value: not isinstance(value, str) or not any(pattern.match(value) for pattern in unwanted)


def _add(checks: list[tuple[str, _Check]], attribute: str, kind: str, value: Any, what: str) -> None:
    if kind == "eq":
        checks.append((attribute, _equal(value)))
    elif kind == "not_eq":
        checks.append((attribute, _not_equal(value)))
    elif kind == "re":
        checks.append((attribute, _matches(value, what)))
    elif kind == "not_re":
        checks.append((attribute, _no_match(value, what)))
    elif expect_plain_function(value, what):
        checks.append((attribute, lambda given: said(value(given), what)))


class ChangeFilter(metaclass=Checked):
    """Says which changes are wanted, by their attributes; what is given must all hold.

    Example::

        code = util.ChangeFilter(
            repository="https://git.example.org/project.git", branch_re="release/.*", category_not_eq="docs"
        )
        c["schedulers"].append(
            schedulers.AnyBranchScheduler("releases", change_filter=code, builderNames=["tests"])
        )
    """

    def __init__(
        self,
        filter_fn: Callable[[Change], Any] | None = None,
        project: Any = None,
        project_not_eq: Any = None,
        project_re: Any = None,
        project_not_re: Any = None,
        project_fn: Callable[[str], Any] | None = None,
        repository: Any = None,
        repository_not_eq: Any = None,
        repository_re: Any = None,
        repository_not_re: Any = None,
        repository_fn: Callable[[str], Any] | None = None,
        branch: Any = UNSET,
        branch_not_eq: Any = UNSET,
        branch_re: Any = None,
        branch_not_re: Any = None,
        branch_fn: Callable[[str | None], Any] | None = None,
        category: Any = None,
        category_not_eq: Any = None,
        category_re: Any = None,
        category_not_re: Any = None,
        category_fn: Callable[[str | None], Any] | None = None,
        codebase: Any = None,
        codebase_not_eq: Any = None,
        codebase_re: Any = None,
        codebase_not_re: Any = None,
        codebase_fn: Callable[[str], Any] | None = None,
        property_eq: dict[str, Any] | None = None,
        property_not_eq: dict[str, Any] | None = None,
        property_re: dict[str, Any] | None = None,
        property_not_re: dict[str, Any] | None = None,
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self.criteria = {
            name: value
            for name, value in given.items()
            if value is not UNSET and (value is not None or name in ("branch", "branch_not_eq"))
        }
        self.filter_fn = filter_fn
        self._checks: list[tuple[str, _Check]] = []
        self._property_checks: list[tuple[str, _Check]] = []
        for name, value in self.criteria.items():
            if name == "filter_fn":
                if not expect_plain_function(value, "ChangeFilter: filter_fn"):
                    self.filter_fn = None
            elif name.startswith("property_"):
                self._add_property_checks(name, value)
            else:
                attribute, _, kind = name.partition("_")
                if kind in ("", "not_eq"):
                    expect_texts(value, f"ChangeFilter: {name}")
                _add(self._checks, attribute, kind or "eq", value, f"ChangeFilter: {name}")

    def _add_property_checks(self, name: str, value: Any) -> None:
        if not isinstance(value, dict):
            error(f"ChangeFilter: {name} must be a dict of property name to values, not {shown(value)}")
            return
        for key, wanted in value.items():
            _add(self._property_checks, key, name.removeprefix("property_"), wanted, f"ChangeFilter: {name}")

    def filter_change(self, change: Change) -> bool:
        """Whether the change passes. An error in a function of the user's is the caller's to name."""
        if self.filter_fn is not None and not said(self.filter_fn(change), "filter_fn"):
            return False
        return all(check(getattr(change, attribute)) for attribute, check in self._checks) and all(
            check(change.properties.getProperty(name, "")) for name, check in self._property_checks
        )

    @staticmethod
    def fromSchedulerConstructorArgs(
        change_filter: ChangeFilter | None = None,
        branch: Any = UNSET,
        categories: Iterable[str] | None = None,
    ) -> ChangeFilter:
        """The filter of a scheduler that may be given its branch and categories beside, or instead of, a
        filter.
        """
        if change_filter is not None:
            if branch is not UNSET or categories:
                error("a scheduler takes a change_filter or branch and categories, not both")
            return change_filter
        return ChangeFilter(branch=branch, category=list(categories) if categories else None)

    def __repr__(self) -> str:
        return f"ChangeFilter({', '.join(f'{name}={value!r}' for name, value in self.criteria.items())})"


class SourceStampFilter(metaclass=Checked):
    """Says which source stamps are wanted; what is given must all hold, as for a :class:`ChangeFilter`.

    ``filter_fn`` gets the whole stamp, a mapping of codebase, project, repository, branch and revision.

    Example::

        ours = util.SourceStampFilter(
            repository_eq="https://git.example.org/project.git", branch_re="feature/.*"
        )
        c["services"].append(util.OldBuildCanceller("only the newest", [(["tests"], ours)]))
    """

    def __init__(
        self,
        filter_fn: Any = None,
        project_eq: Any = None,
        project_not_eq: Any = None,
        project_re: Any = None,
        project_not_re: Any = None,
        repository_eq: Any = None,
        repository_not_eq: Any = None,
        repository_re: Any = None,
        repository_not_re: Any = None,
        branch_eq: Any = UNSET,
        branch_not_eq: Any = UNSET,
        branch_re: Any = None,
        branch_not_re: Any = None,
        codebase_eq: Any = None,
        codebase_not_eq: Any = None,
        codebase_re: Any = None,
        codebase_not_re: Any = None,
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in ("self", "filter_fn")}
        self.criteria = {
            name: value
            for name, value in given.items()
            if value is not UNSET and (value is not None or name in ("branch_eq", "branch_not_eq"))
        }
        if filter_fn is not None and not expect_plain_function(filter_fn, "SourceStampFilter: filter_fn"):
            filter_fn = None
        self.filter_fn: Callable[[Mapping[str, Any]], Any] | None = filter_fn
        self._checks: list[tuple[str, _Check]] = []
        for name, value in self.criteria.items():
            attribute, _, kind = name.partition("_")
            if kind in ("eq", "not_eq"):
                expect_texts(value, f"SourceStampFilter: {name}")
            _add(self._checks, attribute, kind, value, f"SourceStampFilter: {name}")

    def is_matched(self, stamp: Mapping[str, Any]) -> bool:
        """Whether the stamp passes. An error in a function of the user's is the caller's to name."""
        if self.filter_fn is not None and not said(self.filter_fn(stamp), "filter_fn"):
            return False
        return all(check(stamp.get(attribute)) for attribute, check in self._checks)

    def __repr__(self) -> str:
        return f"SourceStampFilter({', '.join(f'{name}={value!r}' for name, value in self.criteria.items())})"
