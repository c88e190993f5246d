"""Events: from the bus's hints to messages for those who listen.

A hint says that something of a kind changed; an event carries the thing itself, under up to three names
(Buildbot's routing keys). The hub turns one into the other for everybody at once:

1. a hint that nobody's subscription could match is dropped on the spot, so an unwatched master reads nothing;
2. the others gather while the hub is busy, without duplicates; it reads each kind's things with one query;
3. for each name of each event, listeners are found by the patterns that could match it (a pattern is a tuple
   with ``*`` for any one element, so a name of n elements has 2^n of them), however many listeners there are.

An event shows the thing as it is when the hub reads it, never older than the hint. While the store is away
the reads wait, and hints go on gathering up to a limit; beyond it the oldest are dropped and said to be.
Hints can be lost with a bus or a master, so nothing may depend on events: who must not miss a thing reads the
resources again.

Where rules guard reading, each listener gets what it may read and nothing else
(:mod:`buildwright.web.auth.readers`); where none do, nobody is asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import Protocol

import structlog

from buildwright.store.errors import StoreError
from buildwright.store.unit import Hint
from buildwright.web.auth.gate import Gate
from buildwright.web.auth.readers import Reader
from buildwright.web.data import RESOURCES
from buildwright.web.query import Query
from buildwright.web.replies import encode
from buildwright.web.resource import Json
from buildwright.web.select import Plan, by_keys, read_page
from buildwright.web.services import WebServices

log = structlog.get_logger(__name__)

Path = tuple[str, ...]

LONGEST_PATH = 8
MOST_PENDING = 50_000
BATCH_SECONDS = 0.01
BATCH_HINTS = 500

# The names of an event, without its last element; {id} is the hint's.
_NAMES: dict[str, tuple[str, ...]] = {
    "builds": ("builders/{builderid}/builds/{number}", "builds/{id}", "workers/{workerid}/builds/{id}"),
    "buildrequests": (
        "buildsets/{buildsetid}/builders/{builderid}/buildrequests/{id}",
        "buildrequests/{id}",
        "builders/{builderid}/buildrequests/{id}",
    ),
    "buildsets": ("buildsets/{id}",),
    "steps": ("builds/{buildid}/steps/{id}", "steps/{id}"),
    "logs": ("logs/{id}", "steps/{stepid}/logs/{slug}"),
    "workers": ("workers/{id}",),
    "masters": ("masters/{id}",),
    "builders": ("builders/{id}",),
    "changes": ("changes/{id}",),
    "schedulers": ("schedulers/{id}",),
    "projects": ("projects/{id}",),
    "codebases": ("codebases/{id}",),
    "commits": ("commits/{id}", "codebases/{codebaseid}/commits/{id}"),
    "branches": ("branches/{id}",),
    "test_result_sets": ("test_result_sets/{id}",),
}
NAMES: dict[str, tuple[Path, ...]] = {
    kind: tuple(tuple(name.split("/")) for name in names) for kind, names in _NAMES.items()
}
# What Buildbot calls an event that we call by another name.
_EVENTS = {
    ("steps", "update"): "updated",
    ("schedulers", "update"): "updated",
    ("workers", "update"): "state_updated",
}
# Hints from master to master, which are nobody else's.
_PRIVATE = frozenset({("buildrequests", "stop")})
# A build's properties changed: one name, and the properties alone as its message.
_PROPERTIES = ("builds", "properties")


class Listener(Protocol):
    """Whoever is told events. ``deliver`` must not wait; it gives up the listener when that can't keep up."""

    reader: Reader

    def deliver(self, key: str, message: bytes) -> None: ...

    def expel(self) -> None:
        """End the connection: its reader isn't known any more."""
        ...


