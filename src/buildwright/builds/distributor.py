"""Which request goes to which worker, and claiming it.

The distributor works in passes: read the first waiting requests of the builders that have a free worker,
choose pairs of request and worker in the builders' order, and have each claimed by a task of its own: what
becomes free meanwhile waits for nobody's commit. The claim decides (the store may know better); what it
refuses is looked at again in the next pass. A pass is made when something was woken: a new request, a worker
that attached or became free, a freed lock, a reload, and once a second by the sweeper, with which alone
everything would work as well.

The configuration's callables (:mod:`choosing`) are asked outside of any unit, and a builder that has any
chooses in a task of its own. So one that fails or takes its time holds nobody else up; it is named in the
reason for waiting (:mod:`reasons`).

An attempt that ended with RETRY waits before the next: 1 s, doubled with every attempt up to a minute, on
this process's own clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from buildwright.builds.assignment import Assignment, Resumed, steps_fingerprint
from buildwright.builds.choosing import Choosing, Declined, Failed
from buildwright.builds.collapse import collapsed
from buildwright.builds.links import WorkerLink
from buildwright.builds.lockwaits import LockWaits
from buildwright.builds.lockwants import wanted_locks
from buildwright.builds.reasons import Reasons
from buildwright.builds.runner import BuildRunner
from buildwright.builds.services import BuildServices
from buildwright.builds.sources import source_stamps
from buildwright.model.asking import within
from buildwright.model.builders import BuilderConfig
from buildwright.model.properties import Properties
from buildwright.model.renderable import render
from buildwright.store.errors import StoreError
from buildwright.store.unit import Fenced
from buildwright.store.units.claims import (
    Claimed,
    Facts,
    NotFree,
    Waiting,
    claim,
    pending_builders,
    say_request_waits,
    waiting,
)
from buildwright.store.units.collapse import waiting_requests
from buildwright.store.units.locks import leave_queues

log = structlog.get_logger(__name__)

PAGE = 16  # requests read of a builder beyond its workers, to choose from
PAGE_IN_ORDER = 2  # the same, where the first ones are taken as they come
PAGE_MOST = 512
RETRY_PAUSE, RETRY_PAUSE_MOST = 1.0, 60.0


@dataclass(slots=True)
class _Choice:
    builder: BuilderConfig
    builderid: int
    waiting: Waiting
    link: WorkerLink


class Distributor:
    """Gives waiting requests to workers; owns the running builds of this master."""

    def __init__(self, services: BuildServices) -> None:
        self.services = services
        self.running: dict[int, BuildRunner] = {}  # by build id
        self._links: dict[int, WorkerLink] = {}
        self._occupied: dict[
            int, dict[int, int]
        ] = {}  # worker id -> {build id: builder id}, lingering ones too
        self._claiming: dict[int, list[int]] = {}  # worker id -> builder ids of claims under way
        self._claimed: set[int] = set()  # request ids of claims under way
        self._claims: set[asyncio.Task[None]] = set()
        self._choosing: dict[int, asyncio.Task[None]] = {}  # builder id -> its choice under way
        self._missed: set[int] = set()  # those of them that were woken meanwhile
        self._choices = Choosing(services)
        self._woken: set[int] | None = set()  # builder ids; None: all
        self._wake_up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._paused: dict[int, tuple[int, float]] = {}  # request id -> (attempts, when the next may begin)
        self._lock_waits = LockWaits()
        self._locks_changed = False
        self._reasons = Reasons(services)
        self._open = False
        self.on_end: Callable[[int], None] = lambda _workerid: None  # told the worker of each build that ends
        self._idle: list[asyncio.Future[None]] = []

    # -- life ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to give out work."""
        if self._task is None:
            self._open = True
            self._task = asyncio.get_running_loop().create_task(self._work(), name="distributor")
            self.wake()

    async def stop(self) -> None:
        """Give out no more work, and let go of the running builds: whoever attaches their workers goes on
        with them.
        """
        self._open = False
        if self._task is not None:
            self._task.cancel()
            tasks = [*self._claims, *self._choosing.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(self._task, *tasks, return_exceptions=True)
            self._task = None
        await asyncio.gather(*(runner.drop() for runner in list(self.running.values())))

    async def let_go(self) -> None:
        """Drop all builds and workers: this master has no authority any more."""
        await asyncio.gather(*(runner.drop() for runner in list(self.running.values())))
        self._links.clear()
        self._occupied.clear()

    def configuration_changed(self) -> None:
        """Look at everything anew."""
        self.look_at_locks()

    def close(self) -> None:
        """Start no more builds; the running ones go on."""
        self._open = False
        self.wake()  # to say so

    async def drained(self) -> None:
        """Return when no build runs."""
        while self.running:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(future)
            await future

    def wake(self, builderids: Iterable[int] | None = None) -> None:
        """Look at these builders' requests, or at all."""
        if builderids is None:
            self._woken = None
        elif self._woken is not None:
            self._woken.update(builderids)
        self._wake_up.set()

    def look_at_locks(self) -> None:
        """Look at all requests, and try those again that a lock was refused to: it may be free now."""
        self._locks_changed = True
        self.wake()

    # -- workers ------------------------------------------------------------------------------------------

    def add_worker(self, link: WorkerLink, lingering: Sequence[tuple[int, int]] = ()) -> None:
        """A worker is attached here; ``lingering`` are lost attempts that still hold a slot: (build id,
        builder id).
        """
        self._links[link.workerid] = link
        occupied = self._occupied.setdefault(link.workerid, {})
        for buildid, builderid in lingering:
            occupied[buildid] = builderid
        self.worker_changed(link)

    def remove_worker(self, workerid: int) -> None:
        """The worker isn't attached here any more."""
        self._links.pop(workerid, None)
        self._occupied.pop(workerid, None)

    def worker_changed(self, link: WorkerLink) -> None:
        """A worker connected, was paused, has room again, ..."""
        self.wake(self._builders_of(link))

    def lingering_ended(self, workerid: int, buildid: int) -> None:
        if self._occupied.get(workerid, {}).pop(buildid, None) is not None and workerid in self._links:
            self.wake(self._builders_of(self._links[workerid]))

    def builds_of(self, workerid: int) -> list[BuildRunner]:
        """The builds that run on a worker."""
        return [runner for runner in self.running.values() if runner.link.workerid == workerid]

    def by_request(self, requestid: int) -> BuildRunner | None:
        return next((runner for runner in self.running.values() if runner.requestid == requestid), None)

    def resume(self, link: WorkerLink, resumed: Sequence[Resumed], known: Facts) -> None:
        """Go on with builds of a worker that has just been attached; those that run here already just go
        on.
        """
        requests = {request.requestid: request for request in known.requests}
        names = {builderid: name for name, builderid in self.services.registry.builders.items()}
        for each in resumed:
            if each.build.buildid in self.running:
                continue
            builder = self.services.snapshot.builders[names[each.build.builderid]]
            request = requests[each.build.requestid]
            self._run(
                link,
                Assignment(
                    buildid=each.build.buildid,
                    number=each.build.number,
                    attempt=each.build.attempt,
                    request=request,
                    stamps=source_stamps(known, request.buildsetid),
                    builderid=each.build.builderid,
                    builder=builder,
                    worker=link.config,
                    holds_locks=True,
                    resumed=each,
                ),
            )

    # -- passes -------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            await self._wake_up.wait()
            self._wake_up.clear()
            woken, self._woken = self._woken, set()
            try:
                await self._pass(woken)
            except StoreError as error:
                log.warning("no work can be given out", why=str(error))  # the sweeper wakes
            except Exception:
                log.exception("a pass of the distributor failed")

    async def _pass(self, woken: set[int] | None) -> None:
        services = self.services
        known = services.registry.builders
        builders = {
            known[name]: builder for name, builder in services.snapshot.builders.items() if name in known
        }
        if not self._open:
            await self._reasons.of_builders(builders, "the master is to stop: it starts no more builds")
            return
        asked = [builderid for builderid in builders if woken is None or builderid in woken]
        self._missed.update(builderid for builderid in asked if builderid in self._choosing)
        asked = [builderid for builderid in asked if builderid not in self._choosing]
        free = [
            builderid
            for builderid in asked
            if next(self._each_free(builders[builderid], builderid), None) is not None
        ]
        if woken is None and self._locks_changed:
            self._locks_changed = False
            self._lock_waits.look_again()
            await self._leave_queues(builders, free)
        await self._say_no_worker({id_: builders[id_] for id_ in asked if id_ not in free})
        if not free:
            return
        if len(free) > 1:
            free = await self._ordered(builders, free)
        pages = await asyncio.gather(
            *(self._candidates(builderid, builders[builderid]) for builderid in free)
        )
        for builderid, page in zip(free, pages, strict=True):
            builder = builders[builderid]
            if not page.requests or not self._choices.asks(builder):
                await self._choose_and_tell(builder, builderid, page)
                continue
            task = asyncio.create_task(
                self._choose_and_tell(builder, builderid, page), name=f"choice of {builder.name}"
            )
            self._choosing[builderid] = task
            task.add_done_callback(lambda _, builderid=builderid: self._chosen(builderid))  # type: ignore[misc]

    def _chosen(self, builderid: int) -> None:
        self._choosing.pop(builderid, None)
        if builderid in self._missed:
            self._missed.discard(builderid)
            self.wake([builderid])

    async def _choose_and_tell(self, builder: BuilderConfig, builderid: int, page: Facts) -> None:
        """Choose; a failure is told, and goes no further."""
        try:
            await self._choose(builder, builderid, page)
        except Failed as failed:
            await self._reasons.of_builder(builderid, str(failed))
        except StoreError as error:
            log.warning("no work can be given out", why=str(error))  # the sweeper wakes
        except Exception:
            log.exception("a choice failed by a defect of the engine", builder=builder.name)

    async def _leave_queues(self, builders: Mapping[int, BuilderConfig], free: Sequence[int]) -> None:
        """Let requests that can't start for want of a worker leave the queues of locks."""
        if not self._lock_waits:
            return
        idle = [builderid for builderid, builder in builders.items() if not self._accepting(builder)]
        leaving = self._lock_waits.to_leave(free, idle, self.services.clock.monotonic())
        if leaving:
            await self.services.store.run(leave_queues(leaving, self.services.registry.masterid))

    def _accepting(self, builder: BuilderConfig) -> bool:
        """Whether any of the builder's workers takes builds, be it busy or not."""
        links = (self._links.get(self.services.registry.workers.get(name, 0)) for name in builder.workernames)
        return any(link is not None and link.accepting for link in links)

    def _builders_of(self, link: WorkerLink) -> set[int]:
        known = self.services.registry.builders
        return {
            known[name]
            for name, builder in self.services.snapshot.builders.items()
            if link.name in builder.workernames and name in known
        }

    def _free(self, builder: BuilderConfig, builderid: int) -> list[WorkerLink]:
        return list(self._each_free(builder, builderid))

    def _each_free(self, builder: BuilderConfig, builderid: int) -> Iterator[WorkerLink]:
        """The builder's workers that could take a build now: one build per builder and worker, max_builds
        over all.
        """
        workers = self.services.registry.workers
        for name in builder.workernames:
            workerid = workers.get(name)
            link = self._links.get(workerid) if workerid is not None else None
            if link is None or not link.accepting:
                continue
            occupied = self._occupied.get(link.workerid, {})
            claiming = self._claiming.get(link.workerid, [])
            if builderid in claiming or builderid in occupied.values():
                continue
            most = link.config.max_builds
            if most is not None and len(occupied) + len(claiming) >= most:
                continue
            yield link

    async def _say_no_worker(self, builders: Mapping[int, BuilderConfig]) -> None:
        """Store why the requests of these builders wait: no worker could take any of them."""
        ids, links = self.services.registry.workers, self._links
        await self._reasons.of_builders_without_worker(
            {
                builderid: [(name, links.get(ids.get(name, 0))) for name in builder.workernames]
                for builderid, builder in builders.items()
            }
        )

    async def _ordered(self, builders: Mapping[int, BuilderConfig], free: list[int]) -> list[int]:
        """The builders with waiting requests: highest priority first, then the longest wait, or as the user
        says.
        """
        rows = await self.services.store.read(pending_builders(free))
        order = [
            builderid
            for builderid, _, _ in sorted(rows, key=lambda row: (-row[1], row[2], builders[row[0]].name))
        ]
        if len(order) > 1:
            names = await self._choices.order(self, [builders[builderid] for builderid in order])
            by_name = {builders[builderid].name: builderid for builderid in order}
            order = [by_name.pop(name) for name in dict.fromkeys(names)]
            for builderid in by_name.values():
                await self._reasons.of_builder(builderid, "prioritizeBuilders left this builder out")
        return order

    async def _candidates(self, builderid: int, builder: BuilderConfig) -> Facts:
        """The requests to choose from: a page that holds enough which don't pause."""
        chooses = builder.nextBuild is not None or self._choices.rule(builder) is not False
        most = len(builder.workernames) + (PAGE if chooses else PAGE_IN_ORDER)
        while True:
            claimed = set(self._claimed)  # their claims may be over before the page that still shows them
            page = await self.services.store.read(waiting(builderid, most))
            claimed |= self._claimed
            ready = [
                request
                for request in self._lock_waits.worth_trying(builderid, page.requests)
                if request.requestid not in claimed and not self._pauses(request)
            ]
            if ready or len(page.requests) < most or most >= PAGE_MOST:
                return Facts(ready, page.stamps, page.changes, page.patches)
            most *= 4

    def _pauses(self, request: Waiting) -> bool:
        if not request.attempts:
            return False
        now = self.services.clock.monotonic()
        known = self._paused.get(request.requestid)
        if known is None or known[0] != request.attempts:
            pause = min(RETRY_PAUSE * 2 ** (request.attempts - 1), RETRY_PAUSE_MOST)
            known = self._paused[request.requestid] = (request.attempts, now + pause)
        return now < known[1]

    async def _choose(self, builder: BuilderConfig, builderid: int, page: Facts) -> None:
        """Choose pairs of request and worker, and have them claimed."""
        asks = self._choices.asks(builder)
        left = list(page.requests)
        declined: dict[Waiting, str] = {}
        while left and (free := self._free(builder, builderid)):
            request = await self._choices.build(builder, left, page)
            if request is None:
                why = f"nextBuild of builder {builder.name!r} chose none of its requests"
                await self._reasons.of_builder(builderid, why)
                break
            left.remove(request)
            link = await self._choices.worker(builder, free, request, page)
            if isinstance(link, Declined):
                declined[request] = link.why
                continue
            if left and self._choices.rule(builder) is not False:
                request = await self._collapsed(builder, request, page, left)
            if asks and (not self._open or link not in self._free(builder, builderid)):
                self.wake([builderid])  # it was taken while a callable thought
                break
            self._begin_claim(_Choice(builder, builderid, request, link), page)
        await self._reasons.of_requests(declined)

    async def _collapsed(
        self, builder: BuilderConfig, request: Waiting, page: Facts, left: list[Waiting]
    ) -> Waiting:
        """The request to claim instead of ``request``, which may have made room for a newer one."""
        stays = await collapsed(
            self.services.store,
            partial(self._choices.collapses, builder),
            request.requestid,
            [other.requestid for other in left],
            self.services.clock.now_us(),
        )
        if stays == request.requestid:
            return request
        gone = {other.requestid for other in page.requests if request.requestid <= other.requestid <= stays}
        still = await self.services.store.read(waiting_requests([*gone]))
        waits = {each.id for each in still}
        left[:] = [other for other in left if other.requestid not in gone or other.requestid in waits]
        left[:] = [other for other in left if other.requestid != stays]
        return next(other for other in page.requests if other.requestid == stays)

    # -- claiming -----------------------------------------------------------------------------------------

    def _begin_claim(self, choice: _Choice, page: Facts) -> None:
        """Take the worker's slot and the request, and claim them in a task."""
        self._claiming.setdefault(choice.link.workerid, []).append(choice.builderid)
        self._claimed.add(choice.waiting.requestid)
        task = asyncio.get_running_loop().create_task(
            self._finish_claim(choice, page), name=f"claim request {choice.waiting.requestid}"
        )
        self._claims.add(task)
        task.add_done_callback(self._claims.discard)

    async def _finish_claim(self, choice: _Choice, page: Facts) -> None:
        try:
            if await self._claim(choice, page):
                self.wake([choice.builderid])
        except StoreError as error:
            log.warning("no work can be given out", why=str(error))  # the sweeper wakes
        except Exception:
            log.exception("a claim failed by a defect of the engine")
        finally:
            self._claimed.discard(choice.waiting.requestid)

    async def _claim(self, choice: _Choice, page: Facts) -> bool:
        """Try a claim and start the build; gives whether the builder should be looked at again."""
        services = self.services
        builder, link, request = choice.builder, choice.link, choice.waiting
        try:
            locks = [*(await self._locks(builder, request)), *link.config.locks]
            wants = wanted_locks(services, locks, link.workerid)
            fence = link.fence
            outcome = await services.store.run(
                claim(
                    requestid=request.requestid,
                    builderid=choice.builderid,
                    workerid=link.workerid,
                    attachment=fence.attachment,
                    masterid=fence.masterid,
                    wants=wants,
                    fingerprint=steps_fingerprint(builder),
                    now_us=services.clock.now_us(),
                )
            )
        except Fenced:
            log.info("a worker is attached elsewhere", worker=link.name)
            return False
        except StoreError:
            raise
        except Exception as error:
            log.error(
                "a build can't start", builder=builder.name, request=request.requestid, error=repr(error)
            )
            await services.store.run(say_request_waits(request.requestid, f"it can't start: {error!r}"))
            return False
        finally:
            self._claiming[link.workerid].remove(choice.builderid)
        if isinstance(outcome, NotFree):
            self._lock_waits.refused(request.requestid, choice.builderid)
            return True
        self._lock_waits.over(request.requestid)
        if not isinstance(outcome, Claimed):
            if request.attempts:  # perhaps its lost attempt lingers: nobody need ask again at once
                later = services.clock.monotonic() + RETRY_PAUSE
                self._paused[request.requestid] = (request.attempts, later)
            return True
        self._paused.pop(request.requestid, None)
        same = self._links.get(link.workerid) is link and link.fence == fence
        if not same or outcome.buildid in self.running:
            return False  # it has attached anew meanwhile, and whoever has it now goes on with its builds
        self._run(
            link,
            Assignment(
                buildid=outcome.buildid,
                number=outcome.number,
                attempt=outcome.attempt,
                request=request,
                stamps=source_stamps(page, request.buildsetid),
                builderid=choice.builderid,
                builder=builder,
                worker=link.config,
                holds_locks=bool(wants),
            ),
        )
        await self._reasons.claimed(choice.builderid)
        return True

    async def _locks(self, builder: BuilderConfig, request: Waiting) -> Sequence[Any]:
        if not builder.locks or isinstance(builder.locks, list):
            return builder.locks or ()
        properties = Properties.from_json(request.properties)
        rendered = await within(f"locks of builder {builder.name!r}", render(builder.locks, properties))
        return rendered or ()

    def _run(self, link: WorkerLink, assignment: Assignment) -> None:
        runner = BuildRunner(self.services, link, assignment, self)
        self.running[assignment.buildid] = runner
        self._occupied.setdefault(link.workerid, {})[assignment.buildid] = assignment.builderid
        runner.start()

    # -- what a build asks of its host --------------------------------------------------------------------

    async def turn(self, runner: BuildRunner) -> None:
        """Return when older builds leave room: none of its builder on this worker, fewer than max_builds."""
        resumed = runner.assignment.resumed
        if resumed is not None and resumed.steps:
            return  # it had its turn
        most = runner.link.config.max_builds
        while True:
            older = [
                other for other in self.builds_of(runner.link.workerid) if other.buildid < runner.buildid
            ]
            own = [other for other in older if other.assignment.builderid == runner.assignment.builderid]
            if not own and (most is None or len(older) < most):
                return
            tasks = [other.task for other in own or older if other.task is not None]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

    def leaving(self, runner: BuildRunner) -> None:
        """Give the build's slot to the next, whose claim need not wait for this one's last commit."""
        workerid = runner.link.workerid
        if self._occupied.get(workerid, {}).pop(runner.buildid, None) is not None and workerid in self._links:
            self.wake(self._builders_of(self._links[workerid]))

    def ended(self, runner: BuildRunner) -> None:
        """Forget the build, and look who is next."""
        workerid = runner.link.workerid
        if self.running.get(runner.buildid) is runner:
            del self.running[runner.buildid]
            self._occupied.get(workerid, {}).pop(runner.buildid, None)
        if workerid in self._links:
            self.wake(self._builders_of(self._links[workerid]))
        self.on_end(workerid)
        if not self.running:
            idle, self._idle = self._idle, []
            for future in idle:
                if not future.done():
                    future.set_result(None)
