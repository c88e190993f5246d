"""Requests over HTTP, sent by the master to a server of the test's own."""

import asyncio
import json
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from buildwright.model.errors import Collector, collected, collecting
from buildwright.model.results import CANCELLED, FAILURE, RETRY, SUCCESS
from tests.steps.conftest import Start
from tests.support.rig import Rig


class Server:
    """A server that says what it was asked, and keeps it."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.url = ""
        self.holds = False
        self.held = asyncio.Event()
        self._let_go = asyncio.Event()

    def let_go(self) -> None:
        self.holds = False
        self._let_go.set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/silent" and self.holds:
            self.held.set()
            await self._let_go.wait()
        if request.path == "/to":
            raise web.HTTPFound("/there")
        if request.path == "/endless":
            return web.Response(body=b"x" * 3_000_000)
        if request.path.startswith("/status/"):
            return web.Response(status=int(request.path.rpartition("/")[2]), text="as asked\n")
        form: dict[str, Any] = {}
        if request.content_type == "multipart/form-data":
            for name, field in (await request.post()).items():
                if isinstance(field, web.FileField):
                    form[name] = [field.filename, field.file.read().decode()]
                else:
                    form[name] = field
        self.asked.append(
            {
                "method": request.method,
                "path": request.path,
                "query": [list(pair) for pair in request.query.items()],
                "headers": dict(request.headers),
                "cookies": dict(request.cookies),
                "body": form or (await request.read()).decode("utf-8", "surrogateescape"),
                "host": request.headers["Host"],
                "target": request.raw_path,
            }
        )
        return web.json_response(self.asked[-1], headers={"X-Hello": "you", "Set-Cookie": "session=opens"})


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    async with _serving(made) as url:
        made.url = url
        yield made
        made.let_go()


class _serving:  # noqa: N801 - a context
    def __init__(self, made: Server, tls: Any = None) -> None:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", made.answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        self._tls = tls

    async def __aenter__(self) -> str:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self._runner.addresses[0][1]}"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


async def run_steps(start: Start, server: Server, *texts: str, head: str = "") -> tuple[Rig, Any]:
    it = await start(f"URL = {server.url!r}\n{head}\nbuilder('b', {', '.join(texts)})")
    return it, await it.build()


async def test_the_methods(start: Start, server: Server) -> None:
    _, built = await run_steps(
        start,
        server,
        'steps.GET(URL + "/a")',
        'steps.POST(util.Interpolate("%(kw:u)s/b", u=URL), data="text", name="post")',
        'steps.PUT(URL, data=b"\\x00\\xffbytes", name="put")',
        'steps.DELETE(url=URL, name="delete")',
        'steps.HEAD(URL, name="head")',
        'steps.OPTIONS(URL, name="options")',
        'steps.HTTPStep(URL, "PATCH", json={"n": [1, util.Property("buildnumber")]}, name="patch")',
        'steps.HTTPStepNewStyle(URL, method=util.Transform(lambda: "POST"), name="late")',
    )
    assert built.results == SUCCESS, built
    assert built.outline[0] == ("HTTPStep", SUCCESS)
    assert [asked["method"] for asked in server.asked] == [
        "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "POST",
    ]  # fmt: skip
    assert [asked["body"] for asked in server.asked][1:3] == ["text", "\x00\udcffbytes"]
    assert "Content-Type" not in server.asked[1]["headers"]
    assert json.loads(server.asked[6]["body"]) == {"n": [1, 1]}
    assert server.asked[6]["headers"]["Content-Type"] == "application/json"
    assert built.step("HTTPStep").state == "200 OK"
    assert json.loads(built.log("HTTPStep", "content").out)["path"] == "/a"
    heads = built.log("HTTPStep", "log").header.decode().splitlines()
    assert heads[0] == f"GET {server.url}/a"
    assert "< 200 OK" in heads
    assert "< X-Hello: you" in heads
    assert "content" not in built.step("head").logs


async def test_the_arguments(start: Start, server: Server) -> None:
    _, built = await run_steps(
        start,
        server,
        """steps.POST(URL + "/form", params={"q": ["a b", 2], "none": None},
            data={"f": "x&y", "g": ["1", "2"]}, cookies={"c": "d"},
            headers={"X-Number": 7, "X-Builder": util.Property("buildername")},
            auth=("me", "it"), hide_request_headers=["x-number"],
            hide_response_headers=["X-Hello"], timeout=30)""",
        """steps.POST(URL + "/files", files={"one": ("name.txt", "content"), "two": b"bytes"}, data={"f": 1},
            timeout=(5, 30), name="files")""",
        'steps.GET(URL + "/to", name="follows")',
        'steps.GET(URL + "/to", allow_redirects=False, name="stays")',
    )
    assert built.results == SUCCESS, built
    form, files, there = server.asked
    assert form["query"] == [["q", "a b"], ["q", "2"]]
    assert form["body"] == "f=x%26y&g=1&g=2"
    assert form["headers"]["X-Number"] == "7"
    assert form["headers"]["X-Builder"] == "b"
    assert form["headers"]["Authorization"] == "Basic bWU6aXQ="
    assert form["cookies"] == {"c": "d"}
    assert files["body"] == {"f": "1", "one": ["name.txt", "content"], "two": ["two", "bytes"]}
    assert there["path"] == "/there"
    assert built.step("stays").state == "302 Found"
    assert f"redirected to {server.url}/there\n".encode() in built.log("follows", "log").header
    heads = built.log("HTTPStep", "log").header.decode()
    for hidden in ("> Authorization", "> Cookie", "> X-Number", "< X-Hello", "< Set-Cookie"):
        assert f"{hidden}: <hidden>\n" in heads
    assert "> X-Builder: b\n" in heads


@pytest.mark.parametrize(
    ("status", "result"), [(399, SUCCESS), (400, FAILURE), (404, FAILURE), (500, FAILURE)]
)
async def test_the_status_decides(start: Start, server: Server, status: int, result: int) -> None:
    _, built = await run_steps(start, server, f'steps.GET(URL + "/status/{status}")')
    assert built.outline == [("HTTPStep", result)]
    assert built.step("HTTPStep").state.startswith(str(status))
    assert built.log("HTTPStep", "content").out == b"as asked\n"


async def test_no_answer(start: Start, server: Server, unused_tcp_port: int) -> None:
    server.holds = True
    _, built = await run_steps(
        start,
        server,
        f'steps.GET("http://127.0.0.1:{unused_tcp_port}/", haltOnFailure=False, name="nobody")',
        'steps.GET(URL + "/silent", timeout=0.2, name="silent")',
        'steps.GET(util.Interpolate("nothing of the kind"), name="odd")',
        f'steps.GET(URL, proxies={{"http": "http://127.0.0.1:{unused_tcp_port}"}}, name="proxy")',
        'steps.GET(URL, verify="no/such/file", name="trust")',
    )
    for name, why in (
        ("nobody", b"Connect"),
        ("silent", b"longer than timeout allows"),
        ("odd", b"InvalidUrl"),
        ("proxy", b"Proxy"),
        ("trust", b"No such file"),
    ):
        assert built.step(name).results == FAILURE
        assert why in built.log(name, "log").err, built
        assert built.step(name).state == "no answer (failure)"


async def test_a_long_answer(start: Start, server: Server) -> None:
    _, built = await run_steps(start, server, 'steps.GET(URL + "/endless")')
    assert built.results == SUCCESS
    assert built.log("HTTPStep", "content").out == b"x" * (1 << 20)
    assert b"the rest was not read" in built.log("HTTPStep", "log").header


async def test_the_proxy_of_the_environment(
    start: Start, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "127.0.0.2")
    _, built = await run_steps(start, server, 'steps.GET("http://build.example/x")')
    assert built.results == SUCCESS, built
    assert server.asked[0]["host"] == "build.example"


async def test_a_proxy(start: Start, server: Server) -> None:
    """A server that is asked for another one's URL."""
    _, built = await run_steps(
        start, server, 'steps.GET("http://build.example/x?y=z", proxies={"http": URL, "https": "http://no"})'
    )
    assert built.results == SUCCESS, built
    (asked,) = server.asked
    assert (asked["host"], asked["query"]) == ("build.example", [["y", "z"]])


