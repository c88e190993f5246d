"""The WebSocket that workers connect to: a thin shell around the protocol's `MasterSession`.

A worker names itself by HTTP Basic on the upgrade. Attaching goes on to its end also when the connection is
gone meanwhile; then the loss is noted, as always. Whatever a peer sends that isn't understood closes its
connection and changes nothing else; its commands go on, and it may connect again.
"""

from __future__ import annotations

import asyncio
import hmac
from base64 import b64decode
from collections.abc import Callable
from functools import partial
from typing import Protocol

import structlog
from aiohttp import WebSocketError, WSMessage, WSMsgType, web

from buildwright.model.workers import WorkerConfig
from buildwright.store.errors import StoreError
from buildwright.workers.attaching import Connection, Refused, Workers
from buildwright.workers.seats import Seat
from buildwright_worker.protocol import MAX_FRAME, MasterSession, ProtocolError
from buildwright_worker.protocol.master_side import (
    Event,
    GoodbyeReceived,
    HelloReceived,
    PongReceived,
    PullReceived,
    RecordsReceived,
    RefusedReceived,
    RoomReceived,
)

log = structlog.get_logger(__name__)

HELLO_SECONDS = 30.0
Passwords = Callable[[str], "str | None"]


class WorkerEndpoint:
    """Serves workers. ``password`` gives the password of a configured worker by its name."""

    def __init__(self, workers: Workers, password: Passwords) -> None:
        self._workers = workers
        self._password = password

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The handler of the worker path."""
        config = self._known(request)
        if config is None:
            return web.json_response(
                {"error": "unknown worker or wrong password"},
                status=401,
                headers={"WWW-Authenticate": 'Basic realm="workers"'},
            )
        socket = web.WebSocketResponse(max_msg_size=MAX_FRAME, compress=False, autoping=True)
        if not socket.can_prepare(request).ok:
            return web.json_response({"error": "this path is for workers' WebSockets"}, status=426)
        await socket.prepare(request)
        await Shell(self._workers, config, socket, partial(_abort, request)).run()
        return socket

    async def close(self, _app: web.Application) -> None:
        """The server stops: let go of all workers, so that it needn't wait for them."""
        self._workers.close("this master stops")

    def _known(self, request: web.Request) -> WorkerConfig | None:
        """The configured worker that the request's credentials name."""
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            name, _, given = b64decode(encoded, validate=True).decode().partition(":")
        except ValueError:
            return None
        config = self._workers.services.snapshot.workers.get(name)
        wanted = self._password(name) if config is not None else None
        # Compared also for an unknown name, so that the time tells nothing.
        same = hmac.compare_digest(given.encode(), (wanted or "").encode())
        if config is None or wanted is None or not same:
            log.warning("a worker was refused", worker=name, peer=request.remote)
            return None
        return config


