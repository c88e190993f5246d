"""Workers on the master's own machine: ordinary worker processes that the master makes and starts.

Each runs in a session of its own and outlives the master, so its commands go on through a restart; the next
master finds it running (it holds the lock of its directory) and waits for it to connect. One that dies is
started again, with growing pauses. One that runs for another address, from before the port was changed, is
ended first: it would never get here. One that the configuration names no longer ends when its builds have.

The processes are looked at once a second rather than waited for: asyncio kills a child whose transport goes
away, and these must not end with the master.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from buildwright.model.workers import LocalWorker
from buildwright.workers.lockfile import holder
from buildwright_worker import config as worker_config

log = structlog.get_logger(__name__)

LOOK = 1.0
PAUSE, PAUSE_MOST = 1.0, 60.0
LOCK = Path(worker_config.OWN_DIRECTORY, "lock")


class LocalWorkers:
    """The local workers of a configuration."""

    def __init__(self, basedir: Path) -> None:
        self._basedir = basedir
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._directories: dict[str, Path] = {}

    def password(self, worker: LocalWorker) -> str | None:
        """The password that a local worker has made its own."""
        try:
            return (self._directory(worker) / worker_config.PASSWORD_FILE).read_text().strip()
        except FileNotFoundError:
            return None

    async def run(
        self, workers: Iterable[LocalWorker], master_url: str, certificate: Path | None = None
    ) -> None:
        """Have exactly these workers run, with this master, which they know by its ``certificate``."""
        wanted = {worker.name: worker for worker in workers}
        for name in set(self._tasks) - set(wanted):
            self._tasks.pop(name).cancel()
            _tell(self._directories.pop(name), signal.SIGUSR1)
        for name, worker in wanted.items():
            if name in self._tasks:
                continue
            directory = self._directories[name] = self._directory(worker)
            password = self.password(worker) or secrets.token_urlsafe(24)
            await asyncio.to_thread(_prepare, directory, master_url, name, password, certificate)
            self._tasks[name] = asyncio.get_running_loop().create_task(
                self._keep(name, directory), name=f"local worker {name}"
            )

    async def stop(self) -> None:
        """Look after them no more; their processes and commands go on."""
        tasks, self._tasks = self._tasks, {}
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)

    def _directory(self, worker: LocalWorker) -> Path:
        return self._basedir / (worker.workdir or f"workers/{worker.name}")

    async def _keep(self, name: str, directory: Path) -> None:
        pause = PAUSE
        while True:
            await _looking(
                lambda: holder(directory / LOCK) is None
            )  # one from before this master, or by hand
            try:
                process = _start(directory)
            except OSError as error:
                log.warning("a local worker can't be started", worker=name, why=str(error), again_in_s=pause)
            else:
                looks = await _looking(lambda: process.poll() is not None)  # noqa: B023  # waited for here
                pause = PAUSE if looks > PAUSE_MOST else pause
                log.warning(
                    "a local worker's process ended",
                    worker=name,
                    code=process.returncode,
                    log=str(directory / "worker.log"),
                    again_in_s=pause,
                )
            await asyncio.sleep(pause)
            pause = min(pause * 2, PAUSE_MOST)


async def _looking(over: Callable[[], bool]) -> int:
    """Look once a second until it is so; how often it was not."""
    looks = 0
    while not over():
        looks += 1
        await asyncio.sleep(LOOK)
    return looks


def _prepare(directory: Path, master_url: str, name: str, password: str, certificate: Path | None) -> None:
    """Make a worker's directory, or bring it up to date."""
    known_by = None if certificate is None else str(certificate)
    with contextlib.suppress(worker_config.ConfigError):  # there is none yet, or it is damaged
        before = worker_config.load(directory)
        if before.masters != [master_url] or before.certificate != known_by:
            _tell(directory, signal.SIGTERM)
    worker_config.create(directory, [master_url], name, password, None, certificate=known_by)


def _tell(directory: Path, number: signal.Signals) -> None:
    """Send a signal to the worker that runs in a directory, if one does."""
    pid = holder(directory / LOCK)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _start(directory: Path) -> subprocess.Popen[bytes]:
    with (directory / "worker.log").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "buildwright_worker", "start", str(directory)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
