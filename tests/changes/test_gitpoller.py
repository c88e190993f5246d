"""What GitPoller finds in real repositories."""

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from buildwright.changes.base import Found, Poll, PollError
from buildwright.changes.git import run
from buildwright.changes.gitpoller import GitPoller, is_branch, without_password
from buildwright.model import asking
from buildwright.model.errors import Collector, ConfigErrors, collected, collecting
from buildwright.model.render import Interpolate
from tests.support.repositories import Origin


class Polls:
    """Polls one after another, each with what the last one remembered."""

    def __init__(self, poller: GitPoller, workdir: Path) -> None:
        self.poller = poller
        self.workdir = workdir
        self.state: Any = None

    async def __call__(self) -> Found:
        found = await self.poller.poll(Poll(self.state, self.workdir))
        self.state = json.loads(json.dumps(found.state))
        return found

    async def branches(self) -> list[tuple[str | None, str | None]]:
        return [(change.branch, change.revision) for change in (await self()).changes]


def polls(origin: Origin, tmp_path: Path, **more: Any) -> Polls:
    return Polls(GitPoller(origin.url, **more), tmp_path / "master")


async def test_the_first_poll_records_and_the_next_finds(origin: Origin, tmp_path: Path) -> None:
    origin.commit("old")
    look = polls(origin, tmp_path, category="c", project="p", codebase="cb")
    first = await look()
    assert not first.changes
    assert not (await look()).changes
    one = origin.commit("subject\n\nbody", "a", "dir/b c")
    two = origin.commit("second", "new\nline", "ü.txt")
    found = await look()
    assert [change.revision for change in found.changes] == [one, two]
    change = found.changes[0]
    assert (change.author, change.committer) == ("Ann <ann@example.org>", "Ann <ann@example.org>")
    assert change.comments == "subject\n\nbody"
    assert change.files == ("a", "dir/b c")
    assert (change.branch, change.repository) == ("main", origin.url)
    assert (change.category, change.project, change.codebase) == ("c", "p", "cb")
    assert change.when_us == (origin.time - 1) * 1_000_000
    assert sorted(found.changes[1].files) == ["new\nline", "ü.txt"]
    assert not (await look()).changes


async def test_the_remotes_own_branch_is_followed_by_default(origin: Origin, tmp_path: Path) -> None:
    origin.commit("old", branch="trunk")
    look = polls(origin, tmp_path)
    await look()
    origin.commit("elsewhere", branch="other")
    origin.checkout("trunk")
    wanted = origin.commit("here")
    assert await look.branches() == [("trunk", wanted)]


async def test_a_refspec_leaves_some(origin: Origin, tmp_path: Path) -> None:
    origin.commit("old")
    spec = "+refs/heads/rel/*:refs/remotes/origin/rel/*"
    some = polls(origin, tmp_path, branches=True, fetch_refspec=[spec, "wip"])
    pulls = polls(origin, tmp_path, branches=lambda ref: True, fetch_refspec="refs/pull/*/head", name="p")
    own = polls(origin, tmp_path, fetch_refspec="wip", name="own")
    for look in (some, pulls):
        assert not (await look()).changes
    assert "nothing to follow" in (await own()).notice
    made = [origin.commit(branch=name) for name in ("rel/1", "other", "rel/a/b", "wip")]
    origin.git("update-ref", "refs/pull/7/head", made[0])
    origin.git("update-ref", "refs/pull/7/merge", made[1])
    assert {branch for branch, _ in await some.branches()} == {"rel/1", "rel/a/b", "wip"}
    assert await pulls.branches() == [("refs/pull/7/head", made[0])]
    followed = origin.git(
        "--git-dir", str(next((tmp_path / "master" / "gitpoller-work").glob("p-*"))), "for-each-ref"
    )
    assert len(followed.splitlines()) == 1


