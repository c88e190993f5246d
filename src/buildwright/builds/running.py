"""A command under way: from the worker's records to logs, updates and the outcome, with what is
acknowledged when.

Records come in order without gap or repeat. Output goes to the step's logs, the result wakes the step.
Whenever the build's writer makes a unit, this command adds how far its records are consumed by then; after
the commit exactly that is acknowledged to the worker. So the worker drops a record only when all that
follows from it is stored, and after a takeover it is resumed from the stored position. Little output waits a
moment for its unit, which it then mostly shares with the command's end; much of it doesn't, since the worker
sends only so much unacknowledged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from buildwright.builds.commands import RemoteCommand
from buildwright.builds.journal import Request, encode
from buildwright.builds.links import WorkerLink
from buildwright.builds.writer import BuildWriter, Nowhere
from buildwright.store.units.engine import ACKNOWLEDGE, KEEP_PARTIAL, SETTLE
from buildwright_worker.protocol import Record, Result

MUCH = 16 * 1024  # bytes of records


class RunningCommand:
    """The sink of one command's records."""

    def __init__(
        self,
        command: RemoteCommand,
        request: Request,
        writer: BuildWriter | Nowhere,
        link: WorkerLink,
        next_record: int = 0,
    ) -> None:
        self.command = command
        self.request = request
        self.id = request.command_id
        self._writer = writer
        self._link = link
        self._next = next_record
        self._written = next_record  # what a unit that is made or committed says
        self._waiting = 0  # bytes of records that no unit has been made for
        self._result = False
        self._settled = False
        self.error: Exception | None = None  # of the step's side of a transfer
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # -- CommandSink --------------------------------------------------------------------------------------

    def records(self, first: int, records: Sequence[Record]) -> None:
        command = self.command
        for record in records:
            kind = record.kind
            if kind in "oeh":
                log = command.log_of("stdio")
                data = record.data
                if log is not None:
                    data = log.put(kind, record.time_us, self.id, data)
                command.collect(kind, data)
                self._waiting += len(record.data)
            elif kind == "l":
                self._waiting += len(record.data)
                log = command.log_of(record.name)
                if log is not None:
                    log.put("o", record.time_us, self.id, record.data)
            elif kind == "b":
                self._waiting += len(record.data)
                if command.blocks is not None and self.error is None:
                    try:
                        command.blocks.write(record.data)
                    except Exception as error:
                        self._break(error)
            elif kind == "u":
                command.update(record.name, record.data)
            else:
                command.end(Result.from_map(record.data))
                self._result = True
        self._next = first + len(records)
        self._writer.mark(self)
        if self._result:
            # No unit of its own: what the step does next shares it.
            if not self.done.done():
                self.done.set_result(None)
        elif self._waiting >= MUCH:
            self._writer.soon()
        else:
            self._writer.shortly()

    def pull(self, offset: int, length: int) -> None:
        blocks = self.command.blocks
        if blocks is None or self.error is not None:
            return  # it is being interrupted
        try:
            data = blocks.read(offset, length)
        except Exception as error:
            self._break(error)
        else:
            self._link.answer(self.id, offset, data, eof=len(data) < length)

    def _break(self, error: Exception) -> None:
        """The step's side of the transfer has failed: the command is of no use any more."""
        self.error = error
        self._link.interrupt(self.id, "the master's side of the transfer failed")

    # -- the engine's side --------------------------------------------------------------------------------

    def step_finished(self) -> None:
        """The step's end is in the next unit and forgets its journal: no outcome needs to be kept."""
        self._settled = True
        self._writer.mark(self)

    def gather(self, writer: BuildWriter) -> None:
        if self._written == self._next:
            return
        upto, self._written = self._next, self._next
        self._waiting = 0
        where: dict[str, Any] = {
            "of_stepid": self.request.stepid,
            "of_try": self.request.tries,
            "of_seq": self.request.seq,
        }
        if self._settled:
            pass
        elif self._result:
            writer.add(SETTLE(**where, next_record=upto, whole=encode(self.command.outcome())))
        elif self.command.collects or self.command.updates:
            writer.add(KEEP_PARTIAL(**where, next_record=upto, partial=encode(self.command.outcome())))
        else:
            writer.add(ACKNOWLEDGE(**where, next_record=upto))
        last = self._result
        writer.after_commit(lambda: self._link.acknowledge(self.id, upto, last=last))
