"""Sources from real Mercurial repositories."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from buildwright.model.errors import ConfigErrors
from buildwright.model.results import FAILURE, SUCCESS
from buildwright.plugins import steps
from tests.steps.conftest import Start
from tests.support.repositories import PATCH, HgRepository


@pytest.fixture
def repo(tmp_path: Path) -> HgRepository:
    made = HgRepository(tmp_path / "repo")
    write(made, a="1\n")
    return made


def write(repo: HgRepository, **files: str) -> str:
    """Commit these files; gives the revision."""
    for name, content in files.items():
        (repo.path / name).write_text(content)
    return repo.commit("more", "dir/other")


def config(repo: HgRepository, **arguments: Any) -> str:
    words = "".join(f", {name}={value!r}" for name, value in arguments.items())
    return f'builder("b", steps.Mercurial({repo.url!r}{words}), env={{"HGRCPATH": "/dev/null"}})\n'


async def test_it_clones_and_then_follows(start: Start, repo: HgRepository) -> None:
    old = repo.hg("log", "-r", ".", "-T", "{node}")
    it = await start(config(repo))
    built = await it.build()
    assert built.results == SUCCESS, built
    work = it.builddir() / "build"
    assert (work / "a").read_text() == "1\n"
    assert built.properties["got_revision"] == old
    assert built.sources["got_revision"] == "Mercurial"
    (work / "left").write_text("x")
    (work / "a").write_text("changed by a build")
    newest = write(repo, a="2\n")
    built = await it.build()
    assert built.properties["got_revision"] == newest
    assert (work / "a").read_text() == "2\n"
    assert (work / "left").exists()
    built = await it.build(sources=[{"codebase": "", "revision": old}])
    assert built.properties["got_revision"] == old
    for evil in ("--config=hooks.update=false", "0123456789"):
        built = await it.build(sources=[{"codebase": "", "revision": evil}])
        assert built.results == FAILURE
    assert "unknown revision" in built.step("hg").state


@pytest.mark.parametrize(("method", "left"), [("clean", {"ignored"}), ("fresh", set()), ("clobber", set())])
async def test_full(start: Start, repo: HgRepository, method: str, left: set[str]) -> None:
    write(repo, **{".hgignore": "ignored\n"})
    it = await start(config(repo, mode="full", method=method))
    work = it.builddir() / "build"
    assert (await it.build()).results == SUCCESS
    (work / "plain").write_text("x")
    (work / "ignored").write_text("x")
    newest = write(repo, a="2\n")
    built = await it.build()
    assert built.results == SUCCESS, built
    assert built.properties["got_revision"] == newest
    assert {path.name for path in work.iterdir()} == {".hg", ".hgignore", "a", "dir"} | left


async def test_branches_within_the_repository(start: Start, repo: HgRepository) -> None:
    default = repo.hg("log", "-r", ".", "-T", "{node}")
    side = repo.commit("side", branch="side one")
    repo.hg("bookmark", "-r", default, "mark")
    it = await start(
        config(repo, branchType="inrepo")
        + config(repo, branchType="inrepo", clobberOnBranchChange=False, defaultBranch="side one").replace(
            '"b"', '"stays"'
        )
    )
    first = {"b": default, "stays": side}
    for name, stays in (("b", False), ("stays", True)):
        work = it.builddir(name) / "build"
        built = await it.build(name)
        assert built.properties["got_revision"] == first[name], built
        (work / "left").write_text("x")
        built = await it.build(name, sources=[{"codebase": "", "branch": "side one"}])
        assert built.properties["got_revision"] == side, built
        assert (work / "left").exists() == stays
        built = await it.build(name, sources=[{"codebase": "", "branch": "mark"}])
        assert built.properties["got_revision"] == default, built
    said = {"nowhere": "abort: unknown revision", "--config=ui.x=y": "hg: parse error"}
    for evil, why in said.items():
        built = await it.build(sources=[{"codebase": "", "branch": evil}])
        assert built.results == FAILURE
        assert why in built.step("hg").state


async def test_branches_that_are_repositories(start: Start, repo: HgRepository, tmp_path: Path) -> None:
    repo.hg("clone", "-q", ".", "../repo-side")
    side = HgRepository.__new__(HgRepository)
    side.path, side.time = tmp_path / "repo-side", repo.time + 10
    newest = side.commit("side")
    HgRepository(tmp_path / "repo-unrelated").commit("other")
    it = await start(config(repo))
    work = it.builddir() / "build"
    assert (await it.build()).results == SUCCESS
    (work / "left").write_text("x")
    built = await it.build(sources=[{"codebase": "", "branch": "-side"}])
    assert built.properties["got_revision"] == newest, built
    assert (work / "left").exists()
    built = await it.build(sources=[{"codebase": "", "branch": "-unrelated"}])
    assert built.results == SUCCESS, built
    assert not (work / "left").exists()


async def test_a_patch_is_gone_with_the_next_build(start: Start, repo: HgRepository) -> None:
    it = await start(config(repo))
    work = it.builddir() / "build"
    for _ in range(2):
        built = await it.build(sources=[{"codebase": "", "patch": {"level": 0, "body": PATCH}}])
        assert built.results == SUCCESS, built
        assert (work / "a").read_text() == "patched\n"
        assert (work / "added").read_text() == "new\n"
    assert (await it.build()).results == SUCCESS
    assert (work / "a").read_text() == "1\n"
    assert not (work / "added").exists()


async def test_what_a_killed_hg_has_left_and_a_rewritten_branch(start: Start, repo: HgRepository) -> None:
    it = await start(config(repo))
    work = it.builddir() / "build"
    write(repo, a="wrong\n")
    assert (await it.build()).results == SUCCESS
    (work / ".hg" / "store" / "journal").write_bytes(b"")
    repo.hg("strip", "-q", "--no-backup", "-r", ".")
    right = write(repo, a="right\n")
    built = await it.build()
    assert built.properties["got_revision"] == right, built
    shutil.rmtree(work / ".hg")
    (work / "left").write_text("x")
    built = await it.build()
    assert built.properties["got_revision"] == right, built
    assert not (work / "left").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "step Mercurial has no repourl"),
        ({"repourl": "u", "branchType": "x"}, "branchType must be 'dirname' or 'inrepo'"),
        ({"repourl": "u", "mode": "full", "method": "copy"}, "method must be one of fresh, clean, clobber"),
        ({"repourl": "u", "defaultBranch": 5}, "defaultBranch must be text"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigErrors, match=message):
        steps.Mercurial(**arguments)
