"""Changes from mails in a maildir."""

import json
from pathlib import Path
from typing import Any

import pytest

from buildwright.changes.base import Poll, PollError
from buildwright.changes.maildir import MaildirSource
from buildwright.model.errors import ConfigErrors
from buildwright.plugins import changes
from buildwright.store import schema
from buildwright.store.base import Store
from tests.support.polling import Master, Polls, rows

MAIL = """\
From: ann@example.org
Date: Thu, 05 Jun 2008 12:00:00 +0200
Subject: svn commit: r31614 - trunk
Content-Type: text/plain; charset=UTF-8
Content-Transfer-Encoding: 8bit

Author: ann
Date: Thu Jun  5 12:00:00 2008
New Revision: 31614

Log:
Make it faster.

Modified: no diff yet, still the ü message

Added:
   trunk/new file
Modified:
   trunk/dir/b   (props changed)
   branches/x/c

Modified: trunk/dir/b
==============================================================================
--- trunk/dir/b (original)
Log:
"""


class Own(MaildirSource):
    def parse(self, message: Any, prefix: str | None = None) -> Any:
        if message["subject"] == "no change":
            return None
        told = {
            "author": message["from"],
            "properties": {"p": 1},
            "codebase": "cb",
            "when": 5,
            "comments": prefix,
        }
        return None, told


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    (tmp_path / "mails" / "new").mkdir(parents=True)
    return tmp_path / "mails"


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


async def test_mails_of_subversion(maildir: Path, tmp_path: Path) -> None:
    (maildir / "new" / "1").write_text(MAIL, encoding="utf-8")
    (maildir / "new" / "2").write_text("Subject: hello\n\nno commit\n")
    look = Polls(changes.SVNCommitEmailMaildirSource("mails", category="c", repository="r"), tmp_path)
    [change] = (await look()).changes
    assert (change.author, change.revision, change.category, change.repository) == ("ann", "31614", "c", "r")
    assert change.comments == "Make it faster."
    assert change.when_us == 1_212_660_000_000_000
    assert names(maildir / "cur") == []
    assert not (await look()).changes
    assert (names(maildir / "new"), names(maildir / "cur")) == ([], ["1", "2"])


async def test_a_prefix_chooses_and_is_cut_off(maildir: Path, tmp_path: Path) -> None:
    mail = MAIL.replace("Modified: no diff yet, still the ü message\n", "")
    (maildir / "new" / "1").write_text(mail, encoding="utf-8")
    trunk = changes.SVNCommitEmailMaildirSource("mails", prefix="trunk/", name="trunk")
    elsewhere = changes.SVNCommitEmailMaildirSource("mails", prefix="tags/", name="tags")
    [change] = (await trunk.poll(Poll(None, tmp_path))).changes
    assert change.files == ("new file", "dir/b")
    assert not (await elsewhere.poll(Poll(None, tmp_path))).changes


async def test_a_class_of_ones_own_and_mails_that_make_no_sense(maildir: Path, tmp_path: Path) -> None:
    (maildir / "new" / "1").write_text("From: ann\nSubject: s\n\n")
    (maildir / "new" / "2").write_text("From: ann\nSubject: no change\n\n")
    look = Polls(Own("mails", prefix="x/"), tmp_path)
    [change] = (await look()).changes
    assert (change.author, change.codebase, change.comments, change.when_us) == ("ann", "cb", "x/", 5_000_000)
    assert change.properties == {"p": (1, "Change")}

    assert changes.MaildirSource is MaildirSource

    class Broken(MaildirSource):
        def parse(self, message: Any, prefix: str | None = None) -> Any:
            raise KeyError(message["subject"])

    found = await Broken("mails").poll(Poll(None, tmp_path))
    assert found.notice == "Broken 'Broken:mails': 2 can't be understood: KeyError: 'no change'"
    with pytest.raises(PollError, match=r"nowhere can't be read: No such file or directory"):
        await Own("nowhere").poll(Poll(None, tmp_path))


async def test_a_crash_before_the_commit_loses_and_doubles_nothing(
    store: Store, maildir: Path, tmp_path: Path
) -> None:
    """P1: mails stay in ``new`` until their changes are stored, and count once."""
    master = await Master(store, tmp_path).start(Own("mails", name="s"))
    for number in range(3):
        (maildir / "new" / f"{number}").write_text(f"From: {number}\n\n")
    lost = await Own("mails", name="s").poll(Poll({"taken": []}, tmp_path))
    assert len(lost.changes) == 3
    assert names(maildir / "new") == ["0", "1", "2"]
    for _ in range(2):
        await master.pass_time(10)
        assert [each["author"] for each in await rows(store, schema.changes)] == ["0", "1", "2"]
    assert names(maildir / "cur") == ["0", "1", "2"]
    [source] = await rows(store, schema.changesources)
    assert json.loads(source["state"]) == {"taken": []}
    (maildir / "cur" / "1").rename(maildir / "new" / "1")
    await master.pass_time(10)
    assert len(await rows(store, schema.changes)) == 3
    await master.sources.stop()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"maildir": ""}, "maildir must be the path of a directory"),
        ({"maildir": "m", "prefix": "trunk"}, "prefix must end with a slash"),
        ({"maildir": "m", "category": 5}, "category must be text"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigErrors, match=message):
        changes.SVNCommitEmailMaildirSource(**arguments)
