"""The sweeper: once a second it has everybody look for what waits.

Hints only make it look earlier; with every hint lost, everything still happens, up to a second later. It is
the only timer that correctness leans on.
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
    """Calls a list of named looks, one after the other, about once a second. One failure stops no other."""

    def __init__(self, looks: Sequence[tuple[str, Look]]) -> None:
        self._looks = looks
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="sweeper")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            for name, look in self._looks:
                try:
                    waited = look()
                    if waited is not None:
                        await waited
                except StoreStopped:
                    return
                except StoreError as error:
                    log.warning("a sweep waits for the store", of=name, why=str(error))
                except Exception:
                    log.exception("a sweep failed", of=name)
