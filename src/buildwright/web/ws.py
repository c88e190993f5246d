"""Events over WebSocket: ``/ws``, in Buildbot's words.

A client sends ``{"cmd": "startConsuming", "path": "builds/*/*", "_id": 1}`` (also ``stopConsuming``,
``ping``) and gets one answer with its ``_id`` to each; an event comes as ``{"k": "builds/12/new", "m":
{...}}``, once per subscription that matches. Garbage gets an error as its answer and ends nothing. A
browser's page of a foreign origin is refused at the door. A client that doesn't read is dropped
(:mod:`buildwright.web.outbox`), one that has gone without a word is found by the pings."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from buildwright.web import cors
from buildwright.web.auth.gate import Gate
from buildwright.web.auth.origins import check_site
from buildwright.web.auth.readers import Reader
from buildwright.web.errors import Denied
from buildwright.web.events import LONGEST_PATH, EventHub, Path, kinds_of
from buildwright.web.outbox import Outbox
from buildwright.web.replies import encode
from buildwright.web.services import WebServices

log = structlog.get_logger(__name__)

PING_SECONDS = 30.0
LARGEST_FRAME = 64 * 1024
MOST_PATHS = 1000

_KEYS = frozenset({"cmd", "path", "_id", "type"})


class Malformed(Exception):
    """A frame that can't be understood, or a command that isn't there."""

    def __init__(self, message: str, code: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


def parse_path(text: Any) -> Path:
    """The pattern that a client spells; raises Malformed."""
    if not isinstance(text, str):
        raise Malformed("path must be a string")
    path = tuple(text.strip("/").split("/"))
    if not all(path) or len(path) > LONGEST_PATH:
        raise Malformed(f"path has 1 to {LONGEST_PATH} elements, none of them empty")
    return path


class WebSockets:
    """The handler, and who is connected."""

    def __init__(self, services: WebServices, hub: EventHub, gate: Gate) -> None:
        self._services = services
        self._hub = hub
        self._gate = gate
        self._open: set[web.WebSocketResponse] = set()

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/ws", self.handle)
        app.on_shutdown.append(self._close_all)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        snapshot = self._services.snapshot()
        cors.check_origin(request, snapshot)
        check_site(request)
        reader = await Reader.of(self._gate, request)
        socket = web.WebSocketResponse(
            heartbeat=snapshot.www.ws_ping_interval or PING_SECONDS,
            compress=False,
            max_msg_size=LARGEST_FRAME,
        )
        await socket.prepare(request)
        client = _Client(request, socket, self._hub, reader)
        self._open.add(socket)
        writer = asyncio.create_task(client.write(), name="events to a WebSocket")
        try:
            await client.read()
        finally:
            client.leave()
            self._open.discard(socket)
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
        return socket

    async def _close_all(self, _app: web.Application) -> None:
        closing = [
            socket.close(code=WSCloseCode.GOING_AWAY, message=b"the master stops") for socket in self._open
        ]
        await asyncio.gather(*closing, return_exceptions=True)


class _Client:
    """One connection; a listener of the hub."""

    def __init__(
        self, request: web.Request, socket: web.WebSocketResponse, hub: EventHub, reader: Reader
    ) -> None:
        self.reader = reader
        self._request = request
        self._socket = socket
        self._hub = hub
        self._paths: set[Path] = set()
        self._outbox = Outbox(self._give_up)

    def deliver(self, key: str, message: bytes) -> None:
        self._outbox.put(b'{"k":' + encode(key) + b',"m":' + message + b"}")

    async def write(self) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                for message in await self._outbox.take():
                    await self._socket.send_frame(message, WSMsgType.TEXT)

    async def read(self) -> None:
        async for message in self._socket:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return
            self._outbox.put(encode(await self._answer(message.data)))

    def leave(self) -> None:
        for path in self._paths:
            self._hub.unsubscribe(self, path)
        self._paths.clear()

    async def _answer(self, text: str | bytes) -> dict[str, Any]:
        frame_id: Any = None
        try:
            frame = _parse(text)
            frame_id = frame.get("_id")
            return {"_id": frame_id, "code": 200, "msg": await self._do(frame)}
        except Malformed as error:
            return {"_id": frame_id, "code": error.code, "error": error.message}
        except Denied as error:
            return {"_id": frame_id, "code": error.status, "error": error.message}

    async def _do(self, frame: dict[str, Any]) -> str:
        if "_id" not in frame:
            raise Malformed("no '_id' in the frame")
        if "cmd" not in frame:
            raise Malformed("no 'cmd' in the frame")
        unknown = frame.keys() - _KEYS
        if unknown:
            raise Malformed(f"unknown key {min(unknown)[:60]!r} in the frame")
        match frame["cmd"]:
            case "ping":
                return "pong"
            case "startConsuming":
                path = parse_path(frame.get("path"))
                await self.reader.check(self._request, path, kinds_of(path))
                if len(self._paths) >= MOST_PATHS:
                    raise Malformed(f"one connection listens to at most {MOST_PATHS} paths")
                self._paths.add(path)
                self._hub.subscribe(self, path)
            case "stopConsuming":
                path = parse_path(frame.get("path"))
                if path not in self._paths:
                    raise Malformed("path was not consumed")
                self._paths.discard(path)
                self._hub.unsubscribe(self, path)
            case _:
                raise Malformed("no such command", 404)
        return "OK"

    def expel(self) -> None:
        log.info("a login has ended, and so does its WebSocket", who=self.reader.user.name)
        if self._request.transport is not None:
            self._request.transport.close()

    def _give_up(self) -> None:
        log.info("a WebSocket client is too slow for its events and is dropped", peer=self._request.remote)
        if self._request.transport is not None:
            self._request.transport.abort()


def _parse(text: str | bytes) -> dict[str, Any]:
    try:
        frame = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise Malformed("the frame is no JSON") from None
    if not isinstance(frame, dict):
        raise Malformed("the frame is no JSON object")
    return frame
