"""The network between simulated workers and masters.

A connection is two one-way streams: what is sent arrives in order, after a delay, or not while the way is
cut. Like TCP it neither loses nor doubles anything by itself; but when one end gives a cut connection up,
what it had sent may still arrive at the other end later, after the worker has long connected anew: the late
frames of an old connection. A machine that is gone says nothing; a process that dies has its connections
reset by its kernel.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any

from aiohttp import WSMessage, WSMsgType

from buildwright.testing.loop import Process
from buildwright_worker.connection import ConnectFailed

CONNECT_SECONDS = 20.0
DELAY = 0.003
END = None

Accept = Callable[["ServerEnd", str], None]


class Network:
    """Who listens, and which ways are cut."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.listening: dict[str, tuple[Process, Accept, Callable[[], bool]]] = {}  # by the master's name
        self.cut: set[tuple[str, str]] = set()  # (worker, master)
        self.wires: list[Wire] = []

    def heal(self, worker: str | None = None, master: str | None = None) -> None:
        """Mend the ways of a worker, or to a master, or all."""
        self.cut = {way for way in self.cut if worker not in (None, way[0]) or master not in (None, way[1])}
        for wire in list(self.wires):
            if wire.way not in self.cut:
                wire.up.flow()
                wire.down.flow()

    def reset(self, worker: str) -> None:
        """Break a worker's connections, as a middlebox that has lost its state does."""
        for wire in list(self.wires):
            if wire.way[0] == worker:
                wire.up.send(END)
                wire.down.send(END)

    def leave(self, worker: str, master: str) -> None:
        """End the worker's connection to a master, which doesn't hear of it."""
        for wire in list(self.wires):
            if wire.way == (worker, master):
                wire.up.lose()
                wire.down.send(END)

    def connector(self, worker: str, process: Process) -> Callable[..., Any]:
        """What an agent takes for its way to a master: for `Agent(connect=...)`."""

        async def connect(
            url: str,
            name: str,
            password: str,
            *,
            tls: object,
            timeout: float,
            on_frame: Callable[[ClientEnd, bytes], None],
            on_writable: Callable[[], None],
        ) -> ClientEnd:
            del password, tls, timeout, on_writable
            await asyncio.sleep(self.chance.random() * DELAY)
            master = url.removeprefix("ws://").split("/")[0]
            waited = 0.0
            while (worker, master) in self.cut:
                if waited >= CONNECT_SECONDS:
                    raise ConnectFailed("no answer")
                await asyncio.sleep(1.0)
                waited += 1.0
            found = self.listening.get(master)
            if found is None or not found[0].alive or not found[2]():
                raise ConnectFailed("connection refused")
            server, accept, _ = found
            wire = Wire(self, (worker, master), process, server, on_frame)
            self.wires.append(wire)
            server.call(accept, wire.server, name, after=self.chance.random() * DELAY)
            try:
                await asyncio.wait_for(asyncio.shield(wire.client.opened), CONNECT_SECONDS)
            except TimeoutError:
                wire.client.abort("no answer")
                raise ConnectFailed("no answer") from None
            return wire.client

        return connect


class Wire:
    """One connection."""

    def __init__(
        self,
        network: Network,
        way: tuple[str, str],
        worker: Process,
        master: Process,
        on_frame: Callable[[ClientEnd, bytes], None],
    ) -> None:
        self.network = network
        self.way = way
        self.client = ClientEnd(self, on_frame)
        self.server = ServerEnd(self)
        self.up = Stream(self, master, self.server.arrived)
        self.down = Stream(self, worker, self.client.arrived)
        worker.on_exit.append(lambda: self.up.send(END))
        master.on_exit.append(lambda: self.down.send(END))

    def over(self) -> None:
        """Forget it once both directions have ended."""
        if self.up.ended and self.down.ended and self in self.network.wires:
            self.network.wires.remove(self)


class Stream:
    """One direction."""

    def __init__(self, wire: Wire, to: Process, arrived: Callable[[bytes | None], None]) -> None:
        self._wire = wire
        self._to = to
        self._arrived = arrived
        self._under_way: deque[bytes | None] = deque()
        self._last = 0.0
        self.ended = False

    def send(self, frame: bytes | None) -> None:
        if self.ended:
            return
        self.ended = frame is END
        self._under_way.append(frame)
        loop = self._to.loop
        self._last = max(self._last, loop.time() + self._wire.network.chance.random() * DELAY)
        loop.call_at(self._last, self.flow, context=WORLD.context)
        self._wire.over()

    def lose(self) -> None:
        """What is sent from now on never arrives."""
        self.ended = True

    def flow(self) -> None:
        """Deliver what has arrived by now: the first one, or all if the way was cut meanwhile."""
        if self._wire.way in self._wire.network.cut:
            return
        late = self._to.loop.time() >= self._last
        while self._under_way:
            self._to.call(self._arrived, self._under_way.popleft())
            if not late:
                return


class _World:
    """Where what belongs to nobody runs: the network, the machines' kernels."""

    context: Any = None


WORLD = _World()


class ClientEnd:
    """The worker's end: what :class:`buildwright_worker.connection.Connection` is to its agent."""

    def __init__(self, wire: Wire, on_frame: Callable[[ClientEnd, bytes], None]) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.writable = True
        self._wire = wire
        self._on_frame = on_frame
        self._why = ""

    @property
    def closing(self) -> bool:
        return bool(self._why)

    def send(self, frame: bytes) -> None:
        if not self._why and not self.lost.done():
            self._wire.up.send(frame)

    def close(self, why: str) -> None:
        if not self._why and not self.lost.done():
            self._why = why
            self._wire.up.send(END)
            asyncio.get_running_loop().call_soon(self._end, why)

    abort = close

    def arrived(self, frame: bytes | None) -> None:
        if self._why or self.lost.done():
            return
        if frame is END:
            self._end("the connection was closed")
        else:
            self._on_frame(self, frame)

    def accepted(self) -> None:
        if not self.opened.done():
            self.opened.set_result(None)

    def _end(self, why: str) -> None:
        self._why = self._why or why
        if not self.opened.done():
            self.opened.set_exception(ConnectFailed(why))
            self.opened.exception()  # it need not be asked for
        if not self.lost.done():
            self.lost.set_result(why)
        self._wire.up.send(END)


class ServerEnd:
    """The master's end: a :class:`buildwright.workers.endpoint.Socket`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._messages: deque[WSMessage] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    def accept(self) -> None:
        """The upgrade is answered."""
        client = self._wire.client
        self._wire.down._to.call(client.accepted, after=self._wire.network.chance.random() * DELAY)

    async def receive(self) -> WSMessage:
        while not self._messages:
            if self._closed:
                return WSMessage(WSMsgType.CLOSED, None, None)
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._messages.popleft()

    async def send_bytes(self, data: bytes) -> None:
        await asyncio.sleep(0)
        if self._closed:
            raise ConnectionResetError("the connection is gone")
        self._wire.down.send(bytes(data))

    async def close(self, *, code: int = 1000, message: bytes = b"") -> bool:
        del code, message
        self.abort()
        return True

    def abort(self) -> None:
        if not self._closed:
            self._closed = True
            self._wire.down.send(END)
            self._wake()

    def arrived(self, frame: bytes | None) -> None:
        if self._closed:
            return
        if frame is END:
            self.abort()
        else:
            self._messages.append(WSMessage(WSMsgType.BINARY, frame, None))
            self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
