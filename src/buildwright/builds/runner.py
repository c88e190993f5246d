"""One build: its steps one after another, from the claim or from where the store says it is, to its end.

The runner owns the build's writer, its :class:`~buildwright.builds.plan.Plan`, the current step and the
:class:`~buildwright.builds.outcome.Outcome` so far. A build that is taken over is loaded from the store
(:class:`~buildwright.builds.assignment.Resumed`): finished steps count with their results, the unfinished
one is run again and answered from its journal. Steps that finished steps had added are found by running
those again, from their journal alone.

A build ends with a result, stored in one unit with its last step's end, its request and buildset; or it is
dropped, without a word, when it has another owner.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from functools import partial
from typing import Any, Protocol

import structlog

from buildwright.builds.assignment import Assignment, Resumed
from buildwright.builds.build import Build, BuildBuilder, BuildWorker
from buildwright.builds.buildproperties import BuildProperties
from buildwright.builds.buildsecrets import BuildSecrets
from buildwright.builds.links import WorkerLink
from buildwright.builds.lockwants import step_locks
from buildwright.builds.losing import lose_builds
from buildwright.builds.noticing import Abort
from buildwright.builds.outcome import Outcome, Stop
from buildwright.builds.plan import Plan, Planned
from buildwright.builds.rebuilding import done_for
from buildwright.builds.services import BuildServices
from buildwright.builds.step import BuildStep
from buildwright.builds.steprun import StepRun
from buildwright.builds.writer import BuildWriter, Nowhere
from buildwright.model.asking import Misbehaved, ask, within
from buildwright.model.builders import StepSpec
from buildwright.model.properties import Properties
from buildwright.model.renderable import is_plain, render
from buildwright.model.results import CANCELLED, EXCEPTION, RETRY, SKIPPED, SUCCESS
from buildwright.model.text import storable
from buildwright.store.errors import StoreError
from buildwright.store.unit import Fenced
from buildwright.store.units.attach import StepRow
from buildwright.store.units.control import stop_of
from buildwright.store.units.engine import PIN
from buildwright.store.units.finishing import finish_build_work
from buildwright.store.units.locks import Want
from buildwright.store.units.rebuilding import Done

log = structlog.get_logger(__name__)


class Host(Protocol):
    """Whoever gives a build its worker: the distributor."""

    async def turn(self, runner: BuildRunner) -> None:
        """Return when the build may begin: those before it that it has no room beside are over."""
        ...

    def leaving(self, runner: BuildRunner) -> None:
        """Only its last commit is left of the build: the next may be claimed, and wait for its turn."""
        ...

    def ended(self, runner: BuildRunner) -> None:
        """The build is over, or was dropped."""
        ...


class BuildRunner:
    """Drives one build."""

    def __init__(
        self,
        services: BuildServices,
        link: WorkerLink,
        assignment: Assignment,
        host: Host,
    ) -> None:
        self.services = services
        self.link = link
        self.assignment = assignment
        self._host = host
        resumed = assignment.resumed
        self.writer = BuildWriter(
            services.store,
            assignment.buildid,
            resumed.build.version if resumed else 0,
            link,
            self._writer_broke,
        )
        self.build = self._make_build()
        self.secrets = BuildSecrets(self.build, services)
        self._properties = BuildProperties(assignment, services, link, self.build, self.secrets, self.writer)
        self._outcome = Outcome()
        self._done: Done | None = None  # of another build, which this one goes on from
        self._plan = Plan(assignment.builder.factory.steps)
        self._next_number = 0
        self._step: StepRun | None = None
        self._pinned = bool(resumed and resumed.build.pinned)
        self._task: asyncio.Task[None] | None = None

    @property
    def buildid(self) -> int:
        return self.assignment.buildid

    @property
    def requestid(self) -> int:
        return self.assignment.request.requestid

    # -- its life -----------------------------------------------------------------------------------------

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"build {self.buildid}")

    @property
    def task(self) -> asyncio.Task[None] | None:
        """Done when the build is over or was dropped; None before its start."""
        return self._task

    async def drop(self) -> None:
        """Stop driving the build and write nothing more: it has another owner, or this process ends."""
        self.writer.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def stop(self, reason: str, results: int = CANCELLED) -> None:
        """End the build: the current step is interrupted, of the others only those with alwaysRun run."""
        if self._outcome.stop is not None:
            return
        self._outcome.stop = Stop(results, reason)
        self.build.stopped = True
        log.info("stopping a build", buildid=self.buildid, reason=reason)
        if self._step is not None:
            await self._step.stop(reason)

    async def _run(self) -> None:
        try:
            await self._host.turn(self)
            await self._go()
        except Fenced:
            log.info("dropped a build that has another owner", buildid=self.buildid)
        except asyncio.CancelledError:
            if not self.writer.closed:
                raise
            if not self.writer.fenced:
                await self._end_defective()
        except Exception:
            # A defect of the engine: it must not leave the build open for ever.
            log.exception("a build failed by a defect of the engine", buildid=self.buildid)
            await self._end_defective()
        finally:
            self.writer.close()
            self._host.ended(self)

    async def _go(self) -> int | None:
        self._properties.begin()
        try:
            resumed = self.assignment.resumed
            begun = resumed.steps if resumed is not None else ()
            self._done = await done_for(self.build, self.services, self.assignment.builder, begun)
            if resumed is not None:
                await self._learn_of_a_stop()
                await self._resume(resumed)
            elif await self._wanted():
                self.writer.say(state="building")
            else:
                self._plan.steps = []
            while self._plan.steps:
                await self._run_step(self._plan.steps.pop(0))
        except Abort as abort:
            self._outcome.set(RETRY, abort.why)
            if self._step is not None:
                await self._close_aborted(self._step, abort.why)
        return await self._end()

    async def _wanted(self) -> bool:
        """Whether the builder's ``do_build_if`` lets the build run; else its result is set."""
        condition = self.assignment.builder.do_build_if
        if condition is None:
            return True
        try:
            if await ask("do_build_if", condition, self.build):
                return True
        except Misbehaved as error:
            log.error("do_build_if failed", builder=self.assignment.builder.name, error=str(error))
            self._outcome.set(EXCEPTION, str(error))
            return False
        except Exception as error:
            log.error("do_build_if failed", builder=self.assignment.builder.name, error=repr(error))
            self._outcome.set(EXCEPTION, f"do_build_if failed: {error!r}")
            return False
        self._outcome.set(SKIPPED)
        return False

    async def _end(self) -> int | None:
        results = self._outcome.final()
        told: list[int | None] = []
        self.writer.call(
            partial(
                finish_build_work,
                buildid=self.buildid,
                requestid=self.requestid,
                results=results,
                state_string=storable(self._outcome.summary(results)),
                lingering=False,
                holds_locks=self.assignment.holds_locks,
                now_us=self.services.clock.now_us(),
                max_attempts=self.services.max_attempts,
                buildsetid=self.assignment.request.buildsetid,
            ),
            told=told.append,
        )
        self.writer.soon()
        if results != RETRY and not self.assignment.holds_locks:
            self._host.leaving(self)
        await self.writer.flush()
        stored = told[0] if told else results
        self.build.results = stored
        return stored

    def _writer_broke(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _end_defective(self) -> None:
        """End the build with EXCEPTION: in order if it can still be written, else as a lost one."""
        why = "internal error, see the master's log"
        self._outcome.set(EXCEPTION, why)
        try:
            if not self.writer.closed:
                try:
                    if self._step is not None:
                        await self._close_aborted(self._step, why, EXCEPTION)
                    await self._end()
                except (Exception, asyncio.CancelledError):
                    if not self.writer.closed:
                        raise
            if self.writer.closed and not self.writer.fenced:
                await self._end_outright(why)
        except Fenced:
            pass
        except Exception:
            log.exception("a build can't be ended; the next start tries again", buildid=self.buildid)

    async def _end_outright(self, why: str) -> None:
        """End the build without its writer; what runs of it is killed first."""
        for running in self._step.requests.commands if self._step is not None else ():
            await self.link.discard(running.id, why)
        while True:
            fence = self.link.fence
            try:
                await self.services.store.insist(
                    lose_builds(
                        workerid=fence.workerid,
                        attachment=fence.attachment,
                        masterid=fence.masterid,
                        buildids=[self.buildid],
                        results=EXCEPTION,
                        why=why,
                        lingering=False,
                        now_us=self.services.clock.now_us(),
                        keep_logs_up_to=self.services.snapshot.log_compression_limit,
                    )
                )
                return
            except Fenced:
                if self.link.fence == fence:
                    raise

    async def _close_aborted(self, step: StepRun, why: str, result: int = RETRY) -> None:
        """End a step that couldn't come to an end; what it left running is killed and waited for."""
        await step.requests.kill(why)
        step.note_all(f"--- {why}\n")
        await step.finish(result)
        self._step = None
        self._properties.end_step()

    # -- steps --------------------------------------------------------------------------------------------

    async def _run_step(self, planned: Planned) -> None:
        step: BuildStep = planned.spec.instantiate()
        if (self._outcome.terminated or self._outcome.stop is not None) and not await self._always_runs(step):
            return
        if self._done is not None and self._next_number < len(self._done.fingerprints):
            step.doStepIf = False
            step.description = step.descriptionDone = f"done by build {self._done.number}"
        name = self._plan.unique_name(await self._name_of(step))
        run = self._prepare(step, name, self._next_number, planned.spec)
        self._count(await run.execute(), run)

    @property
    def step_progress(self) -> float | None:
        """Which part of the running step is done, from 0 to 1, as far as it says so."""
        return self._step.progress.part if self._step is not None else None

    async def _learn_of_a_stop(self) -> None:
        """A former owner may have stopped the build and died: its steps end by that, and say why."""
        try:
            found = await self.services.store.read(stop_of(self.requestid))
        except StoreError:
            return  # it is told when somebody looks for stops
        if found is not None:
            results, reason = found
            await self.stop(reason, results)

    async def _always_runs(self, step: BuildStep) -> bool:
        if is_plain(step.alwaysRun):
            return bool(step.alwaysRun)
        what = f"alwaysRun of step {type(step).__name__}"
        try:
            return bool(await within(what, render(step.alwaysRun, self.build.properties)))
        except Exception as error:
            log.error("a callable of the configuration failed", what=what, error=repr(error))
            return False

    def _prepare(self, step: BuildStep, name: str, number: int, spec: StepSpec, **stored: Any) -> StepRun:
        run = StepRun(self, step, name, number, spec, **stored)
        step.equip(self.build, run)
        self._next_number = number + 1
        self._step = run
        if not stored:
            self._properties.begin_step(run.stepid)
        self.build.currentStep = step
        self.build.executedSteps.append(step)
        return run

    def fresh_step(self, run: StepRun) -> BuildStep:
        """A new step object for another try of a step that starts from its beginning."""
        step: BuildStep = run.spec.instantiate()
        step.equip(self.build, run)
        self.build.currentStep = step
        self.build.executedSteps[-1] = step
        return step

    def _count(self, result: int, run: StepRun) -> None:
        """Let a finished step's result count in the build's."""
        self._step = None
        self._properties.end_step()
        self._outcome.count(result, run.step)
        self.build.results = self._outcome.results

    async def _name_of(self, step: BuildStep) -> str:
        """A step's name, rendered. One that can't be is no reason to fail its build."""
        try:
            name = step.name
            if not is_plain(name):
                name = await within("a step's name", render(name, self.build.properties))
            return storable(str(name))
        except Exception as error:
            log.warning("a step's name can't be rendered", step=type(step).__name__, error=repr(error))
            return type(step).__name__

    def add_steps(self, steps: Iterable[Any], *, after_current: bool) -> None:
        """Steps that the current step puts into the build."""
        self._plan.add(steps, after_current=after_current)
        if self._step is not None:
            self._step.note_added_steps()

    # -- going on -----------------------------------------------------------------------------------------

    async def _resume(self, resumed: Resumed) -> None:
        """Bring the build to where the store says it is, and its unfinished step to its end."""
        stored: list[str] = json.loads(resumed.build.fingerprint or "[]")
        now = [spec.fingerprint() for spec in self.assignment.builder.factory.steps]
        if resumed.build.pinned and resumed.build.pinned != self.services.identity:
            await self._let_end(resumed, "the build has used files of another master")
            return
        for row in resumed.steps:
            # Steps that weren't run because the build had ended have no row.
            planned = self._plan.next_begun(terminated=self._outcome.terminated)
            if planned is None or (row.fingerprint or "") != planned.spec.fingerprint():
                await self._let_end(resumed, "configuration changed")
                return
            step: BuildStep = planned.spec.instantiate()
            if row.complete_at is None:
                if (
                    planned.configured is not None
                    and stored[planned.configured :] != now[planned.configured :]
                ):
                    await self._let_end(resumed, "configuration changed")
                    return
                self._plan.names.add(row.name)
                await self._resume_step(planned, step, row, resumed)
                return
            step.name = row.name
            step.results = row.results
            self._plan.names.add(row.name)
            self._next_number = row.number + 1
            self.build.executedSteps.append(step)
            if row.added_steps:
                await self._rebuild_added(planned, step, row, resumed)
            run = StepRun(self, step, row.name, row.number, planned.spec, row=row)
            step.equip(self.build, run)
            await run.reload_arguments()  # they decide how its result counts
            self._count(row.results if row.results is not None else SUCCESS, run)
        if not resumed.steps and not await self._wanted():  # its owner died before it came to a step
            self._plan.steps = []
        if self._plan.steps:
            place = self._plan.steps[0].configured
            if place is not None and stored[place:] != now[place:]:
                raise Abort("configuration changed")

    async def _resume_step(self, planned: Planned, step: BuildStep, row: StepRow, resumed: Resumed) -> None:
        if row.properties_before is not None:
            self._properties.use(row.properties_before)
        run = self._prepare(
            step,
            row.name,
            row.number,
            planned.spec,
            row=row,
            entries=[entry for entry in resumed.journal if entry.stepid == row.stepid],
            logs=[found for found in resumed.logs if found.stepid == row.stepid],
        )
        if row.properties_before is None:
            self._properties.begin_step(row.stepid)
        run.urls = json.loads(row.urls)
        if row.foreign_wait:
            if step.restartable:
                await run.start_again("it waited for something that can't be gone on with")
            else:
                raise Abort("its owner died while it waited for something that can't be gone on with")
        if self._outcome.stop is not None:
            await run.stop(self._outcome.stop.reason)
        self._count(await run.execute(), run)

    async def _let_end(self, resumed: Resumed, why: str) -> None:
        for row in resumed.steps:
            if row.complete_at is None:
                step = BuildStep()
                run = self._prepare(
                    step,
                    row.name,
                    row.number,
                    StepSpec(BuildStep, (), {}),
                    row=row,
                    entries=[entry for entry in resumed.journal if entry.stepid == row.stepid],
                    logs=[found for found in resumed.logs if found.stepid == row.stepid],
                )
                await run.let_end(why)
                self._step = None
        self._plan.steps = []
        raise Abort(why)

    async def _rebuild_added(self, planned: Planned, step: BuildStep, row: StepRow, resumed: Resumed) -> None:
        """Run a finished step again from its journal alone, for the steps that it had added."""
        current = self._properties.stored
        if row.properties_before is not None:
            self._properties.use(row.properties_before)
        run = StepRun(
            self,
            step,
            row.name,
            row.number,
            planned.spec,
            writer=Nowhere(),
            row=row,
            entries=[entry for entry in resumed.journal if entry.stepid == row.stepid],
        )
        step.equip(self.build, run)
        await run.rebuild()
        self._properties.use(current)

    # -- what steps need ----------------------------------------------------------------------------------

    async def step_locks(self, accesses: Any) -> list[Want]:
        """A step's lock accesses as the store knows them. Raises LocksRefused."""
        return await step_locks(
            self.services, self.assignment, self.build.properties, self.link.workerid, accesses
        )

    def pin(self) -> None:
        """The build has used files of this master: nobody else can go on with it."""
        if not self._pinned:
            self._pinned = True
            self.writer.add(PIN(buildid=self.buildid, basedir=self.services.identity))

    def _make_build(self) -> Build:
        assignment = self.assignment
        return Build(
            buildid=assignment.buildid,
            number=assignment.number,
            attempt=assignment.attempt,
            requestid=assignment.request.requestid,
            buildsetid=assignment.request.buildsetid,
            reason=assignment.request.reason,
            builder=BuildBuilder(assignment.builderid, assignment.builder),
            worker=BuildWorker(self.link.workerid, assignment.worker, self.link.info),
            properties=Properties(),
            sources=assignment.stamps,
            runner=self,
        )
