"""Directories, and several files at once, from the worker to the master."""

import asyncio
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from buildwright.model.results import CANCELLED, FAILURE, SKIPPED, SUCCESS, WARNINGS
from buildwright.steps.arriving import ArrivingTree
from tests.steps.conftest import Start
from tests.support.rig import Rig

TREE = "mkdir -p tree/sub/deep; echo 1 > tree/one; echo 2 > tree/sub/two; ln -s sub/two tree/link;"


def contents(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()
    }


def leftovers(it: Rig) -> list[str]:
    return [path.name for path in it.directory.rglob("*.part")]


@pytest.mark.parametrize("compress", [None, "gz", "bz2"])
async def test_a_directory(start: Start, compress: str | None) -> None:
    it = await start(
        f"""
builder("b",
    steps.ShellCommand(command="{TREE} chmod 750 tree/one; head -c 3000000 /dev/urandom > tree/sub/deep/big;"
        "touch -d @1000000000 tree/one; mkdir tree/empty"),
    steps.DirectoryUpload(workersrc="tree", masterdest=util.Interpolate("up/%(prop:buildnumber)s"),
        compress={compress!r}, url="http://example.org/tree", urlText="the tree"))
"""
    )
    built = await it.build()
    assert built.results == SUCCESS, built
    there, source = it.basedir / "up/1", it.builddir() / "build/tree"
    assert (there / "sub/deep/big").read_bytes() == (source / "sub/deep/big").read_bytes()
    assert (there / "link").readlink() == Path("sub/two")
    assert (there / "empty").is_dir()
    assert stat.S_IMODE((there / "one").stat().st_mode) == 0o750
    assert (there / "one").stat().st_mtime == 1000000000
    assert built.step("upload").urls == {"the tree": "http://example.org/tree"}
    assert built.step("upload").state == "uploading tree"
    assert not leftovers(it)


async def test_into_a_directory_that_is_there(start: Start) -> None:
    it = await start(
        f"""
builder("b", steps.ShellCommand(command="{TREE}"), steps.DirectoryUpload("tree", "up"))
builder("in-the-way", steps.ShellCommand(command="mkdir -p tree/d; touch tree/a tree/d/f"),
    steps.DirectoryUpload("tree", "up"))
builder("on-a-file", steps.ShellCommand(command="mkdir tree"), steps.DirectoryUpload("tree", "up/d"))
builder("on-all", steps.ShellCommand(command="mkdir tree"), steps.DirectoryUpload("tree", "."))
builder("linked", steps.ShellCommand(command="mkdir tree; touch tree/f"),
    steps.DirectoryUpload("tree", "linked"))
"""
    )
    (it.basedir / "up/sub").mkdir(parents=True)
    (it.basedir / "up/d").write_text("ours")
    (it.basedir / "up/one").write_text("old")
    (it.basedir / "up/sub/ours").write_text("ours")
    (it.basedir / "linked").symlink_to(it.directory)
    expected = {"d": "ours", "one": "1\n", "sub/two": "2\n", "sub/ours": "ours", "link": "2\n"}
    assert (await it.build()).results == SUCCESS
    assert contents(it.basedir / "up") == expected
    for builder, why in (
        ("in-the-way", b"is no directory here"),
        ("on-a-file", b"no directory"),
        ("on-all", b"holds the master's own files"),
    ):
        built = await it.build(builder)
        assert built.outline[1:] == [("upload", FAILURE)], built
        assert why in built.log("upload").err, built
        assert contents(it.basedir / "up") == expected
    built = await it.build("linked")
    assert built.results == FAILURE
    assert b"holds the master's own files" in built.log("upload").err
    assert not leftovers(it)


async def test_what_is_left_out_is_a_warning(start: Start) -> None:
    it = await start(
        """
builder("b", steps.ShellCommand(command="mkdir tree; touch tree/f; ln -s /etc/passwd tree/p; mkfifo tree/q"),
    steps.DirectoryUpload("tree", "up"))
"""
    )
    built = await it.build()
    assert built.outline == [("shell", SUCCESS), ("upload", WARNINGS)], built
    assert built.results == SUCCESS
    assert b"left out p: it leads out of the directory\n" in built.log("upload").err
    assert [path.name for path in (it.basedir / "up").iterdir()] == ["f"]


