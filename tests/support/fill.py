"""A store full of history, written past the units: builds, steps, logs, waiting requests, changes.

`tables(...)` gives the rows of each table; `fill_sqlite` and `fill_postgres` put them into an empty database
with our schema. The same arguments give the same rows. Times go back from `now_us`, a build every 30 seconds.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from buildwright.store.migrate import create_statements
from buildwright.store.unit import SQLITE
from buildwright.store.units.testresults import digest_of

SECOND = 1_000_000
NOW_US = 1_790_000_000 * SECOND

Rows = list[tuple[Any, ...]]
Table = tuple[str, Sequence[str], Rows]


@dataclass(frozen=True)
class Size:
    """How much there is. The newest `detailed` builds have steps and logs; `waiting` requests are the first
    builder's.
    """

    builds: int = 1000
    waiting: int = 50
    builders: int = 20
    workers: int = 5
    changes: int = 200
    detailed: int = 20
    steps: int = 4


BENCH = Size(builds=100_000, waiting=25_000, detailed=200)


def tables(size: Size, now_us: int = NOW_US) -> Iterator[Table]:
    """Every table's rows, in an order in which they can be written."""
    yield (
        "masters",
        ("id", "name", "term", "beat", "active", "last_active"),
        [
            (1, "ci.example.org:/srv/ci", 1, 1, 1, now_us),
            (2, "old.example.org:/srv/ci", 1, 1, 0, now_us - 10**12),
        ],
    )
    yield (
        "projects",
        ("id", "name", "slug", "description"),
        [(1, "pyflakes", "pyflakes", "A checker of Python")],
    )
    yield "codebases", ("id", "projectid", "name", "slug"), [(1, 1, "main", "main"), (2, 1, "docs", "docs")]
    yield from _commits(now_us)
    yield from _people(size)
    yield from _sources(size, now_us)
    yield from _history(size, now_us)
    yield from _details(size, now_us)
    yield from _left_behind(size)


def _commits(now_us: int) -> Iterator[Table]:
    """The history of the first codebase: a branch that leaves main at its second commit."""
    parents = {1: None, 2: 1, 3: 2, 4: 2, 5: 4}
    yield (
        "codebase_commits",
        ("id", "codebaseid", "revision", "author", "committer", "comments", "when_us", "parent_commitid"),
        [
            (
                i,
                1,
                f"{i:040x}",
                "Ann <ann@example.org>",
                None,
                f"Commit {i}",
                now_us - (9 - i) * SECOND,
                parent,
            )
            for i, parent in parents.items()
        ],
    )
    yield (
        "codebase_branches",
        ("id", "codebaseid", "name", "commitid", "last_us"),
        [(1, 1, "main", 3, now_us), (2, 1, "side", 5, now_us)],
    )


def _builder_of(build: int, size: Size) -> int:
    # The first builder has a fair share of the history: lists of one builder are long, too.
    return 1 if build % 5 == 0 else 1 + build % size.builders


def _people(size: Size) -> Iterator[Table]:
    built = Counter(_builder_of(i, size) for i in range(1, size.builds + 1))
    builders = [
        (
            i,
            f"builder-{i:02}" if i > 1 else "waits-for-arm",
            f"Builds number {i}",
            json.dumps(["linux", "even" if i % 2 == 0 else "odd"]),
            1 if i % 3 == 0 else None,
            built[i] + 1,
            "none of its workers is attached: arm-board" if i == 1 else "",
        )
        for i in range(1, size.builders + 1)
    ]
    columns = ("id", "name", "description", "tags", "projectid", "next_number", "waits_for")
    yield "builders", columns, builders
    yield "builder_masters", ("builderid", "masterid"), [(row[0], 1) for row in builders[:-1] or builders]
    info = json.dumps({"admin": "Ann", "host": "Debian 12", "version": "0.1", "secret_thing": "not shown"})
    workers = [
        (i, f"worker-{i}" if i > 1 else "arm-board", int(i > 1), 1, info) for i in range(1, size.workers + 1)
    ]
    yield "workers", ("id", "name", "connected", "masterid", "info"), workers
    yield (
        "configured_workers",
        ("builderid", "masterid", "workerid"),
        [(b[0], 1, w[0]) for b in builders for w in workers if (b[0] == 1) == (w[0] == 1)],
    )
    yield (
        "schedulers",
        ("id", "name", "enabled", "masterid"),
        [(1, "commits", 1, 1), (2, "nightly", 1, None), (3, "force", 1, 1), (4, "other", 1, 1)],
    )
    yield "changesources", ("id", "name", "masterid"), [(1, "poller", 1)]


