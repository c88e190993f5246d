"""Cancellers: services that stop what nobody needs any more.

`OldBuildCanceller` stops a request when a newer change of the same branch has come in. Newer than the newest
change that its buildset was made for; a buildset without changes (forced, triggered) counts from when it was
asked for. `FailingBuildsetCanceller` stops the rest of a buildset of which one request has failed.

A look reads everything from the store and gives what is to be stopped, and why; stopping is asked of the
store as people ask it. A request is stopped once: what is asked to stop is not looked at again.
"""

from __future__ import annotations

import abc
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from buildwright.model.asking import TookTooLong, limited
from buildwright.model.errors import error, expect, shown
from buildwright.model.filters import SourceStampFilter
from buildwright.model.logger import get_logger
from buildwright.model.services import Service

if TYPE_CHECKING:
    from buildwright.store.base import Store
    from buildwright.store.units.cancelling import Newest, OpenSource

log = get_logger(__name__)

_GERRIT_CHANGE = re.compile(r"(refs/changes/\d+/\d+)/\d+")


class Victim(NamedTuple):
    """A request to stop, and why."""

    requestid: int
    why: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of a canceller's filters; None stands for all builders."""

    watched: frozenset[str] | None
    cancelled: frozenset[str] | None
    source_filter: SourceStampFilter

    def cancels(self, source: OpenSource) -> bool:
        """Whether a request with this source is one to cancel. May call functions of the configuration."""
        if self.cancelled is not None and source.builder not in self.cancelled:
            return False
        return self.source_filter.is_matched(source.asDict())


class Canceller(Service, abc.ABC):
    """A service that stops requests."""

    def __init__(self, name: str, filters: Any, builder_lists: int, form: str) -> None:
        super().__init__(name)
        self.rules: list[Rule] = []
        self._complaint = ""
        self._held_up = False
        if not isinstance(filters, list | tuple) or not filters:
            error(f"{self.what}: filters must be a list of {form}, not {shown(filters)}", "give at least one")
            return
        for entry in filters:
            if not isinstance(entry, list | tuple) or len(entry) != builder_lists + 1:
                error(f"{self.what}: a filter must be {form}, not {shown(entry)}", "write it as a tuple")
                continue
            *names, wanted = entry
            if not isinstance(wanted, SourceStampFilter):
                message = (
                    f"{self.what}: the last of a filter must be a SourceStampFilter, not {shown(wanted)}"
                )
                error(message, "as in util.SourceStampFilter(branch_not_eq='main')")
                continue
            builders = [self._builders(each) for each in names]
            self.rules.append(Rule(builders[0], builders[-1], wanted))

    def _builders(self, given: Any) -> frozenset[str] | None:
        if given is None:
            return None
        names = [given] if isinstance(given, str) else given
        what = f"{self.what}: builders of a filter"
        if not expect(names, (list, tuple, set, frozenset), what, "a name, a list of names or None for all"):
            return frozenset()
        return frozenset(str(each) for each in names if expect(each, str, what, "names"))

    @property
    def builder_names(self) -> Iterable[str]:
        return sorted(
            {name for rule in self.rules for name in (*(rule.watched or ()), *(rule.cancelled or ()))}
        )

    def candidates(self, builders: Iterable[str]) -> list[str]:
        """Of these builders, those whose requests may be cancelled."""
        return sorted(
            name
            for name in builders
            if any(rule.cancelled is None or name in rule.cancelled for rule in self.rules)
        )

    def _ask(self, source: OpenSource, question: Callable[[], bool]) -> bool:
        """The answer of the configuration's functions; one that fails is told once, and cancels nothing. One
        that doesn't come back isn't asked again, until the configuration is loaded anew.
        """
        if self._held_up:
            return False
        try:
            return limited(f"a function of {self.what}", question)
        except Exception as problem:
            self._held_up = isinstance(problem, TookTooLong)
            text = f"{type(problem).__name__}: {problem}"
            if text != self._complaint:
                self._complaint = text
                log.exception(
                    "a function of a canceller failed; the request goes on",
                    canceller=self.name,
                    request=source.requestid,
                    error=text,
                )
            return False

    @abc.abstractmethod
    async def victims(self, store: Store, builders: Sequence[str]) -> list[Victim]:
        """What is to be stopped now, of these builders, which are all that there are."""


