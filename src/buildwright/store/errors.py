"""What can be wrong with the store itself, each with one message that says whose fault it is and what to do.

::

    StoreError
    ├── StoreStopped      the store isn't started, or was stopped while the call waited
    ├── StoreUnavailable  nothing is wrong with the call; the database can't serve it now
    │   ├── StoreAway       not reachable: `run` and `read` wait for it, unless they were given a timeout
    │   │   └── StoreLocked   another process holds SQLite's write lock
    │   ├── StoreBusy       too many calls of `browse` wait already
    │   ├── StoreFull       no room left on its disk
    │   ├── StoreReadOnly   it takes no writes: permissions, a read-only mount, a standby server
    │   └── StoreBroken     an I/O error, a corrupt file, or not a database at all
    ├── Violation         a unit broke a constraint of the schema: a fault of this program
    └── StatementFailed   the database refused a statement: schema and program don't fit

A unit's own refusals (:class:`~buildwright.store.unit.Fenced` and others) are no errors of the store; they
reach the caller as they are.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import ClassVar, Literal

State = Literal["ok", "away", "full", "readonly", "broken"]


class StoreError(Exception):
    """Any fault that the store reports."""


class StoreStopped(StoreError):
    """The store isn't started, or was stopped while the call waited. What the call asked for may have
    happened.
    """


class StoreUnavailable(StoreError):
    """The database can't serve the call now. The call itself is fine and can be made again."""

    state: ClassVar[State] = "away"


class StoreAway(StoreUnavailable):
    """The database can't be reached."""


class StoreLocked(StoreAway):
    """Another process holds SQLite's write lock."""


class StoreBusy(StoreUnavailable):
    """So many reads of those who look around wait already that one more would wait for nothing."""


class StoreFull(StoreUnavailable):
    """The database's disk is full."""

    state = "full"


class StoreReadOnly(StoreUnavailable):
    """The database takes no writes."""

    state = "readonly"


class StoreBroken(StoreUnavailable):
    """The database's file or disk is damaged, or the file is no database."""

    state = "broken"


class Violation(StoreError):
    """A unit broke a constraint of the schema."""


class StatementFailed(StoreError):
    """The database refused a statement."""


@dataclass(frozen=True, slots=True)
class Health:
    """How the database does: a master shows it, and takes no new work unless the state is ``ok``."""

    state: State
    since_us: int
    text: str = ""


def from_sqlite(error: sqlite3.Error, where: str, statement: str) -> StoreError:
    """The typed error for what SQLite said while it ran ``statement`` on the file ``where``."""
    extended = getattr(error, "sqlite_errorcode", None)
    code = extended & 0xFF if extended is not None else None
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    if code == sqlite3.SQLITE_CONSTRAINT:
        return Violation(f"{statement}: {error}")
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(
            f"The disk of the database {where} is full ({error}). "
            "Make room there; the master goes on by itself."
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreLocked(
            f"Another program holds the write lock of the database {where}. End its transaction "
            "(an open sqlite3 shell, a backup); the master waits and goes on by itself."
        )
    if code == sqlite3.SQLITE_READONLY:
        return StoreReadOnly(
            f"The database {where} can't be written ({error}). The user of the master must own the file "
            "and its directory, and the file system must be mounted read-write."
        )
    if code in (sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_CANTOPEN):
        return StoreAway(
            f"The database {where} can't be opened ({error}). Its directory must exist, belong to the user "
            "of the master, and not be read-only; `buildwright upgrade-db` makes the file."
        )
    if code == sqlite3.SQLITE_NOTADB:
        return StoreBroken(
            f"{where} is no SQLite database. Point db_url at the right file, or restore a backup."
        )
    if code == sqlite3.SQLITE_CORRUPT:
        return StoreBroken(
            f"The database {where} is corrupt ({error}). Stop the master, keep a copy of the file, "
            "and restore a backup or what `sqlite3 FILE .recover` gives."
        )
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOMEM):
        return StoreBroken(
            f"Reading or writing the database {where} failed ({name}: {error}). Look at the machine's disk "
            "and memory; a database on a network file system doesn't work."
        )
    return StatementFailed(
        f"{statement}: {error}. If the schema is older or newer than this program, "
        "`buildwright upgrade-db` says so."
    )


def from_postgres(error: BaseException, where: str) -> StoreError:
    """The typed error for what the PostgreSQL server ``where``, or the way to it, said."""
    state: str | None = getattr(error, "sqlstate", None)
    text = str(error) or type(error).__name__
    notes = getattr(error, "__notes__", [])
    statement = notes[0] if notes else "?"
    if state is None and isinstance(error, OSError | TimeoutError):
        return StoreAway(f"The {where} doesn't answer: {text}. The master waits and goes on by itself.")
    if state is None:
        return StatementFailed(f"{statement}: {text}")
    if state[:2] == "23":
        return Violation(f"{statement}: {text}")
    if state[:2] == "08" or state in ("57P01", "57P02", "57P03", "57P05", "25P03", "53300"):
        return StoreAway(f"The {where} is away: {text}. The master waits and goes on by itself.")
    if state == "53100":
        return StoreFull(
            f"The disk of the {where} is full ({text}). Make room there; the master goes on by itself."
        )
    if state == "25006":
        return StoreReadOnly(
            f"The {where} takes no writes ({text}). Point db_url at the primary, not at a standby."
        )
    if state == "57014":
        return StatementFailed(f"{statement}: the {where} took too long and was told to end it ({text}).")
    if state in ("53200", "58030", "XX001", "XX002"):
        return StoreBroken(f"The {where} reports damage ({state}: {text}). Look at the server's log.")
    return StatementFailed(
        f"{statement}: {text}. If the schema is older or newer than this program, "
        "`buildwright upgrade-db` says so."
    )
