"""Packages of RPM systems: rpmbuild, rpmlint and mock."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from buildwright.builds.commands import RemoteCommand
from buildwright.model.errors import error, expect
from buildwright.model.renderable import is_renderable
from buildwright.steps.arguments import expect_flags, expect_texts
from buildwright.steps.shell import Tool
from buildwright.steps.warnings import UNSET, WarningCountingShellCommand

_HERE = "$(pwd)"  # for the worker's shell
_DIRECTORIES = ("topdir", "builddir", "rpmdir", "sourcedir", "specdir", "srcrpmdir")


class RpmBuild(Tool):
    """Builds packages from ``specfile``: ``rpmbuild -ba``, by the worker's shell.

    ``define`` is a dict of more macros. ``autoRelease`` counts a release up with each build, in a file of the
    builder's directory on the master; ``vcsRevision`` defines ``_revision`` as the property ``got_revision``.

    Example::

        factory.addStep(steps.RpmBuild(specfile="project.spec", dist=".el9", define={"channel": "nightly"}))
    """

    name = "rpmbuilder"
    haltOnFailure = True
    flunkOnFailure = True
    description = "RPMBUILD"
    renderables: ClassVar[Sequence[str]] = ("dist", "specfile", "define", *_DIRECTORIES)

    def __init__(
        self,
        specfile: Any = None,
        topdir: Any = _HERE,
        builddir: Any = _HERE,
        rpmdir: Any = _HERE,
        sourcedir: Any = _HERE,
        specdir: Any = _HERE,
        srcrpmdir: Any = _HERE,
        dist: Any = ".el6",
        define: Any = None,
        autoRelease: bool = False,
        vcsRevision: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.specfile = specfile
        self.topdir = topdir
        self.builddir = builddir
        self.rpmdir = rpmdir
        self.sourcedir = sourcedir
        self.specdir = specdir
        self.srcrpmdir = srcrpmdir
        self.dist = dist
        self.define = define
        self.autoRelease = autoRelease
        self.vcsRevision = vcsRevision
        self._release: int | None = None
        kind = f"step {type(self).__name__}"
        expect_texts(
            kind, specfile=specfile, dist=dist, **{name: getattr(self, name) for name in _DIRECTORIES}
        )
        expect_flags(kind, autoRelease=autoRelease, vcsRevision=vcsRevision)
        if specfile is None:
            error(f"{kind} has no specfile", "give it the path of the .spec file")
        if define is not None and not is_renderable(define):
            expect(define, Mapping, f"{kind}: define", "a dict")

    def words(self) -> Any:
        macros = {f"_{name}": getattr(self, name) for name in _DIRECTORIES}
        macros["dist"] = self.dist
        macros.update(self.define or {})
        if self._release is not None:
            macros["_release"] = self._release
        if self.vcsRevision:
            macros["_revision"] = self.getProperty("got_revision", "")
        defined = [f'--define "{name} {value}"' for name, value in macros.items()]
        return " ".join(["rpmbuild", *defined, "-ba", str(self.specfile)])

    async def run(self) -> int:
        if self.autoRelease:
            name = posixpath.basename(str(self.specfile)).removesuffix(".spec")
            directory = self.build.runner.services.basedir / self.build.builder.config.builddir
            self._release = await self.once("release", _count_up, directory / f"{name}.release")
        return await super().run()


def _count_up(path: Path) -> int:
    """The number in a file, which is one more for the next who asks; it begins with 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number = int(path.read_text()) if path.exists() else 1
    following = path.with_suffix(".following")
    following.write_text(f"{number + 1}\n")
    following.replace(path)
    return number


