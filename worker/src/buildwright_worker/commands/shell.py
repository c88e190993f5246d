"""The commands that run a process: "shell", and "shell-private" with files of its own.

*Order.* Header, spawn, output as it comes, and when the process has exited and nobody holds its pipes any
more: the rest of the followed log files, a header with the outcome, the result. A process whose descendants
keep the pipes open is still running: their output belongs to it. What is left in its process group at the
end is killed before the result is given, so that a lock is not freed while something still runs under it.

*Time.* `timeout` (without output) and `maxTime` count only while the pipes are read. When the spool is full
the clock of this command stands still.

*Killing.* `sigtermTime` gives the group a SIGTERM and that many seconds first; then comes
`interruptSignal`. If after 5 s anything is left, also in sessions of its own, it is killed one by one, and
not before none is left there is a result. If the pipes stay open even then, some process without our marker
holds them; they are closed, and the header says so.

*Private files.* `private` maps names to contents: keys and passwords that the process reads from files. They
are in a directory of the command's own, which `BUILDWRIGHT_PRIVATE` in its environment names and only its
owner can enter, from before the process starts until nothing of the command runs. What a killed worker leaves
of them the next one removes.

*Failing to start* is a result too (127 for a command that was not found, as a shell has it), never a lost
command.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import signal
import time
from typing import Any

from buildwright_worker import posix
from buildwright_worker.directories import REMOVE
from buildwright_worker.logfiles import FollowedFiles
from buildwright_worker.protocol import Result

from . import base
from .base import ArgumentError, Command, Context

READ_SIZE = 1 << 16
READS_PER_TURN = 4
KILL_AFTER_S = 5.0
CLOSE_AFTER_S = 3.0

PRIVATE = "BUILDWRIGHT_PRIVATE"

_FILE_NAME = re.compile(r"\w[\w.-]*\Z")
_VARIABLE = re.compile(r"\$\{([0-9a-zA-Z_]*)\}")


class ShellCommand(Command):
    headers = True

    def __init__(self, context: Context, args: dict[str, Any]) -> None:
        super().__init__(context, args)
        command = args.get("command")
        if isinstance(command, bytes):
            command = os.fsdecode(command)
        if isinstance(command, list):
            command = [os.fsdecode(word) if isinstance(word, bytes) else word for word in command]
        if isinstance(command, str):
            self.argv = ["/bin/sh", "-c", command]
            self.shown = command
        elif isinstance(command, list) and command and all(isinstance(word, str) for word in command):
            self.argv = command
            self.shown = " ".join(map(shlex.quote, command))
        else:
            raise ArgumentError("command must be text or a list of texts that is not empty")
        if any("\0" in word for word in self.argv):
            raise ArgumentError("command must not contain NUL characters")
        self.workdir = context.path(base.text(args, "workdir", "."))
        self.env = _environment(context, args.get("env") or {}, self.workdir)
        self.terminal = base.flag(args, "usePTY", False)
        self.shows_environment = base.flag(args, "logEnviron", True)
        self.makes_workdir = base.flag(args, "mkdir", True)
        self.timeout = base.number(args, "timeout")
        self.max_time = base.number(args, "maxTime")
        max_lines = base.number(args, "max_lines")
        self.lines_left = None if max_lines is None else int(max_lines)
        self.sigterm_time = base.number(args, "sigtermTime")
        self.interrupt_signal = _signal(base.text(args, "interruptSignal", "KILL"))
        self.wanted = {"o": base.flag(args, "want_stdout", True), "e": base.flag(args, "want_stderr", True)}
        self.input = _input(args.get("initialStdin"), self.terminal)
        self.files = FollowedFiles(context, _files(context, self.workdir, args.get("logfiles") or {}))
        self.child: posix.Child | None = None
        self.failure: str | None = None
        self.open: dict[int, str] = {}  # descriptors that are read, and their streams
        self.began = time.monotonic()
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._unread = 0.0  # seconds for which the pipes were not read
        self._unread_since: float | None = None
        self._last_output = 0.0
        self._hunted = True  # no processes of this command can be left outside of its group
        self._hunts = 0
        self._ending = False  # the process has exited and its pipes are closed
        self._concluded = False
        self._exit = posix.Exit(-1, None)
        self._took = 0  # microseconds, known at the end

    # Starting

    def start(self) -> None:
        context = self.context
        try:
            if self.makes_workdir:
                os.makedirs(self.workdir, exist_ok=True)
            self._prepare()
            self.files.start()
            self.child = posix.spawn(
                self.argv,
                env=self.env,
                cwd=self.workdir,
                wants_stdin=self.input is not None,
                terminal=self.terminal,
            )
        except (OSError, ValueError) as error:
            self._not_started(error)
            return
        child = self.child
        if self.headers:
            context.header(f"{self._opening()} process {child.pid}\n", urgent=False)
        try:
            context.started(child.pid)
        except OSError as error:
            self.interrupt("spawn", f"the worker can't note its process: {error.strerror}", at_once=True)
        self._last_output = self._now()
        if child.stdin is not None:
            self._write_input()
        self.open = {child.stdout: "o"} if child.stderr is None else {child.stdout: "o", child.stderr: "e"}
        for fd in self.open:
            context.loop.add_reader(fd, self._readable, fd)
        self._arm()

    def _prepare(self) -> None:
        """What has to be there before the process starts."""

    def _clean_up(self) -> None:
        """Nothing of the process runs any more, and the result is about to be given."""

    def _opening(self) -> str:
        lines = [self.shown, f" in dir {self.workdir} ({self._limits()})"]
        if self.files.names:
            lines.append(f" watching logfiles {', '.join(self.files.names)}")
        if self.shows_environment:
            lines.append(" environment:")
            lines += [f"  {name}={value}" for name, value in sorted(self.env.items())]
        lines.append(f" using PTY: {self.terminal}")
        return "\n".join(lines) + "\n"

    def _limits(self) -> str:
        limits = []
        if self.timeout:
            limits.append(f"timeout {self.timeout:g} secs")
        if self.max_time:
            limits.append(f"maxTime {self.max_time:g} secs")
        return ", ".join(limits) or "no time limits"

    def _not_started(self, error: Exception) -> None:
        code = -1
        text = str(error)
        if isinstance(error, OSError):
            text = error.strerror or str(error)
            if error.filename != self.argv[0]:
                text = f"can't use the directory {self.workdir}: {text}"
            elif isinstance(error, FileNotFoundError):
                code, text = 127, f"command not found: {self.argv[0]}"
            elif isinstance(error, PermissionError):
                code, text = 126, f"can't run {self.argv[0]}: {text}"
            else:
                text = f"can't run {self.argv[0]}: {text}"
        self._clean_up()
        self.context.header(f"{self._opening()}{text}\n")
        self._ending = True
        self.context.finish(Result(code, "spawn", self._elapsed(), None, text))

    # Input

    def _write_input(self) -> None:
        """Give the process its input, as much as it takes at a time; it need not take any of it."""
        assert self.child is not None
        fd = self.child.stdin
        if fd is None:
            return
        data = self.input or b""
        try:
            written = os.write(fd, data[:READ_SIZE]) if data else 0
        except BlockingIOError:
            written = 0
        except OSError:
            data, written = b"", 0
        self.input = data[written:]
        if self.input:
            self.context.loop.add_writer(fd, self._write_input)
        else:
            self._close_input()

    def _close_input(self) -> None:
        if self.child is not None and self.child.stdin is not None:
            self.context.loop.remove_writer(self.child.stdin)
            os.close(self.child.stdin)
            self.child.stdin = None

    # Output

    def _readable(self, fd: int) -> None:
        stream = self.open[fd]
        for _ in range(READS_PER_TURN):
            data = posix.read(fd, READ_SIZE)
            if data is None:
                return
            if not data:
                self._close(fd)
                return
            self._take(stream, data)
            if self.context.spool.full:
                self._pause()
                return
            if len(data) < READ_SIZE:
                return
            posix.grow_pipe(fd)

    def _take(self, stream: str, data: bytes) -> None:
        self._last_output = self._now()
        if self.lines_left is not None:
            if self.failure == "max_lines_failure":
                return
            lines = data.count(b"\n")
            if lines > self.lines_left:
                data = b"".join(line + b"\n" for line in data.split(b"\n")[: self.lines_left])
            self.lines_left -= lines
        if data and self.wanted[stream]:
            self.context.output(stream, data)
        if self.lines_left is not None and self.lines_left < 0:
            self.interrupt("max_lines_failure", "more lines than max_lines allows")

    def _close(self, fd: int) -> None:
        self.context.loop.remove_reader(fd)
        os.close(fd)
        self.context.end_stream(self.open.pop(fd))
        if not self.open:
            self._look_for_exit()

    def _pause(self) -> None:
        self.context.waiting = True
        if self._unread_since is None:
            self._unread_since = time.monotonic()
            for fd in self.open:
                self.context.loop.remove_reader(fd)

    def resume(self) -> None:
        if self._unread_since is not None:
            self._unread += time.monotonic() - self._unread_since
            self._unread_since = None
            for fd in self.open:
                self.context.loop.add_reader(fd, self._readable, fd)
            self._arm()
        self.files.resume()

    # Time

    def _now(self) -> float:
        """Seconds for which the pipes were read."""
        return (self._unread_since or time.monotonic()) - self._unread

    def _elapsed(self) -> int:
        return int((time.monotonic() - self.began) * 1_000_000)

    def _arm(self) -> None:
        """See to it that `_check_time` is called when the next limit is reached."""
        if self.failure is not None or not (self.timeout or self.max_time):
            return
        due = []
        if self.timeout:
            due.append(self._last_output + self.timeout)
        if self.max_time:
            due.append(self.began + self.max_time)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.context.loop.call_later(max(0.0, min(due) - self._now()), self._check_time)

    def _check_time(self) -> None:
        self._timer = None
        if self.failure is not None or self._unread_since is not None:
            return
        now = self._now()
        if self.max_time and now >= self.began + self.max_time:
            self.interrupt("timeout", f"command timed out: {self.max_time:g} seconds elapsed")
        elif self.timeout and now >= self._last_output + self.timeout:
            self.interrupt(
                "timeout_without_output", f"command timed out: {self.timeout:g} seconds without output"
            )
        else:
            self._arm()

    # Killing

    def interrupt(self, failure: str, why: str, *, at_once: bool = False) -> None:
        if self._ending or (self.failure is not None and not at_once):
            return
        first = self.failure is None
        self.failure = self.failure or failure
        if self.child is None:
            return  # `start` is on the stack
        if first:
            self.context.header(f"{why}, attempting to kill\n")
            self._hunted = False
        if at_once:
            self.child.kill(signal.SIGKILL)
            self.context.task(self._hunt(0.0))
        elif self.sigterm_time:
            self.child.kill(signal.SIGTERM)
            self.context.loop.call_later(self.sigterm_time, self._interrupt_group)
        else:
            self._interrupt_group()

    def _interrupt_group(self) -> None:
        if self.child is not None and not self._hunted:
            self.child.kill(self.interrupt_signal)
            self.context.task(self._hunt(KILL_AFTER_S))

    async def _hunt(self, patience: float) -> None:
        """Kill all that is left of a command that has been told to end, until none is."""
        self._hunts += 1
        deadline = time.monotonic() + patience
        pause = 0.005
        while True:
            left = await self._leftovers()
            if not left:
                break
            if time.monotonic() >= deadline:
                for pid in left:
                    posix.kill_process(pid)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.2)
        self._hunted = True
        deadline = max(deadline, time.monotonic() + CLOSE_AFTER_S)
        while self.open and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            if self._unread_since is not None:
                deadline = time.monotonic() + CLOSE_AFTER_S
        if self.open:
            self.context.header("a process that the worker does not know holds the output open: closing it\n")
            for fd in list(self.open):
                self._close(fd)
        elif self._ending:
            self._conclude()

    async def _leftovers(self) -> set[int]:
        assert self.child is not None
        marked = await self.context.loop.run_in_executor(None, posix.marked_processes, [self.context.marker])
        return {*marked, *posix.group_members(self.child.pid)} - {os.getpid()}

    # Ending

    def _look_for_exit(self) -> None:
        assert self.child is not None
        if self.child.has_exited():
            self._exited()
        else:
            posix.watch_exit(self.context.loop, self.child, self._exited)

    def _exited(self) -> None:
        """The process has ended and its pipes are closed."""
        self._ending = True
        self._took = self._elapsed()
        if self._timer is not None:
            self._timer.cancel()
        self._close_input()
        if self._hunted:
            self._conclude()
        elif self._hunts == 0:  # the gentle signal sufficed for this process: look for its descendants
            self.context.task(self._hunt(KILL_AFTER_S))

    def _conclude(self) -> None:
        """Kill what is left in the process group. Until then the zombie keeps the group's number ours."""
        if self._concluded:
            return
        self._concluded = True
        assert self.child is not None
        self.child.kill(signal.SIGKILL)
        self._exit = self.child.reap()
        self._settle()

    def _settle(self) -> None:
        """Give the result once nothing lives in the process group and the log files are read."""
        assert self.child is not None
        if posix.kill_group(self.child.pid, signal.SIGKILL) and posix.group_members(self.child.pid):
            self.context.loop.call_later(0.005, self._settle)
            return
        self.files.finish(self._report)

    def _report(self) -> None:
        self._clean_up()
        code, number = self._exit
        if self.headers:
            lines = [] if number is None else [f"process killed by signal {number}"]
            lines += [f"program finished with exit code {code}", f"elapsedTime={self._took / 1_000_000:.6f}"]
            self.context.header("\n".join(lines) + "\n")
        self.context.finish(Result(code, self.failure, self._took, number))


