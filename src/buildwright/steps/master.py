"""Command lines on the master.

A command runs once per try of its step, as work of the master's: its build is pinned to this master's
basedir, and when the master dies in the middle of it, the build ends with RETRY. What it prints goes to the
step's log as it comes, masked. Stopping the build, the time limit and the end of the master kill it: see
:mod:`buildwright.steps.masterprocess`, which is loaded when a command is run.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from buildwright.builds.observers import HEADER
from buildwright.builds.shell import flat_command, summary_of
from buildwright.builds.step import BuildStep
from buildwright.model.errors import error, expect
from buildwright.model.renderable import is_plain
from buildwright.model.results import FAILURE, SUCCESS

if TYPE_CHECKING:
    from buildwright.builds.steplogs import MasterOutput

_VARIABLE = re.compile(r"\$\{([0-9a-zA-Z_]*)\}")


class MasterShellCommand(BuildStep):
    """Runs ``command`` on the master, in its basedir or ``workdir``: text with a shell, a list as it is.

    Example::

        factory.addStep(
            steps.MasterShellCommand(
                command=["rsync", "-a", "public/", "www.example.org:/srv/project"], runtime_timeout=600
            )
        )
    """

    name = "MasterShellCommand"
    haltOnFailure = True
    renderables: ClassVar[Sequence[str]] = ("command", "env")

    def __init__(
        self,
        command: Any,
        env: Any = None,
        usePTY: bool = False,
        interruptSignal: Any = "KILL",
        logEnviron: bool = True,
        runtime_timeout: float | None = 3600,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.command = command
        self.env = env
        self.usePTY = bool(usePTY)
        self.interruptSignal = interruptSignal
        self.logEnviron = logEnviron
        self.runtime_timeout = runtime_timeout
        kind = f"step {type(self).__name__}"
        if is_plain(command):
            expect(command, (str, list, tuple), f"{kind}: command", "text or a list")
        if env is not None and is_plain(env):
            expect(env, dict, f"{kind}: env", "a dict")
        if runtime_timeout is not None:
            expect(runtime_timeout, (int, float), f"{kind}: runtime_timeout", "a number of seconds or None")
        if not isinstance(interruptSignal, str) or not hasattr(signal, f"SIG{interruptSignal}"):
            error(
                f"{kind}: interruptSignal: there is no signal {interruptSignal!r}", "as in 'KILL' or 'TERM'"
            )

    async def run(self) -> int:
        output = self._run.master_output("stdio")
        code: int = await self.once("command", self._command, output, output=output)
        return SUCCESS if code == 0 else FAILURE

    def getCurrentSummary(self) -> dict[str, str]:
        return super().getCurrentSummary() if self.description else {"step": "Running"}

    def getResultSummary(self) -> dict[str, str]:
        if self.description or self.descriptionDone:
            return super().getResultSummary()
        return self._with_result(summary_of(self.command) or "Ran")

    async def _command(self, output: MasterOutput) -> int:
        """Run it to its end; gives its exit code, -1 if it was killed or could not be started."""
        from buildwright.steps.masterprocess import MasterProcess

        basedir = self.build.runner.services.basedir
        workdir = str(basedir / self.workdir) if self.workdir else str(basedir)
        command = flat_command(self.command)
        env = environment(self.env)
        self._say(output, _opening(command, workdir, env if self.logEnviron else {}, pty=self.usePTY))
        words = ["/bin/sh", "-c", command] if isinstance(command, str) else command
        try:
            process = await MasterProcess.start(words, workdir, env, pty=self.usePTY)
        except (OSError, ValueError) as problem:
            self._say(output, f"the command can't be started: {problem}\n")
            return -1
        ended = await process.run(output, self.runtime_timeout, self.interruptSignal)
        lines = [f"process killed by signal {ended.signal}"] if ended.signal else []
        lines += [f"program finished with exit code {ended.code}", f"elapsedTime={ended.seconds:.6f}"]
        self._say(output, "\n".join(lines) + "\n")
        return ended.code

    def _say(self, output: MasterOutput, text: str) -> None:
        output.write(HEADER, text.encode("utf-8", "surrogateescape"))


def environment(wanted: Mapping[str, Any] | None) -> dict[str, str]:
    """The master's own environment with a step's wishes: None removes, lists are joined, ``${NAME}`` is
    looked up.
    """
    env = dict(os.environ)
    for name, value in (wanted or {}).items():
        if value is None:
            env.pop(name, None)
            continue
        text = os.pathsep.join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        env[name] = _VARIABLE.sub(lambda match: os.environ.get(match.group(1), ""), text)
    return env


def _opening(command: str | list[str], workdir: str, env: Mapping[str, str], *, pty: bool) -> str:
    lines = [command if isinstance(command, str) else shlex.join(command), f" in dir {workdir}"]
    if env:
        lines.append(" environment:")
        lines += [f"  {name}={value}" for name, value in sorted(env.items())]
    lines.append(f" using PTY: {pty}")
    return "\n".join(lines) + "\n"
