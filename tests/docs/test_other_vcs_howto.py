"""The how-to about other version control tools, followed with a real Subversion repository."""

from __future__ import annotations

from pathlib import Path

from buildwright.model.results import SUCCESS
from tests.docs.blocks import DOCS, blocks
from tests.support.repositories import SvnRepository, run
from tests.support.rig import rig

PAGE = DOCS / "howto" / "other-version-control.md"


async def test_branches_of_subversion(tmp_path: Path, sqlite_store_url: str) -> None:
    repo = SvnRepository(tmp_path / "repo")
    repo.commit(Makefile="check:\n\techo trunk\n")
    run("svn", "copy", "-q", "-m", "branch", repo.url, f"{repo.root}/branches/x")
    [text] = [block.text for block in blocks(PAGE) if "steps.SVN" in block.text]
    text = text.replace('"linux"', '"w1"').replace("https://svn.example.org/project", repo.root)
    text += 'c["schedulers"].append(schedulers.Triggerable(name="run", builderNames=["svn"]))\n'
    async with rig(tmp_path, sqlite_store_url, text) as it:
        for branch in (None, "branches/x"):
            built = await it.build("svn", sources=[{"codebase": "", "branch": branch}])
            assert built.results == SUCCESS, built
            assert built.log("shell").out.endswith(b"trunk\n")
        assert run("svn", "info", "--show-item", "url", str(it.builddir("svn") / "build")).endswith("/x")
