"""Sources from real Bazaar branches."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from buildwright.model.errors import ConfigErrors
from buildwright.model.results import FAILURE, SUCCESS
from buildwright.plugins import steps
from tests.steps.conftest import Start
from tests.support.repositories import PATCH


class Branch:
    """A branch that builds check out, with its work tree."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.bzr("init", "-q")

    def bzr(self, *words: str) -> str:
        environment = {**os.environ, "BRZ_EMAIL": "ann@example.org", "BZR_EMAIL": "ann@example.org"}
        done = subprocess.run(
            ["bzr", *words], cwd=self.path, capture_output=True, check=False, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, **files: str) -> str:
        """Commit these files; gives the revision."""
        for name, content in files.items():
            (self.path / name).write_text(content)
        self.bzr("add", "-q")
        self.bzr("commit", "-q", "-m", "more")
        return self.bzr("revno")


@pytest.fixture
def trunk(tmp_path: Path) -> Branch:
    made = Branch(tmp_path / "trunk")
    made.commit(a="1\n")
    return made


def config(**arguments: Any) -> str:
    words = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return f'builder("b", steps.Bzr({words}))\n'


async def test_it_checks_out_and_then_follows(start: Start, trunk: Branch, tmp_path: Path) -> None:
    trunk.bzr("branch", "-q", ".", "../side")
    side = Branch.__new__(Branch)
    side.path = tmp_path / "side"
    it = await start(config(baseURL=f"{tmp_path}/", defaultBranch="trunk"))
    built = await it.build()
    assert built.properties["got_revision"] == "1", built
    work = it.builddir() / "build"
    (work / "left").write_text("x")
    (work / "a").write_text("changed by a build")
    trunk.commit(a="2\n")
    built = await it.build()
    assert built.properties["got_revision"] == "2", built
    assert (work / "a").read_text() == "2\n"
    assert (work / "left").exists()
    built = await it.build(sources=[{"codebase": "", "revision": "1", "patch": {"level": 0, "body": PATCH}}])
    assert built.properties["got_revision"] == "1", built
    assert (work / "a").read_text() == "patched\n"
    assert (await it.build()).results == SUCCESS
    assert (work / "a").read_text() == "2\n"
    assert not (work / "added").exists()
    side.commit(a="side\n")
    built = await it.build(sources=[{"codebase": "", "branch": "side"}])
    assert built.results == SUCCESS, built
    assert (work / "a").read_text() == "side\n"
    built = await it.build(sources=[{"codebase": "", "branch": "nowhere"}])
    assert built.results == FAILURE
    assert "Not a branch" in built.step("bzr").state


@pytest.mark.parametrize(
    ("method", "left"), [("clean", {"ignored"}), ("fresh", set()), ("clobber", set()), ("copy", set())]
)
async def test_full(start: Start, trunk: Branch, method: str, left: set[str]) -> None:
    trunk.commit(**{".bzrignore": "ignored\n"})
    it = await start(config(repourl=str(trunk.path), mode="full", method=method))
    work = it.builddir() / "build"
    assert (await it.build()).results == SUCCESS
    (work / "plain").write_text("x")
    (work / "ignored").write_text("x")
    trunk.commit(a="2\n")
    built = await it.build()
    assert built.results == SUCCESS, built
    assert {path.name for path in work.iterdir()} == {".bzr", ".bzrignore", "a"} | left
    assert (work / "a").read_text() == "2\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "step Bzr takes one of repourl and baseURL"),
        ({"repourl": "u", "baseURL": "v", "defaultBranch": "x"}, "takes one of repourl and baseURL"),
        ({"baseURL": "v"}, "baseURL needs a defaultBranch"),
        ({"repourl": "u", "mode": "full", "method": "export"}, "method must be one of fresh, clean"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigErrors, match=message):
        steps.Bzr(**arguments)
