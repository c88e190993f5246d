"""The control verbs on the store: what the web server calls, each one unit of work.

Forcing needs the configuration's schedulers, which validate and compute what to build; the master gives that
function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from buildwright.model.results import CANCELLED
from buildwright.store.base import Store
from buildwright.store.units import control as units
from buildwright.store.units.claims import stop_request
from buildwright.store.units.schedulers import enable
from buildwright.web.services import Added

# (scheduler's name, parameters, owner, idempotency key); raises Refused, gives None for an unknown scheduler.
Force = Callable[[str, Mapping[str, Any], str, str | None], Awaitable[Added | None]]


class StoreControl:
    """:class:`~buildwright.web.services.Control` on a store."""

    def __init__(self, store: Store, now_us: Callable[[], int], force: Force) -> None:
        self._store = store
        self._now_us = now_us
        self._force = force

    async def force(
        self, scheduler: str, params: Mapping[str, Any], owner: str, key: str | None
    ) -> Added | None:
        return await self._force(scheduler, params, owner, key)

    async def rebuild(self, buildid: int, owner: str, key: str | None) -> Added | None:  # noqa: ARG002
        return await self._store.run(units.rebuild(buildid, self._now_us(), key))

    async def stop_build(self, buildid: int, reason: str, results: int | None) -> bool:
        asked = CANCELLED if results is None else results
        return await self._store.run(units.stop_build(buildid, reason, self._now_us(), asked))

    async def cancel_request(self, requestid: int, reason: str) -> bool:
        return await self._store.run(stop_request(requestid, reason, self._now_us()))

    async def set_priority(self, requestid: int, priority: int) -> bool:
        return await self._store.run(units.set_priority(requestid, priority))

    async def enable_scheduler(self, schedulerid: int, enabled: bool) -> bool:
        return await self._store.run(enable(schedulerid, enabled))

    async def worker_action(self, workerid: int, action: str, reason: str) -> bool:
        match action:
            case "pause":
                return await self._store.run(units.pause_worker(workerid, reason))
            case "unpause":
                return await self._store.run(units.unpause_worker(workerid))
            case "stop":
                return await self._store.run(units.leave_worker(workerid, units.GRACEFUL))
            case "kill":
                return await self._store.run(units.leave_worker(workerid, units.KILLED))
        raise ValueError(f"no such action: {action}")
