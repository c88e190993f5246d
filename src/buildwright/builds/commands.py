"""Commands on workers, as steps use them.

A :class:`RemoteCommand` is what a step asks for and, once it is over, what came of it. Its arguments are
plain values; what it is at the worker is described in :mod:`buildwright_worker.protocol`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from buildwright.model.results import CANCELLED, FAILURE, SUCCESS

if TYPE_CHECKING:
    from buildwright.builds.steplogs import StepLog
    from buildwright_worker.protocol import Result

# What Buildbot's master calls the commands, and what the worker calls them.
KINDS = {
    "uploadFile": "upload",
    "downloadFile": "download",
}
TIMED_OUT = frozenset({"timeout", "timeout_without_output"})


def _signal_name(number: int) -> str:
    """A signal of the worker's system by its name here; the common ones have the same everywhere."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Blocks(Protocol):
    """Where the blocks of an upload go, or those of a download come from.

    ``identity`` tells this content from another one under the same arguments. None: what was moved so far is
    gone with the process that moved it, so that whoever takes the build over has to start the step again.
    """

    identity: str | None

    def write(self, data: bytes) -> None:
        """Take the next block of an upload. What it raises ends the command, and reaches who runs it."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of a download; fewer than ``length`` at its end. What it raises is as in :meth:`write`."""
        ...


class RemoteCommand:
    """A command on the build's worker, and its outcome.

    ``rc`` is its exit code (-1: killed, or it never ran to an end), ``failure`` why the worker ended it (or
    None), ``updates`` what it said besides output, by key. ``stdout`` and ``stderr`` are text if they were
    collected.

    Example::

        class RemoveReports(steps.BuildStep):
            async def run(self):
                command = util.RemoteCommand("rmdir", {"dir": f"{self.build.builder.name}/reports"})
                await self.runCommand(command)
                return command.results()


        factory.addStep(RemoveReports())
    """

    def __init__(
        self,
        remote_command: str,
        args: Mapping[str, Any],
        ignore_updates: bool = False,
        collectStdout: bool = False,
        collectStderr: bool = False,
        decodeRC: Mapping[int, int] | None = None,
        stdioLogName: str | None = "stdio",
    ) -> None:
        self.remote_command = remote_command
        self.kind = KINDS.get(remote_command, remote_command)
        self.args: dict[str, Any] = dict(args)
        self.ignore_updates = ignore_updates
        self.collectStdout = collectStdout
        self.collectStderr = collectStderr
        self.decodeRC: Mapping[int, int] = {0: SUCCESS} if decodeRC is None else decodeRC
        self.stdioLogName = stdioLogName
        self.logs: dict[str, StepLog] = {}
        self.lazy: Callable[[str], StepLog] | None = (
            None  # makes the log of a log file when something comes of it
        )
        self.blocks: Blocks | None = None
        self.rc: int | None = None
        self.failure: str | None = None
        self.signal: int | None = None
        self.error: str | None = None
        self.elapsed_us = 0
        self.updates: dict[str, list[Any]] = {}
        self.interrupted = False
        self._collected: dict[str, bytearray] = {"o": bytearray(), "e": bytearray()}

    def log_of(self, name: str) -> StepLog | None:
        """Where output of ``name`` goes: "stdio", or a log file's name."""
        found = self.logs.get(name)
        if found is None and self.lazy is not None and name != "stdio":
            found = self.logs[name] = self.lazy(name)
        return found

    def useLog(
        self,
        log: StepLog,
        closeWhenFinished: bool = False,  # noqa: ARG002 - logs are closed with their step
        logfileName: str | None = None,
    ) -> None:
        """Send the command's output (or that of its log file ``logfileName``) to a log of the step."""
        self.logs[logfileName or "stdio"] = log

    @property
    def stdout(self) -> str:
        """The collected standard output."""
        return self._collected["o"].decode("utf-8", "replace")

    @property
    def stderr(self) -> str:
        return self._collected["e"].decode("utf-8", "replace")

    def didFail(self) -> bool:
        return self.results() == FAILURE

    def results(self) -> int:
        """The result that the exit code stands for."""
        if self.interrupted:
            return CANCELLED
        if self.rc is None or (self.failure is not None and self.rc == 0):
            return FAILURE
        return self.decodeRC.get(self.rc, FAILURE)

    @property
    def trouble(self) -> str:
        """Why the command came to no good end, in a few words; empty if its exit code says it all."""
        if self.failure in TIMED_OUT:
            return "timed out"
        if self.failure == "max_lines_failure":
            return "too many lines"
        if self.failure == "spawn":
            return self.error or "could not be started"
        if self.failure is None and self.signal is not None:
            return f"killed by {_signal_name(self.signal)}"
        return ""

    # -- for the engine -----------------------------------------------------------------------------------

    @property
    def collects(self) -> bool:
        return self.collectStdout or self.collectStderr

    def collect(self, stream: str, data: bytes) -> None:
        if (stream == "o" and self.collectStdout) or (stream == "e" and self.collectStderr):
            self._collected[stream] += data

    def update(self, key: str, value: Any) -> None:
        """Take an update: values of one key that are lists continue each other."""
        self.updates.setdefault(key, []).append(value)

    def end(self, result: Result) -> None:
        self.rc = result.rc
        self.failure = result.failure
        self.signal = result.signal
        self.error = result.error
        self.elapsed_us = result.elapsed_us
        if result.failure == "interrupted":
            self.interrupted = True

    def outcome(self) -> dict[str, Any]:
        """All that an equal request is answered with later, as plain values."""
        return {
            "rc": self.rc,
            "failure": self.failure,
            "signal": self.signal,
            "error": self.error,
            "elapsed_us": self.elapsed_us,
            "interrupted": self.interrupted,
            "updates": self.updates,
            "stdout": bytes(self._collected["o"]),
            "stderr": bytes(self._collected["e"]),
        }

    def restore(self, outcome: Mapping[str, Any]) -> None:
        """Take what :meth:`outcome` gave."""
        self.rc = outcome["rc"]
        self.failure = outcome["failure"]
        self.signal = outcome["signal"]
        self.error = outcome["error"]
        self.elapsed_us = outcome["elapsed_us"]
        self.interrupted = outcome["interrupted"]
        self.updates = {key: list(values) for key, values in outcome["updates"].items()}
        self._collected = {"o": bytearray(outcome["stdout"]), "e": bytearray(outcome["stderr"])}


