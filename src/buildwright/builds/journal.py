"""The journal of a step: what it asked of the outside, and answering from that when the step is run again.

A step is a coroutine. Commands, triggered buildsets and work on the master (``once``) are noted before they
are sent. After a takeover the coroutine is run afresh; each request is looked up by its fingerprint, in the
order in which equal requests were made. A finished one is answered with its recorded outcome, an open one
is attached to. A request that isn't known while recorded ones are still unasked shows that the step takes
another way than before: :class:`Diverged`.

Values are stored as msgpack. A secret's value never is: its place is marked with its name, and filled in
again when the arguments are loaded (:func:`hide`, :func:`reveal`).
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from buildwright.store.unit import Bound
from buildwright.store.units.attach import Entry
from buildwright.store.units.engine import NOTE, SETTLE

COMMAND = "command"
TRIGGER = "trigger"
ONCE = "once"

_encoder = msgspec.msgpack.Encoder(order="deterministic")
_MARK = "\x00secret:%s\x00"


class Diverged(Exception):
    """The step doesn't ask what its journal says it asked: it can't be gone on with."""


class Unstorable(Exception):
    """A value can't be written to the journal."""


class Request(NamedTuple):
    """A request's place in the journal; ``recorded`` is what an earlier run of the step left there."""

    stepid: int
    tries: int
    seq: int
    kind: str
    fingerprint: str
    recorded: Entry | None

    @property
    def command_id(self) -> str:
        """The command's name at the worker, the same for whoever drives the build."""
        return f"{self.stepid}.{self.tries}.{self.seq}"


class Journal:
    """The requests of one try of a step."""

    def __init__(self, stepid: int, tries: int, entries: Sequence[Entry] = ()) -> None:
        self.stepid = stepid
        self.tries = tries
        self._recorded: dict[tuple[str, str], deque[Entry]] = {}
        self._unasked = 0
        self._next = 0
        for entry in entries:
            if entry.tries == tries:
                self._recorded.setdefault((entry.kind, entry.fingerprint), deque()).append(entry)
                self._unasked += 1
                self._next = max(self._next, entry.seq + 1)

    @property
    def used(self) -> bool:
        """Whether anything was asked for or recorded."""
        return self._next > 0

    @property
    def replaying(self) -> bool:
        """Whether something is recorded that the step has not asked for again yet."""
        return self._unasked > 0

    def knows(self, kind: str, fingerprint: str) -> bool:
        """Whether such a request is recorded and not asked for again yet."""
        return bool(self._recorded.get((kind, fingerprint)))

    def request(self, kind: str, fingerprint: str) -> Request:
        """The place of a request. Raises Diverged."""
        waiting = self._recorded.get((kind, fingerprint))
        if waiting:
            self._unasked -= 1
            entry = waiting.popleft()
            return Request(self.stepid, self.tries, entry.seq, kind, fingerprint, entry)
        if self._unasked:
            raise Diverged(f"the step asked for a {kind} that it didn't ask for before")
        seq = self._next
        self._next += 1
        return Request(self.stepid, self.tries, seq, kind, fingerprint, None)

    def left_over(self) -> list[Entry]:
        """What was recorded and not asked for again."""
        return [entry for waiting in self._recorded.values() for entry in waiting]


def noted(request: Request, logid: int | None, outcome: bytes | None = None) -> Bound:
    """The statement that writes a request's row; with its outcome if it is done by that."""
    return NOTE(
        stepid=request.stepid,
        of_try=request.tries,
        seq=request.seq,
        kind=request.kind,
        fingerprint=request.fingerprint,
        logid=logid,
        done=int(outcome is not None),
        outcome=outcome,
    )


def settled(request: Request, outcome: bytes) -> Bound:
    """The statement that writes the outcome of a request that has no records of its own."""
    return SETTLE(
        of_stepid=request.stepid,
        of_try=request.tries,
        of_seq=request.seq,
        next_record=0,
        whole=outcome,
    )


def fingerprint(*parts: Any) -> str:
    """A short name for a request's content."""
    return hashlib.blake2b(encode(parts), digest_size=12).hexdigest()


def encode(value: Any) -> bytes:
    """A value for the journal. Raises Unstorable."""
    try:
        return _encoder.encode(value)
    except (TypeError, ValueError, OverflowError, UnicodeEncodeError) as error:
        raise Unstorable(str(error)) from error


def decode(data: bytes) -> Any:
    return msgspec.msgpack.decode(data)


def hide(value: Any, secrets: Mapping[str, str]) -> Any:
    """A copy of a value with every secret in it replaced by a mark with its name."""
    return _replaced(value, [(secret, _MARK % name) for name, secret in secrets.items() if secret])


def reveal(value: Any, secrets: Mapping[str, str]) -> Any:
    """A copy of a stored value with the marks replaced by the secrets' values."""
    return _replaced(value, [(_MARK % name, secret) for name, secret in secrets.items()])


def marks(data: bytes) -> set[str]:
    """The names of the secrets that a stored value speaks of."""
    names = set()
    for piece in data.split(b"\x00secret:")[1:]:
        names.add(piece.split(b"\x00", 1)[0].decode("utf-8", "replace"))
    return names


def _replaced(value: Any, pairs: Sequence[tuple[str, str]]) -> Any:
    if not pairs:
        return value
    if isinstance(value, str):
        for old, new in pairs:
            value = value.replace(old, new)
        return value
    if isinstance(value, bytes):
        for old, new in pairs:
            value = value.replace(old.encode(), new.encode())
        return value
    if isinstance(value, list | tuple):
        return (
            type(value)([_replaced(item, pairs) for item in value]) if type(value) in (list, tuple) else value
        )
    if isinstance(value, dict):
        return {_replaced(key, pairs): _replaced(item, pairs) for key, item in value.items()}
    return value
