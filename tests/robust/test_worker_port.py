"""Who comes to the worker port: strangers, doubles and nonsense are told why, and disturb nobody."""

from __future__ import annotations

import asyncio
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from buildwright_worker import config as worker_config
from buildwright_worker.protocol import MAX_FRAME, VERSION, Hello, encode
from buildwright_worker.protocol.messages import Goodbye, Records, Room
from tests.robust.support import HEAD, attached, done, force, no_traceback, ready, said, started, told
from tests.support.processes import Farm, Process, eventually, farm

HASTY = str(Path(__file__).parent / "hasty_master.py")
CONFIG = """
c['workers'].append(worker.Worker("v", "pw"))
builder("b", job("long", 4))
builder("b2", job("second", 0.2))
"""
_AUTH = {"Authorization": aiohttp.encode_basic_auth("v", "pw")}
HELLO = Hello(VERSION, "boot", "ledger", {}, ["shell"], [], [])


async def test_a_wrong_password(tmp_path: Path) -> None:
    async with farm(tmp_path) as made:
        await ready(made, CONFIG)
        directory = tmp_path / "workers" / "w"
        worker_config.create(directory, [f"ws://127.0.0.1:{made.port}/worker"], "w", "wrong", None)
        worker = await made.start_worker("w")
        what = "the master does not know this name and password"
        await eventually(lambda: _has(worker, what), "the worker is told")
        await eventually(lambda: said(made, "a worker was refused"), "the master says it, too")
        assert not await attached(made, 1)
        assert "wrong" not in told(made).replace("unknown worker or wrong password", ""), (
            "no password in a log"
        )
        (directory / "password").write_text("pw\n")
        await worker.stop()
        await made.start_worker("w")
        await eventually(lambda: attached(made, 1), "with the right one it gets in")
        no_traceback(made)


async def test_two_workers_of_one_name(tmp_path: Path) -> None:
    async with farm(tmp_path) as made:
        await ready(made, CONFIG, "w")
        first = made.workers["w"]
        await force(made, "b")
        await eventually(lambda: started(made, "long"), "the first one's command runs")
        directory = tmp_path / "workers" / "double"
        worker_config.create(directory, [f"ws://127.0.0.1:{made.port}/worker"], "w", "pw", None)
        second = Process(
            "double",
            [sys.executable, "-m", "buildwright_worker", "start", str(directory)],
            tmp_path / "double.log",
        )
        await second.start()
        made.workers["double"] = second
        await eventually(lambda: _has(second, "another process of worker 'w' is attached"), "it is told why")
        (build,) = await done(made)
        assert build["results"] == 0, build
        await made.check_job(build["buildid"], "job", "long")
        assert not await _has(first, "detached"), "the first one never noticed"
        await first.stop()
        await eventually(lambda: _has(second, "attached to"), "the second one gets in")
        await force(made, "b2")
        assert [build["results"] for build in await done(made, 2)] == [0, 0]
        no_traceback(made)


async def test_nonsense_on_the_worker_port(tmp_path: Path) -> None:
    async with farm(tmp_path) as made:
        made.configure(HEAD + CONFIG)
        await made.start_master([HASTY])
        await made.master_is_up()
        await made.start_worker("w")
        await eventually(lambda: attached(made, 1), "the worker is attached")
        await force(made, "b")
        await eventually(lambda: started(made, "long"), "its command runs")
        await asyncio.gather(
            *(nonsense(made) for nonsense in (_raw_bytes, _half_frames, _frames, _no_websocket))
        )
        (build,) = await done(made)
        assert build["results"] == 0, build
        await made.check_job(build["buildid"], "job", "long")
        assert told(made).count("worker=w\n") == 1, "the other worker was never disturbed"
        no_traceback(made)
        # Whoever spoke nonsense may come again and be served.
        async with _websocket(made) as socket:
            await socket.send_bytes(encode(HELLO))
            assert (await socket.receive()).type is aiohttp.WSMsgType.BINARY


def _websocket(made: Farm, **options: Any) -> Any:
    return made.api._session.ws_connect(f"http://127.0.0.1:{made.port}/worker", headers=_AUTH, **options)