async def test_all_named_and_chosen_branches(origin: Origin, tmp_path: Path) -> None:
    origin.commit("old")
    every = polls(origin, tmp_path, branches=True)
    named = polls(origin, tmp_path, branches=["main", "rel/1"])
    chosen = polls(origin, tmp_path, branches=lambda ref: ref.startswith("refs/heads/rel/"))
    for look in (every, named, chosen):
        await look()
    rel = origin.commit("r", branch="rel/1")
    other = origin.commit("o", branch="other")
    origin.checkout("main")
    main = origin.commit("m")
    # `other` was made from `rel/1` and has its commit, too.
    assert await every.branches() == [("main", main), ("other", rel), ("other", other), ("rel/1", rel)]
    assert await named.branches() == [("main", main), ("rel/1", rel)]
    assert await chosen.branches() == [("rel/1", rel)]


async def test_merges_tell_what_they_brought(origin: Origin, tmp_path: Path) -> None:
    origin.commit("old")
    look = polls(origin, tmp_path)
    await look()
    side = origin.commit("side", "s", branch="side")
    origin.checkout("main")
    main = origin.commit("main", "m")
    origin.git("merge", "-q", "--no-ff", "-m", "merge", "side")
    merge = origin.git("rev-parse", "HEAD")
    found = await look()
    assert {change.revision: change.files for change in found.changes} == {
        side: ("s",),
        main: ("m",),
        merge: ("s",),
    }
    assert found.changes[-1].revision == merge


async def test_a_rewritten_branch_tells_its_new_commits(origin: Origin, tmp_path: Path) -> None:
    origin.commit("base")
    origin.commit("wrong")
    look = polls(origin, tmp_path)
    await look()
    origin.git("reset", "-q", "--hard", "HEAD~1")
    right = origin.commit("right")
    assert await look.branches() == [("main", right)]


async def test_a_rewritten_branch_whose_old_commit_is_lost_tells_its_newest(
    origin: Origin, tmp_path: Path
) -> None:
    origin.commit("base")
    origin.commit("wrong")
    look = polls(origin, tmp_path)
    await look()
    origin.git("reset", "-q", "--hard", "HEAD~1")
    origin.commit("right")
    newest = origin.commit("more")
    origin.git("reflog", "expire", "--expire=now", "--all")
    origin.git("gc", "-q", "--prune=now")
    shutil.rmtree(tmp_path / "master")
    assert await look.branches() == [("main", newest)]


async def test_a_lost_working_directory_loses_nothing(origin: Origin, tmp_path: Path) -> None:
    origin.commit("old")
    look = polls(origin, tmp_path, branches=True)
    await look()
    shutil.rmtree(tmp_path / "master")
    one, two = origin.commit("1"), origin.commit("2")
    assert await look.branches() == [("main", one), ("main", two)]


@pytest.mark.parametrize("damage", ["objects", "HEAD", "lock", "config"])
async def test_a_broken_repository_is_made_anew(origin: Origin, tmp_path: Path, damage: str) -> None:
    origin.commit("old")
    look = polls(origin, tmp_path)
    await look()
    [repository] = (tmp_path / "master" / "gitpoller-work").iterdir()
    match damage:
        case "objects":
            for path in (repository / "objects").rglob("*"):
                if path.is_file():
                    path.unlink()
        case "HEAD":
            (repository / "HEAD").write_text("nonsense")
        case "config":
            (repository / "config").unlink()
            (repository / "objects").rename(repository / "elsewhere")
        case _:
            [reference] = (repository / "refs" / "followed").iterdir()
            reference.with_name(reference.name + ".lock").touch()
    new = origin.commit("new")
    assert await look.branches() == [("main", new)]
    assert len(list((tmp_path / "master" / "gitpoller-work").iterdir())) == 1


async def test_a_fast_forward_is_told_if_wanted(origin: Origin, tmp_path: Path) -> None:
    origin.commit("old")
    quiet = polls(origin, tmp_path, branches=True)
    telling = polls(origin, tmp_path, branches=True, buildPushesWithNoCommits=True, name="telling")
    for look in (quiet, telling):
        await look()
    side = origin.commit("side", branch="side")
    for look in (quiet, telling):
        assert await look.branches() == [("side", side)]
    origin.checkout("main")
    origin.git("merge", "-q", "--ff-only", "side")
    assert await quiet.branches() == []
    assert await telling.branches() == [("main", side)]
    origin.git("branch", "another")
    assert await quiet.branches() == []
    assert await telling.branches() == [("another", side)]


