"""Many of our own workers in one process.

    python our_workers.py URL BASEDIR NAME...

Prints `ready` when everything is imported, and lets them attach when a line comes on standard input: ten at a
time, as the peer's.
"""

import asyncio
import sys
from pathlib import Path

from buildwright_worker.agent import Agent
from buildwright_worker.config import create

AT_A_TIME = 10


async def main() -> None:
    url, base, names = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    agents = [Agent(create(base / name, [url], name, "secret", None)) for name in names]
    gate = asyncio.Semaphore(AT_A_TIME)

    async def attach(agent: Agent) -> asyncio.Task[None]:
        async with gate:
            running = asyncio.create_task(agent.run(), name=agent.config.name)
            await agent.attached.wait()
        return running

    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await asyncio.gather(*await asyncio.gather(*map(attach, agents)))


if __name__ == "__main__":
    asyncio.run(main())
