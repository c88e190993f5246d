"""Files between master and worker: whole or not there."""

import json
import os
import stat
from pathlib import Path
from typing import Self

import pytest

from buildwright.model.errors import Collector, collected, collecting
from buildwright.model.results import CANCELLED, FAILURE, SUCCESS
from buildwright.steps.arriving import Arriving
from tests.steps.conftest import Start

BIG = 3_000_001


def leftovers(directory: Path) -> list[str]:
    return [path.name for path in directory.rglob("*.part")]


async def test_upload(start: Start) -> None:
    it = await start(
        f"""
builder("b",
    steps.ShellCommand(command="head -c {BIG} /dev/urandom > out; touch -d @1000000000 out"),
    steps.FileUpload(workersrc="out", masterdest=util.Interpolate("up/%(prop:buildnumber)s/out"), mode=0o640,
        keepstamp=True, url="http://example.org/out", urlText="the file"))
"""
    )
    built = await it.build()
    assert built.results == SUCCESS, built
    there = it.basedir / "up/1/out"
    assert there.read_bytes() == (it.builddir() / "build/out").read_bytes()
    assert stat.S_IMODE(there.stat().st_mode) == 0o640
    assert there.stat().st_mtime == 1000000000
    assert built.step("upload").urls == {"the file": "http://example.org/out"}
    assert built.step("upload").state == "uploading out"
    assert not leftovers(it.basedir)


@pytest.mark.parametrize(
    ("setup", "arguments", "why"),
    [
        ("true", "", b"can't upload"),
        ("echo 12345 > out", ", maxsize=5", b"longer than maxsize"),
        ("mkdir out", "", b"can't upload"),
    ],
)
async def test_upload_that_fails_leaves_what_was_there(
    start: Start, setup: str, arguments: str, why: bytes
) -> None:
    it = await start(
        f'builder("b", steps.ShellCommand(command={setup!r}),'
        f' steps.FileUpload("out", "kept"{arguments}), steps.ShellCommand(command="true", name="after"))'
    )
    (it.basedir / "kept").write_text("before")
    built = await it.build()
    assert built.outline == [("shell", SUCCESS), ("upload", FAILURE)]
    assert why in built.log("upload").err
    assert (it.basedir / "kept").read_text() == "before"
    assert not leftovers(it.basedir)


async def test_upload_to_where_nothing_can_be_written(start: Start) -> None:
    it = await start(
        'builder("b", steps.ShellCommand(command="echo 1 > out"), steps.FileUpload("out", "file/below"))\n'
        'builder("c", steps.ShellCommand(command="echo 1 > out"), steps.FileUpload("out", "directory"))'
    )
    (it.basedir / "file").write_text("")
    (it.basedir / "directory").mkdir()
    built = await it.build()
    assert built.results == FAILURE
    assert b"can't write" in built.log("upload").err, built
    built = await it.build("c")
    assert built.results == FAILURE
    assert b"can't write" in built.log("upload").err, built
    assert not leftovers(it.basedir)


class Full(Arriving):
    """A file that the disk has no room for."""

    def __enter__(self) -> Self:
        super().__enter__()
        self._close()
        self._file = os.open("/dev/full", os.O_WRONLY)
        return self


