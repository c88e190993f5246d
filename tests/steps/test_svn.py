"""Sources from real Subversion repositories."""

import contextlib
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from buildwright.model.errors import ConfigErrors
from buildwright.model.results import FAILURE, SUCCESS
from buildwright.plugins import steps
from tests.steps.conftest import Start
from tests.support.repositories import PATCH, SvnRepository, run


@pytest.fixture
def repo(tmp_path: Path) -> SvnRepository:
    made = SvnRepository(tmp_path / "repo")
    made.commit(a="1\n")
    return made


def config(repo: SvnRepository, **arguments: Any) -> str:
    words = "".join(f", {name}={value!r}" for name, value in arguments.items())
    return f'builder("b", steps.SVN({repo.url!r}{words}))'


async def test_it_checks_out_and_then_follows(start: Start, repo: SvnRepository) -> None:
    it = await start(config(repo))
    built = await it.build()
    assert built.results == SUCCESS, built
    work = it.builddir() / "build"
    assert (work / "a").read_text() == "1\n"
    assert built.properties["got_revision"] == repo.newest()
    assert built.sources["got_revision"] == "SVN"
    (work / "left").write_text("x")
    (work / "a").write_text("changed by a build")
    old, new = repo.newest(), repo.commit(a="2\n", b="new\n")
    built = await it.build()
    assert built.properties["got_revision"] == new
    assert (work / "a").read_text() == "2\n"
    assert (work / "left").exists()
    assert built.step("svn").state == "update"
    built = await it.build(sources=[{"codebase": "", "revision": old}])
    assert built.properties["got_revision"] == old
    assert (work / "a").read_text() == "1\n"
    built = await it.build(sources=[{"codebase": "", "revision": "--config-dir=x"}])
    assert built.results == FAILURE
    assert b"can't be a revision" in built.log("svn").err


@pytest.mark.parametrize(
    ("method", "left"),
    [
        ("clean", {"ignored", ".svn"}),
        ("fresh", {".svn"}),
        ("clobber", {".svn"}),
        ("copy", {".svn"}),
        ("export", set()),
    ],
)
async def test_full(start: Start, repo: SvnRepository, method: str, left: set[str]) -> None:
    run("svn", "propset", "-q", "svn:ignore", "ignored", "trunk", cwd=repo.work)
    repo.commit()
    it = await start(config(repo, mode="full", method=method))
    work = it.builddir() / "build"
    assert (await it.build()).results == SUCCESS
    (work / "plain dir").mkdir()
    (work / "plain dir" / "file").write_text("x")
    (work / "ignored").write_text("x")
    newest = repo.commit(a="2\n")
    built = await it.build()
    assert built.results == SUCCESS, built
    assert built.properties["got_revision"] == newest
    assert {path.name for path in work.iterdir()} == {"a"} | left
    assert (work / "a").read_text() == "2\n"
    assert (it.builddir() / "source").exists() == (method in ("copy", "export"))


async def test_what_is_kept_when_all_else_goes(start: Start, repo: SvnRepository) -> None:
    it = await start(config(repo, mode="full", keep_on_purge=["cache"]))
    assert (await it.build()).results == SUCCESS
    work = it.builddir() / "build"
    (work / "cache").mkdir()
    (work / "other").mkdir()
    assert (await it.build()).results == SUCCESS
    assert {path.name for path in work.iterdir()} == {"a", ".svn", "cache"}


async def test_depth_and_the_last_revision_that_changed_it(start: Start, repo: SvnRepository) -> None:
    run("svn", "mkdir", "-q", "-m", "deep", f"{repo.url}/deep", f"{repo.url}/deep/deeper")
    last = repo.newest()
    run("svn", "mkdir", "-q", "-m", "elsewhere", f"{repo.root}/branches/x")
    it = await start(config(repo, depth="immediates", preferLastChangedRev=True, username="ann"))
    built = await it.build()
    assert built.properties["got_revision"] == last, built
    work = it.builddir() / "build"
    assert (work / "deep").is_dir()
    assert not (work / "deep" / "deeper").exists()


@pytest.mark.parametrize("mode", ["incremental", "full"])
async def test_a_patch_is_gone_with_the_next_build(start: Start, repo: SvnRepository, mode: str) -> None:
    repo.commit(keep="k\n")
    it = await start(config(repo, mode=mode))
    work = it.builddir() / "build"
    for _ in range(2):
        built = await it.build(sources=[{"codebase": "", "patch": {"level": 0, "body": PATCH}}])
        assert built.results == SUCCESS, built
        assert (work / "a").read_text() == "patched\n"
        assert (work / "added").read_text() == "new\n"
        assert built.properties["got_revision"] == repo.newest()
    assert (await it.build()).results == SUCCESS
    assert (work / "a").read_text() == "1\n"
    assert not (work / "added").exists()
    built = await it.build(
        sources=[{"codebase": "", "patch": {"level": 0, "body": PATCH.replace("\n-1", "\n-8")}}]
    )
    assert built.results == FAILURE
    assert built.step("svn").state.endswith("the patch doesn't apply, see the log")


