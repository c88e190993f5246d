"""Directories, and several files at once, from the worker to the master.

A directory comes as an archive, which is unpacked when all of it is there
(:mod:`buildwright.steps.unpacking` tells what it may hold). Where there is nothing at the destination, the
directory is there whole or not at all. Into one that is there it is merged: each file is whole. What the
worker leaves out (:mod:`buildwright_worker.commands.trees`) makes the result WARNINGS.
"""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from buildwright.builds.commands import RemoteCommand
from buildwright.builds.step import BuildStepCancelled, BuildStepFailed
from buildwright.model.errors import error, shown
from buildwright.model.render import IRenderable
from buildwright.model.renderable import settle
from buildwright.model.results import SKIPPED, SUCCESS, WARNINGS
from buildwright.steps.arriving import ArrivingTree
from buildwright.steps.transfer import Upload

COMPRESS = (None, "gz", "bz2")


class _TreeUpload(Upload):
    """What uploads of directories share."""

    compress: str | None

    def _check_compress(self, compress: Any) -> None:
        if compress not in COMPRESS:
            error(
                f"step {type(self).__name__}: compress can't be {shown(compress)}",
                "give it None, 'gz' or 'bz2'",
            )

    async def upload_directory(self, source: str, destination: Path) -> int:
        """Copy a directory of the worker's, given by its whole path; gives the result."""
        if _holds(destination, self.build.runner.services.basedir):
            return self.refuse(f"{destination} holds the master's own files")
        command = RemoteCommand(
            "upload",
            {
                "path": source,
                "directory": True,
                "maxsize": self.maxsize,
                "blocksize": self.blocksize,
                "compress": self.compress,
            },
        )
        where = self._run.stepid, self._run.tries
        try:
            with ArrivingTree(destination, *where, self.compress or "", self.maxsize) as tree:
                command.blocks = tree
                self._run.runner.pin()
                await self.runCommand(command)
                if command.results() == SUCCESS:
                    problem = await self._keep(tree.unpack)
                    if problem is not None:
                        return self.refuse(problem)
        except OSError as problem:
            return self.refuse(f"can't write {destination}: {problem.strerror}")
        if command.results() == SUCCESS and "left_out" in command.updates:
            return WARNINGS
        return command.results()


