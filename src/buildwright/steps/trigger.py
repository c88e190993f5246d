"""Builds of other builders, started by a step.

Each scheduler's buildset is added in the unit that journals it, so there is one set of children whatever dies
when. A step that waits looks into the store at each hint of a finished buildset; when its build is stopped,
it stops the children that it waits for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

from buildwright.builds.step import BuildStep, BuildStepCancelled
from buildwright.model.errors import error, shown
from buildwright.model.properties import Properties
from buildwright.model.render import IRenderable
from buildwright.model.renderable import is_plain, settle
from buildwright.model.results import CANCELLED, SUCCESS, status_to_string, worst_status
from buildwright.model.sources import SourceStamp


class Child(NamedTuple):
    """A buildset that a trigger has added."""

    scheduler: str
    unimportant: bool
    buildsetid: int
    requestids: Sequence[int]


class _Wanted(NamedTuple):
    """A scheduler to trigger."""

    name: str
    properties: Mapping[str, Any]
    unimportant: bool


class Trigger(BuildStep):
    """Triggers schedulers of the kind Triggerable, and may wait for what they start.

    Example::

        c["schedulers"].append(schedulers.Triggerable("packages", builderNames=["tests"]))
        publish = util.BuildFactory(
            [
                steps.Trigger(
                    schedulerNames=["packages"],
                    waitForFinish=True,
                    set_properties={"channel": util.Property("channel")},
                )
            ]
        )
        c["builders"].append(util.BuilderConfig("publish", workernames=["linux"], factory=publish))
    """

    name = "trigger"
    renderables: ClassVar[Sequence[str]] = (
        "set_properties",
        "copy_properties",
        "schedulerNames",
        "unimportantSchedulerNames",
        "sourceStamps",
        "updateSourceStamp",
        "alwaysUseLatest",
        "parent_relationship",
        "waitForFinish",
    )

    def __init__(
        self,
        schedulerNames: Sequence[Any] | IRenderable | None = None,
        sourceStamp: Mapping[str, Any] | IRenderable | None = None,
        sourceStamps: Sequence[Any] | IRenderable | None = None,
        updateSourceStamp: bool | IRenderable | None = None,
        alwaysUseLatest: bool | IRenderable = False,
        waitForFinish: bool | IRenderable = False,
        set_properties: Mapping[str, Any] | IRenderable | None = None,
        copy_properties: Sequence[Any] | IRenderable | None = None,
        parent_relationship: str | IRenderable = "Triggered from",
        unimportantSchedulerNames: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        kind = f"step {type(self).__name__}"
        if not schedulerNames and type(self).getSchedulersAndProperties is Trigger.getSchedulersAndProperties:
            error(f"{kind} has no schedulers", "give it schedulerNames=['...']")
        chosen = [bool(sourceStamp), bool(sourceStamps), bool(updateSourceStamp), bool(alwaysUseLatest)]
        if sum(chosen) > 1:
            error(
                f"{kind}: sourceStamp(s), updateSourceStamp and alwaysUseLatest exclude each other",
                "give at most one of them",
            )
        if isinstance(schedulerNames, list | tuple) and isinstance(unimportantSchedulerNames, list | tuple):
            for name in unimportantSchedulerNames:
                if is_plain(list(schedulerNames)) and name not in schedulerNames:
                    error(f"{kind}: unimportantSchedulerNames has {name!r}, which schedulerNames hasn't")
        self.schedulerNames: Any = schedulerNames
        self.sourceStamps: Any = [sourceStamp] if sourceStamp else sourceStamps
        if updateSourceStamp is None:
            updateSourceStamp = not (self.sourceStamps or alwaysUseLatest)
        self.updateSourceStamp: Any = updateSourceStamp
        self.alwaysUseLatest: Any = alwaysUseLatest
        self.waitForFinish: Any = waitForFinish
        self.set_properties: Any = set_properties
        self.copy_properties: Any = copy_properties
        self.parent_relationship: Any = parent_relationship
        self.unimportantSchedulerNames: Any = unimportantSchedulerNames
        self._names: list[str] = []

    # -- to be overridden ---------------------------------------------------------------------------------

    def createTriggerProperties(self, props: Mapping[str, Any]) -> Properties:
        """The properties that a scheduler is triggered with, from a dict."""
        made = Properties()
        made.update(props, "Trigger")
        return made

    def getSchedulersAndProperties(self) -> Any:
        """What to trigger: a list of {"sched_name", "props_to_set", "unimportant"}, or of pairs of name and
        properties. May be a coroutine.
        """
        names = self.schedulerNames
        unimportant = self.unimportantSchedulerNames or ()
        return [
            {
                "sched_name": name,
                "props_to_set": self.set_properties or {},
                "unimportant": name in unimportant,
            }
            for name in ([names] if isinstance(names, str) else names or ())
        ]

    # -- running ------------------------------------------------------------------------------------------

    async def run(self) -> int:
        wanted = [self._checked(each) for each in await settle(self.getSchedulersAndProperties()) or ()]
        stamps = self._stamps()
        asked = []
        for each in wanted:
            props = await self.render(each.properties)
            copied = {
                name: self.getProperty(name) for name in self.copy_properties or () if self.hasProperty(name)
            }
            made = await settle(self.createTriggerProperties({**props, **copied}))
            if not isinstance(made, Properties):
                made = Trigger.createTriggerProperties(self, made or {})
            asked.append((each.name, each.unimportant, made))
        self._names = [name for name, _, _ in asked]
        self.updateSummary()
        plan = self.build.runner.services.plan_trigger
        if not self._run.requests.replaying:
            for name, _, made in asked:  # all of them can be triggered, before one is
                await self._run.waits.serve(plan(name, stamps, made))
        children: list[Child] = []
        try:
            for name, unimportant, made in asked:
                children.append(await self._trigger(name, unimportant, stamps, made))
            if not self.waitForFinish:
                return SUCCESS
            return await self._wait(children)
        except BuildStepCancelled:
            if self.waitForFinish:
                await self._cancel(children)
            raise

    def _checked(self, given: Any) -> _Wanted:
        """An entry of what getSchedulersAndProperties gave; TypeError if it is none."""
        if isinstance(given, Mapping):
            name, props = given.get("sched_name"), given.get("props_to_set")
            unimportant = bool(given.get("unimportant"))
        elif isinstance(given, list | tuple) and len(given) in (2, 3):
            name, props, *rest = given
            unimportant = bool(rest and rest[0])
        else:
            name, props, unimportant = None, None, False
        if not isinstance(name, str) or not isinstance(props, Mapping | None):
            raise TypeError(
                f"getSchedulersAndProperties of {type(self).__name__} must give a list of dicts with "
                f"sched_name and props_to_set, and one of them is {shown(given)}"
            )
        return _Wanted(name, props or {}, unimportant)

    async def _trigger(
        self, name: str, unimportant: bool, stamps: list[dict[str, Any]], made: Properties
    ) -> Child:
        buildsetid, requests = await self._run.requests.trigger(
            [name, stamps, made.to_json()], partial(self._arguments, name, stamps, made)
        )
        url = self.build.runner.services.snapshot.buildbot_url
        for requestid in requests.values():
            self.addURL(f"{name} #{requestid}", f"{url}#/buildrequests/{requestid}")
        return Child(name, unimportant, buildsetid, list(requests.values()))

    async def _arguments(
        self, name: str, stamps: list[dict[str, Any]], made: Properties
    ) -> Mapping[str, Any]:
        services = self.build.runner.services
        return {
            **await services.plan_trigger(name, stamps, made),
            "now_us": services.clock.now_us(),
            "waited_for": bool(self.waitForFinish),
            "parent_buildid": self.build.buildid,
            "parent_relationship": self.parent_relationship,
        }

    def _stamps(self) -> list[dict[str, Any]]:
        """What the children are built from, by codebase."""
        if self.alwaysUseLatest:
            return []
        if self.sourceStamps:
            return [dict(stamp) for stamp in self.sourceStamps]
        got = self.getProperty("got_revision", {}) if self.updateSourceStamp else {}
        if not isinstance(got, dict):
            got = {"": got}
        return [_stamp(source, got.get(source.codebase)) for source in self.build.getAllSourceStamps()]

    async def _wait(self, children: Sequence[Child]) -> int:
        from buildwright.store.units.triggered import buildset_results

        store = self.build.runner.services.store
        ids = [child.buildsetid for child in children]

        async def complete() -> dict[int, int] | None:
            found = await store.read(buildset_results(ids))
            done = {buildsetid: results for buildsetid, results in found.items() if results is not None}
            return done if len(done) == len(found) else None

        results = await self._run.waits.until("buildsets", complete)
        await self._show_builds(children)
        overall = SUCCESS
        for child in children:
            if not child.unimportant:
                overall = worst_status(overall, results.get(child.buildsetid, SUCCESS))
        return overall

    async def _show_builds(self, children: Sequence[Child]) -> None:
        from buildwright.store.units.triggered import finished_builds

        services = self.build.runner.services
        requests = [requestid for child in children for requestid in child.requestids]
        for builderid, name, number, results in await self._run.waits.serve(
            services.store.read(finished_builds(requests))
        ):
            url = f"{services.snapshot.buildbot_url}#/builders/{builderid}/builds/{number}"
            self.addURL(f"{status_to_string(results)}: {name} #{number}", url)

    async def _cancel(self, children: Sequence[Child]) -> None:
        from buildwright.store.units.claims import stop_request

        services = self.build.runner.services
        why = f"the build that waits for it was stopped: {self.build.builder.name} #{self.build.number}"
        for child in children:
            for requestid in child.requestids:
                await self._run.waits.serve(
                    services.store.insist(stop_request(requestid, why, services.clock.now_us(), CANCELLED))
                )

    # -- what is shown ------------------------------------------------------------------------------------

    def getCurrentSummary(self) -> dict[str, str]:
        if self.description or not self._names:
            return super().getCurrentSummary()
        waits = "waits for" if self.waitForFinish else "triggers"
        return {"step": f"{waits} {', '.join(self._names)}"}

    def getResultSummary(self) -> dict[str, str]:
        if self.description or self.descriptionDone:
            return super().getResultSummary()
        return self._with_result(f"triggered {', '.join(self._names)}")


def _stamp(source: SourceStamp, revision: str | None) -> dict[str, Any]:
    stamp: dict[str, Any] = {
        "codebase": source.codebase,
        "branch": source.branch,
        "revision": revision or source.revision,
        "repository": source.repository,
        "project": source.project,
    }
    if source.patch is not None:
        patch = source.patch
        stamp["patch"] = {
            "level": patch.level,
            "body": patch.body,
            "author": patch.author,
            "comment": patch.comment,
            "subdir": patch.subdir,
        }
    return stamp
