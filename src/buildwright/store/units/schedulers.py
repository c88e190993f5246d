"""Schedulers: what one has before it when it decides, and the unit that makes a decision happen once.

Every scheduler has a row with its state and version, an inbox of changes, an inbox of finished upstream
buildsets, and causes: what it has acted on. `settle` is the only way to act. In one unit it moves the
state by compare-and-set on the version, writes each cause (unique per scheduler, for ever), adds the
buildsets, and takes what was used out of the inboxes. So a decision that was made twice, by two masters
or by one that died after the commit and asks again, happens once (P2). A refusal (None) means: look again
and decide anew.

A cause that is there already, although the version was right, was settled by another incarnation of the
schedule (a state that was reset, say): its buildset is not added again, everything else of the decision
holds.

Enabling and disabling counts as a move of the version: a decision made before it is refused.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.unit import Hint, Statement, Unit, Work, in_set, insert, shortcut, unit
from buildwright.store.units.buildsets import Added, add_buildset_work, start_at_once_work

_schedulers = schema.schedulers
_inbox = schema.scheduler_changes
_completions = schema.scheduler_completions
_causes = schema.scheduler_causes
_changes = schema.changes
_buildsets = schema.buildsets

# -- reading ----------------------------------------------------------------------------


class Sign(NamedTuple):
    """What tells, without reading it all, whether a scheduler has something new before it."""

    schedulerid: int
    masterid: int | None
    held: int  # whether that master is alive
    enabled: int
    version: int
    changes: int
    changes_sum: int
    completions: int
    completions_sum: int


class InboxChange(NamedTuple):
    """A change in a scheduler's inbox; `important` is None until it has been looked at."""

    important: int | None
    changeid: int
    author: str
    committer: str | None
    comments: str
    branch: str | None
    revision: str | None
    revlink: str | None
    when_us: int
    received_at: int
    category: str | None
    repository: str
    codebase: str
    project: str
    files: str
    properties: str
    sourcestampid: int


class Completion(NamedTuple):
    """A finished buildset of a scheduler's upstream."""

    buildsetid: int
    results: int
    sourcestampids: tuple[int, ...]
    changeids: tuple[int, ...]
    parent_buildid: int | None  # of the build that triggered it
    properties: str


@dataclass(frozen=True, slots=True)
class View:
    """What a scheduler decides from."""

    enabled: bool
    version: int
    state: str
    changes: Sequence[InboxChange] = ()
    completions: Sequence[Completion] = ()


def _count(table: sa.Table, column: sa.Column[int]) -> tuple[sa.ScalarSelect[Any], sa.ScalarSelect[Any]]:
    """How many rows of an inbox there are, and a sum that differs when others are there."""
    mine = sa.select(sa.func.count(column)).where(table.c.schedulerid == _schedulers.c.id)
    total = sa.select(sa.cast(sa.func.coalesce(sa.func.sum(column), 0), sa.BigInteger)).where(
        table.c.schedulerid == _schedulers.c.id
    )
    return mine.scalar_subquery(), total.scalar_subquery()


SIGNS = Statement(
    "schedulers.signs",
    lambda dialect: sa.select(
        _schedulers.c.id,
        _schedulers.c.masterid,
        sa.select(sa.func.count(schema.masters.c.id))
        .where(schema.masters.c.id == _schedulers.c.masterid, schema.masters.c.active == 1)
        .scalar_subquery(),
        _schedulers.c.enabled,
        _schedulers.c.version,
        *_count(_inbox, _inbox.c.changeid),
        *_count(_completions, _completions.c.buildsetid),
    ).where(in_set(_schedulers.c.id, "ids")(dialect)),
)
READ_ROW = Statement(
    "schedulers.read",
    lambda _dialect: sa.select(_schedulers.c.enabled, _schedulers.c.version, _schedulers.c.state).where(
        _schedulers.c.id == sa.bindparam("of")
    ),
)
READ_INBOX = Statement(
    "schedulers.inbox",
    lambda _dialect: (
        sa.select(
            _inbox.c.important,
            _changes.c.id,
            _changes.c.author,
            _changes.c.committer,
            _changes.c.comments,
            _changes.c.branch,
            _changes.c.revision,
            _changes.c.revlink,
            _changes.c.when_us,
            _changes.c.received_at,
            _changes.c.category,
            _changes.c.repository,
            _changes.c.codebase,
            _changes.c.project,
            _changes.c.files,
            _changes.c.properties,
            _changes.c.sourcestampid,
        )
        .select_from(_inbox.join(_changes, _changes.c.id == _inbox.c.changeid))
        .where(_inbox.c.schedulerid == sa.bindparam("of"))
        .order_by(_changes.c.id)
    ),
)
READ_COMPLETIONS = Statement(
    "schedulers.completions",
    lambda _dialect: (
        sa.select(
            _completions.c.buildsetid,
            _buildsets.c.results,
            _buildsets.c.parent_buildid,
            _buildsets.c.properties,
        )
        .select_from(_completions.join(_buildsets, _buildsets.c.id == _completions.c.buildsetid))
        .where(_completions.c.schedulerid == sa.bindparam("of"))
        .order_by(_completions.c.buildsetid)
    ),
)
READ_SOURCES = Statement(
    "schedulers.sources_of",
    lambda dialect: sa.select(
        schema.buildset_sourcestamps.c.buildsetid, schema.buildset_sourcestamps.c.sourcestampid
    ).where(in_set(schema.buildset_sourcestamps.c.buildsetid, "ids")(dialect)),
)
READ_CAUSES = Statement(
    "schedulers.changes_of",
    lambda dialect: sa.select(schema.buildset_changes.c.buildsetid, schema.buildset_changes.c.changeid).where(
        in_set(schema.buildset_changes.c.buildsetid, "ids")(dialect)
    ),
)