class DirectoryUpload(_TreeUpload):
    """Copies a directory with all that is in it from the worker to the master.

    ``maxsize`` bounds the bytes of all its files together.

    Example::

        factory.addStep(
            steps.DirectoryUpload(
                workersrc="docs/_build/html",
                masterdest=util.Interpolate("public/%(prop:branch)s"),
                compress="gz",
            )
        )
    """

    name = "upload"
    renderables: ClassVar[Sequence[str]] = ("workersrc", "masterdest", "url", "urlText")

    def __init__(
        self,
        workersrc: str | IRenderable | None = None,
        masterdest: str | IRenderable | None = None,
        workdir: Any = None,
        maxsize: int | None = None,
        blocksize: int = 16 * 1024,
        compress: str | None = None,
        url: str | IRenderable | None = None,
        urlText: str | IRenderable | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(workdir=workdir, **kwargs)
        self._needs(workersrc=workersrc, masterdest=masterdest)
        self._numbers(maxsize=maxsize, blocksize=blocksize)
        self._check_compress(compress)
        self.workersrc: Any = workersrc
        self.masterdest: Any = masterdest
        self.maxsize = maxsize
        self.blocksize = blocksize
        self.compress = compress
        self.url: Any = url
        self.urlText: Any = urlText

    async def run(self) -> int:
        destination = self.master_path(self.masterdest)
        if self.url is not None:
            self.addURL(self.urlText or destination.name, self.url)
        return await self.upload_directory(self.worker_path(self.workersrc), destination)

    def getCurrentSummary(self) -> dict[str, str]:
        return super().getCurrentSummary() if self.description else {"step": f"uploading {self.workersrc}"}

    def getResultSummary(self) -> dict[str, str]:
        if self.description or self.descriptionDone:
            return super().getResultSummary()
        return self._with_result(f"uploading {self.workersrc}")


class MultipleFileUpload(_TreeUpload):
    """Copies files and directories from the worker into a directory of the master, ``masterdest``.

    ``workersrcs`` is a path or a list of paths; patterns, if ``glob`` is true. ``mode`` and ``keepstamp`` are
    for files, ``compress`` is for directories; ``maxsize`` bounds each of them. The first that can't be
    copied ends the step; if there is nothing to copy it is skipped. To do something when one or all of them
    are there, override :meth:`uploadDone` or :meth:`allUploadsDone`.

    Example::

        factory.addStep(
            steps.MultipleFileUpload(workersrcs=["dist/*.whl", "report"], masterdest="archive", glob=True)
        )
    """

    name = "upload"
    renderables: ClassVar[Sequence[str]] = ("workersrcs", "masterdest", "url", "urlText")

    def __init__(
        self,
        workersrcs: str | Sequence[Any] | IRenderable | None = None,
        masterdest: str | IRenderable | None = None,
        workdir: Any = None,
        maxsize: int | None = None,
        blocksize: int = 16 * 1024,
        glob: bool = False,
        mode: int | None = None,
        compress: str | None = None,
        keepstamp: bool = False,
        url: str | IRenderable | None = None,
        urlText: str | IRenderable | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(workdir=workdir, **kwargs)
        self._needs(workersrcs=workersrcs, masterdest=masterdest)
        self._numbers(maxsize=maxsize, blocksize=blocksize, mode=mode)
        self._check_compress(compress)
        self.workersrcs: Any = workersrcs
        self.masterdest: Any = masterdest
        self.maxsize = maxsize
        self.blocksize = blocksize
        self.glob = glob
        self.mode = mode
        self.compress = compress
        self.keepstamp = keepstamp
        self.url: Any = url
        self.urlText: Any = urlText
        self._shown = ""

    async def run(self) -> int:
        asked = [self.workersrcs] if isinstance(self.workersrcs, str) else list(self.workersrcs)
        paths = [self.worker_path(path) for path in asked]
        if self.glob:
            asked = paths = await self._matches(paths)
        sources = dict(zip(paths, asked, strict=True))
        self._shown = next(iter(asked)) if len(asked) == 1 else f"{len(sources)} files"
        if not sources:
            self._run.log("stdio").addHeader("nothing to upload\n")
            await settle(self.allUploadsDone(SKIPPED, [], self.masterdest))
            return SKIPPED
        self.updateSummary()
        problem = _clash(list(sources))
        if problem is not None:
            return self.refuse(problem)
        result = SUCCESS
        for path, source in sources.items():
            one = await self._upload(path)
            await settle(self.uploadDone(one, source, self.masterdest))
            if one not in (SUCCESS, WARNINGS):
                result = one
                break
            result = WARNINGS if WARNINGS in (one, result) else SUCCESS
        await settle(self.allUploadsDone(result, list(sources.values()), self.masterdest))
        return result

    async def _matches(self, patterns: Sequence[str]) -> list[str]:
        found: dict[str, None] = {}
        for pattern in patterns:
            command = RemoteCommand("glob", {"path": pattern})
            await self.runCommand(command)
            if command.results() != SUCCESS:
                raise BuildStepCancelled if command.interrupted else BuildStepFailed
            found.update(dict.fromkeys(name for part in command.updates.get("files", ()) for name in part))
        return list(found)

    async def _upload(self, path: str) -> int:
        command = RemoteCommand("stat", {"path": path})
        await self.runCommand(command)
        if command.results() != SUCCESS:
            return command.results()
        kind = command.updates["stat"][-1][stat.ST_MODE]
        destination = self.master_path(self.masterdest) / posixpath.basename(path)
        if stat.S_ISDIR(kind):
            return await self.upload_directory(path, destination)
        if stat.S_ISREG(kind):
            return await self.upload_file(path, destination, self.mode, keepstamp=self.keepstamp)
        return self.refuse(f"{path} is neither a file nor a directory")

    def uploadDone(self, result: int, source: str, masterdest: str) -> Any:
        """One of the sources has been copied, or not: to be overridden; may be a coroutine function."""

    def allUploadsDone(self, result: int, sources: Sequence[str], masterdest: str) -> Any:  # noqa: ARG002 - for who overrides it
        """All of them have: shows ``url``. May be overridden, also by a coroutine function."""
        if self.url is not None:
            self.addURL(self.urlText or posixpath.basename(masterdest.rstrip("/")), self.url)

    def getCurrentSummary(self) -> dict[str, str]:
        if self.description:
            return super().getCurrentSummary()
        return {"step": f"uploading {self._shown or 'files'}"}

    def getResultSummary(self) -> dict[str, str]:
        if self.description or self.descriptionDone:
            return super().getResultSummary()
        return self._with_result(f"uploading {self._shown or 'files'}")


def _holds(directory: Path, other: Path) -> bool:
    return other.resolve().is_relative_to(directory.resolve())


def _clash(paths: Sequence[str]) -> str | None:
    """Why these can't all lie in one directory; None if they can."""
    names: dict[str, str] = {}
    for path in paths:
        name = posixpath.basename(path)
        if name in ("", "..", "~"):
            return f"{path} has no name of its own"
        if name in names:
            return f"{names[name]} and {path} have the same name"
        names[name] = path
    return None
