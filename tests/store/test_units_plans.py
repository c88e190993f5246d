"""With a long history in the store, no unit reads a whole table of it: every plan, on both databases.

Each unit runs on a filled database, in a transaction that is rolled back; before each of its statements the
database is asked how it will run it. PostgreSQL is asked for the plan that it keeps for prepared statements,
which knows no values.
"""

import asyncio
import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa

from buildwright.builds.losing import lose_builds
from buildwright.store import schema
from buildwright.store.unit import POSTGRESQL, SQLITE, Bound, Hint, Many, Statement, Unit, Work, unit
from buildwright.store.units import (
    attach,
    audit,
    cancelling,
    changes,
    claims,
    collapse,
    control,
    finishing,
    history,
    leases,
    locks,
    logs,
    rebuilding,
    registry,
    retention,
    schedulers,
    testresults,
    triggered,
)
from buildwright.store.units.builddata import SET_BUILD_DATA
from buildwright.store.units.buildsets import add_buildset
from buildwright.store.units.engine import FORGET_JOURNAL, NOTE, START_STEP, Fence, Operation, Part, write
from tests.support.fill import Size, fill_postgres, fill_sqlite, make_sqlite
from tests.support.postgres import Cluster
from tests.support.stores import postgres_with_tables

SIZE = Size(builds=20_000, waiting=5_000, detailed=2_000, changes=5_000)
LAST = SIZE.builds
WAITS = SIZE.builds + 7  # a request of builder 1
NOW = 1_790_000_100_000_000

SMALL = {
    "masters",
    "builders",
    "workers",
    "schedulers",
    "changesources",
    "projects",
    "builder_masters",
    "configured_workers",
    "scheduler_upstreams",
    "locks",
    "api_tokens",
}
"""What a configuration names; everything else grows with the history or with what waits."""


MORE = """
INSERT INTO sealed_logs (logid, blob, size, frames) SELECT id, 'logs/' || id, 1, '' FROM logs;
INSERT INTO journal (stepid, try, seq, kind, fingerprint) SELECT id, 0, 0, 'command', 'f' FROM steps;
INSERT INTO scheduler_changes (schedulerid, changeid) SELECT id % 40, id FROM changes WHERE id % 25 = 0;
INSERT INTO scheduler_completions (schedulerid, buildsetid)
    SELECT id % 41, id FROM buildsets WHERE id % 97 = 0;
INSERT INTO scheduler_causes (schedulerid, cause, settled_at) SELECT id % 40, 'c' || id, 1 FROM buildsets;
INSERT INTO idempotency (key, result, created_at) SELECT 'k' || id, '', 1 FROM buildsets;
INSERT INTO test_names (builderid, digest, name) SELECT id % 7, id, id FROM steps;
INSERT INTO test_code_paths (builderid, digest, path) SELECT id % 7, id, id FROM steps;
INSERT INTO audit (asked_at, who, method, target, outcome) SELECT id, 'w', 'm', 't', 'done' FROM buildsets;
INSERT INTO locks (name, max_count) SELECT 'lock' || id, 1 FROM changes WHERE id < 50;
INSERT INTO lock_claims (lockid, buildrequestid, mode, masterid, queued_at)
    SELECT id % 50, id, 'exclusive', 2, 1 FROM buildrequests WHERE id > 21000;
"""
"""What the support's history has no rows of."""

WORKER_OF = Statement(
    "worker of a build",
    lambda _dialect: sa.select(schema.builds.c.workerid).where(
        schema.builds.c.id == sa.bindparam("of_build")
    ),
)


def claim(requestid: int, wants: Sequence[locks.Want] = ()) -> Unit[Any]:
    return claims.claim(
        requestid=requestid,
        builderid=1,
        workerid=1,
        attachment=0,
        masterid=1,
        wants=wants,
        fingerprint="[]",
        now_us=NOW,
    )


@unit
def finish(results: int, buildsetid: int | None = None) -> Work[None]:
    """The last build of the history, which runs."""
    part = Part(
        lambda: finishing.finish_build_work(
            buildid=LAST,
            requestid=LAST,
            results=results,
            state_string="done",
            lingering=False,
            holds_locks=True,
            now_us=NOW,
            buildsetid=buildsetid,
        ),
        (),
    )
    ((workerid,),) = yield WORKER_OF(of_build=LAST)
    fence = Fence(workerid, 0, 1)
    yield from write(LAST, 0, fence, [part, FORGET_JOURNAL(of_stepid=LAST * 10)]).start()


