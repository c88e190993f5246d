"""Planning a buildset: everything that has to be rendered or asked of the configuration before the unit that
adds it.

Properties, later ones overriding earlier ones: those given (by a force, a trigger), the scheduler's own
with `scheduler`, those of the changes. The scheduler's values, and the builders' names, may be
renderables; they see all of these, and as attributes the source stamps (`sourcestamps`), the changes and
their files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from buildwright.model.asking import limited, within
from buildwright.model.logger import get_logger
from buildwright.model.properties import Properties
from buildwright.model.render import render
from buildwright.model.sources import Change
from buildwright.schedulers.base import Scheduler
from buildwright.schedulers.decisions import Stamp

log = get_logger(__name__)


class PlanError(Exception):
    """A buildset can't be planned; the message names the scheduler and what of it failed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A buildset, ready to be added."""

    scheduler: str
    builder_names: tuple[str, ...]
    stamps: tuple[Stamp | int, ...]
    properties: str  # JSON
    reason: str
    priority: int
    changeids: tuple[int, ...]

    def arguments(self, builder_ids: Mapping[str, int]) -> dict[str, Any]:
        """What `add_buildset_work` takes, but for the time and who asks."""
        unknown = [name for name in self.builder_names if name not in builder_ids]
        if unknown:
            log.error(
                "a scheduler names builders that don't exist", scheduler=self.scheduler, builders=unknown
            )
        return {
            "sourcestamps": self.stamps,
            "builderids": [builder_ids[name] for name in self.builder_names if name in builder_ids],
            "reason": self.reason,
            "properties": self.properties,
            "priority": self.priority,
            "changeids": self.changeids,
        }


async def plan_buildset(
    scheduler: Scheduler,
    *,
    reason: str,
    stamps: Sequence[Stamp | int],
    changes: Sequence[Change] = (),
    changeids: Sequence[int] = (),
    properties: Properties | None = None,
    builder_names: Sequence[str] | None = None,
    priority: int | None = None,
) -> Plan:
    """Plan a buildset of this scheduler; raises PlanError if the configuration's own code fails."""
    props = Properties()
    if properties is not None:
        props.updateFromProperties(properties)
    props.setProperty("scheduler", scheduler.name, "Scheduler")
    for change in changes:
        props.updateFromProperties(change.properties)
    props.sourcestamps = [dict(stamp) for stamp in _described(stamps, changes)]
    props.changes = [described(change) for change in changes]
    props.files = [name for change in changes for name in change.files]
    own = await _render(scheduler, "properties", scheduler.properties, props)
    try:
        props.update(own, "Scheduler")
    except (TypeError, ValueError) as problem:
        raise PlanError(f"{scheduler.what}: {problem}") from problem
    for change in changes:
        props.updateFromProperties(change.properties)
    if builder_names is None:
        builder_names = await _render(scheduler, "builderNames", scheduler.builderNames, props)
    names = (builder_names,) if isinstance(builder_names, str) else tuple(dict.fromkeys(builder_names or ()))
    if not all(isinstance(name, str) for name in names):
        raise PlanError(f"{scheduler.what}: builderNames rendered to {names!r}, which are not all names")
    return Plan(
        scheduler=scheduler.name,
        builder_names=names,
        stamps=tuple(stamps),
        properties=props.to_json(),
        reason=reason,
        priority=_priority(scheduler, names, changes) if priority is None else priority,
        changeids=(*(change.number for change in changes if change.number is not None), *changeids),
    )


async def _render(scheduler: Scheduler, what: str, value: Any, props: Properties) -> Any:
    try:
        return await within(f"{what} of {scheduler.what}", render(value, props))
    except Exception as problem:
        raise PlanError(f"{scheduler.what}: {what} can't be rendered: {_named(problem)}") from problem


def _priority(scheduler: Scheduler, names: Sequence[str], changes: Sequence[Change]) -> int:
    """The priority; a function of the configuration that fails counts as 0 and stops nothing."""
    wanted = scheduler.priority
    if wanted is None or isinstance(wanted, int):
        return wanted or 0
    by_codebase: dict[str, list[Change]] = {}
    for change in changes:
        by_codebase.setdefault(change.codebase, []).append(change)
    try:
        return int(limited(f"priority of {scheduler.what}", lambda: wanted(list(names), by_codebase)))
    except Exception as problem:
        log.exception(
            "a scheduler's priority function failed; priority 0 is used",
            scheduler=scheduler.name,
            changes=[change.number for change in changes],
            error=_named(problem),
        )
        return 0


def _described(stamps: Sequence[Stamp | int], changes: Sequence[Change]) -> list[Mapping[str, Any]]:
    """The stamps as a renderable sees them; those known by id only as their codebase's newest change."""
    newest = {change.codebase: change for change in changes}
    described_stamps: list[Mapping[str, Any]] = [stamp for stamp in stamps if not isinstance(stamp, int)]
    for codebase, change in newest.items():
        described_stamps.append(
            {
                "codebase": codebase,
                "branch": change.branch,
                "revision": change.revision,
                "repository": change.repository,
                "project": change.project,
                "patch": None,
            }
        )
    return described_stamps


def described(change: Change) -> dict[str, Any]:
    """A change as plain data, under the names of the data API."""
    return {
        "changeid": change.number,
        "author": change.who,
        "committer": change.committer,
        "comments": change.comments,
        "branch": change.branch,
        "revision": change.revision,
        "revlink": change.revlink,
        "category": change.category,
        "repository": change.repository,
        "project": change.project,
        "codebase": change.codebase,
        "when_timestamp": int(change.when),
        "files": list(change.files),
        "properties": change.properties.asDict(),
    }


def _named(problem: BaseException) -> str:
    return f"{type(problem).__name__}: {problem}"
