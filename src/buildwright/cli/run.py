"""`buildwright run`: a builder here and now, without a master.

What the build prints is read as `buildwright log` reads it: from the data API, asked in this process.
Builds that a step triggers are shown one after another, to their ends, before what triggered them goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from buildwright.cli.faults import Failure
from buildwright.cli.given import builder_of, configuration, loaded, named_values
from buildwright.cli.printing import Printer
from buildwright.model.errors import suggest
from buildwright.model.results import RETRY, SKIPPED, SUCCESS, WARNINGS

if TYPE_CHECKING:
    from buildwright.cli.following import View
    from buildwright.master.alone import Alone
    from buildwright.model.builders import BuilderConfig
    from buildwright.store.unit import Hint

LOOK_SECONDS = 1.0


@click.command(name="run")
@click.argument("builder")
@configuration
@click.option(
    "-p",
    "--property",
    "properties",
    metavar="NAME=VALUE",
    multiple=True,
    callback=named_values,
    help="A property of the build; true, 5, [1] and {} are what they are in JSON, other values are text.",
)
@click.option("--branch", help="What to build.")
@click.option("--revision", help="What to build, exactly.")
@click.option("--repository", help="Where it is from, for steps that ask.")
@click.option("--codebase", help="Which codebase these are of; by default all that the builder's steps get.")
@click.option("--worker", help="As which of the builder's workers; by default its first.")
@click.option(
    "--workdir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to build, and what is left there stays. By default a new directory, which goes at the end.",
)
@click.option("--keep", is_flag=True, help="Leave the new directory where it is, and say where.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print what came of it as JSON, and the logs to standard error."
)
def command(
    builder: str,
    path: Path,
    properties: dict[str, Any],
    branch: str | None,
    revision: str | None,
    repository: str | None,
    codebase: str | None,
    worker: str | None,
    workdir: Path | None,
    keep: bool,
    as_json: bool,
) -> None:
    """Run BUILDER of a configuration on this machine, without a master.

    Its steps run as a worker would run them: their commands, on this machine, as this user. What steps do on
    the master they do here too, in the configuration's directory. Nothing is stored, no running master is
    asked, and no scheduler starts anything but what a step triggers.

    The exit code is 0 if the build succeeds, else 1. Ctrl-C stops the build as a master would stop it, the
    second one kills it.

    \b
    Examples:
      buildwright run linux-tests
      buildwright run linux-tests --branch feature -p runtests=false
      buildwright run release --config /srv/ci --workdir /tmp/release -p version=1.2
      buildwright run linux-tests --json 2> build.log | jq '.builds[0].properties'
    """
    snapshot = loaded(path)
    wanted = builder_of(snapshot, builder)
    if worker is not None and worker not in wanted.workernames:
        names = ", ".join(wanted.workernames)
        raise Failure(
            f"builder {builder!r} has no worker {worker!r}: {suggest(worker, wanted.workernames) or names}"
        )
    from buildwright.master.alone import Alone
    from buildwright_worker.posix import LockHeld

    stamps = _stamps(wanted, codebase, {"branch": branch, "revision": revision, "repository": repository})
    logging.getLogger("buildwright_worker").setLevel(logging.ERROR)
    _log_warnings()
    directory = workdir if workdir is not None else Path(tempfile.mkdtemp(prefix="buildwright-"))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        alone = Alone(snapshot, wanted, worker or wanted.workernames[0], directory.absolute())
        run = _Run(alone, sys.stderr if as_json else sys.stdout)
        results = asyncio.run(run.run(stamps, properties))
    except OSError as problem:
        raise Failure(f"can't build in {directory}: {problem.strerror}") from None
    except LockHeld as held:
        raise Failure(
            f"process {held.pid} builds in {directory}: wait for its end, or give another --workdir"
        ) from None
    finally:
        if workdir is None and not keep:
            shutil.rmtree(directory, ignore_errors=True)
    if workdir is None and keep:
        click.echo(f"What was built is in {directory}", err=True)
    if as_json:
        print(json.dumps(run.outcome, indent=2))
    sys.exit(0 if results in (SUCCESS, WARNINGS, SKIPPED) else 1)


def _log_warnings() -> None:
    from buildwright.cli.logging import set_up

    set_up("text", logging.WARNING)


def _stamps(
    builder: BuilderConfig, codebase: str | None, asked: dict[str, str | None]
) -> list[dict[str, Any]]:
    """A source stamp per codebase of the builder's steps, with what was asked for."""
    from buildwright.master.alone import codebases_of

    known = codebases_of(builder)
    if codebase is not None and codebase not in known:
        names = ", ".join(repr(name) for name in known)
        raise Failure(
            f"no step of builder {builder.name!r} gets the codebase {codebase!r}: there are {names}"
        )
    given = {name: value for name, value in asked.items() if value is not None}
    return [
        {"codebase": name, "repository": repository, **(given if codebase in (None, name) else {})}
        for name, repository in known.items()
    ]


class _Here:
    """The data API's reads, in this process."""

    def __init__(self, alone: Alone) -> None:
        from buildwright.web.data import Data

        self._services = alone.services()
        self._data = Data(self._services)

    async def all(self, path: str, **query: Any) -> list[dict[str, Any]]:
        from buildwright.web.data import TABLE
        from buildwright.web.logtext import LogPath
        from buildwright.web.paths import split
        from buildwright.web.resource import Computed, Endpoint

        found = TABLE.find(split(path))
        assert found is not None
        target, params = found
        if isinstance(target, LogPath):
            return [{"content": await self._content(params["logid"], query["offset"], query["limit"])}]
        assert isinstance(target, Endpoint | Computed)
        answer = await self._data.get(target, params, [(name, str(value)) for name, value in query.items()])
        return list(answer.objects)

    async def one(self, path: str, **query: Any) -> dict[str, Any]:
        return (await self.all(path, **query))[0]

    async def _content(self, logid: int, first: int, count: int) -> str:
        log = await self._services.logs.log(logid)
        lines = await self._services.logs.lines(logid, first, count)
        marked = (
            (stream if log.type == "s" else "") + line.decode("utf-8", "replace") for stream, line in lines
        )
        return "".join(line + "\n" for line in marked)