class Socket(Protocol):
    """What a connection needs of its transport; aiohttp's WebSocketResponse is one."""

    async def receive(self) -> WSMessage:
        """The next message, or one that says that there is none any more."""
        ...

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message. Raises ConnectionError or RuntimeError when the connection is gone."""
        ...

    async def close(self, *, code: int = 1000, message: bytes = b"") -> bool:
        """Close it with a handshake."""
        ...


class Shell:
    """One connection of a worker. ``abort`` ends it without asking the peer."""

    def __init__(
        self, workers: Workers, config: WorkerConfig, socket: Socket, abort: Callable[[], None]
    ) -> None:
        self._workers = workers
        self._config = config
        self._socket = socket
        self._abort = abort
        self._loop = asyncio.get_running_loop()
        self._clock = workers.services.clock
        self._session = MasterSession(now=self._clock.monotonic())
        self._sender: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._connection = Connection(self._session, self.flush, self.close)
        self._attaching: asyncio.Task[Seat] | None = None
        self._seat: Seat | None = None
        self._early: list[Event] = []  # what came after the welcome and before the seat was taken

    async def run(self) -> None:
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                while self._session.hello is None:
                    if not await self._receive():
                        return
            await self._serve()
        except (ProtocolError, TimeoutError) as error:
            why = str(error) or f"no hello within {HELLO_SECONDS:g} s"
            log.warning("a worker's connection is closed", worker=self._config.name, why=why)
            await self._socket.close(code=1002, message=why.encode()[:120])
        except Refused as refusal:
            log.warning("a worker's hello is refused", worker=self._config.name, why=str(refusal))
            self._session.detach(str(refusal))
            self.flush()
            if self._sender is not None:
                await self._sender
            await self._socket.close()
        except StoreError as error:
            log.warning("a worker can't be attached", worker=self._config.name, why=str(error))
            await self._socket.close(code=1013, message=b"the master's database doesn't answer; try again")
        finally:
            self._connection.over()
            if self._attaching is not None:
                await asyncio.shield(self._loop.create_task(self._gone(self._attaching)))

    async def _gone(self, attaching: asyncio.Task[Seat]) -> None:
        """The connection is gone, perhaps in the middle of attaching, which comes to its end first."""
        try:
            seat = await attaching
        except (Refused, StoreError):
            return  # told already, or there is nobody to be told any more
        await self._workers.disconnected(seat, self._connection)

    async def _serve(self) -> None:
        for event in self._session.events():
            if isinstance(event, HelloReceived):
                self._attaching = self._loop.create_task(
                    self._workers.attach(self._config, self._connection, event.hello)
                )
        assert self._attaching is not None
        receiving = self._loop.create_task(self._receive())
        try:
            # Attaching asks for a sign of life, and the worker speaks as soon as it is welcomed.
            while not self._attaching.done():
                await asyncio.wait({receiving, self._attaching}, return_when=asyncio.FIRST_COMPLETED)
                if receiving.done():
                    if not receiving.result():
                        return
                    self._dispatch()
                    receiving = self._loop.create_task(self._receive())
            self._seat = await self._attaching
            self._dispatch()
            more = await receiving
        finally:
            receiving.cancel()
        while more:
            self._dispatch()
            more = await self._receive()

    async def _receive(self) -> bool:
        message = await self._socket.receive()
        if message.type is WSMsgType.BINARY:
            self._session.receive(message.data, self._clock.monotonic())
            if self._seat is None:
                self.flush()
            return True
        if message.type is WSMsgType.TEXT:
            raise ProtocolError("a text frame: workers speak binary frames")
        if message.type is WSMsgType.ERROR and isinstance(message.data, WebSocketError):
            raise ProtocolError(f"not a frame: {message.data}")  # the connection is closed already
        return False

    def _dispatch(self) -> None:
        seat = self._seat
        events = [*self._early, *self._session.events()]
        self._early = []
        for event in events:
            if isinstance(event, PongReceived):
                self._connection.pong(event.token)
            elif seat is None:
                self._early.append(event)
            elif isinstance(event, RecordsReceived):
                seat.take(event.id, event.first, event.records)
            elif isinstance(event, PullReceived):
                seat.pulled(event.id, event.offset, event.length)
            elif isinstance(event, RoomReceived):
                seat.full = None if event.ok else event.why
                if event.ok:
                    log.info("a worker has room again", worker=seat.name)
                else:
                    log.warning("a worker has no room", worker=seat.name, why=event.why)
                self._workers.distributor.worker_changed(seat)
            elif isinstance(event, GoodbyeReceived):
                self._workers.leave(seat, self._connection, event.why)
            elif isinstance(event, RefusedReceived):
                self._workers.refuse(seat)
        self.flush()

    def flush(self) -> None:
        """Send what the session has to say."""
        if self._sender is None:
            frames = self._session.take_outgoing()
            if frames:
                self._sender = self._loop.create_task(self._send(frames), name=f"send to {self._config.name}")

    async def _send(self, frames: list[bytes]) -> None:
        try:
            while frames:
                for frame in frames:
                    await self._socket.send_bytes(frame)
                frames = self._session.take_outgoing()
        except (ConnectionError, RuntimeError) as error:
            log.info("a worker's connection broke", worker=self._config.name, why=str(error))
        finally:
            self._sender = None

    def close(self, why: str) -> None:
        """End the connection, once what was said is sent."""
        if self._closing is None:
            log.info("closing a worker's connection", worker=self._config.name, why=why)
            self._closing = self._loop.create_task(self._close())

    async def _close(self) -> None:
        if self._sender is not None:
            await asyncio.wait({self._sender}, timeout=1)
        await self._socket.close()
        self._abort()  # a peer that is silent doesn't answer the closing handshake either


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
