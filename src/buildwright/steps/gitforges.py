"""Git as the forges use it: what is proposed to be merged has a reference or a repository of its own."""

from __future__ import annotations

import re

from buildwright.model.sources import Patch
from buildwright.steps.git import Git


class GitHub(Git):
    """Git for GitHub: of a pull request's merge, ``refs/pull/N/merge``, the newest is taken, since GitHub
    makes it anew whenever one of its sides changes, and forgets the old one.

    Example::

        factory.addStep(steps.GitHub(repourl="https://github.com/example/project.git"))
    """

    async def checkout(self, branch: str, revision: str | None, patch: Patch | None) -> int:
        if re.fullmatch(r"(?:refs/)?pull/\d+/merge", branch):
            revision = None
            branch = branch if branch.startswith("refs/") else f"refs/{branch}"
        return await super().checkout(branch, revision, patch)


class GitLab(Git):
    """Git for GitLab: a build of a merge request, which has the property ``target_branch``, gets the newest
    of the properties' ``source_branch`` from their ``source_git_ssh_url``.

    Example::

        factory.addStep(steps.GitLab(repourl="git@gitlab.example.org:tools/project.git"))
    """

    async def checkout(self, branch: str, revision: str | None, patch: Patch | None) -> int:
        if self.hasProperty("target_branch"):
            branch = str(self.getProperty("source_branch") or branch)
            self._elsewhere = str(self.getProperty("source_git_ssh_url") or "")
            revision = None
        return await super().checkout(branch, revision, patch)


class Gerrit(Git):
    """Git for Gerrit: gets the patch set of the event that led to the build, or the one that the property
    ``gerrit_change`` names as ``change/patchset``; its reference becomes the property ``gerrit_branch``.

    Example::

        factory.addStep(steps.Gerrit(repourl="ssh://ci@gerrit.example.org:29418/project", mode="full"))
    """

    async def checkout(self, branch: str, revision: str | None, patch: Patch | None) -> int:
        reference = str(self.getProperty("event.patchSet.ref") or "")
        wanted = self.getProperty("gerrit_change")
        if not reference and wanted:
            match = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", str(wanted))
            if match is None:
                self.refuse(f"the property gerrit_change must be 'change/patchset', not {wanted!r}")
            reference = change_ref(int(match[1]), int(match[2]))
        if reference:
            self.set_source_property("gerrit_branch", reference)
            branch, revision = reference, None
        return await super().checkout(branch, revision, patch)


def change_ref(change: int, patchset: int) -> str:
    """The reference of a patch set: its second part are the change's last two digits."""
    return f"refs/changes/{change % 100:02d}/{change}/{patchset}"