def _sources(size: Size, now_us: int) -> Iterator[Table]:
    yield (
        "patches",
        ("id", "level", "body", "author", "comment", "subdir"),
        [(1, 1, b"--- a\n+++ b\n", "Ann", "try this", None)],
    )
    stamps = [
        (
            i,
            f"hash-{i}",
            "main" if i % 4 else "release",
            f"{i:040x}",
            "https://git.example.org/pyflakes",
            "",
            "pyflakes",
            1 if i == 7 else None,
            now_us - (size.changes - i) * 600 * SECOND,
        )
        for i in range(1, size.changes + 1)
    ]
    names = (
        "id",
        "ss_hash",
        "branch",
        "revision",
        "repository",
        "codebase",
        "project",
        "patchid",
        "created_at",
    )
    yield "sourcestamps", names, stamps
    changes = [
        (
            stamp[0],
            ("Ann <ann@example.org>", "Zoë <zoe@example.org>")[stamp[0] % 2],
            None if stamp[0] % 3 else "Bob <bob@example.org>",
            f"Change number {stamp[0]}\n\nWith <b>markup</b> & quotes \"'",
            stamp[2],
            stamp[3],
            stamp[8],
            stamp[8] + 2 * SECOND,
            json.dumps([f"src/file{stamp[0] % 10}.py", "README"]),
            json.dumps({"kind": ["fix", "Change"]}),
            stamp[4],
            stamp[6],
            stamp[0] - 1 if stamp[0] > 1 else None,
            stamp[0],
        )
        for stamp in stamps
    ]
    columns = (
        "id",
        "author",
        "committer",
        "comments",
        "branch",
        "revision",
        "when_us",
        "received_at",
        "files",
        "properties",
        "repository",
        "project",
        "parent_changeid",
        "sourcestampid",
    )
    yield "changes", columns, changes


