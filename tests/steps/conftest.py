"""A rig for the tests of steps."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.rig import Rig, rig

Start = Callable[..., Awaitable[Rig]]


@pytest.fixture
def rig_url() -> str:
    """The database of the test's rig."""
    return "sqlite:///state.sqlite"


@pytest.fixture
async def start(tmp_path: Path, rig_url: str) -> AsyncIterator[Start]:
    """Starts a rig with a configuration's text; it ends with the test."""
    async with AsyncExitStack() as stack:

        async def start(text: str, workers: tuple[str, ...] = ("w1",)) -> Rig:
            return await stack.enter_async_context(rig(tmp_path, rig_url, text, workers))

        yield start
