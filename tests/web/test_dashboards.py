"""Dashboards of one's own: Flask and plain WSGI, beside a master that must not suffer from them."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import aiohttp
import flask
import pytest

from buildwright.model.dashboards import Dashboard
from buildwright.web import dashboards
from tests.support.fill import SECOND
from tests.support.webserver import Server, snapshot
from tests.web.conftest import SMALL
from tests.web.test_reading import BUILDS

Start = Callable[[str, list[tuple[str, str]]], Any]


def flask_app() -> Any:
    app = flask.Flask("releases")
    own: Any = app

    @app.route("/index.html")
    def index() -> str:
        builders = own.buildbot_api.dataGet("/builders", fields=["name", "builderid"], order=["-builderid"])
        return ", ".join(builder["name"] for builder in builders)

    @app.route("/builds")
    def builds() -> Any:
        api = own.buildbot_api
        newest = api.dataGet("/builds", order=["-buildid"], limit=2, offset=1)
        failed = api.dataGet(("builds",), filters=[("results", "eq", [2]), ("complete", "eq", [True])])
        one = api.dataGet(("builds", 1))
        return {
            "newest": [build["buildid"] for build in newest],
            "failed": len(failed),
            "started": one["started_at"].isoformat(),
            "none": api.dataGet("/builds/99999"),
            "owner": api.dataGet(("builds", 1, "properties"))["owner"],
        }

    @app.route("/echo", methods=["GET", "POST"])
    def echo() -> Any:
        request = flask.request
        return {
            "method": request.method,
            "path": request.path,
            "root": request.script_root,
            "asked": request.args.getlist("x"),
            "body": request.get_data(as_text=True),
        }

    @app.route("/wrong")
    def wrong() -> str:
        return str(own.buildbot_api.dataGet("/nothing"))

    return app


def plain(text: str) -> Callable[[dict[str, Any], Start], Iterable[bytes]]:
    def app(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [text.encode()]

    return app


def configure(server: Server, **apps: Any) -> None:
    server.snapshot = snapshot(
        dashboards=tuple(Dashboard(name, name.title(), app) for name, app in apps.items())
    )


async def fetch(
    server: Server, http: aiohttp.ClientSession, path: str, method: str = "GET", **options: Any
) -> tuple[int, str]:
    url = f"{server.url}/plugins/wsgi_dashboards/{path}"
    async with http.request(method, url, **options) as response:
        return response.status, await response.text()


async def test_flask_reads_the_data_api(server: Server, http: aiohttp.ClientSession) -> None:
    configure(server, releases=flask_app())
    status, text = await fetch(server, http, "releases/index.html")
    assert (status, text.split(", ")[0]) == (200, f"builder-{SMALL.builders:02}")
    async with http.get(f"{server.url}/plugins/wsgi_dashboards/releases/builds") as response:
        found = await response.json()
    assert found["newest"] == [SMALL.builds - 1, SMALL.builds - 2]
    assert found["failed"] == sum(row["results"] == 2 for row in BUILDS)
    assert found["started"] == datetime.fromtimestamp(BUILDS[0]["started_at"] // SECOND, UTC).isoformat()
    assert found["none"] is None
    assert found["owner"] == ["ann@example.org", "Force"]
    assert (await fetch(server, http, "releases/wrong"))[0] == 500


async def test_an_application_knows_where_it_is(server: Server, http: aiohttp.ClientSession) -> None:
    configure(server, releases=flask_app())
    url = f"{server.url}/plugins/wsgi_dashboards/releases/echo"
    async with http.post(url, params={"x": ["1", "ä"]}, data=b"hello") as response:
        assert await response.json() == {
            "method": "POST",
            "path": "/echo",
            "root": "/plugins/wsgi_dashboards/releases",
            "asked": ["1", "ä"],
            "body": "hello",
        }
    async with http.get(f"{server.url}/plugins/wsgi_dashboards/releases", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (308, "/plugins/wsgi_dashboards/releases/")
    assert (await fetch(server, http, "releases/nothing"))[0] == 404
    assert (await fetch(server, http, "other/index.html"))[0] == 404
    foreign = {"Sec-Fetch-Site": "cross-site"}
    assert (await fetch(server, http, "releases/echo", "POST", headers=foreign))[0] == 403


async def test_the_page_finds_them_in_its_configuration(server: Server, http: aiohttp.ClientSession) -> None:
    server.snapshot = snapshot(dashboards=(Dashboard("a", "The first", plain("a"), 1, "rocket"),))
    async with http.get(f"{server.url}/config") as response:
        told = await response.json()
    assert told["plugins"]["wsgi_dashboards"] == [
        {"caption": "The first", "icon": "rocket", "name": "a", "order": 1}
    ]


async def test_a_new_configuration_brings_a_new_application(
    server: Server, http: aiohttp.ClientSession
) -> None:
    configure(server, a=plain("old"), b=plain("b"))
    assert await fetch(server, http, "a/") == (200, "old")
    configure(server, a=plain("new"))
    assert await fetch(server, http, "a/") == (200, "new")
    assert (await fetch(server, http, "b/"))[0] == 404


def raising(error: BaseException) -> Any:
    def app(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        raise error

    return app


def _says_nothing(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    return [b"no status"]


FAULTS = {
    "raises": raising(ValueError("secret-detail")),
    "exits": raising(SystemExit(3)),
    "interrupts": raising(KeyboardInterrupt()),
    "stops": raising(StopIteration("x")),
    "says-nothing": _says_nothing,
    "gives-nonsense": lambda environ, start_response: 5,
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_goes_wrong_in_one_is_told_and_stops_nothing_else(
    server: Server, http: aiohttp.ClientSession, fault: str
) -> None:
    configure(server, bad=FAULTS[fault], good=plain("fine"))
    status, text = await fetch(server, http, "bad/index.html")
    assert status == 500
    assert "the dashboard 'bad' failed: the master's log has it under" in text
    assert "secret-detail" not in text
    assert await fetch(server, http, "good/") == (200, "fine")


async def test_one_that_hangs_keeps_only_its_own_callers_waiting(
    server: Server, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboards, "MOST_CALLS", 2)
    held, release = threading.Semaphore(0), threading.Event()

    def hanging(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        held.release()
        assert release.wait(60)
        start_response("200 OK", [])
        return [b"late"]

    configure(server, slow=hanging, good=plain("fine"))
    waiting = [asyncio.create_task(fetch(server, http, "slow/")) for _ in range(2)]
    try:
        for _ in waiting:
            assert await asyncio.to_thread(held.acquire, timeout=60)
        status, text = await fetch(server, http, "slow/")
        assert (status, "is busy with 2 calls" in text) == (503, True)
        assert await fetch(server, http, "good/") == (200, "fine")
        async with http.get(f"{server.url}/api/v2/builders?limit=1") as response:
            assert response.status == 200
    finally:
        release.set()
    assert await asyncio.gather(*waiting) == [(200, "late")] * 2
    assert await fetch(server, http, "slow/") == (200, "late")


async def test_one_that_takes_too_long_is_given_up(
    server: Server, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboards, "PATIENCE", 0.05)
    release = threading.Event()

    def hanging(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        assert release.wait(60)
        return []

    configure(server, slow=hanging)
    try:
        status, text = await fetch(server, http, "slow/")
        assert (status, "didn't answer within 0.05 s" in text) == (503, True)
    finally:
        release.set()


async def test_the_api_is_not_for_the_loop_itself(server: Server, http: aiohttp.ClientSession) -> None:
    own = flask_app()
    configure(server, releases=own)
    assert (await fetch(server, http, "releases/index.html"))[0] == 200
    with pytest.raises(RuntimeError, match="here it would wait for itself"):
        own.buildbot_api.dataGet("/builders")
