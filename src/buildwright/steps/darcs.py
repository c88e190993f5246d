"""Sources from a Darcs repository.

A revision is a patch's hash: the sources are those with all patches up to it, which only a new clone has.
Else patches that the repository has no more are taken back, and its new ones are pulled.
"""

from __future__ import annotations

import re
from typing import Any

from buildwright.model.errors import shown
from buildwright.model.renderable import IRenderable
from buildwright.steps.workingcopy import WorkingCopy

_HASH = re.compile(r"<patch [^>]*hash='([0-9a-f]{40})'")
_URL = "_darcs/buildwright.url"


class Darcs(WorkingCopy):
    """Gets the sources of one codebase with darcs, and sets the property ``got_revision``.

    ``mode`` is ``incremental`` (what builds have made stays) or ``full`` with a ``method``: ``copy`` (the
    default: from a clone that is kept beside) or ``clobber`` (begin with nothing).

    Example::

        factory.addStep(steps.Darcs(repourl="https://darcs.example.org/project", mode="full"))
    """

    name = "darcs"

    tool = "darcs"
    admin = "_darcs"
    methods = ("copy", "clobber")
    complaints = ("darcs: ", "darcs failed: ")

    def __init__(
        self,
        repourl: str | IRenderable | None = None,
        mode: str | IRenderable = "incremental",
        method: str | IRenderable | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(mode=mode, **kwargs)
        self.repourl = repourl
        self.method = method
        self.check_text("repourl", "https://darcs.example.org/project")
        self.check_copy()

    def place(self) -> str:
        if not isinstance(self.repourl, str) or not self.repourl or self.repourl.startswith("-"):
            self.refuse(f"repourl must be the address of a repository, not {shown(self.repourl)}")
        return super().place()

    async def checkout(self, branch: str, revision: str | None, patch: Any) -> int:
        self._revision = revision
        return await super().checkout(branch, revision, patch)

    async def is_ours(self) -> bool:
        if self._revision is not None or not await self.hasFile(f"{self._dir}/{_URL}"):
            return False
        if await self.hasFile(self._patch_file):  # darcs doesn't tell all files that a patch has made
            return False
        found = await self.run_tool(["cat", _URL], self._dir, collect=True, stdioLogName=None)
        return bool(found.stdout == self.repourl)

    async def make(self, branch: str, revision: str | None) -> None:  # noqa: ARG002
        words = ["clone", "--lazy", *([f"--to-hash={revision}"] if revision else [])]
        await self.vc_afar(*words, "--", str(self.repourl), self._dir, dir=".")
        url = str(self.repourl)
        await self.downloadFileContentToWorker(_URL, url, abandonOnFailure=True, workdir=self._dir)

    async def update(self, branch: str, revision: str | None) -> None:  # noqa: ARG002
        url = str(self.repourl)
        await self.clean(ignored=False)
        await self.vc_afar("obliterate", "--all", f"--not-in-remote={url}")
        await self.vc_afar("pull", "--all", "--no-set-default", "--", url)

    async def clean(self, ignored: bool) -> None:  # noqa: ARG002
        await self.vc("revert", "--all")

    async def got_revision(self) -> str:
        said = await self.vc("log", "--max-count=1", "--xml-output", collect=True)
        found = _HASH.search(said.stdout)
        return found[1] if found is not None else ""
