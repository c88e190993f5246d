"""What can be wrong with an installation, each looked at by a function of its own.

A look gives findings: what was looked at, how it is, and what to do. It raises for nothing that it finds,
writes nothing, and works with and without a running master, whose database it reads beside it.
"""

from __future__ import annotations

import enum
import importlib.metadata
import json
import os
import shutil
import socket
import sqlite3
import stat
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from buildwright import __version__
from buildwright.cli import looks, status
from buildwright.cli.basedir import CONFIGURATION
from buildwright.cli.faults import counts, in_words
from buildwright.config.loader import load
from buildwright.model.errors import ConfigErrors
from buildwright.model.properties import Properties
from buildwright.model.renderable import SecretMissing, render
from buildwright.model.secrets import SecretUnavailable
from buildwright.model.snapshot import Snapshot
from buildwright.store import schema
from buildwright.store.base import Store
from buildwright.store.errors import StoreError
from buildwright.store.migrate import State, inspect
from buildwright.store.sqlite_session import connect
from buildwright.store.urls import open_store, parse

MIB = 1024 * 1024
LITTLE_ROOM = 1024 * MIB
NO_ROOM = 100 * MIB
CHECKED_UP_TO = 2048 * MIB
LARGE_JOURNAL = 512 * MIB
MANY_TO_TEND = 2000
CLOCK_US = 60_000_000
LONG_WAIT_US = 3600 * 1_000_000
BLOBS_LOOKED_AT = 50