def _history(size: Size, now_us: int) -> Iterator[Table]:
    buildsets: Rows = []
    links: Rows = []
    requests: Rows = []
    builds: Rows = []
    numbers = dict.fromkeys(range(1, size.builders + 1), 0)
    for i in range(1, size.builds + 1):
        builderid = _builder_of(i, size)
        numbers[builderid] += 1
        running = i > size.builds - 3
        begun = now_us - (size.builds - i) * 30 * SECOND - 123_456
        results = (
            (2 if i % 10 == 0 else 1 if i % 17 == 0 else 4 if i % 501 == 0 else 0) if not running else None
        )
        done = None if running else begun + 20 * SECOND
        stampid = 1 + (i - 1) * size.changes // size.builds
        properties = {
            "owners": [["ann@example.org"], "Build"],
            "owner": ["ann@example.org", "Force"],
            "branch": ["main", "Build"],
            "revision": [f"{stampid:040x}", "Build"],
            "buildername": [f"builder-{builderid:02}", "Builder"],
            "buildnumber": [numbers[builderid], "Build"],
        }
        encoded = json.dumps(properties)
        kept = json.dumps({"owner": properties["owner"], "scheduler": ["commits", "Scheduler"]})
        parent = i - 1 if i % 100 == 0 else None
        buildsets.append(
            (
                i,
                f"change {stampid}" if i % 2 else "",
                1,
                begun - SECOND,
                int(not running),
                done,
                -1 if running else results,
                parent,
                "Triggered from step" if parent else None,
                kept,
            )
        )
        links.append((i, stampid))
        requests.append(
            (
                i,
                i,
                builderid,
                i % 3,
                begun - SECOND,
                1,
                begun,
                int(not running),
                done,
                -1 if running else results,
                1,
                "",
            )
        )
        workerid = 1 if size.workers == 1 else 2 + i % (size.workers - 1)
        builds.append(
            (
                i,
                numbers[builderid],
                builderid,
                i,
                1,
                workerid,
                1,
                begun,
                done,
                results,
                "running make test"
                if running
                else ("build successful", "warnings", "failed make test", "", "exception")[results or 0],
                1_500_000 if i % 50 == 0 else 0,
                encoded,
            )
        )
    for i in range(size.builds + 1, size.builds + size.waiting + 1):
        submitted = now_us - (size.builds + size.waiting - i) * SECOND
        why = "lock 'arm' is taken" if i % 4 == 0 else ""
        buildsets.append(
            (
                i,
                "forced <by> hand",
                1,
                submitted,
                0,
                None,
                -1,
                None,
                None,
                '{"owner": ["bob@example.org", "Force"]}',
            )
        )
        links.append((i, 1 + i % size.changes))
        requests.append((i, i, 1, i % 2, submitted, None, None, 0, None, -1, 0, why))
    yield (
        "buildsets",
        (
            "id",
            "reason",
            "schedulerid",
            "submitted_at",
            "complete",
            "complete_at",
            "results",
            "parent_buildid",
            "parent_relationship",
            "properties",
        ),
        buildsets,
    )
    yield "buildset_sourcestamps", ("buildsetid", "sourcestampid"), links
    yield (
        "buildset_changes",
        ("buildsetid", "changeid"),
        [(buildsetid, stampid) for buildsetid, stampid in links if buildsetid % 2 == 0],
    )
    yield (
        "buildrequests",
        (
            "id",
            "buildsetid",
            "builderid",
            "priority",
            "submitted_at",
            "claimed_by",
            "claimed_at",
            "complete",
            "complete_at",
            "results",
            "attempts",
            "waits_for",
        ),
        requests,
    )
    yield (
        "builds",
        (
            "id",
            "number",
            "builderid",
            "buildrequestid",
            "attempt",
            "workerid",
            "masterid",
            "started_at",
            "complete_at",
            "results",
            "state_string",
            "locks_duration_us",
            "properties",
        ),
        builds,
    )


def _details(size: Size, now_us: int) -> Iterator[Table]:
    steps: Rows = []
    logs: Rows = []
    chunks: Rows = []
    names = ("git", "configure", "make", "make test", "upload", "tidy")
    for buildid in range(max(1, size.builds - size.detailed + 1), size.builds + 1):
        running = buildid > size.builds - 3
        begun = now_us - (size.builds - buildid) * 30 * SECOND
        for number in range(size.steps):
            stepid = buildid * 10 + number
            last = number == size.steps - 1
            open_ = running and last
            results = None if open_ else 2 if last and buildid % 10 == 0 else 0
            start = begun + number * 4 * SECOND
            steps.append(
                (
                    stepid,
                    buildid,
                    number,
                    names[number % len(names)],
                    start,
                    start + 10,
                    None if open_ else start + 4 * SECOND,
                    results,
                    "running" if open_ else "'make' failed" if results else "done",
                    json.dumps(
                        [{"name": "report <1>", "url": "https://example.org/?a=1&b=2"}] if last else []
                    ),
                    int(number == 1),
                )
            )
            out = [f"line {i} of {names[number % len(names)]} <em>&\n".encode() for i in range(50)]
            pieces = [("h", b"make -j2\n"), ("o", b"".join(out)), ("e", b"warning: \xff\xfe is no UTF-8\n")]
            offset, line = 0, 0
            for seq, (stream, content) in enumerate(pieces):
                count = content.count(b"\n")
                chunks.append((stepid, seq, offset, line, count, seq, stream, start, "", content))
                offset += len(content)
                line += count
            logs.append(
                (
                    stepid,
                    stepid,
                    "stdio",
                    "stdio",
                    "s",
                    int(not open_),
                    line,
                    offset,
                    len(pieces),
                    "live" if open_ else "kept",
                )
            )
    yield (
        "steps",
        (
            "id",
            "buildid",
            "number",
            "name",
            "started_at",
            "locks_acquired_at",
            "complete_at",
            "results",
            "state_string",
            "urls",
            "hidden",
        ),
        steps,
    )
    yield (
        "logs",
        ("id", "stepid", "name", "slug", "type", "complete", "num_lines", "length", "next_chunk", "tier"),
        logs,
    )
    yield (
        "logchunks",
        (
            "logid",
            "seq",
            "offset",
            "first_line",
            "num_lines",
            "line_from",
            "stream",
            "time_us",
            "origin",
            "content",
        ),
        chunks,
    )


