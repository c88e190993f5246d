"""A rig for the tests of steps."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from buildwright.testing.plugin import rehearse
from tests.support.rig import Rig, rig

__all__ = ["rehearse"]  # a fixture: a worker that plays scripts

Start = Callable[..., Awaitable[Rig]]


BOTH_STORES = pytest.mark.parametrize("rig_url", ["sqlite", "postgres"], indirect=True)


@pytest.fixture
def rig_url(request: pytest.FixtureRequest) -> str:
    """The database of the test's rig: SQLite, unless the test is marked with BOTH_STORES."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return "sqlite:///state.sqlite"
    url: str = request.getfixturevalue("postgres_store_url")
    return url


@pytest.fixture
async def start(tmp_path: Path, rig_url: str) -> AsyncIterator[Start]:
    """Starts a rig with a configuration's text; it ends with the test."""
    async with AsyncExitStack() as stack:

        async def start(text: str, workers: tuple[str, ...] = ("w1",)) -> Rig:
            return await stack.enter_async_context(rig(tmp_path, rig_url, text, workers))

        yield start
