"""All logs of one step, and who watches them: also logs that are yet to come, and those of an earlier run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from buildwright.builds.encodings import Encoding, transcoder
from buildwright.builds.loglimit import Limit
from buildwright.builds.observers import HEADER, STDOUT, LogObserver
from buildwright.builds.services import BuildServices
from buildwright.builds.step import BuildStep
from buildwright.builds.steplogs import StepLog, slug_of
from buildwright.builds.stored import own_bytes
from buildwright.builds.writer import BuildWriter, Nowhere
from buildwright.model.text import storable
from buildwright.store.units.attach import LogRow
from buildwright.store.units.logs import LogState, add_log_work


class LogSet:
    """The logs of a step. ``error`` is the first failure of one of its observers.

    ``encoding`` gives what the step says of its commands' output, None if it says nothing.
    """

    def __init__(
        self,
        stepid: int,
        services: BuildServices,
        writer: BuildWriter | Nowhere,
        mask: Callable[[bytes], bytes],
        encoding: Callable[[], Encoding | None],
        tries: int,
        stored: Sequence[LogRow],
    ) -> None:
        self.logs: dict[str, StepLog] = {}
        self.error: Exception | None = None
        self._stepid = stepid
        self._services = services
        self._writer = writer
        self._mask = mask
        self._encoding = encoding
        self._origin = _origin(tries)  # of what the step's own code writes in this try
        self._stored = {found.name: found for found in stored}
        self._own_bytes: dict[int, dict[str, int]] = {}
        self._observers: dict[str, list[LogObserver]] = {}

    async def load_own_bytes(self) -> None:
        """Learn how much the step's own code has written before a takeover: that much is skipped."""
        self._own_bytes = await self._services.store.read(own_bytes(self._stepid, self._origin))

    def shown_name(self, name: str) -> str:
        """A log's name as it is stored: without secrets in it."""
        return self._mask(storable(name).encode()).decode("utf-8", "replace")

    def log(self, name: str, kind: str = "s", encoding: Encoding | None = None) -> StepLog:
        """The log of that name; added if there is none. ``encoding`` is that of commands that write to it."""
        name = self.shown_name(name)
        found = self.logs.get(name)
        if found is not None:
            return found
        stored = self._stored.get(name)
        state: LogState | None = None
        own: dict[str, int] = {}
        if stored is not None:
            logid, slug, kind = stored.logid, stored.slug, stored.type
            opened = json.loads(stored.open_lines)
            state = LogState(stored.next_chunk, stored.num_lines, stored.length, opened)
            own = self._own_bytes.get(logid, {})
        else:
            logid = self._services.ids.next("logs")
            slug = slug_of(
                name, {log.slug for log in self.logs.values()} | {row.slug for row in self._stored.values()}
            )
            self._writer.call(add_log_work, logid, self._stepid, name, slug, kind)
        found = self.logs[name] = StepLog(
            logid,
            name,
            slug,
            kind,
            self._writer,
            self._origin,
            self._services.clock.now_us,
            self._mask,
            state,
            own,
            self._observer_failed,
            transcoder(encoding or self._encoding() or self._services.snapshot.log_encoding),
            self._limit(kind, state),
            self._services.snapshot.log_compression_limit,
        )
        for observer in self._observers.get(name, ()):
            observer.setLog(found)
            found.subscribe(observer)
        return found

    def _limit(self, kind: str, state: LogState | None) -> Limit | None:
        snapshot = self._services.snapshot
        if snapshot.log_max_size is None:
            return None
        length, half_lines = (0, set[str]()) if state is None else (state.length, {*state.open_lines})
        says = HEADER if kind == "s" else STDOUT
        return Limit(snapshot.log_max_size, snapshot.log_max_tail_size or 0, length, half_lines, says)

    def by_id(self, logid: int | None) -> StepLog | None:
        """A stored log by its id."""
        name = next((stored.name for stored in self._stored.values() if stored.logid == logid), None)
        return None if name is None else self.log(name)

    def observe(self, step: BuildStep, name: str, observer: LogObserver) -> None:
        """Have an observer watch a log, also one that is yet to come."""
        name = self.shown_name(name)
        observer.setStep(step)
        self._observers.setdefault(name, []).append(observer)
        found = self.logs.get(name)
        if found is not None:
            observer.setLog(found)
            found.subscribe(observer)

    def note_all(self, text: str) -> None:
        """A header line of the engine's own in every log, also in those of an earlier run."""
        for name in self._stored:
            self.log(name)
        for each in self.logs.values():
            each.note(text)

    def begin_try(self, tries: int) -> None:
        """The step starts again from its beginning: nobody watches yet, nothing of it is stored yet."""
        self._origin = _origin(tries)
        self._observers = {}
        for each in self.logs.values():
            each.begin_try(self._origin)

    def tell_finished(self) -> None:
        """Tell the observers that nothing more comes; what they raise is in ``error`` then."""
        for each in list(self.logs.values()):
            each.tell_finished()

    def close(self) -> None:
        """Complete all logs with the next unit."""
        for each in self.logs.values():
            each.close()

    def _observer_failed(self, error: Exception) -> None:
        self.error = self.error or error


def _origin(tries: int) -> str:
    """The origin of what the step's own code writes in a try."""
    return f"@{tries}"
