"""A master for the worker's tests: `MasterSession` behind a real WebSocket server, a store in memory.

`FakeMaster` commits what comes to `records` and acknowledges it at once, unless told otherwise. It outlives
its connections, as a store outlives masters: a new connection of the worker resumes from what is in
`records`. `running_agent` runs an `Agent` in the test's own loop; `WorkerProcess` runs `buildwright-worker
start`.
"""

import asyncio
import base64
import contextlib
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from buildwright_worker.agent import Agent
from buildwright_worker.config import AgentConfig, create, load
from buildwright_worker.protocol import CommandAnswer, Hello, MasterSession, ProtocolError, Record, Result
from buildwright_worker.protocol import master_side as ms

NAME, PASSWORD = "w1", "sesame"


class Outcome:
    """What a command gave."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records
        self.result = Result.from_map(records[-1].data)
        self.rc = self.result.rc
        self.failure = self.result.failure

    def stream(self, kind: str, name: str = "") -> bytes:
        return b"".join(record.data for record in self.records if (record.kind, record.name) == (kind, name))

    @property
    def stdout(self) -> bytes:
        return self.stream("o")

    @property
    def stderr(self) -> bytes:
        return self.stream("e")

    @property
    def headers(self) -> str:
        return self.stream("h").decode()

    def update(self, key: str) -> Any:
        values = [record.data for record in self.records if (record.kind, record.name) == ("u", key)]
        return [item for value in values for item in value] if len(values) > 1 else values[0]


class FakeMaster:
    def __init__(
        self, *, window: int = 1 << 22, deadman_s: float = 3600, tls: ssl.SSLContext | None = None
    ) -> None:
        self._tls = tls
        self.window = window
        self.deadman_s = deadman_s
        self.acknowledges = True
        self.refusal: tuple[HTTPStatus, str] | None = None
        self.answer: Callable[[Hello], list[CommandAnswer]] = self._resume_all
        self.records: dict[str, list[Record]] = {}
        self.frames: list[tuple[str, int]] = []  # (command, records) of each frame
        self.hellos: list[Hello] = []
        self.goodbyes: list[ms.GoodbyeReceived] = []
        self.rooms: list[ms.RoomReceived] = []
        self.files: dict[str, bytes] = {}  # by command: what a download pulls from
        self.pulls: list[ms.PullReceived] = []
        self.errors: list[str] = []
        self.session: MasterSession | None = None
        self.changed = asyncio.Condition()
        self._attachment = 0
        self._connection: ServerConnection | None = None
        self._server: Server | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/worker"

    async def start(self) -> None:
        self._server = await serve(
            self._connected,
            "127.0.0.1",
            self._port,
            compression=None,
            max_size=1 << 20,
            ping_interval=None,
            process_request=self._check,
            ssl=self._tls,
        )
        self._port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        """Go away like a killed master."""
        self.cut()
        if self._server is not None:
            self._server.close(close_connections=True)
            await self._server.wait_closed()

    def cut(self) -> None:
        """End the connection without a word."""
        if self._connection is not None:
            self._connection.transport.abort()

    def detach(self, why: str) -> None:
        assert self.session is not None
        self.session.detach(why)
        self._flush()

    def send_raw(self, data: bytes) -> None:
        assert self._connection is not None
        self._connection.protocol.send_binary(data)
        self._connection.transport.write(b"".join(self._connection.protocol.data_to_send()))

    async def until(self, condition: Callable[[], Any]) -> None:
        async with self.changed:
            await asyncio.wait_for(self.changed.wait_for(condition), 30)

    async def attached(self) -> MasterSession:
        await self.until(lambda: self.session is not None and self.session.attachment is not None)
        assert self.session is not None
        return self.session

    async def begin(self, id: str, kind: str = "shell", secrets: Any = (), **args: Any) -> None:
        session = await self.attached()
        session.start(id, kind, args, secrets)
        self._flush()

    async def run(self, id: str, kind: str = "shell", secrets: Any = (), **args: Any) -> Outcome:
        await self.begin(id, kind, secrets, **args)
        return await self.outcome(id)

    async def outcome(self, id: str) -> Outcome:
        await self.until(lambda: self.ended(id))
        return Outcome(self.records[id])

    def ended(self, id: str) -> bool:
        return bool(self.records.get(id)) and self.records[id][-1].kind == "r"

    def output(self, id: str, kind: str = "o") -> bytes:
        return b"".join(record.data for record in self.records.get(id, []) if record.kind == kind)

    async def until_output(self, id: str, text: bytes, kind: str = "o") -> None:
        await self.until(lambda: text in self.output(id, kind))

    async def until_pulls(self, count: int) -> None:
        await self.until(lambda: len(self.pulls) >= count)

    async def until_lines(self, id: str, count: int) -> None:
        await self.until(lambda: self.output(id).count(b"\n") >= count)

    def interrupt(self, id: str, why: str = "stop") -> None:
        self.tell(lambda session: session.interrupt(id, why))

    def tell(self, what: Callable[[MasterSession], Any]) -> None:
        assert self.session is not None
        what(self.session)
        self._flush()

    def acknowledge_all(self) -> None:
        if self.session is not None:
            for command in self.session.open:
                if self.records.get(command):
                    self.session.ack(command, len(self.records[command]))
            self._flush()

    # Inside

    def _resume_all(self, hello: Hello) -> list[CommandAnswer]:
        held = [CommandAnswer(one.id, "resume", len(self.records.get(one.id, []))) for one in hello.commands]
        return held + [CommandAnswer(one.id, "forget", 0) for one in hello.lost]

    def _check(self, _: ServerConnection, request: Request) -> Response | None:
        wanted = "Basic " + base64.b64encode(f"{NAME}:{PASSWORD}".encode()).decode()
        if self.refusal is not None:
            status, text = self.refusal
        elif request.headers.get("Authorization") != wanted:
            status, text = HTTPStatus.UNAUTHORIZED, "wrong password"
        else:
            return None
        from websockets.datastructures import Headers

        body = text.encode()
        headers = Headers({"Content-Length": str(len(body)), "Connection": "close"})
        return Response(status.value, status.phrase, headers, body)

    async def _connected(self, connection: ServerConnection) -> None:
        session = self.session = MasterSession(now=time.monotonic())
        self._connection = connection
        try:
            async for frame in connection:
                assert isinstance(frame, bytes)
                session.receive(frame, time.monotonic())
                for event in session.events():
                    self._act(session, event)
                for outgoing in session.take_outgoing():
                    await connection.send(outgoing)
                async with self.changed:
                    self.changed.notify_all()
        except ProtocolError as error:
            self.errors.append(str(error))
        except ConnectionClosed:
            pass
        finally:
            if self.session is session:
                self.session = None
            async with self.changed:
                self.changed.notify_all()

    def _act(self, session: MasterSession, event: ms.Event) -> None:
        if isinstance(event, ms.HelloReceived):
            self.hellos.append(event.hello)
            self._attachment += 1
            session.welcome(
                attachment=self._attachment,
                master="m",
                deadman_s=self.deadman_s,
                window=self.window,
                commands=self.answer(event.hello),
            )
        elif isinstance(event, ms.RecordsReceived):
            self.frames.append((event.id, len(event.records)))
            stored = self.records.setdefault(event.id, [])
            assert event.first == len(stored)
            stored += event.records
            if self.acknowledges:
                session.ack(event.id, len(stored))
        elif isinstance(event, ms.PullReceived):
            self.pulls.append(event)
            if event.id not in self.files:
                return  # a slow master
            content = self.files[event.id]
            data = content[event.offset : event.offset + event.length]
            session.data(event.id, event.offset, data, eof=event.offset + len(data) >= len(content))
        elif isinstance(event, ms.GoodbyeReceived):
            self.goodbyes.append(event)
        elif isinstance(event, ms.RoomReceived):
            self.rooms.append(event)

    def _flush(self) -> None:
        if self.session is not None and self._connection is not None:
            for frame in self.session.take_outgoing():
                self._connection.protocol.send_binary(frame)
            self._connection.transport.write(b"".join(self._connection.protocol.data_to_send()))


@contextlib.asynccontextmanager
async def master(**options: Any) -> AsyncIterator[FakeMaster]:
    fake = FakeMaster(**options)
    await fake.start()
    try:
        yield fake
    finally:
        await fake.stop()


def config_for(basedir: Path, *masters: str, **changes: Any) -> AgentConfig:
    basedir.mkdir(parents=True, exist_ok=True)
    return AgentConfig(basedir=basedir, masters=list(masters), name=NAME, password=PASSWORD, **changes)


@contextlib.asynccontextmanager
async def running_agent(config: AgentConfig) -> AsyncIterator[Agent]:
    agent = Agent(config)
    task = asyncio.create_task(agent.run())
    try:
        yield agent
    finally:
        agent.stop("the test ends")
        await asyncio.wait_for(task, 30)


class WorkerProcess:
    """`buildwright-worker start`, as a process."""

    def __init__(self, basedir: Path, *masters: str, prefix: list[str] | None = None) -> None:
        self.basedir = basedir
        self._prefix = prefix or []
        create(basedir, list(masters), NAME, PASSWORD, None)
        load(basedir)
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.terminate()
            await asyncio.wait_for(self.process.wait(), 30)

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        return self._process

    async def start(self) -> None:
        words = [*self._prefix, sys.executable, "-m", "buildwright_worker", "start", str(self.basedir)]
        with (self.basedir / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(*words, stderr=log)

    async def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    def inside(self, name: str) -> Path:
        """A file of the worker's directory as the worker sees it."""
        return Path(f"/proc/{self.process.pid}/root{self.basedir}/{name}")

    @property
    def log(self) -> str:
        return (self.basedir / "log").read_text(encoding="utf-8")


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        state = (
            Path(f"/proc/{pid}/stat")
            .read_text(encoding="utf-8", errors="replace")
            .rpartition(")")[2]
            .split()[0]
        )
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def descriptors() -> int:
    return len(names(Path("/proc/self/fd")))


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def eventually(condition: Callable[[], Any]) -> None:
    """Wait for what nobody announces."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 30 s"
        await asyncio.sleep(0.01)


def resident_kib(pid: int) -> int:
    """The memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    [size] = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")]
    return size


def run_command(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
