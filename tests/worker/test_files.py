"""Commands about files, and transfers."""

import errno
import io
import os
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.worker.support import FakeMaster, eventually, names

pytestmark = pytest.mark.usefixtures("agent")


async def test_mkdir(fake_master: FakeMaster, basedir: Path) -> None:
    done = await fake_master.run("c", "mkdir", paths=["a/b", str(basedir / "c")])
    assert done.rc == 0
    assert (basedir / "a/b").is_dir()
    assert (basedir / "c").is_dir()
    assert (await fake_master.run("d", "mkdir", paths="a/b")).rc == 0
    (basedir / "file").touch()
    done = await fake_master.run("e", "mkdir", paths=["file/x"])
    assert done.rc == errno.ENOTDIR
    assert done.stderr == f"{basedir}/file/x: Not a directory\n".encode()


async def test_rmdir_removes_also_what_has_no_permissions(fake_master: FakeMaster, basedir: Path) -> None:
    for name in ("a b/c", "-d"):
        (basedir / name).mkdir(parents=True)
    (basedir / "a b/c/f").touch()
    (basedir / "a b/c").chmod(0)
    done = await fake_master.run("c", "rmdir", paths=["a b", "-d", "missing"])
    assert (done.rc, done.stderr, done.headers) == (0, b"", "")
    assert not (basedir / "a b").exists()
    assert not (basedir / "-d").exists()


@pytest.mark.parametrize("path", [".", "/", "x/..", ""])
async def test_rmdir_spares_the_worker_itself(fake_master: FakeMaster, basedir: Path, path: str) -> None:
    (basedir / "x").mkdir()
    done = await fake_master.run("c", "rmdir", paths=[path])
    assert done.failure == "spawn"
    assert (basedir / ".buildwright").is_dir()


async def test_cpdir(fake_master: FakeMaster, basedir: Path) -> None:
    (basedir / "a/sub").mkdir(parents=True)
    (basedir / "a/sub/f").write_text("x")
    (basedir / "a/link").symlink_to("sub/f")
    (basedir / "a/sub/f").chmod(0o751)
    for number in range(2):  # the second time into what is there
        assert (await fake_master.run(f"c{number}", "cpdir", from_path="a", to_path="deep/b")).rc == 0
    assert stat.S_IMODE((basedir / "deep/b/sub/f").stat().st_mode) == 0o751
    assert (basedir / "deep/b/link").is_symlink()
    assert names(basedir / "deep/b") == ["link", "sub"]
    done = await fake_master.run("d", "cpdir", from_path="missing", to_path="x")
    assert done.rc == 1
    assert b"missing" in done.stderr


async def test_stat(fake_master: FakeMaster, basedir: Path) -> None:
    (basedir / "f").write_text("four")
    done = await fake_master.run("c", "stat", path="f")
    assert done.update("stat") == [int(number) for number in tuple((basedir / "f").stat())[:10]]
    done = await fake_master.run("d", "stat", path="missing")
    assert (done.rc, done.failure) == (errno.ENOENT, None)
    assert done.stderr == f"{basedir}/missing: No such file or directory\n".encode()


async def test_listdir_and_glob(fake_master: FakeMaster, basedir: Path) -> None:
    (basedir / "d/e").mkdir(parents=True)
    (basedir / "d/b.txt").touch()
    (basedir / "d/e/a.txt").touch()
    (basedir / "d" / os.fsdecode(b"\xe9.txt")).touch()
    done = await fake_master.run("c1", "listdir", path="d")
    assert [os.fsencode(name) for name in done.update("files")] == [b"b.txt", b"e", b"\xe9.txt"]
    done = await fake_master.run("c2", "glob", path="d/*.txt")
    assert done.update("files") == [f"{basedir}/d/b.txt", f"{basedir}/d/\udce9.txt"]
    done = await fake_master.run("c3", "glob", path="**/a.txt")
    assert done.update("files") == [f"{basedir}/d/e/a.txt"]
    done = await fake_master.run("c4", "glob", path="nothing*")
    assert done.update("files") == []
    done = await fake_master.run("c5", "listdir", path="missing")
    assert done.rc == errno.ENOENT


async def test_a_long_list_comes_in_parts(fake_master: FakeMaster, basedir: Path) -> None:
    (basedir / "many").mkdir()
    names = [f"{number:05d}-{'x' * 60}" for number in range(3000)]
    for name in names:
        (basedir / "many" / name).touch()
    done = await fake_master.run("c", "listdir", path="many")
    assert len(done.records) > 2
    assert done.update("files") == names


async def test_rmfile(fake_master: FakeMaster, basedir: Path) -> None:
    (basedir / "f").touch()
    assert (await fake_master.run("c", "rmfile", path="f")).rc == 0
    assert not (basedir / "f").exists()
    assert (await fake_master.run("d", "rmfile", path="f")).rc == errno.ENOENT


