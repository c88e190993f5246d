"""Real processes for tests: masters and workers that can be killed, frozen and cut off, and an independent
ledger.

The jobs of these tests are programs that write down by themselves, beside what they print, that they have
started and every byte that they print: a checker compares that with what the data API says.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from buildwright_worker import config as worker_config

# Prints numbered lines on both streams for some seconds. Its ledger: LEDGER/NAME.starts gets a line per
# start, LEDGER/NAME.out and .err get what it prints, before it prints it.
JOB = r"""
import os, sys, time
name, seconds, ledger = sys.argv[1], float(sys.argv[2]), sys.argv[3]
with open(f"{ledger}/{name}.starts", "a") as starts:
    starts.write(f"{os.getpid()}\n")
out = open(f"{ledger}/{name}.out", "ab", buffering=0)
err = open(f"{ledger}/{name}.err", "ab", buffering=0)
end = time.monotonic() + seconds
number = 0
while time.monotonic() < end:
    line = (f"{name} line {number} " + "x" * (number % 97) + ("\n" if number % 5 else "")).encode()
    out.write(line)
    os.write(1, line)
    if number % 7 == 0:
        err.write(b"e" + line)
        os.write(2, b"e" + line)
    number += 1
    time.sleep(0.005)
with open(f"{ledger}/{name}.ends", "a") as ends:
    ends.write(f"{os.getpid()}\n")
sys.exit(0)
"""


def free_port() -> int:
    """A port on loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def eventually(
    condition: Callable[[], Awaitable[Any]], what: str, seconds: float = 60.0, pause: float = 0.05
) -> Any:
    """Wait for a condition to give something true; what it gave."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                found = await condition()
                if found:
                    return found
                await asyncio.sleep(pause)
    except TimeoutError as late:
        raise AssertionError(f"not within {seconds} s: {what}") from late


class Api:
    """The data API of a master that may be away."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self.base = f"http://127.0.0.1:{port}"

    async def get(self, path: str, **params: Any) -> Any:
        async with self._session.get(f"{self.base}/api/v2/{path}", params=params) as response:
            response.raise_for_status()
            return await response.json(content_type=None)

    async def raw(self, path: str, **params: Any) -> bytes:
        async with self._session.get(f"{self.base}/api/v2/{path}", params=params) as response:
            response.raise_for_status()
            return await response.read()

    async def post(self, path: str, method: str, **params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with self._session.post(f"{self.base}/api/v2/{path}", json=body) as response:
            answer = await response.json(content_type=None)
            if "error" in answer:
                raise AssertionError(f"{path} {method}: {answer['error']}")
            return answer["result"]

    async def force(self, scheduler: str, **params: Any) -> tuple[int, dict[str, int]]:
        buildsetid, requests = await self.post(f"forceschedulers/{scheduler}", "force", **params)
        return buildsetid, requests

    async def alive(self) -> bool:
        try:
            await self.get("masters")
        except (aiohttp.ClientError, OSError):
            return False
        return True

    async def builds_done(self, count: int) -> list[dict[str, Any]] | None:
        """All builds, once there are ``count`` complete buildsets; None before, or while the master is
        away.
        """
        try:
            sets = (await self.get("buildsets"))["buildsets"]
            if len(sets) < count or not all(each["complete"] for each in sets):
                return None
            builds: list[dict[str, Any]] = (await self.get("builds"))["builds"]
        except (aiohttp.ClientError, OSError):
            return None
        return builds

    async def stream(self, buildid: int, step: str, log: str, stream: str) -> bytes:
        return await self.raw(f"builds/{buildid}/steps/{step}/logs/{log}/raw", stream=stream)


class Process:
    """A process in a session of its own, with its output in a file."""

    def __init__(
        self, name: str, arguments: list[str], output: Path, env: dict[str, str] | None = None
    ) -> None:
        self.name = name
        self._arguments = arguments
        self.output = output
        self._env = env or {}
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self.output.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, **self._env},
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def signal(self, number: int) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            os.kill(self._process.pid, number)

    async def wait(self, seconds: float = 30.0) -> int:
        assert self._process is not None
        async with asyncio.timeout(seconds):
            return await self._process.wait()

    async def kill(self) -> None:
        """kill -9, and wait for the end."""
        if self.running:
            self.signal(signal.SIGKILL)
            await self.wait()

    async def stop(self) -> None:
        if self.running:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                await self.wait(15)
            except TimeoutError:
                await self.kill()


