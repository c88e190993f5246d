"""What pollers of version control tools share: running the tool, what only a poll can render, how they are
named, and the old spelling of their interval.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from buildwright.changes.base import Poll, PollError
from buildwright.changes.git import run
from buildwright.model.asking import TookTooLong, limited
from buildwright.model.errors import error, expect, expect_plain_function, shown, warn
from buildwright.model.properties import Properties
from buildwright.model.render import render


class ToolFailed(PollError):
    """A tool has failed; ``stderr`` is what it said."""

    def __init__(self, message: str, stderr: str) -> None:
        self.stderr = stderr
        super().__init__(message)


async def run_tool(
    command: Sequence[str],
    doing: str,
    setting: str,
    *,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
) -> bytes:
    """Run a tool; gives its output. ``doing`` says in an error what it was for, without any secret;
    ``setting`` is the argument that says where the tool is.
    """
    inherited = {**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})}
    advice = f"Install it or set {setting}."
    code, out, err = await run(command, stdin, inherited, advice=advice)
    if code != 0:
        stderr = err.decode("utf-8", "replace").strip()
        last = [line.strip() for line in stderr.splitlines() if line.strip()][-1:]
        raise ToolFailed(f"{doing} failed: {last[0] if last else code}", stderr)
    return out


async def rendered(what: str, poll: Poll, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values with their secrets, by name."""
    props = Properties()
    props.secret_source = poll.secret_source
    try:
        return {name: await render(value, props) for name, value in values.items()}
    except Exception as problem:
        raise PollError(f"{what} can't be rendered: {type(problem).__name__}: {problem}") from problem


def ask(what: str, name: str, function: Callable[..., Any], *arguments: Any, about: Any = None) -> Any:
    """What a plain function of the configuration says; one that fails, or doesn't come back, is named.
    ``about`` says in an error what it was asked about, if the arguments are too long for that.
    """
    told = f"{what}: the function {name}"
    try:
        answer = limited(told, lambda: function(*arguments))
    except TookTooLong as problem:
        raise PollError(str(problem)) from problem
    except Exception as problem:
        asked = ", ".join(map(repr, arguments)) if about is None else str(about)
        raise PollError(f"{told} failed for {asked}: {type(problem).__name__}: {problem}") from problem
    if inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()
        raise PollError(f"{told} must be a plain one, not async")
    return answer


def interval(what: str, pollInterval: float | None, pollinterval: float | None, usual: float = 600) -> float:
    """The seconds between two polls, from their argument or its old spelling."""
    if pollinterval is not None and not expect(
        pollinterval, (int, float), f"{what}: pollinterval", "a number of seconds"
    ):
        pollinterval = None
    if pollInterval is not None and pollinterval is not None:
        error(f"{what}: pollInterval is given twice", "pollinterval is its old name: leave it out")
    elif pollinterval is not None:
        warn(f"{what}: pollinterval is the old name of pollInterval", "write pollInterval")
    given = pollInterval if pollInterval is not None else pollinterval
    return usual if given is None else given


def address(what: str, name: str, value: Any) -> str:
    """An argument that must be an address; something of its kind if it is none."""
    if isinstance(value, str) and value and not value.startswith("-"):
        return value
    error(f"{what}: {name} must be the address of a repository, not {shown(value)}", "as in 'https://...'")
    return "?"


def expect_texts(what: str, **values: Any) -> None:
    """Check arguments that must be text, or None."""
    for name, value in values.items():
        if value is not None:
            expect(value, str, f"{what}: {name}", "text")


def expect_functions(what: str, **values: Any) -> None:
    """Check arguments that must be functions, or None."""
    for name, value in values.items():
        if value is not None:
            expect_plain_function(value, f"{what}: {name}")