class Level(enum.Enum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and what to do about it."""

    of: str
    level: Level
    text: str
    do: str = ""


def _ok(of: str, text: str) -> Finding:
    return Finding(of, Level.OK, text)


def _warning(of: str, text: str, do: str) -> Finding:
    return Finding(of, Level.WARNING, text, do)


def _problem(of: str, text: str, do: str) -> Finding:
    return Finding(of, Level.PROBLEM, text, do)


async def look_at_all(basedir: Path) -> AsyncIterator[Finding]:
    """Everything; what needs a configuration or a database is left out where there is none."""
    for finding in look_at_program():
        yield finding
    snapshot, findings = look_at_configuration(basedir)
    for finding in (*findings, *look_at_basedir(basedir)):
        yield finding
    pid = status.running(basedir)
    told = status.read(basedir, pid) if pid is not None else None
    for finding in look_at_process(pid, told):
        yield finding
    if snapshot is None:
        return
    if pid is None:
        for finding in look_at_ports(snapshot):
            yield finding
    async for finding in look_at_database(basedir, snapshot, is_running=pid is not None):
        yield finding


# -- the program and its directory --------------------------------------------------------------------------


def look_at_program() -> Iterator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield _ok("program", f"buildwright {__version__} on Python {python}")
    try:
        worker = importlib.metadata.version("buildwright-worker")
    except importlib.metadata.PackageNotFoundError:
        yield _problem(
            "program", "the package buildwright-worker isn't installed", "install it: local workers need it"
        )
        return
    if worker != __version__:
        yield _warning(
            "program",
            f"the package buildwright-worker beside it is {worker}",
            f"install buildwright-worker {__version__}",
        )


def look_at_configuration(basedir: Path) -> tuple[Snapshot | None, list[Finding]]:
    of, file = "configuration", basedir / CONFIGURATION
    if not file.is_file():
        return None, [_problem(of, f"{file} isn't there", f"`buildwright init {basedir}` makes one")]
    try:
        snapshot = load(file, basedir)
    except ConfigErrors as errors:
        return None, [_problem(of, str(each), each.hint or "correct it") for each in errors.errors]
    found = [_warning(of, str(each), each.hint or "correct it") for each in snapshot.warnings]
    return snapshot, found or [_ok(of, f"it loads: {in_words(counts(snapshot))}")]


def look_at_basedir(basedir: Path) -> Iterator[Finding]:
    of = "directory"
    if not os.access(basedir, os.W_OK | os.X_OK):
        yield _problem(of, f"this user may not write to {basedir}", "run this as the master's user")
    owner = basedir.stat().st_uid
    foreign = [path.name for path in basedir.iterdir() if path.lstat().st_uid != owner]
    if foreign:
        yield _warning(
            of,
            f"not owned by the directory's owner: {', '.join(sorted(foreign)[:5])}",
            "a master that once ran as another user leaves that: chown -R",
        )
    for name in ("state.sqlite", "secrets", "master.cfg"):
        path = basedir / name
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & stat.S_IWOTH:
            yield _problem(of, f"everybody may write {path}", f"chmod o-w {path}")
    room = shutil.disk_usage(basedir)
    text = f"{looks.size(room.free)} of {looks.size(room.total)} are free"
    if room.free < NO_ROOM:
        yield _problem(of, text, "make room: the master waits when the disk is full")
    elif room.free < LITTLE_ROOM:
        yield _warning(of, text, "make room, or keep less: `buildwright cleanup --dry-run`")
    else:
        yield _ok(of, text)
    files = os.statvfs(basedir)
    if files.f_files and files.f_favail < files.f_files / 100:
        yield _warning(of, f"only {files.f_favail} more files can be made", "remove files that nobody needs")


def look_at_process(pid: int | None, told: status.Status | None) -> Iterator[Finding]:
    of = "master"
    if pid is None:
        yield _ok(of, "none runs on this directory")
    elif told is None:
        yield _warning(
            of,
            f"process {pid} runs, and has written no status.json yet",
            "it is starting, or of another version",
        )
    elif told.version != __version__:
        yield _warning(
            of,
            f"the running one is {told.version}, and {__version__} is installed",
            "restart it: running builds go on",
        )
    else:
        yield _ok(of, f"process {pid} is {told.state}" + (f" at {told.url}" if told.url else ""))


def look_at_ports(snapshot: Snapshot) -> Iterator[Finding]:
    """Whether the ports are free that a master would take."""
    wanted = {("c['www']", snapshot.www.port, snapshot.www.interface)}
    wanted.add(("c['protocols']", snapshot.protocols.port, snapshot.protocols.interface))
    for key, port, interface in sorted(wanted, key=str):
        if not port:
            continue
        family = socket.AF_INET6 if interface and ":" in interface else socket.AF_INET
        with socket.socket(family) as made:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                made.bind((interface or "127.0.0.1", port))
            except OSError as error:
                yield _problem(
                    "ports",
                    f"port {port} of {key} can't be listened on: {error.strerror}",
                    "stop what listens there, or choose another port",
                )
            else:
                yield _ok("ports", f"port {port} of {key} is free")


# -- the database -------------------------------------------------------------------------------------------


async def look_at_database(basedir: Path, snapshot: Snapshot, *, is_running: bool) -> AsyncIterator[Finding]:
    of = "database"
    properties = Properties()
    properties.secret_source = snapshot.secret
    try:
        db_url = str(await render(snapshot.db_url, properties))
        found = await inspect(db_url, basedir)
    except (StoreError, SecretMissing, SecretUnavailable) as error:
        yield _problem(of, str(error), "correct db_url, or start the database")
        return
    if found.state is State.EMPTY:
        yield _ok(of, f"{found.name} has no tables yet: the first start makes them")
        return
    if found.state is not State.CURRENT:
        yield _problem(of, found.text, "see docs/howto/upgrade.md")
        return
    yield _ok(of, f"{found.name} has schema {found.revision}")
    path = parse(db_url, basedir).path
    if path is not None:
        for finding in _look_at_file(path):
            yield finding
    store = open_store(db_url, basedir)
    try:
        await store.start()
    except StoreError as error:
        yield _problem(of, str(error), "see the message")
        return
    try:
        for look in (_look_at_clocks, _look_at_workers, _look_at_requests, _look_at_logs):
            async for finding in look(store, snapshot, is_running):
                yield finding
        for finding in await _look_at_blobs(store, snapshot, basedir):
            yield finding
    except StoreError as error:
        yield _problem(of, str(error), "see the message")
    finally:
        await store.stop()


def _look_at_file(path: Path) -> Iterator[Finding]:
    of, size = "database", path.stat().st_size
    if stat.S_IMODE(path.stat().st_mode) & 0o007:
        yield _warning(of, f"everybody may read {path}, which has what builds print", f"chmod o-rwx {path}")
    journal = Path(f"{path}-wal")
    if journal.exists() and journal.stat().st_size > LARGE_JOURNAL:
        yield _warning(
            of,
            f"its write-ahead log has {looks.size(journal.stat().st_size)}",
            "some program keeps the file open for reading: end it",
        )
    connection = connect(str(path), readonly=True)
    try:
        ((pages,),) = connection.execute("PRAGMA page_count").fetchall()
        ((free,),) = connection.execute("PRAGMA freelist_count").fetchall()
        if pages and free > pages / 2 and size > LITTLE_ROOM:
            yield _warning(
                of,
                f"{100 * free // pages} % of its {looks.size(size)} are unused",
                f"with the master stopped: sqlite3 {path} VACUUM",
            )
        if size <= CHECKED_UP_TO:
            bad = [text for (text,) in connection.execute("PRAGMA quick_check(3)") if text != "ok"]
            if bad:
                yield _problem(of, f"it is damaged: {bad[0]}", "restore the backup: docs/howto/backup.md")
            else:
                yield _ok(of, f"its {looks.size(size)} are intact")
        else:
            yield _ok(of, f"it has {looks.size(size)}: too much to read all of it here")
    except sqlite3.Error as error:
        yield _problem(of, f"it can't be read: {error}", "restore the backup: docs/howto/backup.md")
    finally:
        connection.close()


async def _look_at_clocks(store: Store, _snapshot: Snapshot, _is_running: bool) -> AsyncIterator[Finding]:
    masters, builds = schema.masters.c, schema.builds.c
    last = sa.select(sa.func.max(masters.last_active)).scalar_subquery()
    newest = sa.select(builds.started_at).order_by(builds.id.desc()).limit(1).scalar_subquery()
    ((seen, begun),) = await store.fetch(sa.select(last, newest))
    ahead = max(seen or 0, begun or 0) - time.time_ns() // 1000
    if ahead > CLOCK_US:
        yield _problem(
            "clock",
            f"the database has times that are {looks.duration(ahead / 1e6)} ahead of this machine's clock",
            "the clock was set back, or masters' clocks differ: have all machines set theirs by NTP",
        )
    else:
        yield _ok("clock", "no time in the database is ahead of it")


async def _look_at_workers(store: Store, snapshot: Snapshot, is_running: bool) -> AsyncIterator[Finding]:
    of, workers = "workers", schema.workers.c
    rows = await store.fetch(
        sa.select(workers.name, workers.connected, workers.paused, workers.pause_reason, workers.info)
    )
    known = {row[0]: row[1:] for row in rows if row[0] in snapshot.workers}
    paused = {name: row[2] or "" for name, row in known.items() if row[1]}
    for name, why in paused.items():
        yield _warning(of, f"{name} is paused: {why or 'no reason given'}", "unpause it on its page")
    if not is_running:
        return
    missing = sorted(name for name in snapshot.workers if name not in known or not known[name][0])
    if missing:
        yield _warning(
            of,
            f"not connected: {_some(missing)}",
            "see the worker's own log; for the name, password and address see `buildwright-worker --help`",
        )
    older = sorted(
        f"{name} ({version})"
        for name, row in known.items()
        if row[0] and (version := json.loads(row[3]).get("version", __version__)) != __version__
    )
    if older:
        yield _warning(
            of, f"of another version than {__version__}: {_some(older)}", "upgrade them, one by one"
        )
    if not missing and not paused and not older:
        count = len(snapshot.workers)
        yield _ok(of, "the only one is connected" if count == 1 else f"all {count} are connected")


async def _look_at_requests(store: Store, snapshot: Snapshot, is_running: bool) -> AsyncIterator[Finding]:
    of, requests, builders = "requests", schema.buildrequests.c, schema.builders.c
    rows = await store.fetch(
        sa.select(builders.name, sa.func.count(), sa.func.min(requests.submitted_at), builders.waits_for)
        .select_from(schema.buildrequests.join(schema.builders, builders.id == requests.builderid))
        .where(sa.text("buildrequests.complete = 0 AND buildrequests.claimed_by IS NULL"))
        .group_by(builders.id, builders.name, builders.waits_for)
        .order_by(builders.name)
    )
    workers = schema.workers.c
    connected = {name for (name,) in await store.fetch(sa.select(workers.name).where(workers.connected == 1))}
    all_well = True
    for name, count, oldest, why in rows:
        builder = snapshot.builders.get(name)
        waiting = (
            f"{count} of {name} {'wait' if count > 1 else 'waits'}, the oldest since {looks.ago(oldest)}"
        )
        if builder is None and not snapshot.multi_master:
            all_well = False
            yield _problem(
                of,
                f"{waiting}; the configuration has no such builder, so they can never run",
                "cancel them, or put the builder back",
            )
        elif builder is not None and is_running and not connected.intersection(builder.workernames):
            all_well = False
            yield _warning(of, f"{waiting}; none of its workers is connected", "start one of them")
        elif is_running and time.time_ns() // 1000 - oldest > LONG_WAIT_US:
            all_well = False
            yield _warning(of, waiting + (f": {why}" if why else ""), "see the builder's page")
    if all_well:
        waits = sum(row[1] for row in rows)
        yield _ok(of, f"{waits or 'none'} {'wait' if waits > 1 else 'waits'}")


# -- logs ---------------------------------------------------------------------------------------------------


async def _look_at_logs(store: Store, _snapshot: Snapshot, _is_running: bool) -> AsyncIterator[Finding]:
    logs = schema.logs.c
    ((count,),) = await store.fetch(
        sa.select(sa.func.count(logs.id)).where(
            sa.text("complete = 1 AND tier IN ('live', 'shedding', 'expiring')")
        )
    )
    if count > MANY_TO_TEND:
        yield _warning(
            "logs",
            f"{count} finished logs are still to be moved or removed",
            "the master does that: see its log for 'a finished log could not be moved'",
        )


async def _look_at_blobs(store: Store, snapshot: Snapshot, basedir: Path) -> Sequence[Finding]:
    of, where = "logs", snapshot.log_store
    if where == "database":
        return [_ok(of, "finished logs are in the database, as c['logStore'] says")]
    if where != "files":
        return [await _look_at_objects(store, where, basedir)]
    directory = basedir / "logs"
    if not directory.exists():
        return [_ok(of, "no finished log was large enough yet to leave the database")]
    if not os.access(directory, os.W_OK | os.X_OK):
        return [_problem(of, f"this user may not write to {directory}", "run this as the master's user")]
    sealed = schema.sealed_logs.c
    rows = await store.fetch(
        sa.select(sealed.logid, sealed.blob, sealed.size).order_by(sealed.logid.desc()).limit(BLOBS_LOOKED_AT)
    )
    lost = [str(logid) for logid, blob, size in rows if not _is_whole(directory / blob, size)]
    if lost:
        return [
            _problem(
                of,
                f"logs have lost their files in {directory}; of the newest these: {_some(lost)}",
                "restore it from the backup; with several masters set c['logStore'], which they share",
            )
        ]
    return [_ok(of, f"the files of the newest {len(rows)} logs are intact")]


async def _look_at_objects(store: Store, where: str, basedir: Path) -> Finding:
    """Whether an object store takes and gives something."""
    from buildwright.logs.blobs import open_blobs

    key, content = f"doctor/{socket.gethostname()}-{os.getpid()}", b"buildwright doctor"

    async def pieces() -> AsyncIterator[bytes]:
        yield content

    try:
        blobs = open_blobs(where, store, basedir)
        await blobs.put(key, pieces())
        given = await blobs.get(key, 0, len(content))
        await blobs.delete(key)
    except Exception as error:  # each kind of store has errors of its own
        why = " ".join(str(error).split())[:300] or type(error).__name__
        return _problem("logs", f"{where} can't be used: {why}", "correct c['logStore'] or the access to it")
    if given != content:
        return _problem("logs", f"{where} gives something else than it was given", "use another store")
    return _ok("logs", f"{where} takes and gives logs")


def _is_whole(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _some(names: Iterable[str]) -> str:
    """The first few of many."""
    listed = list(names)
    return ", ".join(listed[:10]) + (f" and {len(listed) - 10} more" if len(listed) > 10 else "")
