"""The properties of a build: where they come from, and how they get into the store.

They are written as a whole with the unit after a change. If the current step has changed them, its row keeps
them as they were at its start: whoever goes on with the step runs it with those.
"""

from __future__ import annotations

from typing import Any

from buildwright.builds.assignment import Assignment
from buildwright.builds.build import Build
from buildwright.builds.buildsecrets import BuildSecrets
from buildwright.builds.links import WorkerLink
from buildwright.builds.services import BuildServices
from buildwright.builds.writer import BuildWriter
from buildwright.model.precedence import build_properties
from buildwright.model.properties import Properties
from buildwright.store.unit import Hint
from buildwright.store.units.engine import KEEP_PROPERTIES_BEFORE


class BuildProperties:
    """Gives a build its properties and writes what becomes of them."""

    def __init__(
        self,
        assignment: Assignment,
        services: BuildServices,
        link: WorkerLink,
        build: Build,
        secrets: BuildSecrets,
        writer: BuildWriter,
    ) -> None:
        self._assignment = assignment
        self._services = services
        self._link = link
        self._build = build
        self._secrets = secrets
        self._writer = writer
        self._stored = assignment.resumed.build.properties if assignment.resumed is not None else ""
        # The current step's id and the properties at its start; None when its row has them, or needs none.
        self._before: tuple[int, str] | None = None

    @property
    def stored(self) -> str:
        """As the store has them, or will have with the unit that is being made."""
        return self._stored

    def begin(self) -> None:
        """Give the build its first properties: the stored ones, or what the configuration makes of them."""
        resumed = self._assignment.resumed
        if resumed is not None and resumed.build.properties != "{}":
            self.use(resumed.build.properties)
            return
        self._adopt(self._initial())
        self._writer.mark(self)

    def use(self, text: str) -> None:
        """Make stored properties the build's."""
        self._stored = text
        self._adopt(Properties.from_json(text))

    def begin_step(self, stepid: int) -> None:
        """A step begins whose row doesn't hold yet what the properties were at its start."""
        self._before = stepid, self._build.properties.to_json()

    def end_step(self) -> None:
        """The step is over: its row needs nothing more."""
        self._before = None

    def gather(self, writer: BuildWriter) -> None:
        """Write the properties, which have changed."""
        text = self._build.properties.to_json()
        if text == self._stored:
            return
        if self._before is not None and self._before[1] != text:
            stepid, before = self._before
            writer.add(KEEP_PROPERTIES_BEFORE(stepid=stepid, properties=before))
            self._before = None
        self._stored = text
        writer.say(properties=text)
        writer.add(Hint("builds", self._build.buildid, "properties"))

    def _property_set(self, name: str, value: Any, source: str) -> None:
        """A property was set: it is written with the next unit, a secret in it only by its name."""
        secrets = self._secrets
        if secrets.values:
            self._build.properties.properties[name] = (secrets.masker.mask_value(value), source)
        self._writer.mark(self)

    def _adopt(self, properties: Properties) -> None:
        """Make these the build's properties, with what hangs on them."""
        build = self._build
        properties.build = build
        properties.secrets.update(build.properties.secrets)
        properties.secret_source = self._services.secret
        properties.on_change = self._property_set
        properties.sourcestamps = build.sources
        build.properties = properties

    def _initial(self) -> Properties:
        assignment = self._assignment
        basedir = str(self._link.info.get("basedir", ""))
        builder = assignment.builder
        return build_properties(
            general=self._services.snapshot.properties,
            changes=[change.properties for stamp in assignment.stamps for change in stamp.changes],
            request=Properties.from_json(assignment.request.properties),
            builder=builder,
            builderid=assignment.builderid,
            projectid=self._services.registry.projects.get(builder.project or ""),
            worker=assignment.worker,
            number=assignment.number,
            stamps=assignment.stamps,
            basedir=basedir or None,
            builddir=f"{basedir}/{builder.workerbuilddir}" if basedir else None,
        )
