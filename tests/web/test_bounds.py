"""However much there is, and however many ask: answers are bounded, and refusals come at once."""

from typing import Any

import aiohttp
import pytest

from buildwright.store import base
from buildwright.web import data
from tests.support.webserver import Server
from tests.web.conftest import SMALL, Get, getter


@pytest.mark.parametrize("asked", [{}, {"limit": 5_000}])
async def test_an_answer_holds_so_many_things_and_tells_how_many_there_are(
    each_server: Server, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any]
) -> None:
    monkeypatch.setattr(data, "MOST_AT_ONCE", 120)
    read = getter(each_server, http)
    found: list[int] = []
    for offset, length in ((0, 120), (120, 120), (240, 60), (360, 0)):
        status, body = await read("/builds", offset=offset, field="buildid", **asked)
        assert (status, len(body["builds"])) == (200, length)
        assert body["meta"] == {"total": SMALL.builds} if length else True
        found += [build["buildid"] for build in body["builds"]]
    assert found == list(range(1, SMALL.builds + 1))
    _, one = await read("/builds/1")
    assert one["meta"] == {}


async def test_too_many_readers_are_told_to_come_again(
    server: Server, http: aiohttp.ClientSession, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "MOST_BROWSING", 0)
    async with http.get(f"{server.url}/api/v2/builds?limit=1") as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "5")
        assert await response.json() == {"error": "too many others are reading; ask again"}
    for path in ("/readyz", "/metrics"):
        async with http.get(f"{server.url}{path}") as response:
            assert response.status == 200
    monkeypatch.undo()
    assert (await get("/builds", limit=1))[0] == 200
