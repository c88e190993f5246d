"""`buildwright restore`: put a backup back, where there is no database.

Everything is checked first: the backup's files against their sums, the database as a whole, and that nothing
is overwritten. Logs and configuration come first and the database last, so what is interrupted leaves no
database, and can be done again.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import click

from buildwright.cli import status
from buildwright.cli.backup import (
    CONFIGURATION,
    DUMP,
    FILE,
    FORMAT,
    LOGS,
    MANIFEST,
    digest,
    holds,
    log_files,
)
from buildwright.cli.basedir import BASEDIR
from buildwright.cli.database import configuration_of, url_of
from buildwright.cli.faults import Failure
from buildwright.cli.progress import waiting
from buildwright.store.backup import check_dump, check_file, leap, load_file, load_server
from buildwright.store.errors import StoreError
from buildwright.store.migrate import Inspection, State, inspect, upgrade
from buildwright.store.unit import SQLITE
from buildwright.store.urls import open_store, parse


@click.command(name="restore")
@click.argument("backup", type=click.Path(path_type=Path))
@click.argument("basedir", type=BASEDIR, default=Path())
@click.option("--check", "only_check", is_flag=True, help="Only check the backup; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(backup: Path, basedir: Path, only_check: bool, as_json: bool) -> None:
    """Put the directory BACKUP that `buildwright backup` made into BASEDIR (by default this directory).

    BASEDIR's configuration says where the database goes; a directory without one gets the backup's. There
    must be no database yet, and no master may run. A backup of an older version is upgraded.

    \b
    Examples:
      buildwright restore /backups/ci-monday --check
      buildwright restore /backups/ci-monday /srv/ci
    """
    backup, basedir = backup.absolute(), basedir.absolute()
    manifest = _manifest(backup)
    found: Inspection | None = None
    with waiting("checking the backup", quiet=as_json) as tell:
        try:
            _check(backup, manifest)
            if not only_check:
                tell(f"restoring to {basedir}")
                found = _restore(backup, basedir, manifest)
        except StoreError as error:
            raise Failure(str(error)) from None
        except OSError as error:
            raise Failure(f"{error.filename or basedir}: {error.strerror}") from None
    if as_json:
        told = {key: manifest[key] for key in ("version", "schema", "database", "made_at_us", "sealed_logs")}
        print(json.dumps({**told, "restored": found is not None}))
    elif found is None:
        has = holds(manifest["sealed_logs"], manifest["schema"])
        click.echo(f"{backup} is whole: it has {has}.")
    else:
        click.echo(f"{found.name} is restored, with {log_files(manifest['sealed_logs'])}.")
        click.echo("`buildwright doctor` tells what else is missing; `buildwright start` goes on.")


def _manifest(backup: Path) -> dict[str, Any]:
    try:
        found = json.loads((backup / MANIFEST).read_text())
        if found["format"] != FORMAT:
            raise Failure(f"{backup} was made by version {found['version']}, which this one can't read")
    except (OSError, ValueError, KeyError, TypeError):
        raise Failure(f"{backup} is no whole backup: it has no readable {MANIFEST}") from None
    manifest: dict[str, Any] = found
    return manifest


def _check(backup: Path, manifest: dict[str, Any]) -> None:
    """Raises Failure or BackupFailed unless every file is as it was written."""
    for name, expected in manifest["files"].items():
        path = backup / name
        if not path.is_file():
            raise Failure(f"{backup} is not whole: {name} is missing")
        if digest(path) != expected:
            raise Failure(f"{backup} is damaged: {name} has changed since it was written")
    if manifest["database"] == SQLITE:
        check_file(backup / FILE)
    else:
        check_dump(backup / DUMP)


def _restore(backup: Path, basedir: Path, manifest: dict[str, Any]) -> Inspection:
    basedir.mkdir(mode=0o700, parents=True, exist_ok=True)
    pid = status.running(basedir)
    if pid is not None:
        raise Failure(f"a master runs on {basedir} (process {pid}): stop it first")
    if not (basedir / "master.cfg").exists():
        shutil.copytree(backup / CONFIGURATION, basedir, dirs_exist_ok=True)
    db_url = asyncio.run(url_of(configuration_of(basedir)))
    target = parse(db_url, basedir)
    if target.dialect != manifest["database"]:
        raise Failure(
            f"the backup is of {manifest['database']}, and the configuration's database is "
            f"{target.dialect}: correct db_url"
        )
    there = asyncio.run(inspect(db_url, basedir))
    if there.state is not State.EMPTY:
        raise Failure(f"{there.name} has a database already, which isn't overwritten: move it away first")
    if (backup / LOGS).exists():
        shutil.copytree(backup / LOGS, basedir / LOGS, dirs_exist_ok=True)
    if target.path is not None:
        target.path.unlink(missing_ok=True)  # empty, as we have seen
        load_file(backup / FILE, target.path)
    else:
        load_server(target, backup / DUMP)
    return asyncio.run(_made_ready(db_url, basedir))


async def _made_ready(db_url: str, basedir: Path) -> Inspection:
    found = await inspect(db_url, basedir)
    if found.state is State.OLDER:
        await upgrade(db_url, basedir)
        found = await inspect(db_url, basedir)
    if found.state is not State.CURRENT:
        raise Failure(found.text)
    store = open_store(db_url, basedir)
    await store.start()
    try:
        await store.run(leap())
    finally:
        await store.stop()
    return found
