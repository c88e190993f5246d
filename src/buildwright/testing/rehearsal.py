"""A configuration at work in one test: the shipped master, engine, agents and store, on virtual time.

    def test_a_red_compile_ends_the_build():
        with Rehearsal("master.cfg", at="2026-03-02 12:00") as ci:
            ci.on("make all", builder="linux").prints("oops", stream="stderr").exits(2)
            build = ci.build("linux", branch="main")
            assert build.result == "failure"
            assert [ran.line for ran in ci.ran] == ["make all"]

Everything is called from plain test functions: each call lets the loop run until what was asked for has come
about, in between time stands still. Commands play scripts (:mod:`buildwright.testing.scripts`), files at
workers are in memory, the master's own are in a directory that goes with the rehearsal. Change sources don't
poll, ports aren't opened.

While nothing happens, time jumps to what comes next (:mod:`buildwright.testing.idling`), so a week of
schedules costs what its builds do.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import sqlalchemy as sa

from buildwright.changes.base import Intake
from buildwright.config.loader import load
from buildwright.logs.blobs import DatabaseBlobs
from buildwright.master.core import Core
from buildwright.model.errors import suggest
from buildwright.model.snapshot import Snapshot
from buildwright.store import schema
from buildwright.store.memory import MemoryDatabase, MemoryStore
from buildwright.store.units.buildsets import add_buildset
from buildwright.store.units.changes import NewChange, add_changes
from buildwright.testing.idling import JumpingLoop, alone, listening
from buildwright.testing.loop import Stuck, VirtualClock, virtual_time
from buildwright.testing.machines import Machine, MemoryLedger
from buildwright.testing.mastering import scripted_master
from buildwright.testing.scripts import Pattern, Ran, Script, Scripts
from buildwright.testing.views import Build, builds_where
from buildwright.workers.inprocess import joined
from buildwright_worker.agent import Agent

T = TypeVar("T")

US = 1_000_000
NOON = datetime(2026, 3, 2, 12)  # noqa: DTZ001 - local time, as schedules are written; a Monday
PATIENCE = timedelta(days=30)
"""How long something that was asked for may take, in virtual time."""
SOURCE = "Rehearsal"


class Overdue(AssertionError):
    """What was waited for doesn't come about; the text says what everybody waits for."""


