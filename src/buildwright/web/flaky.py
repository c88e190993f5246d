"""Which tests can't be trusted.

A test is *flaky* within the runs that are looked at if

- it both passed and failed on the same source (the same revisions of all codebases, with the same patches):
  what it says doesn't depend on what is tested; or
- it went over from passing to failing, or back, at least ``ALTERNATES`` times: a defect that comes and is
  mended makes two such turns, so three of them are more than one story.

Runs whose source nobody knows (a branch's head, of which no step told the revision) count for the second rule
only."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import pairwise
from typing import NamedTuple

ALTERNATES = 3

SAME_SOURCE = "same source"
TURNS = "alternates"


class Run(NamedTuple):
    """A test's outcome in a build; ``source`` tells what was tested, None: nobody knows."""

    passed: bool
    source: Hashable | None


def why_flaky(runs: Sequence[Run]) -> str | None:
    """SAME_SOURCE or TURNS, the first that holds for the runs in their order; None: it is not flaky."""
    outcomes: dict[Hashable, bool] = {}
    for run in runs:
        if run.source is not None and outcomes.setdefault(run.source, run.passed) != run.passed:
            return SAME_SOURCE
    turns = sum(before.passed != after.passed for before, after in pairwise(runs))
    return TURNS if turns >= ALTERNATES else None
