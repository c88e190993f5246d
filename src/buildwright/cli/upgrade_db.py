"""`buildwright upgrade-db`: make a database's tables, or bring them to this version's."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click

from buildwright.cli import status
from buildwright.cli.basedir import BASEDIR
from buildwright.cli.database import database_of
from buildwright.cli.faults import Failure
from buildwright.cli.progress import waiting
from buildwright.store.errors import StoreError
from buildwright.store.migrate import Inspection, State, inspect, upgrade


@click.command(name="upgrade-db")
@click.argument("basedir", type=BASEDIR, default=Path())
@click.option(
    "--check", "only_check", is_flag=True, help="Only tell; exit code 1 if there is something to do."
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(basedir: Path, only_check: bool, as_json: bool) -> None:
    """Bring the database of BASEDIR's configuration (by default this directory's) up to date.

    An empty database gets its tables (which `buildwright start` does by itself), one of an older version is
    migrated: stop all its masters and make a backup first. It is one transaction, so what fails leaves the
    database as it was. Databases of Buildbot or of other programs are never written.

    \b
    Examples:
      buildwright upgrade-db --check
      buildwright upgrade-db /srv/ci
    """
    basedir = basedir.absolute()
    try:
        db_url = asyncio.run(database_of(basedir))
        found = asyncio.run(inspect(db_url, basedir))
        if not only_check:
            _upgrade(db_url, basedir, found, quiet=as_json)
    except StoreError as error:
        raise Failure(str(error)) from None
    done = not only_check and found.state in (State.EMPTY, State.OLDER)
    if as_json:
        told = {"state": found.state.value, "schema": found.revision, "wanted": found.head, "upgraded": done}
        print(json.dumps(told))
    elif done:
        was = f"had schema {found.revision}" if found.revision else "was empty"
        click.echo(f"{found.name}: it {was} and now has schema {found.head}.")
    else:
        click.echo(found.text)
    if only_check and found.state is not State.CURRENT:
        raise click.exceptions.Exit(1)


def _upgrade(db_url: str, basedir: Path, found: Inspection, *, quiet: bool) -> None:
    if found.state not in (State.EMPTY, State.CURRENT, State.OLDER):
        raise Failure(found.text)
    if found.state is State.CURRENT:
        return
    pid = status.running(basedir)
    if pid is not None:
        raise Failure(f"a master runs on {basedir} (process {pid}): stop it first")
    with waiting(f"upgrading {found.name} to schema {found.head}", quiet=quiet):
        asyncio.run(upgrade(db_url, basedir))
