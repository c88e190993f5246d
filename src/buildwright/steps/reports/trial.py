"""What Twisted's trial prints: the tree of tests, and below it what went wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildwright.steps.reports.case import FAILED, PASSED, SKIPPED, Case, Malformed, case, lines_of

_STATUS = re.compile(
    rf"\[(?:(?P<{PASSED}>OK)|(?P<{SKIPPED}>SKIPPED|TO[D]O)|(?P<{FAILED}>FAIL|ERROR|SUCCESS!\?!))\]\s*$"
)
_TEST = re.compile(r"(?P<indent> +)(?P<name>\S+) \.\.\.")
_GROUP = re.compile(r"(?P<indent> *)(?P<name>[\w.]+)$")
_RULE = re.compile(r"={70,}$")
_RAN = re.compile(r"Ran (?P<count>\d{1,9}) tests in ")
_NAMES = re.compile(r"[\w.]+$")


def read(data: bytes) -> Iterator[Case]:
    """The cases of a report. Raises Malformed."""
    lines = lines_of(data)
    end = next((at for at, line in enumerate(lines) if _RULE.match(line) or _RAN.match(line)), len(lines))
    messages = _messages(lines[end:])
    count = 0
    for name, outcome in _tree(lines[:end]):
        count += 1
        yield case(name, outcome, message=messages.get(name, ""))
    ran = next((found for line in lines if (found := _RAN.match(line))), None)
    if ran is None:
        raise Malformed(f"it ends after {count} tests" if count else "no report of trial")
    if int(ran["count"]) != count:
        raise Malformed(f"it says that {ran['count']} tests ran, but names {count}")


def _tree(lines: list[str]) -> Iterator[tuple[str, str]]:
    """The tests by their whole names, with their outcomes."""
    above: list[tuple[int, str]] = []
    open_test: str | None = None  # what it prints may come between its name and its outcome
    for line in lines:
        found = _TEST.match(line)
        if found is not None:
            above = _within(above, len(found["indent"]))
            open_test = ".".join([*(name for _, name in above), found["name"]])
        status = _STATUS.search(line)
        if status is not None and open_test is not None:
            yield open_test, status.lastgroup or FAILED
            open_test = None
        elif found is None and open_test is None and (group := _GROUP.match(line)) is not None:
            above = [*_within(above, len(group["indent"])), (len(group["indent"]), group["name"])]


def _within(above: list[tuple[int, str]], indent: int) -> list[tuple[int, str]]:
    return [(at, name) for at, name in above if at < indent]


def _messages(lines: list[str]) -> dict[str, str]:
    """What went wrong, by the tests' names: sections between rules, each ending with those it is about."""
    found: dict[str, str] = {}
    section: list[str] = []
    for line in [*lines, "=" * 79]:
        if not (_RULE.match(line) or line.startswith("-" * 70)):
            section.append(line)
            continue
        while section and not section[-1]:
            section.pop()
        names = []
        while section and "." in section[-1] and _NAMES.match(section[-1]):
            names.append(section.pop())
        text = "\n".join(section[1:])
        for name in names:
            found[name] = f"{found[name]}\n{text}" if name in found else text
        section = []
    return found
