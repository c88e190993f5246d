"""When a waiting request makes room for a newer one: the rule, as a pure function.

Two requests may become one if building the newer one answers the older one, too: the same codebases, per
codebase the same repository, project and branch, no patch on either side, and either both come from
changes or both name the same revision. And what their schedulers gave them (properties of the source
"Scheduler", but for the scheduler's name) has to be the same.

`collapseRequests` of the builder, or else of the configuration, may forbid it (False), leave it to the
rule (True, the default), or be a function of the configuration that decides instead and has to return
exactly True. Whoever distributes requests asks before a claim, for the request to be claimed and those
that wait behind it; the store then does it (:mod:`buildwright.store.units.collapse`) if both still wait.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from buildwright.store.base import Store
from buildwright.store.units.collapse import WaitingRequest, WaitingSource, collapse, waiting_requests

Rule = bool | Callable[..., Any] | None


def can_be_collapsed(newer: WaitingRequest, older: WaitingRequest) -> bool:
    """Whether building ``newer`` answers ``older``."""
    if newer.builderid != older.builderid or newer.id <= older.id:
        return False
    sources = {source.codebase: source for source in older.sources}
    if set(sources) != {source.codebase for source in newer.sources}:
        return False
    return all(_same(source, sources[source.codebase]) for source in newer.sources) and _given(
        newer
    ) == _given(older)


async def collapsed(
    store: Store,
    decide: Callable[[WaitingRequest, WaitingRequest], Awaitable[bool]],
    requestid: int,
    others: Sequence[int],
    now_us: int,
) -> int:
    """Let a request that is about to be claimed make room for newer ones; gives the one that stays.

    ``others`` are the waiting requests of the same builder; ``decide`` is asked of a newer and an older one.
    """
    found = await store.read(waiting_requests([requestid, *others]))
    known = {request.id: request for request in found}
    stays = known.get(requestid)
    for newer in sorted(known.values(), key=lambda request: request.id):
        if stays is None or newer.id <= stays.id:
            continue
        if await decide(newer, stays) and await store.run(collapse(stays.id, newer.id, now_us)):
            stays = newer
    return requestid if stays is None else stays.id


def _same(newer: WaitingSource, older: WaitingSource) -> bool:
    if (newer.repository, newer.project, newer.branch) != (older.repository, older.project, older.branch):
        return False
    if newer.patched or older.patched or bool(newer.has_changes) != bool(older.has_changes):
        return False
    return bool(newer.has_changes) or newer.revision == older.revision


def _given(request: WaitingRequest) -> dict[str, Any]:
    return {
        name: value
        for name, (value, source) in request.properties.items()
        if source == "Scheduler" and name != "scheduler"
    }
