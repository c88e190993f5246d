"""Sources from a Mercurial repository.

The remote is asked which changeset is wanted, and that one is pulled and checked out: so a branch with
several heads, one that was rewritten, a bookmark and a tag are all the same.

What a killed hg has left half done is undone first. A working directory whose repository has nothing to do
with the one that is wanted is thrown away.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from buildwright.model.errors import error, shown
from buildwright.model.renderable import IRenderable
from buildwright.model.results import SUCCESS
from buildwright.steps.arguments import expect_flags, expect_texts
from buildwright.steps.workingcopy import WorkingCopy

BRANCH_TYPES = ("dirname", "inrepo")
DEFAULT = "default"

_NODE = re.compile(r"[0-9a-f]{40}\Z")
_NOTHING = "0" * 40
# Another repository at the same address, or one that can't be mended.
_BROKEN = re.compile(r"unrelated|integrity|corrupt|abandoned transaction|unknown (?:version|format)|no node")


class Mercurial(WorkingCopy):
    """Gets the sources of one codebase with hg, and sets the property ``got_revision``.

    A branch is one in the repository (``branchType="inrepo"``: of that name, or a bookmark), or a repository
    of its own, whose address is ``repourl`` followed by the branch (``"dirname"``).

    ``mode`` is ``incremental`` (what builds have made stays) or ``full`` with a ``method``: ``fresh`` (the
    default: all files that aren't Mercurial's are removed), ``clean`` (as fresh, but ignored ones stay),
    ``clobber`` (begin with nothing). With ``clobberOnBranchChange`` a build of another branch of the
    repository than the last one's begins with nothing, too.

    Example::

        factory.addStep(
            steps.Mercurial(repourl="https://hg.example.org/project", branchType="inrepo", mode="full")
        )
    """

    name = "hg"
    renderables: ClassVar[tuple[str, ...]] = ("defaultBranch",)

    tool = "hg"
    admin = ".hg"
    methods = ("fresh", "clean", "clobber")
    environment: ClassVar[dict[str, str]] = {"HGPLAIN": "1"}
    complaints = ("abort: ", "hg: ")

    def __init__(
        self,
        repourl: str | IRenderable | None = None,
        mode: str | IRenderable = "incremental",
        method: str | IRenderable | None = None,
        defaultBranch: str | IRenderable | None = None,
        branchType: str = "dirname",
        clobberOnBranchChange: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(mode=mode, **kwargs)
        self.repourl = repourl
        self.method = method
        self.defaultBranch = defaultBranch
        self.branchType = branchType
        self.clobberOnBranchChange = clobberOnBranchChange
        self.check_text("repourl", "https://hg.example.org/project")
        self.check_copy()
        expect_texts("step Mercurial", defaultBranch=defaultBranch)
        expect_flags("step Mercurial", clobberOnBranchChange=clobberOnBranchChange)
        if branchType not in BRANCH_TYPES:
            error(f"step Mercurial: branchType must be 'dirname' or 'inrepo', not {shown(branchType)}")

    # -- the working copy ---------------------------------------------------------------------------------

    def place(self) -> str:
        if not isinstance(self.repourl, str) or not self.repourl:
            self.refuse(f"repourl must be the address of a repository, not {shown(self.repourl)}")
        return super().place()

    async def is_ours(self) -> bool:
        if not await self.hasFile(f"{self._dir}/{self.admin}/requires"):
            return False
        if await self.pathExists(f"{self._dir}/{self.admin}/store/journal"):
            return (await self.vc("recover", "--no-verify", check=False)).results() == SUCCESS
        return True

    async def make(self, branch: str, revision: str | None) -> None:
        await self.runMkdir(self._dir)
        await self.vc("init", ".")
        await self._go_to(branch, revision, begun=True)

    async def update(self, branch: str, revision: str | None) -> None:
        await self._go_to(branch, revision, begun=False)

    async def clean(self, ignored: bool) -> None:
        await self.vc("update", "--quiet", "--clean", "--rev=.")
        words = ["--config", "extensions.purge=", "purge", *(["--all"] if ignored else [])]
        await self.vc(*words)

    async def got_revision(self) -> str:
        said = await self.vc("log", "--rev=.", "--template={node}", collect=True)
        node: str = said.stdout.strip()
        if not _NODE.match(node):
            self.refuse(f"hg gave {node!r} as the revision")
        return node

    # -- hg -----------------------------------------------------------------------------------------------

    async def _go_to(self, branch: str, revision: str | None, begun: bool) -> None:
        """Pull and check out; ``begun`` if the repository was made just now."""
        branch = branch or str(self.defaultBranch or "")
        inrepo = self.branchType == "inrepo"
        url = self.repourl if inrepo else f"{self.repourl}{branch}"
        if url.startswith("-"):
            self.refuse(f"{url!r} can't be the address of a repository")
        wanted = revision or await self._newest(url, branch if inrepo and branch else DEFAULT)
        if revision is None or not await self._has(revision):
            done, why = await self.vc_tried("pull", "--quiet", f"--rev={wanted}", "--", url)
            if done.results() != SUCCESS:
                if begun or not _BROKEN.search(why):
                    self.refuse(why or "hg failed, see the log")
                self._run.log("stdio").addHeader("beginning again with an empty directory\n")
                await self.begin_anew(branch, revision)
                return
        if inrepo and not begun and self.clobberOnBranchChange:
            here, there = await self._branch_of("."), await self._branch_of(wanted)
            if here != there:
                self._run.log("stdio").addHeader(f"the branch has changed from {here} to {there}\n")
                await self.begin_anew(branch, revision)
                return
        await self.vc_afar("update", "--clean", f"--rev={wanted}")

    async def _newest(self, url: str, name: str) -> str:
        """What a branch points to in the repository."""
        words = ["identify", "--debug", "--id", f"--rev={name}", "--", url]
        node = (await self.vc_afar(*words, collect=True)).stdout.strip()
        if not _NODE.match(node) or node == _NOTHING:
            self.refuse(f"hg identify gave {node!r} for {name!r}")
        return str(node)

    async def _has(self, revision: str) -> bool:
        words = ["log", f"--rev=present({revision})", "--template=x"]
        done = await self.vc(*words, check=False, collect=True, stdioLogName=None)
        return str(done.stdout) == "x"

    async def _branch_of(self, revision: str) -> str:
        words = ["log", f"--rev={revision}", "--template={branch}"]
        return str((await self.vc(*words, collect=True, stdioLogName=None)).stdout)