class Farm:
    """A master's basedir, its process, its workers and their jobs' ledger."""

    def __init__(
        self, directory: Path, session: aiohttp.ClientSession, master_script: Path | None = None
    ) -> None:
        self.directory = directory
        self.basedir = directory / "master"
        self.ledger = directory / "ledger"
        self.basedir.mkdir()
        self.ledger.mkdir()
        self.port = free_port()
        self.api = Api(session, self.port)
        self.job = directory / "job.py"
        self.job.write_text(JOB)
        self.workers: dict[str, Process] = {}
        self.wrapper: list[str] = []  # put before a process that is started: a namespace, another clock
        self.master = self._master(["-m", "buildwright"])

    def _master(self, program: list[str], **env: str) -> Process:
        arguments = [
            *self.wrapper,
            sys.executable,
            *program,
            "start",
            str(self.basedir),
            "--log-format",
            "text",
        ]
        return Process("master", arguments, self.directory / "master.log", env)

    def configure(self, text: str) -> None:
        """Write the master.cfg; PORT, JOB, LEDGER and PYTHON are defined in it."""
        names = {
            "PORT": self.port,
            "JOB": str(self.job),
            "LEDGER": str(self.ledger),
            "PYTHON": sys.executable,
        }
        head = "".join(f"{name} = {value!r}\n" for name, value in names.items())
        (self.basedir / "master.cfg").write_text(head + text)

    def command(self, name: str, seconds: float) -> list[str]:
        return [sys.executable, str(self.job), name, str(seconds), str(self.ledger)]

    async def start_master(self, program: list[str] | None = None, **env: str) -> None:
        self.master = self._master(program or ["-m", "buildwright"], **env)
        await self.master.start()

    async def master_is_up(self) -> None:
        async def up() -> bool:
            if not self.master.running:
                raise AssertionError(f"the master ended:\n{self.master.output.read_text()[-3000:]}")
            return await self.api.alive()

        await eventually(up, "the master serves")

    async def start_worker(self, name: str, *urls: str) -> Process:
        """A worker of the given masters, or of this one."""
        directory = self.directory / "workers" / name
        if not directory.exists():
            masters = [worker_config.master_url(url) for url in urls or [f"ws://127.0.0.1:{self.port}"]]
            worker_config.create(directory, masters, name, "pw", None)
        process = Process(
            name,
            [*self.wrapper, sys.executable, "-m", "buildwright_worker", "start", str(directory)],
            self.directory / f"{name}.log",
        )
        await process.start()
        self.workers[name] = process
        return process

    async def stop(self) -> None:
        await self.master.kill()
        await asyncio.gather(*(worker.stop() for worker in self.workers.values()))

    # -- the checker -----------------------------------------------------------------------------------

    def starts(self, job: str) -> int:
        path = self.ledger / f"{job}.starts"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def printed(self, job: str, stream: str) -> bytes:
        path = self.ledger / f"{job}.{stream}"
        return path.read_bytes() if path.exists() else b""

    async def check_job(self, buildid: int, step: str, job: str, starts: int = 1) -> None:
        """One start, and per stream exactly the bytes that the job says it has printed."""
        assert self.starts(job) == starts, f"{job} was started {self.starts(job)} times"
        for stream, suffix in (("stdout", "out"), ("stderr", "err")):
            stored = await self.api.stream(buildid, step, "stdio", stream)
            printed = self.printed(job, suffix)
            assert stored == printed, f"{job} {stream}: {len(stored)} bytes stored, {len(printed)} printed"


@asynccontextmanager
async def farm(directory: Path) -> AsyncIterator[Farm]:
    """A farm that is gone at the end."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        made = Farm(directory, session)
        try:
            yield made
        finally:
            await made.stop()


def properties_of(build: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, (value, _source) in build["properties"].items()}


def dump(value: Any) -> str:
    return json.dumps(value, indent=1)


class Proxy:
    """A TCP proxy on loopback between a worker and its master, which can cut connections and stop
    accepting.
    """

    def __init__(self, target_port: int) -> None:
        self._target = target_port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.silent = False  # accepts and forwards nothing: a half-open network

    async def start(self) -> int:
        """Gives the port that it listens on."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """End all connections, without a word."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, onward = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, onward}
        for source, sink in ((reader, onward), (there, writer)):
            task = asyncio.create_task(self._forward(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _forward(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                if not self.silent:
                    sink.write(data)
                    await sink.drain()
        except OSError:
            pass
        finally:
            sink.transport.abort()
            self._writers.discard(sink)