async def test_home_is_expanded(
    fake_master: FakeMaster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home/f").touch()
    assert (await fake_master.run("c", "stat", path="~/f")).rc == 0


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        ("mkdir", {}),
        ("mkdir", {"paths": []}),
        ("mkdir", {"paths": [1]}),
        ("stat", {"path": None}),
        ("glob", {"path": ""}),
        ("upload", {"path": "x", "maxsize": -1}),
        ("upload", {"path": "x", "compress": "zip"}),
        ("cpdir", {"from_path": "x"}),
    ],
)
async def test_arguments_that_make_no_sense(fake_master: FakeMaster, kind: str, args: dict[str, Any]) -> None:
    done = await fake_master.run("c", kind, **args)
    assert done.failure == "spawn"
    assert done.result.error is not None
    assert done.result.error.startswith(f"{kind}: ")


# Uploads


async def test_upload(fake_master: FakeMaster, basedir: Path) -> None:
    content = os.urandom(1_000_000)
    (basedir / "f").write_bytes(content)
    os.utime(basedir / "f", (1000, 2000))
    done = await fake_master.run("c", "upload", path="f", blocksize=16384, keepstamp=True)
    assert done.rc == 0
    assert done.stream("b") == content
    assert done.update("utime") == [1000.0, 2000.0]
    done = await fake_master.run("d", "upload", path="f", maxsize=len(content))
    assert (done.rc, done.stream("b")) == (0, content)


async def test_an_empty_file(fake_master: FakeMaster, basedir: Path) -> None:
    (basedir / "f").touch()
    done = await fake_master.run("c", "upload", path="f")
    assert (done.rc, done.stream("b")) == (0, b"")


async def test_upload_of_too_much(fake_master: FakeMaster, basedir: Path) -> None:
    (basedir / "f").write_bytes(b"x" * 100_000)
    done = await fake_master.run("c", "upload", path="f", maxsize=70_000)
    assert (done.rc, done.stream("b")) == (1, b"x" * 70_000)
    assert done.stderr == b"the file is longer than maxsize: only its beginning was uploaded\n"


async def test_upload_of_nothing(fake_master: FakeMaster, basedir: Path) -> None:
    done = await fake_master.run("c", "upload", path="missing")
    assert (done.rc, done.failure) == (1, None)
    assert done.stderr == f"can't upload {basedir}/missing: No such file or directory\n".encode()
    assert (await fake_master.run("d", "upload", path=".")).rc == 1


@pytest.mark.parametrize("compress", [None, "gz", "bz2"])
async def test_upload_of_a_directory(fake_master: FakeMaster, basedir: Path, compress: str | None) -> None:
    (basedir / "d/e").mkdir(parents=True)
    content = os.urandom(500_000)
    (basedir / "d/e/f").write_bytes(content)
    done = await fake_master.run("c", "upload", path="d", directory=True, compress=compress)
    assert done.rc == 0
    with tarfile.open(fileobj=io.BytesIO(done.stream("b"))) as archive:
        assert archive.getnames() == ["e", "e/f"]
        file = archive.extractfile("e/f")
        assert file is not None
        assert file.read() == content


async def test_what_is_sent_of_a_directory(fake_master: FakeMaster, basedir: Path) -> None:
    """Links that stay inside, a file's further names; what is of no use elsewhere is told and left out."""
    directory = basedir / "d"
    (directory / "e/deep").mkdir(parents=True)
    (directory / "f").write_text("f")
    (directory / "again").hardlink_to(directory / "f")
    (directory / "e/up").symlink_to("../f")
    (directory / "e/absolute").symlink_to(directory / "f")
    (directory / "e/round").symlink_to("deep/../../f")
    (directory / "e/dangling").symlink_to("nowhere")
    (directory / "e/out").symlink_to("../../x")
    (directory / "e/passwd").symlink_to("/etc/passwd")
    os.mkfifo(directory / "pipe")
    os.mknod(directory / "socket", stat.S_IFSOCK | 0o600)
    done = await fake_master.run("c", "upload", path="d", directory=True)
    assert done.rc == 0
    with tarfile.open(fileobj=io.BytesIO(done.stream("b"))) as archive:
        found = {info.name: info for info in archive.getmembers()}
    assert {name: found[name].linkname for name in found if found[name].issym()} == {
        "e/up": "../f",
        "e/absolute": "../f",
        "e/round": "../f",
        "e/dangling": "nowhere",
    }
    assert found["f"].islnk()
    assert found["f"].linkname == "again"
    assert sorted(done.stderr.decode().splitlines()) == [
        "left out e/out: it leads out of the directory",
        "left out e/passwd: it leads out of the directory",
        "left out pipe: it is a pipe or a device",
        "left out socket: it is a socket",
    ]
    assert done.update("left_out") == 4


