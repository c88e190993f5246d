"""What a build has to write, gathered up to a boundary and committed in one unit behind the fence.

The engine adds operations as things happen; they are committed when something must reach the outside (a
command is sent, a build is finished), when records have to be acknowledged, or shortly after the last
addition so that people see what goes on. So a step's end, the next step's start, its rendered arguments and
its first command share a commit; so does the last output of a command that ends at once after it.

Streams of data (logs, records to acknowledge, properties) are not added as they come: their owner is
marked, and asked for its operations when the next unit is made. So however slow the store is, what came
meanwhile is one append.

Writes of one build are strictly in order, one unit at a time; what is added meanwhile goes into the next. A
unit that fails for want of a database is run again until it passes: operations are never dropped while the
build is ours. One that the database refuses for good is a defect: the writer is closed, and the runner is
told to end the build without it. When the fence refuses, the build has another owner: the writer is closed
and every later flush raises Fenced. If the worker attached to this same master again meanwhile, the unit is
run again under the new number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import structlog

from buildwright.builds.links import WorkerLink
from buildwright.store.base import Store
from buildwright.store.errors import StoreStopped
from buildwright.store.unit import Fenced, Work
from buildwright.store.units.engine import Operation, Part, write

SHOW_AFTER = 0.05  # seconds after which added operations are committed even without a boundary
FOLLOW_AFTER = 0.004  # seconds within which a command that has printed its last mostly ends

log = structlog.get_logger(__name__)


class Source(Protocol):
    """Somebody who has something to write whenever the next unit is made."""

    def gather(self, writer: BuildWriter) -> None:
        """Add the operations for all that came up to now."""
        ...


class BuildWriter:
    """The one writer of a build."""

    def __init__(
        self,
        store: Store,
        buildid: int,
        version: int,
        link: WorkerLink,
        broken: Callable[[], None] = lambda: None,
    ) -> None:
        self.buildid = buildid
        self._broken = broken  # told when something can't be written, ever: a defect
        self._store = store
        self._version = version  # in the store, moved on by each committed unit; nobody else writes it
        self._link = link
        self._operations: list[Operation] = []
        self._said: dict[str, str] = {}  # state and properties of the build for the next unit
        self._marked: dict[Source, None] = {}  # in the order of their marking
        self._callbacks: list[Callable[[], None]] = []  # for when the operations added so far are committed
        self._asked = 0  # counts additions, markings and callbacks
        self._served = 0  # up to which of them everything is committed
        self._busy: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._failure: BaseException | None = None

    @property
    def closed(self) -> bool:
        return self._failure is not None

    @property
    def fenced(self) -> bool:
        """Whether it was closed because the build isn't ours any more, not by a defect."""
        return isinstance(self._failure, Fenced)

    def add(self, *operations: Operation) -> None:
        """Add operations to the next unit."""
        self._operations.extend(operations)
        self._ask()

    def say(self, **columns: str) -> None:
        """Set ``state`` or ``properties`` of the build itself with the next unit."""
        self._said.update(columns)
        self._ask()

    def call(
        self, function: Callable[..., Work[Any]], *args: Any, told: Callable[[Any], None] | None = None
    ) -> None:
        """Add a part of a unit: a generator function with its arguments; ``told`` gets its result after the
        commit.
        """
        self.add(Part(function, args, told))

    def mark(self, source: Source) -> None:
        """Ask ``source`` for its operations when the next unit is made."""
        self._marked[source] = None
        self._ask()

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call back when all that was added up to now is committed."""
        self._callbacks.append(callback)
        self._ask()

    def soon(self) -> None:
        """Begin to commit now, without waiting for it."""
        if self._busy is None and self._failure is None and self._served < self._asked:
            self._busy = asyncio.get_running_loop().create_task(
                self._write(), name=f"write build {self.buildid}"
            )

    def shortly(self) -> None:
        """Begin to commit within FOLLOW_AFTER: what comes until then shares the unit."""
        loop = asyncio.get_running_loop()
        due = loop.time() + FOLLOW_AFTER
        if self._failure is None and (self._timer is None or self._timer.when() > due):
            self._cancel_timer()
            self._timer = loop.call_at(due, self._show)

    async def flush(self) -> None:
        """Commit all that was added up to now. Raises Fenced when the build has another owner."""
        goal = self._asked
        while self._served < goal and self._failure is None:
            self.soon()
            if self._busy is not None:  # a caller that is cancelled must not take the write with it
                await asyncio.shield(self._busy)
        if self._failure is not None:
            raise self._failure

    def close(self, failure: BaseException | None = None) -> None:
        """Refuse everything from now on: the build is finished, dropped or has another owner."""
        if self._failure is None:
            self._failure = failure or Fenced(f"build {self.buildid} is closed")
        self._operations = []
        self._said = {}
        self._marked = {}
        self._callbacks = []
        self._cancel_timer()

    def _ask(self) -> None:
        self._asked += 1
        if self._timer is None and self._failure is None:
            self._timer = asyncio.get_running_loop().call_later(SHOW_AFTER, self._show)

    def _show(self) -> None:
        self._timer = None
        self.soon()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _write(self) -> None:
        try:
            while self._marked:
                marked, self._marked = self._marked, {}
                for source in marked:
                    source.gather(self)
            operations, self._operations = self._operations, []
            said, self._said = self._said, {}
            callbacks, self._callbacks = self._callbacks, []
            goal = self._asked
            self._cancel_timer()
            results = await self._commit(operations, said) if operations or said else []
            if self._failure is not None:
                return
            self._served = goal
            parts = [operation for operation in operations if isinstance(operation, Part)]
            for part, result in zip(parts, results, strict=False):
                if part.told is not None:
                    part.told(result)
            for callback in callbacks:
                callback()
        except StoreStopped:  # this process ends; whoever attaches the worker goes on from what is stored
            self.close()
        except Exception as error:
            log.exception("a build's writer failed", buildid=self.buildid)
            if self._failure is None:
                self.close(error)
                self._broken()
        finally:
            self._busy = None
        if self._timer is None:
            self.soon()  # for what was added meanwhile, and whose time has come while it could only wait

    async def _commit(self, operations: list[Operation], said: dict[str, str]) -> list[Any]:
        while True:
            fence = self._link.fence
            try:
                unit = write(self.buildid, self._version, fence, operations, **said)
                results = await self._store.insist(unit)
            except Fenced as refusal:
                if self._link.fence != fence and self._failure is None:
                    continue  # the worker attached to this master again while the unit ran
                log.info("a build has another owner", buildid=self.buildid)
                self.close(refusal)
                return []
            self._version += 1
            return results


class Nowhere:
    """A writer that writes nothing, for a finished step that is only run again to see what it did."""

    def add(self, *operations: Operation) -> None:
        pass

    def call(
        self, function: Callable[..., Work[Any]], *args: Any, told: Callable[[Any], None] | None = None
    ) -> None:
        pass

    def mark(self, source: Source) -> None:
        pass

    def after_commit(self, callback: Callable[[], None]) -> None:
        pass

    def soon(self) -> None:
        pass

    def shortly(self) -> None:
        pass

    async def flush(self) -> None:
        pass