class RemoteShellCommand(RemoteCommand):
    """A command line, run by the worker's shell if it is text, as it is if it is a list."""

    def __init__(
        self,
        workdir: str,
        command: str | list[str],
        env: Mapping[str, Any] | None = None,
        want_stdout: bool = True,
        want_stderr: bool = True,
        timeout: float | None = 1200,
        maxTime: float | None = None,
        max_lines: int | None = None,
        sigtermTime: float | None = None,
        logfiles: Mapping[str, Any] | None = None,
        usePTY: bool | None = None,
        logEnviron: bool = True,
        collectStdout: bool = False,
        collectStderr: bool = False,
        interruptSignal: str | None = None,
        initialStdin: str | bytes | None = None,
        decodeRC: Mapping[int, int] | None = None,
        stdioLogName: str | None = "stdio",
        lazylogfiles: bool = False,
        private: Mapping[str, str | bytes] | None = None,
    ) -> None:
        """``private`` are files (name and content) that only this command can read, in a directory that the
        variable ``BUILDWRIGHT_PRIVATE`` of its environment names, for as long as it runs.
        """
        args: dict[str, Any] = {
            "workdir": workdir,
            "command": command,
            "env": dict(env or {}),
            "want_stdout": bool(want_stdout),
            "want_stderr": bool(want_stderr),
            "logfiles": dict(logfiles or {}),
            "timeout": timeout,
            "maxTime": maxTime,
            "max_lines": max_lines,
            "sigtermTime": sigtermTime,
            "usePTY": bool(usePTY),
            "logEnviron": bool(logEnviron),
            "interruptSignal": interruptSignal or "KILL",
            "initialStdin": initialStdin,
        }
        if private:
            args["private"] = dict(private)
        super().__init__(
            "shell-private" if private else "shell",  # which an older worker doesn't have
            args,
            collectStdout=collectStdout,
            collectStderr=collectStderr,
            decodeRC=decodeRC,
            stdioLogName=stdioLogName,
        )
        self.command = command
        self.lazylogfiles = bool(lazylogfiles)