@unit
def signs(schedulerids: Sequence[int]) -> Work[list[Sign]]:
    """A read, one statement for all: who has something new before it."""
    return [Sign(*row) for row in (yield SIGNS(ids=schedulerids))]


@unit
def view(schedulerid: int) -> Work[View]:
    """A read: everything that a scheduler decides from."""
    # The row first: an inbox that fills up afterwards is seen, one that is emptied moved the version before.
    [(enabled, version, state)] = yield READ_ROW(of=schedulerid)
    changes = [InboxChange(*row) for row in (yield READ_INBOX(of=schedulerid))]
    done = yield READ_COMPLETIONS(of=schedulerid)
    if not done:
        return View(bool(enabled), version, state, changes)
    ids = [row[0] for row in done]
    sources = _grouped((yield READ_SOURCES(ids=ids)))
    causes = _grouped((yield READ_CAUSES(ids=ids)))
    return View(
        bool(enabled),
        version,
        state,
        changes,
        [
            Completion(
                buildsetid,
                results,
                sources.get(buildsetid, ()),
                causes.get(buildsetid, ()),
                parent_buildid,
                properties,
            )
            for buildsetid, results, parent_buildid, properties in done
        ],
    )


def _grouped(rows: Iterable[tuple[int, int]]) -> dict[int, tuple[int, ...]]:
    found: dict[int, tuple[int, ...]] = {}
    for key, value in sorted(rows):
        found[key] = (*found.get(key, ()), value)
    return found


# -- acting ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Settlement:
    """One cause and what came of it: a buildset (arguments of `add_buildset_work`), or nothing and why."""

    cause: str
    buildset: Mapping[str, Any] | None = None
    outcome: str = "fired"
    used_changes: Sequence[int] = ()  # stay in the inbox if the cause was settled before


@dataclass(frozen=True, slots=True)
class Decision:
    """Everything that one decision changes."""

    state: str
    settlements: Sequence[Settlement] = ()
    importance: Mapping[int, bool] = field(default_factory=dict)  # of changes that stay in the inbox
    used_changes: Sequence[int] = ()
    used_completions: Sequence[int] = ()


MOVE = Statement(
    "schedulers.move",
    lambda _dialect: (
        sa.update(_schedulers)
        .where(_schedulers.c.id == sa.bindparam("of"), _schedulers.c.version == sa.bindparam("at_version"))
        .values(state=sa.bindparam("to_state"), version=_schedulers.c.version + 1)
        .returning(_schedulers.c.version)
    ),
)
ADD_CAUSE = Statement(
    "schedulers.add_cause",
    lambda dialect: (
        insert(dialect, _causes)
        .values({name: sa.bindparam(name) for name in ("schedulerid", "cause", "outcome", "settled_at")})
        .on_conflict_do_nothing(index_elements=["schedulerid", "cause"])
        .returning(_causes.c.cause)
    ),
)
NAME_BUILDSET = Statement(
    "schedulers.name_buildset",
    lambda _dialect: (
        sa.update(_causes)
        .where(_causes.c.schedulerid == sa.bindparam("of"), _causes.c.cause == sa.bindparam("of_cause"))
        .values(buildsetid=sa.bindparam("to_buildsetid"))
    ),
)
CLASSIFY = Statement(
    "schedulers.classify",
    lambda _dialect: (
        sa.update(_inbox)
        .where(_inbox.c.schedulerid == sa.bindparam("of"), _inbox.c.changeid == sa.bindparam("of_change"))
        .values(important=sa.bindparam("to_important"))
    ),
)
USE_CHANGES = Statement(
    "schedulers.use_changes",
    lambda dialect: sa.delete(_inbox).where(
        _inbox.c.schedulerid == sa.bindparam("of"), in_set(_inbox.c.changeid, "ids")(dialect)
    ),
)
USE_COMPLETIONS = Statement(
    "schedulers.use_completions",
    lambda dialect: sa.delete(_completions).where(
        _completions.c.schedulerid == sa.bindparam("of"), in_set(_completions.c.buildsetid, "ids")(dialect)
    ),
)


