"""Gerrit's log of events over HTTP, from its plugin events-log, and a poller of it.

What is remembered is the time of the newest event. The log is asked for all from then on, so the events of
that second come again; their identity keeps them from counting twice.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from buildwright.changes.base import Found, Poll, PollError, PollingChangeSource
from buildwright.changes.gerrit import PATCHSET_CREATED, REF_UPDATED, Event, GerritEvents, created, parsed
from buildwright.changes.http import Api, api, basic
from buildwright.model.errors import error, expect
from buildwright.model.logger import get_logger
from buildwright.model.properties import Properties
from buildwright.model.render import is_renderable, render

if TYPE_CHECKING:
    from buildwright.store.units.changes import NewChange

log = get_logger(__name__)

LAST = "last_event_ts"
DAY = 86400


def check_auth(what: str, auth: Any) -> None:
    if auth is not None and not is_renderable(auth):
        pair = isinstance(auth, list | tuple) and len(auth) == 2
        if not pair:
            error(f"{what} must be (user, password)", "Gerrit's HTTP password of that user")


async def rendered_auth(what: str, auth: Any, poll: Poll) -> Any:
    """A user and a password; raises PollError."""
    props = Properties()
    props.secret_source = poll.secret_source
    try:
        return await render(auth, props)
    except Exception as problem:
        raise PollError(f"{what} can't be rendered: {type(problem).__name__}: {problem}") from problem


def gerrit_api(base: str, auth: Any) -> AbstractAsyncContextManager[Api]:
    """A session with Gerrit, with a rendered user and password."""
    headers = {"Accept": "application/json"}
    if auth is not None:
        headers["Authorization"] = basic(*auth)
    return api(base, "Check the user and password, and that the address ends in /a.", headers)


async def events_since(session: Api, seconds: int) -> list[Event]:
    """The events from a time on."""
    since = dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
    text = await session.text("/plugins/events-log/events/", t1=since)
    events = [parsed(line) for line in text.splitlines() if line.strip()]
    return [event for event in events if event is not None]


async def changes_of(session: Api, taken: GerritEvents, events: Sequence[Event]) -> list[NewChange]:
    """The changes that events from the log tell of."""
    changes = []
    for event in events:
        if taken.wants(event):
            files = await _files(session, event) if taken.get_files else ()
            try:
                change = taken.change(event, files)
            except PollError as problem:  # it would stand in the way of all that follow
                log.warning("an event is left out", source=taken.name, reason=str(problem))
                continue
            if change is not None:
                changes.append(change)
    return changes


async def _files(session: Api, event: Event) -> Sequence[str]:
    """The files of an event's patch set, as far as Gerrit tells."""
    try:
        number, patchset = int(event["change"]["number"]), int(event["patchSet"]["number"])
    except (KeyError, TypeError, ValueError):
        return ()
    text = await session.text(f"/changes/{number}/revisions/{patchset}/files/")
    try:
        found = json.loads(text.removeprefix(")]}'"))
    except ValueError:
        return ()
    return [name for name in found if name != "/COMMIT_MSG"]


def newest(last: int, events: Sequence[Event]) -> int:
    return max([last, *map(created, events)])


class GerritEventLogPoller(PollingChangeSource):
    """Looks into Gerrit's log of events. ``baseURL`` ends in ``/a``, as the log's own address does before
    ``/plugins``; the first poll looks ``firstFetchLookback`` days back.

    Example::

        c["change_source"].append(
            changes.GerritEventLogPoller(
                "https://gerrit.example.org/a",
                auth=("ci", util.Secret("gerrit-password")),
                handled_events=["patchset-created"],
                gitBaseURL="https://gerrit.example.org",
            )
        )
    """

    def __init__(
        self,
        baseURL: str,
        auth: Any,
        pollInterval: float = 30,
        pollAtLaunch: bool = True,
        firstFetchLookback: float = 30,
        name: str | None = None,
        gitBaseURL: str | None = None,
        handled_events: Sequence[str] = (PATCHSET_CREATED, REF_UPDATED),
        debug: bool = False,  # noqa: ARG002 - the log tells of what is wrong anyway
        get_files: bool = False,
    ) -> None:
        super().__init__(
            name or f"GerritEventLogPoller:{baseURL}", pollInterval=pollInterval, pollAtLaunch=pollAtLaunch
        )
        expect(baseURL, str, f"{self.what}: baseURL", "text")
        check_auth(f"{self.what}: auth", auth)
        expect(firstFetchLookback, (int, float), f"{self.what}: firstFetchLookback", "a number of days")
        self.baseURL = str(baseURL).rstrip("/")
        self.auth = auth
        self.firstFetchLookback = firstFetchLookback
        self.events = GerritEvents(self.what, self.name, gitBaseURL, handled_events, get_files)

    async def poll(self, poll: Poll) -> Found:
        state: Mapping[str, Any] = poll.state or {}
        last = int(state.get(LAST, time.time() - self.firstFetchLookback * DAY))
        auth = await rendered_auth(self.what, self.auth, poll)
        async with gerrit_api(self.baseURL, auth) as session:
            events = await events_since(session, last)
            changes = await changes_of(session, self.events, events)
        return Found({LAST: newest(last, events)}, changes)
