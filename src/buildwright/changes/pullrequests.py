"""What pollers of pull requests share.

A poll reads the list of open pull requests, and makes a change of each whose newest commit isn't the one that
it knows. Known are the newest commits of those that are open; a change's identity keeps any repetition from
counting twice (P1). The first poll tells of all that are open. A rate limit in the middle ends a poll, and
what was found before counts.
"""

from __future__ import annotations

import abc
import datetime as dt
import fnmatch
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildwright.changes.base import Found, Poll, PollError, PollingChangeSource
from buildwright.changes.http import Api, RateLimited
from buildwright.changes.tools import ask
from buildwright.model.errors import error, expect, shown
from buildwright.model.properties import Properties, json_problem
from buildwright.model.render import render

if TYPE_CHECKING:
    from buildwright.store.units.changes import NewChange

HEADS = "heads"


@dataclass(frozen=True, slots=True)
class PullRequest:
    """An open pull request, as the list of them has it."""

    number: int
    revision: str  # of its newest commit; perhaps only its beginning
    branch: str  # its own, or the one that it is for: what `branches` speaks of
    content: Mapping[str, Any]


class PullRequestPoller(PollingChangeSource, abc.ABC):
    """Looks for pull requests with new commits."""

    def __init__(
        self,
        name: str,
        branches: Sequence[str] | None,
        pullrequest_filter: bool | Callable[[Mapping[str, Any]], Any],
        category: Any,
        project: str | None,
        whitelist: Sequence[str] | None,
        prefix: str,
        *,
        pollInterval: float,
        pollAtLaunch: bool,
    ) -> None:
        super().__init__(name, pollInterval=pollInterval, pollAtLaunch=pollAtLaunch)
        chosen: Any = pullrequest_filter
        if not callable(chosen) and not isinstance(chosen, bool):
            error(
                f"{self.what}: pullrequest_filter must be a function of a pull request, True or False,"
                f" not {shown(pullrequest_filter)}"
            )
        for key, value in {"branches": branches, f"{prefix}_property_whitelist": whitelist}.items():
            if value is not None and expect(value, (list, tuple), f"{self.what}: {key}", "a list of texts"):
                for each in value:
                    expect(each, str, f"{self.what}: each of {key}", "text")
        if category is not None and not callable(category):
            expect(category, str, f"{self.what}: category", "text or a function")
        if project is not None:
            expect(project, str, f"{self.what}: project", "text")
        self.branches = list(branches) if branches is not None else None
        self.pullrequest_filter = pullrequest_filter
        self.category = category
        self.project = project
        self.whitelist = [str(each) for each in whitelist or ()]
        self.prefix = prefix

    # -- to be overridden ------------------------------------------------------------

    @abc.abstractmethod
    def api(self, credentials: Any) -> AbstractAsyncContextManager[Api]:
        """A session with the forge, with the rendered credentials."""

    @abc.abstractmethod
    def pull_requests(self, api: Api) -> AsyncIterator[PullRequest]:
        """All that are open."""

    @abc.abstractmethod
    async def change(self, api: Api, pull: PullRequest) -> NewChange:
        """What a pull request brings, with its whole revision."""

    @property
    @abc.abstractmethod
    def credentials(self) -> Any:
        """A renderable of what the forge wants to see."""

    # -- polling ------------------------------------------------------------

    async def poll(self, poll: Poll) -> Found:
        props = Properties()
        props.secret_source = poll.secret_source
        try:
            credentials = await render(self.credentials, props)
        except Exception as problem:
            raise PollError(
                f"{self.what} can't be rendered: {type(problem).__name__}: {problem}"
            ) from problem
        known: dict[str, str] = dict((poll.state or {}).get(HEADS, {}))
        heads: dict[str, str] = {}
        changes: list[NewChange] = []
        async with self.api(credentials) as api:
            try:
                async for pull in self.pull_requests(api):
                    before = known.get(str(pull.number))
                    if not self._wants(pull):
                        continue
                    if before is not None and before.startswith(pull.revision):
                        heads[str(pull.number)] = before
                        continue
                    change = await self.change(api, pull)
                    changes.append(change)
                    heads[str(pull.number)] = change.revision or pull.revision
            except RateLimited as limited:
                if not changes:
                    raise
                return Found({HEADS: {**known, **heads}}, changes, str(limited))
            except (KeyError, TypeError, AttributeError, ValueError) as problem:
                raise PollError(
                    f"{self.what}: the answer makes no sense: {type(problem).__name__}: {problem}"
                ) from problem
        return Found({HEADS: heads}, changes)

    def _wants(self, pull: PullRequest) -> bool:
        if self.branches is not None and pull.branch not in self.branches:
            return False
        if not callable(self.pullrequest_filter):
            return self.pullrequest_filter
        about = f"pull request {pull.number}"
        return bool(ask(self.what, "pullrequest_filter", self.pullrequest_filter, pull.content, about=about))

    def category_of(self, known: Mapping[str, Any]) -> str | None:
        """The category of a change, which is given as data."""
        if not callable(self.category):
            return None if self.category is None else str(self.category)
        value = ask(self.what, "category", self.category, known, about=known.get("revision"))
        return None if value is None else str(value)

    def properties(self, content: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
        """What of a pull request's data becomes properties: those whose names are asked for."""
        return {
            name: (value, "Change")
            for name, value in flat(content, self.prefix)
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in self.whitelist)
            and json_problem(value) is None
        }


def flat(content: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The values of nested data by their paths, ``github.head.sha`` say."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from flat(value, f"{name}.{key}")
    else:
        yield name, content


def when_us(text: Any) -> int | None:
    """A time as the APIs write it, in microseconds since the epoch."""
    try:
        return int(dt.datetime.fromisoformat(str(text)).timestamp() * 1_000_000)
    except ValueError:
        return None