async def _frames(made: Farm) -> None:
    """What a WebSocket may carry and the protocol doesn't know: answered with a reason, and closed."""
    nested: Any = {}
    for _ in range(100):
        nested = {"a": nested}
    cases: dict[str, Callable[[Any], Any]] = {
        "a text frame": lambda socket: socket.send_str("hello"),
        "garbage": lambda socket: socket.send_bytes(b"\xc1\xff\x00garbage"),
        "an empty frame": lambda socket: socket.send_bytes(b""),
        "half a hello": lambda socket: socket.send_bytes(encode(HELLO)[:-7]),
        "more than a hello": lambda socket: socket.send_bytes(encode(HELLO) + b"\x00"),
        "a newer version": lambda socket: socket.send_bytes(encode(HELLO._replace(version=VERSION + 1))),
        "wrong types": lambda socket: socket.send_bytes(encode(HELLO._replace(boot=7))),  # type: ignore[arg-type]
        "deep nesting": lambda socket: socket.send_bytes(encode(HELLO._replace(info=nested))),
        "records before hello": lambda socket: socket.send_bytes(encode(Records("1.0.0", 0, []))),
        "nothing at all": lambda socket: asyncio.sleep(0),
        "too large": lambda socket: socket.send_bytes(b"\x00" * (MAX_FRAME + 1)),
        "records of nobody": lambda socket: _after_hello(socket, Records("1.0.0", 0, [])),
        "a second hello": lambda socket: _after_hello(socket, HELLO),
        "a master's message": lambda socket: _after_hello(socket, None),
    }
    reasons = {}
    for name, send in cases.items():
        async with _websocket(made) as socket:
            await send(socket)
            message = await socket.receive()
            while message.type is aiohttp.WSMsgType.BINARY:
                message = await socket.receive()
            assert message.type is aiohttp.WSMsgType.CLOSE, (name, message)
            reasons[name] = f"{message.data} {message.extra or ''}"
    wrong = {name: why for name, why in reasons.items() if not why.startswith("1002 ") or len(why) < 15}
    assert wrong == {"too large": f"{aiohttp.WSCloseCode.MESSAGE_TOO_BIG} "}
    assert f"{MAX_FRAME + 1}" in told(made), "the master names the size"
    assert "version 2" in reasons["a newer version"]
    assert "upgrade the master" in told(made)
    assert "text frame" in reasons["a text frame"]
    assert "no hello" in reasons["nothing at all"]


async def _after_hello(socket: Any, message: Any) -> None:
    await socket.send_bytes(encode(HELLO))
    await socket.receive()
    await socket.send_bytes(encode(message) if message is not None else _WELCOME)


_WELCOME = bytes([0x97, 0x02, 0x01, 0xA1, 0x6D, 0xCB]) + struct.pack(">d", 1.0) + bytes([0x01, 0x90, 0x01])


async def _raw_bytes(made: Farm) -> None:
    """No HTTP at all, or what looks like it."""
    for data in (
        b"\x00\x01\x02\x03" * 1000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the beginning of TLS
        b"GET /worker HTTP/9.9\r\n\r\n",
        b"GET /worker HTTP/1.1\r\nHost: x\r\nAuthorization: Basic %%%\r\nUpgrade: websocket\r\n\r\n",
        b"GET /worker HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 100_000 + b"\r\n\r\n",
        b"POST /worker HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\nx",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
        writer.write(data)
        writer.write_eof()
        answer = await reader.read()
        assert not answer or b" 40" in answer[:20], answer[:100]
        writer.close()


async def _half_frames(made: Farm) -> None:
    """Connections that end in the middle of a frame, and frames that break WebSocket's own rules."""
    for data in (
        b"\x82",  # a binary frame's first byte
        b"\x82\xfe\x10\x00maskonly",  # a header that promises more than comes
        b"\x82\xff" + struct.pack(">Q", 1 << 62) + b"mask",  # promises far too much
        b"\x82\x05hello",  # not masked, as a client's frames must be
        b"\xf2\x85mask\x00\x00\x00\x00\x00",  # reserved bits
        b"\x8b\x80mask",  # an unknown control frame
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
        writer.write(
            b"GET /worker HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Authorization: Basic djpwdw==\r\n\r\n"
        )
        assert b" 101 " in await reader.readline()
        writer.write(data)
        writer.transport.abort() if data == b"\x82" else writer.write_eof()
        await reader.read()
        writer.close()


async def _no_websocket(made: Farm) -> None:
    session = made.api._session
    url = f"http://127.0.0.1:{made.port}/worker"
    async with session.get(url) as answer:
        assert answer.status == 401
    async with session.get(url, headers=_AUTH) as answer:
        assert answer.status == 426
        assert "WebSocket" in (await answer.json())["error"]


async def test_odd_words_of_an_attached_worker(tmp_path: Path) -> None:
    """A worker without room, and one that says goodbye, get no work: a waiting request says so."""
    async with farm(tmp_path) as made:
        await ready(
            made,
            "c['workers'].append(worker.Worker('v', 'pw'))\nbuilder('b', job('j', 0.1), workernames=['v'])",
        )
        async with _websocket(made) as socket:
            await socket.send_bytes(encode(HELLO))
            await socket.receive()
            await socket.send_bytes(encode(Room(False, "No space left on device")))
            _, requests = await force(made, "b")
            (requestid,) = requests.values()
            await eventually(lambda: _waits(made, requestid, "'v' has no room: No space left"), "the reason")
            await socket.send_bytes(encode(Goodbye(True, "tired")))
            await socket.send_bytes(encode(Room(True, "")))
            await eventually(lambda: _waits(made, requestid, "'v' is leaving"), "the reason")
        await eventually(lambda: _waits(made, requestid, "'v' is not connected"), "the reason")
        no_traceback(made)


async def _waits(made: Farm, requestid: int, why: str) -> bool:
    (request,) = (await made.api.get(f"buildrequests/{requestid}"))["buildrequests"]
    assert not request["claimed"], request
    return why in str(request)


async def _has(process: Process, text: str) -> bool:
    return text in process.output.read_text()