async def test_a_patch_on_an_export_below_a_directory(start: Start, repo: SvnRepository) -> None:
    run("svn", "copy", "-q", "-m", "sub", repo.url, f"{repo.url}/sub")
    it = await start(config(repo, mode="full", method="export"))
    body = PATCH.replace("--- a", "--- x/a").replace("+++ a", "+++ y/a").replace("+++ add", "+++ y/add")
    patch = {"level": 1, "body": body, "subdir": "sub"}
    built = await it.build(sources=[{"codebase": "", "patch": patch}])
    assert built.results == SUCCESS, built
    work = it.builddir() / "build"
    assert (work / "sub" / "a").read_text() == "patched\n"
    assert (work / "a").read_text() == "1\n"
    assert {path.name for path in work.iterdir()} == {"a", "sub"}


async def test_another_repository_at_another_or_the_same_address(
    start: Start, repo: SvnRepository, tmp_path: Path
) -> None:
    it = await start(f'builder("b", steps.SVN(util.Interpolate("{repo.root}/%(src::branch)s/")))\n')
    work = it.builddir() / "build"
    assert (await it.build(sources=[{"codebase": "", "branch": "trunk"}])).results == SUCCESS
    (work / "left").write_text("x")
    assert (await it.build(sources=[{"codebase": "", "branch": "trunk"}])).results == SUCCESS
    assert (work / "left").exists()
    run("svn", "copy", "-q", "-m", "branch", repo.url, f"{repo.root}/branches/x y")
    built = await it.build(sources=[{"codebase": "", "branch": "branches/x y"}])
    assert built.results == SUCCESS, built
    assert not (work / "left").exists()
    shutil.rmtree(repo.path)
    shutil.rmtree(repo.work)
    built = await it.build(sources=[{"codebase": "", "branch": "trunk"}])
    assert built.results == FAILURE
    assert "svn: E" in built.step("svn").state
    other = SvnRepository(tmp_path / "repo")
    newest = other.commit(a="other\n")
    run("svn", "copy", "-q", "-m", "branch", other.url, f"{other.root}/branches/x y")
    assert (await it.build(sources=[{"codebase": "", "branch": "trunk"}])).results == SUCCESS
    shutil.rmtree(repo.path)
    shutil.rmtree(repo.work)
    newest = SvnRepository(tmp_path / "repo").commit(a="third\n")
    built = await it.build(sources=[{"codebase": "", "branch": "trunk"}])
    assert built.results == SUCCESS, built
    assert built.properties["got_revision"] == newest
    assert (work / "a").read_text() == "third\n"


async def test_a_directory_that_is_gone_is_had_by_its_revision(start: Start, repo: SvnRepository) -> None:
    old = repo.newest()
    run("svn", "rm", "-q", "-m", "gone", repo.url)
    it = await start(config(repo))
    assert (await it.build()).results == FAILURE
    built = await it.build(sources=[{"codebase": "", "revision": old}])
    assert built.results == SUCCESS, built


async def test_a_working_copy_that_a_killed_svn_has_left(start: Start, repo: SvnRepository) -> None:
    it = await start(config(repo))
    assert (await it.build()).results == SUCCESS
    work = it.builddir() / "build"
    database = work / ".svn" / "wc.db"
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("insert into wc_lock values (1, '', -1)")
    assert (await it.build()).results == SUCCESS
    database.write_bytes(b"nonsense")
    (work / "left").write_text("x")
    built = await it.build()
    assert built.results == SUCCESS, built
    assert not (work / "left").exists()


async def test_a_password_is_shown_nowhere(start: Start, repo: SvnRepository, tmp_path: Path) -> None:
    """A wrapper of svn notes what it was given; the repository needs none."""
    wrapper = tmp_path / "bin" / "svn"
    wrapper.parent.mkdir()
    wrapper.write_text(
        f'#!/bin/sh\ncase "$*" in *--password-from-stdin*) cat > {tmp_path}/given;; esac\n'
        f'echo "$@" >> {tmp_path}/words\nexec /usr/bin/svn "$@" < /dev/null\n'
    )
    wrapper.chmod(0o755)
    it = await start(
        config(repo, username="ann", password="swordfish").replace(
            "))", f'), env={{"PATH": "{wrapper.parent}:/usr/bin:/bin"}})'
        )
    )
    built = await it.build()
    assert built.results == SUCCESS, built
    assert (tmp_path / "given").read_text() == "swordfish"
    assert "--username ann --password-from-stdin" in (tmp_path / "words").read_text()
    log = built.log("svn")
    assert b"swordfish" not in log.out + log.err + log.header


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "step SVN has no repourl"),
        ({"repourl": 5}, "repourl must be text"),
        ({"repourl": "u", "mode": "copy"}, "mode must be 'incremental' or 'full'"),
        ({"repourl": "u", "method": "fresh"}, "method 'fresh' needs mode='full'"),
        ({"repourl": "u", "mode": "full", "method": "new"}, "method must be one of fresh, clean, clobber"),
        ({"repourl": "u", "depth": "deep"}, "depth must be one of empty, files"),
        ({"repourl": "u", "extra_args": "-q"}, "extra_args must be a list"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigErrors, match=message):
        steps.SVN(**arguments)
