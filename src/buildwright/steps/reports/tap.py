"""TAP, the Test Anything Protocol, versions 12 to 14, with subtests and diagnostics.

Of a test with subtests the subtests are told, by their path of names; the test itself only if it failed and
none of them did. A failure that is marked as one that is to be mended was expected: it counts as skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildwright.steps.reports.case import (
    FAILED,
    MESSAGE_MOST,
    PASSED,
    SKIPPED,
    Case,
    Malformed,
    case,
    lines_of,
)

_TEST = re.compile(r"(?P<not>not )?ok\b\s*(?P<number>\d+)?\s*(?:- )?\s*(?P<rest>.*)")
_DIRECTIVE = re.compile(r"(?<!\\)#\s*(?P<kind>skip|todo)\S*\s*(?P<why>.*)", re.IGNORECASE)
_PLAN = re.compile(r"1\.\.(?P<count>\d{1,9})\b")
_DURATION = re.compile(r"duration_ms: '?(?P<number>\d{1,15}(?:\.\d{1,15})?)'?\s*$")

DEEPEST = 50


class _Test:
    """A test line with what follows it."""

    __slots__ = ("inner", "message", "name", "outcome", "seconds")

    def __init__(self, name: str, outcome: str, message: str, inner: list[_Test]) -> None:
        self.name = name
        self.outcome = outcome
        self.message = message
        self.seconds: float | None = None
        self.inner = inner

    def say(self, line: str) -> None:
        if len(self.message) < MESSAGE_MOST:
            self.message += line + "\n"

    def diagnose(self, lines: list[str]) -> None:
        for line in lines:
            if (found := _DURATION.match(line)) is not None:
                self.seconds = float(found["number"]) / 1000
            else:
                self.say(line)

    def cases(self, above: str = "") -> Iterator[Case]:
        name = f"{above} - {self.name}" if above else self.name
        failed = False
        for test in self.inner:
            for each in test.cases(name):
                failed = failed or each.outcome == FAILED
                yield each
        if not self.inner or (self.outcome == FAILED and not failed):
            yield case(name, self.outcome, self.seconds, self.message)


def read(data: bytes) -> Iterator[Case]:
    """The cases of a report. Raises Malformed."""
    waiting: dict[int, list[_Test]] = {}  # subtests by their depth, until their test comes
    top: _Test | None = None  # the last test that is nobody's subtest, until its diagnostics are complete
    last: _Test | None = None
    last_depth = 0
    block: list[str] | None = None  # a diagnostic of the last test
    planned: int | None = None
    count = 0
    problem: Malformed | None = None
    for number, whole in enumerate(lines_of(data), 1):
        line = whole.lstrip(" ")
        depth = min((len(whole) - len(line)) // 4, DEEPEST)
        found = _TEST.fullmatch(line)
        if block is not None and last is not None and not (found and whole is line):
            if line == "...":
                last.diagnose(block)
                block = None
            else:
                block.append(line)
            continue
        if block is not None and last is not None:  # it never ended
            last.diagnose(block)
        block = None
        if found is not None:
            if top is not None:
                yield from top.cases()
                top = None
            inner = [test for deeper in sorted(waiting) if deeper > depth for test in waiting.pop(deeper)]
            last, last_depth = _test(found, inner), depth
            if depth:
                waiting.setdefault(depth, []).append(last)
            else:
                count += 1
                top = last
        elif line == "---" and last is not None:
            block = []
        elif line.startswith("Bail out!"):
            problem = Malformed(f"bailed out: {line[9:].strip()[:200] or 'no reason given'}", number)
            break
        elif depth == 0 and (plan := _PLAN.match(line)):
            planned = int(plan["count"])
        elif (
            line.startswith("#")
            and last is not None
            and depth == last_depth
            and not line.startswith(("# Subtest", "# Looks like you "))
        ):
            last.say(line[1:].strip())
    if block is not None and last is not None:
        last.diagnose(block)
    for test in ([top] if top is not None else []) + [each for of in waiting.values() for each in of]:
        yield from test.cases()
    if problem is not None:
        raise problem
    if planned is None:
        raise Malformed(
            f"it has no plan: nobody knows whether its {count} tests are all" if count else "no TAP"
        )
    if planned != count:
        raise Malformed(f"its plan says {planned} tests, but it has {count}")


def _test(found: re.Match[str], inner: list[_Test]) -> _Test:
    rest, outcome, message = found["rest"], FAILED if found["not"] else PASSED, ""
    directive = _DIRECTIVE.search(rest)
    if directive is not None:
        rest = rest[: directive.start()]
        message = f"{directive['kind'].upper()} {directive['why']}".strip()
        if outcome == FAILED or directive["kind"].lower() == "skip":
            outcome = SKIPPED
        message += "\n"
    return _Test(rest.strip().replace("\\#", "#") or found["number"] or "", outcome, message, inner)
