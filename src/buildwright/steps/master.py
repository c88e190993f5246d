"""Command lines on the master.

A command runs once per try of its step, as work of the master's: its build is pinned to this master's
basedir, and when the master dies in the middle of it, the build ends with RETRY. It doesn't outlive its
master: a watchdog, a shell that waits for the end of a pipe which only the master holds open, kills the
command's process group then.

What it prints goes to the step's log as it comes, masked. Stopping the build, the time limit and the end of
the master kill the process group: with ``interruptSignal`` first, with KILL if anything is left of it after
five seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from buildwright.builds.observers import HEADER, STDERR, STDOUT
from buildwright.builds.shell import flat_command, summary_of
from buildwright.builds.step import BuildStep
from buildwright.builds.steplogs import MasterOutput
from buildwright.model.errors import error
from buildwright.model.results import FAILURE, SUCCESS

KILL_AFTER = 5.0
_READ = 64 * 1024
_VARIABLE = re.compile(r"\$\{([0-9a-zA-Z_]*)\}")
_WATCHDOG = 'read -r _; kill -KILL -- "-$1"'


class MasterShellCommand(BuildStep):
    """Runs ``command`` on the master, in its basedir or ``workdir``: text with a shell, a list as it is."""

    name = "MasterShellCommand"
    haltOnFailure = True
    renderables: ClassVar[Sequence[str]] = ("command", "env")

    def __init__(
        self,
        command: Any,
        env: Any = None,
        usePTY: Any = False,
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
        if not isinstance(interruptSignal, str) or not hasattr(signal, f"SIG{interruptSignal}"):
            error(
                f"step MasterShellCommand: there is no signal {interruptSignal!r}", "as in 'KILL' or 'TERM'"
            )

    async def run(self) -> int:
        log = self._run.log("stdio")
        output = MasterOutput(log, self._run.masker)
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
        began = time.monotonic()
        try:
            async with asyncio.timeout(self.runtime_timeout or None):
                await process.copy(output)
        except TimeoutError:
            self._say(output, f"command timed out: {self.runtime_timeout:g} seconds elapsed\n")
            await process.kill(self.interruptSignal)
        except asyncio.CancelledError:
            self._say(output, "command interrupted\n")
            await process.kill(self.interruptSignal)
            raise
        finally:
            code = await process.end()
        lines = [f"process killed by signal {-code}"] if code < 0 else []
        lines += [
            f"program finished with exit code {max(code, -1)}",
            f"elapsedTime={time.monotonic() - began:.6f}",
        ]
        self._say(output, "\n".join(lines) + "\n")
        return max(code, -1)

    def _say(self, output: MasterOutput, text: str) -> None:
        output.write(HEADER, text.encode("utf-8", "surrogateescape"))


class MasterProcess:
    """A process of the master's, in a session of its own, with its watchdog."""

    def __init__(self, process: asyncio.subprocess.Process, terminal: int | None) -> None:
        self._process = process
        self._terminal = terminal
        self._watchdog: asyncio.subprocess.Process | None = None

    @classmethod
    async def start(
        cls, words: Sequence[str], workdir: str, env: Mapping[str, str], *, pty: bool
    ) -> MasterProcess:
        """Start it. Raises OSError, ValueError."""
        ours, theirs = os.openpty() if pty else (None, None)
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                cwd=workdir,
                env=dict(env),
                stdin=asyncio.subprocess.DEVNULL if theirs is None else theirs,
                stdout=asyncio.subprocess.PIPE if theirs is None else theirs,
                stderr=asyncio.subprocess.PIPE if theirs is None else theirs,
                start_new_session=True,
            )
        except BaseException:
            if ours is not None:
                os.close(ours)
            raise
        finally:
            if theirs is not None:
                os.close(theirs)
        made = cls(process, ours)
        made._watchdog = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", _WATCHDOG, "watchdog", str(process.pid),
            stdin=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        return made

    async def copy(self, output: MasterOutput) -> None:
        """Copy what it prints, until it ends."""
        if self._terminal is not None:
            await self._copy_terminal(self._terminal, output)
        else:
            process = self._process
            assert process.stdout is not None
            assert process.stderr is not None
            await asyncio.gather(_copy(process.stdout, STDOUT, output), _copy(process.stderr, STDERR, output))
        await self._process.wait()

    async def _copy_terminal(self, terminal: int, output: MasterOutput) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(terminal), "rb", 0)
        )
        try:
            # A terminal whose last process is gone answers with an error instead of its end.
            with contextlib.suppress(OSError):
                await _copy(reader, STDOUT, output)
        finally:
            output.end(STDOUT)
            transport.close()

    async def kill(self, name: str) -> None:
        """Kill its group, gently if ``name`` is gentle, and see it die."""
        self._signal(getattr(signal, f"SIG{name}"))
        try:
            async with asyncio.timeout(KILL_AFTER):
                await self._process.wait()
        except TimeoutError:
            pass
        self._signal(signal.SIGKILL)

    async def end(self) -> int:
        """Kill what is left of its group, and the watchdog; gives the exit code, negative for a signal."""
        self._signal(signal.SIGKILL)
        code = await self._process.wait()
        if self._watchdog is not None:
            with contextlib.suppress(ProcessLookupError):
                self._watchdog.kill()
            await self._watchdog.wait()
        if self._terminal is not None:
            os.close(self._terminal)
        return code

    def _signal(self, number: int) -> None:
        # The leader's process id is its group's, and stays taken while anything of the group lives.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


async def _copy(reader: asyncio.StreamReader, stream: str, output: MasterOutput) -> None:
    while data := await reader.read(_READ):
        output.write(stream, data)
    output.end(stream)


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
