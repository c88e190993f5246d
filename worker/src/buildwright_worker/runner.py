"""The commands of a worker: from the master's order to the last acknowledgement.

*Order of things.* The ledger's entry comes before anything of the command is done, and goes when the master
has settled the command and nothing of it runs. A command that is settled while it runs is killed first.

*A full disk.* A command whose records can't be written is not read; one whose ledger entry can't be written
is not started. Meanwhile the master is told that there is no room. It is tried again with every frame that
comes, since it may have acknowledged records, and every second.

*Failures of our own.* A defect in a command ends that command with an error; it is never left without an end.
"""

from __future__ import annotations

import functools
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Callable, Protocol

from . import __version__, posix
from .commands import ArgumentError, Command, Context
from .directories import Directories
from .protocol import Masker, Result

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine, Mapping

    from .config import AgentConfig
    from .ledger import Ledger
    from .protocol import WorkerSession
    from .protocol import worker_events as events
    from .spool import Spool, SpoolSpace

logger = logging.getLogger(__name__)

RETRY_ROOM_S = 1.0


class Sender(Protocol):
    """Who sends what the session has to send."""

    def wake(self) -> None:
        """Soon: at the end of this turn of the loop."""

    def wake_later(self) -> None:
        """In some milliseconds: what is there may wait for company."""

    def command_ended(self) -> None:
        """A command has ended, or was forgotten."""

    def reconnect(self, why: str) -> None:
        """Drop the connection and say hello anew."""