@pytest.mark.parametrize(
    ("setup", "arguments", "why"),
    [
        ("mkdir tree; echo 12345 > tree/f", ", maxsize=5, compress='gz'", b"longer than maxsize, 5 bytes"),
        ("touch tree", "", b"Not a directory"),
        ("true", "", b"No such file"),
        ("mkdir -p tree/d; chmod 0 tree/d", ", workdir='nowhere'", b"No such file"),
    ],
)
async def test_what_fails_leaves_nothing(start: Start, setup: str, arguments: str, why: bytes) -> None:
    it = await start(
        f'builder("b", steps.ShellCommand(command={setup!r}), steps.DirectoryUpload("tree", "up"{arguments}))'
    )
    built = await it.build()
    assert built.outline == [("shell", SUCCESS), ("upload", FAILURE)]
    assert why in built.log("upload").err, built
    assert not (it.basedir / "up").exists()
    assert not leftovers(it)


class Hostile(ArrivingTree):
    """A directory whose worker sends what it likes."""

    def write(self, data: bytes) -> None:
        if os.fstat(self._file or 0).st_size == 0:
            made = io.BytesIO()
            with tarfile.open(fileobj=made, mode="w") as archive:
                archive.addfile(tarfile.TarInfo("first"))
                archive.addfile(tarfile.TarInfo("../master.cfg"))
            super().write(made.getvalue())


