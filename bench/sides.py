"""The two sides of the bench: ours, and the peer in an environment of its own.

A `Side` knows the commands; a `Master` is one running master of a side with its directory, workers and REST
client. Everything else in the bench is the same for both.
"""

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import aiohttp

from bench.processes import Process, free_ports
from bench.rest import Rest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TRUE: tuple[tuple[str, ...], ...] = (("true",),)


@dataclass
class Setup:
    """What a row varies in the configuration; goes to it as JSON in the environment variable BENCH."""

    workers: int = 1
    builders: int = 1
    schedulers: int = 0
    steps: Sequence[Sequence[str]] = TRUE
    absent: bool = False
    db_url: str = "sqlite:///state.sqlite"
    web_port: int = 0
    worker_port: int = 0


class Side(ABC):
    """One of the two systems: how its programs are called."""

    name: str
    package: str
    bin: Path

    def environment(self, setup: Setup) -> dict[str, str]:
        return {"BENCH": json.dumps(asdict(setup)), "PYTHONUNBUFFERED": "1"}

    def write_configuration(self, home: Path) -> None:
        template = (HERE / "configs" / "master.cfg").read_text()
        (home / "master.cfg").write_text(template.replace("@PKG@", self.package))

    @abstractmethod
    def create_master(self, home: Path, setup: Setup) -> list[str | Path]: ...

    @abstractmethod
    def start_master(self, home: Path) -> list[str | Path]: ...

    @abstractmethod
    def check_configuration(self, home: Path) -> list[str | Path]: ...

    @abstractmethod
    def create_worker(self, home: Path, setup: Setup, name: str) -> list[str | Path]: ...

    @abstractmethod
    def start_worker(self, home: Path) -> list[str | Path]: ...

    @abstractmethod
    def host_workers(self, setup: Setup, names: Sequence[str], home: Path) -> list[str | Path]:
        """One process with many workers: prints `ready`, and attaches them all when told a line."""

    @abstractmethod
    def log_of(self, home: Path) -> Path:
        """Where the master says what it does."""

    @abstractmethod
    def versions(self) -> str: ...


class Ours(Side):
    name = "ours"
    package = "buildwright"
    bin = Path(sys.executable).parent

    def create_master(self, home: Path, setup: Setup) -> list[str | Path]:  # noqa: ARG002 - the peer needs it
        return ["mkdir", "-p", home]

    def start_master(self, home: Path) -> list[str | Path]:
        return [self.bin / "buildwright", "start", home]

    def check_configuration(self, home: Path) -> list[str | Path]:
        return [self.bin / "buildwright", "check", home]

    def create_worker(self, home: Path, setup: Setup, name: str) -> list[str | Path]:
        url = f"ws://127.0.0.1:{setup.web_port}/worker"
        return [self.bin / "buildwright-worker", "create", home, url, name, "--password", "secret"]

    def start_worker(self, home: Path) -> list[str | Path]:
        return [self.bin / "buildwright-worker", "start", home]

    def host_workers(self, setup: Setup, names: Sequence[str], home: Path) -> list[str | Path]:
        url = f"ws://127.0.0.1:{setup.web_port}/worker"
        return [self.bin / "python", HERE / "our_workers.py", url, home, *names]

    def log_of(self, home: Path) -> Path:
        return home / "output.log"

    def versions(self) -> str:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()


