"""The list, on disk, of the commands that this worker has begun and their master has not settled.

One small file per command in `<basedir>/.buildwright/commands/`, named by the command's id. It is there
before the process is started, and goes when the master has acknowledged the result. So whatever happens:

- A command whose file exists is not started again: it is held, or it is lost.
- A worker process that starts reads the list, kills what the previous process left of each command, and
only then
  takes work; these commands are *lost*, and stay listed until the master says that it has settled them.

The file holds the machine's boot and, after the start, the process with its start time. The start time
tells the process from a later one of the same number. The death of the worker between the start of a
process and the writing of its number is covered on Linux by the marker in the environment of everything a
command starts: `<ledger>/<id>`. Nothing is synced to the disk: a killed process leaves the page cache, and
a machine that crashes kills the commands.

The second write goes into space that the first one took, so a disk that fills up between them does not
matter.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

from . import posix
from .protocol import LostCommand, valid_id

logger = logging.getLogger(__name__)

_WIDTH = 160  # bytes that a file takes; what is not used is blanks


class _Entry(NamedTuple):
    id: str
    machine: str
    pid: int | None
    start: str | None


class Ledger:
    def __init__(self, directory: Path) -> None:
        self._directory = directory / "commands"
        self._directory.mkdir(parents=True, exist_ok=True)
        self.identity = _identity(directory / "ledger")
        self._machine = posix.machine_boot()
        self._open: dict[str, int] = {}  # descriptors of entries whose process is not started yet

    def marker(self, id: str) -> str:
        """What every process of the command carries in its environment."""
        return f"{self.identity}/{id}"

    def begin(self, id: str) -> None:
        """List a command, before anything of it is done. OSError if there is no room: then it must not
        begin."""
        path = self._directory / id
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            _write(fd, {"machine": self._machine})
        except OSError:
            os.close(fd)
            path.unlink()
            raise
        self._open[id] = fd

    def started(self, id: str, pid: int) -> None:
        """Note the process of a command that begun."""
        fd = self._open.pop(id)
        try:
            _write(fd, {"machine": self._machine, "pid": pid, "start": posix.process_start(pid)})
        finally:
            os.close(fd)

    def forget(self, id: str) -> None:
        """The command is settled."""
        fd = self._open.pop(id, None)
        if fd is not None:
            os.close(fd)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self._directory}/{id}")

    def close(self) -> None:
        for fd in self._open.values():
            os.close(fd)
        self._open = {}

    def recover(self) -> list[LostCommand]:
        """Kill what an earlier worker process left, until none of it lives; which commands these were.

        Blocks for as long as it takes: work that is taken while a leftover runs would run beside it.
        """
        entries = [_read(path) for path in sorted(self._directory.iterdir()) if valid_id(path.name)]
        here = [entry for entry in entries if entry.machine in ("", self._machine)]
        began = time.monotonic()
        reported = began
        while alive := self._alive(here):
            for pid in alive:
                posix.kill_process(pid)
            now = time.monotonic()
            if now - reported > 10:
                reported = now
                logger.warning("processes of lost commands do not die: %s", alive)
            time.sleep(0.02)
        ended, restarted = "the worker process that ran it ended", "the worker's machine was restarted"
        return [LostCommand(entry.id, ended if entry in here else restarted) for entry in entries]

    def _alive(self, entries: list[_Entry]) -> set[int]:
        alive = set(posix.marked_processes(self.marker(entry.id) for entry in entries))
        for entry in entries:
            if entry.pid is not None and entry.start == posix.process_start(entry.pid):
                posix.kill_group(entry.pid, signal.SIGKILL)
                alive.update(posix.group_members(entry.pid))
        alive.discard(os.getpid())  # a worker that runs inside one of its own commands
        return alive


def _write(fd: int, content: dict[str, object]) -> None:
    posix.write_all(fd, json.dumps(content).encode().ljust(_WIDTH), 0)


def _read(path: Path) -> _Entry:
    """An entry. What was not written to its end counts as begun on this machine, without a known process."""
    try:
        content = json.loads(path.read_bytes())
        pid, start = content.get("pid"), content.get("start")
        return _Entry(path.name, str(content["machine"]), pid if isinstance(pid, int) else None, start)
    except (ValueError, KeyError, AttributeError):
        return _Entry(path.name, "", None, None)


def _identity(path: Path) -> str:
    """The random name of this ledger, made once."""
    try:
        text = path.read_text(encoding="ascii").strip()
        if text:
            return text
    except FileNotFoundError:
        pass
    text = os.urandom(16).hex()
    fresh = path.with_suffix(".new")
    fresh.write_text(text + "\n", encoding="ascii")
    fresh.replace(path)
    return text
