"""Files between master and worker.

A file is there whole or not at all, on both sides: it is written under another name beside its own, unlike
that of any other try, and renamed when all of it is there. What an upload has moved before its master died is
gone with it, so the step starts again; a download goes on in the middle if the file is still the same one.

Paths at the worker are relative to the step's working directory, those on the master to its basedir.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from buildwright.builds.commands import RemoteCommand
from buildwright.builds.step import BuildStep
from buildwright.model.errors import error
from buildwright.model.results import FAILURE, SUCCESS
from buildwright.steps.composite import Content


class _Transfer(BuildStep):
    """What the steps of this module share."""

    haltOnFailure = True
    restartable = True

    def _needs(self, **arguments: Any) -> None:
        for name, value in arguments.items():
            if value is None:
                error(f"step {type(self).__name__} has no {name}")

    def worker_path(self, path: str) -> str:
        return self.build.path(self.workdir or self.build.workdir, path)

    def master_path(self, path: str) -> Path:
        return self.build.runner.services.basedir / Path(path).expanduser()

    def refuse(self, text: str) -> int:
        """End with FAILURE, for a reason that is the master's."""
        self._run.log("stdio").addStderr(text + "\n")
        return FAILURE


class FileUpload(_Transfer):
    """Copies a file from the worker to the master."""

    name = "upload"
    renderables: ClassVar[Sequence[str]] = ("workersrc", "masterdest", "url", "urlText")

    def __init__(
        self,
        workersrc: Any = None,
        masterdest: Any = None,
        workdir: Any = None,
        maxsize: int | None = None,
        blocksize: int = 256 * 1024,
        mode: int | None = None,
        keepstamp: bool = False,
        url: Any = None,
        urlText: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(workdir=workdir, **kwargs)
        self._needs(workersrc=workersrc, masterdest=masterdest)
        self.workersrc = workersrc
        self.masterdest = masterdest
        self.maxsize = maxsize
        self.blocksize = blocksize
        self.mode = mode
        self.keepstamp = keepstamp
        self.url = url
        self.urlText = urlText

    async def run(self) -> int:
        destination = self.master_path(self.masterdest)
        if self.url is not None:
            self.addURL(self.urlText or destination.name, self.url)
        command = RemoteCommand(
            "upload",
            {
                "path": self.worker_path(self.workersrc),
                "maxsize": self.maxsize,
                "blocksize": self.blocksize,
                "keepstamp": self.keepstamp,
            },
        )
        try:
            with Arriving(destination, self._run.stepid, self._run.tries, self.mode) as file:
                command.blocks = file
                self._run.runner.pin()
                await self.runCommand(command)
                if command.results() == SUCCESS:
                    problem = await self.once("keep", file.keep, _stamp(command))
                    if problem is not None:
                        return self.refuse(problem)
        except OSError as problem:
            return self.refuse(f"can't write {destination}: {problem.strerror}")
        return command.results()

    def getCurrentSummary(self) -> dict[str, str]:
        return super().getCurrentSummary() if self.description else {"step": f"uploading {self.workersrc}"}

    def getResultSummary(self) -> dict[str, str]:
        if self.description or self.descriptionDone:
            return super().getResultSummary()
        return self._with_result(f"uploading {self.workersrc}")


class Arriving:
    """A file on the master that is being written: the blocks of an upload.

    A context: what isn't kept by its end is removed, and so is what an earlier try has left.
    """

    identity: str | None = None

    def __init__(self, path: Path, stepid: int, tries: int, mode: int | None) -> None:
        self._path = path
        self._mode = mode
        parts = [path.with_name(f".{path.name[:100]}.{stepid}-{each}.part") for each in range(tries + 1)]
        *self._left, self._part = parts
        self._file: int | None = None

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        for left in self._left:
            left.unlink(missing_ok=True)
        self._file = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        with contextlib.suppress(OSError):
            self._part.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        assert self._file is not None
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]

    def read(self, offset: int, length: int) -> bytes:
        """Nothing is asked for."""
        del offset, length
        return b""

    def keep(self, stamp: list[float] | None) -> str | None:
        """Give the file its name, when it is safe on the disk; gives what went wrong. Blocks."""
        assert self._file is not None
        try:
            if self._mode is not None:
                os.fchmod(self._file, self._mode)
            if stamp is not None:
                os.utime(self._part, (stamp[0], stamp[1]))
            os.fsync(self._file)
            self._part.replace(self._path)
            directory = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as problem:
            return f"can't write {self._path}: {problem.strerror}"
        return None

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _stamp(command: RemoteCommand) -> list[float] | None:
    times = command.updates.get("utime")
    return list(times[-1]) if times else None


