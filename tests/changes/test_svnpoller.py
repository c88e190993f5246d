"""What SVNPoller finds in real repositories."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from buildwright.changes.base import Poll, PollError
from buildwright.model.clock import SystemClock
from buildwright.model.errors import Collector, ConfigErrors, collected, collecting
from buildwright.model.render import Secret
from buildwright.plugins import changes, util
from buildwright.store import schema
from buildwright.store.base import Store
from tests.support.polling import Master, Polls, rows


class Repository:
    """A repository that others poll."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = f"file://{path}"
        self.work = path.with_name(f"{path.name}-work")
        self.run("svnadmin", "create", str(path))
        self.run("svn", "checkout", "-q", self.root, str(self.work))

    def run(self, *words: str) -> str:
        cwd = self.work if self.work.exists() else self.path.parent
        done = subprocess.run(words, cwd=cwd, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, message: str = "more", *files: str) -> str:
        """Commit what was changed, and these files; gives the revision."""
        for name in files:
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a") as file:
                file.write("x")
            self.run("svn", "add", "-q", "--force", "--parents", name)
        self.run("svn", "commit", "-q", "-m", message, "--username", "ann")
        self.run("svn", "update", "-q")
        return self.run("svnlook", "youngest", str(self.path))


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repo")
    made.commit("layout", "trunk/a", "branches/README")
    return made


def polls(url: str, tmp_path: Path, **more: Any) -> Polls:
    (tmp_path / "master").mkdir(exist_ok=True)
    return Polls(changes.SVNPoller(url, **more), tmp_path / "master")


async def test_the_first_poll_records_and_the_next_finds(repo: Repository, tmp_path: Path) -> None:
    url = f"{repo.root}/trunk"
    look = polls(url + "/", tmp_path, category="c", project="p", revlinktmpl="https://x/?rev=%s")
    assert look.poller.name == url
    assert not (await look()).changes
    assert not (await look()).changes
    one = repo.commit("subject\n\n<body> & ü", "trunk/dir/b c", "trunk/ü")
    repo.commit("elsewhere", "branches/x/a")
    found = await look()
    [change] = found.changes
    assert (change.author, change.revision, change.branch) == ("ann", one, None)
    assert change.comments == "subject\n\n<body> & ü"
    assert sorted(change.files) == ["dir/", "dir/b c", "ü"]
    assert (change.repository, change.category, change.project) == (url, "c", "p")
    assert change.revlink == f"https://x/?rev={one}"
    when = repo.run("svn", "info", "--show-item", "last-changed-date", "-r", one, url)
    assert change.when_us is not None
    assert abs(change.when_us - SystemClock().now_us()) < 3600e6, when
    assert not (await look()).changes


async def test_more_revisions_than_are_asked_for_at_once(repo: Repository, tmp_path: Path) -> None:
    look = polls(repo.root, tmp_path, histmax=2)
    await look()
    made = [repo.commit("m", "trunk/a") for _ in range(5)]
    assert [change.revision for change in (await look()).changes] == made


async def test_branches_and_projects(repo: Repository, tmp_path: Path) -> None:
    split = util.svn.split_file_branches
    look = polls(repo.root, tmp_path, split_file=split, name="branches")
    below = polls(
        repo.root, tmp_path, split_file=util.svn.split_file_projects_branches, name="projects", project="?"
    )
    plain = polls(repo.root, tmp_path, split_file=util.svn.split_file_alwaystrunk, name="plain")
    for each in (look, below, plain):
        await each()
    repo.commit("three at once", "trunk/a", "branches/x/a", "branches/y/b", "branches/README", "p/trunk/f")
    said = {change.branch: change.files for change in (await look()).changes}
    assert said == {None: ("a",), "branches/x": ("", "a"), "branches/y": ("", "b")}
    [change] = (await below()).changes
    assert (change.project, change.branch, change.files) == ("p", None, ("", "f"))
    [change] = (await plain()).changes
    assert "branches/README" in change.files
    repo.run("svn", "rm", "-q", "branches/x")
    repo.commit("a branch is gone, which is nothing to build")
    assert not (await look()).changes


async def test_a_function_of_ones_own(repo: Repository, tmp_path: Path) -> None:
    given: list[Callable[[str], Any]] = [
        lambda path: {"path": path, "codebase": "cb", "repository": "r", "branch": "b"},
        lambda path: None,
        lambda path: path,
        lambda path: {"trunk": ""}[path],
    ]
    looks = [polls(repo.root, tmp_path, split_file=split) for split in given]
    for look in looks:
        await look()
    repo.commit("m", "trunk/a")
    [change] = (await looks[0]()).changes
    assert (change.codebase, change.repository, change.branch) == ("cb", "r", "b")
    assert not (await looks[1]()).changes
    with pytest.raises(PollError, match=r"split_file must give \(branch, path\).* not 'trunk/a'"):
        await looks[2]()
    with pytest.raises(PollError, match="the function split_file failed for 'trunk/a': KeyError"):
        await looks[3]()


async def test_an_empty_repository_and_its_first_revision(tmp_path: Path) -> None:
    repo = Repository(tmp_path / "empty")
    look = polls(repo.root, tmp_path)
    assert (await look()).state["lastRev"] == 0
    first = repo.commit("first", "a")
    assert [change.revision for change in (await look()).changes] == [first]


