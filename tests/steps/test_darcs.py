"""Sources from real Darcs repositories."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from buildwright.model.errors import ConfigErrors
from buildwright.model.results import FAILURE, SUCCESS
from buildwright.plugins import steps
from tests.steps.conftest import Start
from tests.support.repositories import PATCH


class Repository:
    """A repository that builds clone, with its work tree."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.darcs("init", "-q")

    def darcs(self, *words: str) -> str:
        done = subprocess.run(["darcs", *words], cwd=self.path, capture_output=True, check=False, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def record(self, **files: str) -> str:
        """Record these files; gives the patch's hash."""
        for name, content in files.items():
            (self.path / name).write_text(content)
        self.darcs("record", "-q", "-l", "-a", "-m", "more", "-A", "ann", "--ignore-times")
        [found] = re.findall("hash='([0-9a-f]+)'", self.darcs("log", "--max-count=1", "--xml"))
        return str(found)


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repo")


def config(repo: Repository, **arguments: Any) -> str:
    words = "".join(f", {name}={value!r}" for name, value in arguments.items())
    return f'builder("b", steps.Darcs({str(repo.path)!r}{words}))\n'


async def test_it_clones_and_then_follows(start: Start, repo: Repository) -> None:
    first = repo.record(a="1\n")
    it = await start(config(repo))
    built = await it.build()
    assert built.properties["got_revision"] == first, built
    work = it.builddir() / "build"
    (work / "left").write_text("x")
    (work / "a").write_text("changed by a build")
    second = repo.record(a="2\n")
    built = await it.build()
    assert built.properties["got_revision"] == second, built
    assert (work / "a").read_text() == "2\n"
    assert (work / "left").exists()
    repo.darcs("obliterate", "-q", "-a", "--last=1")
    third = repo.record(a="3\n")
    built = await it.build()
    assert built.properties["got_revision"] == third, built
    assert (work / "a").read_text() == "3\n"
    assert (work / "left").exists()
    patch = {"level": 0, "body": PATCH}
    built = await it.build(sources=[{"codebase": "", "revision": first, "patch": patch}])
    assert built.properties["got_revision"] == first, built
    assert (work / "a").read_text() == "patched\n"
    assert (await it.build()).results == SUCCESS
    assert (work / "a").read_text() == "3\n"
    assert not (work / "added").exists()
    built = await it.build(sources=[{"codebase": "", "revision": "0" * 40}])
    assert built.results == FAILURE


@pytest.mark.parametrize("method", ["copy", "clobber"])
async def test_full(start: Start, repo: Repository, method: str) -> None:
    repo.record(a="1\n")
    it = await start(config(repo, mode="full", method=method))
    work = it.builddir() / "build"
    assert (await it.build()).results == SUCCESS
    (work / "left").write_text("x")
    second = repo.record(a="2\n")
    built = await it.build()
    assert built.properties["got_revision"] == second, built
    assert {path.name for path in work.iterdir()} == {"_darcs", "a"}
    assert (work / "a").read_text() == "2\n"


def test_arguments_that_make_no_sense() -> None:
    with pytest.raises(ConfigErrors, match="step Darcs has no repourl"):
        steps.Darcs()
    with pytest.raises(ConfigErrors, match="method must be one of copy, clobber"):
        steps.Darcs("u", mode="full", method="fresh")
