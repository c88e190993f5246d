"""JUnit's XML, as written by pytest, Maven, Gradle, ctest, Go, Node and nearly everybody else."""

from __future__ import annotations

from collections.abc import Iterator

from buildwright.steps.reports.case import FAILED, PASSED, SKIPPED, Case, Malformed, case
from buildwright.steps.reports.xml import END, START, Element, events

ROOTS = frozenset({"testsuites", "testsuite"})
_NOT_RUN = frozenset({"disabled", "ignored", "notrun", "skipped"})  # of some runners, without an element
_OUTCOMES = {"failure": FAILED, "error": FAILED, "skipped": SKIPPED}


def read(data: bytes) -> Iterator[Case]:
    """The cases of a report. Raises Malformed."""
    root = True
    suites: list[str] = []
    test: Element | None = None
    outcome, messages = PASSED, [""]
    for kind, element in events(data):
        if kind == START:
            if root and element.name not in ROOTS:
                raise Malformed(f"no JUnit report: its outermost element is <{element.name[:40]}>")
            root = False
            if element.name == "testsuite":
                suites.append(element.get("name"))
            elif element.name == "testcase":
                test, outcome, messages = element, PASSED, []
        elif element.name == "testsuite":
            suites.pop()
        elif test is not None and element.name in _OUTCOMES:
            if outcome != FAILED:
                outcome = _OUTCOMES[element.name]
            messages.append(_message(element))
        elif element is test:
            if outcome == PASSED and test.get("status").lower() in _NOT_RUN:
                outcome = SKIPPED
            yield case(
                _name(test, suites[-1] if suites else ""),
                outcome,
                test.attributes.get("time"),
                "\n".join(messages),
                test.get("file"),
                test.get("line"),
            )
            test = None
        if kind == END:
            element.parts.clear()  # what tests have printed may be long


def _name(test: Element, suite: str) -> str:
    name, of = test.get("name"), test.get("classname") or suite
    if not of or name == of or name.startswith(f"{of}."):
        return name
    return f"{of}.{name}"


def _message(element: Element) -> str:
    short, long = element.get("message").strip(), element.text.strip()
    if short and long.startswith(short):
        return long
    return "\n".join(part for part in (short, long) if part)
