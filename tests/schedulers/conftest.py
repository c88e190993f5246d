"""Stores for the tests of schedulers."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from buildwright.store.base import Store
from tests.support.databases import KINDS, started_stores
from tests.support.postgres import Cluster


@pytest.fixture(params=KINDS)
async def stores(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_cluster: Cluster
) -> AsyncIterator[list[Store]]:
    """Two stores on one database."""
    async with started_stores(request.param, tmp_path, postgres_cluster, 2) as made:
        yield made


@pytest.fixture
def store(stores: list[Store]) -> Store:
    """A store; the test runs on each database."""
    return stores[0]
