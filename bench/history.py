"""A database with a past: 100,000 finished builds and 25,000 requests that wait in vain.

Each side's own tables are filled directly, in the shape that its master writes, with the master stopped. The
builders, workers and the master itself are rows already: the master has run once.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

BUILDS = 100_000
PENDING = 25_000
START = 1_750_000_000  # seconds since the epoch; a build every ten seconds from here on
RESULTS = (0, 0, 0, 0, 0, 0, 0, 0, 0, 2)  # every tenth build failed


def rows(count: int, first: int = 1) -> Iterator[tuple[int, int, int]]:
    """(id, second it began, result) of each finished build."""
    return ((number, START + 10 * number, RESULTS[number % 10]) for number in range(first, first + count))


def insert(
    connection: sqlite3.Connection, table: str, columns: str, values: Iterable[tuple[object, ...]]
) -> None:
    marks = ", ".join("?" * len(columns.split(",")))
    connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", values)


def fill_peer(database: Path) -> None:
    """Builders get the builds in turn, `waiting` the requests; two properties a build."""
    connection = sqlite3.connect(database)
    with connection:
        ids = dict(connection.execute("SELECT name, id FROM builders"))
        workers = dict(connection.execute("SELECT name, id FROM workers"))
        (master,) = connection.execute("SELECT id FROM masters").fetchone()
        waiting, built = ids["waiting"], sorted(ids.values())
        stamp = connection.execute(
            "INSERT INTO sourcestamps (ss_hash, branch, revision, created_at) VALUES ('x', 'main', 'abc', ?)",
            (START,),
        ).lastrowid
        every = range(1, BUILDS + PENDING + 1)
        insert(
            connection,
            "buildsets",
            "id, reason, submitted_at, complete, complete_at, results",
            (
                (
                    n,
                    "history",
                    START + 10 * n,
                    int(n <= BUILDS),
                    START + 10 * n + 5 if n <= BUILDS else None,
                    0 if n <= BUILDS else -1,
                )
                for n in every
            ),
        )
        insert(connection, "buildset_sourcestamps", "buildsetid, sourcestampid", ((n, stamp) for n in every))
        insert(
            connection,
            "buildset_properties",
            "buildsetid, property_name, property_value",
            ((n, "owner", '["somebody", "Force Build Form"]') for n in every),
        )
        insert(
            connection,
            "buildrequests",
            "id, buildsetid, builderid, priority, complete, results, submitted_at, complete_at",
            (
                (n, n, built[n % len(built)], 0, 1, result, at, at + 5)
                if n <= BUILDS
                else (n, n, waiting, n % 3, 0, -1, at, None)
                for n, at, result in rows(BUILDS + PENDING)
            ),
        )
        insert(
            connection,
            "buildrequest_claims",
            "brid, masterid, claimed_at",
            ((n, master, at) for n, at, _ in rows(BUILDS)),
        )
        insert(
            connection,
            "builds",
            "id, number, builderid, buildrequestid, workerid, masterid, started_at, complete_at, "
            "locks_duration_s, state_string, results",
            (
                (
                    n,
                    n,
                    built[n % len(built)],
                    n,
                    workers["worker0"],
                    master,
                    at,
                    at + 5,
                    0,
                    "build successful",
                    result,
                )
                for n, at, result in rows(BUILDS)
            ),
        )
        for name, value in (("owners", '["somebody"]'), ("branch", '"main"')):
            insert(
                connection,
                "build_properties",
                "buildid, name, value, source",
                ((n, name, value, "Build") for n in range(1, BUILDS + 1)),
            )
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def fill_ours(database: Path) -> None:
    """The same history; properties lie in the build's and the buildset's row, times are microseconds."""
    second = 1_000_000
    connection = sqlite3.connect(database)
    with connection:
        ids = dict(connection.execute("SELECT name, id FROM builders"))
        workers = dict(connection.execute("SELECT name, id FROM workers"))
        (master,) = connection.execute("SELECT id FROM masters").fetchone()
        waiting, built = ids["waiting"], sorted(ids.values())
        stamp = connection.execute(
            "INSERT INTO sourcestamps (ss_hash, branch, revision, created_at) VALUES ('x', 'main', 'abc', ?)",
            (START * second,),
        ).lastrowid
        every = range(1, BUILDS + PENDING + 1)
        forced = '{"owner":["somebody","Force Build Form"]}'
        insert(
            connection,
            "buildsets",
            "id, reason, submitted_at, complete, complete_at, results, properties",
            (
                (n, "history", at * second, 1, (at + 5) * second, result, forced)
                if n <= BUILDS
                else (n, "history", at * second, 0, None, -1, forced)
                for n, at, result in rows(BUILDS + PENDING)
            ),
        )
        insert(connection, "buildset_sourcestamps", "buildsetid, sourcestampid", ((n, stamp) for n in every))
        insert(
            connection,
            "buildrequests",
            "id, buildsetid, builderid, priority, submitted_at, claimed_by, claimed_at, complete, "
            "complete_at, results, attempts",
            (
                (
                    n,
                    n,
                    built[n % len(built)],
                    0,
                    at * second,
                    master,
                    at * second,
                    1,
                    (at + 5) * second,
                    result,
                    1,
                )
                if n <= BUILDS
                else (n, n, waiting, n % 3, at * second, None, None, 0, None, -1, 0)
                for n, at, result in rows(BUILDS + PENDING)
            ),
        )
        insert(
            connection,
            "builds",
            "id, number, builderid, buildrequestid, attempt, workerid, masterid, started_at, complete_at, "
            "results, state_string, properties",
            (
                (
                    *(n, n, built[n % len(built)], n, 1, workers["worker0"], master),
                    *(at * second, (at + 5) * second, result, "build successful"),
                    '{"owners":[["somebody"],"Build"],"branch":["main","Build"]}',
                )
                for n, at, result in rows(BUILDS)
            ),
        )
        connection.execute("UPDATE builders SET next_number = ?", (BUILDS + 1,))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


FILL = {"ours": fill_ours, "peer": fill_peer}