async def test_a_full_disk_on_the_master_fails_the_upload(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildwright.steps.transfer.Arriving", Full)
    it = await start(
        f'builder("b", steps.ShellCommand(command="head -c {BIG} /dev/zero > out"),'
        f' steps.FileUpload("out", "kept"))'
    )
    built = await it.build()
    assert built.results == FAILURE
    assert b"No space left on device" in built.log("upload").err, built
    assert not (it.basedir / "kept").exists()
    assert not leftovers(it.basedir)


async def test_a_stopped_upload_leaves_nothing(start: Start) -> None:
    it = await start('builder("b", steps.FileUpload("pipe", "kept", workdir="."))')
    it.builddir().mkdir(parents=True)
    os.mkfifo(it.builddir() / "pipe")
    request = await it.submit()
    await it.started(request)
    await it.stop_build(request)
    # The reader of a FIFO can't be interrupted before somebody writes.
    with (it.builddir() / "pipe").open("w") as pipe:
        pipe.write("x")
    built = await it.finished(request)
    assert built.outline == [("upload", CANCELLED)]
    kept = it.basedir / "kept"
    assert not kept.exists() or kept.read_text() == "x"  # the worker may have been faster than the stop
    assert not leftovers(it.basedir)


async def test_download(start: Start) -> None:
    it = await start(
        """
builder("b",
    steps.FileDownload("give", util.Interpolate("deep/%(prop:buildername)s"), mode=0o755),
    steps.FileDownload(mastersrc="empty", workerdest="empty"),
    steps.StringDownload(util.Interpolate("b%(prop:buildnumber)s\\n"), workerdest="text", workdir="other"),
    steps.JSONStringDownload({"n": util.Property("buildnumber")}, workerdest="json", name="js"))
"""
    )
    content = os.urandom(BIG)
    (it.basedir / "give").write_bytes(content)
    (it.basedir / "empty").write_bytes(b"")
    built = await it.build()
    assert built.results == SUCCESS, built
    assert (it.builddir() / "build/deep/b").read_bytes() == content
    assert stat.S_IMODE((it.builddir() / "build/deep/b").stat().st_mode) == 0o755
    assert (it.builddir() / "build/empty").read_bytes() == b""
    assert (it.builddir() / "other/text").read_text() == "b1\n"
    assert (it.builddir() / "build/json").read_text() == '{"n": 1}'
    assert not leftovers(it.directory)


async def test_what_a_build_knows_as_json(start: Start) -> None:
    it = await start("""
builder("b",
    steps.SetProperty("one", ["1", None]),
    steps.JSONPropertiesDownload("known.json", mode=0o600),
    steps.JSONPropertiesDownload(workerdest="again.json", workdir=".", name="again"))
""")
    built = await it.build(sources=[{"codebase": "", "branch": "main", "revision": "abc", "repository": "r"}])
    assert built.results == SUCCESS, built
    assert built.outline[1][0] == "json_properties_download"
    known = json.loads((it.builddir() / "build/known.json").read_text())
    assert known["properties"]["one"] == ["1", None]
    assert known["properties"]["buildername"] == "b"
    (stamp,) = known["sourcestamps"]
    assert (stamp["branch"], stamp["revision"], stamp["repository"], stamp["patch"]) == (
        "main",
        "abc",
        "r",
        None,
    )
    assert json.loads((it.builddir() / "again.json").read_text()) == known


@pytest.mark.parametrize(
    ("step", "messages"),
    [
        ("FileUpload(slavesrc='a', masterdest='b')", ["no argument 'slavesrc' (it is called workersrc now)"]),
        ("DirectoryUpload(slavesrc='a', masterdest='b')", ["'slavesrc' (it is called workersrc now)"]),
        ("MultipleFileUpload(slavesrcs=['a'], masterdest='b')", ["(it is called workersrcs now)"]),
        ("FileDownload('a', slavedest='b')", ["'slavedest' (it is called workerdest now)"]),
        ("StringDownload('a', slavedest='b')", ["'slavedest' (it is called workerdest now)"]),
        ("JSONStringDownload([1], slavedest='b')", ["'slavedest' (it is called workerdest now)"]),
        ("JSONPropertiesDownload(slavedest='b')", ["'slavedest' (it is called workerdest now)"]),
        ("FileUpload('a')", ["step FileUpload has no masterdest"]),
        ("DirectoryUpload()", ["DirectoryUpload has no workersrc", "DirectoryUpload has no masterdest"]),
        (
            "MultipleFileUpload(['a'], 'b', compress='zip')",
            ["can't be str 'zip' (give it None, 'gz' or 'bz2')"],
        ),
        ("FileUpload('a', 'b', mode='644')", ["mode must be a whole number, not str '644'"]),
        ("FileUpload('a', 'b', maxsiz=3)", ["no argument 'maxsiz' (did you mean 'maxsize'?)"]),
    ],
)
def test_what_is_wrong_is_told_with_its_place(step: str, messages: list[str]) -> None:
    collector = Collector()
    token = collecting(collector)
    try:
        exec(compile(f"from buildwright.plugins import steps\nsteps.{step}", "/some/master.cfg", "exec"), {})
    finally:
        collected(token)
    assert len(collector.errors) == len(messages)
    for found, message in zip(collector.errors, messages, strict=True):
        assert message in str(found)
        assert str(found).startswith("/some/master.cfg:2: step ")


async def test_download_that_fails(start: Start) -> None:
    it = await start(
        """
builder("missing", steps.FileDownload("nowhere", "x"))
builder("large", steps.FileDownload("large", "x", maxsize=3))
builder("directory", steps.FileDownload(".", "x"))
"""
    )
    (it.basedir / "large").write_text("1234")
    for builder, why in (("missing", b"No such file"), ("large", b"maxsize"), ("directory", b"directory")):
        built = await it.build(builder)
        assert built.outline == [("download", FAILURE)]
        assert why in built.log("download").err, built
        assert not (it.builddir(builder) / "build/x").exists()


async def test_p4_an_upload_begins_again_under_another_master(start: Start) -> None:
    """P4: the master goes away in the middle of an upload; it ends as it would have."""
    it = await start('builder("b", steps.FileUpload("pipe", "kept", workdir="."))')
    it.builddir().mkdir(parents=True)
    pipe = it.builddir() / "pipe"
    os.mkfifo(pipe)
    request = await it.submit()
    await it.started(request)
    writer = os.open(pipe, os.O_RDWR)
    os.write(writer, b"first half, ")
    await it.restart()
    pipe.unlink()
    pipe.write_text("all of it\n")
    os.close(writer)
    built = await it.finished(request)
    assert built.results == SUCCESS, built
    assert built.attempt == 1
    assert built.step("upload").tries == 1
    assert (it.basedir / "kept").read_text() == "all of it\n"
    assert not leftovers(it.basedir)
