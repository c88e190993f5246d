"""Badges: what they show, how they look, and what can't be smuggled into them."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

import aiohttp
import pytest

from buildwright.web.badges import text_width
from tests.support.webserver import Server, execute, snapshot

SVG = "{http://www.w3.org/2000/svg}"
Fetch = Callable[..., Awaitable[tuple[aiohttp.ClientResponse, bytes]]]


@pytest.fixture
def fetch(server: Server, http: aiohttp.ClientSession) -> Fetch:
    async def fetch(path: str, headers: Any = None, **params: Any) -> tuple[aiohttp.ClientResponse, bytes]:
        async with http.get(f"{server.url}{path}", params=params, headers=headers) as response:
            return response, await response.read()

    return fetch


def texts(body: bytes) -> list[str]:
    """What a badge says, without the shadows of it."""
    root = ET.fromstring(body)
    assert root.tag == f"{SVG}svg"
    return [each.text or "" for each in root.iter(f"{SVG}text") if each.get("aria-hidden") is None]


def fills(body: bytes) -> list[str | None]:
    return [each.get("fill") for each in ET.fromstring(body).iter(f"{SVG}rect")]


@pytest.mark.parametrize("place", ["/badges", "/plugins/badges"])
async def test_a_badge_shows_the_latest_build_that_has_ended(
    server: Server, fetch: Fetch, place: str
) -> None:
    await execute(server.store, "UPDATE builds SET results = 2 WHERE builderid = 3")
    await execute(server.store, "UPDATE builds SET results = 0 WHERE builderid = 4")
    for name, state, color in (("builder-03", "failure", "#e05d44"), ("builder-04", "success", "#4c1")):
        response, body = await fetch(f"{place}/{name}.svg")
        assert (response.status, response.content_type) == (200, "image/svg+xml")
        assert texts(body) == ["Build Status", state]
        assert fills(body)[1:3] == ["#555", color]


async def test_a_builder_without_a_build_that_has_ended(server: Server, fetch: Fetch) -> None:
    await execute(server.store, "INSERT INTO builders (id, name) VALUES (98, 'new'), (99, 'first')")
    await execute(
        server.store,
        "INSERT INTO builds (number, builderid, buildrequestid, attempt, workerid, masterid, started_at) "
        "VALUES (1, 99, 9999, 1, 1, 1, 5)",
    )
    assert texts((await fetch("/badges/new.svg"))[1])[1] == "unknown"
    assert texts((await fetch("/badges/first.svg"))[1])[1] == "running"
    response, _ = await fetch("/badges/none.svg")
    assert (response.status, response.content_type) == (404, "application/json")
    response, _ = await fetch("/badges/new.png")
    assert response.status == 404


async def test_names_and_texts_are_text(server: Server, fetch: Fetch) -> None:
    await execute(server.store, "UPDATE builders SET name = 'a/<b> \"c\".x' WHERE id = 2")
    evil = "\"/><script>alert('1')</script>\x1b"
    name = quote('a/<b> "c".x', safe="")
    response, body = await fetch(f"/badges/{name}.svg", left_text=evil)
    assert response.status == 200
    assert texts(body)[0] == evil.replace("\x1b", "\ufffd")
    assert not list(ET.fromstring(body).iter(f"{SVG}script"))
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")


async def test_options_of_the_query_go_before_those_of_the_configuration(
    server: Server, fetch: Fetch
) -> None:
    server.snapshot = snapshot(badges={"left_text": "tests", "color_scheme": {"success": "green"}})
    await execute(server.store, "UPDATE builds SET results = 0 WHERE builderid = 4")
    _, body = await fetch("/badges/builder-04.svg")
    assert (texts(body)[0], fills(body)[2]) == ("tests", "green")
    _, body = await fetch("/badges/builder-04.svg", left_text="ci", left_color="#123456", style="flat-square")
    assert (texts(body)[0], fills(body)[1]) == ("ci", "#123456")
    root = ET.fromstring(body)
    [clip] = root.iter(f"{SVG}clipPath")
    assert clip[0].get("rx") == "0"
    _, wide = await fetch("/badges/builder-04.svg", left_text="mmmmmm")
    _, narrow = await fetch("/badges/builder-04.svg", left_text="iiiiii")
    assert int(ET.fromstring(wide).attrib["width"]) > int(ET.fromstring(narrow).attrib["width"])
    _, alone = await fetch("/badges/builder-04.svg", left_text="")
    assert texts(alone) == ["success"]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"style": "round"}, "style must be one of"),
        ({"left_color": "red;}"}, "left_color must be a colour"),
        ({"left_text": "x" * 300}, "left_text must be a text of at most 200"),
        ({"font_size": "99"}, "font_size must be a number from 0 to 40"),
        ({"font_size": "big"}, "font_size must be a number"),
        ({"font_face": 'x"'}, "font_face must be names of fonts"),
        ({"color_scheme": "x"}, "a badge has no option 'color_scheme'"),
        ({"nothing": "x"}, "a badge has no option 'nothing'"),
    ],
)
async def test_what_is_wrong_is_400(fetch: Fetch, params: dict[str, str], said: str) -> None:
    response, body = await fetch("/badges/builder-04.svg", **params)
    assert response.status == 400
    assert said in body.decode()


async def test_a_badge_is_sent_again_only_if_it_has_changed(server: Server, fetch: Fetch) -> None:
    first, _ = await fetch("/badges/builder-04.svg")
    assert first.headers["Cache-Control"] == "no-cache"
    known = {"If-None-Match": first.headers["ETag"]}
    same, body = await fetch("/badges/builder-04.svg", headers=known)
    assert (same.status, body) == (304, b"")
    await execute(server.store, "UPDATE builds SET results = 4 WHERE builderid = 4")
    other, body = await fetch("/badges/builder-04.svg", headers=known)
    assert (other.status, texts(body)[1]) == (200, "exception")


def test_widths() -> None:
    assert text_width("iiii", 11) < text_width("mmmm", 11) < text_width("漢字漢字", 11)
    assert text_width("e\u0301", 11) == text_width("e", 11)
