"""The logs of a step while it runs.

A log gets bytes from two sides: from commands (their records), and from the step's own code (``addStdout``
and so on). Both end in pieces that the writer asks for when it makes its next unit, so what came meanwhile
is one append. Each piece carries its origin. When a step is run again after a takeover, its own code writes
again what it wrote before: of that, as many bytes per stream as are stored are skipped; the records of
commands are not sent again at all.

Secrets in what the step's own code writes are masked here; in the output of commands the worker has done it.
Other encodings than UTF-8, and limits of a log's length: :mod:`encodings`, :mod:`loglimit`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from buildwright.builds.done import DONE, Done
from buildwright.builds.encodings import Transcoder
from buildwright.builds.loglimit import Limit
from buildwright.builds.observers import HEADER, STDERR, STDOUT, LogObserver
from buildwright.builds.writer import BuildWriter, Nowhere
from buildwright.logs.append import Piece, finish, split
from buildwright.store.units.logs import LogState, append_work, finish_work
from buildwright_worker.protocol import Masker

_SLUG_BAD = re.compile(r"[^A-Za-z0-9_-]")
SLUG_MOST = 50


def slug_of(name: str, taken: set[str]) -> str:
    """A log's name as it stands in URLs, unlike all that are taken in the step."""
    base = _SLUG_BAD.sub("_", name)[:SLUG_MOST] or "log"
    if not (base[0].isalpha() or base[0] in "_-"):
        base = ("_" + base)[:SLUG_MOST]
    slug, count = base, 1
    while slug in taken:
        count += 1
        suffix = f"_{count}"
        slug = base[: SLUG_MOST - len(suffix)] + suffix
    return slug


class MasterOutput:
    """What work on the master (``once``) writes to a log: not written again when the step is run again."""

    def __init__(self, log: StepLog, masker: Masker) -> None:
        self.log = log
        self._masker = masker
        self._origin = ""

    def begin(self, origin: str) -> None:
        self._origin = origin

    def write(self, stream: str, data: bytes) -> None:
        """Take bytes as they come."""
        self._put(stream, self._masker.feed(stream, data))

    def end(self, stream: str) -> None:
        """The stream has ended: what might have become a secret was none."""
        self._put(stream, self._masker.flush(stream))

    def _put(self, stream: str, data: bytes) -> None:
        if data:
            self.log.put(stream, self.log.now_us(), self._origin, data)


