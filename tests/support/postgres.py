"""A PostgreSQL of one's own for tests: a real server on loopback, started once a session.

`Cluster` makes a cluster in a new directory under /tmp and runs `postgres` as a child of the test process.
The server refuses root, so as root it runs as an unprivileged user, who owns the directory. It dies with its
parent (the kernel sends it SIGQUIT), so a killed test run leaves no server behind. Durability is PostgreSQL's
default: what the tests commit is synced.

Databases are cheap copies of a template: `cluster.template("name", prepare)` prepares one once, for example
by running the migrations, and `cluster.database("name")` copies it. The server binaries are looked for where
Debian puts them and on PATH; without them there is a clear error, never a skipped test.
"""

import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

MISSING = "PostgreSQL's server is not installed. Install it with: sudo apt-get install -y postgresql"
START_SECONDS = 60.0


class PostgresMissing(RuntimeError):
    """The machine has no PostgreSQL server binaries."""


def find_binaries() -> Path:
    """The directory of the newest server's programs."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if found:
        return max(found, key=lambda path: float(path.parent.name))
    on_path = shutil.which("initdb")
    if on_path is None:
        raise PostgresMissing(MISSING)
    return Path(on_path).resolve().parent


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom the server runs as: None is ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("Run as root, PostgreSQL needs the user postgres or nobody, and neither exists")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Cluster:
    """One server and its directory. `start`, `stop` and `kill` may alternate; the port and the data stay."""

    def __init__(self, **settings: str) -> None:
        self.binaries = find_binaries()
        self.settings = settings
        self.port = 0  # chosen at the first start
        self._user = _unprivileged()
        self._directory = Path(tempfile.mkdtemp(prefix="buildwright-pg-", dir="/tmp"))
        self._server: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._templates: set[str] = set()
        self._initialise()

    @property
    def data(self) -> Path:
        return self._directory / "data"

    def url(self, database: str) -> str:
        return f"postgresql://buildwright@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server unless it runs, and return when it answers.

        Not from a helper thread: the server dies with the thread that started it.
        """
        if self._server is not None:
            return
        for _ in range(5):  # a port that was free may be taken a moment later
            self.port = self.port or _free_port()
            if self._try_start():
                return
            if "Address already in use" not in self._log_tail():
                break
            self.port = 0
        raise RuntimeError(f"PostgreSQL did not start:\n{self._log_tail()}")

    def stop(self) -> None:
        """Stop in order: open sessions are ended, the data is written."""
        self._end("INT")

    def kill(self) -> None:
        """End all its processes at once, as a crash does; the next start recovers from the log."""
        self._end("QUIT")

    def signal(self, name: str) -> None:
        """Send a signal to the server and all its sessions: STOP freezes them, CONT lets them go on."""
        assert self._server is not None
        children = Path(f"/proc/{self._server.pid}/task/{self._server.pid}/children").read_text().split()
        subprocess.run(["kill", f"-{name}", str(self._server.pid), *children], check=True)

    def destroy(self) -> None:
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run one statement as the superuser; the rows as text."""
        psql = [str(self.binaries / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        done = subprocess.run(
            [*psql, "-d", self.url(database), "-c", statement], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{statement}: {done.stderr.strip()}")
        return done.stdout.strip()

    def template(self, name: str, prepare: Callable[[str], None]) -> str:
        """Make the template database once, give its URL to `prepare`, return its name for `database`."""
        if name not in self._templates:
            self.sql(f'CREATE DATABASE "{name}"')
            prepare(self.url(name))
            self._templates.add(name)
        return name

    @contextmanager
    def database(self, template: str = "template0") -> Iterator[str]:
        """Yield the URL of a new database; dropped at the end, whoever is still connected."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        self.sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield self.url(name)
        finally:
            if self._server is not None:
                self.sql(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _initialise(self) -> None:
        if self._user is not None:
            os.chown(self._directory, self._user.pw_uid, self._user.pw_gid)
        initdb = [str(self.binaries / "initdb"), "-D", str(self.data), "-U", "buildwright"]
        done = subprocess.run(
            [*self._as_user(), *initdb, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
            capture_output=True,
            text=True,
            cwd=self._directory,
            check=False,
        )
        if done.returncode != 0:
            shutil.rmtree(self._directory, ignore_errors=True)
            raise RuntimeError(f"initdb failed:\n{done.stderr}")

    def _as_user(self) -> list[str]:
        """What to put before a command so that it runs unprivileged and dies with us."""
        command = ["setpriv", "--pdeathsig", "QUIT"]
        if self._user is not None:
            command += [f"--reuid={self._user.pw_uid}", f"--regid={self._user.pw_gid}", "--clear-groups"]
        return [*command, "--"]

    def _try_start(self) -> bool:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self._directory),
            "max_connections": "200",
            "log_min_messages": "warning",
        } | self.settings
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        with (self._directory / "log").open("wb") as log:
            self._server = subprocess.Popen(
                [*self._as_user(), str(self.binaries / "postgres"), "-D", str(self.data), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory,
                start_new_session=True,  # Ctrl-C is for the tests, which then end it in order
            )
        deadline = time.monotonic() + START_SECONDS
        while self._server.poll() is None and time.monotonic() < deadline:
            ready = [str(self.binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
            if subprocess.run(ready, check=False).returncode == 0:
                return True
            time.sleep(0.02)
        self._end("QUIT")
        return False

    def _end(self, signal: str) -> None:
        if self._server is None:
            return
        if self._server.poll() is None:
            subprocess.run(["kill", f"-{signal}", str(self._server.pid)], check=False)
        self._server.wait()
        self._server = None

    def _log_tail(self) -> str:
        return "\n".join((self._directory / "log").read_text(errors="replace").splitlines()[-20:])
