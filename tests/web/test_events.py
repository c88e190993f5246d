"""Events over WebSocket and SSE: the right names, the thing itself, nobody is waited for."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from buildwright.store.unit import Hint
from buildwright.store.units import control
from buildwright.web.auth.gate import GATE
from buildwright.web.auth.readers import Reader
from buildwright.web.auth.users import NOBODY
from buildwright.web.events import EventHub, Path
from buildwright.web.outbox import MOST_MESSAGES, Outbox
from tests.support.webserver import Server, snapshot
from tests.web.conftest import SMALL, getter

LAST = SMALL.builds
STEP = LAST * 10
PATIENCE = 60  # how long something that never comes is waited for


class Socket:
    """A client of /ws."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []

    async def ask(self, **frame: Any) -> dict[str, Any]:
        """Send a frame; the answer to it. Events that come meanwhile are kept."""
        await self.socket.send_json(frame)
        while True:
            message: dict[str, Any] = await self.socket.receive_json(timeout=PATIENCE)
            if "k" not in message:
                return message
            self.events.append(message)

    async def consume(self, *paths: str) -> None:
        for path in paths:
            assert (await self.ask(cmd="startConsuming", path=path, _id=path))["code"] == 200

    async def event(self) -> dict[str, Any]:
        if self.events:
            return self.events.pop(0)
        message: dict[str, Any] = await self.socket.receive_json(timeout=PATIENCE)
        return message


@pytest.fixture
async def socket(server: Server, http: aiohttp.ClientSession) -> AsyncIterator[Socket]:
    async with http.ws_connect(f"{server.url}/ws") as connected:
        yield Socket(connected)


async def test_commands_are_answered(socket: Socket) -> None:
    assert await socket.ask(cmd="ping", _id=5) == {"_id": 5, "code": 200, "msg": "pong"}
    assert await socket.ask(cmd="startConsuming", path="builds/*/*", _id="a") == {
        "_id": "a",
        "code": 200,
        "msg": "OK",
    }
    assert (await socket.ask(cmd="startConsuming", path="builds/*/*", _id=1))["code"] == 200
    assert (await socket.ask(cmd="stopConsuming", path="builds/*/*", _id=1))["msg"] == "OK"
    assert (await socket.ask(cmd="stopConsuming", path="builds/*/*", _id=1))["code"] == 400


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ('{"cmd": "fly", "_id": 1}', 404),
        ('{"cmd": "ping"}', 400),
        ('{"_id": 1}', 400),
        ('{"cmd": "ping", "_id": 1, "more": 1}', 400),
        ('{"cmd": "startConsuming", "_id": 1}', 400),
        ('{"cmd": "startConsuming", "path": 5, "_id": 1}', 400),
        ('{"cmd": "startConsuming", "path": "a//b", "_id": 1}', 400),
        ('{"cmd": "startConsuming", "path": "a/b/c/d/e/f/g/h/i", "_id": 1}', 400),
        ('{"cmd": ["ping"], "_id": 1}', 404),
        ("nonsense", 400),
        ("[]", 400),
        ("[" * 20_000, 400),
    ],
)
async def test_garbage_is_answered_and_ends_nothing(socket: Socket, frame: str, code: int) -> None:
    await socket.socket.send_str(frame)
    answer = await socket.socket.receive_json()
    assert answer["code"] == code
    assert answer["error"]
    assert (await socket.ask(cmd="ping", _id=2))["msg"] == "pong"
    await socket.socket.send_bytes(b"\xff\x00")
    assert (await socket.socket.receive_json())["code"] == 400


# A hint, and the names that an event of it has; {number} and {workerid} are the last build's.
ID = LAST
NAMES = [
    (Hint("builds", ID, "finished"), "builders/1/builds/{number} builds/300 workers/{workerid}/builds/300"),
    (Hint("builds", ID, "update"), "builders/1/builds/{number} builds/300 workers/{workerid}/builds/300"),
    (Hint("builds", ID, "properties"), "builds/300/properties"),
    (
        Hint("buildrequests", ID, "claimed"),
        "buildsets/300/builders/1/buildrequests/300 buildrequests/300 builders/1/buildrequests/300",
    ),
    (Hint("buildrequests", ID, "cancel"), "buildrequests/300"),
    (Hint("buildsets", ID, "complete"), "buildsets/300"),
    (Hint("steps", STEP, "update"), "builds/300/steps/3000 steps/3000"),
    (Hint("steps", STEP, "new"), "builds/300/steps/3000 steps/3000"),
    (Hint("logs", STEP, "append"), "logs/3000 steps/3000/logs/stdio"),
    (Hint("workers", 2, "connected"), "workers/2"),
    (Hint("workers", 2, "update"), "workers/2"),
    (Hint("masters", 1, "started"), "masters/1"),
    (Hint("builders", 1, "update"), "builders/1"),
    (Hint("changes", 3, "new"), "changes/3"),
    (Hint("schedulers", 1, "updated"), "schedulers/1"),
    (Hint("projects", 1, "new"), "projects/1"),
    (Hint("codebases", 1, "update"), "codebases/1"),
    (Hint("commits", 3, "new"), "commits/3 codebases/1/commits/3"),
    (Hint("branches", 2, "update"), "branches/2"),
    (Hint("test_result_sets", ID, "completed"), "test_result_sets/300"),
]
# Where Buildbot has another word for it.
SAID = {
    ("builds", "properties"): "update",
    ("steps", "update"): "updated",
    ("workers", "update"): "state_updated",
}


