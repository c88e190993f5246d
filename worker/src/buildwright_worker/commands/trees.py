"""A directory as a tar archive, for "upload".

Files, directories and symlinks are sent, and a file with several names once. What is of no use or a danger
elsewhere is left out and told: sockets, pipes, devices, and symlinks that lead out of the directory. A
symlink that leads to a place inside of it in a roundabout way, or by an absolute path, is sent as the direct
way. So in the archive a symlink's target is relative, has `..` only at its beginning, and stays inside.

The directory must hold still: one that can't be read, or a file that gets shorter while it is read, is an
error.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import tarfile


class TreeError(Exception):
    """The directory can't be sent."""


def write_archive(outlet: Any, root: str, compress: str, maxsize: int | None) -> list[str]:
    """Write the archive to `outlet`; returns what was left out, a text each.

    `compress` is "", "gz" or "bz2"; `maxsize` bounds the bytes of all files together. Raises TreeError,
    OSError, and what the outlet raises.
    """
    import tarfile  # rarely wanted

    left_out: list[str] = []
    size = 0
    mode: Any = f"w|{compress}"
    with tarfile.open(
        fileobj=outlet, mode=mode, format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape"
    ) as archive:
        waiting = [""]  # directories, relative to the root
        while waiting:
            directory = waiting.pop()
            below = []
            for name in sorted(os.listdir(os.path.join(root, directory) if directory else root)):
                inner = os.path.join(directory, name)
                path = os.path.join(root, inner)
                info = cast("tarfile.TarInfo | None", archive.gettarinfo(path, inner))
                if info is None:
                    left_out.append(f"{inner}: it is a socket")
                    continue
                if info.isdir():
                    below.append(inner)
                elif info.isreg():
                    size += info.size
                    if maxsize is not None and size > maxsize:
                        raise TreeError(f"the files are longer than maxsize, {maxsize} bytes")
                elif info.issym():
                    target = _inside(root, inner, info.linkname)
                    if target is None:
                        left_out.append(f"{inner}: it leads out of the directory")
                        continue
                    info.linkname = target
                elif not info.islnk():
                    left_out.append(f"{inner}: it is a pipe or a device")
                    continue
                _add(archive, info, path)
            waiting += reversed(below)
    return left_out


def _add(archive: tarfile.TarFile, info: tarfile.TarInfo, path: str) -> None:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = int(info.mtime)  # a fraction costs a header of its own
    if not info.isreg():
        archive.addfile(info)
        return
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size < info.size:
            raise TreeError(f"{path} changed while it was read")
        try:
            archive.addfile(info, file)
        except OSError as error:
            if error.errno is not None:
                raise
            raise TreeError(f"{path} changed while it was read") from None


def _inside(root: str, link: str, target: str) -> str | None:
    """The target for a symlink, as the archive may have it; None if it leads out of the root."""
    parts = target.split("/")
    ups = 0
    while ups < len(parts) and parts[ups] == "..":
        ups += 1
    if not target.startswith("/") and ".." not in parts[ups:] and ups <= link.count("/"):
        return target
    directory = os.path.dirname(os.path.join(os.path.realpath(root), link))
    there = os.path.realpath(os.path.join(directory, target))
    top = os.path.realpath(root)
    if there != top and not there.startswith(top.rstrip("/") + "/"):
        return None
    return os.path.relpath(there, directory)
