"""The configuration's say in what is built next and where: ``nextBuild``, ``nextWorker``, ``canStartBuild``,
``prioritizeBuilders``, ``collapseRequests``, ``select_next_worker``.

They may be async or plain. One that fails, gives what means nothing or doesn't come back (:mod:`asking`) is
:class:`Failed`: named in the log, once until it fails otherwise. One that didn't come back is asked again
after a minute only, because a plain one holds up the whole master while it is asked.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from buildwright.builds.collapse import Rule, can_be_collapsed
from buildwright.builds.links import WorkerLink
from buildwright.builds.services import BuildServices
from buildwright.builds.sources import source_stamps
from buildwright.model.asking import Misbehaved, Nonsense, TookTooLong, ask
from buildwright.model.builders import BuilderConfig
from buildwright.model.errors import shown
from buildwright.model.properties import Properties
from buildwright.model.sources import REBUILD_FROM, REBUILD_SOURCE
from buildwright.store.units.claims import Facts, Waiting
from buildwright.store.units.collapse import WaitingRequest

log = structlog.get_logger(__name__)

ASK_AGAIN = 60.0  # seconds until one that didn't come back is asked again
ORDER_SECONDS = 10.0  # for prioritizeBuilders, which everybody waits for


class Failed(Exception):
    """One of them said nothing that could be used; the text says which, and why."""


@dataclass(frozen=True, slots=True)
class Declined:
    """No worker is to build a request now, and why."""

    why: str


@dataclass(slots=True)
class BuildRequest:
    """A waiting request as users' callables see it."""

    id: int
    builderid: int
    buildsetid: int
    priority: int
    submittedAt: int
    reason: str
    properties: Properties
    sources: dict[str, Any]
    waitedFor: bool


@dataclass(slots=True)
class WorkerForBuilder:
    """A free worker of a builder as users' callables see it."""

    builder: BuilderConfig
    worker: Any
    workername: str
    link: WorkerLink


