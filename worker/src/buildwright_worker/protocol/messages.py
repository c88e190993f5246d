"""The messages between a master and a worker: a NamedTuple each.

Their bytes are in `codec`; what either side may do with them is in `worker_side` and `master_side`.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Union

from . import checks

VERSION = 1
MAX_FRAME = 1 << 20
MAX_RECORD_DATA = 1 << 16
RECORDS_PER_FRAME = 1 << 18  # bytes of records after which a frame is full

OUTPUT_KINDS = frozenset("oehlb")  # kinds whose data is bytes


class Record(NamedTuple):
    """One entry of a command's numbered sequence.

    kind: "o" stdout, "e" stderr, "h" header, "l" followed log file (`name` is the log), "b" block of an
    upload, "u" update (`name` is its key, `data` a plain value; values of one key that are lists continue
    each other), "r" result (`data` as in `Result.to_map`), always the last.
    """

    kind: str
    time_us: int
    data: Any
    name: str = ""


class Result(NamedTuple):
    """How a command ended.

    rc: exit code, -1 if a signal ended it or it never ran to an end
    failure: None, or why the worker ended it: "timeout_without_output", "timeout", "max_lines_failure",
        "interrupted", "deadman", "lost", "spawn"
    signal: the number of the signal that ended the process, else None
    error: one line for people about a failure of the worker's own doing, else None
    """

    rc: int
    failure: str | None = None
    elapsed_us: int = 0
    signal: int | None = None
    error: str | None = None

    def to_map(self) -> dict[str, Any]:
        return self._asdict()

    @classmethod
    def from_map(cls, data: dict[str, Any]) -> Result:
        return cls(
            checks.integer(data.get("rc")),
            checks.optional_text(data.get("failure")),
            checks.count(data.get("elapsed_us")),
            None if data.get("signal") is None else checks.integer(data["signal"]),
            checks.optional_text(data.get("error")),
        )


class HeldCommand(NamedTuple):
    """A command that the worker holds: `next_record` records were produced, `state` is "running" or
    "done"."""

    id: str
    attachment: int
    next_record: int
    state: str


class LostCommand(NamedTuple):
    """A command of a worker process that died; all of its processes are known dead."""

    id: str
    why: str


class CommandAnswer(NamedTuple):
    """The master's word on a held command: "resume" from record `next`, "kill" it and send from `next`,
    "forget"."""

    id: str
    action: str
    next: int


class Secret(NamedTuple):
    """A value to mask in all output of a command, and the name to show in its place."""

    name: str
    value: str


# Worker to master


class Hello(NamedTuple):
    version: int
    boot: str  # random, one per worker process
    ledger: str  # random, one per ledger directory
    info: dict[str, Any]
    capabilities: list[str]
    commands: list[HeldCommand]
    lost: list[LostCommand]


class Records(NamedTuple):
    id: str
    first: int
    records: list[Record]


class Pull(NamedTuple):
    id: str
    offset: int
    length: int


class Refused(NamedTuple):
    id: str
    attachment: int


class Goodbye(NamedTuple):
    graceful: bool
    why: str


class Room(NamedTuple):
    ok: bool
    why: str


# Both ways


class Ping(NamedTuple):
    token: int


class Pong(NamedTuple):
    token: int


# Master to worker


class Welcome(NamedTuple):
    attachment: int
    master: str
    deadman_s: float
    window: int
    commands: list[CommandAnswer]
    ping_idle_s: float
    ping_busy_s: float


class Start(NamedTuple):
    attachment: int
    id: str
    kind: str
    args: dict[str, Any]
    secrets: list[Secret]


class Interrupt(NamedTuple):
    attachment: int
    id: str
    why: str


class Ack(NamedTuple):
    attachment: int
    id: str
    next: int


class Window(NamedTuple):
    bytes: int


class Data(NamedTuple):
    attachment: int
    id: str
    offset: int
    data: bytes
    eof: bool


class Detach(NamedTuple):
    why: str


class Shutdown(NamedTuple):
    pass


Message = Union[
    Hello, Records, Pull, Refused, Goodbye, Room, Ping, Pong,
    Welcome, Start, Interrupt, Ack, Window, Data, Detach, Shutdown,
]  # fmt: skip
