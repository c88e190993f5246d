"""`buildwright cleanup`: remove now what is beyond `c['retention']`, or tell what that would be."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from buildwright.cli import looks
from buildwright.cli.basedir import BASEDIR
from buildwright.cli.database import configuration_of, noted, opened
from buildwright.cli.progress import waiting

if TYPE_CHECKING:
    from buildwright.master.retention import Count
    from buildwright.model.snapshot import Snapshot


@click.command(name="cleanup")
@click.argument("basedir", type=BASEDIR, default=Path())
@click.option("--dry-run", is_flag=True, help="Only tell what would go.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(basedir: Path, dry_run: bool, as_json: bool) -> None:
    """Remove what the configuration's `retention` doesn't keep, from the database of BASEDIR (by default this
    directory).

    A running master does the same by itself, a little at a time; this does all of it at once, with or without
    one. What something open refers to stays. With --dry-run nothing is written.

    \b
    Examples:
      buildwright cleanup --dry-run
      buildwright cleanup /srv/ci --json
    """
    basedir = basedir.absolute()
    snapshot = configuration_of(basedir)
    with waiting("Looking ..." if dry_run else "Removing ...", quiet=as_json):
        found = asyncio.run(_look(basedir, snapshot) if dry_run else _remove(basedir, snapshot))
    if as_json:
        told = {"dry_run": dry_run, "rule": snapshot.retention.text}
        parts = {name or "general": asdict(counted) for name, counted in found.items()}
        print(json.dumps({**told, "gone": parts}, indent=2))
        return
    click.echo(f"What is kept: {snapshot.retention.text}.")
    if not found:
        click.echo("There is nothing else, so nothing to remove.")
        return
    click.echo("This would be removed:" if dry_run else "This was removed:")
    head = ("OF BUILDER", "BUILDS", "LOGS", "", "OTHER")
    click.echo(looks.table(head, [_row(*each) for each in found.items()]))
    if dry_run:
        click.echo("Nothing was removed: this was a dry run.")


async def _look(basedir: Path, snapshot: Snapshot) -> dict[str, Count]:
    from buildwright.master.retention import Pass

    async with opened(basedir, snapshot) as store:
        return await Pass(store, snapshot.retention, time.time_ns() // 1000).count()


async def _remove(basedir: Path, snapshot: Snapshot) -> dict[str, Count]:
    """Gives what a look before it has found."""
    from buildwright.logs.blobs import open_blobs
    from buildwright.master.retention import Pass, remove_at_once

    async with opened(basedir, snapshot) as store:
        now_us = time.time_ns() // 1000
        found = await Pass(store, snapshot.retention, now_us).count()
        blobs = open_blobs(snapshot.log_store, store, basedir / "logs")
        await noted(store, "cleanup", "/", json.dumps({"rule": snapshot.retention.text}))
        await remove_at_once(store, blobs, snapshot.retention, now_us)
        return found


def _row(name: str, counted: Count) -> tuple[str, ...]:
    if not name:
        return "(of none)", "", "", "", f"{counted.changes} changes, {counted.audits} entries of the audit"
    other = [
        text
        for number, text in (
            (counted.requests, f"{counted.requests} requests without builds"),
            (counted.build_data, f"data of {counted.build_data} builds"),
        )
        if number
    ]
    size = looks.size(counted.log_bytes) if counted.logs else ""
    return name, str(counted.builds or ""), str(counted.logs or ""), size, ", ".join(other)
