"""What Gerrit tells: its events as changes, and a filter of them.

An event's data becomes properties under their paths, ``event.change.branch`` say. A patch set's change has
the branch ``branch/number``, so that one change's patch sets are of a kind and those of others aren't; the
properties tell a `Gerrit` step what to fetch. An event's identity is what it tells of and when it was, so
that it counts once however often it comes (P1).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from buildwright.changes.base import PollError
from buildwright.changes.pullrequests import flat
from buildwright.model.errors import error, expect, shown
from buildwright.model.filters import UNSET, ChangeFilter, patterns
from buildwright.model.properties import json_problem
from buildwright.model.sources import Change

if TYPE_CHECKING:
    from buildwright.store.units.changes import NewChange

PATCHSET_CREATED, REF_UPDATED = "patchset-created", "ref-updated"
HEADS = "refs/heads/"
_NOTHING = "0" * 40  # what a reference that is deleted points to

Event = Mapping[str, Any]


class GerritEvents:
    """Which events a change source takes, and what it makes of them."""

    def __init__(self, what: str, name: str, gitBaseURL: Any, handled_events: Any, get_files: Any) -> None:
        if gitBaseURL is None:
            error(f"{what} has no gitBaseURL", "the address below which the repositories are")
        else:
            expect(gitBaseURL, str, f"{what}: gitBaseURL", "text")
        if expect(handled_events, (list, tuple), f"{what}: handled_events", "a list of names"):
            for each in handled_events:
                expect(each, str, f"{what}: each of handled_events", "text")
        self.what = what
        self.name = name
        self.gitBaseURL = str(gitBaseURL).rstrip("/")
        self.handled_events: Sequence[str] = tuple(handled_events)
        self.get_files = bool(get_files)

    def wants(self, event: Event) -> bool:
        return event.get("type") in self.handled_events

    def change(self, event: Event, files: Sequence[str] = ()) -> NewChange | None:
        """The change that an event tells of; None if it is of no interest. Raises PollError for nonsense."""
        try:
            if "change" in event and "patchSet" in event:
                return self._of_patchset(event, files)
            if event["type"] == REF_UPDATED:
                return self._of_reference(event)
        except (KeyError, TypeError, AttributeError, ValueError) as problem:
            said = json.dumps(event, default=str)[:200]
            raise PollError(f"{self.what}: an event makes no sense ({problem!r}): {said}") from problem
        return None

    def _of_patchset(self, event: Event, files: Sequence[str]) -> NewChange:
        change, patchset = event["change"], event["patchSet"]
        branch = str(change["branch"])
        if event["type"] == PATCHSET_CREATED:
            branch = f"{branch}/{change['number']}"
        return self._made(
            event,
            author=_person(change.get("owner")),
            branch=branch,
            revision=str(patchset["revision"]),
            revlink=change.get("url"),
            comments=str(change.get("subject") or ""),
            project=str(change["project"]),
            files=files,
            told_of=[change["number"], patchset["number"]],
        )

    def _of_reference(self, event: Event) -> NewChange | None:
        update = event["refUpdate"]
        if update["newRev"] == _NOTHING:
            return None
        return self._made(
            event,
            author=_person(event.get("submitter")),
            branch=str(update["refName"]).removeprefix(HEADS),
            revision=str(update["newRev"]),
            revlink=None,
            comments="Gerrit: commits were pushed",
            project=str(update["project"]),
            files=(),
            told_of=[update["refName"]],
        )

    def _made(self, event: Event, *, project: str, told_of: Sequence[Any], **fields: Any) -> NewChange:
        from buildwright.store.units.changes import NewChange

        what = [event["type"], project, *told_of, fields["revision"], event.get("eventCreatedOn")]
        return NewChange(
            **fields,
            project=project,
            repository=f"{self.gitBaseURL}/{project}",
            category=str(event["type"]),
            properties={
                name: (value, "Change") for name, value in flat(event, "event") if json_problem(value) is None
            },
            identity=json.dumps(["gerrit", self.name, *what]),
        )


def parsed(line: str | bytes) -> Event | None:
    """An event from a line of JSON; None if it is none."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("type"), str) else None


def created(event: Event) -> int:
    """When an event was, in seconds since the epoch; 0 if it doesn't say."""
    stamp = event.get("eventCreatedOn")
    return stamp if isinstance(stamp, int) and 0 < stamp < 1 << 33 else 0


def _person(who: Any) -> str:
    who = who or {}
    name = who.get("name") or who.get("username") or "unknown"
    return f"{name} <{who['email']}>" if who.get("email") else str(name)


class GerritChangeFilter(ChangeFilter):
    """A filter of Gerrit's changes: ``branch`` and its kin look at the property ``event.change.branch`` where
    there is one, without a change's number; ``eventtype`` at the kind of event.

    Example::

        uploads = util.GerritChangeFilter(eventtype="patchset-created", branch="main")
        c["schedulers"].append(
            schedulers.AnyBranchScheduler("patch sets", change_filter=uploads, builderNames=["tests"])
        )
    """

    def __init__(
        self,
        branch: Any = UNSET,
        branch_re: str | re.Pattern[str] | Sequence[str] | None = None,
        branch_fn: Callable[[str | None], Any] | None = None,
        eventtype: str | Sequence[str] | None = None,
        eventtype_re: str | re.Pattern[str] | Sequence[str] | None = None,
        eventtype_fn: Callable[[str], Any] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self.event: dict[str, Any] = {
            name: value
            for name, value in {
                "branch": None if branch is UNSET else branch,
                "branch_re": branch_re,
                "branch_fn": branch_fn,
                "eventtype": eventtype,
                "eventtype_re": eventtype_re,
                "eventtype_fn": eventtype_fn,
            }.items()
            if value is not None
        }
        for name in ("branch_fn", "eventtype_fn"):
            if name in self.event and not callable(self.event[name]):
                error(f"GerritChangeFilter: {name} must be a function, not {shown(self.event.pop(name))}")
        for name in ("branch_re", "eventtype_re"):
            if name in self.event:
                self.event[name] = patterns(self.event[name], f"GerritChangeFilter: {name}")
        # An event's kind stands where a change has its category.
        inner = {name.replace("eventtype", "category"): value for name, value in self.event.items()}
        self._of_event = ChangeFilter(**inner)

    def filter_change(self, change: Change) -> bool:
        kind = change.properties.getProperty("event.type", "")
        branch = change.properties.getProperty("event.change.branch", change.branch)
        return super().filter_change(change) and self._of_event.filter_change(
            Change(branch=branch, category=kind)
        )

    def __repr__(self) -> str:
        criteria = {**self.event, **self.criteria}
        return f"GerritChangeFilter({', '.join(f'{name}={value!r}' for name, value in criteria.items())})"
