"""The requests that stand in lock queues under this master's care.

A queue's order is that of arrival, a builder's that of priority, so the request that a builder would start
first need not be the one that its lock would be given to first. When a claim is refused for a lock, the
builder's other requests that stand in a queue are tried in the same pass: otherwise the one at the head of
the lock's queue might wait for a slot that is kept for one behind it, for ever.

A place in a queue holds up everybody behind it, so it is only kept while the request could start. When no
worker of its builder takes builds, it is given up at once; when they are all busy, after ``BUSY_SECONDS``,
since what keeps them busy may itself wait in that queue.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from buildwright.store.units.claims import Waiting

BUSY_SECONDS = 10.0


class LockWaits:
    """Belongs to a distributor, which tells it of every refusal and asks it what to try and what to leave."""

    def __init__(self) -> None:
        self._builders: dict[int, int] = {}  # request in a queue -> its builder
        self._busy_since: dict[int, float] = {}  # builder without a free worker -> since when
        self._refused: dict[int, set[int]] = {}  # builder -> requests refused since the locks were looked at

    def __bool__(self) -> bool:
        return bool(self._builders)

    def refused(self, requestid: int, builderid: int) -> None:
        """A claim was refused for a lock; the request stands in the queue now."""
        self._builders[requestid] = builderid
        self._refused.setdefault(builderid, set()).add(requestid)

    def over(self, requestid: int) -> None:
        """The request was claimed, or is gone."""
        self._builders.pop(requestid, None)

    def look_again(self) -> None:
        """Locks may have been freed: what was refused may be tried again."""
        self._refused.clear()

    def worth_trying(self, builderid: int, requests: Iterable[Waiting]) -> list[Waiting]:
        """Those to choose from: all, or after a refusal the others that stand in a queue."""
        refused = self._refused.get(builderid)
        if not refused:
            return list(requests)
        return [
            request
            for request in requests
            if request.requestid in self._builders and request.requestid not in refused
        ]

    def to_leave(self, free: Iterable[int], idle: Iterable[int], now: float) -> Sequence[int]:
        """The requests that give their places up. ``free`` are the builders with a free worker, ``idle``
        those without any that takes builds.
        """
        waiting = set(self._builders.values())
        self._busy_since = {
            builderid: self._busy_since.get(builderid, now) for builderid in waiting.difference(free)
        }
        without = set(idle)
        leaving = [
            requestid
            for requestid, builderid in self._builders.items()
            if builderid in self._busy_since
            and (builderid in without or now - self._busy_since[builderid] >= BUSY_SECONDS)
        ]
        for requestid in leaving:
            del self._builders[requestid]
        return leaving
