"""What a running master tells about itself to the command line: ``status.json`` in its basedir.

A signal can ask a master for something and can't bring an answer. The answer is this file, written whole
(to a new file that takes the old one's place), so a reader never sees half of it; and it is there even for a
master without a web port. ``reload`` in it counts: ``begun`` grows before a configuration is read, ``done``
names the last load that has ended, with its outcome. Who reads ``begun``, then asks for a reload and waits
for a ``done`` above it gets the outcome of a load that began after the asking, however many ask at once.

A master that was killed leaves its file behind. So the file counts only while the basedir's lock is held, and
only if it names the holder.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from buildwright.workers.lockfile import holder

FILE = "status.json"
LOCK = "master.lock"
LOADED, REFUSED = "loaded", "refused"


@dataclass(slots=True)
class Reload:
    """The reloads of one process: how many have begun, and how the last finished one ended."""

    begun: int = 0
    done: int = 0
    outcome: str = LOADED
    text: str = ""  # why it was refused, if that isn't in errors
    errors: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Status:
    """A running master."""

    pid: int
    version: str
    state: str = "running"  # running, draining, stopping
    url: str | None = None
    workers_url: str | None = None
    certificate: str | None = None  # of the web port: who reads this file can trust exactly this one
    local_workers: list[str] = field(default_factory=list)  # their directories
    reload: Reload = field(default_factory=Reload)

    def write(self, basedir: Path) -> None:
        """Put it in the place of what is there."""
        fresh = basedir / f"{FILE}.new"
        fresh.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        fresh.replace(basedir / FILE)


def remove(basedir: Path) -> None:
    """The master has stopped."""
    (basedir / FILE).unlink(missing_ok=True)


def read(basedir: Path, pid: int) -> Status | None:
    """What the process ``pid`` has told, if it has told anything yet."""
    try:
        found = json.loads((basedir / FILE).read_text(encoding="utf-8"))
        status = Status(**{**found, "reload": Reload(**found["reload"])})
    except (OSError, ValueError, KeyError, TypeError):  # not there, or written by another version
        return None
    return status if status.pid == pid else None


def running(basedir: Path) -> int | None:
    """The process that runs a master on this basedir."""
    return holder(basedir / LOCK)


def alive(pid: int) -> bool:
    """Whether the process is there; one that only waits to be noticed by its parent isn't."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1]
    except OSError:  # it has just gone, or this system has no /proc
        return not Path("/proc/self/stat").exists()
    return state not in (b"Z", b"X")
