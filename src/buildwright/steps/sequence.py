"""Several command lines in one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from buildwright.builds.commands import RemoteShellCommand
from buildwright.builds.shell import ShellMixin, summary_of
from buildwright.builds.step import BuildStep
from buildwright.model.errors import error, shown
from buildwright.model.properties import Properties
from buildwright.model.renderable import is_renderable, render
from buildwright.model.results import CANCELLED, SUCCESS, contribution, worst_status
from buildwright.steps.arguments import expect_flags, expect_texts, expect_words


class ShellArg:
    """One command of a :class:`ShellSequence`; the flags say what its result means for the step's.

    Its output goes to the log ``logname``, ``stdio`` by default. With ``alwaysRun`` it runs also when a
    command before it has ended the sequence.

    Example::

        clean = util.ShellArg(
            command=["make", "clean"], logname="clean", flunkOnFailure=False, alwaysRun=True
        )
        check = util.ShellArg(command="make check", logname="check", haltOnFailure=True)
        factory.addStep(steps.ShellSequence(commands=[check, clean]))
    """

    FLAGS: ClassVar[tuple[str, ...]] = (
        "haltOnFailure",
        "flunkOnFailure",
        "flunkOnWarnings",
        "warnOnFailure",
        "warnOnWarnings",
        "alwaysRun",
    )

    def __init__(
        self,
        command: Any = None,
        logname: Any = None,
        haltOnFailure: Any = False,
        flunkOnFailure: Any = True,
        flunkOnWarnings: Any = False,
        warnOnFailure: Any = False,
        warnOnWarnings: Any = False,
        alwaysRun: Any = False,
        logfile: Any = None,
    ) -> None:
        self.command = command
        self.logname = logfile if logname is None else logname  # its older name
        self.haltOnFailure = haltOnFailure
        self.flunkOnFailure = flunkOnFailure
        self.flunkOnWarnings = flunkOnWarnings
        self.warnOnFailure = warnOnFailure
        self.warnOnWarnings = warnOnWarnings
        self.alwaysRun = alwaysRun
        expect_flags("ShellArg", **{name: getattr(self, name) for name in self.FLAGS})
        if command is None:
            error("ShellArg has no command", "give it command='...' or command=[...]")
        expect_words("ShellArg", command=command)
        expect_texts("ShellArg", logname=self.logname)

    @classmethod
    def rendered(cls, values: Mapping[str, Any]) -> ShellArg:
        """One from what :meth:`getRenderingFor` has given, perhaps to an earlier owner of the build."""
        made = cls.__new__(cls)
        made.__dict__.update(values)
        return made

    async def getRenderingFor(self, props: Properties) -> dict[str, Any]:
        """Plain values, which a journal can hold: what the constructor takes."""
        names = ("command", "logname", *self.FLAGS)
        return {name: await render(getattr(self, name), props) for name in names}

    def __repr__(self) -> str:
        return f"ShellArg({self.command!r})"


class ShellSequence(ShellMixin, BuildStep):
    """Runs the commands of ``commands``, a list of :class:`ShellArg`, one after another.

    The step's result is the worst of what they contribute. ``workdir``, ``env`` and so on count for all.

    Example::

        factory.addStep(
            steps.ShellSequence(
                commands=[
                    util.ShellArg(command=["make", "docs"], logname="docs", haltOnFailure=True),
                    util.ShellArg(command="tar czf docs.tar.gz docs", logname="pack"),
                ],
                workdir="build",
            )
        )
    """

    renderables: ClassVar[Sequence[str]] = ("commands",)

    def __init__(self, commands: Any = None, **kwargs: Any) -> None:
        super().__init__(**self.setupShellMixin(kwargs, prohibitArgs=["command"]))
        self.commands = commands
        what = f"step {type(self).__name__}: commands must be a list of ShellArgs"
        if isinstance(commands, list | tuple):
            for each in commands:
                if not is_renderable(each):
                    error(f"{what}; one is {shown(each)}", "write util.ShellArg(command=[...])")
        elif commands is not None and not is_renderable(commands):
            error(f"{what}, not {shown(commands)}", "write commands=[util.ShellArg(command=[...])]")

    async def run(self) -> int:
        return await self.runShellSequence(self.commands or [])

    def shouldRunTheCommand(self, cmd: Any) -> bool:
        """Whether a command, rendered, is to be run. To be overridden; an empty one isn't by default."""
        return bool(cmd)

    async def runShellSequence(self, commands: Sequence[Any]) -> int:
        """Run commands in their order; gives what they come to together."""
        overall, over = SUCCESS, False
        for each in commands:
            argument = await self._settled(each)
            if (over and not argument.alwaysRun) or not self.shouldRunTheCommand(argument.command):
                continue
            self.command = argument.command
            self.updateSummary()
            command = await self.makeRemoteShellCommand(stdioLogName=argument.logname or "stdio")
            await self.runCommand(command)
            if command.interrupted:
                return CANCELLED
            counts = contribution(command.results(), argument)
            overall = worst_status(overall, counts.result)
            over = over or counts.terminates
            if counts.result != SUCCESS:
                self._troubled = self._troubled or command
        return overall

    _troubled: RemoteShellCommand | None = None  # the first command that didn't succeed

    async def _settled(self, given: Any) -> ShellArg:
        """A command with rendered arguments, from a ShellArg or what one renders to."""
        if is_renderable(given):
            given = await self.render(given)
        if isinstance(given, Mapping):
            return ShellArg.rendered(given)
        raise TypeError(f"commands of a ShellSequence must be ShellArgs; one is {shown(given)}")

    def getResultSummary(self) -> dict[str, str]:
        if self.description or self.descriptionDone or self._troubled is None:
            return super().getResultSummary()
        return self._with_result(summary_of(self._troubled.command))
