"""What steps that look after files at the worker share."""

from __future__ import annotations

import hashlib
import stat
from typing import TYPE_CHECKING, Any

from buildwright.builds.commands import RemoteCommand
from buildwright.builds.done import Done
from buildwright.builds.step import BuildStepCancelled, BuildStepFailed
from buildwright.model.results import SUCCESS

if TYPE_CHECKING:
    from buildwright.builds.step import BuildStep as _Base
else:
    _Base = object

CONTENT_MOST = 16 * 1024 * 1024


class Content:
    """The blocks of a download that come from memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.identity: str | None = hashlib.blake2b(data, digest_size=16).hexdigest()

    def write(self, data: bytes) -> None:
        """Nothing comes back."""

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]


class Collected:
    """The blocks of an upload that are kept in memory."""

    identity: str | None = None

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        self.data += data

    def read(self, offset: int, length: int) -> bytes:
        """Nothing is asked for."""
        del offset, length
        return b""


class CompositeStepMixin(_Base):
    """Helpers for steps made of several commands: mix it in before :class:`BuildStep`.

    Paths are relative to the builder's directory at the worker; those of a file's content to the step's
    working directory. A command that fails ends the step with FAILURE, unless ``abandonOnFailure`` is false.

    Example::

        class Collect(steps.CompositeStepMixin, steps.BuildStep):
            async def run(self):
                await self.runMkdir("packages")
                found = await self.runGlob("build/dist/*.whl")
                self.setProperty("wheels", found)
                return util.SUCCESS if found else util.WARNINGS


        factory.addStep(Collect())
    """

    _remote_log: str | None = None

    def addLogForRemoteCommands(self, logname: str) -> Done:
        """Have what the helpers' commands say go to a log of this name, added if there is none."""
        self._remote_log = logname
        return Done(self._run.log(logname))

    async def runRemoteCommand(
        self, cmd: str, args: dict[str, Any], abandonOnFailure: bool = True, **options: Any
    ) -> RemoteCommand:
        """Run a command of the worker's; gives it back with its outcome."""
        command = RemoteCommand(cmd, args, **options)
        await self.run_checked(command, abandonOnFailure)
        return command

    async def run_checked(self, command: RemoteCommand, abandonOnFailure: bool = True) -> None:
        """Run a command; raises BuildStepCancelled if it was interrupted, BuildStepFailed if it failed."""
        if self._remote_log is not None and command.stdioLogName is not None:
            command.useLog(self._run.log(self._remote_log))
        await self.runCommand(command)
        if command.interrupted:
            raise BuildStepCancelled
        if abandonOnFailure and command.results() != SUCCESS:
            raise BuildStepFailed

    async def runRmdir(
        self, dir: str, timeout: float | None = None, abandonOnFailure: bool = True
    ) -> int | None:
        """Remove a directory with all that is in it; gives the exit code."""
        args: dict[str, Any] = {"paths": [self.build.path(dir)]}
        if timeout is not None:
            args["timeout"] = timeout
        return (await self.runRemoteCommand("rmdir", args, abandonOnFailure)).rc

    async def runMkdir(self, dir: str, abandonOnFailure: bool = True) -> int | None:
        """Make a directory, with those above it; gives the exit code."""
        return (await self.runRemoteCommand("mkdir", {"paths": [self.build.path(dir)]}, abandonOnFailure)).rc

    async def runRmFile(self, path: str, abandonOnFailure: bool = True) -> int | None:
        """Remove a file; gives the exit code."""
        return (await self.runRemoteCommand("rmfile", {"path": self.build.path(path)}, abandonOnFailure)).rc

    async def pathExists(self, path: str) -> bool:
        """Whether there is something of this name."""
        return await self._stat(path) is not None

    async def hasFile(self, path: str) -> bool:
        """Whether there is a regular file of this name."""
        mode = await self._stat(path)
        return mode is not None and stat.S_ISREG(mode)

    async def _stat(self, path: str) -> int | None:
        """What stat(2) says of a path's kind and permissions; None if there is nothing."""
        found = await self.runRemoteCommand(
            "stat", {"path": self.build.path(path)}, abandonOnFailure=False, stdioLogName=None
        )
        mode: int | None = found.updates["stat"][-1][stat.ST_MODE] if found.rc == 0 else None
        return mode

    async def runGlob(self, path: str, abandonOnFailure: bool = True) -> list[str]:
        """The absolute paths that match a pattern; ``**`` matches directories of any depth."""
        command = await self.runRemoteCommand("glob", {"path": self.build.path(path)}, abandonOnFailure)
        return [name for part in command.updates.get("files", []) for name in part]

    async def getFileContentFromWorker(self, filename: str, abandonOnFailure: bool = False) -> str | None:
        """A small file's content as text; None if it can't be read.

        Its path is relative to the step's working directory. It isn't kept for a takeover: a step that was
        reading then starts again, or its build does.
        """
        blocks = Collected()
        path = self.build.path(self.workdir or self.build.workdir, filename)
        command = RemoteCommand("upload", {"path": path, "maxsize": CONTENT_MOST})
        command.blocks = blocks
        await self.run_checked(command, abandonOnFailure)
        return blocks.data.decode("utf-8", "replace") if command.rc == 0 else None

    async def downloadFileContentToWorker(
        self,
        workerdest: str,
        strfile: str | bytes,
        abandonOnFailure: bool = False,
        mode: int | None = None,
        workdir: str | None = None,
    ) -> int | None:
        """Write a file at the worker, relative to the step's working directory; gives the exit code."""
        data = strfile.encode() if isinstance(strfile, str) else strfile
        path = self.build.path(workdir or self.workdir or self.build.workdir, workerdest)
        command = RemoteCommand("download", {"path": path, "mode": mode})
        command.blocks = Content(data)
        await self.run_checked(command, abandonOnFailure)
        return command.rc
