"""Sources from many Git repositories that a manifest names, with repo, Android's tool.

The manifest's own repository has a commit, which is the step's ``got_revision``; which commits the others had
is in the log ``manifest``. So a source stamp's branch and revision, which are of one of those others, are not
asked for; what a review proposes is brought in by ``repoDownloads``.

``repo sync --detach`` takes every repository to what the manifest says. Where that fails, since a build, a
patch, a cherry-pick or a killed git has left something behind, all of them are put right, and it is tried
again.

A ``tarball`` keeps what was fetched, at the worker. Where there is no working copy it is unpacked first. It
is written under another name and then renamed, since other builders may be about to read it; one that is
broken is left out, and one that can't be written is told of in the log, and nothing more.

A download's words may come from anybody who may set a property: those that ``DownloadsFromProperties`` finds
are a project and numbers, never an option.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Sequence
from typing import Any, ClassVar

from buildwright.model.errors import error, shown
from buildwright.model.properties import Properties
from buildwright.model.renderable import IRenderable, is_renderable
from buildwright.model.results import SUCCESS
from buildwright.steps.arguments import expect_flags, expect_texts
from buildwright.steps.workingcopy import WorkingCopy

WEEK = 7 * 24 * 3600.0
OVERRIDE = "manifest_override.xml"  # among the manifests, where repo looks for them

# What undoes a kill, a patch, a conflict and a build in one repository; ignored files stay. With one `-f`
# only, repositories within it stay too: they are the manifest's.
_UNDO = "rm -f .git/*.lock; git reset --quiet --hard; git clean --quiet -f -d -e /.repo"

_COMPRESSION = {
    "bz2": "--bzip2",
    "gz": "--gzip",
    "lzma": "--lzma",
    "lzop": "--lzop",
    "pigz": "--use-compress-program=pigz",
    "tgz": "--gzip",
    "xz": "--xz",
    "zst": "--zstd",
}
_PROJECT = r"[A-Za-z0-9_.][A-Za-z0-9_.+/-]*"
# "repo download project 12/3", "project 12/3" and "project/12/3", as people write them.
_DOWNLOAD = re.compile(rf"(?<![^\s,;(])({_PROJECT}?)(?:\s+|/)(\d+)/(\d+)(?![\w/-]|\.\w)")


class Repo(WorkingCopy):
    """Gets the sources that a manifest of repo names, and sets the property ``got_revision`` to the commit of
    the manifest's repository.

    ``repoDownloads`` are the words of ``repo download`` commands that follow: patch sets of Gerrit. With a
    ``tarball``, a path at the worker relative to the working directory, a new working copy begins with what
    an earlier one has fetched; it is written again when it is older than ``updateTarballAge`` seconds (None:
    never), compressed as its name ends. ``manifestOverrideUrl`` is a manifest's address, or its path in the
    working directory, that is taken instead of the repository's.

    ``mode`` is ``incremental`` (what builds have made stays) or ``full`` with a ``method``: ``fresh`` (the
    default: all files that aren't Git's are removed), ``clean`` (as fresh, but ignored ones stay),
    ``clobber`` (begin with nothing).

    Example::

        factory.addStep(
            steps.Repo(
                manifestURL="https://git.example.org/manifest.git",
                manifestBranch="main",
                jobs=4,
                tarball="/var/cache/manifest.tar.gz",
                repoDownloads=util.repo.DownloadsFromProperties(["downloads"]),
            )
        )
    """

    name = "repo"
    renderables: ClassVar[tuple[str, ...]] = (
        "manifestURL",
        "manifestBranch",
        "manifestFile",
        "tarball",
        "jobs",
        "syncAllBranches",
        "updateTarballAge",
        "manifestOverrideUrl",
        "repoDownloads",
        "depth",
        "submodules",
    )

    tool = "repo"
    admin = ".repo"
    methods = ("fresh", "clean", "clobber")
    complaints = ("fatal:", "error:")

    def __init__(
        self,
        manifestURL: str | IRenderable | None = None,
        manifestBranch: str | IRenderable = "master",
        manifestFile: str | IRenderable = "default.xml",
        tarball: str | IRenderable | None = None,
        jobs: int | IRenderable | None = None,
        syncAllBranches: bool | IRenderable = False,
        updateTarballAge: float | IRenderable | None = WEEK,
        manifestOverrideUrl: str | IRenderable | None = None,
        repoDownloads: Sequence[str] | IRenderable | None = None,
        depth: int | IRenderable = 0,
        submodules: bool | IRenderable = False,
        syncQuietly: bool = False,
        mode: str | IRenderable = "incremental",
        method: str | IRenderable | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(mode="incremental" if mode == "update" else mode, **kwargs)
        self.manifestURL = self.repourl = manifestURL
        self.manifestBranch = manifestBranch
        self.manifestFile = manifestFile
        self.tarball = tarball
        self.jobs = jobs
        self.syncAllBranches = syncAllBranches
        self.updateTarballAge: Any = updateTarballAge
        self.manifestOverrideUrl = manifestOverrideUrl
        self.repoDownloads: Any = repoDownloads
        self.depth = depth
        self.submodules = submodules
        self.syncQuietly = syncQuietly
        self.method = method
        self.check_text("manifestURL", "https://git.example.org/manifest.git")
        self.check_copy()
        expect_texts(
            "step Repo",
            manifestBranch=manifestBranch,
            manifestFile=manifestFile,
            tarball=tarball,
            manifestOverrideUrl=manifestOverrideUrl,
        )
        expect_flags(
            "step Repo", syncAllBranches=syncAllBranches, submodules=submodules, syncQuietly=syncQuietly
        )
        for name, value in {"jobs": jobs, "depth": depth, "updateTarballAge": updateTarballAge}.items():
            if value is None or is_renderable(value):
                continue
            if not isinstance(value, int | float) or value < 0:
                error(f"step Repo: {name} must be a number, not {shown(value)}")
        if repoDownloads is not None and not is_renderable(repoDownloads) and not _are_texts(repoDownloads):
            error(
                f"step Repo: repoDownloads must be a list of texts, not {shown(repoDownloads)}",
                "as in repoDownloads=['-c project 1234/4']",
            )

    # -- the working copy ---------------------------------------------------------------------------------

    async def is_ours(self) -> bool:
        return await self.pathExists(f"{self._dir}/{self.admin}/manifests")

    async def make(self, branch: str, revision: str | None) -> None:  # noqa: ARG002
        await self.runMkdir(self._dir)
        await self._unpack()
        await self._bring()

    async def update(self, branch: str, revision: str | None) -> None:  # noqa: ARG002
        await self._bring()

    async def clean(self, ignored: bool) -> None:
        await self.vc("forall", "-c", _UNDO + (" -x" if ignored else ""), check=False)

    async def got_revision(self) -> str:
        there = f"{self._dir}/{self.admin}/manifests"
        said = await self.run_tool(["git", "rev-parse", "HEAD"], there, collect=True)
        await self.vc("manifest", "--revision-as-HEAD", check=False, stdioLogName="manifest")
        return str(said.stdout).strip()

    # -- repo ---------------------------------------------------------------------------------------------

    async def _bring(self) -> None:
        """Take everything to what is wanted."""
        words = ["init", f"--manifest-url={self.manifestURL}", f"--manifest-branch={self.manifestBranch}"]
        if self.depth:
            words.append(f"--depth={self.depth}")
        if self.submodules:
            words.append("--submodules")
        await self.vc_afar(*words, f"--manifest-name={self.manifestFile}")
        if self.manifestOverrideUrl:
            await self._override(str(self.manifestOverrideUrl))
        done, _ = await self.vc_tried(*self._sync())
        if done.results() != SUCCESS:
            self._run.log("stdio").addHeader("putting all repositories right, then trying again\n")
            await self.clean(ignored=False)
            await self.vc_afar(*self._sync())
        await self._pack()
        for words in self._downloads():
            await self.vc_afar("download", *words)

    def _sync(self) -> list[str]:
        words = ["sync", "--detach", "--force-sync"]
        if not self.syncAllBranches:
            words.append("--current-branch")
        if self.jobs:
            words.append(f"--jobs={self.jobs}")
        return [*words, "--quiet"] if self.syncQuietly else words

    async def _override(self, place: str) -> None:
        """Take another manifest than the repository's."""
        there = f"{self.admin}/manifests/{OVERRIDE}"
        if await self.pathExists(posixpath.join(self._dir, place)):
            await self.run_tool(["cp", "--", place, there], self._dir)
        else:
            words = ["wget", "--quiet", f"--output-document={there}", "--", place]
            if (await self.run_tool(words, self._dir, check=False)).results() != SUCCESS:
                self.refuse(f"the manifest {place} can't be had")
        await self.vc_afar("init", f"--manifest-name={OVERRIDE}")

    def _downloads(self) -> list[list[str]]:
        """The words of each ``repo download``."""
        downloads = self.repoDownloads or ()
        if not _are_texts(downloads):
            self.refuse(f"repoDownloads must be a list of texts, not {shown(downloads)}")
        return [shlex.split(each) for each in downloads]

    # -- the tarball --------------------------------------------------------------------------------------

    def _tar(self, verb: str, file: str, *words: str) -> list[str]:
        name = str(self.tarball)
        compressed = _COMPRESSION.get(name.rpartition(".")[2])
        return ["tar", *([compressed] if compressed else []), verb, f"--file={file}", *words]

    async def _unpack(self) -> None:
        """Begin with what an earlier working copy has fetched, if there is that."""
        if not self.tarball or not await self.pathExists(posixpath.join(self._dir, str(self.tarball))):
            return
        unpacked = await self.run_tool(self._tar("--extract", str(self.tarball)), self._dir, check=False)
        if unpacked.results() != SUCCESS:
            self._run.log("stdio").addHeader("the tarball is broken: beginning without it\n")
            await self.runRmdir(f"{self._dir}/{self.admin}", timeout=self.timeout)

    async def _pack(self) -> None:
        """Write the tarball if there is none, or it is too old."""
        if not self.tarball or self.updateTarballAge is None:
            return
        tarball = str(self.tarball)
        if await self.pathExists(posixpath.join(self._dir, tarball)):
            minutes = int(float(self.updateTarballAge) // 60)
            age = ["find", tarball, "-maxdepth", "0", "-mmin", f"+{minutes}"]
            old = await self.run_tool(age, self._dir, check=False, collect=True)
            if not old.stdout.strip():
                return
        # Each builder writes one of its own, so that two never write one.
        new = f"{tarball}.{self.build.builder.builderid}.new"
        for words in (self._tar("--create", new, self.admin), ["mv", "-f", "--", new, tarball]):
            if (await self.run_tool(words, self._dir, check=False)).results() != SUCCESS:
                self._run.log("stdio").addHeader("the tarball can't be written: going on without it\n")
                await self.run_tool(["rm", "-f", "--", new], self._dir, check=False)
                return


def _are_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)