def without_patchset(source: Mapping[str, Any]) -> str | None:
    """The branch, the same for all patch sets of one change in Gerrit."""
    branch = source["branch"]
    if branch is None:
        return None
    found = _GERRIT_CHANGE.fullmatch(branch)
    return found[1] if found else str(branch)


class OldBuildCanceller(Canceller):
    """Stops builds and waiting requests of a branch for which a newer change has come in.

    Example::

        branches = util.SourceStampFilter(branch_not_eq=["main", "release"])
        c["services"].append(util.OldBuildCanceller("only the newest", [(["tests"], branches)]))
    """

    def __init__(
        self, name: str, filters: Any, branch_key: Callable[[Mapping[str, Any]], Any] | None = None
    ) -> None:
        super().__init__(name, filters, 1, "(builders, SourceStampFilter)")
        if branch_key is not None and not expect(
            branch_key,
            Callable,  # type: ignore[arg-type]
            f"{self.what}: branch_key",
            "a function of a source stamp",
        ):
            branch_key = None
        self.branch_key = branch_key or without_patchset

    async def victims(self, store: Store, builders: Sequence[str]) -> list[Victim]:
        from buildwright.store.units.cancelling import open_sources

        found = await store.read(open_sources(self.candidates(builders)))
        victims: dict[int, Victim] = {}
        for source in found.open:
            if source.requestid in victims:
                continue
            made_for = found.made_for.get((source.buildsetid, source.codebase))
            for newer in found.newest:
                if (newer.codebase, newer.project, newer.repository) != (
                    source.codebase,
                    source.project,
                    source.repository,
                ):
                    continue
                is_newer = (
                    newer.received_at > source.submitted_at if made_for is None else newer.changeid > made_for
                )
                if is_newer and self._ask(source, lambda: self._is_superseded(source, newer)):  # noqa: B023
                    branch = "" if source.branch is None else f" of {source.branch}"
                    why = f"change {newer.changeid}{branch} is newer ({self.what})"
                    victims[source.requestid] = Victim(source.requestid, why)
                    break
        return list(victims.values())

    def _is_superseded(self, source: OpenSource, newer: Newest) -> bool:
        other = {**source.asDict(), "branch": newer.branch, "revision": None}
        return self.branch_key(source.asDict()) == self.branch_key(other) and any(
            rule.cancels(source) for rule in self.rules
        )


class FailingBuildsetCanceller(Canceller):
    """Stops the rest of a buildset as soon as one of its builds has failed.

    Example::

        any_branch = util.SourceStampFilter(branch_not_eq="main")
        c["services"].append(
            util.FailingBuildsetCanceller("no use to go on", [(["tests"], None, any_branch)])
        )
    """

    def __init__(self, name: str, filters: Any) -> None:
        super().__init__(name, filters, 2, "(builders to watch, builders to cancel, SourceStampFilter)")

    async def victims(self, store: Store, builders: Sequence[str]) -> list[Victim]:
        from buildwright.store.units.cancelling import failed_among

        sources, failed = await store.read(failed_among(self.candidates(builders)))
        victims: dict[int, Victim] = {}
        for source in sources:
            for failure in failed:
                if failure.buildsetid != source.buildsetid or source.requestid in victims:
                    continue
                rules = [r for r in self.rules if r.watched is None or failure.builder in r.watched]
                if self._ask(source, lambda: any(rule.cancels(source) for rule in rules)):  # noqa: B023
                    why = f"{failure.builder} has failed in the same buildset ({self.what})"
                    victims[source.requestid] = Victim(source.requestid, why)
        return list(victims.values())
