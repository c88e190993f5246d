"""One step of a build, from its start to its end: rendering, deciding, locks, running, going on, starting
again.

What the step's code asks of the outside is journalled by :mod:`~buildwright.builds.requests`; what it waits
for, and what ends that, is in :mod:`~buildwright.builds.stepwaits`.

How a run of ``run`` ends: with a result; with an exception (EXCEPTION, and the log ``err.text``); by a stop
(CANCELLED); or by an :class:`Abort`, which cancels the coroutine: the journal and the step disagree, so the
step starts again, or the build ends with RETRY. When the build has another owner, everything is dropped and
nothing written.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import traceback
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from buildwright.builds.builddata import ResultSets
from buildwright.builds.encodings import Encoding
from buildwright.builds.journal import Unstorable
from buildwright.builds.logset import LogSet
from buildwright.builds.noticing import Abort, LocksRefused, Noticing
from buildwright.builds.observers import LogObserver
from buildwright.builds.progress import StepProgress
from buildwright.builds.requests import Requests
from buildwright.builds.step import BuildStep, BuildStepCancelled, BuildStepFailed
from buildwright.builds.steparguments import is_wanted, packed, render_arguments, unpack, with_statistics
from buildwright.builds.steplogs import MasterOutput, StepLog
from buildwright.builds.stepwaits import StepWaits, is_dropped
from buildwright.builds.writer import BuildWriter, Nowhere
from buildwright.model.asking import ask
from buildwright.model.builders import StepSpec
from buildwright.model.renderable import settle
from buildwright.model.results import (
    CANCELLED,
    EXCEPTION,
    FAILURE,
    RETRY,
    SKIPPED,
    SUCCESS,
    WARNINGS,
    Results,
)
from buildwright.store.unit import Fenced, Hint
from buildwright.store.units.attach import Entry, LogRow, StepRow
from buildwright.store.units.engine import (
    ADD_LOCKS_DURATION,
    FINISH_STEP,
    FORGET_JOURNAL,
    KEEP_STATISTICS,
    LOCKS_ACQUIRED,
    NEXT_TRY,
    NOTE_ADDED_STEPS,
    SAY_STEP_STATE,
    SET_URLS,
    START_STEP,
)
from buildwright.store.units.locks import acquire_for_step, free_step_work
from buildwright_worker.protocol import Masker

if TYPE_CHECKING:
    from buildwright.builds.runner import BuildRunner

log = structlog.get_logger(__name__)


class StepRun:
    """A step of a running build. Owned by its :class:`BuildRunner`.

    ``tries`` is how often the step was started again.
    """

    def __init__(
        self,
        runner: BuildRunner,
        step: BuildStep,
        name: str,
        number: int,
        spec: StepSpec,
        *,
        writer: BuildWriter | Nowhere | None = None,
        row: StepRow | None = None,
        entries: Sequence[Entry] = (),
        logs: Sequence[LogRow] = (),
    ) -> None:
        self.runner = runner
        self.services = runner.services
        self.writer = writer or runner.writer
        self.step = step
        self.name = name
        self.number = number
        self.stepid = row.stepid if row is not None else self.services.ids.next("steps")
        self.tries = row.tries if row is not None else 0
        self.statistics: dict[str, Any] = {}
        self.urls: list[dict[str, str]] = []
        self.progress = StepProgress(self.services.totals, runner.build.builder.builderid, name)
        self.spec = spec
        self._row = row
        self._logs = LogSet(
            self.stepid,
            self.services,
            self.writer,
            runner.secrets.mask,
            lambda: self.step.logEncoding,
            self.tries,
            logs,
        )
        self.waits = StepWaits(
            step, self.stepid, self.writer, self.services.bus, noticed=bool(row and row.foreign_wait)
        )
        self.requests = Requests(
            runner, self.stepid, self.tries, self.writer, self.waits, self._logs, entries
        )
        self.test_results = ResultSets(
            self.stepid,
            runner.buildid,
            runner.build.builder.builderid,
            self.services.ids,
            self.writer,
            runner.secrets.mask,
            self.waits.abort_here,
            resumed=row is not None and row.complete_at is None,
        )
        self._added_steps = False
        self._has_locks = False
        self._state = row.state_string if row is not None else ""
        self._arguments = row.arguments if row is not None else None  # as the row holds them

    # -- its life -----------------------------------------------------------------------------------------

    async def execute(self) -> int:
        """Run the step to its end, from its beginning or from where the store says it is."""
        step = self.step
        step.name = self.name
        try:
            wanted = await (self._begin() if self._row is None else self.reload_arguments())
        except (Abort, Fenced):
            raise
        except Exception as error:
            if self._row is None:
                self._start_row(None)
            return await self.finish(self._failed(error))
        if not wanted:
            return await self.finish(SKIPPED)
        while True:
            try:
                await self._take_locks()
                result = await self._drive()
            except Abort as abort:
                if not (abort.again and step.restartable and self.waits.stopped is None):
                    raise
                step = await self.start_again(abort.why)
                continue
            except BuildStepCancelled:
                result = CANCELLED
            except LocksRefused as error:
                result = self._failed(error)
            await self.requests.kill(self.waits.stopped or "the step is over")
            if self._logs.error is not None:
                result = self._failed(self._logs.error)
            if self.waits.stopped is not None and result != RETRY:
                result = CANCELLED
            return await self.finish(result)

    async def _begin(self) -> bool:
        """Render, decide, and add the row; gives whether the step is to run."""
        properties = self.runner.build.properties
        arguments = await render_arguments(self.step, properties)
        wanted = await is_wanted(self.step, properties)
        self._start_row(packed(arguments, self.runner.secrets.values, wanted=wanted))
        return wanted

    def _start_row(self, arguments: bytes | None) -> None:
        self._arguments = arguments
        now_us = self.services.clock.now_us()
        self._state = self._summary(done=False)
        self.writer.add(
            START_STEP(
                stepid=self.stepid,
                buildid=self.runner.build.buildid,
                number=self.number,
                name=self.name,
                now_us=now_us,
                locks_acquired_at=None if self.step.locks else now_us,
                state=self._state,
                fingerprint=self.spec.fingerprint(),
                arguments=arguments,
            ),
            Hint("steps", self.stepid, "new"),
            Hint("steps", self.stepid, "started"),
        )

    async def reload_arguments(self) -> bool:
        """Take the arguments and the decision as they were journalled."""
        row = self._row
        assert row is not None
        if row.complete_at is None:
            await self._logs.load_own_bytes()
            await self.test_results.load(self.services.store)
        runner = self.runner
        wanted, self.statistics = await unpack(
            row.arguments, self.step, runner.build.properties, runner.secrets
        )
        return wanted

    def _keep_statistics(self) -> None:
        """Write a finished step's statistics beside its arguments, for whoever takes the build over."""
        with contextlib.suppress(Unstorable):  # of no use to anybody but this process
            arguments = with_statistics(self._arguments, self.statistics, self.runner.secrets.values)
            self.writer.add(KEEP_STATISTICS(stepid=self.stepid, with_statistics=arguments))

    async def _run_code(self, step: BuildStep) -> Any:
        if type(step).addTestResultSets is not BuildStep.addTestResultSets:
            await Noticing(settle(step.addTestResultSets()), self.waits.notice)
        return await Noticing(_coroutine(step.run()), self.waits.notice)

    async def _drive(self) -> int:
        """Run the step's own code."""
        step, waits = self.step, self.waits
        step.stopped = waits.stopped is not None
        for name, observer in step._early_observers:  # noqa: SLF001 - a step and its run are one
            self.observe(name, observer)
        code = asyncio.get_running_loop().create_task(self._run_code(step), name=f"step {self.name}")
        waits.begin(code)
        try:
            result = await code
        except asyncio.CancelledError:
            if is_dropped():
                raise
            if waits.aborted is not None:
                raise waits.aborted from None
            if waits.stopped is not None:
                return CANCELLED
            return self._failed(RuntimeError("something that run() awaited was cancelled"))
        except BuildStepFailed:
            return FAILURE
        except BuildStepCancelled:
            return CANCELLED
        except (Fenced, Abort):
            raise
        except Exception as error:
            return self._failed(error)
        finally:
            waits.end()
        if is_dropped():  # the step's code has caught what was meant for us
            raise asyncio.CancelledError
        if waits.aborted is not None:
            raise waits.aborted
        if not isinstance(result, int) or not 0 <= result < len(Results):
            return self._failed(
                TypeError(
                    f"run() of step {type(step).__name__} gave {result!r}, which is no result like SUCCESS"
                )
            )
        if self.requests.replaying and waits.stopped is None:
            raise Abort("the step ended without asking for what it had asked for before", again=True)
        return result

    def _failed(self, error: Exception) -> int:
        text = "".join(traceback.format_exception(error))
        written = self.log("err.text", "t")
        written.addContent(text)
        return EXCEPTION

    async def finish(self, result: int) -> int:
        """Put the step's end into the next unit; it is committed with what comes next."""
        step = self.step
        step.results = result
        self.waits.forget_interrupt()
        hidden = False
        try:
            condition = step.hideStepIf
            what = f"hideStepIf of step {self.name!r}"
            hidden = bool(await ask(what, condition, result, step) if callable(condition) else condition)
        except Exception as error:
            result = step.results = self._failed(error)
        self._logs.tell_finished()
        if self._logs.error is not None and result not in (EXCEPTION, CANCELLED, RETRY):
            result = step.results = self._failed(self._logs.error)
        self._logs.close()
        await self.test_results.drain()
        self.test_results.close()
        self.requests.close()
        if not self._added_steps and self.requests.journalled:
            self.writer.add(FORGET_JOURNAL(of_stepid=self.stepid))
        self.writer.add(
            FINISH_STEP(
                stepid=self.stepid,
                now_us=self.services.clock.now_us(),
                to_results=result,
                state=self._summary(done=True),
                to_hidden=int(hidden),
            ),
            Hint("steps", self.stepid, "finished"),
        )
        if self.statistics:
            self._keep_statistics()
        if result in (SUCCESS, WARNINGS) and step.useProgress:
            self.progress.ended_well()
        if self._has_locks:
            self.writer.call(free_step_work, self.runner.build.requestid, self.stepid)
        return result

    async def start_again(self, why: str) -> BuildStep:
        """Begin a new try: end what the old one left running, then start from a fresh step."""
        log.info("step starts again", step=self.name, buildid=self.runner.buildid, why=why)
        await self.requests.begin_try(self.tries + 1, why)
        self.tries += 1
        self.statistics = {}
        self.progress.begin_try()
        self.writer.add(
            NEXT_TRY(stepid=self.stepid, new_try=self.tries), FORGET_JOURNAL(of_stepid=self.stepid)
        )
        self._logs.note_all(f"--- the step starts again (try {self.tries + 1}): {why}\n")
        self._logs.begin_try(self.tries)
        self.test_results.begin_try()
        step = self.step = self.runner.fresh_step(self)
        step.name = self.name
        self.waits.begin_try(step)
        await render_arguments(step, self.runner.build.properties)
        return step

    async def rebuild(self) -> None:
        """Run a finished step again for what it did to its build, from its journal alone; ``writer`` is
        Nowhere.
        """
        await self.reload_arguments()
        await self._drive()

    async def let_end(self, why: str) -> int:
        """The configuration has changed: let what runs come to its end, keep its output, end with RETRY."""
        self.step.name = self.name
        await self.requests.come_to_end()
        self.note_all(f"--- {why}\n")
        return await self.finish(RETRY)

    async def stop(self, reason: str) -> None:
        """The build is being stopped: interrupt the step's commands and end its waits."""
        if self.waits.stopped is None:
            self.requests.interrupt(reason)
            self.waits.stop(reason)

    def note_added_steps(self) -> None:
        """The step has put steps into the build: its journal is kept, to rebuild them."""
        if not self._added_steps:
            self._added_steps = True
            self.writer.add(NOTE_ADDED_STEPS(stepid=self.stepid))

    # -- locks --------------------------------------------------------------------------------------------

    async def _take_locks(self) -> None:
        if not self.step.locks:
            return
        wants = await self.runner.step_locks(self.step.locks)
        self._has_locks = True
        services, link = self.services, self.runner.link
        began = services.clock.monotonic()
        waited = False
        await self.writer.flush()
        while True:
            freed = services.bus.next("locks")
            fence = link.fence
            try:
                obstacle = await services.store.insist(
                    acquire_for_step(
                        wants, self.runner.build.requestid, self.stepid, *fence, services.clock.now_us()
                    )
                )
            except Fenced:
                if link.fence != fence:
                    continue
                raise
            if obstacle is None:
                break
            waited = True
            self._say(f"waits for lock {obstacle!r}")
            await self.waits.wait(freed)
        if self._row is None or waited:
            self.writer.add(LOCKS_ACQUIRED(stepid=self.stepid, now_us=services.clock.now_us()))
        if waited:
            waited_us = int((services.clock.monotonic() - began) * 1e6)
            self.writer.add(ADD_LOCKS_DURATION(buildid=self.runner.build.buildid, waited_us=waited_us))
            self._say(self._summary(done=False))

    # -- logs and what is shown ---------------------------------------------------------------------------

    @property
    def logs(self) -> dict[str, StepLog]:
        """The step's logs so far, by name."""
        return self._logs.logs

    def log_named(self, name: str) -> StepLog:
        """A log that is there; KeyError if there is none of that name."""
        return self._logs.logs[self._logs.shown_name(name)]

    def log(self, name: str, kind: str = "s", encoding: Encoding | None = None) -> StepLog:
        """The step's log of that name; added if there is none."""
        return self._logs.log(name, kind, encoding)

    def master_output(self, name: str) -> MasterOutput:
        """A log for what work on the master prints; the secrets known by now are masked."""
        return MasterOutput(self.log(name), Masker(self.runner.secrets.values.items()))

    def note_all(self, text: str) -> None:
        """A header line of the engine's own in every log of the step."""
        self._logs.note_all(text)

    def observe(self, name: str, observer: LogObserver) -> None:
        """Have an observer watch a log, also one that is yet to come."""
        self._logs.observe(self.step, name, observer)

    def add_url(self, name: str, url: str) -> None:
        name, url = self.runner.secrets.shown(name), self.runner.secrets.shown(url)
        self.urls = [each for each in self.urls if each["name"] != name] + [{"name": name, "url": url}]
        self.writer.add(
            SET_URLS(stepid=self.stepid, urls=json.dumps(self.urls)), Hint("steps", self.stepid, "updated")
        )

    def show_summary(self) -> None:
        self._say(self._summary(done=False))

    def _say(self, state: str) -> None:
        if state != self._state:
            self._state = state
            self.writer.add(
                SAY_STEP_STATE(stepid=self.stepid, state=state), Hint("steps", self.stepid, "updated")
            )

    def _summary(self, *, done: bool) -> str:
        try:
            summary = self.step.getResultSummary() if done else self.step.getCurrentSummary()
            return self.runner.secrets.shown(summary.get("step", ""))
        except Exception as error:
            log.warning("a step's summary failed", step=self.name, error=repr(error))
            return Results[self.step.results] if done and self.step.results is not None else "running"


def _coroutine(value: Any) -> Awaitable[Any]:
    """What ``run`` gave, as something to await: a coroutine, another awaitable, or the result itself."""
    return value if inspect.isawaitable(value) else settle(value)
