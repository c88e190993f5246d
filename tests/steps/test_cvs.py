"""Sources from real CVS repositories."""

import datetime as dt
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from buildwright.model.errors import ConfigErrors
from buildwright.model.results import FAILURE, SUCCESS
from buildwright.plugins import steps
from tests.steps.conftest import Start
from tests.support.repositories import PATCH, SvnRepository

EARLY = "2020-01-02 00:00:00 +0000"


class Repository:
    """A repository that builds check out, with a working copy to commit from."""

    def __init__(self, path: Path) -> None:
        self.root = str(path)
        self.work = path.with_name("work")
        self.work.mkdir()
        self.cvs("init", "-q")
        (path / "project").mkdir()
        self.cvs("checkout", "-d", ".", "project")

    def cvs(self, *words: str) -> None:
        done = subprocess.run(
            ["cvs", "-Q", "-d", self.root, *[word for word in words if word != "-q"]],
            cwd=self.work, capture_output=True, check=False, text=True,
            env={**os.environ, "USER": "ann", "LOGNAME": "ann"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def commit(self, **files: str) -> None:
        for name, content in files.items():
            new = not (self.work / name).exists()
            (self.work / name).write_text(content)
            if new:
                self.cvs("add", name)
        self.cvs("commit", "-f", "-m", "more", *files)


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repo")
    made.commit(a="1\n")
    return made


def config(repo: Repository, **arguments: Any) -> str:
    words = "".join(f", {name}={value!r}" for name, value in arguments.items())
    return f'builder("b", steps.CVS({repo.root!r}, "project"{words}))\n'


async def test_it_checks_out_and_then_follows(start: Start, repo: Repository) -> None:
    it = await start(config(repo))
    built = await it.build()
    assert built.results == SUCCESS, built
    work = it.builddir() / "build"
    assert (work / "a").read_text() == "1\n"
    at = dt.datetime.strptime(built.properties["got_revision"], "%Y-%m-%d %H:%M:%S %z")
    assert abs((dt.datetime.now(dt.UTC) - at).total_seconds()) < 3600
    (work / "left").write_text("x")
    (work / "a").write_text("changed by a build")
    repo.cvs("tag", "-b", "side")
    repo.commit(a="2\n")
    assert (await it.build()).results == SUCCESS
    assert (work / "a").read_text() == "2\n"
    assert (work / "left").exists()
    built = await it.build(sources=[{"codebase": "", "branch": "side"}])
    assert built.results == SUCCESS, built
    assert (work / "a").read_text() == "1\n"
    built = await it.build(sources=[{"codebase": "", "revision": EARLY}])
    assert built.properties["got_revision"] == EARLY
    assert not (work / "a").exists()
    assert (await it.build()).results == SUCCESS
    assert (work / "a").read_text() == "2\n"
    built = await it.build(sources=[{"codebase": "", "branch": "nowhere"}])
    assert built.results == FAILURE
    assert "no such tag" in built.step("cvs").state
    built = await it.build(sources=[{"codebase": "", "branch": "-x"}])
    assert "'-x' can't be a branch" in built.step("cvs").state


@pytest.mark.parametrize(
    ("method", "left"),
    [("clean", {"ignored"}), ("fresh", set()), ("clobber", set()), ("copy", set())],
)
async def test_full(start: Start, repo: Repository, method: str, left: set[str]) -> None:
    repo.commit(**{".cvsignore": "ignored\n"})
    it = await start(config(repo, mode="full", method=method))
    work = it.builddir() / "build"
    assert (await it.build()).results == SUCCESS
    (work / "plain").mkdir()
    (work / "plain" / "file").write_text("x")
    (work / "ignored").write_text("x")
    repo.commit(a="2\n")
    built = await it.build()
    assert built.results == SUCCESS, built
    assert {path.name for path in work.iterdir()} == {"CVS", ".cvsignore", "a"} | left
    assert (work / "a").read_text() == "2\n"
    assert (it.builddir() / "source").exists() == (method == "copy")


async def test_a_patch_is_gone_with_the_next_build(start: Start, repo: Repository) -> None:
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


async def test_factories_for_projects_with_autoconf(start: Start, repo: Repository, tmp_path: Path) -> None:
    """BasicSVN, BasicBuildFactory and QuickBuildFactory, with and without a configure."""
    make = "all:\n\techo built >> made\ncheck:\n\ttest -f made\n"
    repo.commit(Makefile=make, configure="echo $SPEED > configured\n")
    svn = SvnRepository(tmp_path / "svn")
    svn.commit(Makefile=make)
    it = await start(
        f"""
def made(name, factory):
    builder(name)
    c["builders"][-1].factory = factory

made("svn", util.BasicSVN({svn.url!r}))
made("basic", util.BasicBuildFactory({repo.root!r}, "project", "sh configure", {{"SPEED": "9"}}))
made("copied", util.BasicBuildFactory({repo.root!r}, "project", test=None, cvsCopy=True))
made("quick", util.QuickBuildFactory({repo.root!r}, "project"))
"""
    )
    ran = {
        "svn": ["svn", "compile", "test"],
        "basic": ["cvs", "configure", "compile", "test"],
        "copied": ["cvs", "compile"],
        "quick": ["cvs", "compile", "test"],
    }
    for name, times in (("svn", 2), ("basic", 1), ("copied", 1), ("quick", 2)):
        for _ in range(2):
            built = await it.build(name)
            assert built.results == SUCCESS, built
            assert [step.name for step in built.steps] == ran[name]
        assert (it.builddir(name) / "build" / "made").read_text() == "built\n" * times
    assert (it.builddir("basic") / "build" / "configured").read_text() == "9\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cvsmodule": "m"}, "step CVS has no cvsroot"),
        ({"cvsroot": "r"}, "step CVS has no cvsmodule"),
        ({"cvsroot": "r", "cvsmodule": "m", "mode": "full", "method": "export"}, "method must be one of"),
        ({"cvsroot": "r", "cvsmodule": "m", "global_options": "-q"}, "global_options must be a list"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigErrors, match=message):
        steps.CVS(**arguments)
