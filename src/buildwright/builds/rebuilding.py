"""Going on from where another build has failed: which of its steps count as done for this one.

The store says what nothing can have touched since (:mod:`buildwright.store.units.rebuilding`); here the
configuration has its say: the steps are as they were, and no other builder has the same directory.
"""

from __future__ import annotations

from collections.abc import Sequence

from buildwright.builds.build import Build
from buildwright.builds.services import BuildServices
from buildwright.model.builders import BuilderConfig
from buildwright.model.logger import get_logger
from buildwright.model.properties import Properties
from buildwright.model.results import SKIPPED
from buildwright.model.sources import REBUILD_FROM, REBUILD_SOURCE
from buildwright.store.errors import StoreError
from buildwright.store.units.attach import StepRow
from buildwright.store.units.rebuilding import Done, what_is_done

log = get_logger(__name__)


async def done_for(
    build: Build, services: BuildServices, builder: BuilderConfig, begun: Sequence[StepRow]
) -> Done | None:
    """What another build has done for this one, whose properties are set as they were then.

    ``begun`` are the steps that a former owner has begun: had it run one of those that are done, all run.
    """
    given, source = build.properties.asDict().get(REBUILD_FROM, (None, ""))
    if source != REBUILD_SOURCE or not isinstance(given, dict):
        return None
    found: Done | str
    try:
        found = await services.store.read(what_is_done(build.buildid, given["buildid"]))
    except StoreError as error:
        found = f"the store doesn't say what is done: {error}"
    if isinstance(found, Done):
        found = _still(found, services, builder)
    if isinstance(found, Done) and any(row.results != SKIPPED for row in begun[: len(found.fingerprints)]):
        found = "it has begun so"
    if isinstance(found, str):
        log.info("a build is built whole", buildid=build.buildid, why=found)
        return None
    for name, (value, source) in Properties.from_json(found.properties).items():
        if not build.properties.hasProperty(name):
            build.properties.setProperty(name, value, source, runtime=True)
    return found


def _still(done: Done, services: BuildServices, builder: BuilderConfig) -> Done | str:
    """The same, unless the configuration speaks against it."""
    for other in services.snapshot.builders.values():
        if other.name != builder.name and other.workerbuilddir == builder.workerbuilddir:
            return f"builder {other.name!r} has the same work directory"
    now = [spec.fingerprint() for spec in builder.factory.steps[: len(done.fingerprints)]]
    return done if now == list(done.fingerprints) else "the configuration of its steps has changed"
