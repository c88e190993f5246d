"""Which master is meant, and what is said when it can't be talked to."""

import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.support import CONFIG, Master, failed, master_in, succeeded
from tests.support.processes import free_port


def test_it_has_to_be_named(tmp_path: Path) -> None:
    assert "which master? Give its address with --url" in failed("builds", cwd=tmp_path)
    assert "is no master's directory" in failed("builds", "--basedir", tmp_path)
    assert "is no address of a master" in failed("builds", "--url", "ftp://somewhere")
    assert "is no address of a master" in failed("builds", "--url", "http://host:port")


def test_the_ways_to_name_it(shared: Master, tmp_path: Path) -> None:
    env = {"BUILDWRIGHT_URL": f"127.0.0.1:{shared.port}"}
    assert succeeded("builds", "--json", env=env).json == []
    assert succeeded("builds", "--json", "--url", f"{shared.url}/#/builders").json == []
    assert succeeded("builds", "--json", cwd=shared.basedir).json == []
    assert succeeded("builds", "--json", "--basedir", shared.basedir, cwd=tmp_path).json == []


def test_nobody_answers(resting: Master) -> None:
    assert f"no master runs in {resting.basedir}" in failed("builds", cwd=resting.basedir)
    said = failed("builds", "--url", f"http://127.0.0.1:{free_port()}")
    assert "Connection refused" in said
    assert "does it run, is this the address?" in said
    assert "no master answers" in failed("builds", "--url", "http://nowhere.invalid")


class _Other(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if "builds" in self.path else 404)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<h1>Hello</h1>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def other_server() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Other)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_something_else_answers(other_server: str) -> None:
    assert "no Buildwright master" in failed("builds", "--url", other_server)
    assert "no Buildwright master" in failed("log", "1", "--url", other_server)
    assert "is it http:// there?" in failed("builds", "--url", other_server.replace("http:", "https:"))


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Master]:
    """A master with TLS, whose certificate is for localhost and signed by nobody else."""
    basedir = tmp_path_factory.mktemp("secure") / "master"
    basedir.mkdir()
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    made = [*words, "-keyout", str(basedir / "key.pem"), "-out", str(basedir / "cert.pem")]
    subprocess.run(made, check=True, capture_output=True)
    tls = 'c["www"]["ssl"] = {"certificate": "cert.pem", "private_key": "key.pem"}\n'
    with master_in(basedir, CONFIG + tls) as master:
        yield master


def test_tls_needs_a_certificate_that_is_trusted(secure: Master) -> None:
    url = f"https://localhost:{secure.port}"
    said = failed("builds", "--url", url)
    assert "isn't trusted" in said
    assert "--ca-file" in said
    trusted = secure.basedir / "cert.pem"
    assert succeeded("builds", "--json", "--url", url, "--ca-file", trusted).json == []
    assert succeeded("builds", "--json", "--url", url, env={"BUILDWRIGHT_CA_FILE": str(trusted)}).json == []
    assert "isn't trusted" in failed(
        "builds", "--url", f"https://127.0.0.1:{secure.port}", "--ca-file", trusted
    )
    key = secure.basedir / "key.pem"
    assert "can't be used as a certificate" in failed("builds", "--url", url, "--ca-file", key)


def test_a_masters_own_directory_is_trusted(secure: Master) -> None:
    done = succeeded("force", "green", "--follow", cwd=secure.basedir)
    assert "all is well" in done.out


def test_tls_is_expected_where_it_is_spoken(secure: Master) -> None:
    assert failed("builds", "--url", f"http://localhost:{secure.port}")
