"""Change sources as a configuration names them, and what a poll gets and gives.

A change source is an immutable value with a name. A poll gets what the source remembers (`Poll.state`)
and a place to work in, and returns the changes it found with what is to be remembered from now on. It
stores nothing itself: the service commits both in one unit, so a poll may be killed anywhere, and is done
again.

A source that listens gives the same, as often as something comes.

A poll that can't be done raises `PollError` with a message for the person who runs the master; the
service goes on.
"""

from __future__ import annotations

import abc
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildwright.model.arguments import Checked
from buildwright.model.asking import TookTooLong, ask
from buildwright.model.errors import error, expect, location, shown
from buildwright.model.logger import get_logger

if TYPE_CHECKING:
    from buildwright.store.units.changes import NewChange
    from buildwright.store.units.commits import Seen

log = get_logger(__name__)

State = Mapping[str, Any]
SecretSource = Callable[[str], Awaitable[str | None]]


class PollError(Exception):
    """A poll can't be done now: what failed, where, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Poll:
    """What a poll gets."""

    state: State | None  # what the last one returned; None: there was none
    workdir: Path  # the source's own directory, which may not exist yet
    secret_source: SecretSource | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a poll gives."""

    state: State
    changes: Sequence[NewChange] = ()
    notice: str = ""  # what a person should look at although the poll succeeded
    seen: Seen | None = None  # of a codebase: its commits and branches


class ChangeSource(metaclass=Checked):
    """A change source of the configuration."""

    def __init__(self, name: str) -> None:
        what = type(self).__name__
        self.where = location(self)  # for errors that only the whole configuration shows
        if expect(name, str, f"{what}: name", "text") and not name:
            error(f"{what}: name must not be empty")
        self.name = str(name)
        self.what = f"{what} {self.name!r}"

    def __repr__(self) -> str:
        return f"<{self.what}>"


class PollingChangeSource(ChangeSource, abc.ABC):
    """A change source that looks every so often."""

    def __init__(
        self,
        name: str,
        *,
        pollInterval: float = 600,
        pollAtLaunch: bool = False,
        pollRandomDelayMin: float = 0,
        pollRandomDelayMax: float = 0,
    ) -> None:
        super().__init__(name)
        delays = {
            "pollInterval": pollInterval,
            "pollRandomDelayMin": pollRandomDelayMin,
            "pollRandomDelayMax": pollRandomDelayMax,
        }
        for key, value in delays.items():
            if expect(value, (int, float), f"{self.what}: {key}", "a number of seconds") and value < 0:
                error(f"{self.what}: {key} must not be negative, as {shown(value)} is")
        if pollRandomDelayMin > pollRandomDelayMax:
            error(f"{self.what}: pollRandomDelayMin must not be greater than pollRandomDelayMax")
        self.pollInterval = pollInterval  # 0: only when asked to
        self.pollAtLaunch = bool(pollAtLaunch)
        self.pollRandomDelayMin = pollRandomDelayMin
        self.pollRandomDelayMax = pollRandomDelayMax

    @abc.abstractmethod
    async def poll(self, poll: Poll) -> Found:
        """Look for changes. Cancelling it ends what it has started."""


class ListeningChangeSource(ChangeSource, abc.ABC):
    """A change source that is told. To the service it is a poll that lasts as long as its connection does;
    the next one makes it anew.
    """

    pollInterval: float = 10  # from one connection's beginning to the next one's, at least
    pollAtLaunch = True
    pollRandomDelayMin: float = 0
    pollRandomDelayMax: float = 0

    @abc.abstractmethod
    def listen(self, poll: Poll) -> AsyncGenerator[Found, None]:
        """What comes, as it comes. Raises PollError when the connection ends."""


# -- what every change goes through ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Intake:
    """The configuration's say about changes, whoever brings them: pollers, hooks, the API.

    One is made for the changes that come together. A function that doesn't come back for one of them isn't
    asked about those after it: so it holds up a poll once, not once per change.
    """

    codebase_generator: Callable[[Mapping[str, Any]], Any] | None = None  # plain or async, as the other
    revlink: Callable[[str, str], Any] | None = None
    _lost: set[str] = field(default_factory=set, repr=False)  # the functions that didn't come back

    async def prepare(self, change: NewChange, *, has_codebase: bool = False) -> NewChange:
        """The change with its codebase and link filled in; a function that fails is named, and left out."""
        if not has_codebase and self.codebase_generator is not None:
            codebase = await self._ask("codebaseGenerator", change, self.codebase_generator, as_dict(change))
            if isinstance(codebase, str):
                change = replace(change, codebase=codebase)
            elif codebase is not None:
                log.error(
                    "codebaseGenerator must return text", change=change.revision, returned=shown(codebase)
                )
        if not change.revlink and change.revision and self.revlink is not None:
            link = await self._ask("revlink", change, self.revlink, change.revision, change.repository)
            if isinstance(link, str):
                change = replace(change, revlink=link or None)
            elif link is not None:
                log.error("revlink must return text", change=change.revision, returned=shown(link))
        return change

    async def _ask(self, what: str, change: NewChange, function: Callable[..., Any], *args: Any) -> Any:
        if what in self._lost:
            return None
        try:
            return await ask(what, function, *args)
        except Exception as problem:
            if isinstance(problem, TookTooLong):
                self._lost.add(what)
            log.exception(
                "a function of the configuration failed; the change goes on without it",
                function=what,
                repository=change.repository,
                revision=change.revision,
                error=f"{type(problem).__name__}: {problem}",
            )
            return None


def as_dict(change: NewChange) -> dict[str, Any]:
    """The change as functions of the configuration know it."""
    return {
        "changeid": None,
        "author": change.author,
        "committer": change.committer,
        "files": list(change.files),
        "comments": change.comments,
        "revision": change.revision,
        "branch": change.branch,
        "category": change.category,
        "revlink": change.revlink or "",
        "properties": dict(change.properties),
        "repository": change.repository,
        "project": change.project,
        "when_timestamp": None if change.when_us is None else change.when_us // 1_000_000,
        "codebase": None,
    }
