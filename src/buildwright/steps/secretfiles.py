"""Secrets as files at the worker, for as long as some steps run.

``BuildFactory.addSteps(steps, withSecrets=[(path, secret), ...])`` puts a step before them that writes each
secret into its file, which only its owner may read, and one after them that removes the files whatever has
happened. Relative paths are relative to the build's working directory.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from buildwright.builds.step import BuildStep
from buildwright.model import builders
from buildwright.model.errors import error, shown
from buildwright.model.renderable import is_plain, is_renderable
from buildwright.model.results import FAILURE, SUCCESS
from buildwright.steps.composite import CompositeStepMixin

Files = Sequence[tuple[Any, Any]]


class DownloadSecretsToWorker(CompositeStepMixin, BuildStep):
    """Writes secrets into files at the worker."""

    name = "write secret files"
    haltOnFailure = True
    renderables: ClassVar[Sequence[str]] = ("secret_to_be_populated",)

    def __init__(self, secret_to_be_populated: Files, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.secret_to_be_populated = secret_to_be_populated

    async def run(self) -> int:
        for path, secret in self.secret_to_be_populated:
            if await self.downloadFileContentToWorker(path, secret, mode=0o600) != 0:
                return FAILURE
        return SUCCESS


class RemoveWorkerFileSecret(CompositeStepMixin, BuildStep):
    """Removes files at the worker, also when the build has failed or was stopped."""

    name = "remove secret files"
    alwaysRun = True
    renderables: ClassVar[Sequence[str]] = ("paths",)

    def __init__(self, paths: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.paths = paths

    async def run(self) -> int:
        result = SUCCESS
        for path in self.paths:
            directory = self.workdir or self.build.workdir
            place = path if path.startswith("~") else posixpath.join(directory, path)
            if await self.pathExists(place) and await self.runRmFile(place, abandonOnFailure=False) != 0:
                result = FAILURE
        return result


class BuildFactory(builders.BuildFactory):
    """The steps of a build, in their order.

    Example::

        packages = util.BuildFactory([steps.Git(repourl="https://git.example.org/project.git")])
        packages.addStep(steps.ShellCommand(command=["make", "package"]))
        packages.addSteps(
            [steps.ShellCommand(command="upload --key key.pem out")],
            withSecrets=[("key.pem", util.Secret("upload-key"))],
        )
        c["builders"].append(util.BuilderConfig("packages", workernames=["linux"], factory=packages))
    """

    def addSteps(self, steps: Iterable[Any], withSecrets: Files | None = None) -> None:
        """Append several steps; ``withSecrets`` are files with secrets that are there while they run:
        (path, secret) each.
        """
        with self.withSecrets(withSecrets or ()):
            super().addSteps(steps)

    @contextmanager
    def withSecrets(self, secrets: Files) -> Iterator[BuildFactory]:
        """As ``addSteps`` with secrets, for the steps that are added in the ``with``."""
        files = _checked(secrets)
        if files:
            self.addStep(DownloadSecretsToWorker(files))
        yield self
        if files:
            self.addStep(RemoveWorkerFileSecret([path for path, _ in files]))


def _checked(secrets: Any) -> list[tuple[Any, Any]]:
    hint = "as in withSecrets=[('key.pem', util.Secret('key'))]"
    if not isinstance(secrets, (list, tuple)):
        error(f"withSecrets must be a list of (path, secret), not {shown(secrets)}", hint)
        return []
    files: list[tuple[Any, Any]] = []
    for each in secrets:
        if not isinstance(each, (list, tuple)) or len(each) != 2:
            error(f"withSecrets must hold pairs of path and secret, not {shown(each)}", hint)
        elif not isinstance(each[0], str) and not is_renderable(each[0]):
            error(f"withSecrets: a path must be text, not {shown(each[0])}", hint)
        elif not isinstance(each[1], str) and is_plain(each[1]):
            error(f"withSecrets: the content of {each[0]!r} must be a secret, not {shown(each[1])}", hint)
        else:
            files.append((each[0], each[1]))
    return files
