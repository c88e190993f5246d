"""However much builds leave behind, its lists are read by indexes: every plan, on both databases."""

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from buildwright.store.unit import Unit
from buildwright.web import query, select
from buildwright.web.data import TABLE
from buildwright.web.paths import split
from buildwright.web.resource import Endpoint
from tests.store.test_units_plans import scans_of_postgres, scans_of_sqlite
from tests.support.fill import Size, fill_postgres, fill_sqlite, make_sqlite
from tests.support.postgres import Cluster
from tests.support.stores import postgres_with_tables

SIZE = Size(builds=6_000, waiting=100, detailed=2_000)
LAST = SIZE.builds
LARGE = 7  # a set of many results
MORE = f"""
INSERT INTO test_result_sets (id, builderid, buildid, stepid, number, category, value_unit)
    VALUES ({LARGE}, 1, 1, 1, 0, 'pass_fail', 'boolean');
INSERT INTO test_results (builderid, test_result_setid, test_nameid, value, passed)
    SELECT 1, {LARGE}, a.id % 20 + 1, '1', 1 FROM test_results AS a;
INSERT INTO test_names (builderid, digest, name) SELECT 2, 'd' || id, 'name ' || id FROM test_results;
INSERT INTO test_code_paths (builderid, digest, path) SELECT 2, 'd' || id, 'path ' || id FROM test_results;
"""
LISTS = [
    "builds/{last}/data",
    "builds/{last}/data/report",
    "builders/1/builds/1/data",
    "builds/{last}/test_result_sets?order=-test_result_setid&limit=20",
    "builders/1/test_result_sets?order=-test_result_setid&limit=20",
    "builders/waits-for-arm/test_result_sets?limit=20&offset=40",
    "steps/{step}/test_result_sets",
    "test_result_sets/{large}/results?limit=100&order=-test_resultid",
    "test_result_sets/{large}/results?limit=100&offset=10000",
    "test_result_sets/{large}/results?passed=false&limit=100",
    "builds/{last}/unsuccessful_test_results?limit=100",
    "builders/1?field=latest_build&field=recent_builds&field=running_builds&field=expected_us",
    "builders/1?field=pending_requests",
    "workers/2?field=running_builds",
    "builders/1/builds?limit=20&order=-number&field=number&field=changeids",
    "builders/1/builds?limit=20&order=-number&field=buildid&field=number&field=expected_us",
    "builds/{last}/steps?field=name&field=expected_us",
    "builders/1/builds?limit=20&order=-number&field=number&field=reason&field=sourcestamps",
    "buildrequests?claimed=false&limit=20&order=-priority&field=priority&field=claimed&field=reason",
    "builders/1/builds/1/unsuccessful_test_results",
]


def page(path: str) -> Unit[Any]:
    """What the data API runs for a path."""
    names, _, asked = path.format(last=LAST, step=LAST * 10 + 3, large=LARGE).partition("?")
    found = TABLE.find(split(names))
    assert found is not None
    target, params = found
    assert isinstance(target, Endpoint)
    parsed = query.parse(query.pairs(asked), target.resource.fields, collection=target.collection)
    plan = select.Plans().of(target, parsed)
    return select.read_page(plan, plan.bind(params, parsed), parsed.limit, parsed.offset)


@pytest.fixture(scope="module")
def sqlite_results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path: Path = tmp_path_factory.mktemp("results") / "state.sqlite"
    make_sqlite(path)
    fill_sqlite(path, SIZE)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(MORE)
    yield connection
    connection.close()


@pytest.mark.parametrize("path", LISTS)
def test_sqlite_reads_no_whole_table(path: str, sqlite_results: sqlite3.Connection) -> None:
    assert scans_of_sqlite(sqlite_results, page(path)) == []


@pytest.fixture(scope="module")
def postgres_results(postgres_cluster: Cluster) -> Iterator[str]:
    with postgres_with_tables(postgres_cluster) as url:
        with asyncio.Runner() as runner:
            runner.run(fill_postgres(url, SIZE))
        postgres_cluster.sql(f"{MORE} ANALYZE", url.rpartition("/")[2])
        yield url


@pytest.mark.parametrize("path", LISTS)
async def test_postgresql_reads_no_whole_table(path: str, postgres_results: str) -> None:
    settings = {"plan_cache_mode": "force_generic_plan", "jit": "off"}
    connection = await asyncpg.connect(postgres_results, server_settings=settings)
    try:
        assert await scans_of_postgres(connection, page(path)) == []
    finally:
        await connection.close()