class Rehearsal:
    """See the module's docstring.

    ``configuration`` is a file, or a loaded snapshot. ``at`` is when it begins: local time, as text or
    datetime. ``basedir`` is where relative paths of the configuration begin, by default the file's directory.
    With ``strict`` a command that no script is meant for fails the test. ``workers`` names those that are
    connected, by default all.
    """

    def __init__(
        self,
        configuration: str | Path | Snapshot,
        *,
        at: datetime | str = NOON,
        basedir: str | Path | None = None,
        strict: bool = False,
        workers: Sequence[str] | None = None,
    ) -> None:
        if asyncio._get_running_loop() is not None:  # noqa: SLF001 - the public one raises
            raise RuntimeError(
                "a rehearsal runs its own loop: make the test a plain function, not a coroutine"
            )
        if isinstance(configuration, Snapshot):
            snapshot = configuration
        else:
            path = Path(configuration)
            snapshot = load(path, path.parent if basedir is None else Path(basedir))
        self.said: list[dict[str, Any]] = []  # what the master has logged
        self._stack = ExitStack()
        directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="rehearsal-")))
        self.directory = directory  # the master's own
        self.snapshot = replace(snapshot, change_sources={}, basedir=directory)
        self._scripts = Scripts(strict=strict)
        begins = datetime.fromisoformat(at) if isinstance(at, str) else at
        self._loop = JumpingLoop()
        start_us = round(begins.timestamp() * US) - round(self._loop.time() * US)
        self._start_us = start_us
        self._clock = VirtualClock(self._loop, start_us)
        self._database = MemoryDatabase()
        self._store = MemoryStore(self._database, now_us=self._clock.now_us)
        self._blobs = DatabaseBlobs(self._store)
        names = list(snapshot.workers) if workers is None else list(workers)
        self.machines = {name: Machine(name, self._scripts, self._who, lambda: self.now) for name in names}
        self._agents: list[tuple[Agent, asyncio.Task[None]]] = []
        self._core: Core
        self._failures: list[BaseException] = []
        self._loop.set_exception_handler(self._failed)

    # -- its life -----------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self._run(self._start())
        except BaseException:
            self._loop.close()
            self._database.close()
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it. Done by leaving the context."""
        if self._loop.is_closed():
            return
        try:
            self._run(self._stop())
        finally:
            self._loop.close()
            self._database.close()
            self._stack.close()

    async def _start(self) -> None:
        await self._store.start()
        self._core = Core(
            store=self._store,
            clock=self._clock,
            name="rehearsal",
            basedir=self.directory,
            snapshot=self.snapshot,
        )
        await self._core.start()
        self._loop.due = self._next_due
        self._loop.look = self._core.schedulers.poke
        connect = joined(lambda: self._core.workers)
        for machine in self.machines.values():
            agent = machine.agent(connect)
            work = agent.work(MemoryLedger(machine.name), [])
            self._agents.append((agent, self._loop.create_task(work, name=f"worker {machine.name}")))
        for agent, _ in self._agents:
            await agent.attached.wait()
        await self._core.schedulers.settled()

    async def _stop(self) -> None:
        self._loop.due = lambda: None
        if hasattr(self, "_core"):
            await self._core.stop()
        for agent, _ in self._agents:
            agent.stop("the rehearsal is over")
        await asyncio.gather(*(task for _, task in self._agents), return_exceptions=True)
        await self._store.stop()
        rest = asyncio.all_tasks(self._loop) - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    # -- scripts ------------------------------------------------------------------------------------------

    def on(
        self,
        pattern: Pattern,
        *,
        builder: str | None = None,
        step: str | None = None,
        worker: str | None = None,
    ) -> Script:
        """What commands do that fit: a line (with ``*``), a list, a compiled expression that is searched for,
        or a function of the :class:`Ran`. The names limit it further.
        """
        return self._scripts.add(Script(pattern, builder, step, worker))

    @property
    def ran(self) -> list[Ran]:
        """All commands that were started, in order; git's own are left out."""
        return [ran for ran in self._scripts.ran if not _is_git(ran)]

    @property
    def ran_with_git(self) -> list[Ran]:
        """All commands that were started, in order."""
        return list(self._scripts.ran)

    # -- time ---------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The time, local."""
        return datetime.fromtimestamp(self._clock.now_us() / US)  # noqa: DTZ006 - as schedules are written

    def advance(
        self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0
    ) -> list[Build]:
        """Let time go on; gives the builds that began meanwhile."""
        return self.until(self.now + timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds))

    def until(self, when: datetime | str) -> list[Build]:
        """Let time go on to a moment; gives the builds that began meanwhile."""
        moment = datetime.fromisoformat(when) if isinstance(when, str) else when
        last = self._last("builds")
        seconds = (round(moment.timestamp() * US) - self._clock.now_us()) / US
        self._run(asyncio.sleep(max(seconds, 0)))
        return self._builds(schema.builds.c.id > last)

    def settle(self) -> list[Build]:
        """Let everything come to its end that is under way; gives the builds that began meanwhile."""
        last = self._last("builds")

        async def quiet() -> bool:
            await self._core.schedulers.settled()
            return not self._count("buildsets WHERE complete = 0")

        self._run(self._until("buildsets", quiet, "the end of all that is under way"))
        return self._builds(schema.builds.c.id > last)

    # -- asking for something -----------------------------------------------------------------------------

    def build(
        self,
        builder: str,
        *,
        properties: Mapping[str, Any] | None = None,
        branch: str | None = None,
        revision: str | None = None,
        repository: str = "",
        codebase: str = "",
        project: str = "",
        stamps: Sequence[Mapping[str, Any]] | None = None,
    ) -> Build:
        """Have a builder build, and wait for the end. ``stamps`` are for builds of several codebases."""
        one = {
            "codebase": codebase,
            "branch": branch,
            "revision": revision,
            "repository": repository,
            "project": project,
        }
        sources = [one] if stamps is None else [{"codebase": "", **stamp} for stamp in stamps]
        builderid = self._builderid(builder)
        given = {name: (value, SOURCE) for name, value in (properties or {}).items()}

        async def ask() -> int:
            _, requests = await self._store.run(
                add_buildset(
                    sourcestamps=sources,
                    builderids=[builderid],
                    now_us=self._clock.now_us(),
                    reason="a rehearsal",
                    properties=given,
                )
            )
            return requests[builderid]

        return self._ended(self._run(ask()))

    def force(self, scheduler: str, builder: str | None = None, **fields: Any) -> list[Build]:
        """Fill in a force scheduler's form, and wait for the end of its builds."""
        params = dict(fields) if builder is None else {**fields, "builderNames": [builder]}
        added = self._run(self._core.control().force(scheduler, params, "anonymous", None))
        if added is None:
            names = [each.name for each in self._core.force_forms()]
            raise LookupError(
                f"there is no force scheduler {scheduler!r}: {suggest(scheduler, names) or names}"
            )
        return [self._ended(requestid) for requestid in added[1].values()]

    def change(
        self,
        *,
        files: Sequence[str] = (),
        author: str = "somebody",
        comments: str = "",
        branch: str | None = None,
        revision: str | None = None,
        repository: str = "",
        codebase: str | None = None,
        project: str = "",
        category: str | None = None,
        properties: Mapping[str, Any] | None = None,
    ) -> list[Build]:
        """Bring a change in, and wait for the end of what it starts at once; gives those builds. What waits
        for a quiet tree begins as time goes on.

        Without ``codebase`` the configuration's codebaseGenerator says which it is.
        """
        last = self._last("buildsets")
        change = NewChange(
            author=author,
            comments=comments,
            branch=branch,
            revision=revision,
            category=category,
            repository=repository,
            codebase=codebase or "",
            project=project,
            files=list(files),
            properties={name: (value, "Change") for name, value in (properties or {}).items()},
        )

        async def bring() -> None:
            intake = Intake(self.snapshot.codebase_generator, self.snapshot.revlink)
            ready = await intake.prepare(change, has_codebase=codebase is not None)
            await self._store.run(add_changes([ready], self._clock.now_us()))
            await self._core.schedulers.settled()

        self._run(bring())
        begun = range(last + 1, self._last("buildsets") + 1)

        async def ended() -> bool:
            return not self._count(
                f"buildsets WHERE complete = 0 AND id >= {begun.start} AND id < {begun.stop}"
            )

        self._run(self._until("buildsets", ended, "the end of what the change has started"))
        return self._builds(schema.buildrequests.c.buildsetid.in_(begun))

    def stop(self, build: Build, reason: str = "stopped") -> None:
        """Have a running build stopped."""
        self._run(self._core.control().stop_build(build.id, reason, None))

    # -- looking ------------------------------------------------------------------------------------------

    def builds(self, builder: str | None = None, scheduler: str | None = None) -> list[Build]:
        """All builds, or those of a builder, or of a scheduler, in the order in which they began."""
        where = () if builder is None else (schema.builds.c.builderid == self._builderid(builder),)
        found = self._builds(*where)
        return [build for build in found if scheduler in (None, build.scheduler)]

    def waiting(self) -> list[tuple[str, str]]:
        """The builders of the requests that have no build yet, and what each waits for."""
        return [
            (str(name), str(why or ""))
            for name, why in self._database.connection.execute(
                "SELECT b.name, r.waits_for FROM buildrequests r JOIN builders b ON b.id = r.builderid"
                " WHERE r.complete = 0 AND r.claimed_by IS NULL ORDER BY r.id"
            )
        ]

    def skipped(self, scheduler: str) -> list[str]:
        """What a scheduler has settled without a build, each with why: "due:...: skipped: ..."."""
        return [
            f"{cause}: {outcome}"
            for cause, outcome in self._database.connection.execute(
                "SELECT f.cause, f.outcome FROM scheduler_causes f JOIN schedulers s ON s.id = f.schedulerid"
                " WHERE s.name = ? AND f.outcome LIKE 'skipped%' ORDER BY f.settled_at, f.cause",
                (scheduler,),
            )
        ]

    # -- inside -------------------------------------------------------------------------------------------

    def _run(self, what: Awaitable[T]) -> T:
        """Let the loop run until this is done."""
        with (
            virtual_time(self._loop, self._start_us),
            alone(),
            scripted_master(self._scripts, lambda: self.now),
            listening(self.said),
        ):
            result = self._loop.run_until_complete(_as_coroutine(what))
        if self._failures:
            failures, self._failures = self._failures, []
            raise failures[0]
        if self._scripts.unexpected:
            unexpected, self._scripts.unexpected = self._scripts.unexpected, []
            raise AssertionError(
                "no script is meant for what was run:\n" + "\n".join(f"  {ran}" for ran in unexpected)
            )
        return result

    def _next_due(self) -> float | None:
        """When the next scheduler has something to do, in the loop's time."""
        due_us = self._core.schedulers.next_due_us
        # A microsecond later: seconds as a float may fall short of the instant.
        return None if due_us is None else (due_us + 1 - self._start_us) / US

    async def _until(self, kind: str, condition: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait until it holds, looking at each hint of a kind."""
        try:
            async with asyncio.timeout(PATIENCE.total_seconds()):
                while True:
                    hint = self._core.bus.next(kind)
                    if await condition():
                        return
                    await hint
        except (TimeoutError, Stuck):
            raise Overdue(f"{what} doesn't come about within {PATIENCE.days} days: {self._why()}") from None

    def _why(self) -> str:
        waits = [f"{builder} waits for {why or 'a moment'}" for builder, why in self.waiting()]
        runs = [
            f"{ran.builder} runs {ran.line!r} since {ran.at:%A %H:%M}"
            for ran in self._scripts.ran
            if ran.code is None
        ]
        return "; ".join([*waits, *runs]) or "nothing runs or waits"

    def _ended(self, requestid: int) -> Build:
        """The last build of a request, at its end."""

        async def complete() -> bool:
            return not self._count(f"buildrequests WHERE id = {requestid} AND complete = 0")

        self._run(self._until("buildrequests", complete, "the end of the build"))
        found = self._builds(schema.builds.c.buildrequestid == requestid)
        if not found:
            raise Overdue("the request ended without a build")
        return found[-1]

    def _builds(self, *where: sa.ColumnElement[bool]) -> list[Build]:
        return self._run(builds_where(self._store, self._blobs, *where))

    def _builderid(self, builder: str) -> int:
        ids = self._core.services.registry.builders
        if builder not in ids:
            raise LookupError(f"there is no builder {builder!r}: {suggest(builder, ids) or ', '.join(ids)}")
        return ids[builder]

    def _count(self, what: str) -> int:
        """The rows of a table, or those ``WHERE`` ..."""
        rows = self._database.connection.execute(f"SELECT count(*) FROM {what}")  # noqa: S608 - our own text
        return int(rows.fetchone()[0])

    def _last(self, table: str) -> int:
        rows = self._database.connection.execute(f"SELECT max(id) FROM {table}")  # noqa: S608 - our own text
        return int(rows.fetchone()[0] or 0)

    def _who(self, command_id: str) -> tuple[str, int, str]:
        """The builder, build number and step of a command."""
        found = self._database.connection.execute(
            "SELECT o.name, b.number, s.name FROM steps s JOIN builds b ON b.id = s.buildid"
            " JOIN builders o ON o.id = b.builderid WHERE s.id = ?",
            (int(command_id.split(".", maxsplit=1)[0]),),
        ).fetchone()
        return ("", 0, "") if found is None else found

    def _failed(self, _loop: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is not None:
            self._failures.append(error)


async def _as_coroutine(what: Awaitable[T]) -> T:
    return await what


def _is_git(ran: Ran) -> bool:
    return not isinstance(ran.command, str) and ran.command[:1] == ["git"] and ran.builder != ""
