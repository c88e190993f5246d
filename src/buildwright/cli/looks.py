"""How results and times look on a terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from buildwright.model.results import Results

_COLORS = {
    "success": "green",
    "warnings": "yellow",
    "failure": "red",
    "exception": "magenta",
    "skipped": "cyan",
    "retry": "cyan",
    "cancelled": "magenta",
}


def result(results: int | None, *, running: str = "running") -> str:
    """A result's name in its colour."""
    if results is None:
        return click.style(running, fg="blue")
    name = Results[results] if 0 <= results < len(Results) else str(results)
    return click.style(name, fg=_COLORS.get(name))


def took(begun: int | None, ended: int | None) -> str:
    """The time between two times of the data API's, in microseconds; up to now without the second."""
    if begun is None:
        return ""
    return duration(((time.time_ns() // 1000 if ended is None else ended) - begun) / 1e6)


def duration(seconds: float) -> str:
    """Seconds for people."""
    seconds = max(seconds, 0.0)
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(count: int) -> str:
    """Bytes for people."""
    amount, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def ago(at_us: int | None) -> str:
    """How long ago a time was; beyond a week, the date."""
    if at_us is None:
        return ""
    passed = time.time() - at_us / 1e6
    if passed > 7 * 86400:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(at_us / 1e6))
    for length, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        count = int(passed // length)
        if count:
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "just now"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be."""
    lines = [[click.style(each, bold=True) for each in head], *rows]
    widths = [max(len(click.unstyle(line[at])) for line in lines) for at in range(len(head))]
    return "\n".join(
        "  ".join(
            cell + " " * (width - len(click.unstyle(cell))) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )
