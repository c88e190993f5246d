"""What a build needs of its master."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from buildwright.builds.progress import Totals
from buildwright.bus.local import Bus
from buildwright.model.clock import Clock
from buildwright.model.properties import Properties
from buildwright.model.snapshot import Snapshot
from buildwright.store.base import Store
from buildwright.store.ids import IdBlocks


class PlanTrigger(Protocol):
    """Plans what a scheduler that steps may trigger would start."""

    async def __call__(
        self, scheduler: str, stamps: Sequence[Mapping[str, Any]], properties: Properties
    ) -> Mapping[str, Any]:
        """The arguments of ``add_buildset_work``, but for time, parent and waiting; nothing is written.

        Raises LookupError, with a message for people, if there is no such Triggerable.
        """
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
    plan_trigger: PlanTrigger
    identity: str = ""  # of the basedir, for builds that use its files
    max_attempts: int = 5
    totals: Totals = field(default_factory=dict)  # what steps had done at their last good ends
