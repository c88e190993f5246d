"""Sources from a Monotone server.

What is pulled goes into a database beside the working copy, named as it. Both are this step's: a working copy
of another address begins with a new database.

Local changes are reverted before an update, which would merge them else. A branch with several heads is an
error that monotone tells.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from buildwright.model.errors import shown
from buildwright.model.renderable import IRenderable
from buildwright.steps.arguments import expect_flags, expect_texts
from buildwright.steps.workingcopy import WorkingCopy

_REVISION = re.compile(r"[0-9a-f]{40}\Z")
_URL = "_MTN/buildwright.url"


class Monotone(WorkingCopy):
    """Gets the sources of one codebase with mtn (1.0 or newer), and sets the property ``got_revision``.

    ``repourl`` is an address as ``mtn pull`` takes it; if it says after no ``?`` what to pull, that is the
    branch. ``branch`` is built where the source stamp has none. ``progress`` has the pull print dots, so that
    a long one isn't taken for one that hangs.

    ``mode`` is ``incremental`` (what builds have made stays) or ``full`` with a ``method``: ``fresh`` (the
    default: all files that aren't Monotone's are removed), ``clean`` (as fresh, but ignored ones stay),
    ``clobber`` (begin with nothing), ``copy`` (from a working copy that is kept beside).

    Example::

        factory.addStep(
            steps.Monotone(repourl="mtn://mtn.example.org/project", branch="org.example.project", mode="full")
        )
    """

    name = "monotone"
    renderables: ClassVar[tuple[str, ...]] = ("branch",)

    tool = "mtn"
    admin = "_MTN"
    methods = ("fresh", "clean", "clobber", "copy")
    complaints = ("mtn: error:", "mtn: misuse:", "mtn: fatal:")

    def __init__(
        self,
        repourl: str | IRenderable | None = None,
        branch: str | IRenderable | None = None,
        progress: bool = False,
        mode: str | IRenderable = "incremental",
        method: str | IRenderable | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(mode=mode, **kwargs)
        self.repourl = repourl
        self.branch = branch
        self.progress = progress
        self.method = method
        self.check_text("repourl", "mtn://mtn.example.org/project")
        self.check_copy()
        expect_texts("step Monotone", branch=branch)
        expect_flags("step Monotone", progress=progress)

    # -- the working copy ---------------------------------------------------------------------------------

    async def checkout(self, branch: str, revision: str | None, patch: Any) -> int:
        if not isinstance(self.repourl, str) or not self.repourl or self.repourl.startswith("-"):
            self.refuse(f"repourl must be the address of a server, not {shown(self.repourl)}")
        if not branch:
            self.refuse("neither the step nor the build's source stamp says which branch is wanted")
        return await super().checkout(branch, revision, patch)

    async def is_ours(self) -> bool:
        if not await self.hasFile(f"{self._dir}/{_URL}") or not await self.hasFile(self._database):
            return False
        found = await self.run_tool(["cat", _URL], self._dir, collect=True, stdioLogName=None)
        return bool(found.stdout == self.repourl)

    async def begin_anew(self, branch: str, revision: str | None) -> None:
        await self.runRmdir(self._database, timeout=self.timeout)
        await super().begin_anew(branch, revision)

    async def make(self, branch: str, revision: str | None) -> None:
        database = f"--db={self._database}"
        await self.vc("db", "init", database, dir=".")
        await self._pull(branch)
        words = ["checkout", database, f"--branch={branch}", f"--revision={revision or f'h:{branch}'}"]
        await self.vc_afar(*words, "--", self._dir, dir=".")
        url = str(self.repourl)
        await self.downloadFileContentToWorker(_URL, url, abandonOnFailure=True, workdir=self._dir)

    async def update(self, branch: str, revision: str | None) -> None:
        await self._pull(branch)
        await self.vc("revert", "--", ".")
        await self.vc_afar("update", f"--branch={branch}", f"--revision={revision or f'h:{branch}'}")

    async def clean(self, ignored: bool) -> None:
        await self.vc("revert", "--", ".")
        for kind in ("unknown", "ignored") if ignored else ("unknown",):
            found = await self.vc("list", kind, collect=True)
            paths = [self.build.path(self._dir, line) for line in found.stdout.splitlines() if line]
            if paths:
                await self.runRemoteCommand("rmdir", {"paths": paths, "timeout": self.timeout})

    async def got_revision(self) -> str:
        said = await self.vc("automate", "get_base_revision_id", collect=True)
        revision = str(said.stdout).strip()
        if not _REVISION.match(revision):
            self.refuse(f"mtn gave {revision!r} as the revision")
        return revision

    # -- mtn ----------------------------------------------------------------------------------------------

    @property
    def _database(self) -> str:
        return f"{self._dir}.mtn"

    async def _pull(self, branch: str) -> None:
        url = str(self.repourl) if "?" in str(self.repourl) else f"{self.repourl}?{branch}"
        ticker = "dot" if self.progress else "none"
        await self.vc_afar("pull", f"--db={self._database}", f"--ticker={ticker}", "--", url, dir=".")