class PrivateShellCommand(ShellCommand):
    """A process that has files which nobody else may read: "shell-private"."""

    def __init__(self, context: Context, args: dict[str, Any]) -> None:
        super().__init__(context, args)
        self.private = _private(args.get("private"))
        self.env[PRIVATE] = context.private

    def _prepare(self) -> None:
        os.makedirs(self.context.private, mode=0o700)
        for name, content in self.private.items():
            path = os.path.join(self.context.private, name)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                posix.write_all(fd, content, 0)
            finally:
                os.close(fd)

    def _clean_up(self) -> None:
        shutil.rmtree(self.context.private, ignore_errors=True)


class TreeCommand(ShellCommand):
    """A command of the worker's own that runs as a process, so that it can be killed: "rmdir", "cpdir"."""

    headers = False

    def __init__(self, context: Context, args: dict[str, Any], script: str, paths: list[str]) -> None:
        for path in paths:
            if os.path.realpath(context.path(path)) in ("/", os.path.realpath(context.basedir)):
                raise ArgumentError(f"{path!r} is the worker's own directory or the root")
        words = ["/bin/sh", "-c", script, "sh", *map(context.path, paths)]
        limits = {"timeout": args.get("timeout"), "maxTime": args.get("maxTime")}
        super().__init__(context, {"command": words, "mkdir": False, **limits})


