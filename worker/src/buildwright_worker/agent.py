"""The worker process: one `Agent` holds the session with the masters; its `Runner` has the commands.

*Turns.* What happens in one turn of the loop is sent together: whoever produces a record calls `wake`, and
at the end of the turn as much is sent as the window and the connection take. A record that may wait (the
header of a command that has just started) calls `wake_later`, so that a short command costs one frame.

*Connecting.* The masters' addresses are tried in turn. A round without success is followed by a pause, from
0.1 s doubling up to 30 s, with jitter; a connection that was welcomed and lasted begins anew. A master that
detaches us is left at once for the next one.

*Stopping.* `retire` says that this worker wants no more work; the master answers with Shutdown, and `run`
ends when no command is held. `stop` kills all commands, gives their results ("lost") a moment to be
acknowledged, and ends within 5 s. What was not acknowledged stays in the ledger, and the next start reports
it as lost.

*A second worker* on the same directory is refused by a lock that dies with its process.

Nothing here is global: a process may run many agents, each with its own directory.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import shutil
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Callable

from . import __version__, posix
from .commands import KINDS
from .connection import ConnectFailed, Connection, connect
from .ledger import Ledger
from .protocol import PeerSilent, ProtocolError, WorkerSession
from .protocol import worker_events as events
from .runner import Runner
from .spool import SpoolSpace

if TYPE_CHECKING:
    import ssl
    from collections.abc import Coroutine, Mapping

    from .commands import Command
    from .config import AgentConfig
    from .directories import Directories
    from .protocol import LostCommand

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
LASTING_S = 5.0  # a connection that ended earlier counts as a failure
ANSWER_S = 20.0  # for a connection, and again for its upgrade
WELCOME_S = 60.0
PATIENT_S = 0.01  # how long a record that is not urgent waits for company
STOP_S = 4.0
PARTIAL_CHAIN = 0x80000  # ssl.VERIFY_X509_PARTIAL_CHAIN, which Python 3.9 has without a name
PUMP_BYTES = 1 << 18
CLEAN_EVERY_S = 3600.0

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _now() -> float:
    """Monotonic seconds that go on while the machine sleeps: the dead-man must not be outslept."""
    return time.clock_gettime(_BOOTTIME)


class Agent:
    """A worker. `run` once; `stop` and `retire` may be called from the loop at any time."""

    def __init__(
        self,
        config: AgentConfig,
        *,
        kinds: Mapping[str, type[Command]] = KINDS,
        connect: Callable[..., Coroutine[Any, Any, Connection]] = connect,
    ) -> None:
        """`kinds` are the commands that this worker has, `connect` is its way to a master."""
        self.config = config
        self._kinds = kinds
        self._connect = connect
        self.session: WorkerSession | None = None  # from the moment that leftovers are dead
        self.attached = asyncio.Event()  # set while a master has welcomed us
        self._runner: Runner | None = None  # comes with the session
        self._connection: Connection | None = None
        self._done = asyncio.Event()  # set when `run` shall end
        self._moved = False  # the last master sent us away
        self._shutdown = False
        self._retiring: str | None = None
        self._stopping: str | None = None
        self._pumping = False
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tick_at = float("inf")

    # Life

    async def run(self) -> None:
        """Work until stopped. Raises `posix.LockHeld` if another process uses the directory."""
        own = self.config.own_directory
        own.mkdir(parents=True, exist_ok=True)
        lock = posix.lock_file(self.config.lock_path)
        try:
            ledger = Ledger(own)
            try:
                lost = await asyncio.get_running_loop().run_in_executor(None, ledger.recover)
                shutil.rmtree(self.config.private_directory, ignore_errors=True)  # nothing of them runs
                await self.work(ledger, lost)
            finally:
                ledger.close()
        finally:
            os.close(lock)

    async def work(self, ledger: Ledger, lost: list[LostCommand]) -> None:
        """Work until stopped, with a ledger whose leftovers are dead: `lost` names them."""
        self._loop = asyncio.get_running_loop()
        space = SpoolSpace(self.config.own_directory / "spool", disk_limit=self.config.spool_limit)
        runner = self._runner = Runner(self.config, self._loop, ledger, space, self, self._kinds)
        runner.session = self.session = WorkerSession(
            boot=os.urandom(16).hex(),
            ledger=ledger.identity,
            info=_info(self.config),
            capabilities=sorted(self._kinds),
            store=runner.new_spool,
            now=_now(),
        )
        for command in lost:
            logger.warning("command %s is lost: %s", command.id, command.why)
            self.session.lost(*command)
        if self._retiring is not None:
            self.session.goodbye(True, self._retiring)
        cleaning = self._loop.create_task(self._clean(runner.directories))
        try:
            await self._stay_connected(self.session)
        finally:
            cleaning.cancel()
            for timer in self._timers.values():
                timer.cancel()
            runner.close()

    async def _clean(self, directories: Directories) -> None:
        """Remove what nobody has used for long, now and then."""
        days = self.config.unused_days
        while days is not None:
            for name in directories.put_aside(days, time.time()):
                logger.info("the directory %s was not used for %g days: removing it", name, days)
            await self._loop.run_in_executor(None, directories.remove_aside)
            await asyncio.sleep(CLEAN_EVERY_S)

    def retire(self, why: str) -> None:
        """Take no more work, and end when the master has said that it is done with this worker."""
        self._retiring = why
        logger.info("retiring: %s", why)
        if self.session is not None:
            self.session.goodbye(True, why)
            self.wake()

    def stop(self, why: str) -> None:
        """Kill all commands and end within seconds."""
        if self._stopping is not None:
            return
        self._stopping = why
        logger.info("stopping: %s", why)
        if self.session is None or self._runner is None:
            self._done.set()
            return
        self.session.goodbye(False, why)
        self._timers["stop"] = self._loop.call_later(STOP_S, self._done.set)
        self._runner.stop(f"the worker is stopped: {why}")
        self.command_ended()
        self.wake()

    def command_ended(self) -> None:
        """End, if this was to be waited for."""
        if self.session is None or self._runner is None or self._runner.busy:
            return
        unheard = self.session.held if self._stopping is None or self.attached.is_set() else []
        if not unheard and (self._shutdown or self._stopping is not None):
            self._done.set()

    # The connection

    async def _stay_connected(self, session: WorkerSession) -> None:
        pause = FIRST_PAUSE_S
        failed = 0
        masters = deque(self.config.masters)
        while not self._done.is_set():
            url = masters[0]
            began = time.monotonic()
            before = session.attachment
            try:
                await self._until_done(self._one_connection(session, url))
            except ConnectFailed as error:
                logger.info("%s: %s", url, error)
            welcomed = session.attachment != before
            if self._moved or not welcomed:
                masters.rotate(-1)  # else the master may be back in a moment
            if welcomed and (self._moved or time.monotonic() - began > LASTING_S):
                pause, failed = FIRST_PAUSE_S, 0
                continue
            failed += 1
            if failed % len(masters) == 0:
                await self._until_done(asyncio.sleep(pause * random.uniform(0.5, 1.0)))  # jitter
                pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _one_connection(self, session: WorkerSession, url: str) -> None:
        """Hold one connection until it ends."""
        self._moved = False
        tls = self._tls() if url.startswith("wss") else None
        connection = await self._connect(
            url,
            self.config.name,
            self.config.password,
            tls=tls,
            timeout=ANSWER_S,
            on_frame=self._received,
            on_writable=self.wake,
        )
        self._connection = connection
        session.connected(_now())
        self._timers["welcome"] = self._loop.call_later(WELCOME_S, connection.abort, "no welcome")
        self._pump()
        self._rearm()
        try:
            logger.info("connection ended: %s", await asyncio.shield(connection.lost))
        finally:
            self._cancel_timer("welcome")
            self._connection = None
            self.attached.clear()
            session.disconnected()
            self._rearm()
            connection.close("the worker ends")

    async def _until_done(self, work: Coroutine[Any, Any, Any]) -> Any:
        """The work's value, or None if this worker is to end before: then the work is cancelled."""
        task = self._loop.create_task(work)
        done = self._loop.create_task(self._done.wait())
        try:
            await asyncio.wait([task, done], return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            done.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait([task])

    def _tls(self) -> ssl.SSLContext:
        """Made for each connection, since certificates are renewed."""
        import ssl  # a worker without TLS does without its memory

        own = self.config.certificate
        try:
            context = ssl.create_default_context(cafile=own)
            if own is not None:
                context.check_hostname = False
                context.verify_flags |= PARTIAL_CHAIN
            elif self.config.ca_file is not None:
                context.load_verify_locations(self.config.ca_file)
        except OSError as error:
            raise ConnectFailed(f"{own or self.config.ca_file} can't be used: {error}") from None
        return context

    def _received(self, connection: Connection, frame: bytes) -> None:
        session = self.session
        if session is None or connection is not self._connection or connection.closing:
            return
        try:
            session.receive(frame, _now())
        except ProtocolError as error:
            logger.error("the master broke the protocol: %s", error)  # the text says it all
            connection.close(f"protocol error: {error}")
            return
        assert self._runner is not None
        for event in session.events():
            self._act(event, self._runner)
        self._runner.look_for_room()
        self._rearm()
        self.wake()

    def _act(self, event: events.Event, runner: Runner) -> None:
        if isinstance(event, events.StartWanted):
            runner.start(event)
        elif isinstance(event, events.Forgotten):
            runner.forget(event.id)
        elif isinstance(event, events.DataArrived):
            runner.data_arrived(event)
        elif isinstance(event, events.InterruptWanted):
            runner.interrupt(event.id, "interrupted", f"command interrupted: {event.why}")
        elif isinstance(event, events.Unresumable):
            logger.error("command %s can't go on: %s", event.id, event.why)
            runner.abandon(event.id, event.why)
        elif isinstance(event, events.Welcomed):
            logger.info("attached to %s", event.master)
            self._cancel_timer("welcome")
            self.attached.set()
        elif isinstance(event, events.Detached):
            logger.info("detached: %s", event.why)
            self._moved = True
            self.attached.clear()
            self._pump()
            self.reconnect("detached")
        elif isinstance(event, events.ShutdownWanted):
            self._shutdown = True
            self.command_ended()
        else:
            logger.warning("no master for too long: killing all commands")
            runner.interrupt_all("deadman", "no master for too long")

    def reconnect(self, why: str) -> None:
        """Drop the connection, if there is one, and say hello anew."""
        if self._connection is not None:
            self._connection.close(why)

    # Sending

    def wake(self) -> None:
        """Send what there is at the end of this turn."""
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def wake_later(self) -> None:
        if "patient" not in self._timers:
            self._timers["patient"] = self._loop.call_later(PATIENT_S, self._patience_ended)

    def _patience_ended(self) -> None:
        del self._timers["patient"]
        if self.session is not None:
            self.session.hurry()
        self.wake()

    def _pump(self) -> None:
        self._pumping = False
        session, connection = self.session, self._connection
        if session is None:
            return
        while connection is not None and connection.writable and session.has_outgoing:
            frames = session.take_outgoing(PUMP_BYTES)
            if not frames:
                break
            for frame in frames:
                connection.send(frame)

    # Time

    def _rearm(self) -> None:
        """See to it that the session's `tick` is called when it must be."""
        due = self.session.next_tick() if self.session is not None else None
        if due is None or due >= self._tick_at:
            return
        self._cancel_timer("tick")
        self._tick_at = due
        self._timers["tick"] = self._loop.call_later(max(0.0, due - _now()), self._tick)

    def _tick(self) -> None:
        self._tick_at = float("inf")
        assert self.session is not None
        assert self._runner is not None
        try:
            self.session.tick(_now())
        except PeerSilent as error:
            if self._connection is not None:
                self._connection.abort(str(error))
        for event in self.session.events():
            self._act(event, self._runner)
        self.wake()
        self._rearm()

    def _cancel_timer(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()


def _info(config: AgentConfig) -> dict[str, Any]:
    """What the master should know of this worker and its machine."""
    system = os.uname()
    info: dict[str, Any] = {
        "version": __version__,
        "system": os.name,
        "basedir": str(config.basedir),
        "numcpus": os.cpu_count() or 1,
        "environ": config.environ,
        "hostname": system.nodename,
        "os_system": system.sysname,
        "os_release": system.release,
        "os_machine": system.machine,
        "python": ".".join(map(str, sys.version_info[:3])),
        **posix.os_release(),
    }
    for name in ("admin", "host"):
        try:
            info[name] = (config.basedir / "info" / name).read_text(encoding="utf-8", errors="replace")[:4096]
        except OSError:
            info[name] = ""
    return info