@unit
def begin_step() -> Work[None]:
    ((workerid,),) = yield WORKER_OF(of_build=LAST)
    stepid = 10**9
    row = {"buildid": LAST, "number": 99, "name": "new", "state": "", "fingerprint": "", "arguments": b""}
    entry = {"of_try": 0, "seq": 0, "kind": "command", "fingerprint": "", "done": 0, "outcome": None}
    operations: list[Operation] = [
        START_STEP(stepid=stepid, now_us=NOW, locks_acquired_at=NOW, **row),
        Part(logs.add_log_work, (stepid, stepid, "stdio", "stdio", "s")),
        NOTE(stepid=stepid, logid=stepid, **entry),
    ]
    yield from write(LAST, 0, Fence(workerid, 0, 1), operations, state="building").start()


@unit
def results_of_tests() -> Work[None]:
    """What steps leave behind, and what is forgotten of it."""
    stepid, setid = LAST * 10 + SIZE.steps - 1, LAST + 10**6
    yield SET_BUILD_DATA(buildid=LAST, name="d", value=b"x", length=1, source="s")
    batch = testresults.Batch(setid, "speed", 1, [testresults.Result("1", "new", "a.py")])
    yield from testresults.add_results_work(1, [batch])
    yield from testresults.sets_of_step(stepid).start()
    yield testresults.COMPLETE_SET(setid=setid)
    yield from testresults.complete_sets_work(LAST)
    yield from testresults.forget_sets_work(stepid)


@unit
def lose() -> Work[None]:
    ((workerid,),) = yield WORKER_OF(of_build=LAST)
    losing = lose_builds(
        workerid=workerid,
        attachment=0,
        masterid=1,
        buildids=None,
        results=5,
        why="gone",
        lingering=True,
        now_us=NOW,
    )
    yield from losing.start()


@unit
def claim_with_locks() -> Work[None]:
    ids = yield from locks.declare([("one", 0, 1), ("two", 0, 2)], 1).start()
    wants = [locks.Want(lockid, name, locks.EXCLUSIVE, 1) for (name, _), lockid in ids.items()]
    yield from claim(WAITS, wants).start()
    yield from claim(WAITS + 1, wants).start()
    yield from locks.leave_queues([WAITS + 1], 1).start()
    yield from locks.free_request_work(WAITS)
    yield from locks.free_step_work(WAITS, 3)


