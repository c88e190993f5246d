"""Logs for readers that show them: lines with stream and time, long ones cut, half ones, and search."""

from typing import Any

import aiohttp
import pytest

from buildwright.logs.append import Piece, finish, split
from buildwright.store.base import Store
from buildwright.store.units import logs as units
from buildwright.store.units.logs import LogState
from tests.support.fill import tables
from tests.support.webserver import Server, execute
from tests.web.conftest import SMALL, Get, getter

SECOND = 1_000_000
STEP = next(
    dict(zip(columns, rows[0], strict=True))["id"] for name, columns, rows in tables(SMALL) if name == "steps"
)


async def write(store: Store, pieces: list[Piece], *, logid: int = 77, complete: bool = True) -> None:
    """A log of a step."""
    await store.run(units.add_log(logid, STEP, f"log{logid}", f"log{logid}", "s"))
    state = LogState()
    for piece in pieces:
        rows, after = split(state, [piece])
        await store.run(units.append(logid, state.next_chunk, rows, after))
        state = after
    if complete:
        rows, after = finish(state, 9 * SECOND)
        await store.run(units.finish(logid, state.next_chunk, rows, after))


@pytest.fixture
def read(each_server: Server, http: aiohttp.ClientSession) -> Get:
    return getter(each_server, http)


async def test_lines_have_number_stream_and_time(each_server: Server, read: Get) -> None:
    pieces = [
        Piece("h", SECOND, "", b"make all\n"),
        Piece("o", 2 * SECOND, "", b"one\ntwo"),
        Piece("e", 3_500_000, "", b"bad \xff byte\n"),
        Piece("o", 5 * SECOND, "", b"!\n"),
    ]
    await write(each_server.store, pieces)
    status, body = await read("/logs/77/lines")
    assert status == 200
    assert body == {
        "half_lines": [],
        "lines": [
            {"number": 0, "stream": "h", "text": "make all", "time": 1.0},
            {"number": 1, "stream": "o", "text": "one", "time": 2.0},
            {"number": 2, "stream": "e", "text": "bad \N{REPLACEMENT CHARACTER} byte", "time": 3.5},
            {"number": 3, "stream": "o", "text": "two!", "time": 5.0},
        ],
        "meta": {"complete": True, "length": 29, "logid": 77, "total": 4, "type": "s"},
    }
    _, body = await read("/logs/77/lines", offset=-2, limit=1)
    assert [line["number"] for line in body["lines"]] == [2]
    _, body = await read("/logs/77/lines", offset=99)
    assert (body["lines"], body["meta"]["total"]) == ([], 4)


async def test_a_running_log_ends_with_half_lines(each_server: Server, read: Get) -> None:
    pieces = [
        Piece("o", SECOND, "", b"one\n10%"),
        Piece("e", SECOND, "", b"?"),
        Piece("o", 3 * SECOND, "", b"20%"),
    ]
    await write(each_server.store, pieces, complete=False)
    _, body = await read("/logs/77/lines", line_bytes=4)
    assert [line["text"] for line in body["lines"]] == ["one"]
    assert body["half_lines"] == [
        {"length": 6, "stream": "o", "text": "%20%", "time": 3.0},
        {"length": 1, "stream": "e", "text": "?", "time": 1.0},
    ]
    assert body["meta"]["complete"] is False
    _, body = await read("/logs/77/lines", offset=0, limit=1, line_bytes=100)
    assert body["half_lines"]  # the end is on this page
    await write(each_server.store, [Piece("o", 1, "", b"a\nb\nc")], logid=78, complete=False)
    _, body = await read("/logs/78/lines", limit=1)
    assert body["half_lines"] == []  # it isn't


async def test_a_long_line_is_cut_between_characters(each_server: Server, read: Get) -> None:
    text = "ü" * 400_000  # in thirteen chunks
    pieces = [Piece("o", SECOND, "", text.encode()[i : i + 70_001]) for i in range(0, 800_000, 70_001)]
    await write(each_server.store, [*pieces, Piece("o", SECOND, "", b"\nshort\n")])
    _, body = await read("/logs/77/lines", line_bytes=1001)
    assert body["lines"] == [
        {"length": 800_000, "number": 0, "stream": "o", "text": "ü" * 500, "time": 1.0},
        {"number": 1, "stream": "o", "text": "short", "time": 1.0},
    ]
    _, body = await read("/logs/77/lines", line_bytes=1024 * 1024, limit=1)
    assert body["lines"][0]["text"] == text


async def test_an_answer_is_bounded_by_its_bytes(server: Server, get: Get) -> None:
    line = b"x" * 9_999 + b"\n"
    await write(server.store, [Piece("o", SECOND, "", line * 500)])
    _, body = await get("/logs/77/lines", limit=500)
    assert 100 <= len(body["lines"]) < 200
    seen = len(body["lines"])
    while seen < 500:
        _, body = await get("/logs/77/lines", limit=500, offset=seen)
        assert body["lines"][0]["number"] == seen
        seen += len(body["lines"])


