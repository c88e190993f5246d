"""The service that runs a master's cancellers: it looks, and asks the store to stop what they name.

It looks when a hint says that a change has come in or a request has ended, and every so many sweeps besides:
hints may be lost, and other masters' give none here. Masters that look at the same time ask for the same,
and a second stop of a request changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog

from buildwright.model.clock import Clock
from buildwright.model.results import CANCELLED
from buildwright.schedulers.cancellers import Canceller
from buildwright.store.base import Store
from buildwright.store.errors import StoreError, StoreStopped
from buildwright.store.unit import Hint
from buildwright.store.units.claims import stop_request

log = structlog.get_logger(__name__)

SWEEPS = 5
_WAKING = {("changes", "new"), ("buildrequests", "complete")}


class Cancelling:
    """Runs cancellers. ``builders`` gives the ids of all builders by name."""

    def __init__(self, store: Store, clock: Clock, builders: Callable[[], Mapping[str, int]]) -> None:
        self._store = store
        self._clock = clock
        self._builders = builders
        self._cancellers: Sequence[Canceller] = ()
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._sweeps = 0

    async def start(self, services: Iterable[object]) -> None:
        """Run the cancellers among these services."""
        self.reconfigure(services)
        if self._loop is None:
            self._loop = asyncio.create_task(self._looks(), name="cancellers")

    def reconfigure(self, services: Iterable[object]) -> None:
        """Run these from now on."""
        self._cancellers = [each for each in services if isinstance(each, Canceller)]
        self._wake.set()

    async def stop(self) -> None:
        """Stop; a stop that was not asked for yet will be asked for by whoever looks next."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)

    def on_hints(self, hints: Iterable[Hint]) -> None:
        """What a bus calls."""
        if self._cancellers and any((hint.kind, hint.event) in _WAKING for hint in hints):
            self._wake.set()

    def sweep(self) -> None:
        """Look now and then, whatever hints say."""
        self._sweeps += 1
        if self._cancellers and self._sweeps % SWEEPS == 0:
            self._wake.set()

    async def _looks(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.look()
            except StoreStopped:
                return
            except StoreError as error:
                log.warning("cancellers wait for the store", why=str(error))
            except Exception:
                log.exception("a look of the cancellers failed; the next one tries again")

    async def look(self) -> None:
        """Stop what is to be stopped now."""
        for canceller in self._cancellers:
            for requestid, why in await canceller.victims(self._store, sorted(self._builders())):
                if await self._store.run(stop_request(requestid, why, self._clock.now_us(), CANCELLED)):
                    log.info(
                        "a canceller stops a request", canceller=canceller.name, request=requestid, why=why
                    )
