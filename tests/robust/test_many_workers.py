"""Many idle workers, and workers that come and go without end: nothing of them stays behind in the master."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp

from buildwright_worker.agent import Agent
from buildwright_worker.config import AgentConfig
from buildwright_worker.protocol import VERSION, Hello, encode
from tests.robust.support import attached, done, force, no_traceback, ready
from tests.support.processes import Farm, eventually, farm

IDLE = 200
STORMS, AT_ONCE = 2000, 20
AUTH = {"Authorization": aiohttp.encode_basic_auth("storm", "pw")}

CONFIG = f"""
c['workers'] += [worker.Worker(f"idle{{number}}", "pw") for number in range({IDLE})]
c['workers'] += [worker.Worker(f"storm{{number}}", "pw") for number in range({AT_ONCE})]
builder("b", job("b", 0.1))
"""


def rss(pid: int) -> int:
    """Bytes of memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (found,) = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
    return int(found) * 1024


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def test_idle_workers(tmp_path: Path) -> None:
    """Each costs little, and all leave when they are asked to."""
    async with farm(tmp_path) as made, AsyncExitStack() as stack:
        await ready(made, CONFIG, "w")
        before = rss(made.master.pid)
        agents = []
        for number in range(IDLE):
            basedir = tmp_path / "idle" / str(number)
            basedir.mkdir(parents=True)
            url = f"ws://127.0.0.1:{made.port}/worker"
            agent = Agent(AgentConfig(basedir, [url], f"idle{number}", "pw"))
            agents.append((agent, asyncio.create_task(agent.run())))
        stack.push_async_callback(_stop, agents)
        await asyncio.gather(*(agent.attached.wait() for agent, _ in agents))
        grown = rss(made.master.pid) - before
        assert grown < IDLE * 64 * 1024, f"{grown // IDLE} bytes a worker"
        assert await _gauge(made, "master_attached_workers") == IDLE + 1
        await force(made, "b")
        await done(made)
        await _stop(agents)
        await eventually(lambda: _only(made, 1), "they are gone")
        no_traceback(made)


async def _stop(agents: list[tuple[Agent, asyncio.Task[None]]]) -> None:
    for agent, _ in agents:
        agent.stop("the test ends")
    await asyncio.gather(*(task for _, task in agents))
    agents.clear()


async def test_storms_of_connections(tmp_path: Path) -> None:
    """Workers that connect, are welcomed, and are gone, thousands of times: the master's memory stays."""
    async with farm(tmp_path) as made:
        await ready(made, CONFIG, "w")
        await _storm(made, STORMS // 4)  # caches are filled, arenas are grown
        before = rss(made.master.pid)
        await _storm(made, STORMS)
        await eventually(lambda: _only(made, 1), "they are gone")
        grown = rss(made.master.pid) - before
        # A connection that stays costs ten times as much; allocators need some to come to rest.
        assert grown < STORMS * 3 * 1024, f"{grown} bytes for {STORMS} connections"
        assert descriptors(made.master.pid) < 64, "no descriptor stays open"
        await force(made, "b")
        (build,) = await done(made)
        assert build["results"] == 0
        no_traceback(made)


async def _storm(made: Farm, count: int) -> None:
    await asyncio.gather(*(_come_and_go(made, number, count // AT_ONCE) for number in range(AT_ONCE)))


async def _come_and_go(made: Farm, number: int, times: int) -> None:
    headers = {"Authorization": aiohttp.encode_basic_auth(f"storm{number}", "pw")}
    url = f"http://127.0.0.1:{made.port}/worker"
    for time in range(times):
        async with made.api._session.ws_connect(url, headers=headers) as socket:
            await socket.send_bytes(encode(Hello(VERSION, f"{time % 3}", "ledger", {}, ["shell"], [], [])))
            assert (await socket.receive()).type is aiohttp.WSMsgType.BINARY, "welcomed"
            if time % 2:  # without a goodbye
                transport: Any = socket.get_extra_info("socket")
                assert transport is not None
                socket._response.connection.transport.abort()  # type: ignore[union-attr]


async def _gauge(made: Farm, name: str) -> float:
    async with made.api._session.get(f"{made.api.base}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    (found,) = [line.split()[-1] for line in lines if line.startswith(f"buildwright_{name}")]
    return float(found)


async def _only(made: Farm, count: int) -> bool:
    return await _gauge(made, "master_attached_workers") == count and await attached(made, count)
