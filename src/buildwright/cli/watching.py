"""Several builds while they run: a bar for each on a terminal, a line for each end anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import click

from buildwright.cli import looks
from buildwright.cli.client import Away, Master, away_again
from buildwright.cli.following import events


class Shown(Protocol):
    """Where what is known of the builds goes."""

    def tell(self, builder: str, text: str, done: int, results: int | None) -> None:
        """``done``: how many steps have ended; with ``results`` the build has."""
        ...


class Quiet:
    """Says nothing."""

    def tell(self, builder: str, text: str, done: int, results: int | None) -> None:
        pass


class Lines:
    """A line whenever a builder's text changes."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def tell(self, builder: str, text: str, done: int, results: int | None) -> None:  # noqa: ARG002
        if self._told.get(builder) != text:
            self._told[builder] = text
            click.echo(f"{builder}: {text}")


class Bars:
    """A bar for each builder, full at its end."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._tasks: dict[str, Any] = {}

    def tell(self, builder: str, text: str, done: int, results: int | None) -> None:
        if builder not in self._tasks:
            self._tasks[builder] = self._progress.add_task(builder, total=None, text="")
        total = max(done, 1) if results is not None else None
        self._progress.update(
            self._tasks[builder], completed=done if total is None else total, total=total, text=text
        )


@contextmanager
def shown(*, quiet: bool = False) -> Iterator[Shown]:
    """The best that this output can show."""
    if quiet:
        yield Quiet()
    elif sys.stdout.isatty():
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[text]}", markup=False),
        )
        with Progress(*columns) as progress:
            yield Bars(progress)
    else:
        yield Lines()


async def watch(master: Master, requests: Mapping[str, int], show: Shown) -> dict[str, dict[str, Any]]:
    """Follow build requests, by the builder's name, to their ends.

    Gives for each the results of its request, and id and number of its last build (None without one).
    """
    ended: dict[str, dict[str, Any]] = {}
    async with events(master) as woken:
        await woken.of(*(f"buildrequests/{requestid}/*" for requestid in requests.values()))
        while True:
            for builder, requestid in requests.items():
                if builder not in ended:
                    found = await away_again(lambda: _look(master, builder, requestid, show), _away)  # noqa: B023
                    if found is not None:
                        ended[builder] = found
            if len(ended) == len(requests):
                return ended
            await woken.change()


def _away(away: Away) -> None:
    click.echo(f"{away.message}\nWaiting for it; builds go on meanwhile.", err=True)


async def _look(master: Master, builder: str, requestid: int, show: Shown) -> dict[str, Any] | None:
    request = await master.one(f"buildrequests/{requestid}")  # first: a build that it had is seen then
    builds = await master.all(f"buildrequests/{requestid}/builds", order="-buildid", limit=1)
    build = builds[0] if builds else {"buildid": None, "number": None, "state_string": ""}
    done, running = 0, ""
    if builds:
        steps = await master.all(f"builds/{build['buildid']}/steps", order="number")
        done = sum(step["complete"] for step in steps)
        running = next((step["name"] for step in steps if step["started_at"] and not step["complete"]), "")
    if request["complete"]:
        state = f": {build['state_string']}" if build["state_string"] else ""
        show.tell(builder, f"{looks.result(request['results'])}{state}", done, request["results"])
        return {"results": request["results"], "buildid": build["buildid"], "number": build["number"]}
    if builds and not build["complete"]:
        show.tell(builder, f"build {build['number']}: {running or 'is starting'}", done, None)
    else:
        show.tell(builder, f"waiting: {request['waits_for'] or 'a moment'}", done, None)
    return None
