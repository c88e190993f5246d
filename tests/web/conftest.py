"""The web application on real stores. `server` and `get` are on SQLite; `each_server` on every database in
turn.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from buildwright.schedulers.force import ForceScheduler
from buildwright.store.migrate import create_statements
from buildwright.store.urls import open_store
from tests.support.fill import Size, fill_postgres, fill_sqlite, make_sqlite
from tests.support.postgres import Cluster
from tests.support.webserver import Server

SMALL = Size(builds=300, waiting=40, builders=8, workers=4, changes=60, detailed=12)
FORMS = [ForceScheduler("force", ["waits-for-arm", "builder-02"]), ForceScheduler("other", ["builder-03"])]

Get = Callable[..., Awaitable[tuple[int, Any]]]


@pytest.fixture(scope="session")
def filled_sqlite(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The content of a filled database."""
    path = tmp_path_factory.mktemp("filled") / "state.sqlite"
    make_sqlite(path)
    fill_sqlite(path, SMALL)
    return path.read_bytes()


@pytest.fixture
def sqlite_url(filled_sqlite: bytes, tmp_path: Path) -> str:
    (tmp_path / "state.sqlite").write_bytes(filled_sqlite)
    return "sqlite:///state.sqlite"


@pytest.fixture(scope="session")
def filled_postgres(postgres_cluster: Cluster) -> str:
    """The template of filled databases."""

    def prepare(url: str) -> None:
        postgres_cluster.sql(";\n".join(create_statements("postgresql")), url.rpartition("/")[2])

    return postgres_cluster.template("filled_web", prepare)


@pytest.fixture(params=["sqlite", "postgres"])
async def each_server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    if request.param == "sqlite":
        async with _serving(request.getfixturevalue("sqlite_url"), tmp_path) as server:
            yield server
        return
    cluster: Cluster = request.getfixturevalue("postgres_cluster")
    with cluster.database(request.getfixturevalue("filled_postgres")) as url:
        await fill_postgres(url, SMALL)
        async with _serving(url, tmp_path) as server:
            yield server


@pytest.fixture
async def server(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Server]:
    async with _serving(sqlite_url, tmp_path) as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def get(server: Server, http: aiohttp.ClientSession) -> Get:
    return getter(server, http)


def getter(server: Server, http: aiohttp.ClientSession) -> Get:
    """Reads a path of the data API: (status, body)."""

    async def read(path: str, **params: Any) -> tuple[int, Any]:
        async with http.get(f"{server.url}/api/v2{path}", params=params) as response:
            assert response.content_type == "application/json"
            return response.status, await response.json()

    return read


@asynccontextmanager
async def _serving(db_url: str, directory: Path) -> AsyncIterator[Server]:
    store = open_store(db_url, directory)
    await store.start()
    server = Server(store, directory, FORMS)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
        await store.stop()
