"""Schedules: what each scheduler is, what it starts, when it comes next, and what waits with it.

What a scheduler is and when it is due is the configuration's, here that of the master that answers; a
scheduler that only another master has is shown with what the store knows of it. How far it has come is in its
row's state, the changes that wait for its timer are in its inbox: those are the pending builds that are no
requests yet, and this is why they wait (P6).

Due points are the schedule's own: the next ones after what is settled. They are computed in a thread, since a
cron expression may look through years for its next time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from buildwright.config.outlook import waits_for
from buildwright.schedulers.base import Scheduler
from buildwright.schedulers.basic import MICROSECONDS, AnyBranchScheduler, BasicScheduler
from buildwright.schedulers.dependent import Dependent
from buildwright.schedulers.timed import Timed
from buildwright.store import schema
from buildwright.store.unit import Rows, Statement, Work, in_set, unit
from buildwright.web.paths import Params
from buildwright.web.resource import Computed, Json
from buildwright.web.services import WebServices

NEXT = 3
"""So many due points are shown."""

_s = schema.schedulers.c
_inbox = schema.scheduler_changes.c
_c = schema.changes.c
_causes = schema.scheduler_causes.c

_FIELDS = {
    "builder_names": "list",
    "enabled": "boolean",
    "follows": "string",
    "kind": "string",
    "masterid": "integer",
    "name": "string",
    "next_due_us": "list",
    "schedulerid": "integer",
    "settled_buildsetid": "integer",
    "settled_outcome": "string",
    "settled_us": "integer",
    "waiting": "list",
    "waits_for": "string",
}

_ROWS = Statement(
    "schedules.rows",
    lambda _dialect: sa.select(_s.id, _s.name, _s.enabled, _s.masterid, _s.state).order_by(_s.id),
)
_BRANCH = (_c.codebase, _c.project, _c.repository, _c.branch)
_WAITING = Statement(
    "schedules.waiting",
    lambda _dialect: (
        sa.select(
            _inbox.schedulerid,
            *_BRANCH,
            sa.func.count(sa.literal_column("*")),
            sa.func.coalesce(sa.func.sum(_inbox.important), sa.literal_column("0")),
            sa.func.max(_c.received_at),
        )
        .select_from(schema.scheduler_changes.join(schema.changes, _c.id == _inbox.changeid))
        .group_by(_inbox.schedulerid, *_BRANCH)
        .order_by(_inbox.schedulerid, sa.func.max(_c.received_at))
    ),
)
_SETTLED = Statement(
    "schedules.settled",
    lambda dialect: sa.select(_causes.schedulerid, _causes.cause, _causes.outcome, _causes.buildsetid).where(
        in_set(_causes.schedulerid, "ids")(dialect), in_set(_causes.cause, "causes")(dialect)
    ),
)


class Stored(NamedTuple):
    """What the store knows of the schedulers."""

    rows: Rows
    waiting: Mapping[int, list[tuple[Any, ...]]]
    settled: Mapping[tuple[int, str], tuple[str, int | None]]


@unit
def _stored() -> Work[Stored]:
    rows = yield _ROWS()
    waiting: dict[int, list[tuple[Any, ...]]] = {}
    for schedulerid, *rest in (yield _WAITING()):
        waiting.setdefault(schedulerid, []).append(tuple(rest))
    causes = {row[0]: f"due:{settled}" for row in rows if (settled := _settled(row[4])) is not None}
    found: Rows = []
    if causes:
        found = yield _SETTLED(ids=list(causes), causes=sorted(set(causes.values())))
    return Stored(rows, waiting, {(row[0], row[1]): (row[2], row[3]) for row in found})


def _settled(state: str) -> int | None:
    settled = msgspec.json.decode(state).get("settled")
    return settled if isinstance(settled, int) else None


def _waiting(scheduler: Scheduler | None, groups: Iterable[tuple[Any, ...]]) -> list[Json]:
    """The changes that wait, by branch; ``fires_at_us`` is when their timer ends if nothing else comes."""
    listed = [
        {
            "branch": branch,
            "changes": changes,
            "codebase": codebase,
            "fires_at_us": None,
            "important": int(important),
            "project": project,
            "repository": repository,
            "_last": last,
        }
        for codebase, project, repository, branch, changes, important, last in groups
    ]
    if isinstance(scheduler, BasicScheduler) and scheduler.treeStableTimer:
        timer = int(scheduler.treeStableTimer * MICROSECONDS)
        together = [[each] for each in listed] if isinstance(scheduler, AnyBranchScheduler) else [listed]
        for group in together:
            if any(each["important"] for each in group):
                last = max(each["_last"] for each in group)
                for each in group:
                    each["fires_at_us"] = last + timer
    return [{name: value for name, value in each.items() if name != "_last"} for each in listed]


def _next_due(scheduler: Scheduler | None, state: Mapping[str, Any], now_us: int) -> list[int]:
    if not isinstance(scheduler, Timed):
        return []
    active = scheduler.activated(dict(state), now_us)
    return list(islice(scheduler.schedule(active).after(active["settled"]), NEXT))


def _shown(row: tuple[Any, ...], stored: Stored, scheduler: Scheduler | None, now_us: int) -> Json:
    schedulerid, name, enabled, masterid, text = row
    state = msgspec.json.decode(text)
    settled = _settled(text) if scheduler is None or isinstance(scheduler, Timed) else None
    outcome, buildsetid = stored.settled.get((schedulerid, f"due:{settled}"), (None, None))
    return {
        "builder_names": None if scheduler is None else scheduler.builder_names,
        "enabled": bool(enabled),
        "follows": scheduler.upstream_name if isinstance(scheduler, Dependent) else None,
        "kind": None if scheduler is None else type(scheduler).__name__,
        "masterid": masterid,
        "name": name,
        "next_due_us": _next_due(scheduler, state, now_us),
        "schedulerid": schedulerid,
        "settled_buildsetid": buildsetid,
        "settled_outcome": outcome,
        "settled_us": settled if outcome is not None else None,
        "waiting": _waiting(scheduler, stored.waiting.get(schedulerid, ())),
        "waits_for": "" if scheduler is None else _words(scheduler),
    }


def _words(scheduler: Scheduler) -> str:
    if isinstance(scheduler, Dependent):
        return f"waits for {scheduler.upstream_name} to succeed"
    return waits_for(scheduler)


async def _read(services: WebServices, only: int | None = None) -> list[Json]:
    configured = services.snapshot().schedulers
    stored = await services.store.browse(_stored())
    now_us = services.now_us()
    # Those that nobody has any more stay in the store, for what they started.
    rows = [row for row in stored.rows if (row[3] is not None or row[1] in configured)]
    rows = rows if only is None else [row for row in rows if row[0] == only]
    return await asyncio.to_thread(
        lambda: [_shown(row, stored, configured.get(row[1]), now_us) for row in rows]
    )


async def _all(services: WebServices, _params: Params) -> list[Json]:
    return await _read(services)


async def _one(services: WebServices, params: Params) -> list[Json] | None:
    return await _read(services, params["schedulerid"]) or None


ENDPOINTS = [
    Computed("/schedules", "schedule", "schedules", True, _all, _FIELDS),
    Computed("/schedulers/n:schedulerid/schedule", "schedule", "schedules", False, _one, _FIELDS),
]
