"""JSON-RPC: what is asked for is in the store when the answer comes, and nothing is done by halves."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa

from buildwright.store import schema
from buildwright.web.auth.tokens import new_token
from tests.support.webserver import Server, execute, snapshot
from tests.web.conftest import SMALL, Get, getter

LAST = SMALL.builds
OWNER = {"Content-Type": "application/json"}
Call = Callable[..., Awaitable[tuple[int, Any]]]


@pytest.fixture
def call(each_server: Server, http: aiohttp.ClientSession) -> Call:
    return caller(each_server, http)


@pytest.fixture
def read(each_server: Server, http: aiohttp.ClientSession) -> Get:
    return getter(each_server, http)


def caller(server: Server, http: aiohttp.ClientSession) -> Call:
    """Calls a method of the data API: (status, body)."""

    async def post(
        path: str, method: str, headers: dict[str, str] | None = None, **params: Any
    ) -> tuple[int, Any]:
        body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
        async with http.post(f"{server.url}/api/v2{path}", json=body, headers=headers) as response:
            answer = await response.json()
            assert answer["jsonrpc"] == "2.0"
            assert answer["id"] == 7
            return response.status, answer

    return post


async def test_p1_a_forced_build_is_in_the_store_and_a_repetition_acts_once(call: Call, read: Get) -> None:
    """P1: acknowledged means stored, and the same key acts once."""
    params = {"builderid": 2, "reason": "try it"}
    key = {"Idempotency-Key": "delivery-1"}
    answers = await asyncio.gather(
        *(call("/forceschedulers/force", "force", key, **params) for _ in range(5))
    )
    assert {status for status, _ in answers} == {200}
    results = [answer["result"] for _, answer in answers]
    assert all(result == results[0] for result in results)
    buildsetid, requests = results[0]
    _, stored = await read(f"/buildrequests/{requests['2']}", property="*")
    assert stored["buildrequests"][0]["buildsetid"] == buildsetid
    assert stored["buildrequests"][0]["properties"]["reason"][0] == "try it"
    _, other = await call("/forceschedulers/force", "force", {"Idempotency-Key": "delivery-2"}, **params)
    assert other["result"][0] != buildsetid
    _, without = await call("/forceschedulers/force", "force", **params)
    assert without["result"][0] not in (buildsetid, other["result"][0])


async def test_a_form_that_is_wrong_is_told_by_field(call: Call) -> None:
    status, answer = await call("/forceschedulers/force", "force", builderid=3)
    assert status == 400
    assert answer["error"]["code"] == -32602
    assert isinstance(answer["error"]["message"], dict)
    status, answer = await call("/forceschedulers/force", "force", builderid=2, priority="high")
    assert (status, list(answer["error"]["message"])) == (400, ["priority"])


async def test_a_running_build_is_asked_to_stop(call: Call, each_server: Server) -> None:
    status, answer = await call(f"/builds/{LAST}", "stop", reason="not needed")
    assert (status, answer["result"]) == (200, None)
    assert await _stop_of(each_server, LAST) == (6, "not needed", 0)
    # The first stop counts; stopping what has ended does nothing.
    await call(f"/builds/{LAST}", "stop", reason="again")
    assert (await _stop_of(each_server, LAST))[1] == "not needed"
    assert (await call("/builds/1", "stop"))[0] == 200
    assert await _stop_of(each_server, 1) == (None, None, 1)


async def test_a_build_is_named_by_builder_and_number_too(call: Call, read: Get, each_server: Server) -> None:
    _, body = await read(f"/builds/{LAST}", field=["builderid", "number"])
    build = body["builds"][0]
    await call(f"/builders/{build['builderid']}/builds/{build['number']}", "stop", reason="this way")
    assert (await _stop_of(each_server, LAST))[1] == "this way"


async def test_a_waiting_request_is_cancelled_at_once(call: Call, read: Get) -> None:
    waiting = LAST + 1
    assert (await call(f"/buildrequests/{waiting}", "cancel", reason="no"))[0] == 200
    _, body = await read(f"/buildrequests/{waiting}")
    request = body["buildrequests"][0]
    assert (request["complete"], request["results"], request["claimed"]) == (True, 6, True)
    _, body = await read(f"/buildsets/{request['buildsetid']}")
    assert (body["buildsets"][0]["complete"], body["buildsets"][0]["results"]) == (True, 6)
    _, body = await read("/builders/1/buildrequests", claimed="false", limit=1)
    assert body["meta"]["total"] == SMALL.waiting - 1
    status, answer = await call(f"/buildrequests/{waiting}", "set_priority", priority=3)
    assert (status, answer["error"]["code"]) == (400, -32602)


async def test_priority_scheduler_and_worker(call: Call, read: Get) -> None:
    assert (await call(f"/buildrequests/{LAST + 2}", "set_priority", priority=-5))[0] == 200
    _, body = await read(f"/buildrequests/{LAST + 2}")
    assert body["buildrequests"][0]["priority"] == -5
    assert (await call("/schedulers/3", "enable", enabled=False))[0] == 200
    _, body = await read("/schedulers/3")
    assert body["schedulers"][0]["enabled"] is False
    _, body = await read("/forceschedulers/force")
    assert body["forceschedulers"][0]["enabled"] is False
    status, answer = await call("/forceschedulers/force", "force", builderid=2)
    assert (status, answer["error"]["code"]) == (400, -32602)
    for action, shown in [
        ("pause", {"paused": True, "pause_reason": "full", "graceful": False}),
        ("unpause", {"paused": False, "pause_reason": None, "graceful": False}),
        ("stop", {"paused": False, "pause_reason": None, "graceful": True}),
        ("kill", {"paused": False, "pause_reason": None, "graceful": True}),
    ]:
        assert (await call("/workers/worker-2", action, reason="full"))[0] == 200
        _, body = await read("/workers/2", field=["paused", "pause_reason", "graceful"])
        assert body["workers"][0] == shown


async def test_a_rebuild_asks_for_the_same_again(call: Call, read: Get) -> None:
    key = {"Idempotency-Key": "again"}
    status, answer = await call("/builds/40", "rebuild", key)
    assert status == 200
    buildsetid, requests = answer["result"]
    assert (await call("/builds/40", "rebuild", key))[1]["result"] == answer["result"]
    _, old = await read("/buildsets/40")
    _, new = await read(f"/buildsets/{buildsetid}")
    assert new["buildsets"][0]["rebuilt_buildid"] == 40
    assert new["buildsets"][0]["reason"] == "rebuild"
    assert new["buildsets"][0]["sourcestamps"] == old["buildsets"][0]["sourcestamps"]
    _, build = await read("/builds/40")
    assert list(requests) == [str(build["builds"][0]["builderid"])]
    _, properties = await read(f"/buildsets/{buildsetid}/properties")
    assert properties == (await read("/buildsets/40/properties"))[1]


@pytest.mark.parametrize(
    ("path", "method", "params", "status", "code"),
    [
        ("/nothing", "stop", {}, 404, -32600),
        ("/builds/999999", "stop", {}, 404, -32600),
        ("/forceschedulers/none", "force", {}, 404, -32600),
        ("/builds", "stop", {}, 501, -32601),
        ("/builds/1", "sTOP", {}, 501, -32601),
        ("/builds/1", "nothing", {}, 501, -32601),
        ("/logs/1/contents", "stop", {}, 501, -32601),
        ("/buildrequests/1", "nothing", {}, 501, -32601),
        ("/builds/1", "stop", {"reason": 5}, 400, -32602),
        ("/builds/1", "stop", {"results": 77}, 400, -32602),
        ("/builds/1", "stop", {"results": True}, 400, -32602),
        ("/buildrequests/1", "set_priority", {}, 400, -32602),
        ("/buildrequests/1", "set_priority", {"priority": 2**40}, 400, -32602),
        ("/schedulers/1", "enable", {"enabled": "yes"}, 400, -32602),
        ("/workers/none", "pause", {}, 404, -32600),
        ("/builds/1", "stop", {"reason": "a\0b"}, 400, -32602),
    ],
)
async def test_calls_that_cannot_be_done(
    server: Server, http: aiohttp.ClientSession, path: str, method: str, params: Any, status: int, code: int
) -> None:
    found, answer = await caller(server, http)(path, method, **params)
    assert (found, answer["error"]["code"]) == (status, code)
    assert answer["error"]["message"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff\xfe", -32700),
        (b'"\\ud800"', -32700),
        (b"[" * 5000, -32700),
        (b"[]", -32600),
        (b'[{"jsonrpc":"2.0","method":"stop","id":1,"params":{}}]', -32600),
        (b"5", -32600),
        (b'{"jsonrpc":"2.0","method":"stop","id":1}', -32600),
        (b'{"jsonrpc":"2.0","method":"stop","params":{}}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"params":{}}', -32600),
        (b'{"method":"stop","id":1,"params":{}}', -32600),
        (b'{"jsonrpc":"1.0","method":"stop","id":1,"params":{}}', -32600),
        (b'{"jsonrpc":"2.0","method":5,"id":1,"params":{}}', -32600),
        (b'{"jsonrpc":"2.0","method":"stop","id":{},"params":{}}', -32600),
        (b'{"jsonrpc":"2.0","method":"stop","id":1,"params":[]}', -32600),
    ],
)
async def test_bodies_that_are_no_call(
    server: Server, http: aiohttp.ClientSession, body: bytes, code: int
) -> None:
    async with http.post(f"{server.url}/api/v2/builds/1", data=body, headers=OWNER) as response:
        answer = await response.json()
        assert (response.status, answer["error"]["code"]) == (400, code)


async def test_only_json_acts(server: Server, http: aiohttp.ClientSession) -> None:
    body = '{"jsonrpc":"2.0","method":"stop","id":1,"params":{}}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        async with http.post(
            f"{server.url}/api/v2/builds/{LAST}", data=body, headers={"Content-Type": kind}
        ) as response:
            assert response.status == 400
    assert await _stop_of(server, LAST) == (None, None, 0)


async def test_a_body_that_is_too_large_is_413(server: Server, http: aiohttp.ClientSession) -> None:
    async with http.post(
        f"{server.url}/api/v2/builds/1", data=io.BytesIO(b" " * 9_000_000), headers=OWNER
    ) as response:
        assert response.status == 413
        assert "larger" in (await response.json())["error"]


async def test_with_a_token_only_its_owner_acts(server: Server, http: aiohttp.ClientSession) -> None:
    call = caller(server, http)
    token, hashed = new_token()
    await execute(
        server.store, f"INSERT INTO api_tokens (name, hash, created_at) VALUES ('ann', '{hashed}', 1)"
    )
    status, answer = await call("/builds/1", "stop")
    assert (status, answer["error"]["code"]) == (401, -32600)
    assert (await call("/builds/1", "stop", {"Authorization": "Bearer wrong"}))[0] == 401
    assert (await call("/builds/1", "stop", {"Authorization": f"Bearer {token}"}))[0] == 200
    async with http.get(f"{server.url}/api/v2/builds/1") as response:
        assert response.status == 200
    _, forced = await call(
        "/forceschedulers/force", "force", {"Authorization": f"Bearer {token}"}, builderid=2, owner="eve"
    )
    _, properties = await getter(server, http)(f"/buildsets/{forced['result'][0]}/properties")
    assert properties["properties"][0]["owner"][0] == "ann"


async def test_a_token_of_the_configuration_counts(server: Server, http: aiohttp.ClientSession) -> None:
    token, hashed = new_token()
    server.tokens = {hashed: "from the configuration"}
    call = caller(server, http)
    assert (await call("/builds/1", "stop"))[0] == 401
    assert (await call("/builds/1", "stop", {"Authorization": f"Bearer {token}"}))[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-Forwarded-For": "203.0.113.9"}, 401),
        ({"Forwarded": "for=203.0.113.9"}, 401),
        ({"Host": "evil.example.org"}, 403),
        ({"Host": "evil.example.org:8010", "Origin": "http://evil.example.org:8010"}, 403),
        ({"Origin": "http://evil.example.org"}, 400),
        ({"Host": "localhost:8010", "Origin": "http://localhost:8010"}, 200),
        ({"Host": "[::1]:8010"}, 200),
    ],
)
async def test_without_tokens_only_this_machine_acts(
    server: Server, http: aiohttp.ClientSession, headers: dict[str, str], status: int
) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "stop", "params": {}}
    async with http.post(f"{server.url}/api/v2/builds/1", json=body, headers=headers) as response:
        assert response.status == status
        await response.json()


async def test_origins(server: Server, http: aiohttp.ClientSession) -> None:
    server.snapshot = snapshot(allowed_origins=["https://*.example.org"])
    url = f"{server.url}/api/v2/builds/1"
    async with http.get(url, headers={"Origin": "https://CI.example.org"}) as response:
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Origin"] == "https://CI.example.org"
    async with http.get(f"{url}?x=1", headers={"Origin": "https://ci.example.org"}) as response:
        assert response.status == 400
        assert response.headers["Access-Control-Allow-Origin"] == "https://ci.example.org"
    async with http.get(url, headers={"Origin": "https://example.net"}) as response:
        assert (response.status, await response.json()) == (400, {"error": "invalid origin"})
        assert "Access-Control-Allow-Origin" not in response.headers
    preflight = {"Origin": "https://ci.example.org", "Access-Control-Request-Method": "POST"}
    async with http.options(url, headers=preflight) as response:
        assert response.status == 200
        assert response.headers["Access-Control-Max-Age"] == "3600"
        assert "Content-Type" in response.headers["Access-Control-Allow-Headers"]
    async with http.options(url, headers={**preflight, "Access-Control-Request-Method": "PUT"}) as response:
        assert response.status == 400
    async with http.delete(url) as response:
        assert (response.status, list(await response.json())) == (400, ["error"])


async def _stop_of(server: Server, requestid: int) -> tuple[Any, ...]:
    r = schema.buildrequests.c
    query = sa.select(r.stop_results, r.stop_reason, r.complete).where(r.id == requestid)
    return tuple((await server.store.fetch(query))[0])
