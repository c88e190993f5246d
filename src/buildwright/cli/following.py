"""Following a build: its steps and the lines of its logs as they come, until it ends.

What is shown is read from the data API, in the order of the steps, each log from the line after the last one
shown. Events only say when to look again; without them (a proxy that knows no WebSockets, a master that is
away) it is looked once a second. A build outlives its master, so while nobody answers it is waited, and then
gone on where it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import aiohttp
import click

from buildwright.cli import looks
from buildwright.cli.client import Away, Master, NotThere, away_again
from buildwright.cli.printing import Printer
from buildwright.cli.progress import waiting
from buildwright.model.results import RETRY

PAGE_LINES = 5000
LOOK_SECONDS = 1.0


class Reads(Protocol):
    """Where a build is read from: a master, or what runs in this process."""

    async def all(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """The things of a collection of the data API."""
        ...

    async def one(self, path: str, **query: Any) -> dict[str, Any]:
        """One thing."""
        ...


class Wakes(Protocol):
    """Who is told what to be woken by."""

    async def of(self, *paths: str) -> None:
        """Be woken by these events too."""
        ...


class Events:
    """Wakes who waits for something to change."""

    def __init__(self, master: Master) -> None:
        self._master = master
        self._changed = asyncio.Event()
        self._wanted: list[str] = []
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def of(self, *paths: str) -> None:
        """Be woken by these events too."""
        for path in paths:
            if path not in self._wanted:
                self._wanted.append(path)
                if self._socket is not None:
                    with contextlib.suppress(ConnectionError):
                        await self._subscribe(self._socket, path)

    async def change(self) -> None:
        """Until something has changed since the last call, but not for long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), LOOK_SECONDS)
        self._changed.clear()

    async def listen(self) -> None:
        """Keep a connection for events; runs until it is cancelled."""
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with self._master.events() as socket:
                    for path in self._wanted:
                        await self._subscribe(socket, path)
                    self._socket = socket
                    async for _ in socket:
                        self._changed.set()
            self._socket = None
            await asyncio.sleep(LOOK_SECONDS)

    async def _subscribe(self, socket: aiohttp.ClientWebSocketResponse, path: str) -> None:
        await socket.send_str(json.dumps({"cmd": "startConsuming", "path": path, "_id": path}))


@asynccontextmanager
async def events(master: Master) -> AsyncIterator[Events]:
    """Events for as long as somebody follows."""
    made = Events(master)
    listening = asyncio.create_task(made.listen(), name="listen for events")
    try:
        yield made
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


def _say_away(away: Away) -> None:
    click.echo(f"{away.message}\nWaiting for it; builds go on meanwhile.", err=True)


async def follow_request(
    master: Master, requestid: int, printer: Printer, *, step: str | None = None, log: str | None = None
) -> int:
    """Follow what becomes of a build request, through all its attempts; gives the result."""
    shown: set[int] = set()
    async with events(master) as woken:
        await woken.of(f"buildrequests/{requestid}/*")
        with waiting("waiting for the build to start", quiet=printer.quiet) as tell:
            while True:
                builds = await away_again(
                    lambda: master.all(f"buildrequests/{requestid}/builds", order="buildid"), _say_away
                )
                if builds:
                    break
                request = await away_again(lambda: master.one(f"buildrequests/{requestid}"), _say_away)
                if request["complete"]:
                    return int(request["results"])
                tell(f"waiting for the build to start: {request['waits_for'] or 'a moment'}")
                await woken.change()
        while True:
            fresh = [build for build in builds if build["buildid"] not in shown]
            for build in fresh:
                shown.add(build["buildid"])
                results = await follow_build(master, build["buildid"], printer, step=step, log=log)
                if results != RETRY:
                    return results
            request = await away_again(lambda: master.one(f"buildrequests/{requestid}"), _say_away)
            if request["complete"] and not fresh:
                return int(request["results"])
            await woken.change()
            builds = await away_again(
                lambda: master.all(f"buildrequests/{requestid}/builds", order="buildid"), _say_away
            )


async def follow_build(
    master: Master, buildid: int, printer: Printer, *, step: str | None = None, log: str | None = None
) -> int:
    """Show a build's logs as they grow, those asked for, until there is no more to come; gives the result.

    With a step, it ends with the step; the result is the step's then.
    """
    view = View(master, buildid, printer, step, log)
    async with events(master) as woken:
        await woken.of(f"builds/{buildid}/*", f"builds/{buildid}/steps/*/*")
        while not await away_again(lambda: view.look(woken), _say_away):
            await woken.change()
    return view.results


class View:
    """What of a build has been shown."""

    def __init__(
        self,
        master: Reads,
        buildid: int,
        printer: Printer,
        step: str | None = None,
        log: str | None = None,
    ) -> None:
        self._master = master
        self._buildid = buildid
        self._printer = printer
        self._step = step
        self._log = log
        self._lines: dict[int, int] = {}  # of each log, how many are shown
        self._over: set[int] = set()  # steps that are shown to their ends
        self.results = RETRY

    async def look(self, woken: Wakes) -> bool:
        """Show what is new; whether that was the last of it."""
        build = await self._master.one(f"builds/{self._buildid}")
        steps = await self._master.all(f"builds/{self._buildid}/steps", order="number")
        if self._step is not None:
            steps = [each for each in steps if self._step in (each["name"], str(each["number"]))]
            if not steps and build["complete"]:
                raise NotThere(f"the build has ended without a step {self._step!r}")
        for step in steps:
            if step["stepid"] in self._over:
                continue
            if step["started_at"] is not None and not step["hidden"]:
                self._printer.step(step)
                logs = await self._master.all(f"steps/{step['stepid']}/logs", order="logid")
                for log in logs:
                    if self._log in (None, log["name"], log["slug"]):
                        await woken.of(f"logs/{log['logid']}/*")
                        await self._show(step, log)
            if not step["complete"]:
                break
            # Its logs were read after it: they are complete too.
            self._over.add(step["stepid"])
            self._printer.step_over(step)
        if self._step is not None and steps:
            self.results = steps[-1]["results"] if steps[-1]["complete"] else RETRY
            return steps[-1]["stepid"] in self._over
        if build["complete"] and all(each["stepid"] in self._over for each in steps):
            self.results = build["results"]
            self._printer.build_over(build)
            return True
        return False

    async def _show(self, step: dict[str, Any], log: dict[str, Any]) -> None:
        shown = self._lines.get(log["logid"], 0)
        if shown < log["num_lines"]:
            async for text in lines(self._master, log, shown, log["num_lines"]):
                self._printer.lines(step, log, text)
            self._lines[log["logid"]] = log["num_lines"]


async def lines(
    master: Reads, log: dict[str, Any], first: int, end: int
) -> AsyncIterator[list[tuple[str, str]]]:
    """Lines of a log, each with its stream's letter, a page at a time."""
    while first < end:
        count = min(PAGE_LINES, end - first)
        [chunk] = await master.all(f"logs/{log['logid']}/contents", offset=first, limit=count)
        found = chunk["content"].split("\n")[:-1]
        if not found:
            return
        yield [(line[:1], line[1:]) if log["type"] == "s" else ("o", line) for line in found]
        first += len(found)


def summary(build: dict[str, Any], name: str) -> str:
    """How a build has ended, in one line."""
    took = looks.took(build["started_at_us"], build["complete_at_us"])
    state = f": {build['state_string']}" if build["state_string"] else ""
    return f"{name} {looks.result(build['results'])} after {took}{state}"
