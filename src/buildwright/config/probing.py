"""The command lines of a shipped step that makes them itself: its ``run`` is run, and its commands are noted.

Each command counts as a success that says nothing, so what is found is what the step does if all goes well.
Only steps of this package that run commands at workers are asked: they are known to touch nothing here.
One that asks for more than commands and logs (its build's runner, work on the master) gives no answer.
"""

from __future__ import annotations

from typing import Any, cast

from buildwright.builds.commands import RemoteCommand, RemoteShellCommand
from buildwright.builds.shell import ShellMixin
from buildwright.builds.step import BuildStep, BuildStepCancelled, BuildStepFailed

MOST = 100
OURS = "buildwright.steps."


def makes_its_commands(step: BuildStep) -> bool:
    """Whether this step can be asked."""
    return (
        isinstance(step, ShellMixin)
        and type(step).__module__.startswith(OURS)
        and type(step).run.__module__.startswith(OURS)
    )


async def commands_of(step: BuildStep) -> list[Any]:
    """The command lines, as a worker would get them; none if that can't be told. The step's arguments are
    rendered.
    """
    noting = _Noting()
    step._run = cast("Any", noting)  # noqa: SLF001 - a step and its run are one
    try:
        await step.run()
    except (BuildStepFailed, BuildStepCancelled, _Enough):
        pass  # it looks for something in the output that isn't there
    except Exception:
        return []
    return noting.commands


class _Enough(Exception):
    """It goes on and on."""


class _Anything:
    """A log that nobody reads."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_args, **_kwargs: None


class _Noting:
    """What a step's `StepRun` is to its code, as far as commands and logs go."""

    stepid = tries = 0
    replaying = False

    def __init__(self) -> None:
        self.requests = self.waits = self
        self.commands: list[Any] = []
        self.logs: dict[str, Any] = {}
        self.statistics: dict[str, Any] = {}

    async def run_command(self, command: RemoteCommand) -> None:
        if isinstance(command, RemoteShellCommand):
            self.commands.append(command.command)
        command.rc = 0
        if len(self.commands) >= MOST:
            raise _Enough

    async def sleep(self, seconds: float) -> None:
        """Time doesn't matter."""

    def log(self, name: str, type: str = "s") -> Any:
        del type
        return self.logs.setdefault(name, _Anything())

    def observe(self, logname: str, observer: Any) -> None:
        """Nothing comes."""

    def add_url(self, name: str, url: str) -> None:
        """Nobody sees it."""

    def show_summary(self) -> None:
        """Nobody sees it."""
