"""The sweeper: once a second it has everybody look for what waits.

Hints only make it look earlier; with every hint lost, everything still happens, up to a second later. It is
the only timer that correctness leans on.

Looks don't wait for each other: one that waits for the store, perhaps for as long as the database is away,
keeps nobody else from looking (the lease must be noticed to be over just then). It isn't called again while
it waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from buildwright.store.errors import StoreError, StoreStopped

log = structlog.get_logger(__name__)

EVERY = 1.0

Look = Callable[[], Awaitable[object] | None]


class Sweeper:
    """Calls a list of named looks about once a second. One that fails or waits hinders no other."""

    def __init__(self, looks: Sequence[tuple[str, Look]]) -> None:
        self._looks = looks
        self._task: asyncio.Task[None] | None = None
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="sweeper")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        tasks = [task, *self._under_way.values()]
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            for name, look in self._looks:
                if name not in self._under_way:
                    self._begin(name, look)

    def _begin(self, name: str, look: Look) -> None:
        try:
            waited = look()
        except Exception:
            log.exception("a sweep failed", of=name)
            return
        if waited is not None:
            loop = asyncio.get_running_loop()
            self._under_way[name] = loop.create_task(self._end(name, waited), name=f"sweep {name}")

    async def _end(self, name: str, waited: Awaitable[object]) -> None:
        try:
            await waited
        except StoreStopped:
            pass
        except StoreError as error:
            log.warning("a sweep waits for the store", of=name, why=str(error))
        except Exception:
            log.exception("a sweep failed", of=name)
        finally:
            del self._under_way[name]
