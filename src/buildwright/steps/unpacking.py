"""Archives that come from workers: unpacked so that nothing of them gets out of its directory.

An archive is unpacked into a fresh directory that nobody else writes to, and put where it belongs when all of
it is there. What it may hold: files, directories, symlinks, and further names of its own files. Refused as a
whole is one with absolute names, with ``..``, with devices or pipes, with a symlink that may lead out of the
tree, or with more bytes than allowed, however well they were compressed.

Symlinks are made last. So while files are written every directory on the way is a real one; and a symlink's
target may have ``..`` only at its beginning, where it goes up real directories, not more than there are.

Owners aren't taken over, nor are set-user-id bits or the permission to write for others. Holes in files
become holes.
"""

from __future__ import annotations

import os
import stat
import tarfile
import threading
from pathlib import Path
from typing import Any

_PIECE = 1 << 17
_HOLE = bytes(_PIECE)


class BadArchive(Exception):
    """An archive that isn't taken, and why."""


class GivenUp(Exception):
    """Whoever wanted it doesn't want it any more."""


def unpack(archive: Path, compress: str, into: Path, maxsize: int | None, given_up: threading.Event) -> None:
    """Unpack an archive into an empty directory; ``compress`` is "", "gz" or "bz2". Blocks.

    Raises BadArchive, OSError, and GivenUp once the event is set.
    """
    mode: Any = f"r|{compress}"
    try:
        with tarfile.open(archive, mode, encoding="utf-8", errors="surrogateescape") as opened:
            _Unpacking(opened, into, maxsize, given_up).run()
    except OSError as problem:
        if problem.errno is None:
            raise BadArchive(f"it is damaged: {problem}") from problem
        raise
    except (BadArchive, GivenUp):
        raise
    except Exception as problem:
        raise BadArchive(f"it is damaged: {type(problem).__name__}: {problem}") from problem


class _Unpacking:
    """One archive on its way into a directory."""

    def __init__(
        self, archive: tarfile.TarFile, into: Path, maxsize: int | None, given_up: threading.Event
    ) -> None:
        self._archive = archive
        self._into = into
        self._maxsize = maxsize
        self._given_up = given_up
        self._size = 0
        self._made: set[Path] = set()  # directories that are there
        self._links: list[tuple[Path, str]] = []  # symlinks that are yet to be made

    def run(self) -> None:
        while (info := self._archive.next()) is not None:
            self._archive.members = []  # type: ignore[attr-defined]  # else it keeps them all
            if self._given_up.is_set():
                raise GivenUp
            self._take(info)
        for path, target in self._links:
            path.symlink_to(target)

    def _take(self, info: tarfile.TarInfo) -> None:
        parts = _parts(info.name)
        path = self._into.joinpath(*parts)
        if info.isdir():
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(info.mode & 0o755 | 0o700)
            return
        if not parts:
            raise BadArchive("it has a file without a name")
        if path.parent not in self._made:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(path.parent)
        if info.isreg():
            self._write(info, path)
        elif info.issym():
            if not _stays_inside(info.linkname, len(parts) - 1):
                raise BadArchive(f"its symlink {info.name} leads out of the tree, to {info.linkname}")
            self._links.append((path, info.linkname))
        elif info.islnk():
            first = self._into.joinpath(*_parts(info.linkname))
            if not stat.S_ISREG(first.lstat().st_mode):
                raise BadArchive(f"{info.name} is another name of {info.linkname}, which is no file")
            os.link(first, path)
        else:
            raise BadArchive(f"{info.name} is neither a file nor a directory nor a symlink")

    def _write(self, info: tarfile.TarInfo, path: Path) -> None:
        self._size += info.size
        if self._maxsize is not None and self._size > self._maxsize:
            raise BadArchive(f"its files are longer than maxsize, {self._maxsize} bytes")
        content = self._archive.extractfile(info)
        assert content is not None
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with content, os.fdopen(number, "wb", buffering=0) as file:
            left = info.size
            while left:
                if self._given_up.is_set():
                    raise GivenUp
                data = content.read(min(left, _PIECE))
                if not data:
                    raise BadArchive(f"it ends in the middle of {info.name}")
                left -= len(data)
                if data == _HOLE:
                    file.seek(len(data), os.SEEK_CUR)
                    continue
                view = memoryview(data)
                while view:
                    view = view[file.write(view) :]
            file.truncate(info.size)
            os.fchmod(number, info.mode & 0o755 | 0o600)
            os.utime(number, (info.mtime, info.mtime))


def _parts(name: str) -> list[str]:
    if name.startswith("/"):
        raise BadArchive(f"it has the absolute name {name}")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise BadArchive(f"the name {name} leads out of the tree")
    return parts


def _stays_inside(target: str, depth: int) -> bool:
    """Whether a symlink in a directory so deep in the tree can't lead out of it."""
    parts = [part for part in target.split("/") if part not in ("", ".")]
    ups = 0
    while ups < len(parts) and parts[ups] == "..":
        ups += 1
    return bool(target) and not target.startswith("/") and ups <= depth and ".." not in parts[ups:]


def place(tree: Path, destination: Path) -> None:
    """Put an unpacked tree where it belongs. Blocks; raises OSError, BadArchive.

    Where there is nothing yet it is there at once. Into a directory that is there it is merged: files take
    the place of those with their name, each at once; a file never takes a directory's place, nor the other
    way round, and nothing goes through a symlink below the destination.
    """
    if not destination.exists():
        tree.rename(destination)
        return
    if not destination.is_dir():
        raise NotADirectoryError(20, "it is there, and no directory")
    _check(tree, destination)
    waiting = [(tree, destination)]
    while waiting:
        source, target = waiting.pop()
        for path in sorted(source.iterdir()):
            there = target / path.name
            if not _is_directory(path):
                path.replace(there)
            elif _is_directory(there):
                waiting.append((path, there))
            else:
                path.rename(there)


def _check(tree: Path, destination: Path) -> None:
    """Find what stands in the way before anything is moved."""
    waiting = [(tree, destination)]
    while waiting:
        source, target = waiting.pop()
        for path in source.iterdir():
            there = target / path.name
            directory = _is_directory(there)
            if _is_directory(path):
                if directory:
                    waiting.append((path, there))
                elif os.path.lexists(there):
                    raise BadArchive(f"{there} is no directory here, and one at the worker")
            elif directory:
                raise BadArchive(f"{there} is a directory here, and none at the worker")


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
