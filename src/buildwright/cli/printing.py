"""Logs on a terminal: which step and log the lines are of, streams in colours.

A log's text is whatever a command has printed. On a terminal, only its colours go through: other escape
sequences could change what the terminal shows or does. Into a file or a pipe it goes as it is.
"""

from __future__ import annotations

import re
import sys
from typing import Any, TextIO

import click

from buildwright.cli import looks

# Escape sequences but for colours (CSI ... m), and control characters but for tab, line ends and escape.
_UNSAFE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-ln-~]"
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b(?!\[[0-?]*m)"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f\x80-\x9f]"
)
_ENVIRONMENT = re.compile(r" environment:$|  [^\s=]+=").match
_COLORS = {"e": "red", "h": "blue"}


def safe(text: str) -> str:
    """The text without what a terminal would act on."""
    return _UNSAFE.sub("", text)


class Printer:
    """Prints what is followed. ``plain``: the lines and nothing about them.

    What a worker says of a command has its whole environment in it, which is left out unless asked for.
    """

    def __init__(
        self,
        *,
        plain: bool = False,
        quiet: bool = False,
        environment: bool = False,
        out: TextIO | None = None,
    ) -> None:
        self.quiet = quiet
        self.out = out or sys.stdout
        self._environment = environment
        self._plain = plain
        self._terminal = self.out.isatty()
        context = click.get_current_context(silent=True)
        self._colors = self._terminal and (context is None or context.color is not False)
        self._current: tuple[int, str] | None = None
        self._named: set[int] = set()

    def step(self, step: dict[str, Any]) -> None:
        """A step has begun."""
        if not self._plain and step["stepid"] not in self._named:
            self._named.add(step["stepid"])
            self._current = (step["stepid"], "stdio")
            click.echo(click.style(f"==> {step['number']} {step['name']}", bold=True), file=self.out)

    def step_over(self, step: dict[str, Any]) -> None:
        """A step has ended."""
        if not self._plain and step["stepid"] in self._named:
            took = looks.took(step["started_at_us"], step["complete_at_us"])
            result = looks.result(step["results"])
            click.echo(f"<== {step['number']} {step['name']}: {result} after {took}", file=self.out)

    def build_over(self, build: dict[str, Any]) -> None:
        """The build has ended."""
        if not self._plain:
            took = looks.took(build["started_at_us"], build["complete_at_us"])
            state = f": {build['state_string']}" if build["state_string"] else ""
            result = looks.result(build["results"])
            click.echo(f"Build {build['number']}: {result} after {took}{state}", file=self.out)

    def lines(self, step: dict[str, Any], log: dict[str, Any], lines: list[tuple[str, str]]) -> None:
        """Lines of a log."""
        current = (step["stepid"], log["slug"])
        if not self._plain and current != self._current:
            self._current = current
            named = f"--> {step['number']} {step['name']}: {log['name']}"
            click.echo(click.style(named, bold=True), file=self.out)
        if not self._environment:
            lines = [(stream, line) for stream, line in lines if not (stream == "h" and _ENVIRONMENT(line))]
        if self._terminal:
            text = "".join(_styled(stream, safe(line)) + "\n" for stream, line in lines)
            text = text if self._colors else click.unstyle(text)
        else:
            text = "".join(line + "\n" for _, line in lines)
        self.out.write(text)  # click would take the colours away from what goes into a file
        self.out.flush()


def _styled(stream: str, line: str) -> str:
    color = _COLORS.get(stream)
    if color is None:
        return line + "\x1b[0m" if "\x1b" in line else line
    return click.style(line, fg=color)