class _News:
    """Wakes at every hint."""

    def __init__(self, alone: Alone) -> None:
        self._changed = asyncio.Event()
        alone.core.bus.subscribe(None, self._on_hints)

    def _on_hints(self, hints: list[Hint]) -> None:
        del hints
        self._changed.set()

    async def of(self, *paths: str) -> None:
        """Everything wakes already."""

    async def change(self) -> None:
        """Until something has changed since the last call, but not for long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), LOOK_SECONDS)
        self._changed.clear()


class _Labelled(Printer):
    """Says which build the lines are of, when it is another one than before."""

    def __init__(self, label: str, shared: list[str], out: TextIO) -> None:
        super().__init__(out=out)
        self._label = label
        self._shared = shared  # the label that was said last

    def _say(self) -> None:
        if self._shared != [self._label]:
            self._shared[:] = [self._label]
            click.echo(click.style(f"=== {self._label}", bold=True), file=self.out)

    def step(self, step: dict[str, Any]) -> None:
        if step["stepid"] not in self._named:
            self._say()
        super().step(step)

    def lines(self, step: dict[str, Any], log: dict[str, Any], lines: list[tuple[str, str]]) -> None:
        self._say()
        super().lines(step, log, lines)

    def step_over(self, step: dict[str, Any]) -> None:
        if step["stepid"] in self._named:
            self._say()
        super().step_over(step)

    def build_over(self, build: dict[str, Any]) -> None:
        self._say()
        super().build_over(build)


class _Run:
    """The build, from its request to its end."""

    def __init__(self, alone: Alone, out: TextIO) -> None:
        self.outcome: dict[str, Any] = {}  # for programs, when it is over
        self._alone = alone
        self._out = out
        self._asked_to_stop = 0
        self._requestid = 0
        self._views: dict[int, View] = {}
        self._over: set[int] = set()
        self._label: list[str] = []
        self._stopping: set[asyncio.Task[None]] = set()

    async def run(self, stamps: Sequence[dict[str, Any]], properties: dict[str, Any]) -> int:
        """Build; gives the result."""
        alone = self._alone
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupted, task)
        try:
            await alone.start()
            self._explain()
            self._requestid = await alone.ask(stamps, properties)
            return await self._follow()
        except asyncio.CancelledError:
            if self._asked_to_stop < 2:
                raise
            task.uncancel()
            raise Failure("killed") from None
        finally:
            await alone.stop()

    def _explain(self) -> None:
        """Say where it builds, and what is other than with a master."""
        from buildwright.master.alone import locks_of, reachable, triggered
        from buildwright.schedulers.triggerable import NightlyTriggerable

        alone = self._alone
        where = alone.workdir / alone.workers[0] / alone.builder.workerbuilddir
        click.echo(f"Building {alone.builder.name} as worker {alone.workers[0]}, in {where}", err=True)
        others = [each.name for each in reachable(alone.snapshot, alone.builder)[1:]]
        if others:
            click.echo(f"What its steps trigger is built here too: {', '.join(others)}", err=True)
        late = [
            each.name
            for each in triggered(alone.snapshot, alone.builder)
            if isinstance(each, NightlyTriggerable)
        ]
        if late:
            click.echo(f"Not built here, as it waits for its time: what {', '.join(late)} starts", err=True)
        locks = [f"{access.lock.name} ({access.mode})" for access in locks_of(alone.builder)]
        if locks:
            click.echo(f"Locks: {', '.join(locks)}. Only builds of this command hold them.", err=True)

    def _interrupted(self, task: asyncio.Task[Any]) -> None:
        self._asked_to_stop += 1
        if self._asked_to_stop == 1 and self._requestid:
            click.echo("Stopping the build; once more kills it.", err=True)
            stopping = asyncio.ensure_future(self._alone.cancel(self._requestid, "interrupted"))
            self._stopping.add(stopping)
        else:
            self._asked_to_stop = 2
            task.cancel()

    async def _follow(self) -> int:
        """Show all builds until nothing is under way."""
        from buildwright.cli.following import View
        from buildwright.cli.outcome import outcome

        here, news = _Here(self._alone), _News(self._alone)
        names: dict[int, str] = {}
        while True:
            # Read before the builds: what was added after it is seen at the next look.
            open_requests = await here.all("buildrequests", complete="false")
            before = len(self._views)
            for build in await here.all("builds", order="buildid"):
                if build["buildid"] not in self._views:
                    if build["builderid"] not in names:
                        names = {each["builderid"]: each["name"] for each in await here.all("builders")}
                    label = f"{names[build['builderid']]}, build {build['number']}"
                    printer = _Labelled(label, self._label, self._out)
                    self._views[build["buildid"]] = View(here, build["buildid"], printer)
            left = sorted(set(self._views) - self._over)
            if before != len(self._views):  # first what has led to the new ones
                for buildid in left[:-1]:
                    if await self._views[buildid].look(news):
                        self._over.add(buildid)
            if left:  # the newest: what triggered it waits until it has been shown
                if await self._views[left[-1]].look(news):
                    self._over.add(left[-1])
                    continue
            elif not open_requests:
                break
            await news.change()
        self.outcome = await outcome(here, self._requestid)
        return RETRY if self.outcome["results"] is None else int(self.outcome["results"])
