"""Sources from a Subversion repository.

``repourl`` is the address of the directory that is built, its branch among it; a branch of the source stamp
is not added, but the address may be rendered from it.

What a killed svn has left locked is unlocked first. Files that builds have changed are reverted, since an
update would merge the new ones into them. What isn't Subversion's is found with ``svn status``.

A password is handed over on standard input, where no list of processes shows it (svn 1.10 or newer).
"""

from __future__ import annotations

import posixpath
import re
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit, urlunsplit
from xml.etree import ElementTree as ET

from buildwright.model.errors import error, shown
from buildwright.model.renderable import IRenderable, is_renderable
from buildwright.model.results import SUCCESS
from buildwright.steps.arguments import expect_flags, expect_lists, expect_texts
from buildwright.steps.workingcopy import WorkingCopy

DEPTHS = ("empty", "files", "immediates", "infinity")

_PEG = re.compile(r"@[^/@]*\Z")  # the revision that an address may end with
# Another repository at the same address, or a working copy that can't be mended.
_BROKEN = re.compile(r"E170009|E1550(?:04|16|17|37)|E155010|E200030")


class SVN(WorkingCopy):
    """Gets the sources of one codebase with svn, and sets the property ``got_revision``.

    ``mode`` is ``incremental`` (what builds have made stays) or ``full`` with a ``method``: ``fresh`` (the
    default: all files that aren't Subversion's are removed, but for ``keep_on_purge``), ``clean`` (as fresh,
    but ignored ones stay), ``clobber`` (begin with nothing), ``copy`` and ``export`` (from a working copy
    that is kept beside).

    Example::

        factory.addStep(
            steps.SVN(repourl="https://svn.example.org/project/trunk", mode="full", method="clean")
        )
    """

    name = "svn"
    renderables: ClassVar[tuple[str, ...]] = ("username", "password")

    tool = "svn"
    admin = ".svn"
    methods = ("fresh", "clean", "clobber", "copy", "export")
    complaints = ("svn: E",)

    def __init__(
        self,
        repourl: str | IRenderable | None = None,
        mode: str | IRenderable = "incremental",
        method: str | IRenderable | None = None,
        username: str | IRenderable | None = None,
        password: str | IRenderable | None = None,
        extra_args: list[str] | None = None,
        keep_on_purge: list[str] | None = None,
        depth: str | None = None,
        preferLastChangedRev: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(mode=mode, **kwargs)
        self.repourl = repourl
        self.method = method
        self.username = username
        self.password = password
        self.extra_args = extra_args
        self.keep_on_purge = keep_on_purge
        self.depth = depth
        self.preferLastChangedRev = preferLastChangedRev
        self.check_text("repourl", "https://svn.example.org/project/trunk")
        self.check_copy()
        expect_texts("step SVN", username=username, password=password)
        expect_lists("step SVN", extra_args=extra_args, keep_on_purge=keep_on_purge)
        expect_flags("step SVN", preferLastChangedRev=preferLastChangedRev)
        if depth is not None and not is_renderable(depth) and depth not in DEPTHS:
            error(f"step SVN: depth must be one of {', '.join(DEPTHS)}, not {shown(depth)}")

    # -- the working copy ---------------------------------------------------------------------------------

    def place(self) -> str:
        if not isinstance(self.repourl, str) or not self.repourl or self.repourl.startswith("-"):
            self.refuse(f"repourl must be the address of a directory, not {shown(self.repourl)}")
        return super().place()

    async def is_ours(self) -> bool:
        if not await self.pathExists(f"{self._dir}/{self.admin}"):
            return False
        if (await self.vc("cleanup", check=False)).results() != SUCCESS:
            return False
        entry = await self._info()
        return entry is not None and _plain(entry.findtext("url") or "") == _plain(self.repourl)

    async def make(self, branch: str, revision: str | None) -> None:  # noqa: ARG002
        await self.runMkdir(self._dir)
        options, more = self._options()
        # A directory that is gone by now is still there at its revision.
        pegged = (
            self.repourl if revision is None or _PEG.search(self.repourl) else f"{self.repourl}@{revision}"
        )
        words = [*options, *self._wanted(revision), "--", pegged, "."]
        await self.vc_afar("checkout", *words, **more)

    async def update(self, branch: str, revision: str | None) -> None:
        await self.vc("revert", "--quiet", "--recursive", ".")
        options, more = self._options()
        done, why = await self.vc_tried("update", "--force", *options, *self._wanted(revision), **more)
        if done.results() == SUCCESS:
            return
        if not _BROKEN.search(why):
            self.refuse(why or "svn failed, see the log")
        self._run.log("stdio").addHeader("beginning again with an empty directory\n")
        await self.begin_anew(branch, revision)

    async def clean(self, ignored: bool) -> None:
        await self.vc("revert", "--quiet", "--recursive", ".")
        # Standard output is all XML: a warning would go to standard error.
        found = await self.vc("status", "--xml", "--no-ignore", collect=True, stdioLogName=None)
        keep = {name.rstrip("/") for name in self.keep_on_purge or ()}
        paths = [self.build.path(self._dir, path) for path in _foreign(found.stdout, ignored, keep)]
        if paths:
            self._run.log("stdio").addHeader(f"removing {len(paths)} files and directories\n")
            await self.runRemoteCommand("rmdir", {"paths": paths, "timeout": self.timeout})

    async def take_over(self) -> None:
        if self.how == "copy":
            await super().take_over()
            return
        there = self.target if posixpath.isabs(self.target) else posixpath.relpath(self.target, self._dir)
        await self.vc("export", "--quiet", "--", ".", there)

    async def got_revision(self) -> str:
        entry = await self._info()
        if entry is None:
            self.refuse("svn tells nothing of the working copy, see the log")
        changed = entry.find("commit")
        if self.preferLastChangedRev and changed is not None and changed.get("revision"):
            return str(changed.get("revision"))
        return str(entry.get("revision"))

    # -- svn ----------------------------------------------------------------------------------------------

    def _wanted(self, revision: str | None) -> list[str]:
        words = ["--revision", revision or "HEAD"]
        return [*words, "--depth", self.depth] if self.depth else words

    def _options(self) -> tuple[list[str], dict[str, Any]]:
        """What goes before all words to the repository, and options of the command."""
        words = ["--non-interactive", "--no-auth-cache"]
        more: dict[str, Any] = {}
        if self.username:
            words += ["--username", str(self.username)]
        if self.password:
            words.append("--password-from-stdin")
            more["initialStdin"] = self.password
        return [*words, *(self.extra_args or ())], more

    async def _info(self) -> ET.Element | None:
        """What svn says of the working copy; None if there is none."""
        done = await self.vc("info", "--xml", ".", check=False, collect=True)
        return _parsed(done.stdout).find("entry") if done.results() == SUCCESS else None


def _parsed(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - svn has written it


def _plain(url: str) -> str:
    """An address in the one form in which two that mean the same are equal."""
    parts = urlsplit(_PEG.sub("", url))
    path = re.sub("/+", "/", unquote(parts.path)).rstrip("/")
    return urlunsplit((parts.scheme.lower(), parts.netloc.lower(), path, "", ""))


def _foreign(status: str, ignored: bool, keep: set[str]) -> list[str]:
    """The paths that aren't the repository's, of what ``svn status --xml`` says."""
    kinds = ("unversioned", "ignored") if ignored else ("unversioned",)
    paths = []
    for entry in _parsed(status).iter("entry"):
        state = entry.find("wc-status")
        path = entry.get("path", "").replace("\\", "/")
        if state is not None and path and state.get("item") in kinds and path not in keep:
            paths.append(path)
    return paths