async def test_tags(origin: Origin, tmp_path: Path) -> None:
    origin.commit("old")
    origin.git("tag", "v0")
    look = polls(origin, tmp_path, only_tags=True)
    await look()
    new = origin.commit("new")
    assert await look.branches() == []
    origin.git("tag", "-a", "-m", "one", "v1")
    assert await look.branches() == [("refs/tags/v1", new)]
    origin.git("tag", "of-a-file", origin.git("rev-parse", "HEAD:" + origin.git("ls-files").splitlines()[0]))
    assert await look.branches() == []


async def test_an_empty_repository_and_its_first_commits(origin: Origin, tmp_path: Path) -> None:
    look = polls(origin, tmp_path)
    found = await look()
    assert "nothing to follow" in found.notice
    origin.commit("1")
    newest = origin.commit("2")
    assert await look.branches() == [("main", newest)]
    after = origin.commit("3")
    assert await look.branches() == [("main", after)]


async def test_a_named_branch_that_is_missing_is_told_of_and_comes_back(
    origin: Origin, tmp_path: Path
) -> None:
    origin.commit("old")
    look = polls(origin, tmp_path, branches=["main", "rel"])
    assert (await look()).notice == f"{origin.url} has no branch 'rel'. Check the poller's branches."
    rel = origin.commit("rel", branch="rel")
    assert await look.branches() == [("rel", rel)]
    origin.checkout("main")
    origin.git("branch", "-D", "rel")
    assert (await look()).notice
    origin.git("branch", "rel", rel)
    assert not (await look()).changes
    origin.checkout("rel")
    more = origin.commit("more")
    assert await look.branches() == [("rel", more)]


async def test_branches_that_vanish_make_room_for_others(origin: Origin, tmp_path: Path) -> None:
    """`a` and `a/b` can't be there together, as files can't."""
    origin.commit("old")
    origin.commit("a", branch="a")
    look = polls(origin, tmp_path, branches=True)
    await look()
    origin.checkout("main")
    origin.git("branch", "-D", "a")
    under = origin.commit("b", branch="a/b")
    assert await look.branches() == [("a/b", under)]
    assert set(look.state["lastRev"]) == {"refs/heads/main", "refs/heads/a/b"}


async def test_names_that_look_like_options_are_names(origin: Origin, tmp_path: Path) -> None:
    origin.commit("old")
    look = polls(origin, tmp_path, branches=["-n", "main"])
    await look()
    origin.git("update-ref", "refs/heads/-n", origin.commit("new"))
    revision = origin.git("rev-parse", "main")
    assert sorted(await look.branches(), key=str) == [("-n", revision), ("main", revision)]
    with pytest.raises(PollError, match="failed"):
        await Polls(GitPoller("--upload-pack=touch hacked"), tmp_path / "master")()
    assert not list(tmp_path.rglob("hacked"))  # noqa: ASYNC240 - a test may wait


async def test_odd_texts(origin: Origin, tmp_path: Path) -> None:
    origin.commit("old")
    look = polls(origin, tmp_path)
    await look()
    name = os.fsdecode(b"caf\xe9")
    origin.commit(os.fsdecode(b"not utf-8: \xff"), name)
    [change] = (await look()).changes
    assert change.comments == "not utf-8: ÿ"  # what Git makes of it
    assert change.files == ("caf\\xe9",)
    empty = polls(origin, tmp_path, encoding="latin-1", name="latin")
    await empty()
    origin.commit(os.fsdecode(b"caf\xe9"), os.fsdecode(b"th\xe9"))
    [change] = (await empty()).changes
    assert change.files == ("thé",)


