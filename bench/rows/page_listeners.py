"""Five hundred people look at one build, which prints a line a second: what that takes of the master.

Each listens to its build, its steps and its log, as a page that shows them does, and is told of every line.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp

from bench.sides import Master, Setup, Side, master
from bench.table import Figure, Measurement, Row

LISTENERS = 500
# More at once than any of the two accepts connections.
AT_A_TIME = 50
TICKER = ("sh", "-c", "while true; do date; sleep 1; done")

Listen = Callable[[aiohttp.ClientSession, str, list[str], list[int]], Coroutine[Any, Any, None]]


async def by_sse(session: aiohttp.ClientSession, base: str, paths: list[str], heard: list[int]) -> None:
    """Listen to the paths, and count the log's events in `heard` until cancelled."""
    me = -1
    async with session.get(f"{base}/sse/listen/{paths[0]}") as stream:
        async for line in stream.content:
            if line.startswith(b"data:") and b"{" not in line:  # the stream's id
                for path in paths[1:]:
                    async with session.get(f"{base}/sse/add/{line[5:].strip().decode()}/{path}") as added:
                        added.raise_for_status()
                heard.append(0)
                me = len(heard) - 1
            elif line.startswith(b"data:") and b"append" in line[:80]:
                heard[me] += 1


async def by_websocket(session: aiohttp.ClientSession, base: str, paths: list[str], heard: list[int]) -> None:
    """The same over a WebSocket."""
    async with session.ws_connect(f"{base}/ws") as socket:
        for number, path in enumerate(paths):
            await socket.send_json({"cmd": "startConsuming", "path": path, "_id": number})
        heard.append(0)
        me = len(heard) - 1
        async for message in socket:
            if message.type == aiohttp.WSMsgType.TEXT and "append" in message.data[:80]:
                heard[me] += 1


@asynccontextmanager
async def listeners(made: Master, listen: Listen, paths: list[str]) -> AsyncIterator[list[int]]:
    """How much each of the listeners has heard; all are connected."""
    base = f"http://127.0.0.1:{made.setup.web_port}"
    heard: list[int] = []
    async with AsyncExitStack() as stack:
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector, timeout=timeout))
        tasks: list[asyncio.Task[None]] = []
        try:
            while len(heard) < LISTENERS:
                more = min(AT_A_TIME, LISTENERS - len(tasks))
                tasks += [asyncio.create_task(listen(session, base, paths, heard)) for _ in range(more)]
                while len(heard) < len(tasks):
                    await asyncio.sleep(0.02)
                    for task in tasks:
                        if task.done():
                            task.result()
            yield heard
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def watched(made: Master) -> list[str]:
    """The events of the one build that runs, once it prints."""
    request = await made.rest.force()
    while True:
        builds = (await made.rest.get(f"/buildrequests/{request}/builds"))["builds"]
        if builds:
            build = builds[0]["buildid"]
            logs = (await made.rest.get(f"/builds/{build}/steps/step0/logs"))["logs"]
            if logs and logs[0]["num_lines"] > 0:
                return [f"logs/{logs[0]['logid']}/append", f"builds/{build}/*", f"builds/{build}/steps/*/*"]
        await asyncio.sleep(0.1)


async def measure(side: Side, short: bool, listen: Listen, row: str) -> dict[str, Figure]:
    seconds = 15 if short else 30
    async with master(side, Setup(steps=[TICKER])) as made:
        paths = await watched(made)
        async with listeners(made, listen, paths) as heard:
            await asyncio.sleep(2)  # what connecting left to do is done
            before, used = list(heard), made.running.cpu_seconds()
            await asyncio.sleep(seconds)
            share = 100 * (made.running.cpu_seconds() - used) / seconds
            told = [now - then for now, then in zip(heard, before, strict=True)]
        # The peer's workers gather lines for some seconds, so that several come with one event.
        if min(told) < (1 if short else seconds - 3):
            raise RuntimeError(f"a listener was told {min(told)} times in {seconds} s")
    note = f"of a core, over {seconds} s; each was told {min(told)} to {max(told)} times"
    return {row: Figure(share, 1, note)}


async def sse(side: Side, short: bool) -> dict[str, Figure]:
    return await measure(side, short, by_sse, "page_sse_cpu")


async def websockets(side: Side, short: bool) -> dict[str, Figure]:
    return await measure(side, short, by_websocket, "page_ws_cpu")


MEASUREMENTS = (
    Measurement(sse, (Row("page_sse_cpu", "%", False, 15),)),
    Measurement(websockets, (Row("page_ws_cpu", "%", False, 15),)),
)