BUILDSET: dict[str, Any] = {"sourcestamps": [{"revision": "new"}], "builderids": [1, 2], "changeids": [3]}
UNITS: dict[str, Callable[[], Unit[Any]]] = {
    "waiting": lambda: claims.waiting(1, 20),
    "waiting of a builder whose requests are done": lambda: claims.waiting(2, 20),
    "facts": lambda: claims.facts([WAITS, WAITS + 1, 5]),
    "pending builders": lambda: claims.pending_builders(list(range(1, SIZE.builders + 1))),
    "stops": lambda: claims.stops(1),
    "claim": lambda: claim(WAITS),
    "claim with locks": claim_with_locks,
    "finish": lambda: finish(0),
    "finish with its buildset": lambda: finish(0, LAST),
    "finish with retry": lambda: finish(5),
    "begin a step": begin_step,
    "start": lambda: schedulers.start(1, {"sourcestamps": [{"revision": "new"}], "builderids": [1]}, NOW),
    "lose": lose,
    "results of tests": results_of_tests,
    "end lingering": lambda: claims.end_lingering(LAST),
    "stop": lambda: claims.stop_request(WAITS, "enough", NOW),
    "stop a build": lambda: control.stop_build(LAST, "enough", NOW),
    "what stops it": lambda: control.stop_of(WAITS),
    "priority": lambda: control.set_priority(WAITS, 3),
    "rebuild": lambda: control.rebuild(5, NOW),
    "what is done": lambda: rebuilding.what_is_done(LAST, LAST - 1),
    "collapse": lambda: collapse.collapse(WAITS, WAITS + 1, NOW),
    "what may collapse": lambda: collapse.waiting_requests([WAITS, WAITS + 1]),
    "attach": lambda: attach.attach(workerid=2, masterid=1, term=1, info="{}"),
    "adopt": lambda: attach.adopt(workerid=2, attachment=0, masterid=1, boot="b", ledger="l"),
    "open builds": lambda: attach.open_builds(2),
    "lingering builds": lambda: attach.lingering_builds(2),
    "builds to watch": lambda: attach.builds_to_watch(1),
    "logs to tend": lambda: logs.logs_to_tend(0, 20),
    "logs of a step": lambda: logs.step_logs(LAST * 10),
    "lines": lambda: logs.read_lines(LAST * 10, 10, 20),
    "bytes": lambda: logs.read_window(LAST * 10, 0, None),
    "signs": lambda: schedulers.signs([1, 2, 3, 4]),
    "view": lambda: schedulers.view(1),
    "settle": lambda: schedulers.settle(
        1, 0, schedulers.Decision("{}", [schedulers.Settlement("c", BUILDSET)], {1: True}, [1, 2], [3]), NOW
    ),
    "add a buildset": lambda: add_buildset(now_us=NOW, key="k", **BUILDSET),
    "add changes": lambda: changes.add_changes([changes.NewChange("me", identity="i")], NOW),
    "take a lease": lambda: leases.take("ci.example.org:/srv/ci", NOW),
    "retire": lambda: leases.retire(1, 1, 1),
    "register": lambda: registry.register(1, [], ["worker-2"]),
    "recent builds": lambda: history.recent_builds(["waits-for-arm", "builder-02"], 20),
    "a build by its number": lambda: history.build_numbered("builder-02", 3),
    "what may be superseded": lambda: cancelling.open_sources(["waits-for-arm", "builder-02"]),
    "what has failed": lambda: cancelling.failed_among(["waits-for-arm", "builder-02"]),
    "triggered": lambda: triggered.buildset_results([5, 6]),
    "note in the audit": lambda: audit.note(now_us=1, who="w", peer=None, method="m", target="t"),
    "settle in the audit": lambda: audit.settle([audit.Outcome(5, "done", "")]),
    "cut the audit": lambda: audit.cut(NOW, 20),
    "count of the audit": lambda: audit.count_before(5),
    "finished builds": lambda: retention.finished_builds(1, 1 << 40, 20),
    "referenced builds": retention.referenced,
    "logs of builds": lambda: retention.logs_of([5, 6]),
    "expire logs": lambda: retention.expire_build(SIZE.builds - 20, NOW),
    "drop data": lambda: retention.drop_data(5),
    "cut results": lambda: retention.cut_results(5, 20),
    "remove a build": lambda: retention.remove_build(5),
    "unbuilt requests": lambda: retention.unbuilt_requests(1, 0, NOW, 20),
    "remove unbuilt requests": lambda: retention.remove_unbuilt(1, 0, NOW, 20),
    "oldest changes": lambda: retention.oldest_changes(0, 20),
    "last change beyond": lambda: retention.last_beyond(100),
    "remove changes": lambda: retention.remove_changes([1, 2, 25], NOW),
    "builds of triggered": lambda: triggered.finished_builds([5, 6]),
}


PARTIAL = {"waiting_requests", "stopped_requests", "occupying_builds", "one_open_build", "logs_to_tend"}
"""Indexes of what isn't done yet: reading a whole one is fine."""
WHOLE = {"locks.waiting", "cancelling.last_before"}
"""Statements that read all holders and waiters of locks, once when a master goes; and one that goes back from
the newest change, as far as the oldest request that waits or runs."""


def grows(table: str) -> bool:
    return table not in SMALL


# -- SQLite -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sqlite_history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path = tmp_path_factory.mktemp("history") / "state.sqlite"
    make_sqlite(path)
    fill_sqlite(path, SIZE)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(MORE)
    yield connection
    connection.close()


