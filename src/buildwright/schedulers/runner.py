"""The runner of one scheduler: reads what is before it, lets it decide, makes the decision happen.

One round: read row and inboxes (`view`), ask the configuration's functions about new changes, decide
(pure), plan the buildsets (renders), then `settle` everything in one unit. If the row has moved in the
meantime (another master, or somebody disabled it), the unit refuses and the round is repeated with what
is there now. So two runners of one scheduler may run at any time; the store lets each cause happen once.

The configuration's own functions may fail. A change whose filter or `fileIsImportant` fails stays in the
inbox, with one message that names scheduler and change; other changes go on. When the configuration is
loaded again, the new runner asks again, so nothing is lost by a mistake in a function. A buildset that
can't be planned stops the scheduler's round the same way; it is tried again after a minute, and at the
next load.

Nothing that correctness leans on is kept here: first sightings of changes (a lower bound of their age by
the monotonic clock, for when the wall clock is set back), what was complained about, and when to look
again.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
import structlog

from buildwright.model.asking import TookTooLong, limited
from buildwright.model.clock import Clock
from buildwright.model.properties import Properties
from buildwright.model.sources import Change
from buildwright.schedulers.base import Scheduler
from buildwright.schedulers.decisions import Arrival, Fire, Inbox, State, Upstream, Verdict
from buildwright.schedulers.plan import PlanError, plan_buildset
from buildwright.store.base import Store
from buildwright.store.errors import StoreError, StoreStopped
from buildwright.store.units import schedulers as units

log = structlog.get_logger(__name__)

US = 1_000_000
RETRY_SECONDS = 60.0
FAILED_SECONDS = 5.0
BuilderIds = Callable[[], Mapping[str, int]]


@dataclass(slots=True)
class Alarm:
    """When to look again: as soon as either clock has come there."""

    wall_us: int
    monotonic: float

    def rings(self, clock: Clock) -> bool:
        return clock.now_us() >= self.wall_us or clock.monotonic() >= self.monotonic


class Answer(enum.Enum):
    """What the configuration's functions say of a change."""

    IMPORTANT = enum.auto()
    UNIMPORTANT = enum.auto()
    UNWANTED = enum.auto()  # the filter doesn't let it in
    FAILED = enum.auto()  # a function raised


