"""Schedulers as a configuration names them: what all kinds have in common.

A scheduler is an immutable value with a name. It holds what the user wrote, answers what it wants to be
told of, and decides. It keeps nothing between decisions: what has to be remembered is in the state that
it returns.

Codebases say which source stamps a buildset of the scheduler has. For each, what is missing in a stamp
(repository, branch, revision, project) comes from the codebase's entry. A change of a codebase that is
not listed is none of the scheduler's business. The default is one codebase without a name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from buildwright.model.arguments import Checked
from buildwright.model.errors import error, expect, location, shown
from buildwright.model.properties import Properties
from buildwright.model.render import is_plain, is_renderable
from buildwright.model.sources import Change
from buildwright.schedulers.decisions import Inbox, State, Verdict, Wishes

CODEBASE_KEYS = ("repository", "branch", "revision", "project")

Priority = int | Callable[[Sequence[str], Mapping[str, Sequence[Change]]], int]


class Scheduler(metaclass=Checked):
    """A scheduler of the configuration. Subclasses decide."""

    default_reason = "The %(classname)s scheduler named '%(name)s' triggered this build"

    def __init__(
        self,
        name: str,
        builderNames: Any,
        *,
        properties: Mapping[str, Any] | None = None,
        codebases: Mapping[str, Mapping[str, Any]] | Iterable[str] | None = None,
        priority: Priority | None = None,
        reason: str | None = None,
    ) -> None:
        what = type(self).__name__
        if expect(name, str, f"{what}: name", "text") and not name:
            error(f"{what}: name must not be empty")
        self.where = location(self)  # for errors that only the whole configuration shows
        self.name = str(name)
        self.what = f"{what} {self.name!r}"
        self.builderNames = self._checked_builders(builderNames)
        self.properties = self._checked_properties(properties)
        self.codebases = self._checked_codebases(codebases)
        if priority is not None and not callable(priority):
            expect(priority, int, f"{self.what}: priority", "a number or a function")
        self.priority = priority
        if reason is not None:
            expect(reason, str, f"{self.what}: reason", "text")
        self.reason = self._reason(self.default_reason if reason is None else str(reason))

    def _reason(self, text: str) -> str:
        try:
            return text % {"name": self.name, "classname": type(self).__name__}
        except (KeyError, TypeError, ValueError) as problem:
            error(
                f"{self.what}: reason {text!r} can't be filled in ({problem})",
                hint="write %% for a percent sign",
            )
            return text

    def _checked_builders(self, names: Any) -> Any:
        if is_renderable(names):
            return names
        if isinstance(names, (list, tuple)):
            for each in names:
                if not isinstance(each, str) and not is_renderable(each):
                    error(f"{self.what}: builderNames must be names of builders, not {shown(each)}")
            return list(names)
        error(f"{self.what}: builderNames must be a list of names or a renderable, not {shown(names)}")
        return []

    def _checked_properties(self, properties: Any) -> dict[str, Any]:
        if properties is None:
            return {}
        if isinstance(properties, Properties):
            return {name: value for name, (value, _) in properties.items()}
        if not isinstance(properties, Mapping) or not all(isinstance(name, str) for name in properties):
            error(f"{self.what}: properties must be a dict of names to values, not {shown(properties)}")
            return {}
        return dict(properties)

    def _checked_codebases(self, codebases: Any) -> dict[str, dict[str, Any]]:
        if codebases is None:
            return {"": {}}
        if isinstance(codebases, str) or not isinstance(codebases, (Mapping, list, tuple, set, frozenset)):
            error(
                f"{self.what}: codebases must be a dict of dicts or a list of names, not {shown(codebases)}"
            )
            return {"": {}}
        entries = codebases if isinstance(codebases, Mapping) else dict.fromkeys(codebases)
        checked: dict[str, dict[str, Any]] = {}
        for name, entry in entries.items():
            if not isinstance(name, str):
                error(f"{self.what}: the name of a codebase must be text, not {shown(name)}")
                continue
            if entry is not None and not expect(entry, Mapping, f"{self.what}: codebase {name!r}", "a dict"):
                continue
            unknown = sorted(set(entry or ()) - set(CODEBASE_KEYS))
            if unknown:
                error(
                    f"{self.what}: codebase {name!r} has an unknown key {unknown[0]!r}",
                    hint=f"known are {', '.join(CODEBASE_KEYS)}",
                )
            checked[name] = {key: value for key, value in (entry or {}).items() if key in CODEBASE_KEYS}
        return checked

    @property
    def builder_names(self) -> list[str] | None:
        """The builders that it may start, as far as they are known before a decision; None: only then."""
        if is_plain(self.builderNames):
            return list(self.builderNames)
        return None

    @property
    def wishes(self) -> Wishes:
        """What it wants to be told of."""
        return Wishes()

    def accepts(self, change: Change) -> bool:
        """Whether the change concerns it. May call functions of the configuration."""
        return change.codebase in self.codebases

    def is_important(self, change: Change) -> bool:
        """Whether the change is worth a build. May call functions of the configuration."""
        del change
        return True

    def decide(self, inbox: Inbox, state: State, now_us: int, *, enabled: bool = True) -> Verdict:
        """What to do now. Pure: it calls nothing and reads no clock."""
        del inbox, now_us, enabled
        return Verdict(state)

    def default_stamp(self, codebase: str, last: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The stamp of a codebase that nothing else is known of; ``last`` is what was seen of it last."""
        made: dict[str, Any] = {
            "codebase": codebase,
            "repository": "",
            "project": "",
            "branch": None,
            "revision": None,
        }
        made.update(self.codebases.get(codebase, {}))
        if last is not None:
            made.update({key: last[key] for key in CODEBASE_KEYS if key in last})
        return made

    def __repr__(self) -> str:
        return f"<{self.what}>"