def scans_of_sqlite(connection: sqlite3.Connection, asked: Unit[Any]) -> list[str]:
    """The steps of its statements that read a whole table or index."""
    bad: list[str] = []
    for statement, values in driven(connection, asked):
        compiled = statement.compiled(SQLITE)
        for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {compiled.sql}", values):
            found = re.match(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?$", step)
            if found and grows(found[1]) and found[2] not in PARTIAL and statement.name not in WHOLE:
                bad.append(f"{statement.name}: {step}")
    return bad


def driven(connection: sqlite3.Connection, asked: Unit[Any]) -> Iterator[tuple[Statement, tuple[Any, ...]]]:
    """Run a unit and roll it back; gives each statement with its arguments before it runs."""
    connection.execute("BEGIN")
    work = asked.start()
    answer: Any = None
    try:
        while True:
            request = work.send(answer)
            answer = [] if not isinstance(request, Hint) else None
            if isinstance(request, (Bound, Many)):
                compiled = request.statement.compiled(SQLITE)
                many = isinstance(request, Many)
                for params in request.params if isinstance(request, Many) else [request.params]:
                    values = compiled.arguments(params)
                    yield request.statement, values
                    rows = connection.execute(compiled.sql, values).fetchall()
                    answer = [] if many else rows
    except StopIteration:
        pass
    finally:
        connection.execute("ROLLBACK")


@pytest.mark.parametrize("name", UNITS)
def test_sqlite_reads_no_whole_table(name: str, sqlite_history: sqlite3.Connection) -> None:
    assert scans_of_sqlite(sqlite_history, UNITS[name]()) == []


# -- PostgreSQL ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres_history(postgres_cluster: Cluster) -> Iterator[str]:
    with postgres_with_tables(postgres_cluster) as url:
        with asyncio.Runner() as runner:
            runner.run(fill_postgres(url, SIZE))
        postgres_cluster.sql(f"{MORE} ANALYZE", url.rpartition("/")[2])
        yield url


async def scans_of_postgres(connection: asyncpg.Connection, asked: Unit[Any]) -> list[str]:
    """The nodes of its statements' plans that read a whole table or index."""
    bad: list[str] = []
    transaction = connection.transaction()
    await transaction.start()
    work = asked.start()
    answer: Any = None
    try:
        while True:
            request = work.send(answer)
            answer = [] if not isinstance(request, Hint) else None
            if isinstance(request, (Bound, Many)):
                many = isinstance(request, Many)
                for params in request.params if isinstance(request, Many) else [request.params]:
                    values = request.statement.compiled(POSTGRESQL).arguments(params)
                    bad += await _planned(connection, request.statement, values)
                    rows = await connection.fetch(request.statement.compiled(POSTGRESQL).sql, *values)
                    answer = [] if many else [tuple(row) for row in rows]
    except StopIteration:
        return bad
    finally:
        await transaction.rollback()


async def _planned(
    connection: asyncpg.Connection, statement: Statement, values: tuple[Any, ...]
) -> list[str]:
    """Once as the planner likes it, and once so that it reads a small table by its index, if there is one."""
    bad: list[str] = []
    arguments = f"({', '.join(literal(value) for value in values)})" if values else ""
    for seqscan in ("on", "off"):
        await connection.execute(f"SET LOCAL enable_seqscan = {seqscan}")
        await connection.execute(f"PREPARE asked AS {statement.compiled(POSTGRESQL).sql}")
        text = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE asked{arguments}")
        for node in nodes(json.loads(text)[0]["Plan"]):
            table, kind = node.get("Relation Name", ""), node["Node Type"]
            whole = kind == "Seq Scan" and (seqscan == "off" or table in FILLED)
            whole |= (
                kind.startswith("Index") and "Index Cond" not in node and node["Index Name"] not in PARTIAL
            )
            if whole and grows(table):
                bad.append(f"{statement.name}: {kind} of {table}")
        await connection.execute("DEALLOCATE asked")
    return [] if statement.name in WHOLE else bad


FILLED = {
    "build_data",
    "test_names",
    "test_results",
    "test_result_sets",
    "buildsets",
    "buildrequests",
    "builds",
    "steps",
    "logs",
    "changes",
    "sourcestamps",
    "logchunks",
}


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def literal(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case bytes():
            return f"'\\x{value.hex()}'"
        case list() | tuple():
            kind = "text" if any(isinstance(each, str) for each in value) else "bigint"
            return f"ARRAY[{', '.join(literal(each) for each in value)}]::{kind}[]"
        case str():
            return "'" + value.replace("'", "''") + "'"
    return str(value)


@pytest.mark.parametrize("name", UNITS)
async def test_postgresql_reads_no_whole_table(name: str, postgres_history: str) -> None:
    connection = await asyncpg.connect(
        postgres_history, server_settings={"plan_cache_mode": "force_generic_plan", "jit": "off"}
    )
    try:
        assert await scans_of_postgres(connection, UNITS[name]()) == []
    finally:
        await connection.close()
