"""Changes from the mails that CVS and Launchpad send."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from buildwright.changes.base import Found
from buildwright.model.errors import ConfigErrors
from buildwright.plugins import changes
from tests.support.polling import Polls

CVS = """\
From: Ann Other <ann@example.org>
Date: Sat, 07 Aug 2010 11:11:49 +0000
Subject: cvs update

Cvsmode: 1.12
Category: None
CVSROOT: :ext:cvs.example.org:/cvsroot
Files: main.c,1.362,1.363 two words.c,NONE,1.1 gone.c,1.2,NONE
Path: project/src
Project: tool

Update of /cvsroot/project/src
In directory host:/usr/src/project

Modified Files:
      Tag: side
\tmain.c two words.c
Removed Files:
\tgone.c
Log Message:
Make it faster.

Log Message:
isn't the end
"""

LOG = """\
------------------------------------------------------------
{log}
=== modified file 'd/b'
--- d/b\t2009-05-15
+++ d/b\t2009-05-16
revno: 99


--
lp:project
https://code.launchpad.net/~ann/project/trunk

You are subscribed to branch lp:project.
"""


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    (tmp_path / "mails" / "new").mkdir(parents=True)
    return tmp_path / "mails"


async def read(source: Any, maildir: Path, *mails: str) -> Found:
    for number, mail in enumerate(mails):
        (maildir / "new" / str(number)).write_text(mail, encoding="utf-8")
    return await Polls(source, maildir.parent)()


async def test_mails_of_cvs(maildir: Path) -> None:
    source = changes.CVSMaildirSource("mails", category="c", properties={"kind": "cvs"})
    [change] = (await read(source, maildir, CVS)).changes
    assert (change.author, change.comments) == ("ann", "Make it faster.\n\nLog Message:\nisn't the end")
    assert change.files == ("project/src/main.c", "project/src/two words.c", "project/src/gone.c")
    assert (change.branch, change.revision) == ("side", None)
    assert (change.category, change.project) == ("c", "tool")
    assert change.repository == ":ext:cvs.example.org:/cvsroot"
    assert change.when_us == 1_281_179_509_000_000
    assert change.properties == {"kind": ("cvs", "Change")}


async def test_ways_to_name_files(maildir: Path) -> None:
    pathless = CVS.replace("Path: project/src\n", "").replace("Files: ", "Files: project/src ")
    both = CVS.replace("Files: ", "Files: project/src ")
    listed = CVS.replace("Files: ", "Filed: ").replace("two words.c", "words.c")
    made = CVS[: CVS.index("Modified")] + CVS[CVS.index("Log Message") :]
    made = made.replace(
        "Files: main.c,1.362,1.363 two words.c,NONE,1.1 gone.c,1.2,NONE", "Files: - New directory"
    )
    found = await read(changes.CVSMaildirSource("mails"), maildir, pathless, both, listed, made)
    names = [tuple(file.removeprefix("project/src") for file in change.files) for change in found.changes]
    usual = ("/main.c", "/two words.c", "/gone.c")
    assert names == [usual, usual, ("/main.c", "/words.c", "/gone.c"), ("",)]


async def test_a_prefix_and_mails_of_others(maildir: Path) -> None:
    source = changes.CVSMaildirSource("mails", prefix="project/", repository="r")
    bare = CVS.replace("CVSROOT: :ext:cvs.example.org:/cvsroot\n", "").replace(
        "Category: None", "Category: d"
    )
    found = await read(source, maildir, "Subject: hello\n\nhello\n", bare, CVS.replace("project", "other"))
    [change] = found.changes
    assert (change.files[0], change.category, change.repository) == ("src/main.c", "d", "r")
    assert not found.notice


# -- Launchpad -----------------------------------------------------------------------------------------------


def bzr(*words: str, cwd: Path) -> str:
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(cwd.parent),
        "BRZ_EMAIL": "Ann <ann@example.org>",
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(["brz", *words], cwd=cwd, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def mail(log: str, branch: str = "~ann/project/trunk") -> str:
    head = (
        f"From: noreply@launchpad.net\nX-Launchpad-Branch: {branch}\nContent-Type: text/plain; charset=utf-8"
    )
    return f"{head}\nDate: Sat, 16 May 2009 12:00:00 +0000\n\n{LOG.format(log=log)}"


@pytest.fixture
def logs(tmp_path: Path) -> list[str]:
    """What bzr itself says of four revisions, without the rule above it."""
    trunk, side = tmp_path / "trunk", tmp_path / "side"
    trunk.mkdir()
    bzr("init", "-q", cwd=trunk)
    (trunk / "a").write_text("1")
    (trunk / "d").mkdir()
    (trunk / "d" / "b").write_text("1")
    bzr("add", "-q", cwd=trunk)
    bzr("commit", "-q", "-m", "subject\n\nbody ü", "--author", "Bob <bob@example.org>", cwd=trunk)
    bzr("branch", "-q", "trunk", "side", cwd=tmp_path)
    bzr("mv", "-q", "a", "e f", cwd=trunk)
    (trunk / "d" / "b").chmod(0o755)
    bzr("commit", "-q", "-m", "moved", cwd=trunk)
    (side / "z").write_text("1")
    bzr("add", "-q", cwd=side)
    bzr("commit", "-q", "-m", "on the side", cwd=side)
    bzr("merge", "-q", "../side", cwd=trunk)
    bzr("commit", "-q", "-m", "merged", cwd=trunk)
    bzr("rm", "-q", "z", cwd=trunk)
    bzr("commit", "-q", "-m", "gone", cwd=trunk)
    said = [bzr("log", "-v", "--long", "-n0", f"-r{number}", cwd=trunk) for number in range(1, 5)]
    return [each.partition("\n")[2] for each in said]


async def test_mails_of_launchpad(maildir: Path, logs: list[str]) -> None:
    found = await read(changes.BzrLaunchpadEmailMaildirSource("mails"), maildir, *map(mail, logs))
    one, moved, merged, gone = found.changes
    assert (one.author, one.comments) == ("Bob <bob@example.org>", "subject\n\nbody ü")
    assert [change.revision for change in found.changes] == ["1", "2", "3", "4"]
    assert set(one.files) == {"a", "d/", "d/b"}
    assert (moved.author, set(moved.files)) == ("Ann <ann@example.org>", {"a", "e f", "d/b"})
    assert (merged.comments, merged.files) == ("merged", ("z",))
    assert gone.files == ("z",)
    assert (one.branch, one.repository) == ("lp:~ann/project/trunk", "lp:~ann/project/trunk")
    assert one.when_us is not None
    assert one.when_us > 1_281_179_509_000_000


async def test_what_a_branch_is_called(maildir: Path, logs: list[str]) -> None:
    source = changes.BzrLaunchpadEmailMaildirSource(
        "mails", branchMap={"lp:~ann/project/2.0": "2.0", "~ann/project/3.0": "3.0"}, defaultBranch="trunk",
        repository="r",
    )  # fmt: skip
    undated = logs[0].replace("timestamp: ", "timestamp: x")
    mails = [mail(undated, f"~ann/project/{name}") for name in ("2.0", "3.0", "other")]
    found = await read(source, maildir, *mails, "Subject: hello\n\nrevno: 5\n", mail("nothing"))
    assert [change.branch for change in found.changes] == ["2.0", "3.0", "trunk"]
    assert {change.when_us for change in found.changes} == {1_242_475_200_000_000}
    assert {change.repository for change in found.changes} == {"r"}
    assert not found.notice


def test_arguments_that_make_no_sense() -> None:
    wrong: list[tuple[Any, str]] = [
        (lambda: changes.CVSMaildirSource("m", properties=["x"]), "properties must be a dict"),  # type: ignore[arg-type]
        (lambda: changes.CVSMaildirSource("m", prefix="x"), "prefix must end with a slash"),
        (lambda: changes.BzrLaunchpadEmailMaildirSource("m", branchMap="x"), "branchMap must be a dict"),  # type: ignore[arg-type]
        (lambda: changes.BzrLaunchpadEmailMaildirSource("m", defaultBranch=5), "defaultBranch must be text"),  # type: ignore[arg-type]
    ]
    for made, message in wrong:
        with pytest.raises(ConfigErrors, match=message):
            made()
