"""What a `WorkerSession` tells its shell to do."""

from __future__ import annotations

from typing import Any, NamedTuple, Union

from .messages import Secret


class Welcomed(NamedTuple):
    """The master has taken this worker on."""

    attachment: int
    master: str


class StartWanted(NamedTuple):
    """Start this command: it was never heard of before."""

    id: str
    kind: str
    args: dict[str, Any]
    secrets: list[Secret]


class InterruptWanted(NamedTuple):
    """Kill this running command; its result follows as usual."""

    id: str
    why: str


class Forgotten(NamedTuple):
    """The command, or its loss, is settled: drop its ledger entry, and kill it if it runs."""

    id: str


class Unresumable(NamedTuple):
    """The command cannot go on for this master: kill it, then call `lost`."""

    id: str
    why: str


class DataArrived(NamedTuple):
    """The answer to the command's pull."""

    id: str
    offset: int
    data: bytes
    eof: bool


class Detached(NamedTuple):
    """The master has no authority: close the connection and try another one."""

    why: str


class ShutdownWanted(NamedTuple):
    """End the process when no command is held any more."""


class DeadmanPassed(NamedTuple):
    """Without a master for too long: kill what runs."""


Event = Union[
    Welcomed,
    StartWanted,
    InterruptWanted,
    Forgotten,
    Unresumable,
    DataArrived,
    Detached,
    ShutdownWanted,
    DeadmanPassed,
]
