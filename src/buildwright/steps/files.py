"""Directories and files at the worker. Paths are relative to the builder's directory there."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from typing import Any, ClassVar

from buildwright.builds.commands import RemoteCommand
from buildwright.builds.step import BuildStep
from buildwright.model.render import IRenderable
from buildwright.model.results import FAILURE, SUCCESS


class MakeDirectory(BuildStep):
    """Makes a directory, and those above it that are missing.

    Example::

        factory.addStep(steps.MakeDirectory(dir="build/out"))
    """

    name = "MakeDirectory"
    haltOnFailure = True
    restartable = True
    description = ("Creating",)
    descriptionDone = ("Created",)
    renderables: ClassVar[Sequence[str]] = ("dir",)

    def __init__(self, dir: str | IRenderable, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dir: Any = dir

    async def run(self) -> int:
        command = RemoteCommand("mkdir", {"paths": [self.build.path(self.dir)]})
        return (await self.runCommand(command)).results()


class RemoveDirectory(BuildStep):
    """Removes a directory with all that is in it. One that isn't there is removed already.

    Example::

        factory.addStep(steps.RemoveDirectory(dir="build/out", alwaysRun=True))
    """

    name = "RemoveDirectory"
    haltOnFailure = True
    restartable = True
    description = ("Deleting",)
    descriptionDone = ("Deleted",)
    renderables: ClassVar[Sequence[str]] = ("dir",)

    def __init__(self, dir: str | IRenderable, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dir: Any = dir

    async def run(self) -> int:
        command = RemoteCommand("rmdir", {"paths": [self.build.path(self.dir)]})
        return (await self.runCommand(command)).results()


class CopyDirectory(BuildStep):
    """Copies the content of a directory into another one, which is made if it isn't there.

    Example::

        factory.addStep(steps.CopyDirectory(src="build/out", dest="previous"))
    """

    name = "CopyDirectory"
    haltOnFailure = True
    restartable = True
    description = ("Copying",)
    renderables: ClassVar[Sequence[str]] = ("src", "dest")

    def __init__(
        self,
        src: str | IRenderable,
        dest: str | IRenderable,
        timeout: float | None = 120,
        maxTime: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.src: Any = src
        self.dest: Any = dest
        self.timeout = timeout
        self.maxTime = maxTime

    async def run(self) -> int:
        args = {
            "from_path": self.build.path(self.src),
            "to_path": self.build.path(self.dest),
            "timeout": self.timeout,
            "maxTime": self.maxTime,
        }
        return (await self.runCommand(RemoteCommand("cpdir", args))).results()

    def getResultSummary(self) -> dict[str, str]:
        return self._with_result(f"Copied {self.src} to {self.dest}")


class FileExists(BuildStep):
    """Fails unless there is a regular file of this name.

    Example::

        factory.addStep(steps.FileExists("build/dist/project.tar.gz", haltOnFailure=True))
    """

    name = "FileExists"
    haltOnFailure = True
    restartable = True
    description = ("Checking",)
    renderables: ClassVar[Sequence[str]] = ("file",)

    def __init__(self, file: str | IRenderable, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.file: Any = file
        self._found = ""

    async def run(self) -> int:
        command = RemoteCommand("stat", {"path": self.build.path(self.file)})
        await self.runCommand(command)
        if command.interrupted or command.rc != 0:
            self._found = "File not found."
            return command.results()
        mode = command.updates["stat"][-1][stat.ST_MODE]
        regular = stat.S_ISREG(mode)
        self._found = "File found." if regular else "Not a file."
        return SUCCESS if regular else FAILURE

    def getResultSummary(self) -> dict[str, str]:
        return self._with_result(self._found)
