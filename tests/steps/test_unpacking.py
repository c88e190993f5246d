"""Archives that want out of their directory, and trees that are put where something is."""

import errno
import io
import os
import stat
import tarfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildwright.steps.arriving import ArrivingTree
from buildwright.steps.unpacking import BadArchive, GivenUp, place, unpack
from tests.worker.support import names

Member = tuple[str, bytes, str]  # name, type, content or target


def archive(path: Path, *members: Member, compress: str = "", mode: int = 0o644) -> Path:
    with tarfile.open(path, f"w:{compress}") as made:  # type: ignore[call-overload]  # a mode like "w:gz"
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.mode = mode
            info.mtime = 1000000000
            if kind == tarfile.REGTYPE:
                info.size = len(text)
                made.addfile(info, io.BytesIO(text.encode()))
            else:
                info.linkname = text
                made.addfile(info)
    return path


def taken(directory: Path, *members: Member, maxsize: int | None = None) -> Path:
    tree = directory / "tree"
    tree.mkdir()
    made = archive(directory / "archive.tar", *members)
    unpack(made, "", tree, maxsize, threading.Event())
    return tree


FILE, DIRECTORY, LINK, NAME, PIPE = (
    tarfile.REGTYPE,
    tarfile.DIRTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.FIFOTYPE,
)


def test_what_is_taken(tmp_path: Path) -> None:
    tree = taken(
        tmp_path,
        ("./a/", DIRECTORY, ""),
        ("a/b/c.txt", FILE, "content"),
        ("a/b/again", NAME, "a/b/c.txt"),
        ("a/b/up", LINK, "../../d/e"),
        ("d/here", LINK, "e"),
        ("d/root", LINK, ".."),
        ("nothing", LINK, "nowhere/at/all"),
        ("empty", FILE, ""),
    )
    assert (tree / "a/b/c.txt").read_text() == "content"
    assert (tree / "a/b/c.txt").stat().st_mtime == 1000000000
    assert (tree / "a/b/again").samefile(tree / "a/b/c.txt")
    assert (tree / "a/b/up").readlink() == Path("../../d/e")
    assert (tree / "d/root").resolve() == tree
    assert (tree / "empty").read_bytes() == b""


@pytest.mark.parametrize(
    "members",
    [
        [("/etc/passwd", FILE, "x")],
        [("../out", FILE, "x")],
        [("a/../../out", FILE, "x")],
        [("a/..", DIRECTORY, "")],
        [("", FILE, "x")],
        [(".", LINK, "x")],
        [("link", LINK, "/etc")],
        [("link", LINK, "..")],
        [("a/link", LINK, "../../out")],
        [("a/link", LINK, "b/../../../out")],
        [("a/link", LINK, "b/..")],
        [("link", NAME, "../out")],
        [("link", NAME, "/etc/passwd")],
        [("d", DIRECTORY, ""), ("link", NAME, "d")],
        [("pipe", PIPE, "")],
        [("device", tarfile.CHRTYPE, "")],
        [("device", tarfile.BLKTYPE, "")],
        [("link", NAME, "missing")],
        [("a", FILE, "x"), ("a", FILE, "y")],
        [("a", FILE, "x"), ("a/b", FILE, "y")],
        [("a", LINK, "b"), ("a/c", FILE, "y")],
        [("a/b", LINK, ".."), ("a/b/c", LINK, "../../out")],
        [("a", FILE, "x"), ("a", LINK, "b")],
    ],
)
def test_what_is_refused(tmp_path: Path, members: list[Member]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").write_text("ours")
    with pytest.raises((BadArchive, OSError)):
        taken(tmp_path / "in", *members)
    assert (tmp_path / "out").read_text() == "ours"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["archive.tar", "tree"]


PARTS = st.sampled_from(["a", "b", "..", ".", ""])
PATHS = st.lists(PARTS, max_size=4).map("/".join)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(PATHS, st.sampled_from([FILE, DIRECTORY, LINK, NAME]), PATHS), max_size=6))
def test_nothing_gets_out(tmp_path_factory: pytest.TempPathFactory, members: list[Member]) -> None:
    """Whatever is taken of an archive lies in its tree, and no path through it leads out."""
    around = tmp_path_factory.mktemp("around")
    inside = around / "in"
    inside.mkdir()
    try:
        tree = taken(inside, *members)
    except (BadArchive, OSError):
        tree = inside / "tree"
    assert [path.name for path in around.iterdir()] == ["in"]
    assert {path.name for path in inside.iterdir()} <= {"archive.tar", "tree"}
    for path in tree.rglob("*"):
        if not path.is_symlink() or _resolves(path):
            assert path.resolve().is_relative_to(tree)


def _resolves(path: Path) -> bool:
    try:
        path.resolve(strict=True)
    except (OSError, RuntimeError):
        return False
    return True