def _left_behind(size: Size) -> Iterator[Table]:
    """Every detailed build's last step left a report and two sets of results: one test in ten failed."""
    detailed = range(max(1, size.builds - size.detailed + 1), size.builds + 1)
    yield (
        "build_data",
        ("buildid", "name", "value", "length", "source"),
        [(buildid, "report", b"\0\xff<b>", 5, "step") for buildid in detailed],
    )
    sets: Rows = []
    results: Rows = []
    for buildid in detailed:
        builderid = 1 if buildid % 5 == 0 else 1 + buildid % size.builders
        stepid = buildid * 10 + size.steps - 1
        sets += [
            (buildid, builderid, buildid, stepid, 0, "tests", "pass_fail", "boolean", 9, 1, 10, 1),
            (buildid + 10**6, builderid, buildid, stepid, 1, None, "speed", "ms", None, None, 1, 0),
        ]
        for i in range(1, 11):
            failed = i == 1 + buildid % 10
            why = "assert 1 == 2" if failed else None
            results.append(
                (builderid, buildid, i, i % 3 + 1, i, i * 1000, str(int(not failed)), why, int(not failed))
            )
        results.append((builderid, buildid + 10**6, None, None, None, None, "17.5", None, None))
    yield (
        "test_names",
        ("id", "builderid", "digest", "name"),
        [(i, 1, digest_of(f"tests.test_{i}"), f"tests.test_{i}") for i in range(1, 11)],
    )
    yield (
        "test_code_paths",
        ("id", "builderid", "digest", "path"),
        [(i, 1, str(i), f"tests/{i}.py") for i in range(1, 4)],
    )
    yield (
        "test_result_sets",
        (
            "id",
            "builderid",
            "buildid",
            "stepid",
            "number",
            "description",
            "category",
            "value_unit",
            "tests_passed",
            "tests_failed",
            "num_results",
            "complete",
        ),
        sets,
    )
    yield (
        "test_results",
        (
            "builderid",
            "test_result_setid",
            "test_nameid",
            "test_code_pathid",
            "line",
            "duration_ns",
            "value",
            "message",
            "passed",
        ),
        results,
    )


def make_sqlite(path: Path) -> None:
    """An empty database with our tables."""
    connection = sqlite3.connect(path)
    for statement in create_statements(SQLITE):
        connection.execute(statement)
    connection.close()


def fill_sqlite(path: Path, size: Size, now_us: int = NOW_US) -> None:
    """Fill the database at `path`, which has our tables and no rows."""
    connection = sqlite3.connect(path)
    with connection:
        for name, columns, rows in tables(size, now_us):
            names = ", ".join(f'"{column}"' for column in columns)
            places = ", ".join("?" * len(columns))
            connection.executemany(f"INSERT INTO {name} ({names}) VALUES ({places})", rows)
    connection.close()


async def fill_postgres(url: str, size: Size, now_us: int = NOW_US) -> None:
    """Fill the database at `url`, which has our tables and no rows; its counters go on after the rows."""
    connection = await asyncpg.connect(url)
    try:
        for name, columns, rows in tables(size, now_us):
            await connection.copy_records_to_table(name, records=rows, columns=list(columns))
            if "id" in columns and name not in ("steps", "logs", "test_result_sets"):
                await connection.execute(
                    f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), coalesce(max(id), 1)) FROM {name}"
                )
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
