"""Commits, tags and pushes of builds, in real repositories. Pushes over ssh: test_git_access."""

from pathlib import Path

import pytest

from buildwright.model.results import FAILURE, SUCCESS
from tests.steps.conftest import Start
from tests.support.repositories import GitRepository, git_builder

WHO = {"user.name": "CI", "user.email": "ci@example.org"}


@pytest.fixture
def repo(tmp_path: Path) -> GitRepository:
    made = GitRepository(tmp_path / "repo")
    made.commit(a="1\n")
    made.git("config", "receive.denyCurrentBranch", "ignore")
    return made


def commit(**more: object) -> str:
    words = "".join(f", {name}={value!r}" for name, value in more.items())
    return f"steps.GitCommit(paths=['.'], messages=['By the build'], config={WHO}{words})"


@pytest.mark.parametrize(
    ("empty", "results", "commits"),
    [("disallow", FAILURE, 1), ("ignore", SUCCESS, 1), ("create-empty-commit", SUCCESS, 2)],
)
async def test_nothing_to_commit(
    start: Start, repo: GitRepository, empty: str, results: int, commits: int
) -> None:
    push = f"steps.GitPush(repourl={repo.url!r}, branch='main')"
    it = await start(git_builder(repo, commit(emptyCommits=empty), push, branch="main"))
    built = await it.build()
    assert built.step("gitcommit").results == results, built
    assert int(repo.git("rev-list", "--count", "main")) == commits
    if results == FAILURE:
        assert built.step("gitcommit").state.endswith("there is nothing to commit")


async def test_a_commit_on_no_branch_is_refused(start: Start, repo: GitRepository) -> None:
    it = await start(git_builder(repo, commit()))  # HEAD, not a branch, is checked out
    built = await it.build()
    assert built.outline == [("git", SUCCESS), ("gitcommit", FAILURE)]
    assert "no branch is checked out" in built.step("gitcommit").state


async def test_hooks_run_unless_told_otherwise(start: Start, repo: GitRepository) -> None:
    hook = "echo 'exit 1' > .git/hooks/pre-commit && chmod +x .git/hooks/pre-commit && echo x > x"
    shell = f"steps.ShellCommand(command={hook!r})"
    it = await start(
        git_builder(repo, shell, commit(), branch="main", mode="full", method="clobber")
        + "\n"
        + git_builder(repo, shell, commit(no_verify=True), branch="main").replace('"b"', '"c"')
    )
    assert (await it.build()).results == FAILURE
    assert (await it.build("c")).results == SUCCESS


async def test_p4_a_push_goes_on_without_its_master(
    start: Start, repo: GitRepository, tmp_path: Path
) -> None:
    """It is pushed once, and the commit before it isn't made again."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "git").write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\ncase "$*" in *"push --"*) echo pushing;'
        f' while [ ! -e {tmp_path}/go ]; do sleep 0.02; done;; esac\nexec /usr/bin/git "$@"\n'
    )
    (tools / "git").chmod(0o755)
    path = f"env={{'PATH': [{str(tools)!r}, '${{PATH}}']}}"
    push = f"steps.GitPush(repourl={repo.url!r}, branch='main', {path})"
    made = commit().replace("config=", f"{path}, config=")
    it = await start(git_builder(repo, "steps.ShellCommand(command='echo x > x')", made, push, branch="main"))
    request = await it.submit()
    await it.until_output(request, b"pushing")
    await it.restart()
    await it.until("workers", it.attached)
    (tmp_path / "go").touch()
    built = await it.finished(request)
    assert (built.results, built.attempt) == (SUCCESS, 1), built
    assert int(repo.git("rev-list", "--count", "main")) == 2
    calls = (tmp_path / "calls").read_text()
    assert (calls.count("commit --message"), calls.count("push --")) == (1, 1)


async def test_tags(start: Start, repo: GitRepository) -> None:
    first = repo.git("rev-parse", "HEAD")
    push = f"steps.GitPush(repourl={repo.url!r}, branch=util.Property('tag'))"
    it = await start(
        git_builder(repo, "steps.GitTag(tagName=util.Property('tag'))", push)
        + "\n"
        + git_builder(
            repo,
            f"steps.GitTag(tagName=util.Property('tag'), annotated=True, messages=['One', 'Two'], force=True,"
            f" config={WHO})",
            push.replace("'tag')", "'tag'), force=True"),
        ).replace('"b"', '"c"')
    )
    assert (await it.build(properties={"tag": "v1"})).results == SUCCESS
    assert repo.git("rev-parse", "v1") == first
    again = await it.build(properties={"tag": "v1"})
    assert again.step("gittag").state.endswith("tag 'v1' already exists")
    assert (await it.build("c", properties={"tag": "v1"})).results == SUCCESS
    assert repo.git("cat-file", "-t", "v1") == "tag"
    assert repo.git("tag", "-l", "--format=%(contents)", "v1").strip() == "One\n\nTwo"
    for evil in ("-d", "a b", "", "x..y"):
        built = await it.build(properties={"tag": evil})
        assert built.step("gittag").results == FAILURE
        assert f"{evil!r} can't be a tag" in built.step("gittag").state


async def test_a_push_that_is_refused_is_said_and_can_be_forced(
    start: Start, repo: GitRepository, tmp_path: Path
) -> None:
    behind = "git reset --quiet --hard HEAD~1 && echo other > other"
    steps = f"steps.ShellCommand(command={behind!r})", commit()
    push = f"steps.GitPush(repourl={repo.url!r}, branch='main')"
    repo.commit(a="2\n")
    it = await start(
        git_builder(repo, *steps, push, branch="main")
        + "\n"
        + git_builder(repo, *steps, push.replace("'main'", "'main', force=True"), branch="main").replace(
            '"b"', '"force"'
        )
        + f"\nbuilder('evil', steps.GitPush(repourl={repo.url!r}, branch='--receive-pack=touch owned'))"
    )
    built = await it.build()
    assert built.step("gitpush").results == FAILURE
    assert "failed to push some refs" in built.step("gitpush").state
    assert (await it.build("force")).results == SUCCESS
    assert repo.git("ls-tree", "--name-only", "main").split() == ["a", "other"]
    assert (await it.build("evil")).results == FAILURE
    assert not list(tmp_path.rglob("owned"))  # noqa: ASYNC240 - a test may wait