class RemoveDirectories(TreeCommand):
    """Remove trees; what is not there is removed already. Directories without permissions get them first."""

    def __init__(self, context: Context, args: dict[str, Any]) -> None:
        super().__init__(context, args, REMOVE, base.texts(args, "paths"))


class CopyDirectory(TreeCommand):
    """Copy a tree's content into another directory, which is made if it isn't there."""

    def __init__(self, context: Context, args: dict[str, Any]) -> None:
        script = 'mkdir -p -- "$2" && cp -R -P -p -- "$1/." "$2/"'
        super().__init__(context, args, script, [base.text(args, "from_path"), base.text(args, "to_path")])


def _environment(context: Context, wanted: dict[str, Any], workdir: str) -> dict[str, str]:
    """The process's environment: the worker's own, with the command's wishes."""
    own = context.environ
    if not isinstance(wanted, dict):
        raise ArgumentError("env must be a map")
    env = dict(own)
    for name, value in wanted.items():
        if not name or "=" in name or "\0" in name:
            raise ArgumentError(f"env: {name!r} can't be the name of a variable")
        if value is None:
            env.pop(name, None)
            continue
        joined = os.pathsep.join(map(str, value)) if isinstance(value, list) else str(value)
        if "\0" in joined:
            raise ArgumentError(f"env: {name} contains a NUL character")
        env[name] = _VARIABLE.sub(lambda match: own.get(match.group(1), ""), joined)
        if name == "PYTHONPATH" and own.get("PYTHONPATH"):
            env[name] += os.pathsep + own["PYTHONPATH"]
    env["PWD"] = workdir
    env[posix.MARKER] = context.marker
    return env