class RpmLint(WarningCountingShellCommand):
    """Runs ``rpmlint`` on ``fileloc``, a package or a directory of them; counts what it reports.

    Example::

        factory.addStep(steps.RpmLint(fileloc="RPMS", config="rpmlint.toml"))
    """

    name = "rpmlint"
    flunkOnFailure = False
    warnOnFailure = True
    description = "Checking for RPM/SPEC issues"
    descriptionDone = "Finished checking RPM/SPEC issues"
    fileloc: Any = "."
    config: Any = None
    command: Any = ("rpmlint", "--info")  # by its long name: -i means another thing to version 2
    warningPattern = r"[^ ]+: (?:\d+: )?[WE]: "

    def __init__(
        self, fileloc: Any = None, config: Any = None, warningPattern: Any = UNSET, **kwargs: Any
    ) -> None:
        super().__init__(warningPattern=warningPattern, **kwargs)
        self.fileloc = self.fileloc if fileloc is None else fileloc
        self.config = self.config if config is None else config
        expect_texts(f"step {type(self).__name__}", fileloc=fileloc, config=config)
        if isinstance(self.command, list | tuple):
            self.command = [*self.command, *(["--file", self.config] if self.config else []), self.fileloc]


class Mock(Tool):
    """Runs ``mock`` in the chroot that its configuration calls ``root``; its logs are the step's.

    ``resultdir`` is relative to the step's working directory; by default it is mock's own.

    Example::

        class ListPackages(steps.Mock):
            def words(self):
                return [*super().words(), "--shell", "rpm -qa"]


        factory.addStep(ListPackages(root="fedora-40-x86_64"))
    """

    name = "mock"
    haltOnFailure = True
    flunkOnFailure = True
    renderables: ClassVar[Sequence[str]] = ("root", "resultdir")

    LOGS = ("build.log", "root.log", "state.log")

    def __init__(self, root: Any = None, resultdir: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = root
        self.resultdir = resultdir
        expect_texts(f"step {type(self).__name__}", root=root, resultdir=resultdir)
        if root is None:
            error(f"step {type(self).__name__} has no root", "give it the name of a configuration of mock's")

    def words(self) -> list[Any]:
        words = ["mock", "--root", self.root]
        return [*words, "--resultdir", self.resultdir] if self.resultdir else words

    async def run(self) -> int:
        where = self.resultdir or f"/var/lib/mock/{self.root}/result"
        logs = {name: posixpath.join(where, name) for name in self.LOGS}
        self.logfiles = {**logs, **(self.logfiles or {})}
        # Those of an earlier build would be taken for this one's.
        old = [self.build.path(self.workdir or self.build.workdir, path) for path in logs.values()]
        await self.runCommand(RemoteCommand("rmdir", {"paths": old}, stdioLogName=None))
        return await super().run()


class MockBuildSRPM(Mock):
    """Makes a source package of ``spec`` and the directory ``sources``: ``mock --buildsrpm``.

    Example::

        factory.addStep(steps.MockBuildSRPM(root="fedora-40-x86_64", spec="project.spec", sources="sources"))
    """

    name = "mockbuildsrpm"
    description = "mock buildsrpm"
    spec: Any = None
    sources: Any = "."
    renderables: ClassVar[Sequence[str]] = ("spec", "sources")

    def __init__(self, spec: Any = None, sources: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.spec = self.spec if spec is None else spec
        self.sources = self.sources if sources is None else sources
        expect_texts(f"step {type(self).__name__}", spec=spec, sources=sources)
        if self.spec is None:
            error(f"step {type(self).__name__} has no spec", "give it the path of the .spec file")

    def words(self) -> list[Any]:
        return [*super().words(), "--buildsrpm", "--spec", self.spec, "--sources", self.sources]


class MockRebuild(Mock):
    """Builds the source package ``srpm``: ``mock --rebuild``.

    Example::

        factory.addStep(
            steps.MockRebuild(root="fedora-40-x86_64", srpm=util.Property("srpm", default="p.src.rpm"))
        )
    """

    description = "mock rebuild"
    srpm: Any = None
    renderables: ClassVar[Sequence[str]] = ("srpm",)

    def __init__(self, srpm: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.srpm = self.srpm if srpm is None else srpm
        expect_texts(f"step {type(self).__name__}", srpm=srpm)
        if self.srpm is None:
            error(f"step {type(self).__name__} has no srpm", "give it the path of the .src.rpm file")

    def words(self) -> list[Any]:
        return [*super().words(), "--rebuild", self.srpm]
