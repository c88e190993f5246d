"""What comes from a worker and what goes to one: the files of the master that transfers write and read.

What arrives is there whole or not at all: it is written under another name beside its own, unlike that of any
other try, and gets its name when all of it is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import threading
from pathlib import Path
from typing import Self

from buildwright.steps.unpacking import BadArchive, GivenUp, place, unpack


class Arriving:
    """A file on the master that is being written: the blocks of an upload.

    A context: what isn't kept by its end is removed, and so is what an earlier try has left.
    """

    identity: str | None = None

    def __init__(self, path: Path, stepid: int, tries: int, mode: int | None = None) -> None:
        self._path = path
        self._mode = mode
        *self._left, self._part = _parts(path, stepid, tries, "part")
        self._file: int | None = None

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        for left in self._left:
            left.unlink(missing_ok=True)
        self._file = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        with contextlib.suppress(OSError):
            self._part.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        assert self._file is not None
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]

    def read(self, offset: int, length: int) -> bytes:
        """Nothing is asked for."""
        del offset, length
        return b""

    def keep(self, stamp: list[float] | None) -> str | None:
        """Give the file its name, when it is safe on the disk; gives what went wrong. Blocks."""
        assert self._file is not None
        try:
            if self._mode is not None:
                os.fchmod(self._file, self._mode)
            if stamp is not None:
                os.utime(self._part, (stamp[0], stamp[1]))
            os.fsync(self._file)
            self._part.replace(self._path)
            _sync_directory(self._path.parent)
        except OSError as problem:
            return f"can't write {self._path}: {problem.strerror}"
        return None

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class ArrivingTree(Arriving):
    """A directory on the master that is being written: its blocks are an archive, unpacked when it is there.

    ``compress`` is "", "gz" or "bz2"; ``maxsize`` bounds the bytes of all files.
    """

    def __init__(self, path: Path, stepid: int, tries: int, compress: str, maxsize: int | None) -> None:
        super().__init__(path.resolve(), stepid, tries)  # what is renamed must lie on one file system
        self._compress = compress
        self._maxsize = maxsize
        self._trees = _parts(self._path, stepid, tries, "tree.part")

    async def unpack(self) -> str | None:
        """Unpack the archive and put the directory in its place; gives what went wrong. A stop ends it."""
        given_up = threading.Event()
        work = asyncio.get_running_loop().run_in_executor(None, self._unpack, given_up)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            given_up.set()
            await asyncio.wait({work})
            raise

    def _unpack(self, given_up: threading.Event) -> str | None:
        tree = self._trees[-1]
        try:
            for left in self._trees:
                shutil.rmtree(left, ignore_errors=True)
            tree.mkdir()
            unpack(self._part, self._compress, tree, self._maxsize, given_up)
            os.sync()  # much faster than each file by itself
            place(tree, self._path)
            _sync_directory(self._path.parent)
        except BadArchive as problem:
            return f"can't take the directory for {self._path}: {problem}"
        except GivenUp:
            return "it isn't wanted any more"
        except OSError as problem:
            return f"can't write {problem.filename or self._path}: {problem.strerror}"
        finally:
            shutil.rmtree(tree, ignore_errors=True)
        return None


def _parts(path: Path, stepid: int, tries: int, suffix: str) -> list[Path]:
    """The names under which each try so far has written, the last one's at the end."""
    return [path.with_name(f".{path.name[:100]}.{stepid}-{each}.{suffix}") for each in range(tries + 1)]


def _sync_directory(path: Path) -> None:
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


class Leaving:
    """A file on the master that is being read: the blocks of a download. A context."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self.identity: str | None = None

    def __enter__(self) -> Self:
        if self._path.is_dir():
            raise IsADirectoryError(0, "it is a directory")
        self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(self._file)
        self.identity = f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def write(self, data: bytes) -> None:
        """Nothing comes back."""

    def read(self, offset: int, length: int) -> bytes:
        parts = []
        while length > 0 and (part := os.pread(self._file, length, offset)):
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return b"".join(parts)