@unit
def settle(schedulerid: int, version: int, decision: Decision, now_us: int) -> Work[list[Added] | None]:
    """Make a decision happen; gives the buildsets added, or None if the row has moved since ``version``."""
    if not (yield MOVE(of=schedulerid, at_version=version, to_state=decision.state)):
        return None
    added: list[Added] = []
    used = set(decision.used_changes)
    for settlement in decision.settlements:
        first = yield ADD_CAUSE(
            schedulerid=schedulerid,
            cause=settlement.cause,
            outcome=settlement.outcome,
            settled_at=now_us,
        )
        if not first or settlement.buildset is None:
            continue
        made = yield from add_buildset_work(schedulerid=schedulerid, now_us=now_us, **settlement.buildset)
        yield NAME_BUILDSET(of=schedulerid, of_cause=settlement.cause, to_buildsetid=made[0])
        added.append(made)
        used.update(settlement.used_changes)
    if decision.importance:
        yield CLASSIFY.many(
            {"of": schedulerid, "of_change": changeid, "to_important": int(important)}
            for changeid, important in decision.importance.items()
        )
    if used:
        yield USE_CHANGES(of=schedulerid, ids=sorted(used))
    if decision.used_completions:
        yield USE_COMPLETIONS(of=schedulerid, ids=list(decision.used_completions))
    return added


HOLD = Statement(
    "schedulers.hold",
    lambda _dialect: (
        sa.select(_schedulers.c.enabled)
        .where(_schedulers.c.id == sa.bindparam("of"))
        .with_for_update(read=True)
    ),
)


def start(schedulerid: int, buildset: Mapping[str, Any], now_us: int) -> Unit[Added | None]:
    """Add a buildset that somebody asked this scheduler for; None while the scheduler is disabled.

    ``buildset`` is what `add_buildset_work` takes. With a ``key`` in it, a repetition gets the first answer.
    Without one the call gets a key of its own, so that it happens once although the unit may be run twice.
    """
    key = buildset.get("key") or f"start:{secrets.token_hex(8)}"
    return _start(schedulerid, {**buildset, "key": key}, now_us)


@shortcut
def _start(schedulerid: int, buildset: Mapping[str, Any], now_us: int) -> Work[Added | None]:
    added = yield from start_at_once_work(schedulerid=schedulerid, now_us=now_us, **buildset)
    if added is not None:
        return added
    rows = yield HOLD(of=schedulerid)
    if not rows or not rows[0][0]:
        return None
    return (yield from add_buildset_work(schedulerid=schedulerid, now_us=now_us, **buildset))


# -- the row ----------------------------------------------------------------------------

_active = sa.select(schema.masters.c.id).where(schema.masters.c.active == 1)

