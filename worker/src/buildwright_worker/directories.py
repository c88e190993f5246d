"""The directories that commands have made in the worker's own, and removing those that nobody uses any more.

A builder's directory outlives its builder: nobody tells a worker that a configuration has changed. So each
directory that came to be while a command ran has a mark, an empty file of its name in `.buildwright/used`,
whose time is that of its last use. What was made by hand has none, and is never touched.

With `unused_days` in `worker.json`, directories that were not used for so long are removed: once when the
worker starts, then every hour. A directory is put aside first, between two commands and not while one uses
it, so whoever needs it later finds none and makes a new one; then it is removed at leisure.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

DAY_S = 86_400.0
# Directories without permissions get them first.
REMOVE = 'rm -rf -- "$@" 2>/dev/null || { chmod -Rf u+rwx -- "$@"; rm -rf -- "$@"; }'


class Directories:
    """Those of one worker. Used in the loop, but for `remove_aside`."""

    def __init__(self, basedir: Path, own: Path) -> None:
        self._basedir = str(basedir)
        self._marks = own / "used"
        self._aside = own / "removing"
        self._users: dict[str, int] = {}  # by directory: how many commands use it just now

    def known(self) -> list[tuple[str, float]]:
        """Each directory that has a mark and is there, with the time of its last use, the oldest first."""
        try:
            names = os.listdir(self._marks)
        except FileNotFoundError:
            return []
        found = [(os.stat(self._marks / name).st_mtime, name) for name in names if self._is_there(name)]
        return [(name, when) for when, name in sorted(found)]

    def use(self) -> Use:
        """For a command that begins."""
        return Use(self)

    def put_aside(self, days: float, now: float) -> list[str]:
        """Take what was not used for so many days out of the way; the names of these directories."""
        taken = []
        for name, when in self.known():
            if name not in self._users and now - when >= days * DAY_S:
                try:
                    self._aside.mkdir(exist_ok=True)
                    os.rename(os.path.join(self._basedir, name), self._aside / os.urandom(8).hex())
                    (self._marks / name).unlink()
                except OSError as error:
                    logger.warning("can't remove %s: %s", name, error.strerror)
                else:
                    taken.append(name)
        return taken

    def remove_aside(self) -> None:
        """Remove what was put aside, now or before an earlier process ended. Blocks."""
        if self._aside.is_dir():
            subprocess.run(["/bin/sh", "-c", REMOVE, "sh", str(self._aside)], check=False)

    # For `Use`

    def top(self, path: str) -> str | None:
        """The directory of the worker's that a path lies in."""
        inner = os.path.relpath(os.path.normpath(path), self._basedir)
        name = inner.split(os.sep, 1)[0]
        return None if name in (".", "..") else name

    def begin(self, name: str) -> bool:
        """A command uses it; whether there is something of this name."""
        self._users[name] = self._users.get(name, 0) + 1
        with contextlib.suppress(OSError):
            os.utime(self._marks / name)
        return os.path.lexists(os.path.join(self._basedir, name))

    def end(self, name: str, *, made: bool) -> None:
        """The command has ended; it has made the directory, if that is there now."""
        self._users[name] -= 1
        if not self._users[name]:
            del self._users[name]
        mark = self._marks / name
        with contextlib.suppress(OSError):  # a full disk: it has no mark, and stays
            if not self._is_there(name):
                mark.unlink()
            elif made:
                self._marks.mkdir(exist_ok=True)
                mark.touch()
            else:
                os.utime(mark)

    def _is_there(self, name: str) -> bool:
        path = os.path.join(self._basedir, name)
        return os.path.isdir(path) and not os.path.islink(path)


class Use:
    """The directories that one command uses."""

    def __init__(self, directories: Directories) -> None:
        self._directories = directories
        self._there: dict[str, bool] = {}  # by directory: whether it was there before

    def add(self, path: str) -> None:
        name = self._directories.top(path)
        if name is not None and name not in self._there:
            self._there[name] = self._directories.begin(name)

    def end(self) -> None:
        for name, there in self._there.items():
            self._directories.end(name, made=not there)
        self._there = {}
