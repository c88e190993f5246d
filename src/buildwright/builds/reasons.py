"""Why requests wait, as the store has it for people (P6).

There are two places. A request's own reason goes first: a lock that is taken, an attempt that was lost, a
function of the configuration that said no. Its builder's reason is that of all requests which have none: no
worker, busy workers, a function that failed or left the builder out. The store's units write what they decide
themselves (:mod:`buildwright.store.units.claims`); here is what the distributor knows.

Saying why must not slow down what doesn't wait. Nothing is written that is stored already, and what a pass
has to say of its builders is one unit. That workers are busy is not taken back when the next build begins,
because it stays what the others wait for: a builder that builds all day writes it once. Any other reason of a
builder ends with its next claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from buildwright.builds.links import WorkerLink
from buildwright.builds.services import BuildServices
from buildwright.store.units.claims import Waiting, say_builders_wait, say_requests_wait

MOST_NAMED = 3


def no_free_worker(workers: Iterable[tuple[str, WorkerLink | None]]) -> tuple[str, bool]:
    """Why none of a builder's workers can take a build, and whether any of them is just busy."""
    busy, away = [], []
    for name, link in workers:
        if link is None:
            away.append(f"{name!r} is not attached")
        elif link.accepting:
            busy.append(f"{name!r} is busy")
        else:
            away.append(f"{name!r} {link.why_not}")
    named = [*busy, *away]
    shown = "; ".join(named[:MOST_NAMED])
    if len(named) > MOST_NAMED:
        shown += f"; and {len(named) - MOST_NAMED} more"
    return f"no free worker: {shown}" if busy else f"no worker: {shown}", bool(busy)


class Reasons:
    """Belongs to a distributor. Knows what it has stored of each builder."""

    def __init__(self, services: BuildServices) -> None:
        self._services = services
        self._stored: dict[int, str] = {}  # builder id -> its reason
        self._busy: set[int] = set()  # those whose reason is that workers are busy

    async def of_builder(self, builderid: int, why: str) -> None:
        """Store why the builder's requests wait."""
        await self.of_builders([builderid], why)

    async def of_builders(self, builderids: Iterable[int], why: str) -> None:
        """Store why the requests of these builders wait."""
        reasons = dict.fromkeys(builderids, why)
        await self._store(reasons)
        self._busy.difference_update(reasons)

    async def of_builders_without_worker(
        self, builders: Mapping[int, Iterable[tuple[str, WorkerLink | None]]]
    ) -> None:
        """Store of builders without a free worker what their workers do."""
        reasons = {}
        for builderid, workers in builders.items():
            reasons[builderid], busy = no_free_worker(workers)
            (self._busy.add if busy else self._busy.discard)(builderid)
        await self._store(reasons)

    async def claimed(self, builderid: int) -> None:
        """A request of the builder was claimed: its requests don't wait, or for their turn only."""
        if builderid not in self._busy:
            await self._store({builderid: ""})

    async def of_requests(self, reasons: Mapping[Waiting, str]) -> None:
        """Store of single requests why they wait."""
        new = {request.requestid: why for request, why in reasons.items() if request.waits_for != why}
        if new:
            await self._services.store.run(say_requests_wait(new))

    async def _store(self, reasons: Mapping[int, str]) -> None:
        new = {builderid: why for builderid, why in reasons.items() if self._stored.get(builderid) != why}
        if new:
            self._stored.update(new)
            await self._services.store.run(say_builders_wait(new))
