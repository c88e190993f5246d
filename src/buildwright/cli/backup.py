"""`buildwright backup`: a copy of everything that a master can't make again, taken while it runs.

A backup is a directory: ``backup.json`` (what it is, and each file's SHA-256), the database
(``state.sqlite``, or PostgreSQL's ``database.dump``), the sealed logs of that database if they are files, and
the configuration's own files. The database is copied first: a log that it calls sealed is then there to be
copied, unless it expires just then. ``backup.json`` is written last; without it, a directory is no backup.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import shutil
import time
from pathlib import Path

import click
import sqlalchemy as sa

from buildwright import __version__
from buildwright.cli import looks
from buildwright.cli.database import configuration_of, opened, url_of
from buildwright.cli.faults import Failure
from buildwright.cli.progress import waiting
from buildwright.model.snapshot import Snapshot
from buildwright.store import schema
from buildwright.store.backup import save_file, save_server
from buildwright.store.errors import StoreError
from buildwright.store.migrate import State, inspect
from buildwright.store.sqlite_session import connect
from buildwright.store.urls import Target, parse

MANIFEST = "backup.json"
FILE, DUMP = "state.sqlite", "database.dump"
LOGS = "logs"
CONFIGURATION = "configuration"
FORMAT = 1


@click.command(name="backup")
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--basedir",
    type=click.Path(file_okay=False, path_type=Path, resolve_path=True),
    default=Path(),
    help="The master's directory; by default this one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(target: Path, basedir: Path, as_json: bool) -> None:
    """Copy what a master has into the new directory TARGET: database, files of logs, and the configuration.

    The master may run. Secrets are not copied, and neither is what can be made again. For PostgreSQL,
    `pg_dump` is run. `buildwright restore` puts a backup back.

    \b
    Examples:
      buildwright backup /backups/ci-monday
      buildwright backup "/backups/$(date +%F)" --basedir /srv/ci --json
    """
    target = target.absolute()
    if target.exists():
        raise Failure(f"{target} is there already: name a new directory")
    snapshot = configuration_of(basedir)
    db_url = asyncio.run(url_of(snapshot))
    try:
        found = asyncio.run(inspect(db_url, basedir))
        if found.state is not State.CURRENT:
            raise Failure(found.text)
        target.mkdir(mode=0o700, parents=True)
        with waiting(f"copying {found.name}", quiet=as_json) as tell:
            database = parse(db_url, basedir)
            blobs = _save_database(database, basedir, snapshot, target)
            tell("copying log files")
            lost = _save_logs(blobs, basedir / LOGS, target / LOGS)
            _save_configuration(snapshot, basedir, target / CONFIGURATION)
            files = {str(path.relative_to(target)): digest(path) for path in _files(target)}
    except StoreError as error:
        raise Failure(str(error)) from None
    except OSError as error:
        raise Failure(f"{error.filename or target}: {error.strerror}") from None
    told = {
        "format": FORMAT,
        "version": __version__,
        "schema": found.revision,
        "database": database.dialect,
        "made_at_us": time.time_ns() // 1000,
        "sealed_logs": len(blobs) - lost,
        "files": files,
    }
    (target / MANIFEST).write_text(json.dumps(told, indent=2) + "\n")
    size = sum(path.stat().st_size for path in _files(target))
    if as_json:
        outcome = {key: value for key, value in told.items() if key != "files"}
        print(json.dumps({**outcome, "path": str(target), "bytes": size, "lost_logs": lost}))
        return
    click.echo(f"{target} is a backup of {looks.size(size)}: {holds(len(blobs) - lost, found.revision)}.")
    if lost:
        click.echo(
            f"{lost} logs have lost their files in {basedir / LOGS}: see `buildwright doctor`.", err=True
        )


def log_files(count: int) -> str:
    """So many files of logs, for people."""
    return f"{count or 'no'} log file{'' if count == 1 else 's'}"


def holds(logs: int, revision: str | None) -> str:
    """What a backup has, for people."""
    return f"the database (schema {revision}), {log_files(logs)} and the configuration"


def _save_database(database: Target, basedir: Path, snapshot: Snapshot, target: Path) -> list[str]:
    """Copy the database; gives the blobs of the logs that it calls sealed, if these are files."""
    if database.path is None and not database.dsn:
        raise Failure("this database is in the master's memory: there is nothing to back up")
    if database.path is not None:
        copy = target / FILE
        save_file(database.path, copy)
        if snapshot.log_store != "files":
            return []
        with contextlib.closing(connect(str(copy), readonly=True)) as connection:
            return [blob for (blob,) in connection.execute("SELECT blob FROM sealed_logs")]
    save_server(database, target / DUMP)
    return asyncio.run(_blobs(basedir, snapshot)) if snapshot.log_store == "files" else []


async def _blobs(basedir: Path, snapshot: Snapshot) -> list[str]:
    async with opened(basedir, snapshot) as store:
        return [blob for (blob,) in await store.fetch(sa.select(schema.sealed_logs.c.blob))]


def _save_logs(blobs: list[str], source: Path, target: Path) -> int:
    """Copy blobs; gives how many aren't there."""
    lost = 0
    for blob in blobs:
        path = target / blob
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(source / blob, path)
        except FileNotFoundError:
            lost += 1
    return lost


def _save_configuration(snapshot: Snapshot, basedir: Path, target: Path) -> None:
    """Copy the files that the configuration was loaded from, as far as they are in the directory."""
    for source in snapshot.sources:
        if source.is_relative_to(basedir):
            path = target / source.relative_to(basedir)
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, path)


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
