"""The audit of what is asked over the data API: who, from where, what, of what, and what became of it.

A call's entry is handed to the store before the call acts, and is there before it is answered: the two are
written side by side, so that nobody waits longer for a build. Outcomes follow at once, those of one moment
together; whoever reads the audit here sees them all. Calls of callers whom nobody knows are entered too, but
only some a minute: they must not be able to fill the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog
from aiohttp import web

from buildwright.store.base import Store
from buildwright.store.errors import StoreError
from buildwright.store.units import audit as units

log = structlog.get_logger(__name__)

LONGEST_TEXT = 200
LONGEST_ANSWER = 1000
STRANGERS_A_MINUTE = 30
MINUTE_US = 60_000_000
PASSWORDS = frozenset({"passwd"})
"""Parameters whose values are written nowhere."""


class Audit:
    """Writes the entries of one master's data API."""

    def __init__(self, store: Store, now_us: Callable[[], int]) -> None:
        self._store = store
        self._now_us = now_us
        self._strangers = _Room("calls of strangers")
        self._readings = _Room("refused readings")
        self._outcomes: list[units.Outcome] = []
        self._writing: asyncio.Task[None] | None = None

    async def asked(
        self, request: web.Request, who: str, method: str, path: str, params: Mapping[str, Any]
    ) -> asyncio.Future[int]:
        """Enter a call that is about to act; gives the entry that is on its way."""
        unit = units.note(
            now_us=self._now_us(),
            who=who,
            peer=peer_of(request),
            method=method,
            target=f"/{path}",
            params=_json(params),
        )
        noting = asyncio.get_running_loop().create_task(self._store.run(unit), name="audit")
        noting.add_done_callback(_looked_at)
        await asyncio.sleep(0)  # it is before the call in the store's queue
        return noting

    async def ended(self, noting: asyncio.Future[int], outcome: str, answer: Any) -> None:
        """Enter a call's outcome. What has happened isn't undone because this can't be written."""
        text = answer if isinstance(answer, str) else _encode(answer)
        try:
            entry = await noting
        except StoreError as error:
            log.warning("a call can't be entered", outcome=outcome, answer=text, why=str(error))
            return
        self._outcomes.append(units.Outcome(entry, outcome, text[:LONGEST_ANSWER]))
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write(), name="audit outcomes")

    async def _write(self) -> None:
        try:
            while self._outcomes:
                outcomes, self._outcomes = self._outcomes, []
                await self._store.run(units.settle(outcomes))
        except StoreError as error:
            log.warning("outcomes of calls can't be entered", why=str(error))
        finally:
            self._writing = None

    async def written(self) -> None:
        """Return when the outcomes so far are in the store, or can't be."""
        if self._writing is not None:
            await asyncio.wait({self._writing})

    async def refused(
        self, request: web.Request, who: str | None, method: str, path: str, params: Any, why: str
    ) -> None:
        """Enter a call that was refused before it could act; ``who`` is None for a stranger."""
        if who is None and not self._strangers.has_room(self._now_us()):
            return
        await self._enter_refused(request, who, method, path, params, why)

    async def refused_reading(
        self, request: web.Request, who: str | None, why: str, of: str | None = None
    ) -> None:
        """Enter a reading that was refused. A page that is left open asks again and again: so many a minute
        are entered.
        """
        if self._readings.has_room(self._now_us()):
            path = request.rel_url.raw_path.removeprefix("/") if of is None else of
            await self._enter_refused(request, who, "get", path, {}, why)

    async def _enter_refused(
        self, request: web.Request, who: str | None, method: str, path: str, params: Any, why: str
    ) -> None:
        unit = units.note(
            now_us=self._now_us(),
            who="unknown" if who is None else who,
            peer=peer_of(request),
            method=method[:LONGEST_TEXT],
            target=f"/{path}"[:LONGEST_TEXT],
            params=_json(params) if who is not None else "{}",
            outcome=units.REFUSED,
            answer=why[:LONGEST_ANSWER],
        )
        try:
            await self._store.run(unit)
        except StoreError as error:
            log.warning("a refused call can't be entered", method=method, why=str(error))


class _Room:
    """For so many entries a minute."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._minute = 0
        self._count = 0

    def has_room(self, now_us: int) -> bool:
        minute = now_us // MINUTE_US
        if minute != self._minute:
            self._minute, self._count = minute, 0
        self._count += 1
        if self._count == STRANGERS_A_MINUTE + 1:
            log.warning("many entries: the rest of this minute's are not in the audit", of=self._what)
        return self._count <= STRANGERS_A_MINUTE


def _looked_at(noting: asyncio.Task[int]) -> None:
    """A caller that went away doesn't ask what became of the entry."""
    if not noting.cancelled():
        noting.exception()


def peer_of(request: web.Request) -> str:
    """Where a request came from; also for whom, if a proxy says that."""
    peer = request.remote or "a local socket"
    forwarded = request.headers.get("X-Forwarded-For")
    return f"{peer} for {forwarded[:LONGEST_TEXT]}" if forwarded else peer


def why_of(error: Exception) -> str:
    """What an error told the caller."""
    message = getattr(error, "message", None)
    return message if isinstance(message, str) else str(error) if message is None else _encode(message)


def _json(params: Mapping[str, Any]) -> str:
    shown = {name: f"<{name}>" if name in PASSWORDS else value for name, value in params.items()}
    return _encode(_short(shown, 0))


def _encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _short(value: Any, depth: int) -> Any:
    """A value with what is long cut, so that an entry stays small."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST_TEXT else f"{value[:LONGEST_TEXT]}... ({len(value)} characters)"
    if isinstance(value, (list, tuple)):
        return [_short(each, depth + 1) for each in value[:20]] if depth < 4 else "..."
    if isinstance(value, dict):
        if depth >= 4:
            return "..."
        return {str(key)[:LONGEST_TEXT]: _short(each, depth + 1) for key, each in list(value.items())[:50]}
    return value
