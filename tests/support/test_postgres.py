"""The tests' own PostgreSQL: databases apart from each other, templates, and a crash that loses nothing."""

from pathlib import Path

import asyncpg
import pytest

from tests.support.postgres import Cluster, PostgresMissing, find_binaries


async def test_a_database_of_ones_own_is_empty_and_durable(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
        assert await connection.fetchval("SHOW fsync") == "on"
        assert await connection.fetchval("SHOW synchronous_commit") == "on"
    finally:
        await connection.close()


def test_a_template_is_prepared_once_and_copied(postgres_cluster: Cluster) -> None:
    prepared: list[str] = []

    def prepare(url: str) -> None:
        prepared.append(url)
        postgres_cluster.sql("CREATE TABLE t (x int)", url.rpartition("/")[2])

    for _ in range(2):
        name = postgres_cluster.template("template_of_this_test", prepare)
        with postgres_cluster.database(name) as url:
            database = url.rpartition("/")[2]
            assert postgres_cluster.sql("SELECT count(*) FROM t", database) == "0"
            postgres_cluster.sql("INSERT INTO t VALUES (1)", database)
    assert len(prepared) == 1


def test_what_was_committed_survives_a_crash(own_postgres: Cluster) -> None:
    own_postgres.sql("CREATE TABLE t AS SELECT 7 AS x")
    port = own_postgres.port
    own_postgres.kill()
    own_postgres.start()
    assert own_postgres.port == port
    assert own_postgres.sql("SELECT x FROM t") == "7"


def test_without_a_server_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "glob", lambda _path, _pattern: iter(()))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PostgresMissing, match="apt-get install -y postgresql"):
        find_binaries()
