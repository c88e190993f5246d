"""Result codes, and how a step's result becomes part of a build's.

A step contributes to its build's result through its flags (:func:`contribution`); a build's result is the
worst of what its steps contributed (:func:`worst_status`), and so is a buildset's of its builds'. SKIPPED is
neutral: anything else is worse. Codes are the numbers that the data API shows, so they never change.

Example::

    class Lint(steps.ShellCommand):
        async def run(self):
            result = await super().run()
            if result == util.FAILURE and self.getProperty("branch") != "main":
                return util.WARNINGS
            return result


    factory.addStep(Lint(command=["make", "lint"]))
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

SUCCESS: Final = 0
WARNINGS: Final = 1
FAILURE: Final = 2
SKIPPED: Final = 3
EXCEPTION: Final = 4
RETRY: Final = 5
CANCELLED: Final = 6

Results: Final = ["success", "warnings", "failure", "skipped", "exception", "retry", "cancelled"]

ALL_RESULTS: Final = list(range(len(Results)))

# From the worst to the best, by what a reader has to know first.
_WORST_FIRST: Final = (CANCELLED, RETRY, EXCEPTION, FAILURE, WARNINGS, SUCCESS, SKIPPED)
_BADNESS: Final = {result: -place for place, result in enumerate(_WORST_FIRST)}


class StepFlags(Protocol):
    """What a step says about the weight of its result. A step is one itself, once its flags are rendered."""

    @property
    def haltOnFailure(self) -> bool: ...
    @property
    def flunkOnWarnings(self) -> bool: ...
    @property
    def flunkOnFailure(self) -> bool: ...
    @property
    def warnOnWarnings(self) -> bool: ...
    @property
    def warnOnFailure(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Flags:
    """A step's flags with the defaults that every step starts from."""

    haltOnFailure: bool = False
    flunkOnWarnings: bool = False
    flunkOnFailure: bool = True
    warnOnWarnings: bool = False
    warnOnFailure: bool = False


class Contribution(NamedTuple):
    """What a step's result means for its build."""

    result: int
    terminates: bool  # from here on only steps with `alwaysRun` run


# Categories of test results whose values say whether a test has passed.
PASS_FAIL = "pass_fail"  # noqa: S105 - no password
PASS_ONLY = "pass_only"  # noqa: S105 - no password
FAIL_ONLY = "fail_only"


def contribution(result: int, flags: StepFlags) -> Contribution:
    """What a step that ended with ``result`` adds to its build's result, and whether the build goes on."""
    if result in (SUCCESS, SKIPPED):
        return Contribution(result, terminates=False)
    if result == WARNINGS:
        if flags.flunkOnWarnings:
            return Contribution(FAILURE, terminates=False)
        return Contribution(WARNINGS if flags.warnOnWarnings else SUCCESS, terminates=False)
    if result == FAILURE:
        softened = WARNINGS if flags.warnOnFailure else SUCCESS
        weight = FAILURE if flags.flunkOnFailure else softened
        return Contribution(weight, terminates=bool(flags.haltOnFailure))
    if result in (EXCEPTION, RETRY, CANCELLED):
        return Contribution(result, terminates=True)
    raise ValueError(f"{result!r} is no result of a step: use one of the constants SUCCESS to CANCELLED")


def worst_status(a: int, b: int) -> int:
    """The worse of two results."""
    return a if _BADNESS[a] >= _BADNESS[b] else b


def worst_of(results: Iterable[int], start: int = SUCCESS) -> int:
    """The worst of many results; ``start`` where there are none."""
    for result in results:
        start = worst_status(start, result)
    return start


def status_to_string(result: int | None) -> str:
    """A result's name; what has no result yet is not finished.

    Example::

        class Lint(steps.ShellCommand):
            async def run(self):
                result = await super().run()
                self.setProperty("lint", util.statusToString(result))
                return result


        factory.addStep(Lint(command=["make", "lint"]))
    """
    if result is None:
        return "not finished"
    if 0 <= result < len(Results):
        return Results[result]
    return f"invalid result {result}"


statusToString = status_to_string  # noqa: N816 - as configurations call it
