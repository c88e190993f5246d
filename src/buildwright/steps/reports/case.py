"""What a report says of one test."""

from __future__ import annotations

import math
from typing import NamedTuple

PASSED = "passed"
FAILED = "failed"
SKIPPED = "skipped"  # not run, or its failure was expected

NAME_MOST = 1000
MESSAGE_MOST = 16 * 1024
LINES_MOST = 2_000_000
LINE_MOST = 4096  # of a text report: patterns stay quick whatever is printed
_DURATION_MOST = 2**62


class Case(NamedTuple):
    """A test and its outcome; ``message`` is why it failed or was skipped."""

    name: str
    outcome: str
    duration_ns: int | None = None
    message: str | None = None
    path: str | None = None
    line: int | None = None


class Malformed(Exception):
    """The report can't be read to its end; ``line`` is where, if the format has lines."""

    def __init__(self, text: str, line: int | None = None) -> None:
        super().__init__(text if line is None else f"line {line}: {text}")


def case(
    name: str,
    outcome: str,
    seconds: str | float | None = None,
    message: str = "",
    path: str | None = None,
    line: str | None = None,
) -> Case:
    """A case of what a report has as texts, cut to what can be shown."""
    kept = message.strip() if outcome != PASSED else ""
    if len(kept) > MESSAGE_MOST:
        kept = kept[:MESSAGE_MOST] + "…"
    number = int(line) if line and line.isascii() and line.isdigit() and len(line) < 10 else None
    name = " ".join(name.split())[:NAME_MOST] or "(without a name)"
    return Case(
        name, outcome, _nanoseconds(seconds), kept or None, path[:NAME_MOST] if path else None, number
    )


def _nanoseconds(seconds: str | float | None) -> int | None:
    if seconds is None:
        return None
    try:
        found = float(seconds.replace(",", "") if isinstance(seconds, str) else seconds) * 1e9
    except ValueError:
        return None
    return round(found) if math.isfinite(found) and 0 <= found < _DURATION_MOST else None


def lines_of(data: bytes) -> list[str]:
    """The lines of a text report; long ones are cut. Raises Malformed if there are too many."""
    if data.count(b"\n") > LINES_MOST:
        raise Malformed(f"it has more than {LINES_MOST} lines")
    text = data.decode("utf-8-sig", "replace")
    return [line.rstrip("\r")[:LINE_MOST] for line in text.split("\n")]
