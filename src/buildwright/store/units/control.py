"""What people and programs ask for: stop, priority, rebuild, and how workers are to behave.

Each is a row before it is anything else, so it reaches whoever owns the thing then, also when nobody does at
the moment. A stop is in the request (:func:`buildwright.store.units.claims.stop_request`), which locks its
row first like a claim and a finish do. What a worker is to do is in its row: its master looks at it after the
hint, at every attaching, and before it gives it work."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec
import sqlalchemy as sa

from buildwright.model.results import CANCELLED, RETRY, SUCCESS
from buildwright.model.sources import REBUILD_FROM, REBUILD_SOURCE
from buildwright.store import schema
from buildwright.store.unit import Hint, Statement, Unit, Work, unit
from buildwright.store.units.buildsets import Added, add_buildset_work
from buildwright.store.units.claims import stop_request

STAYS = 0
GRACEFUL = 1  # takes no more builds, and its process ends when it is idle
KILLED = 2  # its process is to end now

REBUILD_REASON = "rebuild"
REBUILD_FROM_REASON = "rebuild from the failed step"

_b = schema.builds.c
_r = schema.buildrequests.c
_s = schema.buildsets.c
_w = schema.workers.c
_links = schema.buildset_sourcestamps.c
_causes = schema.buildset_changes.c

_OPEN_BUILD = Statement(
    "control.open_build",
    lambda _dialect: sa.select(_b.buildrequestid).where(
        _b.id == sa.bindparam("buildid"), _b.complete_at.is_(None)
    ),
)
_STOP = Statement(
    "control.stop_of",
    lambda _dialect: sa.select(_r.stop_results, _r.stop_reason).where(_r.id == sa.bindparam("requestid")),
)
_SET_PRIORITY = Statement(
    "control.set_priority",
    lambda _dialect: (
        sa.update(schema.buildrequests)
        .where(_r.id == sa.bindparam("requestid"), _r.complete == 0)
        .values(priority=sa.bindparam("to_priority"), version=_r.version + 1)
        .returning(_r.id)
    ),
)
_BUILT = Statement(
    "control.built",
    lambda _dialect: (
        sa.select(
            _r.buildsetid,
            _r.builderid,
            _r.priority,
            _s.properties,
            _s.external_idstring,
            _b.results,
            _w.name,
        )
        .select_from(
            schema.builds.join(schema.buildrequests, _r.id == _b.buildrequestid)
            .join(schema.buildsets, _s.id == _r.buildsetid)
            .join(schema.workers, _w.id == _b.workerid)
        )
        .where(_b.id == sa.bindparam("buildid"))
    ),
)
_STAMPS = Statement(
    "control.stamps",
    lambda _dialect: sa.select(_links.sourcestampid).where(_links.buildsetid == sa.bindparam("buildsetid")),
)
_CHANGES = Statement(
    "control.changes",
    lambda _dialect: sa.select(_causes.changeid).where(_causes.buildsetid == sa.bindparam("buildsetid")),
)


def _set_worker(name: str, **values: object) -> Statement:
    update = sa.update(schema.workers).where(_w.id == sa.bindparam("workerid"))
    return Statement(name, lambda _dialect: update.values(version=_w.version + 1, **values).returning(_w.id))


_PAUSE = _set_worker("control.pause", paused=1, pause_reason=sa.bindparam("why"))
_UNPAUSE = _set_worker("control.unpause", paused=0, pause_reason=None)
_LEAVE = _set_worker("control.leave", graceful=sa.bindparam("how"))


@unit
def stop_build(buildid: int, why: str, now_us: int, results: int = CANCELLED) -> Work[bool]:
    """Stop a build that runs; its request isn't started again. Gives whether it was running."""
    rows = yield _OPEN_BUILD(buildid=buildid)
    if not rows:
        return False
    return (yield from stop_request(rows[0][0], why, now_us, results).start())


@unit
def stop_of(requestid: int) -> Work[tuple[int, str] | None]:
    """A read: what a request's stop asks for and why, None if nobody has stopped it."""
    rows = yield _STOP(requestid=requestid)
    return (rows[0][0], rows[0][1] or "") if rows and rows[0][0] is not None else None


@unit
def set_priority(requestid: int, priority: int) -> Work[bool]:
    """Give a request that isn't complete another priority."""
    if not (yield _SET_PRIORITY(requestid=requestid, to_priority=priority)):
        return False
    yield Hint("buildrequests", requestid, "update")
    return True


class NothingFailed(Exception):
    """The build has no step that failed to go on from."""


def rebuild(
    buildid: int, now_us: int, key: str | None = None, *, from_failed: bool = False
) -> Unit[Added | None]:
    """Ask for the same again: the build's source stamps, its buildset's properties, its builder.

    ``from_failed``: steps that succeeded are left out, if the work directory is still as they left it; raises
    NothingFailed, unless the build has ended and not with success.

    With the ``key`` of an earlier call it gets that one's answer; without one each call asks anew.
    """
    return _rebuild(buildid, now_us, f"rebuild:{key or secrets.token_hex(8)}", from_failed)


@unit
def _rebuild(buildid: int, now_us: int, key: str, from_failed: bool) -> Work[Added | None]:
    rows = yield _BUILT(buildid=buildid)
    if not rows:
        return None
    buildsetid, builderid, priority, text, external, results, worker = rows[0]
    properties: dict[str, Any] = msgspec.json.decode(text)
    properties.pop(REBUILD_FROM, None)  # of the build that is built again
    if from_failed:
        if results in (None, SUCCESS, RETRY):
            raise NothingFailed
        properties[REBUILD_FROM] = [{"buildid": buildid, "workername": worker}, REBUILD_SOURCE]
    stamps = [each for (each,) in (yield _STAMPS(buildsetid=buildsetid))]
    changes = [each for (each,) in (yield _CHANGES(buildsetid=buildsetid))]
    return (
        yield from add_buildset_work(
            sourcestamps=stamps,
            builderids=[builderid],
            now_us=now_us,
            reason=REBUILD_FROM_REASON if from_failed else REBUILD_REASON,
            properties=properties,
            external_idstring=external,
            rebuilt_buildid=buildid,
            priority=priority,
            changeids=changes,
            key=key,
        )
    )


@unit
def pause_worker(workerid: int, why: str) -> Work[bool]:
    """Give a worker no more builds until :func:`unpause_worker`."""
    return (yield from _changed(workerid, (yield _PAUSE(workerid=workerid, why=why))))


@unit
def unpause_worker(workerid: int) -> Work[bool]:
    """Give a worker builds again."""
    return (yield from _changed(workerid, (yield _UNPAUSE(workerid=workerid))))


@unit
def leave_worker(workerid: int, how: int) -> Work[bool]:
    """Have a worker's process end: GRACEFUL or KILLED; STAYS takes it back."""
    return (yield from _changed(workerid, (yield _LEAVE(workerid=workerid, how=how))))


def _changed(workerid: int, rows: list[tuple[int]]) -> Work[bool]:
    if rows:
        yield Hint("workers", workerid, "state_updated")
    return bool(rows)
