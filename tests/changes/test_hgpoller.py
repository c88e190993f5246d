"""What HgPoller finds in real repositories."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from buildwright.changes.base import PollError
from buildwright.changes.hgpoller import HgPoller
from buildwright.model.errors import Collector, ConfigErrors, collected, collecting
from buildwright.plugins import changes
from buildwright.store import schema
from buildwright.store.base import Store
from tests.support.polling import Master, Polls, rows
from tests.support.repositories import HgRepository


@pytest.fixture
def repo(tmp_path: Path) -> HgRepository:
    return HgRepository(tmp_path / "repo")


def polls(repo: HgRepository, tmp_path: Path, **more: Any) -> Polls:
    return Polls(HgPoller(repo.url, **more), tmp_path / "master")


async def branches(look: Polls) -> list[tuple[str | None, str | None]]:
    return [(change.branch, change.revision) for change in (await look()).changes]


async def test_the_first_poll_records_and_the_next_finds(repo: HgRepository, tmp_path: Path) -> None:
    repo.commit("old")
    look = polls(
        repo,
        tmp_path,
        category="c",
        project="p",
        revlink=lambda branch, revision: f"https://x/{branch}/{revision}",
    )
    assert look.poller.name == repo.url
    assert not (await look()).changes
    assert not (await look()).changes
    one = repo.commit("subject\n\nbody ü", "a", "dir/b c")
    two = repo.commit("second", os.fsdecode(b"caf\xe9"))
    found = await look()
    assert [change.revision for change in found.changes] == [one, two]
    change = found.changes[0]
    assert (change.author, change.comments) == ("Ann <ann@example.org>", "subject\n\nbody ü")
    assert change.files == ("a", "dir/b c")
    assert found.changes[1].files == ("caf\\xe9",)
    assert (change.branch, change.repository) == ("default", repo.url)
    assert (change.category, change.project) == ("c", "p")
    assert change.revlink == f"https://x/default/{one}"
    assert change.when_us == (repo.time - 1) * 1_000_000
    assert not (await look()).changes


async def test_branches_and_bookmarks(repo: HgRepository, tmp_path: Path) -> None:
    base = repo.commit("old")
    named = polls(repo, tmp_path, branches=["default", "stable"], name="named")
    marked = polls(repo, tmp_path, bookmarks=["wip"], name="marked")
    one = polls(repo, tmp_path, branch="stable", name="one")
    assert (
        await named()
    ).notice == f"{repo.url} has no 'stable': it is empty, or the poller's branches are wrong."
    assert (await marked()).notice
    await one()
    stable = [repo.commit(branch="stable"), repo.commit()]
    repo.hg("update", "-q", "-r", base)
    default = repo.commit()
    assert await branches(named) == [("default", default), *(("stable", node) for node in stable)]
    # Nothing of the branch was known: its newest one.
    assert await branches(one) == [("stable", stable[-1])]
    repo.hg("bookmark", "-r", default, "wip")
    assert await branches(marked) == [("wip", default)]
    repo.hg("update", "-q", "wip")
    more = repo.commit()
    assert await branches(marked) == [("wip", more)]
    repo.hg("bookmark", "-d", "wip")
    assert "no 'wip'" in (await marked()).notice
    repo.hg("bookmark", "-r", more, "wip")
    assert not (await marked()).changes


async def test_a_rewritten_branch(repo: HgRepository, tmp_path: Path) -> None:
    base = repo.commit("base")
    wrong = repo.commit("wrong")
    look, forgetful = polls(repo, tmp_path), polls(repo, tmp_path / "other")
    for each in (look, forgetful):
        await each()
    wrong = repo.commit("wrong, too")
    for each in (look, forgetful):
        assert await branches(each) == [("default", wrong)]
    repo.hg("strip", "-q", "--no-backup", "-r", f"children({base})")
    right = [repo.commit("right"), repo.commit("and more")]
    assert [revision for _, revision in await branches(look)] == right
    shutil.rmtree(tmp_path / "other")
    assert [revision for _, revision in await branches(forgetful)] == right[1:]


async def test_an_empty_repository_and_its_first_changesets(repo: HgRepository, tmp_path: Path) -> None:
    look = polls(repo, tmp_path)
    assert "it is empty" in (await look()).notice
    repo.commit("1")
    second = repo.commit("2")
    assert await branches(look) == [("default", second)]


@pytest.mark.parametrize("damage", ["store", "unrelated", "journal"])
async def test_a_repository_of_its_own_that_is_broken(
    repo: HgRepository, tmp_path: Path, damage: str
) -> None:
    repo.commit("old")
    look = polls(repo, tmp_path)
    await look()
    known = repo.commit("known")
    assert await branches(look) == [("default", known)]
    [own] = (tmp_path / "master" / "hgpoller-work").iterdir()
    match damage:
        case "store":
            (own / ".hg" / "store" / "00changelog.i").write_bytes(b"nonsense")
        case "unrelated":
            shutil.rmtree(own)
            HgRepository(own).commit("unrelated")
        case _:
            (own / ".hg" / "store" / "journal").write_bytes(b"")
    new = [repo.commit("new"), repo.commit("newer")]
    assert [revision for _, revision in await branches(look)] == new


async def test_a_repository_that_vanishes_and_one_at_another_address(
    repo: HgRepository, tmp_path: Path
) -> None:
    repo.commit("old")
    look = polls(repo, tmp_path, name="p")
    await look()
    repo.path.rename(tmp_path / "away")
    with pytest.raises(
        PollError, match=r"hg identify of .*/repo failed: abort: repository .*/repo not found"
    ):
        await look()
    (tmp_path / "away").rename(repo.path)
    new = repo.commit("new")
    assert await branches(look) == [("default", new)]
    other = HgRepository(tmp_path / "other")
    other.commit("1")
    look.poller = HgPoller(other.url, name="p")
    assert not (await look()).changes
    second = other.commit("2")
    assert await branches(look) == [("default", second)]


async def test_odd_names_and_no_hg(repo: HgRepository, tmp_path: Path) -> None:
    repo.commit("old")
    look = polls(repo, tmp_path, branches=["-x", "a b", "--config=x"], name="odd")
    assert "no '-x', 'a b', '--config=x'" in (await look()).notice
    odd = repo.commit(branch="a b")
    assert await branches(look) == [("a b", odd)]
    with pytest.raises(PollError, match=r"no-such-hg can't be run: .*Install it or set hgbin"):
        await polls(repo, tmp_path, hgbin="no-such-hg")()
    broken = polls(repo, tmp_path, branches=["a b"], name="broken", revlink=lambda branch, _: {}[branch])
    await broken()
    repo.commit()
    with pytest.raises(PollError, match=r"the function revlink failed for 'a b', '[0-9a-f]{40}': KeyError"):
        await broken()


async def test_a_crash_before_the_commit_loses_and_doubles_nothing(
    store: Store, repo: HgRepository, tmp_path: Path
) -> None:
    """P1: a poll whose findings weren't stored is done again."""
    repo.commit("old")
    master = await Master(store, tmp_path).start(
        changes.HgPoller(repo.url, pollAtLaunch=True, name="s", pollInterval=60)
    )
    made = [repo.commit() for _ in range(2)]
    [source] = await rows(store, schema.changesources)
    look = polls(repo, tmp_path, name="s")
    look.state = json.loads(source["state"])
    assert [revision for _, revision in await branches(look)] == made
    for _ in range(2):
        await master.pass_time(60)
        assert [each["revision"] for each in await rows(store, schema.changes)] == made
    await master.sources.stop()


def test_arguments() -> None:
    collector = Collector()
    token = collecting(collector)
    try:
        assert HgPoller("u", pollinterval=5).pollInterval == 5
        assert HgPoller("u").branches == ["default"]
        assert HgPoller("u", bookmarks=["b"]).branches == []
        assert HgPoller("https://me:secret@host/x").name == "https://me@host/x"
    finally:
        collected(token)
    [warning] = collector.warnings
    assert "pollinterval is the old name of pollInterval" in str(warning)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"repourl": ""}, "repourl must be the address of a repository"),
        ({"repourl": "u", "branch": "a", "branches": ["b"]}, "takes only one of branch and branches"),
        ({"repourl": "u", "branches": "a"}, "branches must be a list of names"),
        ({"repourl": "u", "bookmarks": [1]}, "bookmarks must be a list of names"),
        ({"repourl": "u", "encoding": "none"}, "there is no encoding 'none'"),
        ({"repourl": "u", "revlink": "x"}, "revlink must be a function"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigErrors, match=message):
        HgPoller(**arguments)
