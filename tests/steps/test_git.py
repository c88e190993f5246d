"""Sources from real git repositories."""

from pathlib import Path
from typing import Any

import pytest

from buildwright.model.results import CANCELLED, FAILURE, SUCCESS
from tests.steps.conftest import Start
from tests.support.repositories import GitRepository, git, git_builder


@pytest.fixture
def repo(tmp_path: Path) -> GitRepository:
    made = GitRepository(tmp_path / "repo")
    made.commit(a="1\n")
    return made


async def test_it_clones_and_then_follows(start: Start, repo: GitRepository) -> None:
    it = await start(git_builder(repo))
    built = await it.build()
    assert built.results == SUCCESS, built
    work = it.builddir() / "build"
    assert (work / "a").read_text() == "1\n"
    assert built.properties["got_revision"] == repo.git("rev-parse", "main")
    assert built.sources["got_revision"] == "Git"
    (work / "left").write_text("x")
    (work / "a").write_text("changed by a build")
    newest = repo.commit(a="2\n", b="new\n")
    built = await it.build()
    assert built.properties["got_revision"] == newest
    assert (work / "a").read_text() == "2\n"
    assert (work / "b").read_text() == "new\n"
    assert (work / "left").exists()
    assert built.step("git").state == "update HEAD"


async def test_branch_and_revision_of_the_source_stamp(start: Start, repo: GitRepository) -> None:
    first = repo.git("rev-parse", "HEAD")
    repo.git("checkout", "--quiet", "-b", "side/one")
    side = repo.commit(a="side\n")
    repo.git("checkout", "--quiet", "main")
    second = repo.commit(a="2\n")
    it = await start(git_builder(repo, branch="main"))
    work = it.builddir() / "build"
    built = await it.build(sources=[{"codebase": "", "branch": "side/one"}])
    assert built.properties["got_revision"] == side
    assert (work / ".git/HEAD").read_text() == "ref: refs/heads/side/one\n"
    built = await it.build(sources=[{"codebase": "", "branch": "main", "revision": first}])
    assert built.properties["got_revision"] == first
    assert (work / "a").read_text() == "1\n"
    built = await it.build(sources=[{"codebase": "", "revision": second}])
    assert built.properties["got_revision"] == second


async def test_always_use_latest_takes_no_revision(start: Start, repo: GitRepository) -> None:
    first = repo.git("rev-parse", "HEAD")
    second = repo.commit(a="2\n")
    it = await start(git_builder(repo, branch="main", alwaysUseLatest=True))
    built = await it.build(sources=[{"codebase": "", "branch": "nowhere", "revision": first}])
    assert built.properties["got_revision"] == second, built


@pytest.mark.parametrize(
    ("method", "left"),
    [("clean", {"ignored"}), ("fresh", set()), ("clobber", set()), ("copy", set())],
)
async def test_full(start: Start, repo: GitRepository, method: str, left: set[str]) -> None:
    repo.commit(**{".gitignore": "ignored\n"})
    it = await start(git_builder(repo, mode="full", method=method))
    work = it.builddir() / "build"
    assert (await it.build()).results == SUCCESS
    (work / "plain").write_text("x")
    (work / "ignored").write_text("x")
    newest = repo.commit(a="2\n")
    built = await it.build()
    assert built.results == SUCCESS, built
    assert built.properties["got_revision"] == newest
    assert {path.name for path in work.iterdir()} == {".git", ".gitignore", "a"} | left
    assert (it.builddir() / "source").exists() == (method == "copy")


async def test_a_branch_named_like_an_option(start: Start, repo: GitRepository, tmp_path: Path) -> None:
    (tmp_path / "evil").write_text(f"#!/bin/sh\ntouch {tmp_path}/owned\n")
    (tmp_path / "evil").chmod(0o755)
    (tmp_path / "victim.lock").write_text("")
    head = repo.git("rev-parse", "HEAD")
    repo.git("update-ref", "refs/heads/-x", head)
    it = await start(git_builder(repo))
    built = await it.build(sources=[{"codebase": "", "branch": "-x"}])
    assert built.results == SUCCESS, built
    assert built.properties["got_revision"] == head
    up = "/".join([".."] * 8)
    for evil in (f"--upload-pack={tmp_path}/evil", f"{up}{tmp_path}/victim", "main:refs/heads/other", "a b"):
        built = await it.build(sources=[{"codebase": "", "branch": evil}])
        assert built.results == FAILURE, built
    assert (tmp_path / "victim.lock").exists()
    built = await it.build(sources=[{"codebase": "", "branch": "main", "revision": "--orphan=x"}])
    assert built.results == FAILURE
    assert b"can't be a revision" in built.log("git").err
    assert not (tmp_path / "owned").exists()