class DownloadsFromProperties:
    """What ``repo download`` is to get, from the text of properties: ``project 1234/5``, ``project/1234/5``
    and ``repo download project 1234/5``, as often as they are there. For ``steps.Repo(repoDownloads=)``.

    Example::

        factory.addStep(
            steps.Repo(
                manifestURL="https://git.example.org/manifest.git",
                repoDownloads=util.repo.DownloadsFromProperties(["downloads", "more_downloads"]),
            )
        )
    """

    def __init__(self, names: Sequence[str]) -> None:
        given: Any = names
        if isinstance(given, str):
            given = [given]
        if not _are_texts(given):
            error(f"DownloadsFromProperties: names must be a list of properties' names, not {shown(names)}")
            given = ()
        self.names: tuple[str, ...] = tuple(given)

    def getRenderingFor(self, props: Properties) -> list[str]:
        properties = props.getProperties()
        texts = [str(properties.getProperty(name) or "") for name in self.names]
        return [
            f"{project} {change}/{patchset}"
            for text in texts
            for project, change, patchset in _DOWNLOAD.findall(text)
        ]

    def __repr__(self) -> str:
        return f"DownloadsFromProperties({list(self.names)!r})"


class DownloadsFromChangeSource:
    """What ``repo download`` is to get, from the changes that led to the build: the patch sets that Gerrit
    has told of, of all codebases or of one. For ``steps.Repo(repoDownloads=)``.

    Example::

        factory.addStep(
            steps.Repo(
                manifestURL="https://git.example.org/manifest.git",
                repoDownloads=util.FlattenList(
                    [
                        util.repo.DownloadsFromChangeSource(),
                        util.repo.DownloadsFromProperties(["downloads"]),
                    ]
                ),
            )
        )
    """

    def __init__(self, codebase: str | None = None) -> None:
        given: Any = codebase
        if given is not None and not isinstance(given, str):
            error(f"DownloadsFromChangeSource: codebase must be text, not {shown(codebase)}")
        self.codebase = codebase

    def getRenderingFor(self, props: Properties) -> list[str]:
        build = props.getBuild()
        downloads: list[str] = []
        for change in () if build is None else build.allChanges():
            if self.codebase is not None and change.codebase != self.codebase:
                continue
            told = [
                change.properties.getProperty(f"event.{name}")
                for name in ("change.project", "change.number", "patchSet.number")
            ]
            if None not in told:
                downloads += ["{} {}/{}".format(*told)]
        return downloads

    def __repr__(self) -> str:
        return f"DownloadsFromChangeSource({self.codebase!r})"
