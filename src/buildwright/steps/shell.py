"""Command lines on the worker."""

from __future__ import annotations

from typing import Any

from buildwright.builds.commands import RemoteShellCommand
from buildwright.builds.shell import ShellMixin
from buildwright.builds.step import BuildStep
from buildwright.model.errors import error
from buildwright.model.renderable import settle
from buildwright.model.results import SUCCESS, WARNINGS


class CommandStep(ShellMixin, BuildStep):
    """Runs one command. Its exit code decides the result, unless a subclass knows more."""

    async def run(self) -> int:
        command = await self.makeRemoteShellCommand()
        await self.runCommand(command)
        await self._examine(command)
        result: int = await settle(self.evaluateCommand(command))
        return result

    async def _examine(self, command: RemoteShellCommand) -> None:
        """The command has run: take stock of it, before its result is asked for."""

    def evaluateCommand(self, cmd: RemoteShellCommand) -> Any:
        """The step's result, from its finished command. To be overridden; may be a coroutine."""
        return cmd.results()


class ShellCommand(CommandStep):
    """Runs ``command``: text with the worker's shell, a list as it is. The exit code decides the result.

    Example::

        factory.addStep(
            steps.ShellCommand(
                name="unit tests",
                command=["python", "-m", "pytest", "-q"],
                env={"LC_ALL": "C.UTF-8"},
                timeout=600,
            )
        )
    """

    name = "shell"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**self.setupShellMixin(kwargs))
        if self.command is None:
            error(f"step {type(self).__name__} has no command", "give it command='...' or command=[...]")


class Configure(ShellCommand):
    """Runs ``./configure``; nothing can be built without it.

    Example::

        factory.addStep(steps.Configure(command=["./configure", "--prefix=/opt/project"]))
    """

    name = "configure"
    haltOnFailure = True
    description = "configuring"
    descriptionDone = "configure"
    command = ("./configure",)


class RemovePYCs(ShellCommand):
    """Removes what Python has compiled, ``*.pyc``: it may outlive the sources that it was compiled from.

    Example::

        factory.addStep(steps.RemovePYCs())
    """

    name = "remove_pyc"
    description = "removing .pyc files"
    descriptionDone = "remove .pycs"
    command = ("find", ".", "-name", "*.pyc", "-exec", "rm", "{}", "+")


class Tool(CommandStep):
    """Runs a program whose command line it makes itself, in ``words``, from its own arguments."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**self.setupShellMixin(kwargs, prohibitArgs=["command"]))

    def words(self) -> list[Any]:
        """The command line; arguments are rendered by now."""
        raise AssertionError("every tool has its command line")

    async def run(self) -> int:
        self.command = self.words()
        return await super().run()


class TreeSize(Tool):
    """Measures the working directory with all that is in it, into the property ``tree-size-KiB``.

    Example::

        factory.addStep(steps.TreeSize())
    """

    name = "treesize"
    description = "measuring tree size"
    descriptionDone = "tree size"
    size: int | None = None  # KiB

    def words(self) -> list[Any]:
        return ["du", "-s", "-k", "."]

    async def makeRemoteShellCommand(self, *args: Any, **overrides: Any) -> RemoteShellCommand:
        return await super().makeRemoteShellCommand(*args, **{**overrides, "collectStdout": True})

    async def _examine(self, command: RemoteShellCommand) -> None:
        size = command.stdout.split("\t")[0].strip()
        if size.isdecimal():
            self.size = int(size)
            self.setProperty("tree-size-KiB", self.size, "treesize")

    def evaluateCommand(self, cmd: RemoteShellCommand) -> Any:
        return WARNINGS if self.size is None and cmd.results() == SUCCESS else cmd.results()

    def _with_result(self, text: str) -> dict[str, str]:
        return super()._with_result(text if self.size is None else f"{text} {self.size} KiB")
