"""Small disks: a tmpfs in a mount namespace of a process's own, which no other process sees.

`small_disk(path, size)` is put before a command; the disk is mounted on ``path`` for it and its children
alone. From outside it is reached through the process's root: `inside(pid, path)`.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]


def small_disk(path: Path, kibibytes: int) -> list[str]:
    """The words to put before a command."""
    mount = 'mount -t tmpfs -o size="$1"k none "$2" && shift 2 && exec "$@"'
    return [*NAMESPACE, "sh", "-c", mount, "sh", str(kibibytes), str(path)]


def read_only(path: Path) -> list[str]:
    """The same for a directory that can't be written."""
    mount = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
    return [*NAMESPACE, "sh", "-c", mount, "sh", str(path)]


def inside(pid: int, path: Path) -> Path:
    """A path as the process sees it."""
    return Path(f"/proc/{pid}/root{path}")


def fill(directory: Path) -> Path:
    """Take all the room that is left; gives the file that has it."""
    filler = directory / "filler"
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for size in (1 << 16, 1 << 12, 1):
            while True:
                try:
                    os.write(descriptor, b"\0" * size)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    break
    finally:
        os.close(descriptor)
    return filler