class Choosing:
    """What is chosen with the configuration's callables, or without them by the usual rules."""

    def __init__(self, services: BuildServices) -> None:
        self._services = services
        self._resting: dict[str, float] = {}  # those that didn't come back, until when
        self._complaints: dict[str, str] = {}  # callable -> what was said of it last

    def rule(self, builder: BuilderConfig) -> Rule:
        """How the builder's requests are collapsed."""
        rule = builder.collapseRequests
        return self._services.snapshot.collapse_requests if rule is None else rule

    def asks(self, builder: BuilderConfig) -> bool:
        """Whether choosing for a builder asks callables of the configuration."""
        return (
            builder.nextBuild is not None
            or builder.nextWorker is not None
            or builder.canStartBuild is not None
            or self._services.snapshot.select_next_worker is not None
            or callable(self.rule(builder))
        )

    async def order(self, master: Any, builders: Sequence[BuilderConfig]) -> list[str]:
        """The names of builders in the order in which they are looked at; those left out aren't."""
        names = [builder.name for builder in builders]
        prioritize = self._services.snapshot.prioritize_builders
        if prioritize is None:
            return names

        def lacks(answer: Any) -> tuple[Any, str] | None:
            if not isinstance(answer, (list, tuple)):
                return answer, "a list of builders"
            strangers = [each for each in answer if getattr(each, "name", None) not in names]
            return (strangers[0], "one of the builders it was given") if strangers else None

        with contextlib.suppress(Failed):
            what = "prioritizeBuilders"
            wished = await self._ask(what, lacks, prioritize, master, [*builders], seconds=ORDER_SECONDS)
            return [builder.name for builder in wished]
        return names

    async def build(self, builder: BuilderConfig, left: Sequence[Waiting], page: Facts) -> Waiting | None:
        """Which request comes next."""
        if builder.nextBuild is None:
            return left[0]
        views = [_view(request, page) for request in left]

        def lacks(answer: Any) -> tuple[Any, str] | None:
            known = answer is None or any(answer is view for view in views)
            return None if known else (answer, "one of the requests it was given")

        what = f"nextBuild of builder {builder.name!r}"
        chosen = await self._ask(what, lacks, builder.nextBuild, builder, views[:])
        return next((one for one, view in zip(left, views, strict=True) if view is chosen), None)

    async def worker(
        self, builder: BuilderConfig, free: Sequence[WorkerLink], request: Waiting, page: Facts
    ) -> WorkerLink | Declined:
        """Which of the free workers builds a request."""
        choose: Callable[..., Any] | None = builder.nextWorker or self._services.snapshot.select_next_worker
        can_start = builder.canStartBuild
        if choose is None and can_start is None:
            return _wanted_again(request, free) or random.choice(free)
        name = f"builder {builder.name!r}"
        what = f"nextWorker of {name}" if builder.nextWorker is not None else f"select_next_worker for {name}"
        view = _view(request, page)
        offered = [WorkerForBuilder(builder, link.config, link.name, link) for link in free]

        def lacks(answer: Any) -> tuple[Any, str] | None:
            known = answer is None or any(answer is each for each in offered)
            return None if known else (answer, "one of the workers it was given")

        while offered:
            chosen = (
                random.choice(offered)
                if choose is None
                else await self._ask(what, lacks, choose, builder, offered[:], view)
            )
            if chosen is None:
                return Declined(f"{what} chose no worker")
            if can_start is None or await self._ask(
                f"canStartBuild of {name}", _anything, can_start, builder, chosen, view
            ):
                link: WorkerLink = chosen.link
                return link
            offered.remove(chosen)
        return Declined(f"canStartBuild of {name} said no")

    async def collapses(self, builder: BuilderConfig, newer: WaitingRequest, older: WaitingRequest) -> bool:
        """Whether building the newer request answers the older one."""
        rule = self.rule(builder)
        if not callable(rule):
            return can_be_collapsed(newer, older)
        with contextlib.suppress(Failed):
            what = f"collapseRequests of builder {builder.name!r}"
            agreed: bool = await self._ask(what, _no_bool, rule, None, builder, newer, older)
            return agreed
        return False

    async def _ask(
        self,
        what: str,
        lacks: Callable[[Any], tuple[Any, str] | None],
        function: Callable[..., Any],
        *args: Any,
        seconds: float | None = None,
    ) -> Any:
        """What a callable says, if ``lacks`` finds nothing in it that means nothing."""
        now = self._services.clock.monotonic()
        if self._resting.get(what, now) > now:
            raise Failed(self._complaints[what])
        try:
            answer = await ask(what, function, *args, seconds=seconds)
            _check(what, lacks(answer))
        except Exception as error:
            text = str(error) if isinstance(error, Misbehaved) else f"{what} failed: {error!r}"
            if isinstance(error, TookTooLong):
                self._resting[what] = self._services.clock.monotonic() + ASK_AGAIN
            if self._complaints.get(what) != text:
                self._complaints[what] = text
                log.error("a callable of the configuration failed", what=what, why=text)
            raise Failed(text) from error
        self._complaints.pop(what, None)
        return answer


def _check(what: str, lack: tuple[Any, str] | None) -> None:
    if lack is not None:
        given = "None" if lack[0] is None else f"a {shown(lack[0])}"
        raise Nonsense(f"{what} gave {given}, which is not {lack[1]}")


def _anything(_answer: Any) -> None:
    return None


def _no_bool(answer: Any) -> tuple[Any, str] | None:
    return None if isinstance(answer, bool) else (answer, "True or False")


def _wanted_again(request: Waiting, free: Sequence[WorkerLink]) -> WorkerLink | None:
    """Of the free workers the one where the build has failed that this request goes on from."""
    if REBUILD_FROM not in request.properties:
        return None
    given, source = Properties.from_json(request.properties).asDict().get(REBUILD_FROM, (None, ""))
    if source != REBUILD_SOURCE:
        return None
    return next((link for link in free if link.name == given["workername"]), None)


def _view(request: Waiting, page: Facts) -> BuildRequest:
    return BuildRequest(
        id=request.requestid,
        builderid=request.builderid,
        buildsetid=request.buildsetid,
        priority=request.priority,
        submittedAt=request.submitted_at // 1_000_000,
        reason=request.reason,
        properties=Properties.from_json(request.properties),
        sources={stamp.codebase: stamp for stamp in source_stamps(page, request.buildsetid)},
        waitedFor=bool(request.waited_for),
    )