async def test_a_full_reference_and_a_directory_in_the_way(start: Start, repo: GitRepository) -> None:
    head = repo.git("rev-parse", "HEAD")
    repo.git("update-ref", "refs/pull/1/head", head)
    it = await start(git_builder(repo))
    assert (await it.build(sources=[{"codebase": "", "branch": "refs/pull/1/head"}])).results == SUCCESS
    repo.git("branch", "x")
    assert (await it.build(sources=[{"codebase": "", "branch": "x"}])).results == SUCCESS
    repo.git("branch", "-D", "x")
    repo.git("branch", "x/y")
    built = await it.build(sources=[{"codebase": "", "branch": "x/y"}])
    assert built.results == SUCCESS, built
    assert built.properties["got_revision"] == head


async def test_shallow(start: Start, repo: GitRepository) -> None:
    first = repo.git("rev-parse", "HEAD")
    last = [repo.commit(a=f"{number}\n") for number in range(4)][-1]
    it = await start(git_builder(repo, shallow=2, branch="main"))
    built = await it.build()
    assert built.properties["got_revision"] == last
    work = it.builddir() / "build"

    def depth() -> int:
        return int(git(work, "rev-list", "--count", "HEAD"))

    assert depth() == 2
    built = await it.build(sources=[{"codebase": "", "branch": "main", "revision": first}])
    assert built.results == SUCCESS, built
    assert built.properties["got_revision"] == first


async def test_submodules(start: Start, repo: GitRepository, tmp_path: Path) -> None:
    inner = GitRepository(tmp_path / "inner")
    old = inner.commit(i="1\n")
    repo.git("-c", "protocol.file.allow=always", "submodule", "add", "--quiet", "../inner", "sub")
    repo.commit()
    allowed = {"protocol.file.allow": "always"}
    it = await start(
        git_builder(repo, submodules=True, config=allowed, mode="full")
        + "\n"
        + git_builder(repo, submodules=True, remoteSubmodules=True, config=allowed).replace('"b"', '"remote"')
    )
    built = await it.build()
    assert built.results == SUCCESS, built
    work = it.builddir() / "build"
    assert (work / "sub/i").read_text() == "1\n"
    (work / "sub/left").write_text("x")
    new = inner.commit(i="2\n")
    built = await it.build()
    assert built.results == SUCCESS, built
    assert (work / "sub/i").read_text() == "1\n"
    assert not (work / "sub/left").exists()
    built = await it.build("remote")
    assert built.results == SUCCESS, built
    assert (it.builddir("remote") / "build/sub/i").read_text() == "2\n"
    assert old != new


async def test_tags_and_description(start: Start, repo: GitRepository) -> None:
    repo.git("tag", "-a", "-m", "one", "v1")
    repo.git("tag", "light")
    last = repo.commit(a="2\n")
    it = await start(
        git_builder(repo, getDescription=True)
        + "\n"
        + git_builder(repo, getDescription={"tags": True, "match": "li*", "abbrev": 0}).replace('"b"', '"c"')
        + "\n"
        + git_builder(repo, tags=True, codebase="lib", origin="up").replace('"b"', '"d"')
    )
    built = await it.build()
    assert built.properties["commit-description"] == f"v1-1-g{last[:7]}"
    assert (await it.build("c")).properties["commit-description"] == "light"
    built = await it.build("d", sources=[{"codebase": "lib"}, {"codebase": "other"}])
    assert built.properties["got_revision"] == {"lib": last}
    assert "commit-description" not in built.properties
    assert built.outline == [("git-lib", SUCCESS)]
    out = git(it.builddir("d") / "build", "tag")
    assert out.split() == ["light", "v1"]


async def test_a_codebase_that_the_build_has_not(start: Start, repo: GitRepository) -> None:
    it = await start(git_builder(repo, codebase="lib"))
    built = await it.build()
    assert built.results == FAILURE
    assert b"no source stamp of the codebase 'lib'" in built.log("git-lib").err