@pytest.mark.parametrize(("hint", "names"), NAMES, ids=["-".join(map(str, hint)) for hint, _ in NAMES])
async def test_an_event_has_all_its_names_and_the_thing(
    server: Server, http: aiohttp.ClientSession, socket: Socket, hint: Hint, names: str
) -> None:
    _, build = await getter(server, http)(f"/builds/{LAST}", property="*")
    said = SAID.get((hint.kind, hint.event), hint.event)
    expected = [f"{name}/{said}" for name in names.format(**build["builds"][0]).split()]
    paths = ["*/*", "*/*/*", "*/*/*/*", "*/*/*/*/*", "*/*/*/*/*/*/*"]
    await socket.consume(*paths)
    server.bus.publish([hint])
    events = [await socket.event() for _ in expected]
    assert sorted(event["k"] for event in events) == sorted(expected)
    if hint.event == "properties":
        assert events[0]["m"] == build["builds"][0]["properties"]
    else:
        _, body = await getter(server, http)(f"/{hint.kind}/{hint.id}")
        assert all(event["m"] == body[hint.kind][0] for event in events)


async def test_only_what_was_asked_for_comes(server: Server, socket: Socket) -> None:
    await socket.consume("builds/5/*", "builds/*/new", "builders/1/builds/*/*")
    server.bus.publish([Hint("builds", 6, "update"), Hint("nothing", 1, "new"), Hint("steps", STEP, "new")])
    server.bus.publish(
        [Hint("buildrequests", 5, "stop"), Hint("builds", 99999, "new"), Hint("builds", 5, "new")]
    )
    keys = [(await socket.event())["k"] for _ in range(3)]
    assert keys[-2:] == ["builds/5/new", "builds/5/new"]
    assert keys[0].startswith("builders/1/builds/")


async def test_a_hint_that_nobody_waits_for_reads_nothing(server: Server, socket: Socket) -> None:
    await socket.consume("builds/5/*")
    before = server.store.metrics["read_page"].count if "read_page" in server.store.metrics else 0
    server.bus.publish(
        [Hint("builds", 6, "update"), Hint("steps", STEP, "new"), Hint("logs", STEP, "append")]
    )
    server.bus.publish([Hint("builds", 5, "update")])
    assert (await socket.event())["k"] == "builds/5/update"
    assert server.store.metrics["read_page"].count == before + 1


async def test_p1_what_is_done_is_told(server: Server, socket: Socket) -> None:
    await socket.consume("buildrequests/*/*", "buildsets/*/*")
    await server.store.run(control.rebuild(40, 1))
    found = {(await socket.event())["k"].rpartition("/")[2] for _ in range(2)}
    assert found == {"new"}


async def test_a_foreign_page_may_not_listen(server: Server, http: aiohttp.ClientSession) -> None:
    server.snapshot = snapshot(allowed_origins=["https://ci.example.org"])
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect(f"{server.url}/ws", origin="https://evil.example.org")
    assert refused.value.status == 400
    async with http.ws_connect(f"{server.url}/ws", origin="https://ci.example.org"):
        pass
    async with http.ws_connect(f"{server.url}/ws", origin=server.url):
        pass
    async with http.get(f"{server.url}/ws") as response:
        assert response.status == 400


async def test_a_client_that_does_not_read_is_dropped(server: Server, http: aiohttp.ClientSession) -> None:
    at_once = aiohttp.ClientWSTimeout(ws_close=0.1)  # it can't hear that it was closed
    async with (
        http.ws_connect(f"{server.url}/ws", timeout=at_once) as slow,
        http.ws_connect(f"{server.url}/ws") as quick,
    ):
        # Each hint has three names, and each of them matches two or three of these.
        builds = ("builds/*/*", "builders/*/builds/*/*", "workers/*/builds/*/*", "*/*/builds/*/*")
        await Socket(slow).consume("*/*/*", "*/*/*/*/*", *builds)
        reader = Socket(quick)
        await reader.consume("workers/*/*")
        slow._response.connection.transport.pause_reading()  # type: ignore[union-attr]

        async def flood() -> None:
            number = 0
            while not slow._response.connection.transport.is_closing():  # type: ignore[union-attr]
                number += 1
                server.bus.publish([Hint("builds", each, f"event{number}") for each in range(1, 101)])
                await reader.ask(cmd="ping", _id=number)
                if not server.runner.server or len(server.runner.server.connections) == 1:
                    return

        await asyncio.wait_for(flood(), 60)
        server.bus.publish([Hint("workers", 1, "connected")])
        assert (await reader.event())["k"] == "workers/1/connected"


