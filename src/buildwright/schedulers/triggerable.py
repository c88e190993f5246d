"""The schedulers that Trigger steps start: Triggerable at once, NightlyTriggerable at its next time.

The step plans a buildset with :meth:`Triggered.plan` and adds it in the unit that journals the step. That
of a Triggerable has the builds, so this scheduler has no inbox and nothing to decide.

That of a NightlyTriggerable has no builder, so it is complete at once, and the unit that adds it puts it
into the scheduler's own inbox: what was triggered is in the store with the step, whatever dies. At a due
point the newest of these starts one buildset with its sources and properties, and takes the older ones
along; without any the due point is skipped. Each trigger fires once, because its buildset is part of the
cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from buildwright.model.properties import Properties
from buildwright.schedulers.base import Scheduler
from buildwright.schedulers.decisions import Fire, Inbox, Skip, State, Upstream, Verdict, Wishes
from buildwright.schedulers.plan import Plan, plan_buildset
from buildwright.schedulers.timed import Nightly, due_points, skipped


class Triggered(Scheduler):
    """A scheduler that a Trigger step can name."""

    async def plan(
        self, sourcestamps: Iterable[Mapping[str, Any]] = (), properties: Properties | None = None
    ) -> Plan:
        """The buildset of one trigger.

        Stamps of codebases that the scheduler doesn't have are left out, missing ones are filled in. A
        property ``reason`` becomes the buildset's reason.
        """
        given = {stamp.get("codebase") or "": stamp for stamp in sourcestamps}
        stamps = [
            {**self.default_stamp(codebase), **_told(given.get(codebase, {}))} for codebase in self.codebases
        ]
        reason = self.reason
        if properties is not None and properties.hasProperty("reason"):
            reason = str(properties.getProperty("reason"))
        return await self._planned(reason, stamps, properties)

    async def _planned(
        self, reason: str, stamps: list[dict[str, Any]], properties: Properties | None
    ) -> Plan:
        return await plan_buildset(self, reason=reason, stamps=stamps, properties=properties)


class Triggerable(Triggered):
    """Builds when a Trigger step says so.

    Example::

        c["schedulers"].append(schedulers.Triggerable("packages", builderNames=["tests"]))
        factory.addStep(steps.Trigger(schedulerNames=["packages"], doStepIf=util.Property("package")))
    """


class NightlyTriggerable(Triggered, Nightly):
    """Builds at the times of a cron expression what a Trigger step has asked for since the last time.

    Example::

        c["schedulers"].append(
            schedulers.NightlyTriggerable("publish", builderNames=["tests"], hour=[12, 20], minute=15)
        )
    """

    @property
    def wishes(self) -> Wishes:
        return Wishes(upstreams=(self.name,))

    async def _planned(
        self, reason: str, stamps: list[dict[str, Any]], properties: Properties | None
    ) -> Plan:
        del reason
        return await plan_buildset(
            self,
            reason=f"triggered; {self.what} builds it at its next time",
            stamps=stamps,
            properties=properties,
            builder_names=(),
        )

    def decide(self, inbox: Inbox, state: State, now_us: int, *, enabled: bool = True) -> Verdict:
        state = self.activated(state, now_us)
        schedule = self.schedule(state)
        due = due_points(schedule, state["settled"], now_us, self.catchup)
        triggers = [each for each in inbox.upstream if each.parent_buildid is not None]
        used = {each.buildsetid for each in inbox.upstream if each.parent_buildid is None}  # its own builds
        skips: list[Skip] = [] if due.skip is None else [skipped(*due.skip, "skipped: missed")]
        fires: list[Fire] = []
        for point in due.fire:
            if not enabled:
                skips.append(skipped(point, point, "skipped: disabled"))
            elif not triggers:
                skips.append(skipped(point, point, "skipped: not triggered"))
            else:
                fires.append(self._fire(point, triggers[-1]))
                used.update(each.buildsetid for each in triggers)
                triggers = []
        coming = next(schedule.after(due.settled), None)
        return Verdict(
            {**state, "settled": due.settled},
            fires,
            skips,
            used_upstream=frozenset(used),
            wait=None if coming is None else max(coming - now_us, 0),
            more=due.more,
        )

    def _fire(self, point: int, trigger: Upstream) -> Fire:
        properties = Properties.from_json(trigger.properties)
        reason = str(properties.getProperty("reason", self.reason))
        return Fire(
            f"due:{point}:buildset:{trigger.buildsetid}",
            reason,
            trigger.stampids,
            changeids=trigger.changeids,
            properties=trigger.properties,
        )


def _told(stamp: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in stamp.items() if value}
