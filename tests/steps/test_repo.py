"""Sources with repo.

repo itself is in no package that the tests could install. Its exact command lines are told by a worker that
plays a script. What surrounds it (tar, find, git and the files) is real, around a stand-in of a few lines
that knows one manifest with one project.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from buildwright.model.errors import ConfigErrors
from buildwright.model.properties import Properties
from buildwright.model.results import FAILURE, SUCCESS
from buildwright.plugins import steps, util
from buildwright.testing import Rehearsal
from tests.steps.conftest import Start
from tests.steps.rehearsed import HEAD, Rehearse, rehearsed
from tests.support.repositories import PATCH, GitRepository

URL = "https://git.example.org/manifest.git"
INIT = f"repo init --manifest-url={URL} --manifest-branch=main"
SYNC = "repo sync --detach --force-sync"
UNDO = "rm -f .git/*.lock; git reset --quiet --hard; git clean --quiet -f -d -e /.repo"

STAND_IN = """#!/bin/sh -e
echo "$@" >> {words}
case "$1" in
init) [ -d .repo/manifests ] || git clone -q {manifest} .repo/manifests;;
sync) [ -d project ] || git clone -q {project} project
    cd project; git fetch -q; git checkout -q --detach origin/main;;
forall) cd project; sh -c "$3"; echo tidied >> {words};;
download) cd project; git fetch -q origin "refs/changes/$3"; git checkout -q --detach FETCH_HEAD;;
manifest) echo "project at $(git -C project rev-parse HEAD)";;
esac
"""


def tried(rehearse: Rehearse, directory: Path, arguments: str, script: str = "repo init*") -> Rehearsal:
    ci = rehearsed(rehearse, directory, f"steps.Repo({URL!r}, {arguments})")
    ci.on("repo*")
    ci.on(script).writes(".repo/manifests/default.xml", "<manifest/>")
    ci.on("repo manifest*").prints("<manifest>exact</manifest>\n")
    return ci


def test_what_is_run(rehearse: Rehearse, tmp_path: Path) -> None:
    ci = tried(rehearse, tmp_path, "'main'")
    build = ci.build("b")
    assert build.outline == [("repo", SUCCESS)]
    assert [ran.line for ran in ci.ran] == [
        f"{INIT} --manifest-name=default.xml",
        f"{SYNC} --current-branch",
        "repo manifest --revision-as-HEAD",
    ]
    assert {ran.workdir for ran in ci.ran} == {"b/build"}
    assert build.log("repo", "manifest").text == "<manifest>exact</manifest>\n"
    assert build.properties["got_revision"] == "0" * 40
    [asked] = [ran for ran in ci.ran_with_git if ran.command[0] == "git"]
    assert (asked.line, asked.workdir) == ("git rev-parse HEAD", "b/build/.repo/manifests")


def test_its_arguments(rehearse: Rehearse, tmp_path: Path) -> None:
    arguments = (
        "'main', 'dev.xml', jobs=4, syncAllBranches=True, depth=1, submodules=True, syncQuietly=True,"
        " repoDownloads=['-c tools 12/3', 'lib/x 4/5']"
    )
    ci = tried(rehearse, tmp_path, arguments)
    assert ci.build("b").result == "success"
    assert [ran.line for ran in ci.ran][:-1] == [
        f"{INIT} --depth=1 --submodules --manifest-name=dev.xml",
        f"{SYNC} --jobs=4 --quiet",
        "repo download -c tools 12/3",
        "repo download lib/x 4/5",
    ]


def test_what_is_left_behind_is_put_right(rehearse: Rehearse, tmp_path: Path) -> None:
    ci = tried(rehearse, tmp_path, "'main'")
    ci.on("repo sync*").exits(1).once()
    build = ci.build("b")
    assert build.result == "success"
    assert [ran.line for ran in ci.ran][1:-1] == [
        f"{SYNC} --current-branch",
        f"repo forall -c '{UNDO}'",
        f"{SYNC} --current-branch",
    ]
    ci.on("repo sync*").prints("error: Cannot fetch tools\nmore\n", stream="stderr").exits(1)
    build = ci.build("b")
    assert build.step("repo").state == "update (failure): error: Cannot fetch tools"


@pytest.mark.parametrize(("method", "first"), [("clean", UNDO), ("fresh", f"{UNDO} -x"), ("clobber", None)])
def test_full(rehearse: Rehearse, tmp_path: Path, method: str, first: str | None) -> None:
    ci = tried(rehearse, tmp_path, f"'main', mode='full', method={method!r}")
    machine = ci.machines["w1"]
    assert ci.build("b").result == "success"
    machine.files["b/build/left"] = b""
    before = len(ci.ran)
    assert ci.build("b").result == "success"
    again = [ran.line for ran in ci.ran][before:]
    assert again[0] == (
        f"{INIT} --manifest-name=default.xml" if first is None else f"repo forall -c '{first}'"
    )
    assert ("b/build/left" in machine.files) == (first is not None)


def test_a_download_that_is_not_there_yet_is_tried_again(rehearse: Rehearse, tmp_path: Path) -> None:
    ci = tried(rehearse, tmp_path, "'main', repoDownloads=['tools 12/3'], retry=(60, 2)")
    ci.on("repo download*").prints("error: change not found\n", stream="stderr").exits(1).once()
    begun = ci.now
    assert ci.build("b").result == "success"
    assert (ci.now - begun).total_seconds() > 60
    assert [ran.line for ran in ci.ran].count("repo download tools 12/3") == 2


def test_another_manifest(rehearse: Rehearse, tmp_path: Path) -> None:
    ci = tried(rehearse, tmp_path, "'main', manifestOverrideUrl='https://x.example.org/m.xml'")
    own, there = "repo init --manifest-name=manifest_override.xml", ".repo/manifests/manifest_override.xml"
    assert ci.build("b").result == "success"
    fetched = f"wget --quiet --output-document={there} -- https://x.example.org/m.xml"
    assert [ran.line for ran in ci.ran][1:3] == [fetched, own]
    ci.on("wget*").exits(8)
    build = ci.build("b")
    assert build.step("repo").state.endswith("the manifest https://x.example.org/m.xml can't be had")


def test_a_manifest_in_the_working_directory(rehearse: Rehearse, tmp_path: Path) -> None:
    ci = tried(rehearse, tmp_path, "'main', manifestOverrideUrl='ci/m.xml'")
    ci.machines["w1"].files["b/build/ci/m.xml"] = b"<manifest/>"
    ci.machines["w1"].files["b/build/.repo/manifests/x"] = b""
    assert ci.build("b").result == "success"
    assert ci.ran[1].line == "cp -- ci/m.xml .repo/manifests/manifest_override.xml"


def test_what_gerrit_tells_and_people_ask_for(rehearse: Rehearse, tmp_path: Path) -> None:
    (tmp_path / "master.cfg").write_text(
        HEAD
        + f"""
