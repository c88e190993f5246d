"""The Triggerable scheduler: started by a Trigger step, and by nothing else.

The step plans the buildset with :meth:`Triggerable.plan` and adds it in the unit that journals the step,
so this scheduler has no inbox and nothing to decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from buildwright.model.properties import Properties
from buildwright.schedulers.base import Scheduler
from buildwright.schedulers.plan import Plan, plan_buildset


class Triggerable(Scheduler):
    """Builds when a Trigger step says so."""

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
        return await plan_buildset(self, reason=reason, stamps=stamps, properties=properties)


def _told(stamp: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in stamp.items() if value}
