"""P3, P4, P5 in the middle of Git, Trigger, FileUpload and a custom step: killed, cut off, frozen."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
from pathlib import Path

import pytest

from tests.kill.jobs import check_all, configure, force_all
from tests.support.processes import Farm, Proxy, eventually, farm


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with enough in it that a clone takes a while."""
    made = tmp_path / "repository"
    made.mkdir()
    for number in range(200):
        (made / f"file{number}").write_text(f"{number}\n" * 2000)
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "-q", "-b", "main"], cwd=made, check=True)
    subprocess.run([*git, "add", "."], cwd=made, check=True)
    subprocess.run([*git, "commit", "-q", "-m", "all"], cwd=made, check=True)
    return made


async def _restart(made: Farm) -> None:
    await made.master.kill()
    await made.start_master()
    await made.master_is_up()


@pytest.mark.parametrize("seed", range(3))
async def test_the_master_is_killed(tmp_path: Path, repository: Path, seed: int) -> None:
    chance = random.Random(seed)
    async with farm(tmp_path) as made:
        configure(made, repository, 1.0)
        await made.start_master()
        await made.master_is_up()
        await made.start_worker("w")
        await force_all(made)
        for _ in range(4):
            await asyncio.sleep(chance.uniform(0.05, 1.5))  # the random moment itself
            await _restart(made)
        await check_all(made)


async def test_the_connection_is_cut(tmp_path: Path, repository: Path) -> None:
    chance = random.Random(1)
    async with farm(tmp_path) as made:
        proxy = Proxy(made.port)
        port = await proxy.start()
        configure(made, repository, 1.0)
        await made.start_master()
        await made.master_is_up()
        await made.start_worker("w", f"ws://127.0.0.1:{port}/worker")
        await force_all(made)
        for _ in range(8):
            await asyncio.sleep(chance.uniform(0.05, 0.8))  # the random moment itself
            proxy.cut()
        await check_all(made)
        await proxy.stop()


async def test_the_network_goes_silent(tmp_path: Path, repository: Path) -> None:
    """Half-open: both ends believe in the connection until liveness finds out."""
    async with farm(tmp_path) as made:
        proxy = Proxy(made.port)
        port = await proxy.start()
        configure(made, repository, 3.0)
        await made.start_master()
        await made.master_is_up()
        await made.start_worker("w", f"ws://127.0.0.1:{port}/worker")
        await force_all(made)
        await eventually(lambda: _started(made, "three1"), "the first command runs")
        proxy.silent = True
        await eventually(lambda: _said(made, "connection is gone"), "the master has noticed")
        proxy.silent = False
        proxy.cut()
        await check_all(made)
        await proxy.stop()


async def test_the_master_is_frozen_beyond_its_lease(tmp_path: Path, repository: Path) -> None:
    async with farm(tmp_path) as made:
        configure(made, repository, 6.0)
        await made.start_master()
        await made.master_is_up()
        await made.start_worker("w")
        await force_all(made)
        await eventually(lambda: _started(made, "three1"), "the first command runs")
        made.master.signal(signal.SIGSTOP)
        await asyncio.sleep(24)  # longer than a master acts without a renewal
        made.master.signal(signal.SIGCONT)
        await eventually(lambda: _said(made, "authority is lost"), "the master has noticed")
        await check_all(made)


async def _started(made: Farm, job: str) -> bool:
    return made.starts(job) > 0


async def _said(made: Farm, text: str) -> bool:
    return text in made.master.output.read_text()
