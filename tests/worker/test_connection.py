"""A connection as an asyncio protocol, against a server whose every byte the test decides."""

import asyncio

from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from buildwright_worker.connection import Connection, connect
from tests.worker.support import eventually


async def test_nothing_is_sent_once_the_master_closes() -> None:
    """The master says that it closes, and takes its time: what is sent then is dropped, and is no error."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocol = ServerProtocol()
        while protocol.state is not State.CLOSING and protocol.state is not State.CLOSED:
            protocol.receive_data(await reader.read(65536))
            for event in protocol.events_received():
                if isinstance(event, Request):
                    protocol.send_response(protocol.accept(event))
                    protocol.send_close(1001, "enough")
            for data in protocol.data_to_send():
                writer.write(data)
        await over.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/worker"
    connection: Connection = await connect(
        url, "w", "pw", tls=None, timeout=30, on_frame=lambda *_: None, on_writable=lambda: None
    )
    await eventually(lambda: connection._websocket.state is not State.OPEN)
    connection.send(b"too late")
    over.set()
    assert "enough" in await asyncio.wait_for(connection.lost, 30)
    server.close()
