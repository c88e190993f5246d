"""The formats of reports by name, and telling one by its content."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from buildwright.steps.reports import ctest, junit, subunit, tap, trial
from buildwright.steps.reports.case import Case, Malformed

Reader = Callable[[bytes], Iterator[Case]]

READERS: dict[str, Reader] = {
    "ctest": ctest.read,
    "junit": junit.read,
    "pytest": junit.read,
    "subunit": subunit.read,
    "tap": tap.read,
    "trial": trial.read,
}

_LOOK = 64 * 1024
_SIGNS = (
    (re.compile(rb"<(?:\w+:)?testsuites?[\s>/]"), "junit"),
    (re.compile(rb"<Site[\s>]"), "ctest"),
    (re.compile(rb"^(?:TAP version \d+|1\.\.\d+|(?:not )?ok\b)", re.MULTILINE), "tap"),
    (re.compile(rb"^[ \t]*\d+/\d+ Test\s+#\d+: ", re.MULTILINE), "ctest"),
    (re.compile(rb"^(?:test|testing|success|failure|error|skip): ?\S", re.MULTILINE), "subunit"),
    (re.compile(rb"^ +\S+ \.\.\. .*\[\w+\][ \t]*$", re.MULTILINE), "trial"),
)


def told(data: bytes) -> Reader:
    """The reader for a content. Raises Malformed if it looks like none of the formats."""
    begin = data[:_LOOK]
    if not begin.strip():
        raise Malformed("it is empty")
    if begin.startswith(subunit.SIGNATURE):
        return subunit.read
    for sign, name in _SIGNS:
        if sign.search(begin):
            return READERS[name]
    raise Malformed(f"it looks like no format that is known: {', '.join(sorted(READERS))}")
