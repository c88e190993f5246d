"""What a build needs of its master."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from buildwright.bus.local import Bus
from buildwright.model.builders import BuilderConfig
from buildwright.model.clock import Clock
from buildwright.model.snapshot import Snapshot
from buildwright.store.base import Store
from buildwright.store.ids import IdBlocks
from buildwright.store.units.claims import Waiting


class Trigger(Protocol):
    """A scheduler that steps may trigger."""

    async def prepare(self, request: Mapping[str, Any], now_us: int) -> dict[str, Any]:
        """The arguments of ``add_buildset_work`` for a trigger; nothing is written yet."""
        ...


@dataclass(slots=True)
class Registry:
    """Ids of what the configuration names, as the store has them."""

    masterid: int = 0
    builders: dict[str, int] = field(default_factory=dict)
    workers: dict[str, int] = field(default_factory=dict)
    schedulers: dict[str, int] = field(default_factory=dict)
    change_sources: dict[str, int] = field(default_factory=dict)
    projects: dict[str, int] = field(default_factory=dict)
    locks: dict[tuple[str, int], int] = field(default_factory=dict)  # (name, workerid or 0) -> id


@dataclass(slots=True)
class BuildServices:
    """The parts of a master that builds lean on. ``snapshot`` and ``registry`` change with a reload."""

    store: Store
    bus: Bus
    clock: Clock
    ids: IdBlocks
    basedir: Path
    snapshot: Snapshot
    registry: Registry
    secret: Callable[[str], Awaitable[str | None]]
    trigger: Callable[[str], Trigger]  # raises LookupError with a message for people
    # Merges compatible requests before one of them is claimed: gives the id of the one that stays.
    collapse: Callable[[BuilderConfig, int, Waiting], Awaitable[int]]
    identity: str = ""  # of the basedir, for builds that use its files
    max_attempts: int = 5
