"""Attaching workers, and going on with their builds.

A hello is answered in one order: attach in the store (from then on every former owner is fenced), read the
worker's open builds, compare with what the worker says of itself, then welcome it. If its process is the
one that was attached before, commands go on. If it is another process, the commands of the old one are dead
(its ledger is the same: it has made sure of that) or must be taken for running (another ledger): attempts
that had a command open end with RETRY, in the second case they linger.

A hello may be answered late, when the store was away. By then the worker may have connected to another
master, or a new process may run in its place: whoever is attached is fenced by this answer that nobody hears,
and what the hello said is no longer true. So nothing is ended because of a hello before the worker has
answered again on its connection; and each master looks about once a second whether the store still knows its
workers under the numbers that it knows. If not, it lets go of the worker, which says hello anew.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from buildwright.builds.assignment import Resumed
from buildwright.builds.distributor import Distributor
from buildwright.builds.losing import lose_builds
from buildwright.builds.services import BuildServices
from buildwright.model.results import RETRY
from buildwright.model.workers import WorkerConfig
from buildwright.store.unit import Fenced
from buildwright.store.units.attach import (
    Attached,
    Entry,
    OpenBuilds,
    adopt,
    attach,
    detach,
    lingering_builds,
    open_builds,
)
from buildwright.store.units.claims import end_lingering, facts
from buildwright.store.units.engine import Fence
from buildwright.workers.missing import Missing
from buildwright.workers.seats import Seat
from buildwright_worker.protocol import Hello, MasterSession

log = structlog.get_logger(__name__)

PROBE_SECONDS = 3.0
WINDOW_MOST = 2 * 1024 * 1024
WINDOW_LEAST = 64 * 1024
WINDOW_BUDGET = 48 * 1024 * 1024


class Refused(Exception):
    """The hello is refused; the text says why, for the worker's log."""


