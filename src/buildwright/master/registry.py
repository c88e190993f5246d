"""Bringing a configuration's names into the store, and their ids back."""

from __future__ import annotations

from buildwright.builds.services import Registry
from buildwright.model.snapshot import Snapshot
from buildwright.model.text import encode_json, storable
from buildwright.store.base import Store
from buildwright.store.units.locks import declare
from buildwright.store.units.registry import BuilderRow, CodebaseRow, ProjectRow, register


async def registered(store: Store, snapshot: Snapshot, masterid: int, generation: int) -> Registry:
    """The ids of all that a configuration names. ``generation`` grows with each load: lock limits of the
    newest win.
    """
    builders = [
        BuilderRow(
            builder.name,
            builder.description,
            builder.description_format,
            encode_json(builder.tags),
            builder.project,
            tuple(builder.workernames),
        )
        for builder in snapshot.builders.values()
    ]
    projects = [
        ProjectRow(
            each.name,
            each.slug,
            None if each.description is None else storable(each.description),
            each.description_format,
        )
        for each in snapshot.projects.values()
    ]
    codebases = [CodebaseRow(each.project, each.name, each.slug) for each in snapshot.codebases.values()]
    ids = await store.run(register(masterid, builders, list(snapshot.workers), projects, codebases))
    limits = []
    for lock in snapshot.locks.values():
        if lock.kind == "worker":
            limits += [(lock.name, workerid, lock.limit_for(name)) for name, workerid in ids.workers.items()]
        else:
            limits.append((lock.name, 0, lock.maxCount))
    locks = await store.run(declare(limits, generation)) if limits else {}
    return Registry(
        masterid=masterid, builders=ids.builders, workers=ids.workers, projects=ids.projects, locks=locks
    )