async def test_a_repository_that_vanishes_and_another_one_that_comes(
    repo: Repository, tmp_path: Path
) -> None:
    look = polls(repo.root, tmp_path)
    await look()
    repo.path.rename(tmp_path / "away")
    with pytest.raises(PollError, match=r"svn info of file://.* failed: svn: E"):
        await look()
    (tmp_path / "away").rename(repo.path)
    made = repo.commit("m", "a")
    assert [change.revision for change in (await look()).changes] == [made]
    repo.path.rename(tmp_path / "old")
    repo.work.rename(tmp_path / "old-work")
    other = Repository(tmp_path / "repo")
    other.commit("1", "a")
    found = await look()
    assert (found.changes, found.notice) == (
        [],
        f"{repo.root} is another repository now; its revisions so far are old.",
    )
    second = other.commit("2", "a")
    assert [change.revision for change in (await look()).changes] == [second]


async def test_a_repository_that_was_restored_from_a_backup(repo: Repository, tmp_path: Path) -> None:
    look = polls(repo.root, tmp_path)
    repo.run("svnadmin", "hotcopy", str(repo.path), str(tmp_path / "backup"))
    repo.commit("m", "a")
    repo.commit("m", "a")
    await look()
    repo.path.rename(tmp_path / "old")
    (tmp_path / "backup").rename(repo.path)
    assert "has it been restored from a backup?" in (await look()).notice
    assert not (await look()).notice


async def test_what_buildbot_knew_last(repo: Repository, tmp_path: Path) -> None:
    made = [repo.commit("m", "a") for _ in range(3)]
    look = polls(repo.root, tmp_path, cachepath="svn.last")
    (tmp_path / "master" / "svn.last").write_text(made[0] + "\n")
    assert [change.revision for change in (await look()).changes] == made[1:]
    assert not (await look()).changes
    look = polls(repo.root, tmp_path, cachepath="none.last")
    assert not (await look()).changes
    look = polls(repo.root, tmp_path, cachepath="bad")
    (tmp_path / "master" / "bad").write_text("x")
    with pytest.raises(PollError, match="cachepath 'bad' holds no revision"):
        await look()


async def test_a_password_goes_to_svn_by_standard_input(repo: Repository, tmp_path: Path) -> None:
    wrapper = tmp_path / "svn-that-notes"
    wrapper.write_text(
        f'#!/bin/sh\ncat > {tmp_path}/given\necho "$@" > {tmp_path}/words\nexec svn "$@" < /dev/null\n'
    )
    wrapper.chmod(0o755)

    async def secrets(name: str) -> str | None:
        return {"svn": "swordfish"}.get(name)

    look = polls(
        repo.root, tmp_path, svnbin=str(wrapper), svnuser="ann", svnpasswd=Secret("svn"), extra_args=["-q"]
    )
    with pytest.raises(PollError, match="svn info"):  # it has no -q
        await look(secret_source=secrets)
    assert (tmp_path / "given").read_text() == "swordfish"
    words = "info --non-interactive --no-auth-cache --username ann --password-from-stdin -q --xml -- "
    assert (tmp_path / "words").read_text() == f"{words}{repo.root}\n"
    with pytest.raises(PollError, match="can't be rendered: SecretMissing"):
        await look()


async def test_a_crash_before_the_commit_loses_and_doubles_nothing(
    store: Store, repo: Repository, tmp_path: Path
) -> None:
    """P1: a poll whose findings weren't stored is done again."""
    url = f"{repo.root}/trunk"
    master = await Master(store, tmp_path).start(changes.SVNPoller(url, pollAtLaunch=True, name="s"))
    await master.sources.settled()
    made = [repo.commit("m", "trunk/a") for _ in range(2)]
    lost = await changes.SVNPoller(url, name="s").poll(Poll((await _state(store)), tmp_path))
    assert [change.revision for change in lost.changes] == made
    await master.pass_time(600)
    assert [each["revision"] for each in await rows(store, schema.changes)] == made
    await master.pass_time(600)
    assert [each["revision"] for each in await rows(store, schema.changes)] == made
    await master.sources.stop()


async def _state(store: Store) -> Any:
    [source] = await rows(store, schema.changesources)
    return json.loads(source["state"])


def test_arguments() -> None:
    collector = Collector()
    token = collecting(collector)
    try:
        assert changes.SVNPoller("u", pollinterval=5).pollInterval == 5
        assert changes.SVNPoller("u").pollInterval == 600
    finally:
        collected(token)
    [warning] = collector.warnings
    assert "pollinterval is the old name of pollInterval" in str(warning)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"repourl": ""}, "repourl must be the address of a repository"),
        ({"repourl": "--config-dir=x"}, "repourl must be the address of a repository"),
        ({"repourl": "u", "split_file": "trunk"}, "split_file must be a function"),
        ({"repourl": "u", "histmax": 0}, "histmax must be 1 or more"),
        ({"repourl": "u", "revlinktmpl": "x"}, "revlinktmpl must have one %s"),
        ({"repourl": "u", "svnuser": 5}, "svnuser must be text"),
        ({"repourl": "u", "extra_args": "-q"}, "extra_args must be a list"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigErrors, match=message):
        changes.SVNPoller(**arguments)
