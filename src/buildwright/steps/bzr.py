"""Sources from a Bazaar branch, with ``bzr`` or Breezy, which has its name in Debian.

The working copy is a checkout bound to the branch. Locks that a killed bzr has left are broken first: nothing
else runs in a builder's directory.
"""

from __future__ import annotations

from typing import Any, ClassVar

from buildwright.model.errors import error, shown
from buildwright.model.renderable import IRenderable
from buildwright.model.results import SUCCESS
from buildwright.steps.arguments import expect_texts
from buildwright.steps.workingcopy import WorkingCopy


class Bzr(WorkingCopy):
    """Gets the sources of one codebase with bzr, and sets the property ``got_revision``.

    The branch is at ``repourl``, or at ``baseURL`` followed by the branch of the source stamp or else
    ``defaultBranch``.

    ``mode`` is ``incremental`` (what builds have made stays) or ``full`` with a ``method``: ``fresh`` (the
    default: all files that aren't Bazaar's are removed), ``clean`` (as fresh, but ignored ones stay),
    ``clobber`` (begin with nothing), ``copy`` (from a working copy that is kept beside).

    Example::

        factory.addStep(steps.Bzr(baseURL="https://bzr.example.org/project/", defaultBranch="trunk"))
    """

    name = "bzr"
    renderables: ClassVar[tuple[str, ...]] = ("baseURL", "defaultBranch")

    tool = "bzr"
    admin = ".bzr"
    methods = ("fresh", "clean", "clobber", "copy")
    complaints = ("bzr: ERROR: ", "brz: ERROR: ")

    def __init__(
        self,
        repourl: str | IRenderable | None = None,
        baseURL: str | IRenderable | None = None,
        mode: str | IRenderable = "incremental",
        method: str | IRenderable | None = None,
        defaultBranch: str | IRenderable | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(mode=mode, **kwargs)
        self.repourl = repourl
        self.baseURL = baseURL
        self.method = method
        self.defaultBranch = defaultBranch
        self.check_copy()
        expect_texts("step Bzr", repourl=repourl, baseURL=baseURL, defaultBranch=defaultBranch)
        if (repourl is None) == (baseURL is None):
            error(
                "step Bzr takes one of repourl and baseURL", "as in repourl='https://bzr.example.org/trunk'"
            )
        if baseURL is not None and defaultBranch is None:
            error("step Bzr: baseURL needs a defaultBranch", "as in defaultBranch='trunk'")

    # -- the working copy ---------------------------------------------------------------------------------

    async def checkout(self, branch: str, revision: str | None, patch: Any) -> int:
        url = self.repourl if self.repourl is not None else f"{self.baseURL}{branch or self.defaultBranch}"
        if not isinstance(url, str) or not url or url.startswith("-"):
            self.refuse(f"{shown(url)} can't be the address of a branch")
        self._url = url.rstrip("/")
        return await super().checkout(branch, revision, patch)

    async def is_ours(self) -> bool:
        if not await self.pathExists(f"{self._dir}/{self.admin}"):
            return False
        await self.vc("break-lock", "--force", check=False)
        bound = await self.vc("config", "buildwright_url", check=False, collect=True, stdioLogName=None)
        return bound.results() == SUCCESS and bound.stdout.strip() == self._url

    async def make(self, branch: str, revision: str | None) -> None:  # noqa: ARG002
        await self.vc_afar("checkout", *self._wanted(revision), "--", self._url, self._dir, dir=".")
        await self.vc("config", "--scope=branch", f"buildwright_url={self._url}")

    async def update(self, branch: str, revision: str | None) -> None:
        await self.vc("revert", "--no-backup")
        done, why = await self.vc_tried("update", *self._wanted(revision))
        if done.results() == SUCCESS:
            return
        if "diverged" not in why:
            self.refuse(why or "bzr failed, see the log")
        self._run.log("stdio").addHeader(
            "the branch was rewritten: beginning again with an empty directory\n"
        )
        await self.begin_anew(branch, revision)

    async def clean(self, ignored: bool) -> None:
        await self.vc("revert", "--no-backup")
        await self.vc("clean-tree", "--force", "--unknown", *(["--ignored"] if ignored else []))

    async def got_revision(self) -> str:
        said = await self.vc("revno", "--tree", collect=True)
        return str(said.stdout).strip()

    @staticmethod
    def _wanted(revision: str | None) -> list[str]:
        return [f"--revision={revision}"] if revision else []