class EventHub:
    """The service that tells listeners. ``start`` and ``stop`` may be called again."""

    def __init__(self, services: WebServices, gate: Gate) -> None:
        self._services = services
        self._gate = gate
        self._listeners: dict[Path, dict[Listener, None]] = {}
        # How many patterns could match events of a kind: of one thing (kind, id), or of any (kind, None).
        self._interest: Counter[tuple[str, str | None]] = Counter()
        self._pending: dict[Hint, None] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] | None = None
        self._plans: dict[str, Plan] = {}
        self._with_properties = Query(properties=())

    async def start(self) -> None:
        if self._task is None:
            self._unsubscribe = self._services.bus.subscribe(None, self._take)
            self._task = asyncio.create_task(self._run(), name="event hub")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        if self._unsubscribe is not None:
            self._unsubscribe()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    def subscribe(self, listener: Listener, path: Path) -> None:
        listeners = self._listeners.setdefault(path, {})
        if listener not in listeners:
            listeners[listener] = None
            self._interest.update(_interests(path))

    def unsubscribe(self, listener: Listener, path: Path) -> None:
        listeners = self._listeners.get(path, {})
        if listener in listeners:
            del listeners[listener]
            self._interest.subtract(_interests(path))
            if not listeners:
                del self._listeners[path]
                self._interest += Counter()  # drops what is down to zero

    @property
    def idle(self) -> bool:
        """Whether nobody listens to anything."""
        return not self._listeners

    def _take(self, hints: list[Hint]) -> None:
        interest = self._interest
        if not interest:
            return
        for hint in hints:
            if interest[hint.kind, None] or interest[hint.kind, str(hint.id)]:
                self._pending[hint] = None
        while len(self._pending) > MOST_PENDING:
            lost = next(iter(self._pending))
            del self._pending[lost]
            log.warning("too many events wait; one is dropped", kind=lost.kind, id=lost.id, name=lost.event)
        if self._pending:
            self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                batch = list(self._pending)[:BATCH_HINTS]
                for hint in batch:
                    del self._pending[hint]
                try:
                    await self._tell(batch)
                except StoreError as error:
                    log.warning(
                        "events are lost: the store can't be read", events=len(batch), reason=str(error)
                    )
                except Exception:
                    log.exception("events are lost; this is a defect", events=len(batch))
                await asyncio.sleep(BATCH_SECONDS)

    async def _tell(self, batch: list[Hint]) -> None:
        batch = [hint for hint in batch if (hint.kind, hint.event) not in _PRIVATE]
        things: dict[tuple[str, int], Json] = {}
        for kind in dict.fromkeys(hint.kind for hint in batch):
            ids = sorted({hint.id for hint in batch if hint.kind == kind})
            things.update({(kind, which): thing for which, thing in await self._read(kind, ids)})
        guarded = self._gate.guards_reading
        if guarded:
            await self._look_at_readers()
        messages: dict[tuple[str, int, bool], bytes] = {}
        for hint in batch:
            thing = things.get((hint.kind, hint.id))
            if thing is None:
                continue
            properties = (hint.kind, hint.event) == _PROPERTIES
            reading = await self._gate.access_of(hint.kind, hint.id) if guarded else None
            for key in _keys(hint, thing):
                for listener in self._who(key):
                    if reading is not None and not listener.reader.may(*reading):
                        continue
                    which = (hint.kind, hint.id, properties)
                    message = messages.get(which)
                    if message is None:
                        message = messages[which] = encode(_message(thing, properties=properties))
                    listener.deliver("/".join(key), message)

    async def _look_at_readers(self) -> None:
        for listener in {each: None for listeners in self._listeners.values() for each in listeners}:
            await listener.reader.look()
            if listener.reader.lapsed:
                listener.expel()

    async def _read(self, kind: str, ids: list[int]) -> Iterable[tuple[int, Json]]:
        resource = RESOURCES[kind]
        plan = self._plans.get(kind)
        if plan is None:
            plan = self._plans[kind] = by_keys(resource, self._with_properties)
        page = await self._services.store.read(read_page(plan, {"ids": ids}, None, 0))
        return [(thing[resource.key_name], thing) for thing in plan.objects(page, self._with_properties)]

    def _who(self, key: Path) -> Iterator[Listener]:
        found = self._listeners
        for pattern in product(*((part, "*") for part in key)):
            listeners = found.get(pattern)
            if listeners:
                yield from list(listeners)


def kinds_of(path: Path) -> list[str]:
    """The kinds of things whose events could have a name that matches the pattern."""
    return list(dict.fromkeys(kind for kind, _ in _interests(path)))


def _interests(path: Path) -> list[tuple[str, str | None]]:
    """Of what things an event could have a name that matches the pattern."""
    found: list[tuple[str, str | None]] = []
    for kind, names in NAMES.items():
        for name in names:
            which = _could_match(path, name)
            if which is not None:
                found.append((kind, which or None))
    if len(path) == 4 and path[0] in ("builds", "*") and path[2] in ("properties", "*"):
        found.append(("builds", None if path[1] == "*" else path[1]))
    return found


def _could_match(path: Path, name: Path) -> str | None:
    """None if the pattern matches no event of this name; else the one id that it is for, or an empty text."""
    if len(path) != len(name) + 1:
        return None
    which = ""
    for part, expected in zip(path[:-1], name, strict=True):
        if part == "*":
            continue
        if expected == "{id}":
            which = part
        elif not expected.startswith("{") and part != expected:
            return None
    return which


def _keys(hint: Hint, thing: Json) -> Iterator[Path]:
    if (hint.kind, hint.event) == _PROPERTIES:
        yield ("builds", str(hint.id), "properties", "update")
        return
    event = _EVENTS.get((hint.kind, hint.event), hint.event)
    for name in NAMES[hint.kind]:
        if event == "cancel" and len(name) != 2:
            continue  # a request's cancelling has one name only
        yield (
            *(
                part if part[0] != "{" else str(hint.id) if part == "{id}" else str(thing[part[1:-1]])
                for part in name
            ),
            event,
        )


def _message(thing: Json, *, properties: bool) -> Json:
    if properties:
        shown: Json = thing["properties"]
        return shown
    return {**thing, "properties": {}} if "properties" in thing and "changeid" not in thing else thing
