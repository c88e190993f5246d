"""An agent attached to a master, for tests of what a worker does for it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from buildwright_worker.agent import Agent
from tests.worker.support import FakeMaster, config_for, master, running_agent


@pytest.fixture
async def fake_master() -> AsyncIterator[FakeMaster]:
    async with master() as fake:
        yield fake


@pytest.fixture
def basedir(tmp_path: Path) -> Path:
    return tmp_path / "worker"


@pytest.fixture
async def agent(fake_master: FakeMaster, basedir: Path) -> AsyncIterator[Agent]:
    async with running_agent(config_for(basedir, fake_master.url)) as running:
        await fake_master.attached()
        yield running
