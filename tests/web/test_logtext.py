"""The text of logs over HTTP: line ranges, raw bytes, and logs that can't be read."""

import json
from typing import Any

import aiohttp
import pytest

from tests.support.fill import tables
from tests.support.webserver import Server, execute
from tests.web.conftest import SMALL, Get, getter

ROWS = {name: [dict(zip(columns, row, strict=True)) for row in rows] for name, columns, rows in tables(SMALL)}
STEP = ROWS["steps"][0]
LOG = STEP["id"]
CHUNKS = [row for row in ROWS["logchunks"] if row["logid"] == LOG]
LINES = [(row["stream"], line) for row in CHUNKS for line in row["content"].removesuffix(b"\n").split(b"\n")]
PREFIXED = [(stream + line.decode("utf-8", "replace") + "\n") for stream, line in LINES]
BUILD = next(row for row in ROWS["builds"] if row["id"] == STEP["buildid"])


@pytest.fixture
def read(each_server: Server, http: aiohttp.ClientSession) -> Get:
    return getter(each_server, http)


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [
        ({}, 0, None),
        ({"offset": 3}, 3, None),
        ({"limit": 4}, 0, 4),
        ({"offset": 49, "limit": 2}, 49, 51),
        ({"offset": 1000}, 1000, None),
        ({"limit": 0}, 0, 0),
    ],
)
async def test_contents_are_lines_with_their_streams_letter(
    read: Get, asked: dict[str, Any], first: int, end: int | None
) -> None:
    status, body = await read(f"/logs/{LOG}/contents", **asked)
    assert status == 200
    chunk = {"content": "".join(PREFIXED[first:end]), "firstline": first, "logid": LOG}
    assert body == {"logchunks": [chunk], "meta": {}}


async def test_every_way_to_a_log_leads_to_its_text(read: Get) -> None:
    step = f"steps/{STEP['number']}"
    name = next(row["name"] for row in ROWS["builders"] if row["id"] == BUILD["builderid"])
    ways = [
        f"/steps/{LOG}/logs/stdio",
        f"/builds/{BUILD['id']}/{step}/logs/stdio",
        f"/builds/{BUILD['id']}/steps/{STEP['name']}/logs/stdio",
        f"/builders/{BUILD['builderid']}/builds/{BUILD['number']}/{step}/logs/stdio",
        f"/builders/{name}/builds/{BUILD['number']}/{step}/logs/stdio",
    ]
    for way in ways:
        _, body = await read(f"{way}/contents", limit=1)
        assert body["logchunks"][0]["logid"] == LOG


async def test_raw_has_a_head_and_no_letters(server: Server, http: aiohttp.ClientSession) -> None:
    builder = next(row["name"] for row in ROWS["builders"] if row["id"] == BUILD["builderid"])
    head = f"Builder: {builder}\nBuild number: {BUILD['number']}\nWorker name: worker-{BUILD['workerid']}\n"
    whole = head.encode() + b"".join(row["content"] for row in CHUNKS)
    async with http.get(f"{server.url}/api/v2/logs/{LOG}/raw") as response:
        assert await response.read() == whole
        assert response.headers["Content-Disposition"] == 'attachment; filename="stdio"'
        assert response.content_type == "text/plain"
    async with http.get(f"{server.url}/api/v2/logs/{LOG}/raw_inline") as response:
        assert await response.read() == whole
        assert "Content-Disposition" not in response.headers
        assert response.headers["Content-Security-Policy"].startswith("sandbox")
    async with http.head(f"{server.url}/api/v2/logs/{LOG}/raw") as response:
        assert (response.status, await response.read()) == (200, b"")


@pytest.mark.parametrize(("stream", "letter"), [("stdout", "o"), ("stderr", "e"), ("header", "h")])
async def test_p5_one_stream_comes_byte_for_byte(
    each_server: Server, http: aiohttp.ClientSession, stream: str, letter: str
) -> None:
    """P5: what a reader sees of a stream is what was stored of it."""
    url = f"{each_server.url}/api/v2/logs/{LOG}/raw"
    async with http.get(url, params={"stream": stream}) as response:
        expected = b"".join(row["content"] for row in CHUNKS if row["stream"] == letter)
        assert await response.read() == expected


@pytest.mark.parametrize(
    "path",
    [
        f"/logs/{LOG}/raw?stream=stdin",
        f"/logs/{LOG}/raw?offset=1",
        f"/logs/{LOG}/contents?stream=stdout",
        f"/logs/{LOG}/contents?limit=x",
        f"/logs/{LOG}/contents?limit=-1",
        f"/logs/{LOG}/contents?limit=1&limit=2",
        f"/logs/{LOG}/contents?nothing=1",
    ],
)
async def test_wrong_parameters_are_400(get: Get, path: str) -> None:
    status, body = await get(path)
    assert (status, list(body)) == (400, ["error"])


async def test_a_log_that_is_not_there(get: Get) -> None:
    assert (await get("/logs/1/contents"))[0] == 404
    assert (await get("/logs/1/raw"))[0] == 404
    assert (await get("/builds/1/steps/0/logs/none/raw"))[0] == 404


async def test_a_log_past_its_retention_says_so(server: Server, get: Get) -> None:
    await execute(server.store, "UPDATE logs SET tier = 'expired', expired_at = 1780000000000000")
    _, body = await get(f"/logs/{LOG}")
    assert body["logs"][0]["type"] == "d"
    for kind in ("contents", "raw", "raw_inline"):
        status, body = await get(f"/logs/{LOG}/{kind}")
        assert status == 410
        assert "expired on 2026-" in body["error"]


async def test_a_long_log_comes_in_pieces_and_whole(server: Server, http: aiohttp.ClientSession) -> None:
    logid = 99
    lines = [f'line {i} with "quotes", \\ and ünïcode' for i in range(20_000)]
    data = "".join(line + "\n" for line in lines).encode()
    await execute(
        server.store,
        "INSERT INTO logs (id, stepid, name, slug, type, complete, num_lines, length, next_chunk, tier) "
        f"VALUES ({logid}, {STEP['id']}, 'long', 'long', 't', 1, 20000, {len(data)}, 1, 'kept')",
    )
    await execute(
        server.store,
        "INSERT INTO logchunks "
        "(logid, seq, offset, first_line, num_lines, line_from, stream, time_us, origin, content) "
        f"VALUES ({logid}, 0, 0, 0, 20000, 0, 'o', 0, '', x'{data.hex()}')",
    )
    async with http.get(f"{server.url}/api/v2/logs/{logid}/contents") as response:
        text = await response.text()
        assert json.loads(text)["logchunks"] == [{"content": data.decode(), "firstline": 0, "logid": logid}]
        assert response.headers.get("Transfer-Encoding") == "chunked"
    async with http.get(f"{server.url}/api/v2/logs/{logid}/raw") as response:
        assert await response.read() == data


async def test_an_html_log_can_do_nothing_on_our_page(server: Server, http: aiohttp.ClientSession) -> None:
    await execute(server.store, f"UPDATE logs SET type = 'h' WHERE id = {LOG}")
    async with http.get(f"{server.url}/api/v2/logs/{LOG}/raw_inline") as response:
        assert response.content_type == "text/html"
        assert response.headers["Content-Security-Policy"].startswith("sandbox;")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
