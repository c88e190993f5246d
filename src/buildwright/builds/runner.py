"""One build: its steps one after another, from the claim or from where the store says it is, to its end.

The runner owns the build's writer and the current step. A build that is taken over is loaded from the store
(:class:`Resumed`): finished steps count with their results, the unfinished one is run again and answered
from its journal. Steps that finished steps had added are found by running those again, from their journal
alone.

A build ends with a result, stored in one unit with its last step's end, its request and buildset; or it is
dropped, without a word, when it has another owner.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import structlog

from buildwright.builds.build import Build, BuildBuilder, BuildWorker
from buildwright.builds.links import WorkerLink
from buildwright.builds.losing import lose_builds
from buildwright.builds.noticing import Abort, LocksRefused
from buildwright.builds.rebuilding import done_for
from buildwright.builds.running import RunningCommand
from buildwright.builds.services import BuildServices
from buildwright.builds.step import NAME_MOST, BuildStep
from buildwright.builds.steprun import StepRun
from buildwright.builds.writer import BuildWriter
from buildwright.model.asking import Misbehaved, ask, within
from buildwright.model.builders import BuilderConfig, StepSpec
from buildwright.model.locks import LockAccess
from buildwright.model.precedence import build_properties
from buildwright.model.properties import Properties
from buildwright.model.renderable import is_plain, render
from buildwright.model.results import (
    CANCELLED,
    EXCEPTION,
    RETRY,
    SKIPPED,
    SUCCESS,
    WARNINGS,
    Results,
    contribution,
    worst_status,
)
from buildwright.model.secrets import SecretUnavailable
from buildwright.model.sources import SourceStamp
from buildwright.model.text import storable
from buildwright.model.workers import WorkerConfig
from buildwright.store.errors import StoreError
from buildwright.store.unit import Fenced, Hint
from buildwright.store.units.attach import Entry, LogRow, OpenBuild, StepRow
from buildwright.store.units.claims import Waiting, finish_build_work
from buildwright.store.units.control import stop_of
from buildwright.store.units.engine import KEEP_PROPERTIES_BEFORE, PIN
from buildwright.store.units.locks import Want
from buildwright.store.units.rebuilding import Done
from buildwright_worker.protocol import Masker

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Resumed:
    """What the store knows of a build to go on with."""

    build: OpenBuild
    steps: Sequence[StepRow]
    journal: Sequence[Entry] = ()
    logs: Sequence[LogRow] = ()


@dataclass(slots=True)
class Assignment:
    """A claimed build: what it is, for whom, on which worker."""

    buildid: int
    number: int
    attempt: int
    request: Waiting
    stamps: Sequence[SourceStamp]
    builderid: int
    builder: BuilderConfig
    worker: WorkerConfig
    holds_locks: bool
    resumed: Resumed | None = None


@dataclass(slots=True)
class _Planned:
    """A step that is yet to run. ``configured``: its place in the factory, None if a step has added it."""

    spec: StepSpec
    configured: int | None


def steps_fingerprint(builder: BuilderConfig) -> str:
    """What a build stores of its steps' configuration."""
    return json.dumps([spec.fingerprint() for spec in builder.factory.steps], separators=(",", ":"))


