"""One step of a build, from its start to its end: rendering, deciding, locks, running, going on, starting
again.

What a step asks of the outside goes through here, and is journalled before it is sent. While the step waits
for anything else (a future of its own, a socket) that is noted in its row: such a step can't be gone on
with.

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
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import structlog

from buildwright.builds.builddata import ResultSets
from buildwright.builds.commands import RemoteCommand, RemoteShellCommand
from buildwright.builds.encodings import Encoding
from buildwright.builds.journal import (
    COMMAND,
    ONCE,
    TRIGGER,
    Diverged,
    Journal,
    Request,
    Unstorable,
    decode,
    encode,
    fingerprint,
    hide,
    marks,
    noted,
    reveal,
    settled,
)
from buildwright.builds.links import Order
from buildwright.builds.logset import LogSet
from buildwright.builds.noticing import Abort, LocksRefused, Noticing
from buildwright.builds.observers import LogObserver
from buildwright.builds.running import RunningCommand
from buildwright.builds.step import BuildStep, BuildStepCancelled, BuildStepFailed
from buildwright.builds.steplogs import MasterOutput, StepLog
from buildwright.builds.stored import command_output, journal_outcome
from buildwright.builds.writer import BuildWriter, Nowhere
from buildwright.model.asking import ask, within
from buildwright.model.builders import StepSpec
from buildwright.model.renderable import is_plain, render, settle
from buildwright.model.results import CANCELLED, EXCEPTION, FAILURE, RETRY, SKIPPED, Results
from buildwright.model.text import storable
from buildwright.store.unit import Fenced, Hint, Work
from buildwright.store.units.attach import Entry, LogRow, StepRow
from buildwright.store.units.buildsets import add_buildset_work
from buildwright.store.units.engine import (
    ADD_LOCKS_DURATION,
    FINISH_STEP,
    FORGET_JOURNAL,
    KEEP_STATISTICS,
    LOCKS_ACQUIRED,
    NEXT_TRY,
    NOTE_ADDED_STEPS,
    NOTE_FOREIGN_WAIT,
    SAY_STEP_STATE,
    SET_URLS,
    START_STEP,
)
from buildwright.store.units.locks import acquire_for_step, free_step_work
from buildwright_worker.protocol import Masker

if TYPE_CHECKING:
    from buildwright.builds.runner import BuildRunner

T = TypeVar("T")

INTERRUPT_SECONDS = 10.0  # for a step's own `interrupt`

log = structlog.get_logger(__name__)


# Failures of a command that say nothing of what it did: its worker ended, or was away for longer than its
# dead-man limit.
LOST = frozenset({"lost", "deadman"})


class StepRun:
    """A step of a running build. Owned by its :class:`BuildRunner`."""

    def __init__(
        self,
        runner: BuildRunner,
        step: BuildStep,
        name: str,
        number: int,
        spec: StepSpec,
        *,
        row: StepRow | None = None,
        entries: Sequence[Entry] = (),
        logs: Sequence[LogRow] = (),
    ) -> None:
        self.runner = runner
        self.services = runner.services
        self.writer: BuildWriter | Nowhere = runner.writer
        self.link = runner.link
        self.step = step
        self.name = name
        self.number = number
        self.stepid = row.stepid if row is not None else self.services.ids.next("steps")
        self.statistics: dict[str, Any] = {}
        self.urls: list[dict[str, str]] = []
        self.spec = spec
        self._row = row
        self._tries = row.tries if row is not None else 0
        self._logs = LogSet(self.stepid, self.services, runner.writer, runner.mask, self._tries, logs)
        self.test_results = self._result_sets()
        self._entries = list(entries)
        self._journal = Journal(self.stepid, self._tries, entries)
        self._running: dict[str, RunningCommand] = {}
        self._serving = 0  # engine calls that the step's code waits in
        self._own_work = 0  # those of them that run the step's own coroutines
        self._noticed = bool(row and row.foreign_wait)
        self._added_steps = False
        self._has_locks = False
        self._task: asyncio.Task[Any] | None = None
        self._abort: Abort | None = None
        self._stop: str | None = None
        self._interrupting: asyncio.Task[None] | None = None
        self._stop_wanted: set[asyncio.Future[None]] = set()  # of those who wait with `wait`
        self._state = row.state_string if row is not None else ""
        self._stored_arguments = row.arguments if row is not None else None

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
                if not (abort.again and step.restartable and self._stop is None):
                    raise
                step = self.step = await self.start_again(abort.why)
                continue
            except BuildStepCancelled:
                result = CANCELLED
            except LocksRefused as error:
                result = self._failed(error)
            await self._end_commands(self._stop or "the step is over")
            if self._logs.error is not None:
                result = self._failed(self._logs.error)
            if self._stop is not None and result != RETRY:
                result = CANCELLED
            return await self.finish(result)

    async def _begin(self) -> bool:
        """Render, decide, and add the row; gives whether the step is to run."""
        arguments = await self._render()
        wanted = bool(await self._decide())
        stored: bytes | None = None
        if arguments or not wanted:
            with contextlib.suppress(Unstorable):  # rendered again when it has to be gone on with
                stored = encode({"arguments": hide(arguments, self.runner.secrets), "wanted": wanted})
        self._start_row(stored)
        return wanted

    def _start_row(self, arguments: bytes | None) -> None:
        self._stored_arguments = arguments
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
        if row.arguments is None:
            await self._render()
            return True
        secrets = await self.runner.reveal_secrets(marks(row.arguments))
        stored = decode(row.arguments)
        for name, value in reveal(stored["arguments"], secrets).items():
            setattr(self.step, name, value)
        for name in set(self.step.all_renderables()) - set(stored["arguments"]):
            value = getattr(self.step, name)
            if not is_plain(value):
                rendered = render(value, self.runner.build.properties)
                setattr(self.step, name, await within(f"{name} of step {self.name!r}", rendered))
        self.statistics = reveal(stored.get("statistics", {}), secrets)
        return bool(stored["wanted"])

    def _keep_statistics(self) -> None:
        """Write a finished step's statistics beside its arguments, for whoever takes the build over."""
        stored: dict[str, Any] = {"arguments": {}, "wanted": True}
        if self._stored_arguments is not None:
            stored = decode(self._stored_arguments)
        with contextlib.suppress(Unstorable):  # of no use to anybody but this process
            stored["statistics"] = decode(encode(hide(self.statistics, self.runner.secrets)))
            self.writer.add(KEEP_STATISTICS(stepid=self.stepid, with_statistics=encode(stored)))

    async def _render(self) -> dict[str, Any]:
        """Render the step's arguments in place; gives those that weren't plain."""
        rendered: dict[str, Any] = {}
        properties = self.runner.build.properties
        for name in self.step.all_renderables():
            value = getattr(self.step, name)
            if not is_plain(value):
                value = await within(f"{name} of step {self.name!r}", render(value, properties))
                setattr(self.step, name, value)
                if (
                    name != "locks"
                ):  # lock accesses are rendered again: a configuration's locks, not plain data
                    rendered[name] = value
        return rendered

    async def _decide(self) -> Any:
        condition = self.step.doStepIf
        if condition is True:
            return True
        if callable(condition):
            return await ask(f"doStepIf of step {self.name!r}", condition, self.step)
        return await within(
            f"doStepIf of step {self.name!r}", render(condition, self.runner.build.properties)
        )

    async def _run_code(self, step: BuildStep) -> Any:
        if type(step).addTestResultSets is not BuildStep.addTestResultSets:
            await Noticing(settle(step.addTestResultSets()), self._notice_wait)
        return await Noticing(_coroutine(step.run()), self._notice_wait)

    async def _drive(self) -> int:
        """Run the step's own code."""
        step = self.step
        step.stopped = self._stop is not None
        for name, observer in step._early_observers:  # noqa: SLF001 - a step and its run are one
            self.observe(name, observer)
        self._task = asyncio.get_running_loop().create_task(self._run_code(step), name=f"step {self.name}")
        try:
            result = await self._task
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            if self._abort is not None:
                raise self._abort from None
            if self._stop is not None:
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
            self._task = None
            self._forget_interrupt()
        if _is_cancelled():  # the step's code has caught what was meant for us
            raise asyncio.CancelledError
        if self._abort is not None:
            raise self._abort
        if not isinstance(result, int) or not 0 <= result < len(Results):
            return self._failed(
                TypeError(
                    f"run() of step {type(step).__name__} gave {result!r}, which is no result like SUCCESS"
                )
            )
        if self._journal.replaying and self._stop is None:
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
        self._forget_interrupt()
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
        for running in self._running.values():
            running.step_finished()
        if not self._added_steps and self._journalled:
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
        if self._has_locks:
            self.writer.call(free_step_work, self.runner.build.requestid, self.stepid)
        return result

    @property
    def _journalled(self) -> bool:
        return bool(self._entries or self._journal.used)

    async def start_again(self, why: str) -> BuildStep:
        """Begin a new try: end what the old one left running, then start from a fresh step."""
        log.info("step starts again", step=self.name, buildid=self.runner.build.buildid, why=why)
        self.follow_open_commands()
        for running in list(self._running.values()):
            if not running.done.done():
                self.link.interrupt(running.id, why)
        for running in list(self._running.values()):
            await running.done
            running.step_finished()
        self._abort = None
        self._running = {}
        self._tries += 1
        self._journal = Journal(self.stepid, self._tries)
        self._entries = []
        self.statistics = {}
        self._noticed = False
        self.writer.add(
            NEXT_TRY(stepid=self.stepid, new_try=self._tries), FORGET_JOURNAL(of_stepid=self.stepid)
        )
        self._logs.note_all(f"--- the step starts again (try {self._tries + 1}): {why}\n")
        self._logs.begin_try(self._tries)
        self.test_results.begin_try()
        step = self.runner.fresh_step(self)
        self.step = step
        step.name = self.name
        await self._render()
        return step

    async def _end_commands(self, why: str) -> None:
        """See to it that nothing of the step runs any more: its code may have left commands running."""
        self.follow_open_commands()
        left = [running for running in self._running.values() if not running.done.done()]
        for running in left:
            self.link.interrupt(running.id, why)
        for running in left:
            await running.done

    def follow_open_commands(self) -> None:
        """Attach to what an earlier owner left running and this run of the step hasn't asked for."""
        for entry in self._journal.left_over():
            request = Request(entry.stepid, entry.tries, entry.seq, entry.kind, entry.fingerprint, entry)
            if entry.kind == COMMAND and not entry.done and request.command_id not in self._running:
                self._attach_to_end(entry, request)

    async def rebuild(self) -> None:
        """Run a finished step again for what it did to its build, from its journal alone: nothing is
        written.
        """
        self.writer = Nowhere()
        self._logs = LogSet(self.stepid, self.services, self.writer, self.runner.mask, self._tries, ())
        self.test_results = self._result_sets()
        await self.reload_arguments()
        await self._drive()

    def _attach_to_end(self, entry: Entry, request: Request) -> None:
        """Follow a command of an earlier owner to its end: its output goes to its log, nobody asks for its
        outcome.
        """
        command = RemoteCommand("", {})
        stdio = self._logs.by_id(entry.logid)
        if stdio is not None:
            command.useLog(stdio)
        running = RunningCommand(command, request, self.writer, self.link, entry.acked)
        self._running[running.id] = running
        self.link.open(Order(running.id, "", {}), running)

    async def let_end(self, why: str) -> int:
        """The configuration has changed: let what runs come to its end, keep its output, end with RETRY."""
        self.step.name = self.name
        self.follow_open_commands()
        for running in self._running.values():
            await running.done
        self._logs.note_all(f"--- {why}\n")
        return await self.finish(RETRY)

    def abandon(self) -> list[RunningCommand]:
        """Write nothing more of this step; gives the commands that may still run."""
        self.follow_open_commands()
        return [running for running in self._running.values() if not running.done.done()]

    @property
    def commands(self) -> list[RunningCommand]:
        """All of this try."""
        return list(self._running.values())

    # -- stopping and aborting ----------------------------------------------------------------------------

    async def stop(self, reason: str) -> None:
        """The build is being stopped: interrupt the step's commands and end its waits."""
        if self._stop is not None:
            return
        self._stop = reason
        self.step.stopped = True
        for running in self._running.values():
            if not running.done.done():
                self.link.interrupt(running.id, reason)
        self._end_waits()
        # A task of its own, so that a step's own code holds up nobody but the step.
        self._interrupting = asyncio.get_running_loop().create_task(
            self._interrupt(reason), name=f"interrupt step {self.name}"
        )

    async def _interrupt(self, reason: str) -> None:
        try:
            async with asyncio.timeout(INTERRUPT_SECONDS):
                await settle(self.step.interrupt(reason))
        except Exception:
            log.exception("a step's interrupt failed", step=self.name)
        if self._task is not None and self._serving == self._own_work:
            self._task.cancel()  # it waits for something of its own, which nobody else can end

    def _forget_interrupt(self) -> None:
        if self._interrupting is not None and self._interrupting is not asyncio.current_task():
            self._interrupting.cancel()
            self._interrupting = None

    def abort(self, why: str, *, again: bool = False) -> None:
        """Cancel the step's code, whatever it does."""
        if self._abort is None:
            self._abort = Abort(why, again=again)
        if self._task is not None:
            self._task.cancel()
        else:
            self._end_waits()

    def _end_waits(self) -> None:
        for future in self._stop_wanted:
            if not future.done():
                future.set_result(None)

    def _check(self) -> None:
        if self._abort is not None:
            raise asyncio.CancelledError
        if self._stop is not None:
            raise BuildStepCancelled(self._stop)

    @contextlib.contextmanager
    def _served(self) -> Iterator[None]:
        self._serving += 1
        try:
            yield
        finally:
            self._serving -= 1

    def _notice_wait(self) -> None:
        if self._serving == 0 and not self._noticed:
            self._noticed = True
            self.writer.add(NOTE_FOREIGN_WAIT(stepid=self.stepid))
            self.writer.soon()

    async def wait(self, awaited: asyncio.Future[Any]) -> None:
        """Wait for something of the engine's, or for the stop. Raises BuildStepCancelled at a stop."""
        with self._served():
            self._check()
            stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._stop_wanted.add(stopped)
            try:
                await asyncio.wait({awaited, stopped}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._stop_wanted.discard(stopped)
            self._check()

    async def until(self, kind: str, look: Callable[[], Awaitable[T | None]]) -> T:
        """Look into the store until it shows what is waited for: now, and again after each hint of a kind.

        Raises BuildStepCancelled at a stop.
        """
        with self._served():
            while True:
                hint = self.services.bus.next(kind)
                found = await look()
                if found is not None:
                    return found
                await self.wait(hint)

    async def sleep(self, seconds: float) -> None:
        """Wait for a time, or for the stop. Raises BuildStepCancelled at a stop."""
        slept = asyncio.ensure_future(asyncio.sleep(seconds))
        try:
            await self.wait(slept)
        finally:
            slept.cancel()

    @property
    def tries(self) -> int:
        """How often the step was started again."""
        return self._tries

    @property
    def replaying(self) -> bool:
        """Whether an earlier owner's run asked for something that this one hasn't asked for yet."""
        return self._journal.replaying

    def master_output(self, name: str) -> MasterOutput:
        """A log for what work on the master prints; the secrets known by now are masked."""
        return MasterOutput(self.log(name), Masker(self.runner.secrets.items()))

    async def serve(self, awaitable: Awaitable[T]) -> T:
        """Await something that may be asked again after a takeover: a look into the store, an idempotent
        unit.
        """
        with self._served():
            return await awaitable

    # -- locks --------------------------------------------------------------------------------------------

    async def _take_locks(self) -> None:
        if not self.step.locks:
            return
        wants = await self.runner.step_wants(self.step.locks)
        self._has_locks = True
        services = self.services
        began = services.clock.monotonic()
        waited = False
        await self.writer.flush()
        while True:
            freed = services.bus.next("locks")
            fence = self.link.fence
            try:
                obstacle = await services.store.insist(
                    acquire_for_step(
                        wants, self.runner.build.requestid, self.stepid, *fence, services.clock.now_us()
                    )
                )
            except Fenced:
                if self.link.fence != fence:
                    continue
                raise
            if obstacle is None:
                break
            waited = True
            self._say(f"waits for lock {obstacle!r}")
            await self.wait(freed)
        if self._row is None or waited:
            self.writer.add(LOCKS_ACQUIRED(stepid=self.stepid, now_us=services.clock.now_us()))
        if waited:
            waited_us = int((services.clock.monotonic() - began) * 1e6)
            self.writer.add(ADD_LOCKS_DURATION(buildid=self.runner.build.buildid, waited_us=waited_us))
            self._say(self._summary(done=False))

    # -- what a step asks of the outside ------------------------------------------------------------------

    async def run_command(self, command: RemoteCommand) -> None:
        """Journal a command, have it run, and wait for its result; or answer from the journal."""
        with self._served():
            if command.stdioLogName is not None and "stdio" not in command.logs:
                command.useLog(self.log(command.stdioLogName))
            if isinstance(command, RemoteShellCommand) and command.lazylogfiles:
                command.lazy = self.log
            else:
                for name in command.args.get("logfiles") or ():
                    if name not in command.logs:
                        command.useLog(self.log(name), logfileName=name)
            secrets = self.runner.secrets
            blocks = command.blocks
            parts = [command.kind, hide(command.args, secrets)]
            if blocks is not None and blocks.identity is not None:
                parts.append(blocks.identity)
            request = self._request(COMMAND, *parts, again=blocks is None or blocks.identity is not None)
            if request is None:
                command.interrupted, command.rc = True, -1
                return
            entry = request.recorded
            if isinstance(self.writer, Nowhere) and (entry is None or not entry.done):
                raise Abort("a finished step asks for more than it had asked for")
            if entry is None:
                stdio = command.logs.get("stdio")
                self.writer.add(noted(request, stdio.logid if stdio else None))
            elif entry.outcome is not None:
                command.restore(decode(entry.outcome))
            await self._show_stored(set(command.logs.values()), request)
            if entry is not None and entry.done:
                return
            running = RunningCommand(command, request, self.writer, self.link, entry.acked if entry else 0)
            self._running[running.id] = running
            await self.writer.flush()
            self.link.open(Order(running.id, command.kind, command.args, list(secrets.items())), running)
            if self._stop is not None:
                self.link.interrupt(running.id, self._stop)
            await asyncio.shield(running.done)
            if command.failure in LOST and self._stop is None:
                self.abort(f"the worker lost the command ({command.failure})")
                raise asyncio.CancelledError
            if running.error is not None:
                raise running.error

    async def _show_stored(self, logs: Iterable[StepLog], request: Request) -> None:
        """Feed observers with what an earlier run of the request has put into its logs."""
        if request.recorded is None:
            return
        for each in logs:
            if each.observed and each.cut:
                self._abort_here(
                    "a log was cut at logMaxSize: what watches it can't be shown all of it again"
                )
            if each.observed:
                async for stream, data in command_output(self.services.store, each.logid, request.command_id):
                    each.show(stream, data)

    async def once(
        self,
        key: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        output: MasterOutput | None,
        *,
        answers: bool = True,
    ) -> Any:
        """Work on the master, at most once per try.

        Without ``answers`` what came of it isn't stored: for a step that a takeover starts again anyway.
        """
        with self._served():
            request = self._request(ONCE, key)
            if request is None:
                raise BuildStepCancelled(self._stop)
            entry = request.recorded
            if entry is not None:
                if not entry.done:
                    # Nobody knows how far it came.
                    self._abort_here(f"work on the master was under way ({key})")
                assert entry.outcome is not None
                if output is not None:
                    await self._show_stored([output.log], request)
                return decode(entry.outcome)
            if output is not None:
                output.begin(request.command_id)
            self.runner.pin()
            self.writer.add(noted(request, None))
            await self.writer.flush()
            if inspect.iscoroutinefunction(function):
                self._own_work += 1
                try:
                    self._check()
                    value = await function(*args)
                finally:
                    self._own_work -= 1
            else:
                value = await asyncio.to_thread(function, *args)
            try:
                outcome = encode(value)
            except Unstorable as error:
                raise TypeError(f"what once({key!r}) gave can't be stored: {error}") from error
            if answers:
                self.writer.add(settled(request, outcome))
                await self.writer.flush()
            return decode(outcome)

    async def trigger(
        self, key: Sequence[Any], plan: Callable[[], Awaitable[Mapping[str, Any]]]
    ) -> tuple[int, dict[int, int]]:
        """Add a buildset, its requests and the journal's row in one unit; gives (buildsetid, {builderid:
        requestid}).

        ``key`` tells this trigger from the step's others; ``plan`` gives the arguments of
        ``add_buildset_work``, and isn't asked when the journal knows the answer.
        """
        with self._served():
            request = self._request(TRIGGER, *key)
            if request is None:
                raise BuildStepCancelled(self._stop)
            if request.recorded is None:
                self.writer.call(_trigger_work, request, dict(await plan()))
                await self.writer.flush()
                outcome = await self.services.store.read(
                    journal_outcome(request.stepid, request.tries, request.seq)
                )
            else:
                outcome = request.recorded.outcome
            assert outcome is not None
            buildsetid, requests = decode(outcome)
            return buildsetid, {int(builderid): requestid for builderid, requestid in requests}

    def _request(self, kind: str, *parts: Any, again: bool = True) -> Request | None:
        """The request's place in the journal. None: it would be a new one, and the build is being stopped.

        ``again``: whether it can be answered from the journal at all. If not, it stays there unasked, so that
        whoever ends this try knows what may still run.
        """
        if self._abort is not None:
            raise asyncio.CancelledError
        name = fingerprint(*parts)
        known = self._journal.knows(kind, name)
        if self._stop is not None and not (known and again):
            return None
        if known and not again:
            self._abort_here("a transfer was under way")
        try:
            return self._journal.request(kind, name)
        except Diverged as diverged:
            self._abort_here(str(diverged))

    def _abort_here(self, why: str) -> NoReturn:
        """What the step's code does can't be gone on with: start it again."""
        self.abort(why, again=True)
        raise asyncio.CancelledError

    def _result_sets(self) -> ResultSets:
        build = self.runner.build
        return ResultSets(
            self.stepid,
            build.buildid,
            build.builder.builderid,
            self.services.ids,
            self.writer,
            self.runner.mask,
            self._abort_here,
            resumed=self._row is not None and self._row.complete_at is None,
        )

    def note_added_steps(self) -> None:
        """The step has put steps into the build: its journal is kept, to rebuild them."""
        if not self._added_steps:
            self._added_steps = True
            self.writer.add(NOTE_ADDED_STEPS(stepid=self.stepid))

    # -- logs and what is shown ---------------------------------------------------------------------------

    @property
    def logs(self) -> dict[str, StepLog]:
        """The step's logs so far, by name."""
        return self._logs.logs

    def log(self, name: str, kind: str = "s", encoding: Encoding | None = None) -> StepLog:
        """The step's log of that name; added if there is none."""
        self._logs.encoding = self.step.logEncoding
        return self._logs.log(name, kind, encoding)

    def note_all(self, text: str) -> None:
        """A header line of the engine's own in every log of the step."""
        self._logs.note_all(text)

    def observe(self, name: str, observer: LogObserver) -> None:
        """Have an observer watch a log, also one that is yet to come."""
        self._logs.observe(self.step, name, observer)

    def _shown(self, value: Any) -> str:
        """A text of the step's code as people may see it."""
        return self.runner.mask(storable(str(value)).encode()).decode("utf-8", "replace")

    def add_url(self, name: str, url: str) -> None:
        name, url = self._shown(name), self._shown(url)
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
            return self._shown(summary.get("step", ""))
        except Exception as error:
            log.warning("a step's summary failed", step=self.name, error=repr(error))
            return Results[self.step.results] if done and self.step.results is not None else "running"


def _trigger_work(request: Request, arguments: dict[str, Any]) -> Work[None]:
    buildsetid, requests = yield from add_buildset_work(**arguments)
    yield noted(request, None, encode([buildsetid, list(requests.items())]))


def _coroutine(value: Any) -> Awaitable[Any]:
    """What ``run`` gave, as something to await: a coroutine, another awaitable, or the result itself."""
    return value if inspect.isawaitable(value) else settle(value)


def _is_cancelled() -> bool:
    """Whether the build is being dropped: that goes before all that the step may want."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
