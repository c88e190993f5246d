"""What steps that run command lines share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from buildwright.builds.commands import RemoteShellCommand
from buildwright.model.arguments import expect_fit
from buildwright.model.errors import error, expect, shown
from buildwright.model.renderable import is_renderable
from buildwright.model.results import FAILURE

if TYPE_CHECKING:
    from buildwright.builds.step import BuildStep as _Base
else:
    _Base = object

SUMMARY_MOST = 40


# Of the shell's arguments, those that nothing else checks.
_KINDS = {
    "initialStdin": "str | bytes | None",
    "interruptSignal": "str | int",
    "lazylogfiles": "bool",
    "logEnviron": "bool",
    "usePTY": "bool",
    "want_stderr": "bool",
    "want_stdout": "bool",
    "workdir": "str | None",
}


class ShellMixin(_Base):
    """Arguments and helpers of a step that runs commands: mix it in before :class:`BuildStep`.

    Call ``kwargs = self.setupShellMixin(kwargs)`` in the constructor before the base's, then use
    ``makeRemoteShellCommand`` and ``runCommand`` in ``run``.

    Example::

        class CountCommits(steps.ShellMixin, steps.BuildStep):
            def __init__(self, **kwargs):
                super().__init__(**self.setupShellMixin(kwargs, prohibitArgs=["command"]))

            async def run(self):
                count = ["git", "rev-list", "--count", "HEAD"]
                command = await self.makeRemoteShellCommand(command=count, collectStdout=True)
                await self.runCommand(command)
                self.setProperty("commits", command.stdout.strip())
                return command.results()


        factory.addStep(CountCommits(workdir="build"))
    """

    command: Any = None
    env: Any = None
    want_stdout: Any = True
    want_stderr: Any = True
    usePTY: Any = None
    logfiles: Any = None
    lazylogfiles: Any = False
    timeout: Any = 1200
    maxTime: Any = None
    max_lines: Any = None
    logEnviron: Any = True
    interruptSignal: Any = "KILL"
    sigtermTime: Any = None
    initialStdin: Any = None
    decodeRC: Any = None
    _last_command: RemoteShellCommand | None = None

    shell_arguments: ClassVar[tuple[str, ...]] = (
        "command",
        "workdir",
        "env",
        "want_stdout",
        "want_stderr",
        "usePTY",
        "logfiles",
        "lazylogfiles",
        "timeout",
        "maxTime",
        "max_lines",
        "logEnviron",
        "interruptSignal",
        "sigtermTime",
        "initialStdin",
        "decodeRC",
    )
    renderables: ClassVar[Sequence[str]] = shell_arguments

    def setupShellMixin(
        self, constructorArgs: Mapping[str, Any], prohibitArgs: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Take the shell's arguments out of a constructor's; gives the others. ``prohibitArgs`` are
        refused.
        """
        rest: dict[str, Any] = {}
        kind = f"step {type(self).__name__}"
        for name, value in constructorArgs.items():
            if name in prohibitArgs:
                error(f"{kind} takes no argument {name!r}", "the step decides it itself")
            elif name in self.shell_arguments:
                wanted = _KINDS.get(name)
                if wanted is None or expect_fit(value, wanted, f"{kind}: {name}"):
                    setattr(self, name, value)
            else:
                rest[name] = value
        _check(self, kind)
        return rest

    async def makeRemoteShellCommand(
        self,
        collectStdout: bool = False,
        collectStderr: bool = False,
        stdioLogName: str | None = "stdio",
        **overrides: Any,
    ) -> RemoteShellCommand:
        """A command from the step's arguments, any of which may be overridden. It isn't run yet."""
        arguments = {name: getattr(self, name) for name in self.shell_arguments if name != "workdir"}
        workdir = overrides.pop("workdir", None)
        for name, value in overrides.items():
            if name not in arguments:
                raise TypeError(f"makeRemoteShellCommand has no argument {name!r}")
            arguments[name] = value
        arguments["command"] = flat_command(arguments["command"])
        env = dict(await self.build.render(self.build.env))
        env.update(arguments["env"] or {})
        arguments["env"] = env
        self._last_command = RemoteShellCommand(
            workdir=self.build.path(workdir) if workdir else self.command_dir(),
            collectStdout=collectStdout,
            collectStderr=collectStderr,
            stdioLogName=stdioLogName,
            **arguments,
        )
        return self._last_command

    def getCurrentSummary(self) -> dict[str, str]:
        if self.description:
            return super().getCurrentSummary()
        return {"step": summary_of(self.command) or "running"}

    def getResultSummary(self) -> dict[str, str]:
        if self.description or self.descriptionDone:
            return super().getResultSummary()
        return self._with_result(summary_of(self.command))

    def _with_result(self, text: str) -> dict[str, str]:
        said = super()._with_result(text)
        if self.results == FAILURE and self._last_command is not None and self._last_command.trouble:
            said["step"] += f" ({self._last_command.trouble[: SUMMARY_MOST * 2]})"
        return said


def _check(step: Any, kind: str) -> None:
    command = step.command
    if command is not None and not is_renderable(command):
        expect(command, (str, list, tuple), f"{kind}: command", "text or a list")
    for name in ("timeout", "maxTime", "sigtermTime", "max_lines"):
        value = getattr(step, name)
        if value is None or is_renderable(value):
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            error(f"{kind}: {name} must be a number or None, not {shown(value)}")
    for name in ("env", "logfiles", "decodeRC"):
        value = getattr(step, name)
        if value is not None and not is_renderable(value):
            expect(value, dict, f"{kind}: {name}", "a dict")


def flat_command(command: Any) -> Any:
    """A rendered command as a worker takes it: text, or a flat list of texts; bytes stay bytes."""
    if isinstance(command, str | bytes):
        return command
    words: list[str | bytes] = []

    def add(part: Any) -> None:
        if isinstance(part, list | tuple):
            for item in part:
                add(item)
        elif part is not None:
            words.append(part if isinstance(part, str | bytes) else str(part))

    add(command)
    return words


def _shown(word: str | bytes) -> str:
    return word if isinstance(word, str) else word.decode("utf-8", "replace")


def summary_of(command: Any) -> str:
    """A command in a few words: "'make all'"."""
    if not command:
        return ""
    command = flat_command(command)
    words = [_shown(word) for word in (command if isinstance(command, list) else command.split())]
    if not words:
        return ""
    text = " ".join(words[:2]) + (" ..." if len(words) > 2 else "")
    if len(text) > SUMMARY_MOST:
        text = text[: SUMMARY_MOST - 3] + "..."
    return f"'{text}'"