class Peer(Side):
    name = "peer"
    package = "buildbot"
    bin = ROOT / ".venv-peer" / "bin"

    def install(self) -> None:
        """Make the peer's environment from its lock file, unless it is there."""
        lock = ROOT / "requirements" / "peer.txt"
        stamp = self.bin.parent / ".installed"
        if stamp.exists() and stamp.read_text() == lock.read_text():
            return
        print("Installing the peer into .venv-peer ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", self.bin.parent], check=True)
        pip: list[str | Path] = [
            self.bin / "python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, "--require-hashes", "-r", lock], check=True)
        stamp.write_text(lock.read_text())

    def create_master(self, home: Path, setup: Setup) -> list[str | Path]:
        return [
            self.bin / "buildbot",
            "create-master",
            "--quiet",
            "--relocatable",
            f"--db={setup.db_url}",
            home,
        ]

    def start_master(self, home: Path) -> list[str | Path]:
        return [self.bin / "buildbot", "start", "--nodaemon", home]

    def check_configuration(self, home: Path) -> list[str | Path]:
        return [self.bin / "buildbot", "checkconfig", home]

    def create_worker(self, home: Path, setup: Setup, name: str) -> list[str | Path]:
        master = f"127.0.0.1:{setup.worker_port}"
        return [self.bin / "buildbot-worker", "create-worker", "--quiet", home, master, name, "secret"]

    def start_worker(self, home: Path) -> list[str | Path]:
        return [self.bin / "buildbot-worker", "start", "--nodaemon", home]

    def host_workers(self, setup: Setup, names: Sequence[str], home: Path) -> list[str | Path]:
        return [self.bin / "python", HERE / "peer_workers.py", str(setup.worker_port), home, *names]

    def log_of(self, home: Path) -> Path:
        return home / "twistd.log"

    def versions(self) -> str:
        done = subprocess.run(
            [self.bin / "python", "-m", "pip", "freeze"], capture_output=True, text=True, check=True
        )
        return done.stdout


@dataclass
class Master:
    """A master's directory and, while it runs, its process, its workers and the way to its API."""

    side: Side
    home: Path
    setup: Setup
    rest: Rest
    workers: list[Process] = field(default_factory=list)
    process: Process | None = None

    @property
    def running(self) -> Process:
        assert self.process is not None
        return self.process

    async def start(self, patience: float = 300.0) -> float:
        """Start it and wait until its last builder is seen in REST as served; the seconds that took."""
        command = self.side.start_master(self.home)
        began = time.monotonic()
        output = self.home / "output.log"
        self.process = Process(command, self.home, output, self.side.environment(self.setup))
        last = f"/builders/builder{self.setup.builders - 1}?field=masterids"
        while time.monotonic() < began + patience:
            self._require_alive()
            looked = time.perf_counter()
            try:
                if (await self.rest.get(last))["builders"][0]["masterids"]:
                    return time.monotonic() - began
            except (OSError, RuntimeError, aiohttp.ClientError):
                pass  # not listening yet, or no such builder yet
            await asyncio.sleep(max(0.01, 9 * (time.perf_counter() - looked)))
        raise RuntimeError(f"the master did not start in {patience:.0f} s:\n{self.process.tail()}")

    def _require_alive(self) -> None:
        log = self.side.log_of(self.home)
        if not self.running.alive() and log.exists():
            raise RuntimeError(f"the master ended by itself:\n{log.read_text(errors='replace')[-4000:]}")
        self.running.require_alive()

    async def start_workers(self) -> None:
        """Start all configured workers, a process each, and wait until they are attached."""
        for number in range(self.setup.workers):
            name = f"worker{number}"
            home = self.home / name
            run_quietly(self.side.create_worker(home, self.setup, name))
            command = self.side.start_worker(home)
            self.workers.append(Process(command, home, self.home / f"{name}.log", {}))
        await self.rest.wait_for_workers(self.setup.workers)

    def stop(self) -> float:
        """Stop the master; the seconds that took."""
        return self.running.stop()


def run_quietly(command: Sequence[str | Path], env: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")


@asynccontextmanager
async def master(
    side: Side, setup: Setup, *, started: bool = True, attached: bool = True
) -> AsyncIterator[Master]:
    """A master of one's own in a new directory; started, its workers attached, unless told otherwise."""
    directory = Path(tempfile.mkdtemp(prefix=f"bench-{side.name}-"))
    home = directory / "master"
    setup.web_port, setup.worker_port = free_ports(2)
    try:
        run_quietly(side.create_master(home, setup))
        side.write_configuration(home)
        async with Rest(setup.web_port) as rest:
            made = Master(side, home, setup, rest)
            try:
                if started:
                    await made.start()
                    if attached:
                        await made.start_workers()
                yield made
            finally:
                for process in [*made.workers, *([made.process] if made.process else [])]:
                    process.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
