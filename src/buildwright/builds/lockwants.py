"""Lock accesses of a configuration as the store knows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from buildwright.builds.assignment import Assignment
from buildwright.builds.noticing import LocksRefused
from buildwright.builds.services import BuildServices
from buildwright.model.locks import LockAccess
from buildwright.model.properties import Properties
from buildwright.model.renderable import render
from buildwright.store.units.locks import Want


def wanted_locks(services: BuildServices, accesses: Sequence[LockAccess], workerid: int) -> list[Want]:
    """Lock accesses as the store knows them, each lock once: an exclusive access covers a counting one."""
    wants: dict[int, Want] = {}
    for access in accesses:
        scope = workerid if access.lock.kind == "worker" else 0
        lockid = services.registry.locks[(access.lock.name, scope)]
        before = wants.get(lockid)
        if before is None or before.mode != "exclusive":
            wants[lockid] = Want(lockid, access.lock.name, access.mode, access.count)
    return [wants[lockid] for lockid in sorted(wants)]


async def step_locks(
    services: BuildServices, assignment: Assignment, properties: Properties, workerid: int, accesses: Any
) -> list[Want]:
    """A step's lock accesses as the store knows them. Raises LocksRefused."""
    held = await render(assignment.builder.locks, properties)
    try:
        wants = wanted_locks(services, accesses, workerid)
        of_build = wanted_locks(services, [*(held or ()), *assignment.worker.locks], workerid)
    except (KeyError, AttributeError, TypeError) as error:
        raise LocksRefused(f"{accesses!r} are no lock accesses that the configuration knows") from error
    lockids = {want.lockid for want in of_build}
    for want in wants:
        if want.lockid in lockids:
            raise LocksRefused(
                f"lock {want.name!r} is held by the build itself: its step would wait for ever"
            )
    return wants
