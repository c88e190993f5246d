"""Command lines on the worker."""

from __future__ import annotations

from typing import Any

from buildwright.builds.commands import RemoteShellCommand
from buildwright.builds.shell import ShellMixin
from buildwright.builds.step import BuildStep
from buildwright.model.errors import error
from buildwright.model.renderable import settle


class ShellCommand(ShellMixin, BuildStep):
    """Runs ``command``: text with the worker's shell, a list as it is. The exit code decides the result."""

    name = "shell"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**self.setupShellMixin(kwargs))
        if self.command is None:
            error(f"step {type(self).__name__} has no command", "give it command='...' or command=[...]")

    async def run(self) -> int:
        command = await self.makeRemoteShellCommand()
        await self.runCommand(command)
        result: int = await settle(self.evaluateCommand(command))
        return result

    def evaluateCommand(self, cmd: RemoteShellCommand) -> Any:
        """The step's result, from its finished command. To be overridden; may be a coroutine."""
        return cmd.results()


class Configure(ShellCommand):
    """Runs ``./configure``; nothing can be built without it."""

    name = "configure"
    haltOnFailure = True
    description = "configuring"
    descriptionDone = "configure"
    command = ("./configure",)