class StepLog:
    """One log of a running step."""

    def __init__(
        self,
        logid: int,
        name: str,
        slug: str,
        kind: str,
        writer: BuildWriter | Nowhere,
        origin: str,
        now_us: Callable[[], int],
        mask: Callable[[bytes], bytes],
        state: LogState | None = None,
        stored: dict[str, int] | None = None,
        on_failure: Callable[[Exception], None] | None = None,
        transcoder: Transcoder | None = None,
        limit: Limit | None = None,
        keep_up_to: int | None = None,
    ) -> None:
        self.logid = logid
        self.name = name
        self.slug = slug
        self.type = kind
        self._writer = writer
        self._origin = origin  # of what the step's own code writes in this try
        self.now_us = now_us
        self._mask = mask
        self._state = state or LogState()
        self._skip = stored or {}  # bytes per stream that the step's own code wrote before the takeover
        self._pieces: list[Piece] = []
        self._observers: list[LogObserver] = []
        self._on_failure = on_failure  # told what an observer raised
        self._transcoder = transcoder
        self._limit = limit
        self._keep_up_to = keep_up_to  # bytes that stay in the database; None: as usual
        self._finishing = False
        self._closed = False

    # -- what a step does with it -------------------------------------------------------------------------

    def getName(self) -> str:
        return self.name

    def addStdout(self, text: str | bytes) -> Done:
        self._own(STDOUT, text)
        return DONE

    def addStderr(self, text: str | bytes) -> Done:
        self._own(STDERR if self.type == "s" else STDOUT, text)
        return DONE

    def addHeader(self, text: str | bytes) -> Done:
        self._own(HEADER if self.type == "s" else STDOUT, text)
        return DONE

    def addContent(self, text: str | bytes) -> Done:
        self._own(STDOUT, text)
        return DONE

    def subscribe(self, observer: LogObserver) -> None:
        self._observers.append(observer)

    def finish(self) -> Done:
        """Nothing more comes from the step's code; the log is closed with its step."""
        self._closed = True
        return DONE

    def isFinished(self) -> bool:
        return self._closed

    # -- what the engine does with it ---------------------------------------------------------------------

    @property
    def observed(self) -> bool:
        return bool(self._observers)

    @property
    def cut(self) -> bool:
        """Whether some of what came was left out."""
        return self._limit is not None and self._limit.cut

    def put(self, stream: str, time_us: int, origin: str, data: bytes) -> bytes:
        """Take what a command's record brought; gives it as UTF-8."""
        if self._transcoder is not None:
            data = self._transcoder.feed(stream, data)
        self._take(stream, time_us, origin, data)
        return data

    def _take(self, stream: str, time_us: int, origin: str, data: bytes) -> None:
        self._keep(Piece(stream, time_us, origin, data))
        self.show(stream, data)

    def _keep(self, piece: Piece) -> None:
        if self._limit is None:
            self._pieces.append(piece)
        else:
            self._pieces.extend(self._limit.take(piece))
        self._writer.mark(self)

    def show(self, stream: str, data: bytes) -> None:
        """Feed observers, also with what is stored already. One that fails is fed no more."""
        for observer in list(self._observers):
            try:
                observer.feed(stream, data)
            except Exception as error:
                self._fail(observer, error)

    def note(self, text: str) -> None:
        """A header line of the engine's own, in whatever try."""
        self._keep(Piece(HEADER if self.type == "s" else STDOUT, self.now_us(), "", text.encode()))

    def begin_try(self, origin: str) -> None:
        """The step starts again from its beginning: nothing of what it writes now is stored yet."""
        self._origin = origin
        self._skip = {}
        self._observers = []
        self._closed = False
        if self._transcoder is not None:
            list(self._transcoder.flush())

    def close(self) -> None:
        """The step is over: complete the log with the next unit."""
        self.tell_finished()
        if self._limit is not None:
            self._pieces.extend(self._limit.end())
        self._finishing = True
        self._writer.mark(self)

    def tell_finished(self) -> None:
        """Tell the observers that nothing more comes."""
        if self._transcoder is not None:
            for stream, data in self._transcoder.flush():
                self._take(stream, self.now_us(), "", data)
        observers, self._observers = self._observers, []
        for observer in observers:
            try:
                observer.finished()
            except Exception as error:
                self._fail(observer, error)

    def _fail(self, observer: LogObserver, error: Exception) -> None:
        if observer in self._observers:
            self._observers.remove(observer)
        if self._on_failure is not None:
            self._on_failure(error)

    def gather(self, writer: BuildWriter) -> None:
        """Add the append, and the end, to the unit that is being made."""
        pieces, self._pieces = self._pieces, []
        expected = self._state.next_chunk
        chunks, self._state = split(self._state, pieces)
        if self._finishing:
            last, self._state = finish(self._state, self.now_us())
            writer.call(finish_work, self.logid, expected, chunks + last, self._state, self._keep_up_to)
        elif chunks:
            writer.call(append_work, self.logid, expected, chunks, self._state)

    def _own(self, stream: str, text: str | bytes) -> None:
        data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else bytes(text)
        data = self._mask(data)
        stored = self._skip.get(stream, 0)
        if stored:
            taken = min(stored, len(data))
            self._skip[stream] = stored - taken
            self.show(stream, data[:taken])
            data = data[taken:]
        if data:
            self._take(stream, self.now_us(), self._origin, data)