@dataclass(slots=True)
class _Stop:
    results: int
    reason: str


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
        self._done: Done | None = None  # of another build, which this one goes on from
        self._planned = [_Planned(spec, place) for place, spec in enumerate(assignment.builder.factory.steps)]
        self._next_number = 0
        self._names: set[str] = set()
        self._results = SUCCESS
        self._terminated = False
        self._texts: list[str] = []
        self._step: StepRun | None = None
        self._stop: _Stop | None = None
        self._pinned = bool(resumed and resumed.build.pinned)
        self._stored_properties = resumed.build.properties if resumed else ""
        self._before_step: str | None = (
            None  # properties as they were at the step's start, until they are kept
        )
        self._masker: Masker | None = None
        self._masked = 0
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
        if self._stop is not None:
            return
        self._stop = _Stop(results, reason)
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
        self._set_properties()
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
                self._planned = []
            while self._planned:
                await self._run_step(self._planned.pop(0))
        except Abort as abort:
            self._results = RETRY
            self._texts = [abort.why]
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
            self._results, self._texts = EXCEPTION, [str(error)]
            return False
        except Exception as error:
            log.error("do_build_if failed", builder=self.assignment.builder.name, error=repr(error))
            self._results, self._texts = EXCEPTION, [f"do_build_if failed: {error!r}"]
            return False
        self._results = SKIPPED
        return False

    async def _end(self) -> int | None:
        results = self._results
        if self._stop is not None:
            results = RETRY if self._stop.results == RETRY else worst_status(results, self._stop.results)
        told: list[int | None] = []
        self.writer.call(
            partial(
                finish_build_work,
                buildid=self.buildid,
                requestid=self.requestid,
                results=results,
                state_string=storable(self._summary(results)),
                lingering=False,
                holds_locks=self.assignment.holds_locks,
                now_us=self.services.clock.now_us(),
                max_attempts=self.services.max_attempts,
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
        self._results, self._texts = EXCEPTION, ["internal error, see the master's log"]
        try:
            if not self.writer.closed:
                try:
                    if self._step is not None:
                        await self._close_aborted(self._step, self._texts[0], EXCEPTION)
                    await self._end()
                except (Exception, asyncio.CancelledError):
                    if not self.writer.closed:
                        raise
            if self.writer.closed and not self.writer.fenced:
                await self._end_outright()
        except Fenced:
            pass
        except Exception:
            log.exception("a build can't be ended; the next start tries again", buildid=self.buildid)

    async def _end_outright(self) -> None:
        """End the build without its writer; what runs of it is killed first."""
        for running in self._step.commands if self._step is not None else ():
            await self.link.discard(running.id, self._texts[0])
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
                        why=self._texts[0],
                        lingering=False,
                        now_us=self.services.clock.now_us(),
                    )
                )
                return
            except Fenced:
                if self.link.fence == fence:
                    raise

    async def _close_aborted(self, step: StepRun, why: str, result: int = RETRY) -> None:
        """End a step that couldn't come to an end; what it left running is killed and waited for."""
        left: list[RunningCommand] = step.abandon()
        for running in left:
            self.link.interrupt(running.id, why)
        for running in left:
            await running.done
        step.note_all(f"--- {why}\n")
        await step.finish(result)
        self._step = None

    def _summary(self, results: int) -> str:
        if results == SUCCESS and not self._texts:
            return "build successful"
        words = {SUCCESS: "build successful", SKIPPED: "skipped"}.get(results)
        if words is None:
            began = {RETRY: "retry:", WARNINGS: "warnings"}.get(results, "failed")
            words = f"{began} {' '.join(self._texts)}".strip()
            if results == CANCELLED and self._stop is not None:
                words = f"cancelled: {self._stop.reason}" if self._stop.reason else "cancelled"
        return f"{words} ({Results[results]})" if results not in (SUCCESS, SKIPPED) else words

    # -- steps --------------------------------------------------------------------------------------------

    async def _run_step(self, planned: _Planned) -> None:
        step: BuildStep = planned.spec.instantiate()
        if (self._terminated or self._stop is not None) and not await self._always_runs(step):
            return
        if self._done is not None and self._next_number < len(self._done.fingerprints):
            step.doStepIf = False
            step.description = step.descriptionDone = f"done by build {self._done.number}"
        name = self._unique_name(await self._name_of(step))
        run = self._prepare(step, name, self._next_number, planned.spec)
        self._count(await run.execute(), run)

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
        self._before_step = self.build.properties.to_json() if not stored else self._before_step
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
        step = run.step
        self._step = None
        self._before_step = None
        counts = contribution(result, step)
        self._results = worst_status(self._results, counts.result)
        if counts.terminates:
            self._terminated = True
        if counts.result not in (SUCCESS, SKIPPED):
            try:
                text = step.getResultSummary().get("build")
            except Exception:
                text = None
            self._texts.append(str(text) if text else step.name)
        self.build.results = self._results

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

    def _unique_name(self, name: str) -> str:
        base = name[:NAME_MOST]
        unique, count = base, 0
        while unique in self._names:
            count += 1
            suffix = f"_{count}"
            unique = base[: NAME_MOST - len(suffix)] + suffix
        self._names.add(unique)
        return unique

    def add_steps(self, steps: Iterable[Any], *, after_current: bool) -> None:
        """Steps that the current step puts into the build."""
        planned = []
        for step in steps:
            spec = step if isinstance(step, StepSpec) else getattr(step, "_spec", None)
            if not isinstance(spec, StepSpec):
                raise TypeError(f"only steps can be added to a build, not {step!r}")
            planned.append(_Planned(spec, None))
        if after_current:
            self._planned[:0] = planned
        else:
            self._planned.extend(planned)
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
            planned = self._next_planned()
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
                self._names.add(row.name)
                await self._resume_step(planned, step, row, resumed)
                return
            step.name = row.name
            step.results = row.results
            self._names.add(row.name)
            self._next_number = row.number + 1
            self.build.executedSteps.append(step)
            if row.added_steps:
                await self._rebuild_added(planned, step, row, resumed)
            run = StepRun(self, step, row.name, row.number, planned.spec, row=row)
            step.equip(self.build, run)
            await run.reload_arguments()  # they decide how its result counts
            self._count(row.results if row.results is not None else SUCCESS, run)
        if not resumed.steps and not await self._wanted():  # its owner died before it came to a step
            self._planned = []
        if self._planned:
            place = self._planned[0].configured
            if place is not None and stored[place:] != now[place:]:
                raise Abort("configuration changed")

    def _next_planned(self) -> _Planned | None:
        """The next step that has a row: after a failure only those with alwaysRun have one."""
        while self._planned:
            planned = self._planned.pop(0)
            if not self._terminated or planned.spec.instantiate().alwaysRun:
                return planned
        return None

    async def _resume_step(self, planned: _Planned, step: BuildStep, row: StepRow, resumed: Resumed) -> None:
        if row.properties_before is not None:
            self._use_properties(row.properties_before)
        run = self._prepare(
            step,
            row.name,
            row.number,
            planned.spec,
            row=row,
            entries=[entry for entry in resumed.journal if entry.stepid == row.stepid],
            logs=[found for found in resumed.logs if found.stepid == row.stepid],
        )
        self._before_step = self.build.properties.to_json() if row.properties_before is None else None
        run.urls = json.loads(row.urls)
        if row.foreign_wait:
            if step.restartable:
                await run.start_again("it waited for something that can't be gone on with")
            else:
                run.follow_open_commands()
                raise Abort("its owner died while it waited for something that can't be gone on with")
        if self._stop is not None:
            await run.stop(self._stop.reason)
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
        self._planned = []
        raise Abort(why)

    async def _rebuild_added(
        self, planned: _Planned, step: BuildStep, row: StepRow, resumed: Resumed
    ) -> None:
        """Run a finished step again from its journal alone, for the steps that it had added."""
        current = self._stored_properties
        if row.properties_before is not None:
            self._use_properties(row.properties_before)
        run = StepRun(
            self,
            step,
            row.name,
            row.number,
            planned.spec,
            row=row,
            entries=[entry for entry in resumed.journal if entry.stepid == row.stepid],
        )
        step.equip(self.build, run)
        await run.rebuild()
        self._use_properties(current)

    # -- what steps need ----------------------------------------------------------------------------------

    @property
    def secrets(self) -> dict[str, str]:
        """The secrets that were rendered in this build so far: {name: value}."""
        return self.build.properties.secrets

    async def reveal_secrets(self, names: Iterable[str]) -> dict[str, str]:
        """The values of secrets by their names; they are masked from now on. Raises Abort for one that is
        gone.
        """
        for name in names:
            if name not in self.secrets:
                try:
                    value = await self.services.secret(name)
                except SecretUnavailable as problem:
                    raise Abort(str(problem)) from problem
                if value is None:
                    raise Abort(f"the secret {name!r} is gone")
                self.secrets[name] = value
        return self.secrets

    @property
    def masker(self) -> Masker:
        """What masks the secrets that were rendered in this build so far."""
        secrets = self.secrets
        if self._masker is None or self._masked != len(secrets):
            self._masker, self._masked = Masker(secrets.items()), len(secrets)
        return self._masker

    def mask(self, data: bytes) -> bytes:
        """Text that may be stored or shown."""
        return self.masker.mask(data) if self.secrets else data

    def wants(self, accesses: Sequence[LockAccess]) -> list[Want]:
        """Lock accesses as the store knows them."""
        return wanted_locks(self.services, accesses, self.link.workerid)

    async def step_wants(self, accesses: Any) -> list[Want]:
        """A step's lock accesses as the store knows them. Raises LocksRefused."""
        assignment = self.assignment
        held = await render(assignment.builder.locks, self.build.properties)
        try:
            wants = self.wants(accesses)
            of_build = {want.lockid for want in self.wants([*(held or ()), *assignment.worker.locks])}
        except (KeyError, AttributeError, TypeError) as error:
            raise LocksRefused(f"{accesses!r} are no lock accesses that the configuration knows") from error
        for want in wants:
            if want.lockid in of_build:
                raise LocksRefused(
                    f"lock {want.name!r} is held by the build itself: its step would wait for ever"
                )
        return wants

    def pin(self) -> None:
        """The build has used files of this master: nobody else can go on with it."""
        if not self._pinned:
            self._pinned = True
            self.writer.add(PIN(buildid=self.buildid, basedir=self.services.identity))

    # -- properties ---------------------------------------------------------------------------------------

    def gather(self, writer: BuildWriter) -> None:
        """Write the properties, which have changed."""
        text = self.build.properties.to_json()
        if text == self._stored_properties:
            return
        if self._step is not None and self._before_step not in (None, text):
            writer.add(KEEP_PROPERTIES_BEFORE(stepid=self._step.stepid, properties=self._before_step))
            self._before_step = None
        self._stored_properties = text
        writer.say(properties=text)
        writer.add(Hint("builds", self.buildid, "properties"))

    def _property_set(self, name: str, value: Any, source: str) -> None:
        """A property was set: it is written with the next unit, a secret in it only by its name."""
        if self.secrets:
            self.build.properties.properties[name] = (self.masker.mask_value(value), source)
        self.writer.mark(self)

    def _set_properties(self) -> None:
        resumed = self.assignment.resumed
        if resumed is not None and resumed.build.properties != "{}":
            self._use_properties(resumed.build.properties)
            return
        made = self._initial_properties()
        self._adopt(made)
        self.writer.mark(self)

    def _use_properties(self, text: str) -> None:
        self._stored_properties = text
        self._adopt(Properties.from_json(text))

    def _adopt(self, properties: Properties) -> None:
        """Make these the build's properties, with what hangs on them."""
        build = self.build
        properties.build = build
        properties.secrets.update(build.properties.secrets)
        properties.secret_source = self.services.secret
        properties.on_change = self._property_set
        properties.sourcestamps = build.sources
        build.properties = properties

    def _initial_properties(self) -> Properties:
        assignment = self.assignment
        basedir = str(self.link.info.get("basedir", ""))
        builder = assignment.builder
        return build_properties(
            general=self.services.snapshot.properties,
            changes=[change.properties for stamp in assignment.stamps for change in stamp.changes],
            request=Properties.from_json(assignment.request.properties),
            builder=builder,
            builderid=assignment.builderid,
            projectid=self.services.registry.projects.get(builder.project or ""),
            worker=assignment.worker,
            number=assignment.number,
            stamps=assignment.stamps,
            basedir=basedir or None,
            builddir=f"{basedir}/{builder.workerbuilddir}" if basedir else None,
        )

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


def wanted_locks(services: BuildServices, accesses: Sequence[LockAccess], workerid: int) -> list[Want]:
    """Lock accesses as the store knows them, each lock once: an exclusive access covers a counting one."""
    wants: dict[int, Want] = {}
    for access in accesses:
        scope = workerid if access.lock.kind == "worker" else 0
        lockid = services.registry.locks[(access.lock.name, scope)]
        before = wants.get(lockid)
        if before is None or before.mode != "exclusive":
            wants[lockid] = Want(lockid, access.lock.name, access.mode, access.count)
    return [wants[lockid] for lockid in sorted(wants)]
