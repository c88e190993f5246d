"""The load's way in: the data API that both sides serve, with the same calls."""

import asyncio
import itertools
import time
from types import TracebackType
from typing import Any, Self

import aiohttp

_ids = itertools.count(1)


def log_path(build: dict[str, Any]) -> str:
    """Where the output of a build's first command is."""
    return f"/builds/{build['buildid']}/steps/step0/logs/stdio"


class Rest:
    """A client of one master's /api/v2. Use it as a context; every failure raises with the body's text."""

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}/api/v2"
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=900)
        connector = aiohttp.TCPConnector(limit=64)
        self._session = aiohttp.ClientSession(timeout=timeout, connector=connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def get(self, path: str) -> dict[str, Any]:
        """The decoded answer of a GET; `path` may carry a query."""
        assert self._session is not None
        async with self._session.get(self.base + path) as answer:
            if answer.status != 200:
                raise RuntimeError(f"GET {path}: {answer.status} {await answer.text()}")
            decoded: dict[str, Any] = await answer.json(content_type=None)
            return decoded

    async def timed_get(self, path: str) -> float:
        """Seconds that a GET takes to its last byte."""
        assert self._session is not None
        began = time.perf_counter()
        async with self._session.get(self.base + path) as answer:
            await answer.read()
            if answer.status != 200:
                raise RuntimeError(f"GET {path}: {answer.status}")
        return time.perf_counter() - began

    async def download(self, path: str) -> tuple[int, float]:
        """Read a body to its end without keeping it: how many bytes, in how many seconds."""
        assert self._session is not None
        began = time.perf_counter()
        size = 0
        async with self._session.get(self.base + path) as answer:
            if answer.status != 200:
                raise RuntimeError(f"GET {path}: {answer.status} {await answer.text()}")
            async for block in answer.content.iter_any():
                size += len(block)
        return size, time.perf_counter() - began

    async def body(self, path: str) -> bytes:
        assert self._session is not None
        async with self._session.get(self.base + path) as answer:
            if answer.status != 200:
                raise RuntimeError(f"GET {path}: {answer.status} {await answer.text()}")
            return await answer.read()

    async def log_text(self, build: dict[str, Any]) -> str:
        """The first command's log with its stream letters: h for headers, o for what the command printed."""
        text: str = (await self.get(log_path(build) + "/contents"))["logchunks"][0]["content"]
        return text

    async def force(self, builder: str = "builder0") -> int:
        """Ask for a build; the build request's id."""
        assert self._session is not None
        call = {
            "jsonrpc": "2.0",
            "id": next(_ids),
            "method": "force",
            "params": {"builderNames": [builder], "reason": "bench"},
        }
        async with self._session.post(self.base + "/forceschedulers/force", json=call) as answer:
            if answer.status != 200:
                raise RuntimeError(f"force: {answer.status} {await answer.text()}")
            _buildset, requests = (await answer.json(content_type=None))["result"]
        return int(next(iter(requests.values())))

    async def finished_build(self, request: int, patience: float = 900.0) -> dict[str, Any]:
        """Wait for a request's build to be seen finished. Looking costs at most some 2 % of the time."""
        began = time.monotonic()
        while (waited := time.monotonic() - began) < patience:
            builds = (await self.get(f"/buildrequests/{request}/builds"))["builds"]
            if builds and builds[-1]["complete"]:
                last: dict[str, Any] = builds[-1]
                return last
            await asyncio.sleep(max(0.001, waited / 50))
        raise RuntimeError(f"build request {request} did not finish in {patience:.0f} s")

    async def attached_workers(self) -> int:
        workers = (await self.get("/workers?field=name&field=connected_to"))["workers"]
        return sum(bool(worker["connected_to"]) for worker in workers)

    async def wait_for_workers(self, count: int, patience: float = 300.0) -> None:
        """Until so many workers are attached. Looking costs at most a tenth of the time."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            began = time.perf_counter()
            if await self.attached_workers() >= count:
                return
            await asyncio.sleep(max(0.02, 9 * (time.perf_counter() - began)))
        raise RuntimeError(f"fewer than {count} workers attached in {patience:.0f} s")
