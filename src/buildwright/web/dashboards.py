"""Dashboards of one's own: WSGI applications (Flask, Bottle, a function) of the configuration, served at
``/plugins/wsgi_dashboards/NAME/``. The page finds them in ``/config`` and shows them in its menu.

An application is somebody else's code, and blocks by nature. So it runs in threads of its own, never in the
loop; a few calls of each dashboard at a time, so that one which hangs keeps its own callers waiting and
nobody else. The threads are daemons: a hanging one doesn't keep the master from ending. What an application
raises becomes an error page with an identifier, and a traceback in the log, like a defect of ours.

The application reads the data API through its attribute ``buildbot_api``, without HTTP: see
:class:`BuildbotApi`. It gets it before its first call, and again from each configuration that is loaded,
since that brings an application of its own."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

import structlog
from aiohttp import web

from buildwright.model.dashboards import Dashboard
from buildwright.web.asked import things_at
from buildwright.web.auth import origins
from buildwright.web.data import TABLE, Data
from buildwright.web.errors import ApiError, NotFound, Unavailable
from buildwright.web.fields import Seconds
from buildwright.web.paths import split
from buildwright.web.replies import json_reply
from buildwright.web.resource import Computed, Endpoint, Json
from buildwright.web.services import WebServices

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

PLACE = "/plugins/wsgi_dashboards"
MOST_CALLS = 8
"""So many calls of one dashboard run at a time."""
PATIENCE = 60.0
"""After so many seconds a caller is told that the dashboard doesn't answer."""
LARGEST_BODY = 8 * 1024 * 1024


class Threads(Executor):
    """A thread for each call, a few at a time; it ends with the process, whatever it does by then."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._lock = threading.Lock()
        self._running = 0

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        with self._lock:
            if self._running >= MOST_CALLS:
                raise Unavailable(f"{self._what} is busy with {MOST_CALLS} calls: ask again")
            self._running += 1
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()

        def run() -> None:
            try:
                future.set_result(function(*args, **kwargs))
            except BaseException as error:
                # What would end the loop, or can't be given to it, is told as what it is.
                plain = isinstance(error, Exception) and not isinstance(error, StopIteration | ApiError)
                future.set_exception(error if plain else RuntimeError(f"it raised {error!r}"))
            finally:
                with self._lock:
                    self._running -= 1

        threading.Thread(target=run, name="dashboard", daemon=True).start()
        return future


class BuildbotApi:
    """What a dashboard reads the data API with: ``app.buildbot_api.dataGet("/builders")``.

    Only for the dashboard's own threads: it waits for the master's loop.
    """

    def __init__(self, data: Data, loop: asyncio.AbstractEventLoop) -> None:
        self._data = data
        self._loop = loop
        self._thread = threading.get_ident()

    def dataGet(
        self,
        path: str | Sequence[Any],
        filters: Sequence[Any] | None = None,
        fields: Sequence[str] | None = None,
        order: Sequence[str] | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> Any:
        """What is at a path: a list of dicts, or one dict, None if there is no such thing.

        ``path`` is text or its elements. A filter has ``field``, ``op`` and ``values``, or is a tuple of
        these. Times are aware datetimes.
        """
        if threading.get_ident() == self._thread:
            raise RuntimeError("dataGet() is for dashboards' threads: here it would wait for itself")
        elements = split(path) if isinstance(path, str) else tuple(str(part) for part in path)
        parameters = [("field", name) for name in fields or ()] + [("order", name) for name in order or ()]
        for each in filters or ():
            field, op, values = each if isinstance(each, tuple) else (each.field, each.op, each.values)
            parameters += [(f"{field}__{op}", _text(value)) for value in values]
        if limit is not None:
            parameters.append(("limit", str(limit)))
        if offset is not None:
            parameters.append(("offset", str(offset)))
        reading = asyncio.run_coroutine_threadsafe(self._read(elements, parameters), self._loop)
        return reading.result(PATIENCE)

    async def _read(self, path: tuple[str, ...], parameters: list[tuple[str, str]]) -> Any:
        target, _ = TABLE.find(path) or (None, {})
        if not isinstance(target, Endpoint | Computed):
            raise NotFound(f"there is nothing at {'/'.join(path)}")
        try:
            found = await things_at(self._data, path, parameters)
        except NotFound:
            return None
        if isinstance(target, Endpoint):
            times = {
                name
                for name, field in target.resource.fields.items()
                if isinstance(field, Seconds) and field.type == "datetime"
            }
            found = [_with_times(thing, times) for thing in found]
        if target.collection:
            return found
        return found[0] if found else None


def _with_times(thing: Json, times: set[str]) -> Json:
    for name in times & thing.keys():
        if thing[name] is not None:
            thing[name] = datetime.fromtimestamp(thing[name], UTC)
    return thing


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Served:
    """A dashboard with what serves it."""

    def __init__(self, dashboard: Dashboard, api: BuildbotApi) -> None:
        from aiohttp_wsgi.wsgi import WSGIHandler

        self.app = dashboard.app
        self._what = f"the dashboard {dashboard.name!r}"
        with contextlib.suppress(AttributeError, TypeError):  # what takes no attributes can't ask for any
            self.app.buildbot_api = api  # type: ignore[attr-defined]
        self._handler = WSGIHandler(
            self.app, executor=Threads(self._what), max_request_body_size=LARGEST_BODY
        )

    async def answer(self, request: web.Request) -> web.StreamResponse:
        try:
            async with asyncio.timeout(PATIENCE):
                response: web.StreamResponse = await self._handler.handle_request(request)
            return response
        except TimeoutError:
            raise Unavailable(f"{self._what} didn't answer within {PATIENCE:g} s") from None
        except (ApiError, web.HTTPException, ConnectionError):
            raise
        except Exception:
            found = secrets.token_hex(4)
            log.exception("a dashboard failed", id=found, dashboard=self._what, path=request.path)
            text = f"{self._what} failed: the master's log has it under {found}"
            return json_reply({"error": text}, status=500)


class Dashboards:
    """The handlers."""

    def __init__(self, services: WebServices) -> None:
        self._services = services
        self._data = Data(services)
        self._served: dict[str, _Served] = {}
        self._api: BuildbotApi | None = None

    def add_routes(self, app: web.Application) -> None:
        app.router.add_route("*", PLACE + "/{name}/{path_info:.*}", self.serve)
        app.router.add_get(PLACE + "/{name}", self.beginning)

    async def beginning(self, request: web.Request) -> web.Response:
        """Relative links of the dashboard's pages begin below its name."""
        raise web.HTTPPermanentRedirect(f"{request.rel_url.raw_path}/")

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            origins.check_site(request)
        served = self._find(request.match_info["name"])
        return await served.answer(request)

    def _find(self, name: str) -> _Served:
        configured: Mapping[str, Dashboard] = {
            each.name: each for each in self._services.snapshot().www.dashboards
        }
        if name not in configured:
            self._served.pop(name, None)
            raise NotFound("there is no such dashboard")
        served = self._served.get(name)
        if served is None or served.app is not configured[name].app:
            if self._api is None:
                self._api = BuildbotApi(self._data, asyncio.get_running_loop())
            served = self._served[name] = _Served(configured[name], self._api)
        return served


def menu(dashboards: Sequence[Dashboard]) -> list[Json]:
    """The dashboards as the page's menu has them."""
    return [
        {"caption": each.caption, "icon": each.icon, "name": each.name, "order": each.order}
        for each in dashboards
    ]