async def test_an_archive_that_wants_out(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("buildwright.steps.uploads.ArrivingTree", Hostile)
    it = await start(
        f'builder("b", steps.ShellCommand(command="{TREE}"), steps.DirectoryUpload("tree", "up"))'
    )
    before = (it.basedir / "master.cfg").read_text()
    built = await it.build()
    assert built.results == FAILURE
    assert b"the name ../master.cfg leads out of the tree" in built.log("upload").err, built
    assert (it.basedir / "master.cfg").read_text() == before
    assert not (it.basedir / "up").exists()
    assert not leftovers(it)


async def test_p4_in_the_middle_of_a_directory(start: Start) -> None:
    """P4: the master goes away in the middle; the directory is whole or not there."""
    it = await start('builder("b", steps.DirectoryUpload("tree", "up", workdir="."))')
    tree = it.builddir() / "tree"
    tree.mkdir(parents=True)
    for number in range(40):
        (tree / f"f{number}").write_bytes(os.urandom(1000) * 1000)
    request = await it.submit()
    for _ in range(3):
        await it.until("steps", lambda: arrives(it))
        assert not (it.basedir / "up").exists()
        await it.restart()
    built = await it.finished(request)
    assert built.results == SUCCESS, built
    assert built.attempt == 1
    assert built.step("upload").tries >= 1
    for path in tree.iterdir():
        assert (it.basedir / "up" / path.name).read_bytes() == path.read_bytes()
    assert not leftovers(it)


async def arrives(it: Rig) -> bool:
    """Whether some of a directory's archive is there, or all of the directory."""
    parts = [path.stat().st_size for path in it.basedir.glob(".up.*.part") if path.is_file()]
    return any(parts) or (it.basedir / "up").exists()


async def test_a_stop_while_it_is_unpacked(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    it = await start(
        f'builder("b", steps.ShellCommand(command="{TREE}"), steps.DirectoryUpload("tree", "up"))'
    )
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    unpack = ArrivingTree._unpack

    def slow(self: ArrivingTree, given_up: object) -> str | None:
        loop.call_soon_threadsafe(begun.set)
        assert given_up.wait(30)  # type: ignore[attr-defined]  # the event that a stop sets
        return unpack(self, given_up)  # type: ignore[arg-type]

    monkeypatch.setattr(ArrivingTree, "_unpack", slow)
    request = await it.submit()
    await begun.wait()
    await it.stop_build(request)
    built = await it.finished(request)
    assert built.outline == [("shell", SUCCESS), ("upload", CANCELLED)]
    assert not (it.basedir / "up").exists()
    assert not leftovers(it)


# Several at once


async def test_a_list(start: Start) -> None:
    it = await start(
        f"""
builder("b",
    steps.ShellCommand(command="{TREE} mkdir out; echo x > out/f; touch -d @1000000000 out/f"),
    steps.MultipleFileUpload(workersrcs=["out/f", util.Interpolate("%(kw:name)s", name="tree")],
        masterdest=util.Interpolate("up/%(prop:buildnumber)s"), mode=0o640, keepstamp=True, compress="gz",
        url="http://example.org/all"))
"""
    )
    built = await it.build()
    assert built.results == SUCCESS, built
    there = it.basedir / "up/1"
    assert contents(there) == {"f": "x\n", "tree/one": "1\n", "tree/sub/two": "2\n", "tree/link": "2\n"}
    assert stat.S_IMODE((there / "f").stat().st_mode) == 0o640
    assert (there / "f").stat().st_mtime == 1000000000
    assert built.step("upload").urls == {"1": "http://example.org/all"}
    assert built.step("upload").state == "uploading 2 files"
    assert not leftovers(it)


async def test_patterns(start: Start) -> None:
    it = await start(
        """
M = steps.MultipleFileUpload
builder("b",
    steps.ShellCommand(command="mkdir -p d/e; touch d/a.txt d/b.txt d/c.md d/e/x.txt"),
    M("d/*.txt", "one", glob=True),
    M(["d/*.txt", "d/a*", "d/**/x.*"], "two", glob=True, name="two"),
    M("d/*.nothing", "three", glob=True, name="three"),
    M([], "three", name="four"),
    M("d/a.txt", "five", name="five"))
"""
    )
    built = await it.build()
    assert [result for _, result in built.outline] == [
        SUCCESS,
        SUCCESS,
        SUCCESS,
        SKIPPED,
        SKIPPED,
        SUCCESS,
    ], built
    assert sorted(contents(it.basedir / "one")) == ["a.txt", "b.txt"]
    assert sorted(contents(it.basedir / "two")) == ["a.txt", "b.txt", "x.txt"]
    assert sorted(contents(it.basedir / "five")) == ["a.txt"]
    assert not (it.basedir / "three").exists()
    assert built.step("five").state == "uploading d/a.txt"


async def test_what_can_not_be_copied(start: Start) -> None:
    it = await start(
        """
M = steps.MultipleFileUpload
def b(name, setup, *args, **kwargs):
    builder(name, steps.ShellCommand(command=setup), M(*args, **kwargs))
b("missing", "touch a c", ["a", "b", "c"], "up")
b("pipe", "mkfifo a", ["a"], "up")
b("same", "mkdir d; touch a d/a", ["a", "d/a"], "up")
b("nameless", "true", ["/"], "up")
b("large", "echo 1 > a; echo 12 > b", ["a", "b"], "up", maxsize=2)
"""
    )
    for builder, why in (
        ("missing", b"b: No such file"),
        ("pipe", b"neither a file nor a directory"),
        ("same", b"have the same name"),
        ("nameless", b"/ has no name of its own"),
        ("large", b"longer than maxsize"),
    ):
        built = await it.build(builder)
        assert built.outline == [("shell", SUCCESS), ("upload", FAILURE)], built
        assert why in built.log("upload").err, built
    assert sorted(contents(it.basedir / "up")) == ["a"], "what was there before the first that failed"
    assert not leftovers(it)


async def test_a_subclass_that_hears_of_each(start: Start) -> None:
    it = await start(
        """
class Links(steps.MultipleFileUpload):
    async def uploadDone(self, result, source, masterdest):
        self.addURL(source, f"http://example.org/{masterdest}/{source}?{result}")
    def allUploadsDone(self, result, sources, masterdest):
        self.setProperty("all", [result, sources, masterdest])
builder("b", steps.ShellCommand(command="touch a b"), Links(workersrcs=["a", "b"], masterdest="up"))
"""
    )
    built = await it.build()
    assert built.properties["all"] == [SUCCESS, ["a", "b"], "up"]
    assert built.step("upload").urls == {
        "a": "http://example.org/up/a?0",
        "b": "http://example.org/up/b?0",
    }
