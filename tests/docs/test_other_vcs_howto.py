"""The how-to about other version control tools, followed with real repositories of Subversion and CVS."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from buildwright.model.results import SUCCESS
from buildwright.plugins import changes
from tests.docs.blocks import DOCS, blocks
from tests.support.polling import Polls
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


async def test_mails_that_cvs_sends(tmp_path: Path) -> None:
    """A real CVS runs the page's script, which has the mail delivered into a maildir."""
    [script] = [block.text for block in blocks(PAGE) if "sendmail" in block.text]
    new, root, work = (tmp_path / name for name in ("mails/new", "cvs root", "work"))
    new.mkdir(parents=True)
    hook = tmp_path / "mail-commit"
    hook.write_text(script.replace("| /usr/sbin/sendmail ci@example.org", f"> {new}/$$"))
    hook.chmod(0o755)

    def cvs(*words: str, cwd: Path = work) -> None:
        environment = {"PATH": os.environ["PATH"], "USER": "ann", "LOGNAME": "ann", "CVSROOT": str(root)}
        done = subprocess.run(
            ["cvs", "-Q", *words], cwd=cwd, env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr

    cvs("init", cwd=tmp_path)
    (root / "project").mkdir()
    cvs("checkout", "-d", "admin", "CVSROOT", cwd=tmp_path)
    with (tmp_path / "admin" / "loginfo").open("a") as loginfo:
        loginfo.write(f"^project {hook} %p %{{sVv}}\n")
    cvs("commit", "-m", "mails", cwd=tmp_path / "admin")
    cvs("checkout", "-d", "work", "project", cwd=tmp_path)
    for name in ("a", "two words"):
        (work / name).write_text("1")
        cvs("add", name)
    cvs("commit", "-m", "first\nlines")
    (work / "a").write_text("2")
    cvs("tag", "-b", "side")
    cvs("update", "-r", "side")
    cvs("commit", "-m", "on the side")
    look = Polls(changes.CVSMaildirSource(str(tmp_path / "mails")), tmp_path)
    first, second = sorted((await look()).changes, key=lambda change: change.branch or "")
    assert (first.author, first.comments, first.repository) == ("ann", "first\nlines", str(root))
    assert first.files == ("project/a", "project/two words")
    assert (second.branch, second.files, second.comments) == ("side", ("project/a",), "on the side")