class _Download(_Transfer):
    """What is written at the worker."""

    workerdest: Any
    maxsize: int | None
    blocksize: int
    mode: int | None

    async def download(self, blocks: Any) -> int:
        command = RemoteCommand(
            "download",
            {
                "path": self.worker_path(self.workerdest),
                "maxsize": self.maxsize,
                "blocksize": self.blocksize,
                "mode": self.mode,
            },
        )
        command.blocks = blocks
        return (await self.runCommand(command)).results()

    def getCurrentSummary(self) -> dict[str, str]:
        if self.description:
            return super().getCurrentSummary()
        return {"step": f"downloading to {self.workerdest}"}

    def getResultSummary(self) -> dict[str, str]:
        if self.description or self.descriptionDone:
            return super().getResultSummary()
        return self._with_result(f"downloading to {self.workerdest}")


class FileDownload(_Download):
    """Copies a file from the master to the worker."""

    name = "download"
    renderables: ClassVar[Sequence[str]] = ("mastersrc", "workerdest")

    def __init__(
        self,
        mastersrc: Any,
        workerdest: Any = None,
        workdir: Any = None,
        maxsize: int | None = None,
        blocksize: int = 16 * 1024,
        mode: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(workdir=workdir, **kwargs)
        self._needs(mastersrc=mastersrc, workerdest=workerdest)
        self.mastersrc = mastersrc
        self.workerdest = workerdest
        self.maxsize = maxsize
        self.blocksize = blocksize
        self.mode = mode

    async def run(self) -> int:
        source = self.master_path(self.mastersrc)
        try:
            with Leaving(source) as file:
                return await self.download(file)
        except OSError as problem:
            return self.refuse(f"can't read {source} on the master: {problem.strerror}")


class Leaving:
    """A file on the master that is being read: the blocks of a download. A context."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self.identity: str | None = None

    def __enter__(self) -> Self:
        if self._path.is_dir():
            raise IsADirectoryError(0, "it is a directory")
        self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(self._file)
        self.identity = f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def write(self, data: bytes) -> None:
        """Nothing comes back."""

    def read(self, offset: int, length: int) -> bytes:
        parts = []
        while length > 0 and (part := os.pread(self._file, length, offset)):
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return b"".join(parts)


class StringDownload(_Download):
    """Writes a text to a file at the worker."""

    name = "string_download"
    renderables: ClassVar[Sequence[str]] = ("s", "workerdest")

    def __init__(
        self,
        s: Any,
        workerdest: Any = None,
        workdir: Any = None,
        maxsize: int | None = None,
        blocksize: int = 16 * 1024,
        mode: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(workdir=workdir, **kwargs)
        self._needs(s=s, workerdest=workerdest)
        self.s = s
        self.workerdest = workerdest
        self.maxsize = maxsize
        self.blocksize = blocksize
        self.mode = mode

    async def run(self) -> int:
        content = self.content()
        return await self.download(Content(content.encode() if isinstance(content, str) else content))

    def content(self) -> str | bytes:
        """What to write."""
        content: str | bytes = self.s
        return content


class JSONStringDownload(StringDownload):
    """Writes a value as JSON to a file at the worker."""

    name = "json_download"

    def __init__(self, o: Any, workerdest: Any = None, **kwargs: Any) -> None:
        super().__init__(o, workerdest, **kwargs)

    def content(self) -> str:
        return json.dumps(self.s)
