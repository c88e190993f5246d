"""A worker in the master's own process: the shipped agent and the shipped endpoint, joined without a socket.

For programs that are master and worker at once: `buildwright run`, and configurations that are tried out.
What one end sends, the other one gets in order, in a later turn of the loop. Nothing is lost, so a connection
ends only when one of the two wants it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog
from aiohttp import WSMessage, WSMsgType

from buildwright.store.errors import StoreError
from buildwright.workers.attaching import Workers
from buildwright.workers.endpoint import Shell
from buildwright_worker.connection import ConnectFailed

log = structlog.get_logger(__name__)

OnFrame = Callable[["WorkerEnd", bytes], None]


def joined(workers: Callable[[], Workers]) -> Callable[..., Any]:
    """What an agent takes for its way to a master: for ``Agent(connect=...)``."""

    async def connect(url: str, name: str, password: str, *, on_frame: OnFrame, **more: Any) -> WorkerEnd:
        del url, password, more
        master = workers()
        config = master.services.snapshot.workers.get(name)
        if config is None:
            raise ConnectFailed(f"the configuration has no worker {name!r}")
        end = WorkerEnd(on_frame)
        shell = Shell(master, config, end.master, end.master.abort)
        serving = asyncio.get_running_loop().create_task(shell.run(), name=f"worker {name} in this process")
        serving.add_done_callback(_served)
        return end

    return connect


def _served(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, StoreError):
        log.error("a worker's connection failed", exc_info=error)


class WorkerEnd:
    """The worker's end: what :class:`buildwright_worker.connection.Connection` is to its agent."""

    def __init__(self, on_frame: OnFrame) -> None:
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[str] = self._loop.create_future()
        self.writable = True
        self.master = MasterEnd(self)
        self._on_frame = on_frame
        self._why = ""

    @property
    def closing(self) -> bool:
        return bool(self._why)

    def send(self, frame: bytes) -> None:
        if not self._why:
            self._loop.call_soon(self.master.arrived, frame)

    def close(self, why: str) -> None:
        if not self._why:
            self._why = why
            self._loop.call_soon(self.master.ended)
            self._loop.call_soon(self._end)

    abort = close

    def arrived(self, frame: bytes) -> None:
        """Something has come from the master."""
        if not self._why:
            self._on_frame(self, frame)

    def ended(self) -> None:
        """The master has closed the connection."""
        self.close("the connection was closed")

    def _end(self) -> None:
        if not self.lost.done():
            self.lost.set_result(self._why)


class MasterEnd:
    """The master's end: a :class:`buildwright.workers.endpoint.Socket`."""

    def __init__(self, worker: WorkerEnd) -> None:
        self._worker = worker
        self._loop = asyncio.get_running_loop()
        self._frames: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    async def receive(self) -> WSMessage:
        while not self._frames:
            if self._closed:
                return WSMessage(WSMsgType.CLOSED, None, None)
            self._waiter = self._loop.create_future()
            await self._waiter
        return WSMessage(WSMsgType.BINARY, self._frames.popleft(), None)

    async def send_bytes(self, data: bytes) -> None:
        await asyncio.sleep(0)
        if self._closed:
            raise ConnectionResetError("the connection is gone")
        self._loop.call_soon(self._worker.arrived, bytes(data))

    async def close(self, *, code: int = 1000, message: bytes = b"") -> bool:
        del code, message
        self.abort()
        return True

    def abort(self) -> None:
        if not self._closed:
            self._closed = True
            self._loop.call_soon(self._worker.ended)
            self._wake()

    def arrived(self, frame: bytes) -> None:
        """Something has come from the worker."""
        if not self._closed:
            self._frames.append(frame)
            self._wake()

    def ended(self) -> None:
        """The worker has closed the connection."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
