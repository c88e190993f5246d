"""A process that polls a repository into a store until it is killed. Arguments: base directory, address."""

import asyncio
import sys
from pathlib import Path

from buildwright.changes.gitpoller import GitPoller
from buildwright.changes.service import ChangeSources
from buildwright.model.clock import SystemClock
from buildwright.store.units import leases
from buildwright.store.urls import open_store


async def main(basedir: Path, url: str) -> None:
    store = open_store("sqlite:///state.sqlite", basedir)
    await store.start()
    clock = SystemClock()
    masterid, _ = await store.run(leases.take("m", clock.now_us()))
    sources = ChangeSources(store, clock, masterid, basedir)
    await sources.start([GitPoller(url, branches=True, name="p")])
    while True:
        sources.poll_now()
        await sources.settled()
        sys.stdout.write("polled\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
