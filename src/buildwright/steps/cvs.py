"""Sources from a CVS repository.

CVS has no revisions of the whole: what a source stamp calls one is a date, as ``cvs -D`` takes it. The
property ``got_revision`` is that date, or else the time at which the sources were asked for.

Files that aren't CVS's are those that ``cvs -n update`` doesn't know.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar

from buildwright.model.errors import error
from buildwright.model.renderable import IRenderable, is_renderable
from buildwright.steps.arguments import expect_lists, expect_texts
from buildwright.steps.workingcopy import WorkingCopy


class CVS(WorkingCopy):
    """Gets the sources of one codebase with cvs, and sets the property ``got_revision``.

    ``mode`` is ``incremental`` (what builds have made stays) or ``full`` with a ``method``: ``fresh`` (the
    default: all files that aren't CVS's are removed), ``clean`` (as fresh, but ignored ones stay),
    ``clobber`` (begin with nothing), ``copy`` (from a working copy that is kept beside). ``login`` is a
    password for ``cvs login``.

    Example::

        factory.addStep(
            steps.CVS(cvsroot=":pserver:anonymous@cvs.example.org:/cvsroot", cvsmodule="project", login="")
        )
    """

    name = "cvs"
    renderables: ClassVar[tuple[str, ...]] = ("cvsroot", "cvsmodule", "login")

    tool = "cvs"
    admin = "CVS"
    methods = ("fresh", "clean", "clobber", "copy")
    complaints = ("cvs [checkout aborted]", "cvs [update aborted]", "cvs [login aborted]")

    def __init__(
        self,
        cvsroot: str | IRenderable | None = None,
        cvsmodule: str | IRenderable = "",
        mode: str | IRenderable = "incremental",
        method: str | IRenderable | None = None,
        branch: str | None = None,
        global_options: list[str] | None = None,
        extra_options: list[str] | None = None,
        login: str | IRenderable | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(mode=mode, **kwargs)
        self.cvsroot = cvsroot
        self.cvsmodule = cvsmodule
        self.method = method
        self.branch = branch
        self.global_options = global_options
        self.extra_options = extra_options
        self.login = login
        self.check_text("cvsroot", ":pserver:anonymous@cvs.example.org:/cvsroot")
        self.check_copy()
        if not is_renderable(cvsmodule) and not cvsmodule:
            error("step CVS has no cvsmodule", "give it cvsmodule='project', or '.' for all")
        expect_texts("step CVS", cvsmodule=cvsmodule, branch=branch, login=login)
        expect_lists("step CVS", global_options=global_options, extra_options=extra_options)

    # -- the working copy ---------------------------------------------------------------------------------

    async def checkout(self, branch: str, revision: str | None, patch: Any) -> int:
        if branch and branch.startswith("-"):
            self.refuse(f"{branch!r} can't be a branch")
        self._asked_at = await self.once("time", time.time)
        self._revision = revision
        if self.login is not None:
            # What it remembers is in the home directory of the worker's user, and outlives the build.
            root = str(self.cvsroot)
            await self.vc("-d", root, "login", dir=".", initialStdin=f"{self.login}\n")
        return await super().checkout(branch, revision, patch)

    async def is_ours(self) -> bool:
        if not await self.hasFile(f"{self._dir}/CVS/Root"):
            return False
        found = await self.run_tool(
            ["cat", "CVS/Root", "CVS/Repository"], self._dir, check=False, collect=True
        )
        root, _, where = found.stdout.strip().partition("\n")
        return root == self.cvsroot and where == self.cvsmodule

    async def make(self, branch: str, revision: str | None) -> None:
        words = ["checkout", "-P", "-d", self._dir, *self._wanted(branch, revision)]
        await self._cvs(*words, str(self.cvsmodule), dir=".")

    async def update(self, branch: str, revision: str | None) -> None:
        wanted = self._wanted(branch, revision)
        await self._cvs("update", "-C", "-d", "-P", *(wanted or ["-A"]))

    async def clean(self, ignored: bool) -> None:
        words = ["-n", "-q", "update"]
        if ignored:  # else what each directory says of itself would still be ignored; updating brings it back
            lists = await self.runGlob(f"{self._dir}/**/.cvsignore")
            if lists:
                await self.runRemoteCommand("rmdir", {"paths": lists})
            words += ["-I", "!"]
        found = await self.vc(*words, collect=True)
        lines = found.stdout.splitlines()
        paths = [self.build.path(self._dir, line[2:]) for line in lines if line.startswith("? ")]
        if paths:
            await self.runRemoteCommand("rmdir", {"paths": paths, "timeout": self.timeout})

    async def got_revision(self) -> str:
        return self._revision or time.strftime("%Y-%m-%d %H:%M:%S +0000", time.gmtime(self._asked_at))

    # -- cvs ----------------------------------------------------------------------------------------------

    def _wanted(self, branch: str, revision: str | None) -> list[str]:
        words = ["-r", branch] if branch else []
        if revision:
            words += ["-D", revision]
        return [*words, *(self.extra_options or ())]

    async def _cvs(self, verb: str, *words: str, dir: str | None = None) -> None:
        options = ["-z3", *(self.global_options or ()), "-d", str(self.cvsroot)]
        await self.vc_afar(*options, verb, *words, dir=dir)