@pytest.mark.parametrize("gone", ["moved", "unborn"])
async def test_a_repository_that_cant_be_reached(origin: Origin, tmp_path: Path, gone: str) -> None:
    origin.commit("old")
    look = polls(origin, tmp_path)
    if gone == "moved":
        await look()
    before = look.state
    origin.path.rename(tmp_path / "away")
    with pytest.raises(
        PollError, match=r"git ls-remote of .* failed: fatal: .*does not appear to be a git repo"
    ):
        await look()
    assert look.state == before
    (tmp_path / "away").rename(origin.path)
    new = origin.commit("new")
    assert await look.branches() == ([("main", new)] if gone == "moved" else [])


async def test_another_address_begins_anew(origin: Origin, tmp_path: Path) -> None:
    origin.commit("old")
    look = polls(origin, tmp_path, name="p")
    await look()
    other = Origin(tmp_path / "other")
    other.commit("1")
    look.poller = GitPoller(other.url, name="p")
    assert await look.branches() == []
    new = other.commit("2")
    assert await look.branches() == [("main", new)]


async def test_missing_git_is_named(origin: Origin, tmp_path: Path) -> None:
    with pytest.raises(PollError, match="no-such-git can't be run: No such file or directory"):
        await polls(origin, tmp_path, gitbin="no-such-git")()


async def test_a_function_that_fails_is_named(origin: Origin, tmp_path: Path) -> None:
    origin.commit("old")

    def broken(name: str) -> bool:
        raise KeyError(name)

    with pytest.raises(PollError, match="the function branches failed for 'refs/heads/main': KeyError"):
        await polls(origin, tmp_path, branches=broken)()


async def test_a_function_that_does_not_come_back_or_is_async_is_named(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.commit("old")
    monkeypatch.setattr(asking, "PLAIN_SECONDS", 0.1)

    def hangs(name: str) -> bool:
        while True:
            pass

    async def asynchronous(name: str) -> bool:
        return True

    for function, message in (
        (hangs, r"the function branches didn't come back within 0\.1 s"),
        (asynchronous, "the function branches must be a plain one, not async"),
    ):
        with pytest.raises(PollError, match=message):
            await polls(origin, tmp_path, branches=function)()


async def test_secrets_reach_git_and_nothing_else(origin: Origin, tmp_path: Path) -> None:
    async def secrets(name: str) -> str | None:
        return {"place": str(origin.path)}.get(name)

    origin.commit("old")
    poller = GitPoller(Interpolate("%(secret:place)s"), name="p")
    first = await poller.poll(Poll(None, tmp_path / "master", secrets))
    origin.commit("new")
    found = await poller.poll(Poll(first.state, tmp_path / "master", secrets))
    assert found.changes[0].repository == "<place>"
    assert str(origin.path) not in json.dumps([found.state, found.changes[0].identity])
    with pytest.raises(PollError, match="can't be rendered: SecretMissing"):
        await GitPoller(Interpolate("%(secret:other)s"), name="p").poll(Poll(None, tmp_path, secrets))


async def test_a_cancelled_command_is_killed_with_all_it_started(tmp_path: Path) -> None:
    script = f"sleep 1000 & echo $! > {tmp_path}/child; wait"
    task = asyncio.create_task(run(["sh", "-c", script], b"", os.environ))
    pids = tmp_path / "child"
    await until(lambda: pids.exists() and pids.read_text().strip() != "")
    child = int(pids.read_text())
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await until(lambda: not _runs(child))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - another process's doings set no event
            await asyncio.sleep(0.01)


async def test_a_command_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(PollError, match=r"sleep took longer than 0\.01 s"):
        await run(["sleep", "1000"], b"", os.environ, 0.01)


def _runs(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"repourl": "u"}, "u"),
        ({"repourl": "u", "branch": "b"}, "u[b]"),
        ({"repourl": "u", "branches": ["a", "b"]}, "u[a,b]"),
        ({"repourl": "u", "branches": True}, "u"),
        ({"repourl": "u", "name": "n", "branch": "b"}, "n"),
        ({"repourl": "https://me:secret@host/x"}, "https://me@host/x"),
    ],
)
def test_names(arguments: dict[str, Any], name: str) -> None:
    assert GitPoller(**arguments).name == name


