"""Workers that play scripts: the shipped agent, with commands and files that only exist in memory.

A worker's files are a dict of paths, relative to the worker's directory, to bytes. Directories are there when
something made them or something is in them.
"""

from __future__ import annotations

import errno
import fnmatch
import io
import os
import posixpath
import stat
import tarfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildwright.testing.scripts import Ran, Script, Scripts
from buildwright_worker.agent import Agent
from buildwright_worker.commands import Command, Context
from buildwright_worker.config import AgentConfig
from buildwright_worker.ledger import Ledger
from buildwright_worker.protocol import Result

if TYPE_CHECKING:
    import asyncio

    from buildwright_worker.protocol.worker_events import DataArrived

WhoAsks = Callable[[str], tuple[str, int, str]]
"""A command's builder, build number and step, by its id."""
PIECE = 1 << 18


class MemoryLedger(Ledger):
    """The ledger of a worker that never dies."""

    def __init__(self, name: str) -> None:
        self.identity = f"ledger of {name}"

    def begin(self, id: str) -> None:
        """Nothing has to outlive it."""

    def started(self, id: str, pid: int) -> None:
        """As `begin`."""

    def forget(self, id: str) -> None:
        """As `begin`."""

    def close(self) -> None:
        """As `begin`."""


class Machine:
    """One worker. ``files`` is its disk."""

    def __init__(self, name: str, scripts: Scripts, who: WhoAsks, now: Callable[[], datetime]) -> None:
        self.name = name
        self.scripts = scripts
        self.who = who
        self.now = now
        self.files: dict[str, bytes] = {}
        self.directories: set[str] = set()
        self._basedir = Path("/worker") / name

    def agent(self, connect: Callable[..., Any]) -> Agent:
        """A worker process on this machine."""
        config = AgentConfig(
            basedir=self._basedir, masters=["ws://master/worker"], name=self.name, password="", environ={}
        )

        def shell(context: Context, args: dict[str, Any]) -> Command:
            return ScriptedCommand(context, args, self)

        kinds: dict[str, Any] = {"shell": shell, "shell-private": shell}
        for kind, command in FILES.items():
            kinds[kind] = _on(command, self)
        return Agent(config, kinds=kinds, connect=connect)

    def relative(self, path: str) -> str:
        """A command's path, as ``files`` has it."""
        return posixpath.normpath(path).removeprefix(f"{self._basedir}/")

    def below(self, directory: str) -> list[str]:
        """The files in a directory and below."""
        return sorted(path for path in self.files if path.startswith(f"{directory}/"))

    def is_directory(self, path: str) -> bool:
        return path in self.directories or bool(self.below(path))


def _on(command: Callable[..., Command], machine: Machine) -> Callable[[Context, dict[str, Any]], Command]:
    return lambda context, args: command(context, args, machine)


class ScriptedCommand(Command):
    """A command line that plays its script."""

    def __init__(self, context: Context, args: dict[str, Any], machine: Machine) -> None:
        super().__init__(context, args)
        self._machine = machine
        builder, build, step = machine.who(context.id)
        self.ran = Ran(
            command=args["command"],
            worker=machine.name,
            workdir=machine.relative(context.path(args["workdir"])),
            env={name: value for name, value in (args.get("env") or {}).items() if value is not None},
            at=machine.now(),
            builder=builder,
            build=build,
            step=step,
            args=args,
        )
        self._began = context.loop.time()
        self._script: Script
        self._timer: asyncio.TimerHandle | None = None
        self._limit: asyncio.TimerHandle | None = None
        self._over = False

    def start(self) -> None:
        self._script = self._machine.scripts.begin(self.ran)
        self.context.started(1)
        self.context.header(f"{self.ran.line}\n in dir {self.ran.workdir}\n", urgent=False)
        limit = self.ran.args.get("maxTime")
        if limit:
            self._limit = self.context.loop.call_later(limit, self.interrupt, "timeout", "command timed out")
        self._wait(0)

    def interrupt(self, failure: str, why: str, *, at_once: bool = False) -> None:
        del at_once
        if not self._over:
            self.context.header(f"{why}\n")
            self._end(Result(-1, failure, self._elapsed_us(), 9))

    def _wait(self, number: int) -> None:
        """Come back for an act, or for the end; a silence that is too long ends the command."""
        script, loop = self._script, self.context.loop
        last = number >= len(script.acts)
        after = script.rest if last else script.acts[number][0]
        silence = self.ran.args.get("timeout")
        if silence and (after > silence or (last and script.endless)):
            why = f"command timed out: {silence:g} seconds without output"
            self._timer = loop.call_later(silence, self.interrupt, "timeout_without_output", why)
        elif not (last and script.endless):
            self._timer = loop.call_later(after, self._act, number)

    def _act(self, number: int) -> None:
        script = self._script
        if number < len(script.acts):
            _, stream, data = script.acts[number]
            self.context.output(stream, data)
            self._wait(number + 1)
            return
        for path, content in script.files.items():
            self._machine.files[posixpath.normpath(posixpath.join(self.ran.workdir, path))] = content
        if script.signal is None:
            self.context.header(f"program finished with exit code {script.code}\n")
        self._end(Result(script.code, None, self._elapsed_us(), script.signal))

    def _elapsed_us(self) -> int:
        return int((self.context.loop.time() - self._began) * 1_000_000)

    def _end(self, result: Result) -> None:
        self._over = True
        for timer in (self._timer, self._limit):
            if timer is not None:
                timer.cancel()
        self.ran.code, self.ran.failure = result.rc, result.failure
        self.ran.took = self.context.loop.time() - self._began
        self.context.finish(result)


