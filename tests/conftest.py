"""Fixtures that every test may ask for."""

import os
import signal
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from buildwright.store.base import Store
from tests.support.names import PAGE, Watch
from tests.support.postgres import Cluster
from tests.support.stores import KINDS, postgres_with_tables, sqlite_with_tables, started

settings.register_profile("untimed", deadline=None)  # nothing here fails for being slow
settings.load_profile("untimed")

for _name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):  # `make test` is not part of what tests run
    os.environ.pop(_name, None)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As shells start what they put in the background; no command that a test runs could be interrupted.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_watch = Watch(PAGE.read_text(encoding="utf-8") if PAGE.exists() else "")
_watch.watch_configurations()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    _watch.begin()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    result = yield
    _watch.passed(item)
    return result


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "cache"):  # not when pytest runs without its cache
        _watch.save(session.config.cache.mkdir("buildbot-names"))


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


@pytest.fixture
def sqlite_store_url(tmp_path: Path) -> str:
    """A SQLite file with the program's tables."""
    return sqlite_with_tables(tmp_path)


@pytest.fixture
def postgres_store_url(postgres_cluster: Cluster) -> Iterator[str]:
    """A PostgreSQL database of the test's own with the program's tables."""
    with postgres_with_tables(postgres_cluster) as url:
        yield url


@pytest.fixture(params=KINDS)
def store_url(request: pytest.FixtureRequest) -> str:
    """A database with the program's tables: the test runs once on each kind."""
    if request.param == "memory":
        return "sqlite://"
    url: str = request.getfixturevalue(f"{request.param}_store_url")
    return url


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """A started store: the test runs once on each kind of database."""
    async with started(store_url) as store:
        yield store
