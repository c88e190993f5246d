"""Workers on the master's own machine: ordinary worker processes that the master makes and starts.

Each runs in a session of its own and outlives the master, so its commands go on through a restart; the next
master starts it again, finds it running (it holds the lock of its directory), and waits for it to connect.
One that dies while the master runs is started again, with growing pauses.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Iterable
from pathlib import Path

import structlog

from buildwright.model.workers import LocalWorker
from buildwright_worker import config as worker_config

log = structlog.get_logger(__name__)

PAUSE, PAUSE_MOST = 1.0, 60.0
ALREADY_RUNS = 3  # the worker's exit code when another process holds its directory


class LocalWorkers:
    """The local workers of a configuration."""

    def __init__(self, basedir: Path) -> None:
        self._basedir = basedir
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def password(self, worker: LocalWorker) -> str | None:
        """The password that a local worker has made its own."""
        try:
            return (self._directory(worker) / worker_config.PASSWORD_FILE).read_text().strip()
        except FileNotFoundError:
            return None

    async def run(self, workers: Iterable[LocalWorker], master_url: str) -> None:
        """Have exactly these workers run, with this master."""
        wanted = {worker.name: worker for worker in workers}
        for name in set(self._tasks) - set(wanted):
            self._tasks.pop(name).cancel()
        for name, worker in wanted.items():
            if name in self._tasks:
                continue
            directory = self._directory(worker)
            password = self.password(worker) or secrets.token_urlsafe(24)
            await asyncio.to_thread(worker_config.create, directory, [master_url], name, password, None)
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
            with (directory / "worker.log").open("ab") as output:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "buildwright_worker",
                    "start",
                    str(directory),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            code = await process.wait()
            if code == ALREADY_RUNS:
                pause = PAUSE_MOST / 4  # it runs already; look whether it still does
            else:
                log.warning("a local worker's process ended", worker=name, code=code, again_in_s=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, PAUSE_MOST)
