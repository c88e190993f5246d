"""Which properties a build starts with. Later ones override earlier ones:

1. the configuration's ``properties``
2. those of the build's changes
3. those of the build request: from a scheduler, a force or a trigger
4. ``buildername``, ``builderid``, ``projectname``, ``projectid``
5. the builder's ``properties``; its ``defaultProperties`` where nothing is set so far
6. the worker's ``properties`` with ``workername``; its ``defaultProperties`` where nothing is set so far
7. ``buildnumber``, and of a build with exactly one source stamp its ``branch``, ``revision``, ``repository``,
   ``codebase`` and ``project``; ``owners``
8. ``basedir`` and ``builddir`` on the worker
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from buildwright.model.builders import BuilderConfig
from buildwright.model.properties import Properties
from buildwright.model.sources import SourceStamp
from buildwright.model.workers import WorkerConfig


def build_properties(
    *,
    general: Properties,
    changes: Iterable[Properties],
    request: Mapping[str, tuple[Any, str]] | Properties,
    builder: BuilderConfig,
    builderid: int,
    projectid: int | None = None,
    worker: WorkerConfig,
    number: int,
    stamps: Sequence[SourceStamp],
    basedir: str | None = None,
    builddir: str | None = None,
) -> Properties:
    """The properties that a build starts with, as the module tells."""
    made = Properties()
    made.updateFromProperties(general)
    for properties in changes:
        for name, (value, _) in properties.items():
            made.setProperty(name, value, "Change")
    for name, (value, source) in request.items():
        made.setProperty(name, value, source)
    made.setProperty("buildername", builder.name, "Builder")
    made.setProperty("builderid", builderid, "Builder")
    if builder.project:
        made.setProperty("projectname", builder.project, "Builder")
        if projectid is not None:
            made.setProperty("projectid", projectid, "Builder")
    _apply(made, builder.properties, builder.defaultProperties)
    _apply(made, worker.properties, worker.defaultProperties)
    made.setProperty("buildnumber", number, "Build")
    if len(stamps) == 1:
        stamp = stamps[0]
        for name in ("branch", "revision", "repository", "codebase", "project"):
            made.setProperty(name, getattr(stamp, name), "Build")
    owner = request.get("owner")
    if owner is not None:
        made.setProperty("owners", [owner[0] if isinstance(owner, tuple) else owner], "Build")
    if basedir is not None:
        made.setProperty("basedir", basedir, "Worker")
    if builddir is not None:
        made.setProperty("builddir", builddir, "Worker")
    return made


def _apply(made: Properties, properties: Properties, defaults: Properties) -> None:
    made.updateFromProperties(properties)
    for name, (value, source) in defaults.items():
        if name not in made:
            made.setProperty(name, value, source)