def test_the_outbox_is_bounded() -> None:
    given_up: list[bool] = []
    outbox = Outbox(lambda: given_up.append(True))
    for _ in range(MOST_MESSAGES + 5):
        outbox.put(b"x")
    assert given_up == [True]


async def test_interest_ends_with_its_listeners(server: Server) -> None:
    gate = server.app[GATE]
    hub = EventHub(server.services, gate)
    told: list[str] = []

    class Listener:
        reader = Reader(gate, NOBODY)

        def expel(self) -> None: ...

        def deliver(self, key: str, message: bytes) -> None:
            told.append(key)

    listener = Listener()
    paths: list[Path] = [
        ("builds", "*", "*"),
        ("builds", "7", "*"),
        ("*", "*"),
        ("steps", "*", "logs", "*", "*"),
    ]
    for path in [*paths, *paths]:
        hub.subscribe(listener, path)
    assert hub._interest
    for path in [*paths, *paths]:
        hub.unsubscribe(listener, path)
    assert hub.idle
    assert not hub._interest


class Stream:
    """A client of /sse/listen."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> dict[str, str]:
        """The next event's fields."""
        fields: dict[str, str] = {}
        while True:
            async with asyncio.timeout(PATIENCE):
                line = (await self.response.content.readline()).decode().rstrip("\n")
            if not line and fields:
                return fields
            name, _, value = line.partition(": ")
            if name:
                fields[name] = value


@pytest.fixture
def listen(server: Server, http: aiohttp.ClientSession) -> Callable[..., Any]:
    @asynccontextmanager
    async def listening(path: str, **headers: str) -> AsyncIterator[Stream]:
        async with http.get(f"{server.url}/sse/listen{path}", headers=headers) as response:
            assert response.content_type == "text/event-stream"
            yield Stream(response)

    return listening


async def test_sse_carries_events_with_ids(server: Server, listen: Callable[..., Any]) -> None:
    async with listen("/builds/*/*?x=1") as stream:
        opening = await stream.next()
        assert opening["event"] == "handshake"
        server.bus.publish([Hint("builds", 5, "new"), Hint("builds", 6, "update")])
        first, second = await stream.next(), await stream.next()
        assert first["event"] == second["event"] == "event"
        assert first["id"] != second["id"]
        data = json.loads(first["data"])
        assert data["key"] == ["builds", "5", "new"]
        assert data["message"]["buildid"] == 5


async def test_sse_paths_are_added_and_removed(
    server: Server, http: aiohttp.ClientSession, listen: Callable[..., Any]
) -> None:
    async with listen("") as stream:
        name = (await stream.next())["data"]
        async with http.get(f"{server.url}/sse/add/{name}/builds/5/*") as response:
            assert response.status == 200
        server.bus.publish([Hint("builds", 5, "new")])
        assert json.loads((await stream.next())["data"])["key"] == ["builds", "5", "new"]
        async with http.get(f"{server.url}/sse/remove/{name}/builds/5/*") as response:
            assert response.status == 200
        async with http.get(f"{server.url}/sse/remove/{name}/builds/5/*") as response:
            assert (response.status, list(await response.json())) == (404, ["error"])
        async with http.get(f"{server.url}/sse/add/{name}/{'a/' * 20}b") as response:
            assert response.status == 400
    async with http.get(f"{server.url}/sse/add/none/builds") as response:
        assert (response.status, list(await response.json())) == (400, ["error"])


async def test_a_client_that_comes_back_is_told_to_read_again(listen: Callable[..., Any]) -> None:
    async with listen("/builds/*/*", **{"Last-Event-ID": "x:1"}) as stream:
        assert (await stream.next())["event"] == "handshake"
        assert (await stream.next())["event"] == "resync"


async def test_stopping_ends_every_stream(
    server: Server, http: aiohttp.ClientSession, listen: Callable[..., Any]
) -> None:
    async with listen("/builds/*/*") as stream, http.ws_connect(f"{server.url}/ws") as socket:
        await stream.next()
        await server.stop()
        assert await stream.response.content.read() == b""
        message = await socket.receive()
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
