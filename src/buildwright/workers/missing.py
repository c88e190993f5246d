"""Workers that are away while builds of theirs are open, and losing them.

A worker that stays away longer than its grace loses its builds: their requests are queued again, and the
attempts linger, because their commands go on until the worker's dead-man limit. When that has passed too,
with a margin, they are known dead.

Every master watches the workers that were attached to it last, and those whose master is gone, so that no
build is left with nobody who looks after it. Time here is this process's monotonic clock, and only while it
runs, has authority and the store answers: what happened meanwhile loses nobody, since nobody could have come
back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from buildwright.builds.distributor import Distributor
from buildwright.builds.losing import lose_builds
from buildwright.builds.services import BuildServices
from buildwright.model.results import RETRY
from buildwright.store.unit import Fenced
from buildwright.store.units.attach import builds_to_watch, lingering_builds
from buildwright.store.units.claims import end_lingering
from buildwright.store.units.engine import Fence
from buildwright.workers.seats import Seat

log = structlog.get_logger(__name__)

LOOK_SECONDS = 5.0
OVERSLEPT_SECONDS = 3.0  # beyond the sweeper's second: this process was not running
MARGIN_SECONDS = 30.0  # beyond a worker's dead-man limit, before its commands count as dead
GONE_DEADMAN = 3600.0  # of a worker that isn't configured any more


@dataclass(slots=True)
class _Absent:
    """A worker with open or lingering builds that isn't connected here."""

    since: float
    fence: Fence
    lost: bool  # no open builds are left, only lingering ones


class Missing:
    """The watch over absent workers. ``lock`` gives the lock under which a worker attaches here, ``let_go``
    drops what is held of it here.
    """

    def __init__(
        self,
        services: BuildServices,
        distributor: Distributor,
        seats: Mapping[int, Seat],
        lock: Callable[[int], asyncio.Lock],
        let_go: Callable[[int], object],
    ) -> None:
        self._services = services
        self._distributor = distributor
        self._seats = seats
        self._lock = lock
        self._let_go = let_go
        self._absent: dict[int, _Absent] = {}
        self._looked_at: float | None = None  # when the store was asked last
        self._swept_at: float | None = None

    def back(self, workerid: int) -> None:
        """The worker has attached here."""
        self._absent.pop(workerid, None)

    async def sweep(self) -> None:
        """Look who is away, end the builds of those who were for too long, and the lingering of attempts
        whose commands are dead. Called about once a second, while this master has authority.
        """
        now = self._services.clock.monotonic()
        before, self._swept_at = self._swept_at, now
        slept = 0.0 if before is None else now - before
        if self._services.store.health.state != "ok" or slept > OVERSLEPT_SECONDS:
            for absent in self._absent.values():
                absent.since += slept
        if self._services.store.health.state != "ok":
            return
        if self._looked_at is None or now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            await self._look(now)
        for workerid, absent in list(self._absent.items()):
            away = now - absent.since
            if not absent.lost and away > self._grace(workerid):
                await self._lose(workerid, absent)
            elif absent.lost and away > self._deadman(workerid) + MARGIN_SECONDS:
                await self._bury(workerid, absent)

    async def _look(self, now: float) -> None:
        """Ask the store for the workers with open or lingering builds that nobody else looks after."""
        masterid = self._services.registry.masterid
        rows = await self._services.store.read(builds_to_watch(masterid))
        watched: dict[int, _Absent] = {}
        for workerid, attachment, last_master, has_open in rows:
            seat = self._seats.get(workerid)
            if seat is not None and seat.session is not None:
                continue
            fence = Fence(workerid, attachment, last_master)
            known = self._absent.get(workerid)
            if known is None or known.fence != fence:
                since = now if seat is None or seat.gone_since is None else seat.gone_since
                known = _Absent(since, fence, lost=not has_open)
            watched[workerid] = known
        self._absent = watched

    def _grace(self, workerid: int) -> float:
        config = self._services.snapshot.workers.get(self._name(workerid))
        return config.grace if config is not None else 0.0

    def _deadman(self, workerid: int) -> float:
        config = self._services.snapshot.workers.get(self._name(workerid))
        return config.deadman if config is not None else GONE_DEADMAN

    def _name(self, workerid: int) -> str:
        names = self._services.registry.workers
        return next((name for name, known in names.items() if known == workerid), "")

    async def _lose(self, workerid: int, absent: _Absent) -> None:
        async with self._lock(workerid):
            if self._absent.get(workerid) is not absent:
                return  # it has come back meanwhile
            grace = self._grace(workerid)
            # First of all nobody drives the builds here any more.
            await asyncio.gather(*(runner.drop() for runner in self._distributor.builds_of(workerid)))
            self._let_go(workerid)
            try:
                ended = await self._services.store.insist(
                    lose_builds(
                        workerid=workerid,
                        attachment=absent.fence.attachment,
                        masterid=absent.fence.masterid,
                        buildids=None,
                        results=RETRY,
                        why=f"the worker was away for more than {grace:g} s",
                        lingering=True,
                        now_us=self._services.clock.now_us(),
                        keep_logs_up_to=self._services.snapshot.log_compression_limit,
                    )
                )
            except Fenced:  # it is attached elsewhere, or this was done before and the answer got lost
                self._absent.pop(workerid, None)
                return
            absent.lost = True
            absent.fence = absent.fence._replace(attachment=absent.fence.attachment + 1)
        log.warning("a worker is lost", worker=self._name(workerid), builds=ended)
        self._distributor.wake()

    async def _bury(self, workerid: int, absent: _Absent) -> None:
        """The dead-man limit has passed: free what the lost attempts held."""
        lingering = await self._services.store.read(lingering_builds(workerid))
        if self._absent.get(workerid) is not absent:
            return
        del self._absent[workerid]
        for buildid, _ in lingering:
            await self._services.store.insist(end_lingering(buildid))
            self._distributor.lingering_ended(workerid, buildid)
