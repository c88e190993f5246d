"""Real servers of git repositories on loopback: OpenSSH's sshd, and git's own http-backend behind TLS.

Both run as the user who runs the tests. The ssh server knows one host key and lets one client key in; the
login is that user's. The https server wants a user and a password.
"""

import base64
import contextlib
import getpass
import http.server
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.processes import free_port

START_SECONDS = 30.0
SSHD_MISSING = "OpenSSH's server is not installed. Install it with: sudo apt-get install -y openssh-server"


def make_key(path: Path) -> str:
    """A new key pair at ``path``; gives the public part as ssh writes it, without its comment."""
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


class Sshd:
    """A running ssh server."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.host_key = make_key(directory / "host")
        self.client_public = make_key(directory / "client")
        self.client_key = (directory / "client").read_text()
        self.log = directory / "sshd.log"

    def url(self, path: Path) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{path}"

    def scp_url(self, path: Path) -> str:
        """The short form, which has no place for the port."""
        return f"{getpass.getuser()}@127.0.0.1:{path}"


@contextlib.contextmanager
def sshd(directory: Path, command: Path | None = None) -> Iterator[Sshd]:
    """A server with keys of its own; it ends with the context.

    With ``command`` every login runs this program, which finds in ``SSH_ORIGINAL_COMMAND`` what was asked.
    """
    program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin:" + os.environ.get("PATH", ""))
    if program is None:
        raise RuntimeError(SSHD_MISSING)
    directory.mkdir()
    it = Sshd(directory)
    forced = f'command="{command}" ' if command is not None else ""
    (directory / "authorized").write_text(f"{forced}{it.client_public}\n")
    (directory / "config").write_text(
        f"ListenAddress 127.0.0.1:{it.port}\nHostKey {directory}/host\nPidFile none\n"
        f"AuthorizedKeysFile {directory}/authorized\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd separates its privileges
    with it.log.open("wb") as log:
        server = subprocess.Popen(
            [program, "-D", "-e", "-f", str(directory / "config")], stdin=subprocess.DEVNULL, stderr=log
        )
        try:
            _wait_for(it, server)
            yield it
        finally:
            server.terminate()
            server.wait(START_SECONDS)


def _wait_for(it: Sshd, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, it.log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", it.port), 1):
            return
        time.sleep(0.02)
    raise AssertionError(f"sshd doesn't listen: {it.log.read_text()}")


class GitHttp:
    """A running https server of the repositories below a directory."""

    def __init__(self, root: Path, certificate: Path, user: str, password: str) -> None:
        self.root = root
        self.certificate = certificate
        self.user = user
        self.password = password
        self.port = 0
        self.refused = 0  # requests without the right password

    @property
    def environment(self) -> dict[str, str]:
        """Makes git know the server by its certificate."""
        return {"GIT_SSL_CAINFO": str(self.certificate), "no_proxy": "127.0.0.1"}

    def url(self, path: Path) -> str:
        return f"https://127.0.0.1:{self.port}/{path.relative_to(self.root)}"


@contextlib.contextmanager
def git_http(
    directory: Path, root: Path, user: str = "ann", password: str = "se:cr@t/ü"
) -> Iterator[GitHttp]:
    """Serve what is below ``root`` to this user."""
    directory.mkdir()
    certificate = directory / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", directory / "key.pem", "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    it = GitHttp(root, certificate, user, password)
    backend = subprocess.run(
        ["git", "--exec-path"], check=True, capture_output=True, text=True
    ).stdout.strip()
    wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            if self.headers.get("Authorization") != wanted:
                it.refused += 1
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            body = self._body()
            environment = {
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_GLOBAL": "/dev/null",
                "GIT_CONFIG_COUNT": "2",
                "GIT_CONFIG_KEY_0": "http.receivepack",
                "GIT_CONFIG_VALUE_0": "true",
                "GIT_CONFIG_KEY_1": "uploadpack.allowFilter",
                "GIT_CONFIG_VALUE_1": "true",
                "REMOTE_USER": user,
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            }
            done = subprocess.run(
                [f"{backend}/git-http-backend"], input=body, env=environment, capture_output=True, check=False
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            status = 200
            headers = [line.partition(b": ") for line in head.split(b"\r\n") if line]
            for name, _, value in headers:
                if name == b"Status":
                    status = int(value.split()[0])
            self.send_response(status)
            for name, _, value in headers:
                if name not in (b"Status", b"Content-Length"):
                    self.send_header(name.decode(), value.decode())
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the test's output is for the test."""

    class Server(http.server.ThreadingHTTPServer):
        def get_request(self) -> "tuple[ssl.SSLSocket, object]":
            connection, address = super().get_request()
            return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that goes away in the middle is none of ours."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, directory / "key.pem")
    with Server(("127.0.0.1", 0), Handler) as server:
        it.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield it
        finally:
            server.shutdown()
            thread.join()
