"""Events as server-sent events: ``/sse/listen/<path>``, and ``/sse/add`` and ``/sse/remove`` for more paths.

The stream opens with a ``handshake`` event whose data is the stream's id; ``/sse/add/<id>/<path>`` and
``/sse/remove/...`` change what it carries. An event's data is ``{"key": [...], "message": {...}}``. Events
are numbered; what was missed while a client was away is not kept, so a client that comes back with
``Last-Event-ID`` is told so by a ``resync`` event and reads the resources again. A comment every few seconds
keeps proxies from cutting a quiet stream."""

from __future__ import annotations

import asyncio
import uuid

import structlog
from aiohttp import web

from buildwright.web import cors
from buildwright.web.auth.gate import Gate
from buildwright.web.auth.origins import check_site
from buildwright.web.auth.readers import Reader
from buildwright.web.errors import ApiError, Denied, NotFound
from buildwright.web.events import EventHub, Path, kinds_of
from buildwright.web.outbox import Outbox
from buildwright.web.paths import split
from buildwright.web.replies import encode, json_reply
from buildwright.web.services import WebServices
from buildwright.web.ws import MOST_PATHS, Malformed, parse_path

log = structlog.get_logger(__name__)

KEEP_ALIVE_SECONDS = 15.0


class Sse:
    """The handlers, and the open streams by their ids."""

    def __init__(self, services: WebServices, hub: EventHub, gate: Gate) -> None:
        self._services = services
        self._hub = hub
        self._gate = gate
        self._streams: dict[str, _Stream] = {}

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/sse/listen", self.listen)
        app.router.add_get("/sse/listen/{path:[\\s\\S]*}", self.listen)
        app.router.add_get("/sse/add/{stream}/{path:[\\s\\S]*}", self.add)
        app.router.add_get("/sse/remove/{stream}/{path:[\\s\\S]*}", self.remove)
        app.on_shutdown.append(self._end_all)

    async def listen(self, request: web.Request) -> web.StreamResponse:
        reader = await self._reader(request)
        path = split(request.match_info.get("path", ""))
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-cache",
                "X-Accel-Buffering": "no",
            }
        )
        stream = _Stream(request, self._hub, reader)
        if path:
            await stream.add(_checked("/".join(path)))
        self._streams[stream.id] = stream
        try:
            await response.prepare(request)
            await stream.write(response)
        except ConnectionError:
            pass  # the client has gone
        finally:
            del self._streams[stream.id]
            stream.leave()
        return response

    async def add(self, request: web.Request) -> web.Response:
        await (await self._stream(request)).add(_checked("/".join(split(request.match_info["path"]))))
        return json_reply({"ok": True})

    async def remove(self, request: web.Request) -> web.Response:
        (await self._stream(request)).remove(_checked("/".join(split(request.match_info["path"]))))
        return json_reply({"ok": True})

    async def _stream(self, request: web.Request) -> _Stream:
        reader = await self._reader(request)
        stream = self._streams.get(request.match_info["stream"])
        if stream is None:
            raise ApiError("there is no such stream")
        if stream.reader.user.name != reader.user.name or stream.reader.user.by != reader.user.by:
            raise Denied("the stream is somebody else's")
        return stream

    async def _reader(self, request: web.Request) -> Reader:
        cors.check_origin(request, self._services.snapshot())
        check_site(request)
        return await Reader.of(self._gate, request)

    async def _end_all(self, _app: web.Application) -> None:
        for stream in list(self._streams.values()):
            stream.end()


class _Stream:
    """One client; a listener of the hub."""

    def __init__(self, request: web.Request, hub: EventHub, reader: Reader) -> None:
        self.reader = reader
        self.id = str(uuid.uuid4())
        self._request = request
        self._hub = hub
        self._paths: set[Path] = set()
        self._sent = 0
        self._ended = False
        self._outbox = Outbox(self._give_up)
        self._outbox.put(_event("handshake", self.id.encode()))
        if "Last-Event-ID" in request.headers:
            self._outbox.put(_event("resync", b"{}"))

    def deliver(self, key: str, message: bytes) -> None:
        self._sent += 1
        data = b'{"key":' + encode(key.split("/")) + b',"message":' + message + b"}"
        self._outbox.put(_event("event", data, f"{self.id}:{self._sent}"))

    async def add(self, path: Path) -> None:
        await self.reader.check(self._request, path, kinds_of(path))
        if len(self._paths) >= MOST_PATHS:
            raise ApiError(f"one stream listens to at most {MOST_PATHS} paths")
        self._paths.add(path)
        self._hub.subscribe(self, path)

    def remove(self, path: Path) -> None:
        if path not in self._paths:
            raise NotFound("the stream doesn't listen to this path")
        self._paths.discard(path)
        self._hub.unsubscribe(self, path)

    async def write(self, response: web.StreamResponse) -> None:
        while not self._ended:
            try:
                messages = await asyncio.wait_for(self._outbox.take(), KEEP_ALIVE_SECONDS)
            except TimeoutError:
                messages = [b": still here\n\n"]
            if messages:
                await response.write(b"".join(messages))

    def leave(self) -> None:
        for path in self._paths:
            self._hub.unsubscribe(self, path)
        self._paths.clear()

    def end(self) -> None:
        self._ended = True
        self._outbox.put(b"")

    def expel(self) -> None:
        log.info("a login has ended, and so does its stream of events", who=self.reader.user.name)
        self.end()

    def _give_up(self) -> None:
        log.info("a client of server-sent events is too slow and is dropped", peer=self._request.remote)
        if self._request.transport is not None:
            self._request.transport.abort()


def _event(name: str, data: bytes, id: str | None = None) -> bytes:
    head = f"id: {id}\n" if id is not None else ""
    return f"{head}event: {name}\n".encode() + b"data: " + data + b"\n\n"


def _checked(text: str) -> Path:
    try:
        return parse_path(text)
    except Malformed as error:
        raise ApiError(error.message) from None
