"""Signs of errors: what lines look like with which tools say that something went wrong.

This is a table of habits, not a judgement: a build's result is its own, and these signs only say where in a
long log a person should look first. A sign belongs here if tools print it when they fail and hardly ever
otherwise; ``-Werror``, ``0 errors`` or ``error.c`` must match nothing. Header lines, which the master wrote
itself, are not looked at.

The expressions are RE2's, and see a line without escape sequences.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

from buildwright.logs.patterns import Pattern


class Sign(NamedTuple):
    """A kind of line: its name, and the expression that finds it."""

    name: str
    expression: str


SIGNS: tuple[Sign, ...] = (
    Sign("go", r"^\s*--- FAIL: |^FAIL\t|^panic: |^fatal error: "),
    Sign("sanitizer", r"^==\d+==ERROR: |^(?:WARNING|ERROR): \w+Sanitizer: |: runtime error: "),
    Sign("compiler", r"(?:^|[:)\]]) ?(?i:(?:fatal |internal compiler )?error)(?:\[\w+\])?: \S"),
    Sign("compiler", r"\b(?:fatal )?error [A-Z]{1,6}\d{3,5} ?:"),
    Sign(
        "linker", r"\bundefined reference to |^(?:/\S+/)?ld(?:\.\w+)?: cannot find |^Undefined symbols for "
    ),
    Sign("make", r"^(?:\w+-)?make(?:\[\d+\])?: \*\*\* "),
    Sign("ninja", r"^FAILED: |^ninja: (?:error|fatal): |^ninja: build stopped: "),
    Sign("cmake", r"^CMake Error\b"),
    Sign("python", r"^\s*Traceback \(most recent call last\):"),
    Sign("python", r"^(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Interrupt)(?:: |$)"),
    Sign("pytest", r"^E {3}|^(?:FAILED|ERROR) \S+(?:\.py|::)|^=+ .*\b\d+ (?:failed|errors?)\b.* =+$"),
    Sign("unittest", r"^(?:FAIL|ERROR): \w+ \(|^FAILED \((?:failures|errors|unexpected)"),
    Sign("rust", r"^thread '[^']*' (?:\(\d+\) )?panicked at |^test .* \.\.\. FAILED$|^test result: FAILED"),
    Sign("gtest", r"^\[  FAILED  \] |^.*: Failure$"),
    Sign("ctest", r"\*\*\*(?:Failed|Exception|Timeout|Not Run)\b|^The following tests FAILED:"),
    Sign("tap", r"^not ok\b"),
    Sign("javascript", r"^npm (?:ERR!|error) |^FAIL \S+\.[cm]?[jt]sx?\b|^\s*● .+ › |^\s+[✖✕×] \S"),
    Sign("java", r"^\[ERROR\] |^FAILURE: Build failed|^BUILD FAILED|^Exception in thread \"|^Caused by: \S"),
    Sign(
        "shell", r"^(?:\S*/)?(?:ba|da|z|k)?sh: .*(?:not found|No such file or directory|Permission denied)$"
    ),
    Sign("shell", r": command not found$"),
    Sign("git", r"^fatal: \S"),
    Sign(
        "crash", r"\bSegmentation fault\b|\(core dumped\)|^terminate called after |: Assertion .+ failed\.?$"
    ),
    Sign("resources", r"\bNo space left on device\b|\bCannot allocate memory\b|^Killed$|\bout of memory\b"),
    Sign("annotation", r"^::error\b|^##\[error\]"),
    Sign("log level", r"^(?:\[?[\d:T.,Z/+ -]{8,}\]? *)?[\[(<]?(?:ERROR|FATAL|CRITICAL)[\])>]?(?::|\s|$)"),
)


@functools.cache
def _patterns() -> tuple[Pattern, list[tuple[str, Pattern]]]:
    """What finds any sign, and what finds each: made when they are first looked for."""
    each = [(sign.name, Pattern(sign.expression, regex=True, ours=True)) for sign in SIGNS]
    return Pattern("|".join(f"(?:{sign.expression})" for sign in SIGNS), regex=True, ours=True), each


def lines(text: bytes) -> Iterator[tuple[int, str]]:
    """The lines that look like errors: how many lines come before each, and the sign's name."""
    anything, each = _patterns()
    for number, begin in anything.lines(text):
        line = text[begin : text.index(b"\n", begin)]
        yield number, next((name for name, pattern in each if pattern.in_line(line)), "")
