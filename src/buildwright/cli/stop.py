"""`buildwright stop`: end a master, at once or when its builds are done.

It is asked by a signal, and has ended when its process has. Without ``--drain`` the commands of running
builds go on at their workers, and the next start goes on with the builds.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

import click

from buildwright.cli import status
from buildwright.cli.basedir import BASEDIR, ask, master_on
from buildwright.cli.faults import Failure
from buildwright.cli.progress import waiting
from buildwright.workers.lockfile import holder

WORKER_LOCK = ".buildwright/lock"
POLL_SECONDS = 0.05
BUILDS_SECONDS = 2.0


@click.command(name="stop")
@click.argument("basedir", type=BASEDIR, default=Path())
@click.option("--drain", is_flag=True, help="Start no more builds, and stop when the running ones are done.")
@click.option(
    "--workers", is_flag=True, help="End the master's local workers too; what they run is tried again."
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until it has ended.")
@click.option("--json", "as_json", is_flag=True, help="Print what happened as JSON.")
def command(basedir: Path, drain: bool, workers: bool, wait: bool, as_json: bool) -> None:
    """Stop the master of BASEDIR (by default this directory).

    Commands that run for builds go on at their workers, local ones included, and the next start goes on with
    the builds. With --drain, no build is left running. Ctrl-C ends the waiting only; a drain that is under
    way is cut short by `buildwright stop` without --drain.

    \b
    Examples:
      buildwright stop
      buildwright stop /srv/ci --drain
      buildwright stop --drain --workers      leaves nothing running
    """
    if workers and not wait:
        raise click.UsageError("--workers ends them after the master has ended: without --no-wait")
    pid = master_on(basedir)
    told = status.read(basedir, pid)
    ask(pid, signal.SIGUSR1 if drain else signal.SIGTERM)
    if wait:
        _wait(basedir, pid, drain=drain, quiet=as_json)
    ended = asyncio.run(_end(told.local_workers)) if workers and told is not None else []
    if as_json:
        print(json.dumps({"pid": pid, "stopped": wait, "workers_ended": ended}))
        return
    if not wait:
        click.echo(f"The master (process {pid}) was told to {'drain' if drain else 'stop'}.")
        return
    click.echo(f"The master (process {pid}) has stopped.")
    for name in ended:
        click.echo(f"Local worker {name} has ended.")
    left = _still_running(told.local_workers) if told is not None else []
    if left:
        click.echo("Local workers run on for the next start; `buildwright-worker stop` ends one:")
        for directory in left:
            click.echo(f"  {directory}")


def _wait(basedir: Path, pid: int, *, drain: bool, quiet: bool) -> None:
    text = f"waiting for the master (process {pid}) to {'drain' if drain else 'stop'}"
    look = 0.0
    try:
        with waiting(text, quiet=quiet) as tell:
            while status.alive(pid):
                if drain and not quiet and time.monotonic() >= look:
                    running = asyncio.run(_running(basedir))
                    if running:
                        tell(f"{text}: {running}")
                    look = time.monotonic() + BUILDS_SECONDS
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        raise Failure("not waiting any longer; the master goes on with what it was told") from None


async def _running(basedir: Path) -> str:
    """Which builds run, in a few words; nothing, if the master can't be asked."""
    from buildwright.cli.client import Where, master_at
    from buildwright.cli.naming import names

    try:
        async with master_at(Where(None, None, None, basedir)) as master:
            builds = await master.all("builds", complete=False, order="buildid")
            builders = await names(master, "builders") if builds else {}
    except Failure:
        return ""
    shown = ", ".join(f"{builders.get(each['builderid'])}/{each['number']}" for each in builds[:5])
    more = f" and {len(builds) - 5} more" if len(builds) > 5 else ""
    return f"{shown}{more} still running" if builds else ""


def _still_running(directories: list[str]) -> list[str]:
    return [each for each in directories if holder(Path(each) / WORKER_LOCK) is not None]


async def _end(directories: list[str]) -> list[str]:
    """End the local workers that run; their names."""

    async def one(directory: str) -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "buildwright_worker", "stop", directory, stdout=asyncio.subprocess.DEVNULL
        )
        if await process.wait():
            raise Failure(f"the local worker in {directory} has not ended: look at its worker.log")
        return Path(directory).name

    return await asyncio.gather(*map(one, _still_running(directories)))