async def test_only_a_finished_log_may_be_kept_by_a_browser(
    server: Server, http: aiohttp.ClientSession
) -> None:
    await write(server.store, [Piece("o", SECOND, "", b"a\n")], logid=77)
    await write(server.store, [Piece("o", SECOND, "", b"a\n")], logid=78, complete=False)
    kept = {}
    for path in ("77/lines", "77/lines?offset=-1", "78/lines"):
        async with http.get(f"{server.url}/api/v2/logs/{path}") as response:
            kept[path] = "max-age" in response.headers.get("Cache-Control", "")
    assert kept == {"77/lines": True, "77/lines?offset=-1": False, "78/lines": False}


LOG = [
    Piece("h", SECOND, "", b"sh -c error: no\n"),
    Piece("o", 2 * SECOND, "", b"One\nx.c:1: \x1b[31merror: \x1b[0mno\none two\n"),
    Piece("e", 3 * SECOND, "", b"Traceback (most recent call last):\none\n"),
]


@pytest.mark.parametrize(
    ("asked", "numbers", "next"),
    [
        ({"q": "one"}, [3, 5], None),
        ({"q": "one", "case": "0"}, [1, 3, 5], None),
        ({"q": "one", "case": "0", "limit": "2"}, [1, 3], 4),
        ({"q": "one", "case": "0", "offset": "4"}, [5], None),
        ({"q": "one", "direction": "backward"}, [5, 3], None),
        ({"q": "one", "direction": "backward", "limit": "1"}, [5], 5),
        ({"q": "one", "direction": "backward", "offset": "5"}, [3], None),
        ({"q": "^one$", "regex": "1"}, [5], None),
        ({"q": "^one$", "regex": "0"}, [], None),
        ({"q": "error: no"}, [0, 2], None),
        ({"q": "o", "stream": "stderr"}, [4, 5], None),
        ({"errors": "1"}, [2, 4], None),
        ({"stream": "stderr"}, [4, 5], None),
        ({"q": "zzz", "offset": "99"}, [], None),
    ],
)
async def test_a_search_gives_numbers_of_lines(
    server: Server, get: Get, asked: dict[str, str], numbers: list[int], next: int | None
) -> None:
    await write(server.store, LOG)
    status, body = await get("/logs/77/search", **asked)
    assert status == 200
    assert [match["number"] for match in body["matches"]] == numbers
    assert body["meta"]["next"] == next


async def test_a_search_says_streams_signs_and_what_was_searched(each_server: Server, read: Get) -> None:
    await write(each_server.store, LOG)
    _, body = await read("/logs/77/search", errors=1)
    assert body == {
        "matches": [
            {"number": 2, "sign": "compiler", "stream": "o"},
            {"number": 4, "sign": "python", "stream": "e"},
        ],
        "meta": {
            "complete": True, "length": 93, "logid": 77, "total": 6, "type": "s",
            "next": None, "searched": [0, 6],
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [
        "lines?limit=0",
        "lines?limit=100000",
        "lines?line_bytes=0",
        "lines?q=x",
        "lines?offset=x",
        "search",
        "search?q=",
        "search?q=(&regex=1",
        "search?q=x&regex=maybe",
        "search?q=x&errors=1",
        "search?q=x&stream=stdin",
        "search?q=x&direction=up",
        "search?q=x&limit=0",
        "search?q=a%0Ab",
        "search?q=" + 1001 * "x",
    ],
)
async def test_wrong_parameters_are_400(server: Server, get: Get, path: str) -> None:
    await write(server.store, [])
    status, body = await get(f"/logs/77/{path}")
    assert (status, list(body)) == (400, ["error"])


@pytest.mark.parametrize("kind", ["lines", "search?q=x"])
async def test_logs_that_are_not_there_or_no_more(server: Server, get: Get, kind: str) -> None:
    assert (await get(f"/logs/999/{kind}"))[0] == 404
    await write(server.store, [])
    await execute(
        server.store, "UPDATE logs SET tier = 'expired', expired_at = 1780000000000000 WHERE id = 77"
    )
    status, body = await get(f"/logs/77/{kind}")
    assert status == 410
    assert "expired on 2026-" in body["error"]


async def test_the_description_of_the_api_names_them(get: Get) -> None:
    _, body = await get("/application.spec")
    found: dict[str, Any] = {spec["path"]: spec for spec in body["specs"]}
    assert found["logs/n:logid/lines"]["plural"] == "lines"
    assert found["logs/n:logid/search"]["plural"] == "matches"
    assert found["logs/n:logid/contents"]["plural"] == "logchunks"