SECRET = 'pass word/"+&é'


async def test_p9_secrets_are_masked(start: Start, server: Server, tmp_path: Path) -> None:
    """P9: in whatever way a URL, a form, JSON or a header spells them, and if the server sends them back."""
    (tmp_path / "secrets").mkdir(mode=0o700)
    for name, value in (("key", SECRET), ("key2", "horse-battery")):
        (tmp_path / "secrets" / name).write_text(value)
        (tmp_path / "secrets" / name).chmod(0o600)
    it, built = await run_steps(
        start,
        server,
        """steps.POST(util.Interpolate(URL + "/x?k=%(secret:key2)s"), params={"p": KEY}, data={"d": KEY},
            headers={"X-Key": util.Secret("key2"), "X-Other": "other"}, auth=("anna", KEY))""",
        'steps.POST(URL, json={"j": KEY}, name="json")',
        'steps.GET(util.Interpolate("no-url-%(secret:key2)s"), name="fails")',
        head=f"""
c["secretsProviders"] = [secrets.SecretInAFile({str(tmp_path / "secrets")!r})]
KEY = util.Secret("key")
""",
    )
    assert server.asked[0]["body"].startswith("d=pass+word")
    assert server.asked[0]["headers"]["X-Key"] == "horse-battery"
    for step in built.steps:
        for log in step.logs.values():
            for data in log.streams.values():
                for spelled in (
                    b"pass word",
                    b"pass+word",
                    b"pass%20word",
                    b"horse",
                    b"cGFzcyB3",
                    b"YW5uYTpw",
                ):
                    assert spelled not in data, (step.name, log.name, data)
    assert b"<key2>" in built.log("HTTPStep", "log").header
    stored = b"".join(path.read_bytes() for path in it.basedir.glob("state.sqlite*"))
    assert b"horse-battery" not in stored
    assert b"pass word" not in stored