async def test_several_codebases(start: Start, repo: GitRepository, tmp_path: Path) -> None:
    other = GitRepository(tmp_path / "other")
    second = other.commit(o="o\n")
    it = await start(
        f'builder("b", steps.Git({repo.url!r}, codebase="one", workdir="build"),'
        f' steps.Git({other.url!r}, codebase="two", workdir="build/two"))'
    )
    built = await it.build(sources=[{"codebase": "one"}, {"codebase": "two"}])
    assert built.results == SUCCESS, built
    assert built.properties["got_revision"] == {"one": repo.git("rev-parse", "HEAD"), "two": second}
    assert (it.builddir() / "build/two/o").exists()


async def test_a_reference_lends_its_objects(start: Start, repo: GitRepository, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    git(tmp_path, "clone", "--quiet", "--bare", repo.url, str(mirror))
    it = await start(git_builder(repo, reference=str(mirror)))
    built = await it.build()
    assert built.results == SUCCESS, built
    work = it.builddir() / "build"
    assert (work / ".git/objects/info/alternates").read_text() == f"{mirror}/objects\n"
    assert not list((work / ".git/objects/pack").glob("*.pack"))


async def test_a_patch_is_applied_and_gone_with_the_next_build(start: Start, repo: GitRepository) -> None:
    (repo.path / "a").write_text("patched\n")
    (repo.path / "new").write_text("new\n")
    repo.git("add", "--all")
    body = repo.git("diff", "--cached")  # without its last newline, as forms give it
    repo.git("reset", "--hard", "--quiet")
    it = await start(git_builder(repo))
    work = it.builddir() / "build"
    patch = {"level": 1, "body": body.encode(), "author": "A", "comment": "try", "subdir": "."}
    built = await it.build(sources=[{"codebase": "", "patch": patch}])
    assert built.results == SUCCESS, built
    assert (work / "a").read_text() == "patched\n"
    assert (work / "new").exists()
    assert built.step("git").state == "update HEAD [patch]"
    assert (await it.build()).results == SUCCESS
    assert (work / "a").read_text() == "1\n"
    assert not (work / "new").exists()
    assert not (work / ".git/buildwright.patch").exists()


async def test_a_patch_that_does_not_apply(start: Start, repo: GitRepository) -> None:
    it = await start(git_builder(repo))
    body = b"--- a/a\n+++ b/a\n@@ -1 +1 @@\n-not there\n+x\n"
    built = await it.build(sources=[{"codebase": "", "patch": {"level": 1, "body": body}}])
    assert built.results == FAILURE
    assert b"patch does not apply" in built.log("git").err
    assert "the patch doesn't apply: patch failed: a:1" in built.step("git").state
    for evil in (
        b"--- a/../x\n+++ b/../x\n@@ -0,0 +1 @@\n+x\n",
        b"--- a/.git/x\n+++ b/.git/x\n@@ -0,0 +1 @@\n+x\n",
    ):
        for subdir in ("", "../.."):
            patch = {"level": 1, "body": evil, "subdir": subdir}
            built = await it.build(sources=[{"codebase": "", "patch": patch}])
            assert built.results == FAILURE
            assert "the patch doesn't apply: invalid path" in built.step("git").state
    patch = {"level": 1, "body": b"no patch at all\n"}
    built = await it.build(sources=[{"codebase": "", "patch": patch}])
    assert "the patch doesn't apply: No valid patches in input" in built.step("git").state
    assert (await it.build()).results == SUCCESS


async def test_locks_of_a_killed_git_and_a_half_made_repository(start: Start, repo: GitRepository) -> None:
    it = await start(git_builder(repo))
    work = it.builddir() / "build"
    (work / ".git").mkdir(parents=True)
    (work / ".git/index.lock").write_text("")
    built = await it.build()
    assert built.results == SUCCESS, built
    (work / ".git/index.lock").write_text("")
    (work / ".git/shallow.lock").write_text("")
    built = await it.build()
    assert built.results == SUCCESS, built


async def test_clobber_on_failure(start: Start, repo: GitRepository) -> None:
    it = await start(
        git_builder(repo, clobberOnFailure=True) + "\n" + git_builder(repo).replace('"b"', '"strict"')
    )
    for builder, results in (("b", SUCCESS), ("strict", FAILURE)):
        assert (await it.build(builder)).results == SUCCESS
        (it.builddir(builder) / "build/.git/config").write_text("[broken")
        built = await it.build(builder)
        assert built.results == results, built


async def test_retries(start: Start, repo: GitRepository, tmp_path: Path) -> None:
    """The repository comes back between two tries."""
    away = tmp_path / "away"
    repo.path.rename(away)
    it = await start(git_builder(repo, retry=(0.01, 2)))
    built = await it.build()
    assert built.results == FAILURE
    assert built.log("git").header.count(b"trying again") == 2
    script = f"test -e {tmp_path}/seen || {{ touch {tmp_path}/seen; exit 1; }}; mv {away} {repo.path}"
    it.configure(git_builder(repo, retry=(0.01, 2), config={"alias.x": "x"}, retryFetch=True))
    await it.master.reload()
    hook = tmp_path / "w1/bin"
    hook.mkdir()
    (hook / "git").write_text(
        f'#!/bin/sh\nfor word in "$@"; do [ "$word" = fetch ] && [ ! -e {repo.path} ] && ( {script} ); done\n'
        f'exec /usr/bin/git "$@"\n'
    )
    (hook / "git").chmod(0o755)
    it.configure(
        f"builder('b', steps.Git({repo.url!r}, retryFetch=True, env={{'PATH': ['{hook}', '${{PATH}}']}}))"
    )
    await it.master.reload()
    built = await it.build()
    assert built.results == SUCCESS, built
    assert b"fetching failed, trying it again" in built.log("git").header


async def test_what_is_wrong_is_in_the_log(start: Start, repo: GitRepository, tmp_path: Path) -> None:
    repo.path.rename(tmp_path / "away")
    it = await start(git_builder(repo, "steps.ShellCommand(command='true')"))
    built = await it.build()
    assert built.outline == [("git", FAILURE)]  # haltOnFailure
    assert b"does not appear to be a git repository" in built.log("git").err
    assert built.state == "failed git (failure)"
    assert built.step("git").state.startswith("update HEAD (failure): '")
    (tmp_path / "away").rename(repo.path)
    assert (await it.build()).results == SUCCESS


async def test_what_a_repository_has_not_is_said_in_a_line(
    start: Start, repo: GitRepository, tmp_path: Path
) -> None:
    empty = GitRepository(tmp_path / "empty")
    it = await start(git_builder(repo) + "\n" + git_builder(empty).replace('"b"', '"empty"'))

    async def said(builder: str = "b", **stamp: Any) -> str:
        built = await it.build(builder, sources=[{"codebase": "", **stamp}])
        assert built.results == FAILURE, built
        return built.step("git").state.partition(": ")[2]

    assert await said(branch="nowhere") == f"{repo.url} has no branch 'nowhere'"
    why = "can't be had, neither by itself nor with 'main'"
    for revision in ("0" * 40, "deadbeef", "v1.0"):
        assert await said(branch="main", revision=revision) == f"the revision {revision!r} {why}"
    assert await said("empty") == f"{empty.url} has no branch of its own, or is empty"
    repo.git("tag", "v1.0")
    built = await it.build(sources=[{"codebase": "", "branch": "main", "revision": "v1.0"}])
    assert built.results == SUCCESS, built
    empty.commit(a="1\n")
    assert (await it.build("empty")).results == SUCCESS


async def test_arguments_that_only_a_build_knows(start: Start, repo: GitRepository) -> None:
    names = "branch", "mode", "method", "shallow"
    words = ", ".join(f"{name}=util.Property({name!r})" for name in names)
    it = await start(f"builder('b', steps.Git({repo.url!r}, {words}))")
    good = {"mode": "full", "method": "clean", "shallow": "1"}
    built = await it.build(properties=good)
    assert built.results == SUCCESS, built
    for name, message in (
        ("mode", "mode must be 'incremental' or 'full', not 'odd'"),
        ("method", "method must be one of clean, fresh, clobber, copy, not 'odd'"),
        ("shallow", "shallow must be True, False or a depth of 1 or more, not 'odd'"),
    ):
        built = await it.build(properties={**good, name: "odd"})
        assert built.results == FAILURE
        assert message in built.step("git").state


async def test_a_submodule_that_is_not_there(start: Start, repo: GitRepository, tmp_path: Path) -> None:
    inner = GitRepository(tmp_path / "inner")
    inner.commit(i="1\n")
    repo.git("-c", "protocol.file.allow=always", "submodule", "add", "--quiet", "../inner", "sub")
    repo.commit()
    inner.path.rename(tmp_path / "away")
    it = await start(git_builder(repo, submodules=True, config={"protocol.file.allow": "always"}))
    built = await it.build()
    assert built.results == FAILURE
    assert "a submodule can't be had: " in built.step("git").state
    (tmp_path / "away").rename(inner.path)
    assert (await it.build()).results == SUCCESS


async def test_history_that_was_rewritten_and_odd_file_names(start: Start, repo: GitRepository) -> None:
    it = await start(git_builder(repo, branch="main"))
    assert (await it.build()).results == SUCCESS
    (repo.path / "new\nline ü").write_text("x")
    repo.git("add", "--all")
    repo.git("commit", "--quiet", "--amend", "-m", "other")
    repo.git("gc", "--quiet", "--prune=now")
    built = await it.build()
    assert built.properties["got_revision"] == repo.git("rev-parse", "main")
    assert (it.builddir() / "build/new\nline ü").exists()


async def test_a_partial_clone_gets_the_rest_when_it_is_needed(start: Start, repo: GitRepository) -> None:
    repo.git("config", "uploadpack.allowFilter", "true")
    repo.git("config", "uploadpack.allowAnySHA1InWant", "true")
    first = repo.git("rev-parse", "HEAD")
    repo.commit(a="2\n")
    it = await start(git_builder(repo, filters=["blob:none"], branch="main"))
    assert (await it.build()).results == SUCCESS
    work = it.builddir() / "build"
    missing = git(work, "rev-list", "--objects", "--missing=print", "HEAD").count("?")
    assert missing == 1  # the old content of "a"
    built = await it.build(sources=[{"codebase": "", "branch": "main", "revision": first}])
    assert built.results == SUCCESS, built
    assert (work / "a").read_text() == "1\n"


async def test_a_source_step_of_ones_own(start: Start) -> None:
    it = await start(
        """
class Tarball(steps.Source):
    name = "tarball"
    def __init__(self, **kwargs):
        super().__init__(mode="full", **kwargs)
        self.branch = "trunk"
    async def run_vc(self, branch, revision, patch):
        if revision == "bad":
            self.refuse("there is no such tarball")
        self.set_source_property("got_revision", f"{branch} {revision} {patch}")
        return util.SUCCESS
builder("b", Tarball())
"""
    )
    built = await it.build(sources=[{"codebase": "", "revision": "7"}])
    assert built.properties["got_revision"] == "trunk 7 None"
    built = await it.build(sources=[{"codebase": "", "revision": "bad"}])
    assert built.step("tarball").state == "update trunk (failure): there is no such tarball"


async def test_timeout_and_stop(start: Start, repo: GitRepository, tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "git").write_text(
        '#!/bin/sh\ncase "$*" in *fetch*) echo fetching; exec sleep 1000;; esac\nexec /usr/bin/git "$@"\n'
    )
    (slow / "git").chmod(0o755)
    path = {"PATH": [str(slow), "${PATH}"]}
    it = await start(
        git_builder(repo, env=path) + "\n" + git_builder(repo, env=path, timeout=0.2).replace('"b"', '"c"')
    )
    request = await it.submit()
    await it.until_output(request, b"fetching")
    await it.stop_build(request)
    built = await it.finished(request)
    assert built.outline == [("git", CANCELLED)], built
    built = await it.build("c")
    assert built.outline == [("git", FAILURE)], built
    assert b"command timed out: 0.2 seconds without output" in built.log("git").header


async def test_a_repository_that_is_empty_vanishes_and_comes_back(start: Start, tmp_path: Path) -> None:
    """Each is said in the step's log, fails its build only, and the next build is as if nothing had been."""
    repo = GitRepository(tmp_path / "repo")
    it = await start(
        git_builder(repo, branch="main") + "\n" + 'builder("other", steps.ShellCommand(command="true"))'
    )
    built = await it.build()
    assert (built.results, built.outline) == (FAILURE, [("git", FAILURE)])
    assert b"main" in built.log("git").err
    first = repo.commit(a="1\n")
    assert (await it.build()).properties["got_revision"] == first
    (tmp_path / "repo").rename(tmp_path / "elsewhere")
    built = await it.build()
    assert built.results == FAILURE
    assert b"does not appear to be a git repository" in built.log("git").err
    assert (await it.build("other")).results == SUCCESS
    (tmp_path / "elsewhere").rename(tmp_path / "repo")
    second = repo.commit(a="2\n")
    built = await it.build()
    assert (built.results, built.properties["got_revision"]) == (SUCCESS, second)
