"""`buildwright reload`: have a running master load its configuration again, and tell how that went.

The master is asked by SIGHUP and answers in ``status.json``, which tells of a load that began after the
asking: see :mod:`buildwright.cli.status`.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

import click

from buildwright.cli import status
from buildwright.cli.basedir import BASEDIR, ask, master_on
from buildwright.cli.faults import Failure, in_words, show_data
from buildwright.cli.progress import waiting

POLL_SECONDS = 0.02
STARTING_SECONDS = 60.0


@click.command(name="reload")
@click.argument("basedir", type=BASEDIR, default=Path())
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(basedir: Path, as_json: bool) -> None:
    """Load the configuration of the running master of BASEDIR (by default this directory) again.

    A configuration with errors changes nothing: all of them are shown, the running one stays, and the exit
    code is 1. `buildwright check` tells the same without asking the master.

    \b
    Examples:
      buildwright reload
      buildwright check /srv/ci && buildwright reload /srv/ci
    """
    pid = master_on(basedir)
    with waiting(f"the master (process {pid}) loads its configuration", quiet=as_json):
        found = _outcome(basedir, pid)
    loaded = found.outcome == status.LOADED
    if as_json:
        told = {"ok": loaded, "errors": found.errors, "warnings": found.warnings, "text": found.text}
        print(json.dumps({**told, **found.counts}, indent=2))
    elif loaded:
        show_data((), found.warnings)
        click.echo(f"The master runs the new configuration: {in_words(found.counts)}.")
    else:
        show_data(found.errors, found.warnings)
        if found.text:
            Failure(found.text).show()
        click.echo("The master goes on with the configuration that it had.", err=True)
    sys.exit(0 if loaded else 1)


def _outcome(basedir: Path, pid: int) -> status.Reload:
    """Ask, and wait for the outcome of a load that began afterwards."""
    told = _told(basedir, pid)
    ask(pid, signal.SIGHUP)
    while True:
        found = status.read(basedir, pid)
        if found is not None and found.reload.done > told.reload.begun:
            return found.reload
        if not status.alive(pid):
            raise Failure(f"the master (process {pid}) has ended meanwhile: its log says why")
        if found is not None and found.state == "stopping":
            raise Failure(f"the master (process {pid}) is stopping")
        time.sleep(POLL_SECONDS)


def _told(basedir: Path, pid: int) -> status.Status:
    """The master's status; one that still starts will have one soon."""
    until = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < until and status.alive(pid):
        found = status.read(basedir, pid)
        if found is not None:
            return found
        time.sleep(POLL_SECONDS)
    raise Failure(f"the master (process {pid}) has not started in {STARTING_SECONDS:.0f} s: its log says why")
