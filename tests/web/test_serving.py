"""What stands around the data API: health, metrics, defects, TLS, the page's files."""

import gzip
import re
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from buildwright.store.errors import StoreAway
from buildwright.web.tls import BadCertificate, server_context
from tests.support.webserver import Server
from tests.web.conftest import SMALL, Get


async def test_health(server: Server, http: aiohttp.ClientSession) -> None:
    for path in ("/livez", "/healthz", "/readyz"):
        async with http.get(server.url + path) as response:
            assert (response.status, await response.json()) == (200, {"status": "ok"})
    server.why_unready = "the lease isn't taken yet"
    async with http.get(f"{server.url}/readyz") as response:
        body = await response.json()
        assert (response.status, body["error"]) == (503, server.why_unready)
    server.why_unready = ""
    await server.store.stop()
    async with http.get(f"{server.url}/readyz") as response:
        assert (response.status, (await response.json())["status"]) == (503, "not ready")
    async with http.get(f"{server.url}/livez") as response:
        assert response.status == 200
    async with http.get(f"{server.url}/api/v2/builds/1") as response:
        assert (response.status, list(await response.json())) == (503, ["error"])


async def test_metrics_count_work_and_requests(server: Server, http: aiohttp.ClientSession, get: Get) -> None:
    await get("/builds/1")
    await get("/builds/99999")
    async with http.get(f"{server.url}/metrics") as response:
        assert response.content_type == "text/plain"
    async with http.get(f"{server.url}/metrics") as response:
        text = await response.text()
    lines = set(text.splitlines())
    assert f"buildwright_waiting_requests {SMALL.waiting}.0" in lines
    assert "buildwright_open_builds 3.0" in lines
    assert "buildwright_connected_workers 3.0" in lines
    route = 'buildwright_http_requests_total{method="GET",route="/api/v2/{path}",status='
    assert {f'{route}"200"}} 1.0', f'{route}"404"}} 1.0'} <= lines
    assert any(line.startswith('buildwright_store_units_total{verb="read_page"}') for line in lines)
    assert any(line.startswith("process_resident_memory_bytes") for line in lines)
    assert any(line.startswith("buildwright_loop_lag_seconds") for line in lines)


async def test_what_nobody_expected_shows_no_traceback(server: Server, http: aiohttp.ClientSession) -> None:
    def broken() -> Any:
        raise RuntimeError("secret details")

    server.services.unready = broken
    async with http.get(f"{server.url}/readyz") as response:
        body = await response.text()
        assert response.status == 500
        assert response.content_type == "application/json"
        assert "internal error" in body
        assert "secret" not in body
        assert "Traceback" not in body


async def test_unknown_paths_and_methods_answer_in_json(server: Server, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{server.url}/nothing/here") as response:
        assert (response.status, list(await response.json())) == (404, ["error"])
    async with http.post(f"{server.url}/metrics") as response:
        assert (response.status, list(await response.json())) == (405, ["error"])


async def test_the_page_is_served_with_its_policy(server: Server, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{server.url}/") as response:
        text = await response.text()
        assert response.content_type == "text/html"
        policy = response.headers["Content-Security-Policy"]
        tag = response.headers["ETag"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "http://" not in text
    assert "https://" not in text
    async with http.get(f"{server.url}/", headers={"If-None-Match": tag}) as response:
        assert response.status == 304
    scripts, styles = (re.findall(rf'"\./(assets/[^"]+\.{kind})"', text) for kind in ("js", "css"))
    kinds = {scripts[0]: "text/javascript", styles[0]: "text/css", "favicon.ico": "image/svg+xml"}
    for path, kind in kinds.items():
        async with http.get(f"{server.url}/{path}") as response:
            assert (response.status, response.content_type) == (200, kind)
            assert response.headers.get("Content-Encoding") == (None if "ico" in path else "gzip")
            assert ("immutable" in response.headers["Cache-Control"]) == path.startswith("assets/")
            assert await response.read()
    for path in ("/assets/none.js", "/assets/..%2F..%2Fpage.py", "/assets/..%2Findex.html", "/.sources"):
        async with http.get(URL(server.url + path, encoded=True)) as response:
            assert response.status == 404


async def test_config_tells_the_title(server: Server, http: aiohttp.ClientSession) -> None:
    server.snapshot = replace(server.snapshot, title="Pyflakes")
    async with http.get(f"{server.url}/config") as response:
        body = await response.json()
    assert (body["title"], body["user"]) == ("Pyflakes", {"anonymous": True})
    assert [name for name, _ in body["versions"]] == ["Buildwright", "Python"]


def _certificate(directory: Path, name: str) -> tuple[Path, Path]:
    certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


async def test_tls_serves_with_the_files(server: Server, tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path, "one")
    await server.stop()
    again = Server(server.store, tmp_path)
    await again.start(ssl_context=server_context(certificate, key))
    trusting = ssl.create_default_context(cafile=certificate)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{again.url}/livez", ssl=trusting) as response,
    ):
        assert response.status == 200
    await again.stop()


def test_files_that_are_no_certificate_are_named(tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path, "one")
    _, other = _certificate(tmp_path, "two")
    (tmp_path / "text").write_text("not a certificate")
    locked = tmp_path / "locked.key"
    command = ["openssl", "ec", "-in", str(key), "-out", str(locked), "-aes128", "-passout", "pass:word"]
    subprocess.run(command, check=True, capture_output=True)
    cases: list[tuple[Path, Path | None, str]] = [
        (tmp_path / "none", key, "certificate .*none can't be read: No such file"),
        (certificate, tmp_path / "none", "private key .*none can't be read: No such file"),
        (certificate, other, "doesn't belong to the certificate"),
        (tmp_path / "text", key, "must be PEM"),
        (certificate, locked, "without a password"),
        (certificate, None, "can't be used"),
    ]
    for file, private, message in cases:
        with pytest.raises(BadCertificate, match=message):
            server_context(file, private)
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    server_context(both)


async def test_a_store_that_is_away_is_503_and_not_our_fault(
    server: Server, http: aiohttp.ClientSession
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise StoreAway("the database is away")

    server.store.browse = away  # type: ignore[method-assign,assignment]
    async with http.get(f"{server.url}/api/v2/builds") as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "5")
        assert list(await response.json()) == ["error"]


async def test_a_long_answer_is_compressed_on_its_way_over_a_network(server: Server) -> None:
    async with aiohttp.ClientSession(auto_decompress=False) as http:

        async def asked(path: str, **headers: str) -> tuple[str | None, bytes]:
            async with http.get(f"{server.url}/api/v2/{path}", headers=headers) as response:
                return response.headers.get("Content-Encoding"), await response.read()

        plain = await asked("builds")
        assert plain[0] is None  # it is the same machine
        coding, body = await asked("builds", **{"X-Forwarded-For": "192.0.2.1"})
        assert coding == "gzip"
        assert gzip.decompress(body) == plain[1]
        assert len(body) < len(plain[1]) / 3
        assert (await asked("builds/1", **{"X-Forwarded-For": "192.0.2.1"}))[0] is None
        refusing = {"X-Forwarded-For": "192.0.2.1", "Accept-Encoding": "identity"}
        assert (await asked("builds", **refusing))[0] is None
