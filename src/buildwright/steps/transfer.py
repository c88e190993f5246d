"""Files between master and worker.

A file is there whole or not at all, on both sides: see :mod:`buildwright.steps.arriving`. What an upload
has moved before its master died is gone with it, so the step starts again; a download goes on in the middle
if the file is still the same one.

Paths at the worker are relative to the step's working directory, those on the master to its basedir.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from buildwright.builds.commands import RemoteCommand
from buildwright.builds.step import BuildStep
from buildwright.model.errors import error, expect
from buildwright.model.render import IRenderable
from buildwright.model.renderable import is_plain
from buildwright.model.results import FAILURE, SUCCESS
from buildwright.model.sources import SourceStamp
from buildwright.steps.arriving import Arriving, Leaving
from buildwright.steps.composite import Content

# What was the name of an argument once, and what it is now.
_FORMER = {"slavesrc": "workersrc", "slavesrcs": "workersrcs", "slavedest": "workerdest"}


class Transfer(BuildStep):
    """What all transfers share."""

    haltOnFailure = True
    restartable = True

    def __init__(self, **kwargs: Any) -> None:
        self._former = {_FORMER[name] for name in kwargs if name in _FORMER}
        for name in [name for name in kwargs if name in _FORMER]:
            kwargs.pop(name)
            error(f"step {type(self).__name__} has no argument {name!r}", f"it is called {_FORMER[name]} now")
        super().__init__(**kwargs)

    def _needs(self, **arguments: Any) -> None:
        for name, value in arguments.items():
            if value is None and name not in self._former:
                error(f"step {type(self).__name__} has no {name}")

    def _numbers(self, **arguments: Any) -> None:
        """Check arguments that are numbers, or None."""
        for name, value in arguments.items():
            if value is not None and is_plain(value):
                expect(value, int, f"step {type(self).__name__}: {name}", "a whole number")

    def worker_path(self, path: str) -> str:
        return self.build.path(self.workdir or self.build.workdir, path)

    def master_path(self, path: str) -> Path:
        return self.build.runner.services.basedir / Path(path).expanduser()

    def refuse(self, text: str) -> int:
        """End with FAILURE, for a reason that is the master's."""
        self._run.log("stdio").addStderr(text + "\n")
        return FAILURE


class Upload(Transfer):
    """What all uploads share."""

    maxsize: int | None
    blocksize: int

    async def upload_file(self, source: str, destination: Path, mode: int | None, *, keepstamp: bool) -> int:
        """Copy a file of the worker's, given by its whole path; gives the result."""
        command = RemoteCommand(
            "upload",
            {
                "path": source,
                "maxsize": self.maxsize,
                "blocksize": self.blocksize,
                "keepstamp": keepstamp,
            },
        )
        try:
            with Arriving(destination, self._run.stepid, self._run.tries, mode) as file:
                command.blocks = file
                self._run.runner.pin()
                await self.runCommand(command)
                if command.results() == SUCCESS:
                    problem = await self._keep(file.keep, _stamp(command))
                    if problem is not None:
                        return self.refuse(problem)
        except OSError as problem:
            return self.refuse(f"can't write {destination}: {problem.strerror}")
        return command.results()

    async def _keep(self, keep: Callable[..., Any], *args: Any) -> str | None:
        """Have what has arrived put in its place, unless the build has another owner by now."""
        problem: str | None = await self._run.requests.once("keep", keep, args, None, answers=False)
        return problem


def _stamp(command: RemoteCommand) -> list[float] | None:
    times = command.updates.get("utime")
    return list(times[-1]) if times else None