def _private(wanted: Any) -> dict[str, bytes]:
    """The private files' contents by their names."""
    if not isinstance(wanted, dict):
        raise ArgumentError("private must be a map")
    files = {}
    for name, content in wanted.items():
        if not isinstance(name, str) or not _FILE_NAME.match(name):
            raise ArgumentError(f"private: {name!r} can't be the name of a file")
        if not isinstance(content, (str, bytes)):
            raise ArgumentError(f"private: {name} must be text or bytes")
        files[name] = content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
    return files


def _signal(name: str) -> int:
    try:
        return posix.signal_number(name)
    except ValueError as error:
        raise ArgumentError(f"interruptSignal: {error}") from None


def _input(value: Any, terminal: bool) -> bytes | None:
    """The bytes to give to the process; a terminal tells their end by a character."""
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    if value is not None and not isinstance(value, bytes):
        raise ArgumentError("initialStdin must be text or bytes")
    if value is None or not terminal:
        return value
    return value + (b"\x04" if value.endswith(b"\n") else b"\x04\x04")


def _files(context: Context, workdir: str, wanted: Any) -> list[tuple[str, str, bool]]:
    """The followed log files: name, path, and whether to begin at the end of what is there."""
    if not isinstance(wanted, dict):
        raise ArgumentError("logfiles must be a map")
    files = []
    for name, what in wanted.items():
        args = {"filename": what} if isinstance(what, str) else what
        if not isinstance(args, dict):
            raise ArgumentError(f"logfiles: {name} must be a path or a map with filename and follow")
        path = posix.user_directory(base.text(args, "filename"))
        full = os.path.join(context.basedir, workdir, path)
        files.append((name, full, base.flag(args, "follow", False)))
    return files