class SchedulerRunner:
    """Runs one scheduler. `step` does what is to be done now; the service says when."""

    def __init__(
        self, store: Store, scheduler: Scheduler, schedulerid: int, builder_ids: BuilderIds, clock: Clock
    ) -> None:
        self.scheduler = scheduler
        self.schedulerid = schedulerid
        self.alarm: Alarm | None = None
        self._store = store
        self._builder_ids = builder_ids
        self._clock = clock
        self._sign: units.Sign | None = None
        self._seen: dict[int, float] = {}  # change -> monotonic time of its first sighting
        self._failed: set[int] = set()  # changes that were complained about
        self._held_up: set[int] = set()  # those over which a function didn't come back: it isn't asked again
        self._lock = asyncio.Lock()

    def is_due(self, sign: units.Sign) -> bool:
        """Whether there is something to do: something new, or the time has come."""
        return sign != self._sign or (self.alarm is not None and self.alarm.rings(self._clock))

    def look_again(self) -> None:
        """Forget that everything was looked at: the clock has jumped, say."""
        self._sign = None

    async def step(self, sign: units.Sign | None = None) -> None:
        """Decide and act until nothing is left to do now. ``sign`` is what was there before."""
        async with self._lock:
            try:
                while await self._round():
                    pass
            except PlanError as problem:
                log.warning("a scheduler can't act", scheduler=self.scheduler.name, error=str(problem))
                self._wait(int(RETRY_SECONDS * US))
            except StoreStopped:
                raise
            except StoreError as error:
                log.warning("a scheduler waits for the store", scheduler=self.scheduler.name, why=str(error))
                self._wait(int(FAILED_SECONDS * US))
            except Exception:
                log.exception("a scheduler failed; it is tried again", scheduler=self.scheduler.name)
                self._wait(int(FAILED_SECONDS * US))
            # Taken before the rounds: what came in while they ran is looked at again, at worst for nothing.
            self._sign = sign

    async def _round(self) -> bool:
        """One decision; True if another should follow at once."""
        seen = await self._store.read(units.view(self.schedulerid))
        state: State = msgspec.json.decode(seen.state)
        inbox, importance, dropped = self._sort(seen)
        now_us = self._clock.now_us()
        verdict = self.scheduler.decide(inbox, state, now_us, enabled=seen.enabled)
        used = {*verdict.used_changes, *dropped}
        leaving = used.union(*(fire.used_changes for fire in verdict.fires))
        importance = {key: value for key, value in importance.items() if key not in leaving}
        acts = verdict.fires or verdict.skips or used or verdict.used_upstream or importance
        if not acts and verdict.state == state:
            self._rest(verdict, inbox)
            return False
        decision = units.Decision(
            state=units.encode_state(verdict.state),
            settlements=[
                *(units.Settlement(skip.cause, outcome=skip.outcome) for skip in verdict.skips),
                *[await self._settlement(fire) for fire in verdict.fires],
            ],
            importance=importance,
            used_changes=sorted(used),
            used_completions=sorted(verdict.used_upstream),
        )
        added = await self._store.run(units.settle(self.schedulerid, seen.version, decision, now_us))
        if added is None:
            log.debug("a scheduler has moved meanwhile", scheduler=self.scheduler.name)
            return True
        for buildsetid, requests in added:
            log.info(
                "a scheduler started a buildset",
                scheduler=self.scheduler.name,
                buildset=buildsetid,
                requests=sorted(requests.values()),
            )
        if verdict.more:
            return True
        self._rest(verdict, inbox)
        return False

    async def _settlement(self, fire: Fire) -> units.Settlement:
        plan = await plan_buildset(
            self.scheduler,
            reason=fire.reason,
            stamps=fire.stamps,
            changes=fire.changes,
            changeids=fire.changeids,
            properties=Properties.from_json(fire.properties),
        )
        return units.Settlement(
            fire.cause, plan.arguments(self._builder_ids()), used_changes=sorted(fire.used_changes)
        )

    def _rest(self, verdict: Verdict, inbox: Inbox) -> None:
        waiting = {arrival.id for arrival in inbox.arrivals} | self._failed
        self._seen = {key: value for key, value in self._seen.items() if key in waiting}
        self._wait(verdict.wait)

    def _wait(self, wait_us: int | None) -> None:
        if wait_us is None:
            self.alarm = None
        else:
            self.alarm = Alarm(self._clock.now_us() + wait_us, self._clock.monotonic() + wait_us / US)

    # -- changes -----------------------------------------------------------------------------

    def _sort(self, seen: units.View) -> tuple[Inbox, dict[int, bool], list[int]]:
        """The inbox to decide from, what was found out about new changes, and which are unwanted."""
        now_us, monotonic = self._clock.now_us(), self._clock.monotonic()
        arrivals: list[Arrival] = []
        importance: dict[int, bool] = {}
        dropped: list[int] = []
        for row in seen.changes:
            change = change_of(row)
            important = None if row.important is None else bool(row.important)
            if important is None:
                answer = self._ask(change)
                if answer is Answer.FAILED:
                    continue
                if answer is Answer.UNWANTED:
                    dropped.append(row.changeid)
                    continue
                important = importance[row.changeid] = answer is Answer.IMPORTANT
            first = self._seen.setdefault(row.changeid, monotonic)
            age = max(now_us - row.received_at, int((monotonic - first) * US))
            arrivals.append(Arrival(change, important, age, row.sourcestampid))
        upstream = [Upstream(*completion) for completion in seen.completions]
        return Inbox(arrivals, upstream), importance, dropped

    def _ask(self, change: Change) -> Answer:
        """What the configuration's functions say of a change."""
        if change.number in self._held_up:
            return Answer.FAILED
        try:
            return limited(f"a function of {self.scheduler.what}", lambda: self._answer(change))
        except Exception as problem:
            assert change.number is not None
            if isinstance(problem, TookTooLong):
                self._held_up.add(change.number)
            if change.number not in self._failed:
                self._failed.add(change.number)
                log.exception(
                    "a scheduler's own function failed; the change waits for a configuration that works",
                    scheduler=self.scheduler.name,
                    change=change.number,
                    revision=change.revision,
                    error=f"{type(problem).__name__}: {problem}",
                )
            return Answer.FAILED

    def _answer(self, change: Change) -> Answer:
        if not self.scheduler.accepts(change):
            return Answer.UNWANTED
        return Answer.IMPORTANT if self.scheduler.is_important(change) else Answer.UNIMPORTANT


def change_of(row: units.InboxChange) -> Change:
    """A stored change as filters and functions of the configuration see it."""
    return Change(
        number=row.changeid,
        who=row.author,
        files=msgspec.json.decode(row.files),
        comments=row.comments,
        branch=row.branch,
        revision=row.revision,
        revlink=row.revlink,
        category=row.category,
        when=row.when_us / US,
        repository=row.repository,
        project=row.project,
        codebase=row.codebase,
        properties=Properties.from_json(row.properties),
        committer=row.committer,
    )
