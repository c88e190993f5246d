"""Which database a ``db_url`` names: Buildbot's forms, and a store for each.

============================================  ==========================================================
``sqlite:///state.sqlite``                    a file in the master's base directory
``sqlite:////var/lib/ci/state.sqlite``        a file anywhere
``sqlite:///%(basedir)s/state.sqlite``        the same, spelled out
``sqlite://``                                 memory; gone with the process
``postgresql://user:password@host/name``      PostgreSQL; also ``postgres://`` and ``+psycopg2`` and the like
============================================  ==========================================================

A SQLite file takes ``?mode=ro`` for readers that must not write. PostgreSQL takes what libpq takes
(``sslmode``, ``host=/socket/directory``, …).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from buildwright.store.base import Store, wall_us
from buildwright.store.errors import StoreError
from buildwright.store.unit import POSTGRESQL, SQLITE

DEFAULT_URL = "sqlite:///state.sqlite"


class BadUrl(StoreError, ValueError):
    """A ``db_url`` that names no database we know."""


@dataclass(frozen=True, slots=True)
class Target:
    """A database as its driver wants it named."""

    dialect: str
    path: Path | None = None
    """SQLite's file; None is memory."""
    readonly: bool = False
    dsn: str = ""
    """PostgreSQL's address, with the password."""

    @property
    def name(self) -> str:
        """What messages call it; never shows a password."""
        if self.dialect == SQLITE:
            return str(self.path or ":memory:")
        parts = urlsplit(self.dsn)
        host = parse_qs(parts.query).get("host", [parts.hostname or "localhost"])[0]
        port = f":{parts.port}" if parts.port else ""
        return f"PostgreSQL database {unquote(parts.path.lstrip('/')) or '(default)'} on {host}{port}"


def parse(db_url: str, basedir: Path) -> Target:
    """What ``db_url`` names; raises :class:`BadUrl` with what to write instead."""
    scheme, separator, rest = db_url.partition("://")
    if not separator:
        raise BadUrl(
            f"db_url {db_url!r} is no URL. Write for example {DEFAULT_URL!r} or 'postgresql://user@host/name'."
        )
    backend = scheme.partition("+")[0]
    if backend == "sqlite":
        name, _, query = rest.partition("?")
        name = name.replace("%(basedir)s", str(basedir))
        if name in ("", "/", "/:memory:"):
            return Target(SQLITE)
        if not name.startswith("/"):
            raise BadUrl(
                f"db_url {db_url!r} has a host, and SQLite is a file: write three slashes, {DEFAULT_URL!r}."
            )
        path = basedir / name[1:]
        return Target(SQLITE, path, readonly=parse_qs(query).get("mode") == ["ro"])
    if backend in ("postgresql", "postgres"):
        return Target(POSTGRESQL, dsn=f"postgresql://{rest}")
    known = "Buildwright runs on SQLite and PostgreSQL"
    if backend == "mysql":
        known += "; MySQL is not supported: move the data, or keep the old database and start with a new one"
    raise BadUrl(f"db_url names {backend!r}. {known}.")


def open_store(
    db_url: str, basedir: Path, *, sole: bool = False, now_us: Callable[[], int] = wall_us
) -> Store:
    """The store that ``db_url`` names, not yet started.

    ``sole`` is the master's: a SQLite file then belongs to one process at a time. PostgreSQL has leases for
    that.
    """
    target = parse(db_url, basedir)
    if target.dialect == POSTGRESQL:
        from buildwright.store.postgres import PostgresStore

        return PostgresStore(target.dsn, name=target.name, now_us=now_us)
    if target.path is None:
        from buildwright.store.memory import MemoryStore

        return MemoryStore(now_us=now_us)
    from buildwright.store.sqlite import SqliteStore

    return SqliteStore(target.path, readonly=target.readonly, sole=sole, now_us=now_us)