def test_permissions_that_are_not_taken(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    made = archive(tmp_path / "a", ("f", FILE, "x"), ("d", DIRECTORY, ""), mode=0o6777)
    unpack(made, "", tree, None, threading.Event())
    assert stat.S_IMODE((tree / "f").stat().st_mode) == 0o755
    assert stat.S_IMODE((tree / "d").stat().st_mode) == 0o755
    made = archive(tmp_path / "b", ("g", FILE, "x"), ("e/h", FILE, ""), mode=0)
    unpack(made, "", tree, None, threading.Event())
    assert stat.S_IMODE((tree / "g").stat().st_mode) == 0o600


def test_maxsize_is_for_all_files_and_for_what_is_unpacked(tmp_path: Path) -> None:
    made = archive(tmp_path / "bomb", ("a", FILE, "x" * 600_000), ("b", FILE, "x" * 600_000), compress="gz")
    assert made.stat().st_size < 10_000
    for number, limit in enumerate((1_200_000, 1_199_999)):
        tree = tmp_path / f"tree{number}"
        tree.mkdir()
        if limit == 1_200_000:
            unpack(made, "gz", tree, limit, threading.Event())
        else:
            with pytest.raises(BadArchive, match="longer than maxsize"):
                unpack(made, "gz", tree, limit, threading.Event())


def test_holes_stay_holes(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    with tarfile.open(tmp_path / "archive", "w:gz") as made:
        info = tarfile.TarInfo("sparse")
        info.size = 50_000_001
        made.addfile(info, io.BytesIO(bytes(50_000_000) + b"x"))
    unpack(tmp_path / "archive", "gz", tree, None, threading.Event())
    status = (tree / "sparse").stat()
    assert status.st_size == 50_000_001
    assert status.st_blocks * 512 < 1_000_000


@pytest.mark.parametrize("compress", ["", "gz", "bz2"])
def test_what_is_no_archive(tmp_path: Path, compress: str) -> None:
    (tmp_path / "archive").write_bytes(b"no archive at all" * 1000)
    (tmp_path / "tree").mkdir()
    with pytest.raises(BadArchive, match="damaged"):
        unpack(tmp_path / "archive", compress, tmp_path / "tree", None, threading.Event())


@pytest.mark.parametrize("compress", ["", "gz", "bz2"])
def test_half_an_archive(tmp_path: Path, compress: str) -> None:
    made = archive(tmp_path / "whole", ("f", FILE, os.urandom(50_000).hex()), compress=compress)
    (tmp_path / "half").write_bytes(made.read_bytes()[: made.stat().st_size // 2])
    (tmp_path / "tree").mkdir()
    with pytest.raises(BadArchive):
        unpack(tmp_path / "half", compress, tmp_path / "tree", None, threading.Event())


def test_it_can_be_given_up(tmp_path: Path) -> None:
    made = archive(tmp_path / "a", ("f", FILE, "x"))
    (tmp_path / "tree").mkdir()
    given_up = threading.Event()
    given_up.set()
    with pytest.raises(GivenUp):
        unpack(made, "", tmp_path / "tree", None, given_up)


# Where it is put


def filled(directory: Path, **files: str) -> Path:
    for name, text in files.items():
        path = directory / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


def test_merging(tmp_path: Path) -> None:
    there = filled(tmp_path / "there", a__old="1", a__both="1", b="1", empty__x="")
    (there / "empty/x").unlink()
    tree = filled(tmp_path / "tree", a__both="2", a__new="2", c__d__e="2", empty__y="2", b="2")
    place(tree, there)
    found = {str(path.relative_to(there)): path.read_text() for path in there.rglob("*") if path.is_file()}
    assert found == {"a/old": "1", "a/both": "2", "a/new": "2", "b": "2", "c/d/e": "2", "empty/y": "2"}


def test_a_symlink_in_the_place_of_a_file(tmp_path: Path) -> None:
    """What a symlink points to is left alone."""
    (tmp_path / "ours").write_text("ours")
    there = filled(tmp_path / "there", x="")
    (there / "f").symlink_to(tmp_path / "ours")
    place(filled(tmp_path / "tree", f="theirs"), there)
    assert (tmp_path / "ours").read_text() == "ours"
    assert not (there / "f").is_symlink()


def test_what_stands_in_the_way_is_found_before_anything_is_moved(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for number, (old, new) in enumerate((("z", "z__f"), ("z__f", "z"))):
        there = filled(tmp_path / f"there{number}", **{old: "old"})
        with pytest.raises(BadArchive, match="directory"):
            place(filled(tmp_path / f"tree{number}", **{"a": "new", new: "new"}), there)
        assert not (there / "a").exists()
    there = filled(tmp_path / "linked", x="")
    (there / "d").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadArchive, match="no directory here"):
        place(filled(tmp_path / "tree", d__f="new"), there)
    assert list((tmp_path / "elsewhere").iterdir()) == []


async def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full when the directory is unpacked."""
    made = archive(tmp_path / "archive", ("d/f", FILE, "x" * 1000))

    def full(*_: object) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    with ArrivingTree(tmp_path / "there", 1, 0, "", None) as tree:
        tree.write(made.read_bytes())
        monkeypatch.setattr(os, "utime", full)
        problem = await tree.unpack()
    assert problem is not None
    assert "Disk quota exceeded" in problem
    assert names(tmp_path) == ["archive"]
