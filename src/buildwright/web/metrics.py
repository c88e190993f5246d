"""/metrics for Prometheus, and whether the master lives and takes work: /livez, /healthz, /readyz.

Counting costs two dictionary entries a request; Prometheus's library is loaded when somebody asks for the
numbers first. The registry is this application's own, so several masters in one process (tests) don't meet in
it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from aiohttp import web

from buildwright.store import schema
from buildwright.store.errors import StoreError
from buildwright.store.unit import Statement, Work, unit
from buildwright.web.replies import json_reply
from buildwright.web.services import WebServices

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

READY_SECONDS = 2.0

_r = schema.buildrequests.c
_b = schema.builds.c
_w = schema.workers.c
_COUNT = sa.func.count(sa.literal_column("*"))

_NUMBERS = {
    "buildwright_waiting_requests": Statement(
        "count_waiting_requests",
        lambda _dialect: sa.select(_COUNT).where(
            _r.complete == sa.literal_column("0"), _r.claimed_by.is_(None)
        ),
    ),
    "buildwright_open_builds": Statement(
        "count_open_builds", lambda _dialect: sa.select(_COUNT).where(_b.complete_at.is_(None))
    ),
    "buildwright_connected_workers": Statement(
        "count_connected_workers", lambda _dialect: sa.select(_COUNT).where(_w.connected == 1)
    ),
}
_HELP = {
    "buildwright_waiting_requests": "Build requests that nobody has claimed",
    "buildwright_open_builds": "Builds that have not finished",
    "buildwright_connected_workers": "Workers that are attached to a master",
}
_PROBE = Statement("probe", lambda _dialect: sa.select(sa.literal_column("1")))


@unit
def count_work() -> Work[dict[str, int]]:
    """Read how much waits and runs."""
    found = {}
    for name, statement in _NUMBERS.items():
        [(found[name],)] = yield statement()
    return found


@unit
def probe() -> Work[None]:
    """Read nothing: does the database answer?"""
    yield _PROBE()


class Metrics:
    """The counters and the handlers."""

    def __init__(self, services: WebServices) -> None:
        self._services = services
        self._requests: dict[tuple[str, str, int], int] = {}
        self._seconds: dict[tuple[str, str], float] = {}
        self._numbers: dict[str, int] = {}
        self._registry: CollectorRegistry | None = None

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/metrics", self.show)
        app.router.add_get("/livez", self.live)
        app.router.add_get("/healthz", self.live)
        app.router.add_get("/readyz", self.ready)

    def count(self, request: web.Request, status: int, seconds: float) -> None:
        if status == 101:
            return
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "none"
        method = request.method if request.method in ("GET", "HEAD", "POST", "OPTIONS") else "other"
        key = (route, method, status)
        self._requests[key] = self._requests.get(key, 0) + 1
        self._seconds[key[:2]] = self._seconds.get(key[:2], 0.0) + seconds

    async def live(self, _request: web.Request) -> web.Response:
        return json_reply({"status": "ok"})

    async def ready(self, _request: web.Request) -> web.Response:
        reason = self._services.unready()
        if not reason:
            try:
                await self._services.store.read(probe(), timeout=READY_SECONDS)
                health = self._services.store.health
                reason = "" if health.state == "ok" else f"the database is {health.state}"
            except StoreError:
                reason = "the database doesn't answer"
        if reason:
            return json_reply({"status": "not ready", "error": reason}, status=503)
        return json_reply({"status": "ok"})

    async def show(self, _request: web.Request) -> web.Response:
        from prometheus_client import CollectorRegistry, ProcessCollector
        from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

        if self._registry is None:
            self._registry = CollectorRegistry()
            ProcessCollector(registry=self._registry)
            self._registry.register(self)
        self._numbers = await self._services.store.read(count_work(), timeout=READY_SECONDS)
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
        )

    def describe(self) -> Iterable[Any]:
        """Nothing beforehand: Prometheus's registry then doesn't collect at registration."""
        return ()

    def collect(self) -> Iterable[Any]:
        """All our numbers, for Prometheus's registry."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for name, value in self._numbers.items():
            yield GaugeMetricFamily(name, _HELP[name], value)
        for name, number in self._services.gauges().items():
            yield GaugeMetricFamily(name, "Of the master itself", number)
        requests = CounterMetricFamily(
            "buildwright_http_requests", "Requests answered", labels=["route", "method", "status"]
        )
        for (route, method, status), count in self._requests.items():
            requests.add_metric([route, method, str(status)], count)
        yield requests
        seconds = CounterMetricFamily(
            "buildwright_http_request_seconds", "Time spent on requests", labels=["route", "method"]
        )
        for labels, spent in self._seconds.items():
            seconds.add_metric(list(labels), spent)
        yield seconds
        yield from self._store()

    def _store(self) -> Iterable[Any]:
        from prometheus_client.core import CounterMetricFamily

        families = {
            "count": CounterMetricFamily("buildwright_store_units", "Units of work run", labels=["verb"]),
            "seconds": CounterMetricFamily(
                "buildwright_store_unit_seconds", "Time in units", labels=["verb"]
            ),
            "raised": CounterMetricFamily(
                "buildwright_store_units_refused", "Units that raised", labels=["verb"]
            ),
        }
        for verb, meter in self._services.store.metrics.items():
            for name, family in families.items():
                family.add_metric([verb], getattr(meter, name))
        yield from families.values()
