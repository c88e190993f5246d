"""Fixtures that every test may ask for."""

from collections.abc import Iterator

import pytest

from tests.support.postgres import Cluster


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Cluster]:
    """The session's PostgreSQL server; databases and templates are made with its methods."""
    cluster = Cluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.destroy()


@pytest.fixture
def postgres_url(postgres_cluster: Cluster) -> Iterator[str]:
    """An empty database of the test's own."""
    with postgres_cluster.database() as url:
        yield url


@pytest.fixture
def own_postgres() -> Iterator[Cluster]:
    """A started server of the test's own, for tests that stop, freeze or kill it."""
    cluster = Cluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.destroy()