class FileUpload(Upload):
    """Copies a file from the worker to the master.

    Example::

        factory.addStep(
            steps.FileUpload(
                workersrc="dist/project.tar.gz",
                masterdest=util.Interpolate("archive/project-%(prop:buildnumber)s.tar.gz"),
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
        blocksize: int = 256 * 1024,
        mode: int | None = None,
        keepstamp: bool = False,
        url: str | IRenderable | None = None,
        urlText: str | IRenderable | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(workdir=workdir, **kwargs)
        self._needs(workersrc=workersrc, masterdest=masterdest)
        self._numbers(maxsize=maxsize, blocksize=blocksize, mode=mode)
        self.workersrc: Any = workersrc
        self.masterdest: Any = masterdest
        self.maxsize = maxsize
        self.blocksize = blocksize
        self.mode = mode
        self.keepstamp = keepstamp
        self.url: Any = url
        self.urlText: Any = urlText

    async def run(self) -> int:
        destination = self.master_path(self.masterdest)
        if self.url is not None:
            self.addURL(self.urlText or destination.name, self.url)
        source = self.worker_path(self.workersrc)
        return await self.upload_file(source, destination, self.mode, keepstamp=self.keepstamp)

    def getCurrentSummary(self) -> dict[str, str]:
        return super().getCurrentSummary() if self.description else {"step": f"uploading {self.workersrc}"}

    def getResultSummary(self) -> dict[str, str]:
        if self.description or self.descriptionDone:
            return super().getResultSummary()
        return self._with_result(f"uploading {self.workersrc}")


class _Download(Transfer):
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
    """Copies a file from the master to the worker.

    Example::

        factory.addStep(
            steps.FileDownload(mastersrc="files/settings.toml", workerdest="settings.toml", mode=0o644)
        )
    """

    name = "download"
    renderables: ClassVar[Sequence[str]] = ("mastersrc", "workerdest")

    def __init__(
        self,
        mastersrc: str | IRenderable,
        workerdest: str | IRenderable | None = None,
        workdir: Any = None,
        maxsize: int | None = None,
        blocksize: int = 16 * 1024,
        mode: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(workdir=workdir, **kwargs)
        self._needs(mastersrc=mastersrc, workerdest=workerdest)
        self._numbers(maxsize=maxsize, blocksize=blocksize, mode=mode)
        self.mastersrc: Any = mastersrc
        self.workerdest: Any = workerdest
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


class StringDownload(_Download):
    """Writes a text to a file at the worker.

    Example::

        factory.addStep(steps.StringDownload(util.Interpolate("%(prop:branch)s"), workerdest="branch.txt"))
    """

    name = "string_download"
    renderables: ClassVar[Sequence[str]] = ("s", "workerdest")

    def __init__(
        self,
        s: str | bytes | IRenderable,
        workerdest: str | IRenderable | None = None,
        workdir: Any = None,
        maxsize: int | None = None,
        blocksize: int = 16 * 1024,
        mode: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(workdir=workdir, **kwargs)
        self._needs(s=s, workerdest=workerdest)
        self._numbers(maxsize=maxsize, blocksize=blocksize, mode=mode)
        self.s: Any = s
        self.workerdest: Any = workerdest
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
    """Writes a value as JSON to a file at the worker.

    Example::

        factory.addStep(
            steps.JSONStringDownload(
                {"channel": "nightly", "revision": util.Property("got_revision")}, workerdest="release.json"
            )
        )
    """

    name = "json_download"

    def __init__(self, o: Any, workerdest: str | IRenderable | None = None, **kwargs: Any) -> None:
        expect_json(o, "step JSONStringDownload: o")
        super().__init__(o, workerdest, **kwargs)

    def content(self) -> str:
        return json.dumps(self.s)


def expect_json(value: Any, what: str) -> None:
    """Report something plain that JSON can't hold."""
    if is_plain(value):
        try:
            json.dumps(value)
        except (TypeError, ValueError) as problem:
            error(f"{what} must be something that JSON can hold: {problem}", "text, numbers, lists, dicts")


class JSONPropertiesDownload(StringDownload):
    """Writes the build's properties and source stamps as JSON to a file at the worker: ``{"properties":
    {name: value}, "sourcestamps": [...]}``.

    Example::

        factory.addStep(steps.JSONPropertiesDownload(workerdest="build-properties.json"))
    """

    name = "json_properties_download"

    def __init__(self, workerdest: str | IRenderable | None = None, **kwargs: Any) -> None:
        super().__init__("", workerdest, **kwargs)

    def content(self) -> str:
        properties = {name: value for name, (value, _) in self.build.properties.items()}
        stamps = [_plain_stamp(stamp) for stamp in self.build.sources]
        return json.dumps({"properties": properties, "sourcestamps": stamps})


def _plain_stamp(stamp: SourceStamp) -> dict[str, Any]:
    plain = stamp.asDict()
    patch = stamp.patch
    if patch is not None:
        plain["patch"] = {
            "level": patch.level,
            "body": patch.body.decode("utf-8", "replace"),
            "subdir": patch.subdir,
            "author": patch.author,
            "comment": patch.comment,
        }
    return plain