async def test_a_directory_that_is_too_large(fake_master: FakeMaster, basedir: Path) -> None:
    """The bytes of its files count, not those of the archive."""
    (basedir / "d").mkdir()
    for name in "ab":
        (basedir / "d" / name).write_bytes(bytes(50_000))
    done = await fake_master.run("c", "upload", path="d", directory=True, maxsize=100_000)
    assert done.rc == 0
    done = await fake_master.run("d", "upload", path="d", directory=True, compress="gz", maxsize=99_999)
    assert done.rc == 1
    assert done.stderr == b"the files are longer than maxsize, 99999 bytes\n"


async def test_a_directory_that_can_not_be_sent(fake_master: FakeMaster, basedir: Path) -> None:
    (basedir / "f").touch()
    for path, why in (("f", b"Not a directory"), ("missing", b"No such file or directory")):
        done = await fake_master.run(path, "upload", path=path, directory=True)
        assert (done.rc, done.failure) == (1, None)
        assert done.stderr == f"can't upload {basedir}/{path}: ".encode() + why + b"\n"


async def test_a_file_that_is_shorter_than_it_says(fake_master: FakeMaster, basedir: Path) -> None:
    """As all files of sysfs are; a file that gets shorter while it is read looks the same."""
    done = await fake_master.run("c", "upload", path="/sys/devices/system/cpu", directory=True)
    assert done.rc == 1
    assert b"changed while it was read" in done.stderr


async def test_an_upload_waits_for_its_master_and_not_in_the_spool(
    fake_master: FakeMaster, basedir: Path
) -> None:
    content = os.urandom(8_000_000)
    (basedir / "f").write_bytes(content)
    fake_master.acknowledges = False
    await fake_master.begin("c", "upload", path="f")
    await fake_master.until(lambda: len(fake_master.output("c", "b")) > 1_000_000)
    fake_master.acknowledges = True
    fake_master.acknowledge_all()
    done = await fake_master.outcome("c")
    assert done.stream("b") == content


async def test_an_upload_can_be_interrupted(fake_master: FakeMaster, basedir: Path) -> None:
    (basedir / "f").write_bytes(bytes(20_000_000))
    fake_master.acknowledges = False
    await fake_master.begin("c", "upload", path="f")
    await fake_master.until(lambda: fake_master.output("c", "b"))
    fake_master.interrupt("c")
    fake_master.acknowledges = True
    fake_master.acknowledge_all()
    done = await fake_master.outcome("c")
    assert (done.rc, done.failure) == (1, "interrupted")


async def test_a_file_is_not_masked(fake_master: FakeMaster, basedir: Path) -> None:
    (basedir / "f").write_bytes(b"hunter2")
    done = await fake_master.run("c", "upload", path="f", secrets=[("PW", "hunter2")])
    assert done.stream("b") == b"hunter2"


# Downloads


async def test_download(fake_master: FakeMaster, basedir: Path) -> None:
    content = fake_master.files["c"] = os.urandom(1_000_000)
    done = await fake_master.run("c", "download", path="deep/f", blocksize=16384, mode=0o751)
    assert done.rc == 0
    assert (basedir / "deep/f").read_bytes() == content
    assert stat.S_IMODE((basedir / "deep/f").stat().st_mode) == 0o751
    assert names(basedir / "deep") == ["f"]


async def test_download_of_nothing(fake_master: FakeMaster, basedir: Path) -> None:
    fake_master.files["c"] = b""
    assert (await fake_master.run("c", "download", path="f")).rc == 0
    assert (basedir / "f").read_bytes() == b""


async def test_a_download_that_fails_leaves_what_was_there(fake_master: FakeMaster, basedir: Path) -> None:
    (basedir / "f").write_text("old")
    fake_master.files["c"] = bytes(1_000_000)
    done = await fake_master.run("c", "download", path="f", maxsize=999_999)
    assert done.rc == 1
    assert done.stderr == b"the file is longer than maxsize, 999999 bytes\n"
    assert (basedir / "f").read_text() == "old"
    assert ".part" not in "".join(names(basedir))
    fake_master.files["d"] = b"x"
    (basedir / "dir/sub").mkdir(parents=True)
    done = await fake_master.run("d", "download", path="dir")
    assert (done.rc, done.stderr) == (1, f"can't write {basedir}/dir: Is a directory\n".encode())


async def test_p4_a_download_goes_on_over_a_cut(fake_master: FakeMaster, basedir: Path) -> None:
    content = fake_master.files["c"] = os.urandom(3_000_000)
    await fake_master.begin("c", "download", path="f")
    for count in (2, 4, 6):
        await fake_master.until_pulls(count)
        fake_master.cut()
    done = await fake_master.outcome("c")
    assert done.rc == 0
    assert (basedir / "f").read_bytes() == content


async def test_a_download_can_be_interrupted(fake_master: FakeMaster, basedir: Path) -> None:
    await fake_master.begin("c", "download", path="f")
    await fake_master.until(lambda: fake_master.pulls)
    fake_master.interrupt("c")
    done = await fake_master.outcome("c")
    assert (done.rc, done.failure) == (1, "interrupted")
    await eventually(lambda: ".part" not in "".join(names(basedir)))