ADD = Statement(
    "schedulers.add",
    lambda dialect: (
        insert(dialect, _schedulers)
        .values(name=sa.bindparam("name"))
        .on_conflict_do_nothing(index_elements=["name"])
    ),
)
FIND = Statement(
    "schedulers.find",
    lambda dialect: sa.select(_schedulers.c.name, _schedulers.c.id, _schedulers.c.wants_changes).where(
        in_set(_schedulers.c.name, "names")(dialect)
    ),
)
WANT = Statement(
    "schedulers.want",
    lambda _dialect: (
        sa.update(_schedulers)
        .where(_schedulers.c.id == sa.bindparam("of"))
        .values(wants_changes=sa.bindparam("to_wants"))
    ),
)
READ_UPSTREAMS = Statement(
    "schedulers.upstreams",
    lambda _dialect: sa.select(schema.scheduler_upstreams.c.upstreamid).where(
        schema.scheduler_upstreams.c.schedulerid == sa.bindparam("of")
    ),
)
DROP_UPSTREAMS = Statement(
    "schedulers.drop_upstreams",
    lambda _dialect: sa.delete(schema.scheduler_upstreams).where(
        schema.scheduler_upstreams.c.schedulerid == sa.bindparam("of")
    ),
)
ADD_UPSTREAM = Statement(
    "schedulers.add_upstream",
    lambda dialect: (
        insert(dialect, schema.scheduler_upstreams)
        .values(upstreamid=sa.bindparam("upstreamid"), schedulerid=sa.bindparam("schedulerid"))
        .on_conflict_do_nothing(index_elements=["upstreamid", "schedulerid"])
    ),
)
TAKE = Statement(
    "schedulers.take",
    lambda dialect: (
        sa.update(_schedulers)
        .where(
            in_set(_schedulers.c.id, "ids")(dialect),
            sa.or_(_schedulers.c.masterid.is_(None), _schedulers.c.masterid.not_in(_active)),
        )
        .values(masterid=sa.bindparam("by"))
        .returning(_schedulers.c.id)
    ),
)
LEAVE = Statement(
    "schedulers.leave",
    lambda dialect: (
        sa.update(_schedulers)
        .where(in_set(_schedulers.c.id, "ids")(dialect), _schedulers.c.masterid == sa.bindparam("by"))
        .values(masterid=None)
    ),
)
_orphans = sa.or_(
    _schedulers.c.masterid.is_(None),
    _schedulers.c.masterid == sa.bindparam("by"),
    _schedulers.c.masterid.not_in(_active),
)
DISREGARD = Statement(
    "schedulers.disregard",
    lambda dialect: (
        sa.update(_schedulers)
        .where(sa.not_(in_set(_schedulers.c.id, "kept")(dialect)), _schedulers.c.wants_changes == 1, _orphans)
        .values(wants_changes=0)
    ),
)
DISREGARD_UPSTREAMS = Statement(
    "schedulers.disregard_upstreams",
    lambda dialect: sa.delete(schema.scheduler_upstreams).where(
        schema.scheduler_upstreams.c.schedulerid.in_(
            sa.select(_schedulers.c.id).where(
                sa.not_(in_set(_schedulers.c.id, "kept")(dialect)),
                _orphans,
            )
        )
    ),
)
ENABLE = Statement(
    "schedulers.enable",
    lambda _dialect: (
        sa.update(_schedulers)
        .where(_schedulers.c.id == sa.bindparam("of"))
        .values(enabled=sa.bindparam("to_enabled"), version=_schedulers.c.version + 1)
        .returning(_schedulers.c.id)
    ),
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a configured scheduler wants to be told."""

    name: str
    changes: bool = False
    upstreams: tuple[str, ...] = ()


@unit
def register(wishes: Sequence[Wish]) -> Work[dict[str, int]]:
    """The ids of these schedulers by name; new ones get a row. From now on they are told what they wish."""
    names = sorted({wish.name for wish in wishes} | {name for wish in wishes for name in wish.upstreams})
    rows = yield FIND(names=names)
    if len(rows) < len(names):
        known = {name for name, _, _ in rows}
        yield ADD.many({"name": name} for name in names if name not in known)
        rows = yield FIND(names=names)
    ids = {name: schedulerid for name, schedulerid, _ in rows}
    wants = {name: bool(wanted) for name, _, wanted in rows}
    # One order of row locks for all masters: schedulers by id, then what they wait for.
    wishes = sorted(wishes, key=lambda wish: ids[wish.name])
    for wish in wishes:
        if wants[wish.name] != wish.changes:
            yield WANT(of=ids[wish.name], to_wants=int(wish.changes))
    for wish in wishes:
        upstreams = sorted({ids[name] for name in wish.upstreams})
        if sorted(row[0] for row in (yield READ_UPSTREAMS(of=ids[wish.name]))) != upstreams:
            yield DROP_UPSTREAMS(of=ids[wish.name])
            yield ADD_UPSTREAM.many({"upstreamid": each, "schedulerid": ids[wish.name]} for each in upstreams)
    return {wish.name: ids[wish.name] for wish in wishes}


@unit
def take(schedulerids: Sequence[int], masterid: int) -> Work[list[int]]:
    """Take those of the schedulers that no living master has; gives the taken ones."""
    return sorted(row[0] for row in (yield TAKE(ids=schedulerids, by=masterid)))


@unit
def leave(schedulerids: Sequence[int], masterid: int) -> Work[None]:
    """Let other masters take these at once."""
    yield LEAVE(ids=schedulerids, by=masterid)


@unit
def disregard_others(kept: Sequence[int], masterid: int) -> Work[None]:
    """Tell nothing more to schedulers that are neither among these nor run by another living master.

    They left the configuration: nobody would ever empty their inboxes.
    """
    yield DISREGARD(kept=kept, by=masterid)
    yield DISREGARD_UPSTREAMS(kept=kept, by=masterid)


@unit
def enable(schedulerid: int, enabled: bool) -> Work[bool]:
    """Enable or disable a scheduler; False if there is none. A disabled one gets and starts nothing."""
    rows = yield ENABLE(of=schedulerid, to_enabled=int(enabled))
    if rows:
        yield Hint("schedulers", schedulerid, "updated")
    return bool(rows)


def encode_state(state: Mapping[str, Any]) -> str:
    """A scheduler's state as it is stored."""
    return msgspec.json.encode(state, order="deterministic").decode()