class Runner:
    def __init__(
        self,
        config: AgentConfig,
        loop: asyncio.AbstractEventLoop,
        ledger: Ledger,
        space: SpoolSpace,
        sender: Sender,
        kinds: Mapping[str, type[Command]],
    ) -> None:
        self.session: WorkerSession  # set right after: each needs the other
        self._config = config
        self._loop = loop
        self._ledger = ledger
        self._space = space
        self._sender = sender
        self._kinds = kinds
        self.directories = Directories(config.basedir, config.own_directory)
        self._commands: dict[str, Command] = {}  # those that were started and have not ended
        self._contexts: dict[str, Context] = {}
        self._spools: dict[str, Spool] = {}
        self._unlisted: deque[events.StartWanted] = deque()  # not in the ledger yet, for want of room
        self._settled: dict[
            str, Callable[[], None]
        ] = {}  # wanted no more but still running: what follows the end
        self._room_timer: asyncio.TimerHandle | None = None
        self._stopped: str | None = None  # why nothing is started any more
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether anything of any command may still run."""
        return bool(self._contexts or self._unlisted)

    def new_spool(self, command: str) -> Spool:
        spool = self._spools[command] = self._space.spool()
        return spool

    def close(self) -> None:
        """The process ends: what still runs is in the ledger."""
        if self._room_timer is not None:
            self._room_timer.cancel()
        for task in self._tasks:
            task.cancel()

    # What the master wants

    def start(self, wanted: events.StartWanted) -> None:
        self._unlisted.append(wanted)
        if self._stopped is not None:
            self.interrupt(wanted.id, "lost", self._stopped)
        else:
            self._start_unlisted()

    def interrupt(self, id: str, failure: str, why: str, *, at_once: bool = False) -> None:
        for wanted in self._unlisted:
            if wanted.id == id:
                self._unlisted.remove(wanted)
                self.session.finish(id, time.time_ns() // 1000, Result(-1, failure, error=why))
                self._sender.command_ended()
                return
        command = self._commands.get(id)
        if command is not None:
            command.interrupt(failure, why, at_once=at_once)

    def interrupt_all(self, failure: str, why: str) -> None:
        for id_ in [*(wanted.id for wanted in self._unlisted), *self._commands]:
            self.interrupt(id_, failure, why, at_once=True)

    def stop(self, why: str) -> None:
        """Kill what runs, and start nothing more."""
        self._stopped = why
        self.interrupt_all("lost", why)

    def data_arrived(self, data: events.DataArrived) -> None:
        command = self._commands.get(data.id)
        if command is not None:
            command.data_arrived(data)

    def forget(self, id: str) -> None:
        """The master has settled the command."""
        self._end_then(id, "the master has settled it", lambda: self._ledger.forget(id))

    def abandon(self, id: str, why: str) -> None:
        """The command can't go on: once nothing of it runs, say that it is lost, in a new hello."""

        def lose() -> None:
            self.session.lost(id, why)
            self._sender.reconnect("a command is lost")

        self._end_then(id, why, lose)

    def _end_then(self, id: str, why: str, then: Callable[[], None]) -> None:
        self._spools.pop(id, None)
        self._unlisted = deque(wanted for wanted in self._unlisted if wanted.id != id)
        command = self._commands.get(id)
        if command is None:
            then()
            self._sender.command_ended()
        else:
            self._settled[id] = then
            command.interrupt("interrupted", why, at_once=True)
            command.resume()

    # Running

    def _start_unlisted(self) -> None:
        while self._unlisted:
            try:
                self._ledger.begin(self._unlisted[0].id)
            except OSError as error:
                self._no_room(f"the ledger can't be written: {error.strerror}")
                return
            self._run(self._unlisted.popleft())

    def _run(self, wanted: events.StartWanted) -> None:
        spool = self._spools[wanted.id]
        context = Context(
            id=wanted.id,
            loop=self._loop,
            basedir=str(self._config.basedir),
            private=str(self._config.private_directory / wanted.id),
            use=self.directories.use(),
            environ=self._config.environ,
            marker=self._ledger.marker(wanted.id),
            masker=Masker(wanted.secrets),
            spool=spool,
            append=functools.partial(self._append, wanted.id, spool),
            finish=functools.partial(self._finish, wanted.id),
            started=functools.partial(self._ledger.started, wanted.id),
            pull=functools.partial(self._pull, wanted.id),
            task=functools.partial(self._task, wanted.id),
        )
        self._contexts[wanted.id] = context
        kind = self._kinds.get(wanted.kind)
        if kind is None:
            why = f"this worker is of version {__version__} and has no command {wanted.kind!r}: upgrade it"
            self._refuse(context, why)
            return
        try:
            command = self._commands[wanted.id] = kind(context, wanted.args)
        except ArgumentError as error:
            self._refuse(context, f"{wanted.kind}: {error}")
            return
        try:
            command.start()
        except Exception as error:
            logger.exception("command %s", wanted.id)
            self._fail(wanted.id, error)

    @staticmethod
    def _refuse(context: Context, text: str) -> None:
        context.header(f"{text}\n")
        context.finish(Result(-1, "spawn", error=text))

    def _append(  # called once per record, by Context alone
        self, id: str, spool: Spool, kind: str, time_us: int, data: Any, name: str, urgent: bool
    ) -> None:
        if id in self._settled or id not in self._contexts:
            return  # nobody wants it any more
        self.session.append(id, kind, time_us, data, name, patient=not urgent)
        if spool.full:
            self._no_room(self._space.why)
        if urgent:
            self._sender.wake()
        else:
            self._sender.wake_later()

    def _finish(self, id: str, time_us: int, result: Result) -> None:
        """Nothing of the command runs any more."""
        self._commands.pop(id, None)
        context = self._contexts.pop(id, None)
        if context is None:
            return
        context.use.end()
        then = self._settled.pop(id, None)
        if then is not None:
            then()
        else:
            self.session.finish(id, time_us, result)
            self._sender.wake()
        self._sender.command_ended()

    def _pull(self, id: str, offset: int, length: int) -> None:
        if id in self._contexts and id not in self._settled:
            self.session.pull(id, offset, length)
            self._sender.wake()

    def _fail(self, id: str, error: Exception) -> None:
        """A defect of the worker's: the command ends with an error, whatever it was at."""
        context = self._contexts.get(id)
        if context is not None:
            for pid in posix.marked_processes([context.marker]):
                posix.kill_process(pid)
            context.finish(Result(-1, "spawn", error=f"the worker failed: {type(error).__name__}: {error}"))

    def _task(self, id: str, work: Coroutine[Any, Any, None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except Exception as error:
                logger.exception("command %s", id)
                self._fail(id, error)

        task = self._loop.create_task(guarded(), name=f"command-{id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Room

    def look_for_room(self) -> None:
        """A frame came: perhaps records were acknowledged."""
        if self._room_timer is not None or any(context.waiting for context in self._contexts.values()):
            self._retry_room()

    def _no_room(self, why: str) -> None:
        self.session.room(False, why)
        self._sender.wake()
        if self._room_timer is None:
            logger.warning("no room: %s", why)
            self._room_timer = self._loop.call_later(RETRY_ROOM_S, self._retry_room)

    def _retry_room(self) -> None:
        """Write what could not be written, and let those go on who wait for it."""
        if self._room_timer is not None:
            self._room_timer.cancel()
            self._room_timer = None
        self._space.retry()
        self._start_unlisted()
        for id_, context in list(self._contexts.items()):
            if context.waiting and not context.spool.full and id_ in self._commands:
                context.waiting = False
                self._commands[id_].resume()
        if self._unlisted or self._space.full:
            self._no_room(self._space.why or "the ledger can't be written")
        else:
            self.session.room(True, "")
            self._sender.wake()
