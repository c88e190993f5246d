"""Copies of a whole database: taken while masters run, and put back where there is none.

SQLite's own online backup copies in one read transaction, which in WAL mode keeps nobody from writing. For
PostgreSQL, its own ``pg_dump`` and ``pg_restore`` are run; the password goes by the environment.

A database that comes back is older than what the world outside has seen of it: workers know later attachments
and may hold commands of later steps. So :func:`leap` moves these counters well beyond what can have been
given: no worker takes the restored master for a former one, and no new command has the id of an old one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.errors import StoreError, from_sqlite
from buildwright.store.sqlite import take_file
from buildwright.store.sqlite_session import connect
from buildwright.store.unit import Statement, Work, unit
from buildwright.store.urls import Target

IDS = 1_000_000_000
ATTACHMENTS = 1_000_000


class BackupFailed(StoreError):
    """A copy can't be made or put back; the text says why and what to do."""


_LEAP_IDS = Statement(
    "backup.leap_ids",
    lambda _dialect: sa.update(schema.id_blocks).values(next=schema.id_blocks.c.next + IDS),
)
_LEAP_ATTACHMENTS = Statement(
    "backup.leap_attachments",
    lambda _dialect: sa.update(schema.workers).values(attachment=schema.workers.c.attachment + ATTACHMENTS),
)


@unit
def leap() -> Work[None]:
    """Leave out all ids and attachments that may have been given since the copy was made."""
    yield _LEAP_IDS()
    yield _LEAP_ATTACHMENTS()


# -- SQLite -------------------------------------------------------------------------------------------------


def save_file(source: Path, copy: Path) -> None:
    """Copy a SQLite database that may be in use to a new file, and check it. Raises StoreError."""
    os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with (
            contextlib.closing(connect(str(source), readonly=True)) as reading,
            contextlib.closing(connect(str(copy))) as writing,
        ):
            reading.backup(writing)
            writing.execute("PRAGMA journal_mode=DELETE")  # all of it is in the one file
        check_file(copy)
    except sqlite3.Error as error:
        raise from_sqlite(error, str(source), "backup") from error


def check_file(path: Path) -> None:
    """Raises BackupFailed unless the file is a whole SQLite database."""
    try:
        with contextlib.closing(connect(str(path), readonly=True)) as connection:
            found = [text for (text,) in connection.execute("PRAGMA quick_check(1)")]
    except sqlite3.Error as error:
        found = [str(error)]
    if found != ["ok"]:
        raise BackupFailed(f"{path} is damaged: {found[0]}")


def load_file(copy: Path, path: Path) -> None:
    """Put a copy where a SQLite database is to be, which must not be there. Raises StoreError."""
    lock = take_file(path)
    try:
        if path.exists():
            raise BackupFailed(f"there is a database {path} already: move it away first")
        partial = path.with_name(path.name + ".restoring")
        shutil.copyfile(copy, partial)
        partial.chmod(0o600)
        check_file(partial)
        descriptor = os.open(partial, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        partial.rename(path)
    finally:
        os.close(lock)


# -- PostgreSQL ---------------------------------------------------------------------------------------------


def save_server(target: Target, dump: Path) -> None:
    """Have ``pg_dump`` write a database that may be in use to a file. Raises BackupFailed."""
    dump.touch(mode=0o600, exist_ok=False)
    _run(target, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={dump}")


def load_server(target: Target, dump: Path) -> None:
    """Have ``pg_restore`` read a dump into a database that has no tables. Raises BackupFailed."""
    _run(
        target,
        "pg_restore",
        "--no-owner",
        "--no-privileges",
        "--exit-on-error",
        "--single-transaction",
        str(dump),
    )


def check_dump(dump: Path) -> None:
    """Raises BackupFailed unless ``pg_restore`` can read the file's table of contents."""
    done = subprocess.run([_program("pg_restore"), "--list", dump], capture_output=True, check=False)
    if done.returncode:
        raise BackupFailed(f"{dump} is damaged: {_last_line(done.stderr)}")


def _program(name: str) -> str:
    """The newest of its kind: an older one refuses a newer server."""
    found = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parent.parent.name)
    )
    program = str(found[-1]) if found else shutil.which(name)
    if program is None:
        raise BackupFailed(f"there is no program {name}: install it (apt install postgresql-client)")
    return program


def _run(target: Target, name: str, *arguments: str) -> None:
    parts = urlsplit(target.dsn)
    environment = dict(os.environ)
    if parts.password is not None:
        environment["PGPASSWORD"] = unquote(parts.password)
    user, _, host = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}@{host}" if user else host
    dsn = urlunsplit(parts._replace(netloc=netloc))
    done = subprocess.run(
        [_program(name), f"--dbname={dsn}", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise BackupFailed(f"{name} has failed for the {target.name}: {_last_line(done.stderr)}")


def _last_line(printed: bytes) -> str:
    lines = printed.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it says nothing"
