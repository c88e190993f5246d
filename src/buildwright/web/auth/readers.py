"""Who listens to events, and may.

A connection stays open for days, while its session ends, its token is taken back and the rules change. So
each event is asked for as a reading, by the rules of that moment; and a reader that is known is looked at
again every few seconds while events are guarded. One that isn't known any more hears nothing further, and is
cut off, so that its page notices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from aiohttp import web

from buildwright.model.authz import Access, Authz
from buildwright.web.auth.gate import Gate
from buildwright.web.auth.things import NO_THING, Thing
from buildwright.web.auth.users import User

LOOK_AGAIN_US: Final = 5_000_000


class Reader:
    """One who listens. ``lapsed``: who it was isn't known any more."""

    def __init__(self, gate: Gate, user: User) -> None:
        self._gate = gate
        self._looked_us = gate.services.now_us()
        self._verdicts: dict[str, bool] = {}  # by kind, where nothing else matters
        self._rules: Authz | None = None
        self.user = user
        self.lapsed = False

    @classmethod
    async def of(cls, gate: Gate, request: web.Request) -> Reader:
        """The reader of a connection that begins."""
        return cls(gate, await gate.user(request))

    async def look(self) -> None:
        """Find out whether the reader is known still."""
        now = self._gate.services.now_us()
        if self.user.known and not self.lapsed and now >= self._looked_us + LOOK_AGAIN_US:
            self._looked_us = now
            self.lapsed = not await self._gate.still(self.user)

    def may(self, access: Access, thing: Thing) -> bool:
        """Whether the reader may have an event of a thing."""
        if self.lapsed:
            return False
        rules = self._gate.authz
        if rules is not self._rules:
            self._rules = rules
            self._verdicts.clear()
        if thing.builders or thing.owner is not None:
            return self._gate.may(self.user, access, thing)
        found = self._verdicts.get(access.kind)
        if found is None:
            found = self._verdicts[access.kind] = self._gate.may(self.user, access, thing)
        return found

    async def check(self, request: web.Request, path: Sequence[str], kinds: Iterable[str]) -> None:
        """Raises Denied unless one of these kinds may be listened to; ``path`` is the pattern that names
        them.
        """
        accesses = [Access(kind) for kind in kinds]
        if accesses and not any(self.may(access, NO_THING) for access in accesses):
            why = self._gate.why_not(self.user, accesses[0])
            raise await self._gate.refused(request, self.user, why, f"events of {'/'.join(path)}")
