"""What the engine needs of a worker: a link that outlives connections.

A link belongs to a worker that is attached to this master. Commands are opened on it and stay open until
their result is acknowledged; whether the worker is connected at the moment, and whether a frame has to be
sent again after a reconnection, is the link's business. Records reach the sink in order, without gap or
repeat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from buildwright.model.workers import WorkerConfig
from buildwright.store.units.engine import Fence
from buildwright_worker.protocol import Record


@dataclass(slots=True)
class Order:
    """A command as it is sent to a worker."""

    id: str
    kind: str
    args: dict[str, Any]
    secrets: Sequence[tuple[str, str]] = field(default_factory=list)


class CommandSink(Protocol):
    """Where a command's records go."""

    def records(self, first: int, records: Sequence[Record]) -> None:
        """Take records ``first``, ``first + 1``, ... The last one of a command has the kind "r"."""
        ...

    def pull(self, offset: int, length: int) -> None:
        """The worker wants bytes of a download; answered with :meth:`WorkerLink.answer`."""
        ...


class WorkerLink(Protocol):
    """A worker that is attached to this master."""

    workerid: int
    name: str

    @property
    def config(self) -> WorkerConfig:
        """The worker as the running configuration has it."""
        ...

    @property
    def accepting(self) -> bool:
        """Whether new builds may go to it: connected, not paused, not leaving, with room on its disk."""
        ...

    @property
    def why_not(self) -> str:
        """Why it takes no builds, for people; empty if it does."""
        ...

    @property
    def fence(self) -> Fence:
        """The ownership that writes of the worker's builds are made under; changes when the worker attaches
        again.
        """
        ...

    @property
    def info(self) -> Mapping[str, Any]:
        """What the worker said of itself."""
        ...

    def open(self, order: Order, sink: CommandSink) -> None:
        """Have a command started; it is journalled. An id that the worker knows starts nothing new."""
        ...

    def interrupt(self, command_id: str, why: str) -> None:
        """Have a command killed; its result comes as usual."""
        ...

    def discard(self, command_id: str, why: str) -> asyncio.Future[None]:
        """Have a command killed and drop what it still says; done when nothing of it runs any more."""
        ...

    def acknowledge(self, command_id: str, next_record: int, *, last: bool) -> None:
        """Records below ``next_record`` are committed; ``last`` if the result is among them."""
        ...

    def answer(self, command_id: str, offset: int, data: bytes, *, eof: bool) -> None:
        """Bytes for a pull."""
        ...