@dataclass(slots=True)
class Connection:
    """What attaching needs of a connection."""

    session: MasterSession
    flush: Callable[[], None]
    close: Callable[[str], None]
    pongs: dict[int, asyncio.Future[bool]] = field(default_factory=dict)  # who waits for a sign of life

    def pong(self, token: int) -> None:
        """The worker has answered."""
        waiting = self.pongs.pop(token, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(True)

    def over(self) -> None:
        """Nothing comes any more."""
        pongs, self.pongs = self.pongs, {}
        for waiting in pongs.values():
            if not waiting.done():
                waiting.set_result(False)


class Workers:
    """All workers of this master: who is attached, who is missing."""

    def __init__(
        self, services: BuildServices, distributor: Distributor, term: int, master_name: str
    ) -> None:
        self.services = services
        self.distributor = distributor
        self.seats: dict[int, Seat] = {}
        self.authority = True
        self._term = term
        self._master_name = master_name
        self._connections: dict[int, Connection] = {}
        self._attaching: dict[int, asyncio.Lock] = {}
        self._missing = Missing(services, distributor, self.seats, self._lock_of, self._leave_seat)
        self._reaping: dict[
            int, set[str]
        ] = {}  # worker id -> commands of lost attempts that still have to end
        self._tasks: set[asyncio.Task[None]] = set()
        self._window = WINDOW_MOST
        distributor.on_end = self.build_ended

    # -- attaching ----------------------------------------------------------------------------------------

    async def attach(self, config: WorkerConfig, connection: Connection, hello: Hello) -> Seat:
        """Answer a hello. Raises Refused."""
        services = self.services
        workerid = services.registry.workers.get(config.name)
        if workerid is None or not self.authority:
            raise Refused("this master has no authority at the moment, try another one or again")
        async with self._lock_of(workerid):
            await self._only_one(workerid, config, hello)
            try:
                attached = await services.store.run(
                    attach(
                        workerid=workerid,
                        masterid=services.registry.masterid,
                        term=self._term,
                        info=_shown_info(hello),
                    )
                )
                return await self._seat(workerid, config, connection, hello, attached)
            except Fenced as refusal:  # our lease is over, or another master has attached it meanwhile
                seat = self.seats.get(workerid)
                if seat is not None:
                    await self._let_go(seat)
                raise Refused(str(refusal)) from refusal

    async def _only_one(self, workerid: int, config: WorkerConfig, hello: Hello) -> None:
        """Refuse another process of a worker that is attached and answers."""
        before = self._connections.get(workerid)
        seat = self.seats.get(workerid)
        if before is None or seat is None:
            return
        another = hello.boot != seat.boot
        if another and await self._answers(before) and self._connections.get(workerid) is before:
            log.warning("a second process of a worker was refused", worker=config.name)
            raise Refused(f"another process of worker {config.name!r} is attached and answers")
        before.close("the worker has connected again")

    async def _answers(self, connection: Connection) -> bool:
        """Whether a worker answers on this connection now."""
        token = connection.session.probe(services_now(self.services))
        answered = connection.pongs[token] = asyncio.get_running_loop().create_future()
        connection.flush()
        done, _ = await asyncio.wait({answered}, timeout=PROBE_SECONDS)
        return bool(done) and answered.result()

    async def _seat(
        self, workerid: int, config: WorkerConfig, connection: Connection, hello: Hello, attached: Attached
    ) -> Seat:
        services = self.services
        fence = Fence(workerid, attached.attachment, services.registry.masterid)
        seat = self.seats.get(workerid)
        if seat is not None and seat.fence.attachment + 1 != attached.attachment:
            # It was attached elsewhere meanwhile: what is open here has had another owner, and may be done.
            await self._let_go(seat)
            seat = None
        if seat is None:
            seat = self.seats[workerid] = Seat(workerid, config, fence)
        # From here on nobody who drives a build under this seat is refused for its former number. Those who
        # were refused already, or sat in a former seat, may still be ending: they drive nothing any more.
        seat.fence = fence
        former = [
            runner
            for runner in self.distributor.builds_of(workerid)
            if runner.link is not seat or runner.writer.closed
        ]
        await asyncio.gather(*(runner.drop() for runner in former))
        seat.paused = attached.paused
        before = seat.session
        if before is not None:
            seat.disconnected(before, services_now(services))
        same_process = attached.previous_boot == hello.boot
        lingering = await services.store.read(lingering_builds(workerid))
        if (
            (not same_process and attached.previous_boot is not None) or hello.lost or lingering
        ) and not await self._answers(connection):
            raise Refused("it does not answer any more, and what its hello said may be out of date")
        stored = await services.store.read(open_builds(workerid))
        unknown = self._unconfigured(stored)
        if not same_process:
            same_ledger = attached.previous_ledger == hello.ledger
            why = "the worker's process died"
            stored = await self._end_broken(seat, stored, why, None, lingering=not same_ledger)
            seat.forget(list(seat.open_commands))
            if same_ledger:
                await self._end_lingering(workerid, lingering)
        elif hello.lost:
            gone = {each.id: each.why for each in hello.lost}
            why = "; ".join(dict.fromkeys(gone.values()))
            stored = await self._end_broken(seat, stored, why, set(gone), lingering=False)
            seat.forget(gone)
        if unknown:
            stored = await self._end(fence, stored, unknown, "its builder is not configured any more")
        if not same_process:
            await services.store.insist(
                adopt(
                    workerid=workerid,
                    attachment=fence.attachment,
                    masterid=fence.masterid,
                    boot=hello.boot,
                    ledger=hello.ledger,
                )
            )
        lingering = await services.store.read(lingering_builds(workerid))
        running = {runner.buildid for runner in self.distributor.builds_of(workerid)}
        resumed = _resumed(stored, running)
        for each in resumed:
            for entry in each.journal:
                if entry.kind == "command" and not entry.done:
                    seat.expect(_command_id(entry), entry.acked)
        if self.seats.get(workerid) is not seat:
            raise Refused("this master has lost its authority meanwhile, try another one or again")
        answers = seat.answers(hello, lambda which: self._reaped(workerid, which, lingering))
        self._reaping[workerid] = {answer.id for answer in answers if answer.action == "kill"}
        connection.session.welcome(
            attachment=attached.attachment,
            master=self._master_name,
            deadman_s=config.deadman,
            window=self._window,
            commands=answers,
        )
        for lost in hello.lost:
            connection.session.forget_lost(lost.id)
        self._connections[workerid] = connection
        self._missing.back(workerid)
        seat.connected(connection.session, hello, connection.flush)
        self._share_window()
        if same_process and lingering and not self._reaping[workerid]:
            await self._end_lingering(workerid, lingering)
            lingering = []
        known = await services.store.read(facts([each.build.requestid for each in resumed]))
        if self.seats.get(workerid) is not seat:
            return seat  # let go of meanwhile
        if resumed:
            log.info(
                "going on with builds", worker=config.name, builds=[each.build.buildid for each in resumed]
            )
            self.distributor.resume(seat, resumed, known)
        self.distributor.add_worker(seat, lingering)  # last: what runs has its slots by now
        log.info("a worker has attached", worker=config.name, attachment=attached.attachment)
        return seat

    def _unconfigured(self, stored: OpenBuilds) -> list[int]:
        names = {builderid: name for name, builderid in self.services.registry.builders.items()}
        builders = self.services.snapshot.builders
        return [build.buildid for build in stored.builds if names.get(build.builderid) not in builders]

    async def _end_broken(
        self, seat: Seat, stored: OpenBuilds, why: str, lost: set[str] | None, *, lingering: bool
    ) -> OpenBuilds:
        """End the attempts whose open commands are gone: those in ``lost``, or all if the process died."""
        steps = {step.stepid: step.buildid for step in stored.steps}
        broken = {
            steps[entry.stepid]
            for entry in stored.journal
            if entry.kind == "command" and not entry.done and (lost is None or _command_id(entry) in lost)
        }
        await asyncio.gather(
            *(
                runner.drop()
                for runner in self.distributor.builds_of(seat.workerid)
                if runner.buildid in broken
            )
        )
        return await self._end(seat.fence, stored, sorted(broken), why, lingering=lingering)

    async def _end(
        self, fence: Fence, stored: OpenBuilds, buildids: list[int], why: str, *, lingering: bool = False
    ) -> OpenBuilds:
        if not buildids:
            return stored
        await self.services.store.insist(
            lose_builds(
                workerid=fence.workerid,
                attachment=fence.attachment,
                masterid=fence.masterid,
                buildids=buildids,
                results=RETRY,
                why=why,
                lingering=lingering,
                now_us=self.services.clock.now_us(),
                keep_logs_up_to=self.services.snapshot.log_compression_limit,
            )
        )
        return stored._replace(builds=[build for build in stored.builds if build.buildid not in buildids])

    def _reaped(self, workerid: int, command_id: str, lingering: Sequence[tuple[int, int]]) -> None:
        left = self._reaping.get(workerid, set())
        left.discard(command_id)
        if not left:
            self._background(self._end_lingering(workerid, lingering))

    async def _end_lingering(self, workerid: int, lingering: Sequence[tuple[int, int]]) -> None:
        for buildid, _ in lingering:
            await self.services.store.insist(end_lingering(buildid))
            self.distributor.lingering_ended(workerid, buildid)

    # -- connections --------------------------------------------------------------------------------------

    async def disconnected(self, seat: Seat, connection: Connection) -> None:
        """A connection is gone."""
        if self._connections.get(seat.workerid) is connection:
            del self._connections[seat.workerid]
        if not seat.disconnected(connection.session, services_now(self.services)):
            return
        log.info("a worker's connection is gone", worker=seat.name)
        self._share_window()
        self.distributor.worker_changed(seat)
        fence = seat.fence
        if self.authority:
            await self.services.store.insist(detach(fence.workerid, fence.attachment, fence.masterid))

    def refuse(self, seat: Seat) -> None:
        """The worker says that it is attached elsewhere: its builds have another owner."""
        log.warning("a worker is attached elsewhere", worker=seat.name)
        self._dismiss(seat, "it is attached elsewhere")

    def _dismiss(self, seat: Seat, why: str) -> None:
        """Let go of a worker and end its connection."""
        self._detach(seat, why)
        self._background(self._let_go(seat))

    async def _let_go(self, seat: Seat) -> None:
        if self.seats.get(seat.workerid) is seat:
            self._leave_seat(seat.workerid)
        runners = [runner for runner in self.distributor.builds_of(seat.workerid) if runner.link is seat]
        await asyncio.gather(*(runner.drop() for runner in runners))

    def _leave_seat(self, workerid: int) -> None:
        self.seats.pop(workerid, None)
        self.distributor.remove_worker(workerid)

    def _lock_of(self, workerid: int) -> asyncio.Lock:
        """Held while a worker attaches here, or is lost."""
        return self._attaching.setdefault(workerid, asyncio.Lock())

    def leave(self, seat: Seat, connection: Connection, why: str) -> None:
        """The worker wants to stop: no more builds; its process ends when the running ones are done."""
        log.info("a worker is leaving", worker=seat.name, why=why)
        seat.leaving = True
        self.distributor.worker_changed(seat)
        if not self.distributor.builds_of(seat.workerid):
            connection.session.shutdown()
            connection.flush()

    def dismiss(self, seat: Seat, why: str) -> None:
        """Have a worker's process end when it has nothing left to do."""
        connection = self._connections.get(seat.workerid)
        if connection is not None:
            self.leave(seat, connection, why)

    def build_ended(self, workerid: int) -> None:
        """A build of this worker has ended: one that is leaving may go now."""
        seat, connection = self.seats.get(workerid), self._connections.get(workerid)
        if (
            seat is not None
            and connection is not None
            and seat.leaving
            and not self.distributor.builds_of(workerid)
        ):
            connection.session.shutdown()
            connection.flush()

    def _share_window(self) -> None:
        """One byte budget for all workers: what each may have unacknowledged."""
        count = max(1, len(self._connections))
        window = max(WINDOW_LEAST, min(WINDOW_MOST, WINDOW_BUDGET // count))
        if window < self._window / 2 or window > self._window * 2 or window == WINDOW_MOST != self._window:
            self._window = window
            for connection in self._connections.values():
                connection.session.window(window)
                connection.flush()

    def tick(self, now: float) -> None:
        """Look after the connections: ping, and close those whose peer is silent. Called about once a
        second.
        """
        for connection in list(self._connections.values()):
            session = connection.session
            if now >= session.next_tick():
                try:
                    session.tick(now)
                except Exception as silence:
                    connection.close(str(silence))
                else:
                    connection.flush()

    def close(self, why: str) -> None:
        """This master gives up its authority: workers look for another one, their commands go on."""
        self.authority = False
        seats = list(self.seats.values())
        self.seats.clear()
        for seat in seats:
            self._detach(seat, why)

    def _detach(self, seat: Seat, why: str) -> None:
        """Have a worker look for another master. Nothing can be said to it any more."""
        connection = self._connections.pop(seat.workerid, None)
        if connection is not None:
            seat.disconnected(connection.session, services_now(self.services))
            connection.session.detach(why)
            connection.flush()
            connection.close(why)

    def regain(self, term: int) -> None:
        """This master has authority again: workers may attach."""
        self._term = term
        self.authority = True

    # -- what waits -----------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Look after workers that are away. Called about once a second."""
        if self.authority:
            await self._missing.sweep()

    def superseded(self, seat: Seat, attachment: int) -> None:
        """The store knows the worker under this number. If that is not the seat's, have it say hello anew."""
        if attachment <= seat.fence.attachment or self._lock_of(seat.workerid).locked():
            return
        log.warning("a worker was attached by somebody whom it didn't hear", worker=seat.name)
        self._dismiss(seat, "it was attached elsewhere, say hello again")

    def _background(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """End what is under way here."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def services_now(services: BuildServices) -> float:
    return services.clock.monotonic()


def _shown_info(hello: Hello) -> str:
    """What the data API shows of a worker; its environment isn't stored."""
    shown = {key: value for key, value in hello.info.items() if key != "environ" and _plain(value)}
    return json.dumps(shown, sort_keys=True)


def _plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _command_id(entry: Entry) -> str:
    return f"{entry.stepid}.{entry.tries}.{entry.seq}"


def _resumed(stored: OpenBuilds, running: set[int]) -> list[Resumed]:
    """The stored builds that no runner of this process drives, each with its rows."""
    found = []
    for build in stored.builds:
        if build.buildid in running:
            continue
        steps = [step for step in stored.steps if step.buildid == build.buildid]
        ids = {step.stepid for step in steps}
        found.append(
            Resumed(
                build,
                steps,
                [entry for entry in stored.journal if entry.stepid in ids],
                [each for each in stored.logs if each.stepid in ids],
            )
        )
    return found