def test_old_spelling_of_the_interval_is_told_of() -> None:
    collector = Collector()
    token = collecting(collector)
    try:
        assert GitPoller("u", pollinterval=5).pollInterval == 5
        assert GitPoller("u", pollInterval=6).pollInterval == 6
        assert GitPoller("u").pollInterval == 600
    finally:
        collected(token)
    [warning] = collector.warnings
    assert "pollinterval is the old name of pollInterval" in str(warning)


async def test_category_and_project_by_functions(origin: Origin, tmp_path: Path) -> None:
    origin.commit("old")
    look = polls(
        origin,
        tmp_path,
        category=lambda change: "docs" if change["files"] == ["doc"] else None,
        project=lambda change: change["branch"].upper(),
    )
    await look()
    origin.commit("1", "doc")
    origin.commit("2", "src")
    found = await look()
    assert [(change.category, change.project) for change in found.changes] == [
        ("docs", "MAIN"),
        (None, "MAIN"),
    ]
    for function, message in (
        (
            lambda change: change["nothing"],
            "the function category failed for [0-9a-f]{40}: KeyError: 'nothing'",
        ),
        (lambda change: 3, "the function category must give text, not int 3"),
    ):
        bad = polls(origin, tmp_path, category=function, name="bad")
        await bad()
        origin.commit("3")
        with pytest.raises(PollError, match=message):
            await bad()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"repourl": 3}, "repourl must be the address of a repository"),
        ({"branches": "main"}, "branches must be a list of names"),
        ({"branches": ["a b"]}, "'a b' is no name of a branch"),
        ({"branches": ["main"], "branch": "x"}, "takes only one of"),
        ({"only_tags": True, "branch": "x"}, "takes only one of"),
        ({"pollInterval": "often"}, "pollInterval must be a number of seconds"),
        ({"pollinterval": "often"}, "pollinterval must be a number of seconds"),
        ({"sshPrivateKey": "secrets/key"}, "sshPrivateKey must be the private key itself"),
        ({"pollInterval": -1}, "pollInterval must not be negative"),
        ({"pollInterval": 5, "pollinterval": 5}, "given twice"),
        ({"encoding": "utf-9"}, "there is no encoding 'utf-9'"),
        ({"fetch_refspec": 5}, "fetch_refspec must be a refspec or a list of them"),
        ({"fetch_refspec": ["+refs/a b:x"]}, "'+refs/a b:x' is no refspec"),
        ({"fetch_refspec": "x", "branches": ["x", "y"]}, "fetch_refspec doesn't name the branch 'y'"),
        ({"pollRandomDelayMin": 5}, "must not be greater"),
        ({"project": 3}, "project must be text or a function"),
        ({"sshHostKey": "a", "sshKnownHosts": "b"}, "takes sshHostKey or sshKnownHosts, not both"),
        ({"auth_credentials": "me:secret"}, r"auth_credentials must be (user, password), not "),
        ({"git_credentials": ["x"]}, "git_credentials must be a GitCredentialOptions"),
    ],
)
def test_mistakes_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        GitPoller(**{"repourl": "u", **arguments})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://u:p@h:1/x", "https://u@h:1/x"),
        ("ssh://git@h/x", "ssh://git@h/x"),
        ("git@h:x", "git@h:x"),
        ("/a/b", "/a/b"),
        ("http://[bad", "http://[bad"),
    ],
)
def test_passwords_are_not_shown(url: str, expected: str) -> None:
    assert without_password(url) == expected


def test_names_of_branches() -> None:
    assert all(map(is_branch, ["main", "a/b", "-x", "ü", "a.b"]))
    for name in ["", "a b", "a..b", "/a", "a/", "a.lock", "a//b", "@", "a@{1}", "a\\b", ".", "a/.b"]:
        assert not is_branch(name)
