"""One connection to a master: a WebSocket over TCP or TLS, as an asyncio protocol.

The handshake and the framing are `websockets`' own state machine; bytes go to and from the transport
without tasks or queues in between, because a worker may exchange thousands of small frames a second.
Compression is not offered.

`opened` is done when the master has accepted the upgrade, or holds the `ConnectFailed` that says why not.
After that, `on_frame` gets each binary message. `lost` gets the reason when the connection has ended, whoever
ended it.
"""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any, Callable

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from .protocol import MAX_FRAME

if TYPE_CHECKING:
    import ssl

WRITE_BUFFER = 1 << 20


class ConnectFailed(Exception):
    """The master could not be reached, or did not want this worker."""


class Connection(asyncio.Protocol):
    def __init__(
        self,
        url: str,
        name: str,
        password: str,
        *,
        on_frame: Callable[[Connection, bytes], None],
        on_writable: Callable[[], None],
    ) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.writable = True
        self._on_frame = on_frame
        self._on_writable = on_writable
        self._websocket = ClientProtocol(parse_uri(url), max_size=MAX_FRAME)
        self._credentials = base64.b64encode(f"{name}:{password}".encode()).decode()
        self._parts: list[bytes] = []  # of a message that comes in several frames
        self._transport: asyncio.Transport | None = None
        self._why = ""

    @property
    def closing(self) -> bool:
        """Whether this end has given it up: what still comes does not count."""
        return bool(self._why)

    def send(self, frame: bytes) -> None:
        """Send a binary message, unless the connection has ended or is ending."""
        if self._websocket.state is State.OPEN and not self.lost.done() and not self._why:
            self._websocket.send_binary(frame)
            self._write()

    def close(self, why: str) -> None:
        """End the connection and say why; `lost` follows."""
        if self.lost.done() or self._transport is None:
            return
        self._why = self._why or why
        if self.opened.done() and not self._transport.is_closing():
            self._websocket.fail(1000, why.encode()[:120].decode(errors="ignore"))
            self._write()
        self._transport.close()

    def abort(self, why: str) -> None:
        """End the connection without waiting for what is unsent: the peer does not answer."""
        if not self.lost.done() and self._transport is not None:
            self._why = self._why or why
            self._transport.abort()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        request = self._websocket.connect()
        request.headers["Authorization"] = f"Basic {self._credentials}"
        self._websocket.send_request(request)
        self._write()

    def data_received(self, data: bytes) -> None:
        self._websocket.receive_data(data)
        self._react()

    def eof_received(self) -> None:
        self._websocket.receive_eof()
        self._react()

    def connection_lost(self, exc: Exception | None) -> None:
        why = self._why or self._reason() or (str(exc) if exc else "") or "the connection was closed"
        if not self.opened.done():
            self.opened.set_exception(ConnectFailed(why))
            self.opened.exception()  # it need not be asked for
        self.lost.set_result(why)

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        self._on_writable()

    # Inside

    def _react(self) -> None:
        for event in self._websocket.events_received():
            if isinstance(event, Response):
                self._answered()
            elif isinstance(event, Frame):
                self._received(event)
        if self._websocket.handshake_exc is not None and not self.opened.done():
            self._answered()
        self._write()

    def _answered(self) -> None:
        error = self._websocket.handshake_exc
        if self.opened.done():
            return
        if error is None:
            self.opened.set_result(None)
            return
        self._why = _refusal(error)
        self.opened.set_exception(ConnectFailed(self._why))
        self.opened.exception()  # as above

    def _received(self, frame: Frame) -> None:
        if frame.opcode is Opcode.BINARY and frame.fin:
            self._on_frame(self, bytes(frame.data))
        elif frame.opcode in (Opcode.BINARY, Opcode.CONT):
            self._parts.append(bytes(frame.data))
            if frame.fin:
                message, self._parts = b"".join(self._parts), []
                self._on_frame(self, message)
        elif frame.opcode is Opcode.TEXT:
            self.close("a text message, where only binary ones are allowed")

    def _write(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        for data in self._websocket.data_to_send():
            if data:
                transport.write(data)
            else:
                transport.close()

    def _reason(self) -> str:
        received = self._websocket.close_rcvd
        if received is not None and received.reason:
            return f"the master closed the connection: {received.reason}"
        error = self._websocket.parser_exc
        return (
            f"not a WebSocket frame: {error}" if error is not None and not isinstance(error, EOFError) else ""
        )


async def connect(
    url: str, name: str, password: str, *, tls: ssl.SSLContext | None, timeout: float, **callbacks: Any
) -> Connection:
    """A connection whose upgrade was accepted. Raises ConnectFailed with a reason for people."""
    uri = parse_uri(url)
    connection = None
    try:
        _, connection = await asyncio.wait_for(
            asyncio.get_running_loop().create_connection(
                lambda: Connection(url, name, password, **callbacks), uri.host, uri.port, ssl=tls
            ),
            timeout,
        )
        await asyncio.wait_for(asyncio.shield(connection.opened), timeout)
    except asyncio.TimeoutError:
        if connection is not None:
            connection.abort("no answer")
        raise ConnectFailed(f"no answer within {timeout:g} s") from None
    except OSError as error:
        raise ConnectFailed(error.strerror or str(error)) from None
    return connection


def _refusal(error: Exception) -> str:
    """Why the master did not accept the upgrade, for people."""
    if not isinstance(error, InvalidStatus):
        return f"this is no master of ours: {error}"
    status = error.response.status_code
    body = (error.response.body or b"").decode(errors="replace").strip()[:300]
    if status == 401:
        return f"the master does not know this name and password ({body or 'unauthorized'})"
    if status == 403:
        return f"the master refused this worker ({body or 'forbidden'})"
    return f"the master answered {status} {body}".strip()
