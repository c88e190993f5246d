"""The web server's application: every route, and what all of them share.

One middleware stands around everything. It asks the gate whether the request may be answered
(:mod:`buildwright.web.auth.gate`), and turns what a client did wrong into a JSON error, a store that is away
into 503, and what nobody expected into 500 with an identifier: the traceback goes to the log under it, and
never to a page. It also counts requests for /metrics, by route and not by path, so that their number is
bounded.

Start and stop belong to the master: it binds the address, wraps it in TLS (:mod:`buildwright.web.tls`), and
runs the application with aiohttp's runner. Whatever the application starts ends with ``app.cleanup()``."""

from __future__ import annotations

import asyncio
import secrets
import time

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from buildwright.store.errors import StoreBusy, StoreStopped, StoreUnavailable
from buildwright.web import cors
from buildwright.web.api import Api
from buildwright.web.audit import Audit
from buildwright.web.auth.gate import GATE, Gate
from buildwright.web.auth.routes import Logins
from buildwright.web.badges import Badges
from buildwright.web.cctray import CCTray
from buildwright.web.dashboards import Dashboards
from buildwright.web.errors import ApiError
from buildwright.web.events import EventHub
from buildwright.web.feeds import Feeds
from buildwright.web.metrics import Metrics
from buildwright.web.page import Page
from buildwright.web.replies import compress, error_reply, json_reply
from buildwright.web.services import WebServices
from buildwright.web.sse import Sse
from buildwright.web.ws import WebSockets

log = structlog.get_logger(__name__)

LARGEST_BODY = 8 * 1024 * 1024


def make_app(services: WebServices) -> web.Application:
    """The application; the caller runs it."""
    metrics = Metrics(services)
    gate = Gate(services, Audit(services.store, services.now_us))
    app = web.Application(middlewares=[_guard(metrics, gate)], client_max_size=LARGEST_BODY)
    app[GATE] = gate
    hub = EventHub(services, gate)
    Api(services, gate).add_routes(app)
    WebSockets(services, hub, gate).add_routes(app)
    Sse(services, hub, gate).add_routes(app)
    Logins(services, gate).add_routes(app)
    metrics.add_routes(app)
    Badges(services).add_routes(app)
    CCTray(services).add_routes(app)
    Feeds(services).add_routes(app)
    Dashboards(services).add_routes(app)
    Page(services).add_routes(app)

    async def allow_origin(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(cors.allowed_headers(request, services.snapshot()))
        gate.keep_private(request, response)

    async def start(_app: web.Application) -> None:
        await hub.start()

    async def stop(_app: web.Application) -> None:
        await hub.stop()

    app.on_response_prepare.append(allow_origin)
    app.on_startup.append(start)
    app.on_shutdown.append(stop)
    return app


def _guard(metrics: Metrics, gate: Gate) -> Middleware:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        begun = time.monotonic()
        response = await _answer(request, handler, gate)
        compress(request, response)
        metrics.count(request, response.status, time.monotonic() - begun)
        return response

    return guard


async def _answer(request: web.Request, handler: Handler, gate: Gate) -> web.StreamResponse:
    try:
        await gate.admit_reading(request)
        return await handler(request)
    except ApiError as error:
        return error_reply(error)
    except web.HTTPRequestEntityTooLarge:
        return json_reply({"error": f"the body is larger than {LARGEST_BODY} bytes"}, status=413)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return json_reply(
            {"error": _REASONS.get(error.status, error.reason)}, status=error.status, headers=headers
        )
    except StoreBusy:
        text = "too many others are reading; ask again"
        return json_reply({"error": text}, status=503, headers={"Retry-After": "5"})
    except StoreUnavailable as error:
        log.warning("the store can't answer a request", path=request.path, reason=str(error))
        text = "the master's database doesn't answer; ask again"
        return json_reply({"error": text}, status=503, headers={"Retry-After": "5"})
    except StoreStopped:
        return json_reply({"error": "the master is stopping"}, status=503, headers={"Retry-After": "5"})
    except (asyncio.CancelledError, ConnectionError):
        raise
    except web.RequestPayloadError as error:
        return json_reply({"error": f"the body broke off: {error}"}, status=400)
    except Exception:
        found = secrets.token_hex(4)
        log.exception(
            "a request failed; this is a defect", id=found, method=request.method, path=request.path
        )
        return json_reply({"error": f"internal error {found}: the master's log has it"}, status=500)


_REASONS = {404: "there is nothing at this path", 405: "this path doesn't know the method"}