def certified(directory: Path) -> ssl.SSLContext:
    """A server's side of TLS, with cert.pem and key.pem in a directory; it asks for certificates."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        cwd=directory, check=True, capture_output=True,
    )  # fmt: skip
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(directory / "cert.pem"))
    tls.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    tls.verify_mode = ssl.CERT_OPTIONAL
    return tls


async def test_certificates(start: Start, server: Server, tmp_path: Path) -> None:
    tls = certified(tmp_path)
    here = repr(str(tmp_path))
    async with _serving(server, tls) as url:
        server.url = url
        _, built = await run_steps(
            start,
            server,
            'steps.GET(URL, name="unknown", haltOnFailure=False)',
            'steps.GET(URL, verify=False, name="any")',
            f'steps.GET(URL, verify={here} + "/cert.pem", name="known")',
            f'steps.GET(URL, verify={here} + "/cert.pem", cert=({here} + "/cert.pem", {here} + "/key.pem"),'
            ' name="both")',
            f'steps.GET(URL, verify=False, cert=({here} + "/cert.pem", {here} + "/key.pem"), name="own")',
        )
    assert [result for _, result in built.outline] == [FAILURE, SUCCESS, SUCCESS, SUCCESS, SUCCESS], built
    assert b"CERTIFICATE_VERIFY_FAILED" in built.log("unknown", "log").err


async def test_a_stop_in_the_middle(start: Start, server: Server) -> None:
    server.holds = True
    it = await start(f'builder("b", steps.POST("{server.url}/silent"))')
    request = await it.submit()
    await server.held.wait()
    await it.stop_build(request)
    built = await it.finished(request)
    assert built.outline == [("HTTPStep", CANCELLED)]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_p4_a_master_that_goes_in_the_middle(start: Start, server: Server, method: str) -> None:
    """P4: what only asks is asked again by the same build; of the rest nobody knows whether it arrived."""
    server.holds = True
    it = await start(f'builder("b", steps.{method}("{server.url}/silent"))')
    request = await it.submit()
    await server.held.wait()
    await it.stop()
    server.let_go()
    await it.start()
    built = await it.finished(request)
    assert built.results == SUCCESS
    first, *others = await it.builds(request)
    if method == "GET":
        assert others == []
        assert first.step("HTTPStep").tries == 1
    else:
        assert first.results == RETRY
        assert "work on the master was under way" in first.state


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("GET(5)", "url must be text, not int 5"),
        ("HTTPStep('http://x', 'FETCH')", "method can't be str 'FETCH' (one of GET, PUT, POST"),
        ("GET('http://x', hooks={})", "hooks can't be had (override run() in a class of your own)"),
        ("GET('http://x', stream=True)", "stream can't be had (the answer is always read)"),
        ("POST('http://x', auth='me')", "auth must be (user, password), not str 'me'"),
        ("POST('http://x', auth=object())", "auth must be (user, password), not object"),
        ("POST('http://x', headers=['a'])", "headers must be a dict, not list"),
        ("POST('http://x', files={'f': 5})", "a file must be its content or (name, content), not int 5"),
        ("POST('http://x', data={'a': 1}, json=1)", "has json beside data or files (give it one of them)"),
        (
            "POST('http://x', data='a', files={'f': 'x'})",
            "has files beside data that is text (give it data as a dict)",
        ),
        ("POST('http://x', parms={})", "no argument 'parms' (did you mean 'params'?)"),
    ],
)
def test_what_is_wrong_is_told(step: str, message: str) -> None:
    collector = Collector()
    token = collecting(collector)
    try:
        exec(f"from buildwright.plugins import steps\nsteps.{step}", {})
    finally:
        collected(token)
    (found,) = collector.errors
    assert message in str(found)