downloads = util.FlattenList([
    util.repo.DownloadsFromChangeSource(), util.repo.DownloadsFromProperties(["more", "none"])])
c["builders"] = [util.BuilderConfig("b", workernames=["w1"], factory=util.BuildFactory([
    steps.Repo({URL!r}, repoDownloads=downloads)]))]
c["schedulers"] = [schedulers.AnyBranchScheduler(
    name="all", builderNames=["b"], properties={{"more": "see tools/9/1, and repo download lib/x 4/5."}})]
"""
    )
    ci = rehearse(tmp_path / "master.cfg")
    event = {"change.project": "tools", "change.number": 12, "patchSet.number": 3}
    [build] = ci.change(branch="main/12", properties={f"event.{key}": each for key, each in event.items()})
    assert build.result == "success"
    assert [ran.line for ran in ci.ran if "download" in ran.line] == [
        "repo download tools 12/3",
        "repo download tools 9/1",
        "repo download lib/x 4/5",
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("tools 12/3", ["tools 12/3"]),
        ("a/b.c-d/12/3\nrepo  download x 1/1", ["a/b.c-d 12/3", "x 1/1"]),
        ("-c tools 12/3", ["tools 12/3"]),
        ("--upload-pack=x 1/2", []),
        ("tools 12", []),
        ("tools 1/2x", []),
        ("", []),
        (None, []),
    ],
)
def test_downloads_in_a_text(text: str | None, found: list[str]) -> None:
    wanted = util.repo.DownloadsFromProperties(["p"])
    assert wanted.getRenderingFor(Properties(p=text)) == found


async def test_downloads_of_one_codebase(start: Start) -> None:
    made = util.repo.DownloadsFromChangeSource("other")
    assert made.getRenderingFor(Properties()) == []  # there is no build


# -- around a stand-in ---------------------------------------------------------------------------------------


class Client:
    """A configuration with a stand-in for repo, and what it was asked for."""

    def __init__(self, path: Path) -> None:
        self.manifest = GitRepository(path / "manifest")
        self.manifest.commit(**{"default.xml": "<manifest/>\n"})
        self.project = GitRepository(path / "project")
        self.project.commit(a="1\n", **{".gitignore": "ignored\n"})
        self.words = path / "words"
        self.tool = path / "bin" / "repo"
        self.tool.parent.mkdir()
        text = STAND_IN.format(words=self.words, manifest=self.manifest.url, project=self.project.url)
        self.tool.write_text(text)
        self.tool.chmod(0o755)

    def config(self, **arguments: Any) -> str:
        words = "".join(f", {name}={value!r}" for name, value in arguments.items())
        env = {"PATH": f"{self.tool.parent}:/usr/bin:/bin"}
        return f'builder("b", steps.Repo({self.manifest.url!r}, env={env!r}{words}))\n'

    def tidied(self) -> int:
        return self.words.read_text().splitlines().count("tidied")


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path)


async def test_a_tarball_is_made_used_and_renewed(start: Start, client: Client, tmp_path: Path) -> None:
    tarball = tmp_path / "cache" / "manifest.tar.gz"
    tarball.parent.mkdir()
    it = await start(client.config(tarball=str(tarball), updateTarballAge=3600))
    built = await it.build()
    assert built.results == SUCCESS, built
    assert built.properties["got_revision"] == client.manifest.git("rev-parse", "HEAD")
    assert built.log("repo", "manifest").out.startswith(b"project at ")
    assert [path.name for path in tarball.parent.iterdir()] == [tarball.name]
    work = it.builddir() / "build"
    (work / ".repo" / "from before").write_text("x")
    made = tarball.stat()
    assert (await it.build()).results == SUCCESS
    assert tarball.stat().st_mtime_ns == made.st_mtime_ns
    os.utime(tarball, (0, 0))
    assert (await it.build()).results == SUCCESS
    assert tarball.stat().st_mtime > made.st_mtime - 3600
    shutil.rmtree(work)
    assert (await it.build()).results == SUCCESS
    assert (work / ".repo" / "from before").exists()
    shutil.rmtree(work)
    tarball.write_bytes(b"nonsense")
    built = await it.build()
    assert built.results == SUCCESS, built
    assert b"the tarball is broken" in built.log("repo").header
    assert not (work / ".repo" / "from before").exists()


async def test_a_tarball_that_cannot_be_written(start: Start, client: Client) -> None:
    it = await start(client.config(tarball="nowhere/x.tar"))
    built = await it.build()
    assert built.results == SUCCESS, built
    assert b"the tarball can't be written" in built.log("repo").header


async def test_a_patch_is_gone_with_the_next_build(start: Start, client: Client) -> None:
    it = await start(client.config())
    work = it.builddir() / "build" / "project"
    patch = {"level": 0, "body": PATCH, "subdir": "project"}
    built = await it.build(sources=[{"codebase": "", "patch": patch}])
    assert built.results == SUCCESS, built
    assert (work / "a").read_text() == "patched\n"
    (work / "ignored").write_text("x")
    (work / ".git" / "index.lock").write_text("")
    assert (await it.build()).results == SUCCESS
    assert (work / "a").read_text() == "1\n"
    assert not (work / "added").exists()
    assert (work / "ignored").exists()
    assert client.tidied() == 1


async def test_a_conflict_and_a_download(start: Start, client: Client) -> None:
    proposed = client.project.commit(a="proposed\n")
    client.project.git("update-ref", "refs/changes/5/1", proposed)
    client.project.git("reset", "--hard", "--quiet", "HEAD~1")
    it = await start(client.config(repoDownloads=["project 5/1"]))
    built = await it.build()
    assert built.results == SUCCESS, built
    work = it.builddir() / "build" / "project"
    assert (work / "a").read_text() == "proposed\n"
    (work / "a").write_text("changed by a build")
    built = await it.build()
    assert built.results == SUCCESS, built
    assert client.tidied() == 1
    client.project.git("update-ref", "-d", "refs/changes/5/1")
    built = await it.build()
    assert built.results == FAILURE
    assert "fatal: couldn't find remote ref" in built.step("repo").state


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "step Repo has no manifestURL"),
        ({"manifestURL": "u", "manifestFile": 5}, "manifestFile must be text"),
        ({"manifestURL": "u", "jobs": "4"}, "jobs must be a number"),
        ({"manifestURL": "u", "updateTarballAge": -1}, "updateTarballAge must be a number"),
        ({"manifestURL": "u", "repoDownloads": "a 1/2"}, "repoDownloads must be a list of texts"),
        ({"manifestURL": "u", "mode": "copy"}, "mode must be 'incremental' or 'full'"),
        (
            {"manifestURL": "u", "mode": "full", "method": "copy"},
            "method must be one of fresh, clean, clobber",
        ),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigErrors, match=message):
        steps.Repo(**arguments)
    with pytest.raises(ConfigErrors, match="names must be a list"):
        util.repo.DownloadsFromProperties([5])  # type: ignore[list-item]
    with pytest.raises(ConfigErrors, match="codebase must be text"):
        util.repo.DownloadsFromChangeSource(5)  # type: ignore[arg-type]
