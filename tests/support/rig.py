"""A real master and real workers in a test's own loop: a configuration's text in, rows out.

    async with rig(tmp_path, db_url, CONFIG) as it:
        built = await it.build("b")
        assert built.results == SUCCESS, built
        assert built.log("shell").out == b"hello\\n"

The text continues :data:`HEAD`, which has one worker ``w1`` and a function ``builder(name, *steps)``. Workers
are run as :class:`Agent` against the master's endpoint; they outlive a restart of the master.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from buildwright.logs.blobs import BlobStore, FileBlobs
from buildwright.master.master import Master
from buildwright.store.base import Store
from buildwright_worker.agent import Agent
from buildwright_worker.config import AgentConfig
from tests.support.processes import free_port
from tests.support.rows import PATIENCE, Rows

PASSWORD = "sesame"
HEAD = """
from buildwright.plugins import schedulers, secrets, steps, util, worker
c = BuildmasterConfig = {}
c["www"] = {"port": PORT}
c["db_url"] = DB_URL
c["workers"] = [worker.Worker("w1", "sesame")]
c["schedulers"] = []
c["builders"] = []
c["collapseRequests"] = False

def builder(name, *steps, workers=("w1",), **kwargs):
    factory = util.BuildFactory(list(steps))
    c["builders"].append(util.BuilderConfig(name, workernames=list(workers), factory=factory, **kwargs))
    c["schedulers"].append(schedulers.Triggerable(name="run-" + name, builderNames=[name]))

"""


class Rig(Rows):
    """See the module's docstring."""

    def __init__(self, directory: Path, db_url: str, text: str) -> None:
        self.directory = directory
        self.basedir = directory / "master"
        self.basedir.mkdir(exist_ok=True)
        self.db_url = db_url
        self.port = free_port()
        self.configure(text)
        self.agents: dict[str, tuple[Agent, asyncio.Task[None]]] = {}
        self.master: Master

    def configure(self, text: str) -> None:
        """Write the configuration; a running master takes it with its next reload."""
        names = f"PORT = {self.port}\nDB_URL = {self.db_url!r}\n"
        (self.basedir / "master.cfg").write_text(names + HEAD + text)

    # -- life ---------------------------------------------------------------------------------------------

    @property
    def store(self) -> Store:  # type: ignore[override]  # it is the master's, who may be another one now
        return self.master.store

    @property
    def blobs(self) -> BlobStore:
        return FileBlobs(self.basedir / "logs")

    async def start(self) -> None:
        self.master = Master(self.basedir)
        await self.master.start()

    async def stop(self) -> None:
        await self.master.stop()

    async def restart(self) -> None:
        """Stop the master in the middle of what it does, and start another one."""
        await self.stop()
        await self.start()

    # -- workers ------------------------------------------------------------------------------------------

    def builddir(self, builder: str = "b", worker: str = "w1") -> Path:
        """Where a builder's builds happen."""
        return self.directory / worker / builder

    async def start_worker(self, name: str = "w1", **options: Any) -> Agent:
        """Start a worker; ``options`` are the agent's."""
        basedir = self.directory / name
        basedir.mkdir(exist_ok=True)
        url = f"ws://127.0.0.1:{self.port}/worker"
        agent = Agent(AgentConfig(basedir=basedir, masters=[url], name=name, password=PASSWORD), **options)
        self.agents[name] = agent, asyncio.create_task(agent.run(), name=f"worker {name}")
        return agent

    async def stop_worker(self, name: str = "w1") -> None:
        agent, task = self.agents.pop(name)
        agent.stop("the test ends")
        await asyncio.wait_for(task, PATIENCE)

    async def attached(self) -> bool:
        """Whether all workers are."""
        seats = self.master.core.workers.seats.values()
        return sum(seat.session is not None for seat in seats) == len(self.agents)

    # -- waiting ------------------------------------------------------------------------------------------

    async def until(self, kind: str, condition: Callable[[], Awaitable[Any]]) -> Any:
        """As :meth:`Rows.until`, looking again at each hint and each sweep."""
        async with asyncio.timeout(PATIENCE):
            while True:
                hint = self.master.bus.next(kind)
                if found := await condition():
                    return found
                await hint


@asynccontextmanager
async def rig(
    directory: Path, db_url: str, text: str, workers: Sequence[str] = ("w1",)
) -> AsyncIterator[Rig]:
    """A running master with its workers; all end with the context."""
    it = Rig(directory, db_url, text)
    await it.start()
    try:
        for name in workers:
            await it.start_worker(name)
        yield it
    finally:
        for name in list(it.agents):
            await it.stop_worker(name)
        await it.stop()
