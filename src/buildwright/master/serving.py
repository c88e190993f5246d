"""The ports: web server and workers' endpoint.

Without API tokens and logins everything binds to loopback, so that nobody else can act. Workers connect to
``/worker`` of the web port, unless the configuration gives them a port of their own.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from buildwright.model.logins import NoAuth
from buildwright.model.snapshot import Snapshot
from buildwright.web.app import make_app
from buildwright.web.services import WebServices
from buildwright.web.tls import server_context
from buildwright.workers.endpoint import WorkerEndpoint

log = structlog.get_logger(__name__)

LOOPBACK = "127.0.0.1"
WORKER_PATH = "/worker"
SHUTDOWN_SECONDS = 1.0


class _Strangers(logging.Filter):
    """A peer that doesn't speak HTTP is worth a line, not a traceback: nothing is wrong with the master."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            return True
        log.info("a request that is no HTTP", peer=_peer(record), why=_line(error))
        return False


def _peer(record: logging.LogRecord) -> str | None:
    return str(record.args[0]) if isinstance(record.args, tuple) and record.args else None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


logging.getLogger("aiohttp.server").addFilter(_Strangers())


class PortTaken(Exception):
    """A port can't be listened on."""


class Serving:
    """Listens; ``url`` is where the web page is, ``worker_url`` where workers connect."""

    def __init__(self, services: WebServices, endpoint: WorkerEndpoint, *, others_act: bool) -> None:
        self._services = services
        self._endpoint = endpoint
        self._others_act = others_act
        self._runners: list[web.AppRunner] = []
        self.url: str | None = None
        self.worker_url: str | None = None

    async def start(self, snapshot: Snapshot) -> None:
        """Bind the configured ports. Raises PortTaken, BadCertificate."""
        www, protocols = snapshot.www, snapshot.protocols
        tls = server_context(www.certificate, www.private_key) if www.certificate else None
        scheme = "https" if tls else "http"
        own_port = protocols.port is not None
        if www.port is not None:
            app = make_app(self._services)
            if not own_port:
                self._serve_workers(app)
            host = www.interface or (None if self._others_act else LOOPBACK)
            if tls is None and host != LOOPBACK and _shows_passwords(snapshot):
                log.warning(
                    "logins go over the network as they are: serve HTTPS, or stand behind a proxy that does"
                )
            port = await self._listen(app, host, www.port, tls)
            self.url = f"{scheme}://{host or 'localhost'}:{port}/"
            if not own_port:
                self.worker_url = f"{'wss' if tls else 'ws'}://{host or LOOPBACK}:{port}{WORKER_PATH}"
        if own_port:
            app = web.Application()
            self._serve_workers(app)
            host = protocols.interface or (None if self._others_act else LOOPBACK)
            port = await self._listen(app, host, protocols.port or 0, tls)
            self.worker_url = f"{'wss' if tls else 'ws'}://{host or LOOPBACK}:{port}{WORKER_PATH}"

    def _serve_workers(self, app: web.Application) -> None:
        app.router.add_get(WORKER_PATH, self._endpoint.handle)
        app.on_shutdown.append(self._endpoint.close)

    async def _listen(self, app: web.Application, host: str | None, port: int, tls: object) -> int:
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS, handler_cancellation=True
        )
        await runner.setup()
        self._runners.append(runner)
        site = web.TCPSite(runner, host, port, ssl_context=tls, reuse_address=True, backlog=1024)  # type: ignore[arg-type]
        try:
            await site.start()
        except OSError as error:
            raise PortTaken(
                f"port {port} can't be listened on ({error.strerror}): choose another one in c['www'] or "
                "c['protocols']"
            ) from error
        sockets = site._server.sockets if site._server is not None else ()  # type: ignore[attr-defined]  # noqa: SLF001
        return int(sockets[0].getsockname()[1]) if sockets else port

    async def stop(self) -> None:
        """Close all connections and ports."""
        runners, self._runners = self._runners, []
        for runner in runners:
            await runner.cleanup()


def _shows_passwords(snapshot: Snapshot) -> bool:
    """Whether people log in, and by the address that they use, without encryption."""
    return not isinstance(snapshot.www.auth, NoAuth) and not snapshot.buildbot_url.startswith("https://")


def token_hashes(tokens: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 of configured tokens, in hex, with their names."""
    return {hashlib.sha256(token.encode()).hexdigest(): name for name, token in tokens.items()}
