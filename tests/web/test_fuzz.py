"""Whatever a client sends, the answer is JSON and its fault: no path, query or body makes a 5xx but 501."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from buildwright.store.urls import open_store
from buildwright.web.data import RESOURCES, TABLE
from buildwright.web.fields import OPERATORS
from tests.support.webserver import Server
from tests.web.conftest import FORMS

PATTERNS = sorted(pattern for pattern, _ in TABLE)
NAMES = sorted({name for resource in RESOURCES.values() for name in resource.fields})
ELEMENTS = st.one_of(
    st.integers(-5, 400).map(str),
    st.integers().map(str),
    st.sampled_from(
        ["builder-02", "worker-2", "stdio", "make", "force", "pyflakes", "..", "%", "\0", "a/b", "*"]
    ),
    st.text(max_size=8),
)
VALUES = st.one_of(
    st.integers(-3, 400).map(str),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(
        ["true", "no", "", "-", "null", "1e5", "٣", "*", "linux", "\0", "'", '"; --', "%", "_", "-number"]
    ),
    st.text(max_size=6),
)
PARAMETERS = st.one_of(
    st.tuples(
        st.sampled_from(NAMES), st.sampled_from(["", *(f"__{each}" for each in OPERATORS), "__", "__x"])
    ).map("".join),
    st.sampled_from(["field", "order", "limit", "offset", "property", "stream", "nothing", "__eq", ""]),
    st.text(max_size=6),
)
FIELDS = st.tuples(
    st.sampled_from(["field", "order"]),
    st.tuples(st.sampled_from(["", "-"]), st.sampled_from(NAMES)).map("".join),
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
METHODS = st.sampled_from(
    ["stop", "rebuild", "cancel", "set_priority", "enable", "force", "pause", "kill", "x"]
)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop for all examples of this module, on which the server runs."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(scope="module")
def fuzzed(
    loop: asyncio.AbstractEventLoop, filled_sqlite: bytes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, aiohttp.ClientSession]]:
    directory: Path = tmp_path_factory.mktemp("fuzz")
    (directory / "state.sqlite").write_bytes(filled_sqlite)
    store = open_store("sqlite:///state.sqlite", directory)
    server = Server(store, directory, FORMS)

    async def start() -> aiohttp.ClientSession:
        await store.start()
        await server.start()
        return aiohttp.ClientSession()

    async def stop() -> None:
        await session.close()
        await server.stop()
        await store.stop()

    session = loop.run_until_complete(start())
    yield server, session
    loop.run_until_complete(stop())


@st.composite
def paths(draw: st.DrawFn) -> str:
    parts = []
    for part in draw(st.sampled_from(PATTERNS)).split("/"):
        element = draw(ELEMENTS) if part[1:2] == ":" else part
        parts.append(quote(element.encode("utf-8", "surrogatepass"), safe=""))
    return "/".join(parts)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=paths(), parameters=st.lists(st.one_of(st.tuples(PARAMETERS, VALUES), FIELDS), max_size=4))
def test_reads(
    loop: asyncio.AbstractEventLoop,
    fuzzed: tuple[Server, aiohttp.ClientSession],
    path: str,
    parameters: list[tuple[str, str]],
) -> None:
    query = urlencode(parameters, errors="surrogatepass")
    status, kind = loop.run_until_complete(_get(*fuzzed, f"{path}?{query}"))
    assert status in (200, 400, 404)
    assert kind in ("application/json", "text/plain")


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=paths(),
    method=METHODS,
    params=st.one_of(st.dictionaries(PARAMETERS, JSON, max_size=3), JSON),
    extra=JSON,
)
def test_calls(
    loop: asyncio.AbstractEventLoop,
    fuzzed: tuple[Server, aiohttp.ClientSession],
    path: str,
    method: str,
    params: Any,
    extra: Any,
) -> None:
    if isinstance(params, dict):
        params |= {"builderid": extra, "priority": extra, "reason": extra, "enabled": extra}
    body = {"jsonrpc": "2.0", "id": extra, "method": method, "params": params}
    _call(loop, fuzzed, path, json.dumps(body).encode())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.one_of(st.binary(max_size=30), JSON.map(lambda value: json.dumps(value).encode())))
def test_bodies(
    loop: asyncio.AbstractEventLoop, fuzzed: tuple[Server, aiohttp.ClientSession], body: bytes
) -> None:
    _call(loop, fuzzed, "/builds/300", body)


def _call(
    loop: asyncio.AbstractEventLoop, fuzzed: tuple[Server, aiohttp.ClientSession], path: str, body: bytes
) -> None:
    status, answer = loop.run_until_complete(_post(*fuzzed, path, body))
    assert status in (200, 400, 404, 501)
    assert "result" in answer if status == 200 else answer["error"]["code"] < -32000


async def _get(server: Server, http: aiohttp.ClientSession, target: str) -> tuple[int, str]:
    url = URL(f"{server.url}/api/v2{target}", encoded=True)
    async with http.get(url) as response:
        if response.content_type == "application/json":
            body = await response.json()
            assert response.status == 200 or list(body) == ["error"]
        else:
            await response.read()
        return response.status, response.content_type


async def _post(server: Server, http: aiohttp.ClientSession, path: str, body: bytes) -> tuple[int, Any]:
    url = URL(f"{server.url}/api/v2{path}", encoded=True)
    async with http.post(url, data=body, headers={"Content-Type": "application/json"}) as response:
        return response.status, await response.json()