class FileCommand(Command):
    """A command about files: ``work`` does it at once."""

    def __init__(self, context: Context, args: dict[str, Any], machine: Machine) -> None:
        super().__init__(context, args)
        self.args = args
        self.machine = machine

    def work(self) -> None:
        raise AssertionError("every file command has its work")

    def start(self) -> None:
        try:
            self.work()
        except OSError as error:
            self.context.error(f"{error.filename}: {error.strerror}\n")
            self.context.finish(Result(error.errno or 1))
        else:
            self.context.finish(Result(0))

    def path(self, name: str = "path") -> str:
        """A path among the arguments, as the machine's files have it."""
        return self.machine.relative(self.context.path(self.args[name]))

    def paths(self) -> list[str]:
        given = self.args["paths"]
        each = [given] if isinstance(given, str) else given
        return [self.machine.relative(self.context.path(path)) for path in each]

    def missing(self, path: str) -> OSError:
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


class MakeDirectories(FileCommand):
    def work(self) -> None:
        self.machine.directories.update(self.paths())


class RemoveDirectories(FileCommand):
    def work(self) -> None:
        machine = self.machine
        for path in self.paths():
            machine.files.pop(path, None)
            for each in machine.below(path):
                del machine.files[each]
            machine.directories -= {
                each for each in machine.directories if each == path or each.startswith(f"{path}/")
            }


class CopyDirectory(FileCommand):
    def work(self) -> None:
        source, target = self.path("from_path"), self.path("to_path")
        self.machine.directories.add(target)
        for each in self.machine.below(source):
            self.machine.files[target + each.removeprefix(source)] = self.machine.files[each]


class RemoveFile(FileCommand):
    def work(self) -> None:
        if self.machine.files.pop(self.path(), None) is None:
            raise self.missing(self.path())


class Stat(FileCommand):
    def work(self) -> None:
        path, machine = self.path(), self.machine
        if path in machine.files:
            mode, size = stat.S_IFREG | 0o644, len(machine.files[path])
        elif machine.is_directory(path):
            mode, size = stat.S_IFDIR | 0o755, 4096
        else:
            raise self.missing(path)
        self.context.update("stat", [mode, 1, 1, 1, 0, 0, size, 0, 0, 0])


class ListDirectory(FileCommand):
    def work(self) -> None:
        path = self.path()
        if not self.machine.is_directory(path):
            raise self.missing(path)
        inside = [*self.machine.below(path), *self.machine.directories]
        names = {each[len(path) + 1 :].split("/")[0] for each in inside if each.startswith(f"{path}/")}
        self.context.update_list("files", sorted(names))


class Glob(FileCommand):
    def work(self) -> None:
        known = {*self.machine.files, *self.machine.directories}
        found = [each for each in known if fnmatch.fnmatchcase(each, self.path())]
        self.context.update_list("files", [self.context.path(each) for each in sorted(found)])


class Upload(FileCommand):
    def work(self) -> None:
        path, machine = self.path(), self.machine
        if self.args.get("directory"):
            if not machine.is_directory(path):
                raise self.missing(path)
            data = self._archive(path)
        elif path in machine.files:
            data = machine.files[path]
        else:
            raise self.missing(path)
        limit = self.args.get("maxsize")
        for start in range(0, len(data), PIECE):
            self.context.block(data[start : start + PIECE])
        if limit is not None and len(data) > limit:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)

    def _archive(self, path: str) -> bytes:
        made = io.BytesIO()
        compress = self.args.get("compress") or ""
        with tarfile.open(fileobj=made, mode=f"w|{compress}") as archive:  # type: ignore[call-overload]  # gz, bz2
            for each in self.machine.below(path):
                entry = tarfile.TarInfo(each[len(path) + 1 :])
                entry.size = len(self.machine.files[each])
                archive.addfile(entry, io.BytesIO(self.machine.files[each]))
        return made.getvalue()


class Download(FileCommand):
    def start(self) -> None:
        self._data = bytearray()
        self.context.pull(0, PIECE)

    def data_arrived(self, data: DataArrived) -> None:
        self._data += data.data
        if not data.eof:
            self.context.pull(len(self._data), PIECE)
            return
        self.machine.files[self.path()] = bytes(self._data)
        self.context.finish(Result(0))

    def interrupt(self, failure: str, why: str, *, at_once: bool = False) -> None:
        del why, at_once
        self.context.finish(Result(-1, failure))


FILES: dict[str, type[FileCommand]] = {
    "mkdir": MakeDirectories,
    "rmdir": RemoveDirectories,
    "cpdir": CopyDirectory,
    "rmfile": RemoveFile,
    "stat": Stat,
    "listdir": ListDirectory,
    "glob": Glob,
    "upload": Upload,
    "download": Download,
}
