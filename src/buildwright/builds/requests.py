"""What a step asks of the outside: commands, work on the master, builds of other builders.

Each request is journalled before it is sent, or answered from the journal when the step is run again. One
that the journal leaves open is attached to if it is a command, and aborts the step if nobody can know how
far it came.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from buildwright.builds.commands import RemoteCommand, RemoteShellCommand
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
from buildwright.builds.noticing import Abort
from buildwright.builds.running import RunningCommand
from buildwright.builds.step import BuildStepCancelled
from buildwright.builds.steplogs import MasterOutput, StepLog
from buildwright.builds.stepwaits import StepWaits
from buildwright.builds.stored import command_output, journal_outcome
from buildwright.builds.writer import BuildWriter, Nowhere
from buildwright.store.unit import Work
from buildwright.store.units.attach import Entry
from buildwright.store.units.buildsets import add_buildset_work

if TYPE_CHECKING:
    from buildwright.builds.runner import BuildRunner

# Failures of a command that say nothing of what it did: its worker ended, or was away for longer than its
# dead-man limit.
LOST = frozenset({"lost", "deadman"})


class Requests:
    """The requests of one step, of its current try."""

    def __init__(
        self,
        runner: BuildRunner,
        stepid: int,
        tries: int,
        writer: BuildWriter | Nowhere,
        waits: StepWaits,
        logs: LogSet,
        entries: Sequence[Entry],
    ) -> None:
        self._runner = runner
        self._link = runner.link
        self._store = runner.services.store
        self._stepid = stepid
        self._writer = writer
        self._waits = waits
        self._logs = logs
        self._entries = entries  # of all tries
        self._journal = Journal(stepid, tries, entries)
        self._running: dict[str, RunningCommand] = {}

    @property
    def replaying(self) -> bool:
        """Whether an earlier owner's run asked for something that this one hasn't asked for yet."""
        return self._journal.replaying

    @property
    def journalled(self) -> bool:
        """Whether the journal has rows of the step."""
        return bool(self._entries or self._journal.used)

    @property
    def commands(self) -> list[RunningCommand]:
        """All of this try."""
        return list(self._running.values())

    # -- asking -------------------------------------------------------------------------------------------

    async def run_command(self, command: RemoteCommand) -> None:
        """Journal a command, have it run, and wait for its result; or answer from the journal."""
        with self._waits.served():
            if command.stdioLogName is not None and "stdio" not in command.logs:
                command.useLog(self._logs.log(command.stdioLogName))
            if isinstance(command, RemoteShellCommand) and command.lazylogfiles:
                command.lazy = self._logs.log
            else:
                for name in command.args.get("logfiles") or ():
                    if name not in command.logs:
                        command.useLog(self._logs.log(name), logfileName=name)
            secrets = self._runner.secrets.values
            blocks = command.blocks
            parts = [command.kind, hide(command.args, secrets)]
            if blocks is not None and blocks.identity is not None:
                parts.append(blocks.identity)
            request = self._request(COMMAND, *parts, again=blocks is None or blocks.identity is not None)
            if request is None:
                command.interrupted, command.rc = True, -1
                return
            entry = request.recorded
            if isinstance(self._writer, Nowhere) and (entry is None or not entry.done):
                raise Abort("a finished step asks for more than it had asked for")
            if entry is None:
                stdio = command.logs.get("stdio")
                self._writer.add(noted(request, stdio.logid if stdio else None))
            elif entry.outcome is not None:
                command.restore(decode(entry.outcome))
            await self._show_stored(set(command.logs.values()), request)
            if entry is not None and entry.done:
                return
            running = RunningCommand(command, request, self._writer, self._link, entry.acked if entry else 0)
            self._running[running.id] = running
            await self._writer.flush()
            self._link.open(Order(running.id, command.kind, command.args, list(secrets.items())), running)
            if self._waits.stopped is not None:
                self._link.interrupt(running.id, self._waits.stopped)
            await asyncio.shield(running.done)
            if command.failure in LOST and self._waits.stopped is None:
                self._waits.abort(f"the worker lost the command ({command.failure})")
                raise asyncio.CancelledError
            if running.error is not None:
                raise running.error

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
        with self._waits.served():
            request = self._request(ONCE, key)
            if request is None:
                raise BuildStepCancelled(self._waits.stopped)
            entry = request.recorded
            if entry is not None:
                if not entry.done:
                    # Nobody knows how far it came.
                    self._waits.abort_here(f"work on the master was under way ({key})")
                assert entry.outcome is not None
                if output is not None:
                    await self._show_stored([output.log], request)
                secrets = await self._runner.secrets.reveal(marks(entry.outcome))
                return reveal(decode(entry.outcome), secrets)
            if output is not None:
                output.begin(request.command_id)
            self._runner.pin()
            self._writer.add(noted(request, None))
            await self._writer.flush()
            if inspect.iscoroutinefunction(function):
                with self._waits.own_work():
                    self._waits.check()
                    value = await function(*args)
            else:
                value = await asyncio.to_thread(function, *args)
            try:
                outcome = encode(value)
                stored = encode(hide(decode(outcome), self._runner.secrets.values))
            except Unstorable as error:
                raise TypeError(f"what once({key!r}) gave can't be stored: {error}") from error
            if answers:
                self._writer.add(settled(request, stored))
                await self._writer.flush()
            return decode(outcome)

    async def trigger(
        self, key: Sequence[Any], plan: Callable[[], Awaitable[Mapping[str, Any]]]
    ) -> tuple[int, dict[int, int]]:
        """Add a buildset, its requests and the journal's row in one unit; gives (buildsetid, {builderid:
        requestid}).

        ``key`` tells this trigger from the step's others; ``plan`` gives the arguments of
        ``add_buildset_work``, and isn't asked when the journal knows the answer.
        """
        with self._waits.served():
            request = self._request(TRIGGER, *key)
            if request is None:
                raise BuildStepCancelled(self._waits.stopped)
            if request.recorded is None:
                # Triggered builds get a secret's name: they may render it by themselves.
                arguments = self._runner.secrets.masker.mask_value(dict(await plan()))
                self._writer.call(_trigger_work, request, arguments)
                await self._writer.flush()
                outcome = await self._store.read(journal_outcome(request.stepid, request.tries, request.seq))
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
        waits = self._waits
        if waits.aborted is not None:
            raise asyncio.CancelledError
        name = fingerprint(*parts)
        known = self._journal.knows(kind, name)
        if waits.stopped is not None and not (known and again):
            return None
        if known and not again:
            waits.abort_here("a transfer was under way")
        try:
            return self._journal.request(kind, name)
        except Diverged as diverged:
            waits.abort_here(str(diverged))

    async def _show_stored(self, logs: Iterable[StepLog], request: Request) -> None:
        """Feed observers with what an earlier run of the request has put into its logs."""
        if request.recorded is None:
            return
        for each in logs:
            if each.observed and each.cut:
                self._waits.abort_here(
                    "a log was cut at logMaxSize: what watches it can't be shown all of it again"
                )
            if each.observed:
                async for stream, data in command_output(self._store, each.logid, request.command_id):
                    each.show(stream, data)

    # -- their end ----------------------------------------------------------------------------------------

    def interrupt(self, why: str) -> list[RunningCommand]:
        """Have those killed that run; gives them."""
        left = [running for running in self._running.values() if not running.done.done()]
        for running in left:
            self._link.interrupt(running.id, why)
        return left

    def follow_open(self) -> None:
        """Attach to what an earlier owner left running and this run of the step hasn't asked for."""
        for entry in self._journal.left_over():
            request = Request(entry.stepid, entry.tries, entry.seq, entry.kind, entry.fingerprint, entry)
            if entry.kind == COMMAND and not entry.done and request.command_id not in self._running:
                self._attach_to_end(entry, request)

    def _attach_to_end(self, entry: Entry, request: Request) -> None:
        """Follow a command of an earlier owner to its end: its output goes to its log, nobody asks for its
        outcome.
        """
        command = RemoteCommand("", {})
        stdio = self._logs.by_id(entry.logid)
        if stdio is not None:
            command.useLog(stdio)
        running = RunningCommand(command, request, self._writer, self._link, entry.acked)
        self._running[running.id] = running
        self._link.open(Order(running.id, "", {}), running)

    async def come_to_end(self) -> None:
        """Let what runs come to its end."""
        self.follow_open()
        for running in self.commands:
            await running.done

    async def kill(self, why: str) -> None:
        """See to it that nothing of the step runs any more."""
        self.follow_open()
        for running in self.interrupt(why):
            await running.done

    def close(self) -> None:
        """The step's end is in the next unit."""
        for running in self._running.values():
            running.step_finished()

    async def begin_try(self, tries: int, why: str) -> None:
        """End what the former try left running, and begin with an empty journal."""
        self.follow_open()
        self.interrupt(why)
        for running in self.commands:
            await running.done
            running.step_finished()
        self._running = {}
        self._entries = ()
        self._journal = Journal(self._stepid, tries)


def _trigger_work(request: Request, arguments: dict[str, Any]) -> Work[None]:
    buildsetid, requests = yield from add_buildset_work(**arguments)
    yield noted(request, None, encode([buildsetid, list(requests.items())]))
