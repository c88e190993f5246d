"""From a request to a build: what waits, claiming, stopping; :mod:`buildwright.store.units.finishing` is the
way back.

One order of row locks for all of these: worker, request, buildset, lock rows by id, builder. A claim is one
unit: the worker's attachment is the claimer's, the request is unclaimed and not stopped, every build-level
lock is free, the build has its number. The free slot needs no row: only the master a worker is attached to
gives it work, and the attachment is locked while it does.

An attempt that was lost while its commands may still run *lingers*: its request waits for another attempt,
but slot and locks stay, and nobody can claim the request, until the commands are known dead
(:func:`end_lingering`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from buildwright.model.results import CANCELLED
from buildwright.store import schema
from buildwright.store.unit import (
    Fenced,
    Hint,
    Shortcut,
    Statement,
    Work,
    in_set,
    shortcut,
    unit,
)
from buildwright.store.units.finishing import complete_request_work
from buildwright.store.units.locks import Want, acquire_work, free_request_work

_r = schema.buildrequests.c
_s = schema.buildsets.c
_b = schema.builds.c
_w = schema.workers.c


class Waiting(NamedTuple):
    """A request with what its build needs to know of it."""

    requestid: int
    builderid: int
    priority: int
    submitted_at: int
    waited_for: int
    attempts: int
    waits_for: str
    buildsetid: int
    reason: str
    properties: str
    parent_buildid: int | None


class Stamp(NamedTuple):
    """A source stamp of a buildset; ``patchid`` names its patch, if it has one."""

    buildsetid: int
    ssid: int
    branch: str | None
    revision: str | None
    repository: str
    codebase: str
    project: str
    patchid: int | None
    created_at: int


class ChangeRow(NamedTuple):
    """A change that a buildset was made for."""

    buildsetid: int
    changeid: int
    author: str
    committer: str | None
    comments: str
    branch: str | None
    revision: str | None
    revlink: str | None
    when_us: int
    category: str | None
    repository: str
    codebase: str
    project: str
    files: str
    properties: str


class PatchRow(NamedTuple):
    id: int
    level: int
    body: bytes
    author: str
    comment: str
    subdir: str | None


class Facts(NamedTuple):
    """What is known of some requests, ready to make builds of them."""

    requests: list[Waiting]
    stamps: list[Stamp]
    changes: list[ChangeRow]
    patches: list[PatchRow]


class Claimed(NamedTuple):
    """The claim was taken: the build is there."""

    buildid: int
    number: int
    attempt: int


class NotFree(NamedTuple):
    """A lock isn't free: the request keeps its place in the queue and waits."""

    lock: str


class Gone(NamedTuple):
    """The request was claimed, stopped or completed by somebody else, or its lost attempt lingers."""


_WAITING_COLUMNS = (
    _r.id,
    _r.builderid,
    _r.priority,
    _r.submitted_at,
    _r.waited_for,
    _r.attempts,
    _r.waits_for,
    _s.id,
    _s.reason,
    _s.properties,
    _s.parent_buildid,
)
_WAITING_FROM = schema.buildrequests.join(schema.buildsets, _s.id == _r.buildsetid)
_lingers = sa.exists().where(_b.buildrequestid == _r.id, _b.lingering == sa.literal_column("1"))

_WAITING = Statement(
    "claims.waiting",
    lambda _dialect: (
        sa.select(*_WAITING_COLUMNS)
        .select_from(_WAITING_FROM)
        .where(
            _r.builderid == sa.bindparam("of_builderid"),
            _r.complete == sa.literal_column("0"),
            _r.claimed_by.is_(None),
            _r.stop_results.is_(None),
            sa.or_(_r.attempts == sa.literal_column("0"), sa.not_(_lingers)),
        )
        .order_by(_r.priority.desc(), _r.id)
        .limit(sa.bindparam("most", type_=sa.Integer))
    ),
)
_BY_IDS = Statement(
    "claims.by_ids",
    lambda dialect: (
        sa.select(*_WAITING_COLUMNS).select_from(_WAITING_FROM).where(in_set(_r.id, "requestids")(dialect))
    ),
)
_STAMPS = Statement(
    "claims.stamps",
    lambda dialect: (
        sa.select(
            schema.buildset_sourcestamps.c.buildsetid,
            schema.sourcestamps.c.id,
            schema.sourcestamps.c.branch,
            schema.sourcestamps.c.revision,
            schema.sourcestamps.c.repository,
            schema.sourcestamps.c.codebase,
            schema.sourcestamps.c.project,
            schema.sourcestamps.c.patchid,
            schema.sourcestamps.c.created_at,
        )
        .select_from(
            schema.buildset_sourcestamps.join(
                schema.sourcestamps, schema.sourcestamps.c.id == schema.buildset_sourcestamps.c.sourcestampid
            )
        )
        .where(in_set(schema.buildset_sourcestamps.c.buildsetid, "buildsetids")(dialect))
        .order_by(schema.buildset_sourcestamps.c.buildsetid, schema.sourcestamps.c.codebase)
    ),
)
_c = schema.changes.c
_CHANGES = Statement(
    "claims.changes",
    lambda dialect: (
        sa.select(
            schema.buildset_changes.c.buildsetid,
            _c.id,
            _c.author,
            _c.committer,
            _c.comments,
            _c.branch,
            _c.revision,
            _c.revlink,
            _c.when_us,
            _c.category,
            _c.repository,
            _c.codebase,
            _c.project,
            _c.files,
            _c.properties,
        )
        .select_from(
            schema.buildset_changes.join(schema.changes, _c.id == schema.buildset_changes.c.changeid)
        )
        .where(in_set(schema.buildset_changes.c.buildsetid, "buildsetids")(dialect))
        .order_by(_c.id)
    ),
)
_p = schema.patches.c
_PATCHES = Statement(
    "claims.patches",
    lambda dialect: sa.select(_p.id, _p.level, _p.body, _p.author, _p.comment, _p.subdir).where(
        in_set(_p.id, "patchids")(dialect)
    ),
)
_PENDING_BUILDERS = Statement(
    "claims.pending_builders",
    lambda dialect: (
        sa.select(_r.builderid, sa.func.max(_r.priority), sa.func.min(_r.submitted_at))
        .where(
            in_set(_r.builderid, "builderids")(dialect),
            _r.complete == sa.literal_column("0"),
            _r.claimed_by.is_(None),
        )
        .group_by(_r.builderid)
    ),
)

_ATTACHED = (
    _w.id == sa.bindparam("of_workerid"),
    _w.attachment == sa.bindparam("of_attachment"),
    _w.masterid == sa.bindparam("of_masterid"),
)
_CLAIMABLE = (_r.complete == 0, _r.claimed_by.is_(None), _r.stop_results.is_(None))
_TAKEN = {
    "claimed_by": sa.bindparam("of_masterid"),
    "claimed_at": sa.bindparam("now_us"),
    "attempts": _r.attempts + 1,
    "waits_for": "",
    "version": _r.version + 1,
}
_HOLD_WORKER = Statement(
    "claims.hold_worker",
    lambda _dialect: sa.select(_w.id).where(*_ATTACHED).with_for_update(read=True),
)
_HOLD_REQUEST = Statement(
    "claims.hold_request",
    lambda _dialect: (
        sa.select(_r.attempts, _r.waits_for)
        .where(_r.id == sa.bindparam("requestid"), *_CLAIMABLE)
        .with_for_update()
    ),
)
_CLAIMED = Statement(
    "claims.claimed",
    lambda _dialect: sa.select(_b.id, _b.number, _b.attempt).where(
        _b.buildrequestid == sa.bindparam("requestid"),
        _b.workerid == sa.bindparam("of_workerid"),
        _b.masterid == sa.bindparam("of_masterid"),
        _b.started_at == sa.bindparam("now_us"),
        _b.complete_at.is_(None),
    ),
)
_LINGERING = Statement(
    "claims.lingering",
    lambda _dialect: sa.select(_b.id).where(
        _b.buildrequestid == sa.bindparam("of_requestid"), _b.lingering == sa.literal_column("1")
    ),
)
_TAKE_REQUEST = Statement(
    "claims.take_request",
    lambda _dialect: (
        sa.update(schema.buildrequests).where(_r.id == sa.bindparam("requestid")).values(**_TAKEN)
    ),
)


def _claim_at_once() -> sa.sql.base.Executable:
    """Of a request that nobody has tried, on a worker that is attached, without locks."""
    worker = sa.select(_w.id).where(*_ATTACHED).with_for_update(read=True).cte("worker")
    request = (
        sa.update(schema.buildrequests)
        .where(
            _r.id == sa.bindparam("requestid"),
            *_CLAIMABLE,
            _r.attempts == 0,
            _r.waits_for == sa.literal_column("''"),
            sa.exists(sa.select(worker.c.id)),
            sa.exists().where(schema.builders.c.id == sa.bindparam("builderid")),
        )
        .values(**_TAKEN)
        .returning(_r.attempts)
        .cte("request")
    )
    builder = (
        sa.update(schema.builders)
        .where(schema.builders.c.id == sa.bindparam("builderid"), sa.exists(sa.select(request.c.attempts)))
        .values(next_number=schema.builders.c.next_number + 1)
        .returning(schema.builders.c.next_number)
        .cte("builder")
    )
    build = {
        "number": builder.c.next_number - 1,
        "builderid": sa.bindparam("builderid", type_=schema.Id),
        "buildrequestid": sa.bindparam("requestid", type_=schema.Id),
        "attempt": request.c.attempts,
        "workerid": sa.bindparam("of_workerid", type_=schema.Id),
        "masterid": sa.bindparam("of_masterid", type_=schema.Id),
        "started_at": sa.bindparam("now_us", type_=schema.Big),
        "state_string": sa.literal_column("'starting'"),
        "fingerprint": sa.bindparam("fingerprint", type_=schema.Text),
    }
    return (
        sa.insert(schema.builds)
        .from_select([*build], sa.select(*build.values()).select_from(builder.join(request, sa.true())))
        .returning(_b.id, _b.number, _b.attempt)
    )


_CLAIM_AT_ONCE = Shortcut("claims.claim_at_once", _claim_at_once)

_SAY_WAITS = Statement(
    "claims.say_waits",
    lambda _dialect: (
        sa.update(schema.buildrequests)
        .where(_r.id == sa.bindparam("requestid"), _r.waits_for != sa.bindparam("why"))
        .values(waits_for=sa.bindparam("why"), version=_r.version + 1)
        .returning(_r.id)
    ),
)
_SAY_BUILDER_WAITS = Statement(
    "claims.say_builder_waits",
    lambda _dialect: (
        sa.update(schema.builders)
        .where(
            schema.builders.c.id == sa.bindparam("builderid"),
            schema.builders.c.waits_for != sa.bindparam("why"),
        )
        .values(waits_for=sa.bindparam("why"), version=schema.builders.c.version + 1)
        .returning(schema.builders.c.id)
    ),
)
_NUMBER = Statement(
    "claims.number",
    lambda _dialect: (
        sa.update(schema.builders)
        .where(schema.builders.c.id == sa.bindparam("builderid"))
        .values(next_number=schema.builders.c.next_number + 1)
        .returning(schema.builders.c.next_number)
    ),
)
_ADD_BUILD = Statement(
    "claims.add_build",
    lambda _dialect: (
        sa.insert(schema.builds)
        .values(
            number=sa.bindparam("number"),
            builderid=sa.bindparam("builderid"),
            buildrequestid=sa.bindparam("requestid"),
            attempt=sa.bindparam("attempt"),
            workerid=sa.bindparam("workerid"),
            masterid=sa.bindparam("masterid"),
            started_at=sa.bindparam("now_us"),
            state_string="starting",
            fingerprint=sa.bindparam("fingerprint"),
        )
        .returning(_b.id)
    ),
)


def _facts(requests: list[Waiting]) -> Work[Facts]:
    buildsetids = sorted({request.buildsetid for request in requests})
    if not buildsetids:
        return Facts([], [], [], [])
    stamps = [Stamp(*row) for row in (yield _STAMPS(buildsetids=buildsetids))]
    changes = [ChangeRow(*row) for row in (yield _CHANGES(buildsetids=buildsetids))]
    patchids = sorted({stamp.patchid for stamp in stamps if stamp.patchid is not None})
    patches = [PatchRow(*row) for row in (yield _PATCHES(patchids=patchids))] if patchids else []
    return Facts(requests, stamps, changes, patches)


@unit
def waiting(builderid: int, most: int) -> Work[Facts]:
    """Read the first ``most`` requests of a builder that can be claimed, by priority, then by age."""
    rows = yield _WAITING(of_builderid=builderid, most=most)
    return (yield from _facts([Waiting(*row) for row in rows]))


@unit
def facts(requestids: Sequence[int]) -> Work[Facts]:
    """Read what is known of some requests, whatever their state."""
    rows = yield _BY_IDS(requestids=requestids)
    return (yield from _facts([Waiting(*row) for row in rows]))


@unit
def pending_builders(builderids: Sequence[int]) -> Work[list[tuple[int, int, int]]]:
    """Which of the builders have unclaimed requests: (builderid, highest priority, oldest submitted_at)."""
    return list((yield _PENDING_BUILDERS(builderids=builderids)))


@shortcut
def claim(
    *,
    requestid: int,
    builderid: int,
    workerid: int,
    attachment: int,
    masterid: int,
    wants: Sequence[Want],
    fingerprint: str,
    now_us: int,
) -> Work[Claimed | NotFree | Gone]:
    """Make a build of a request on an attached worker. Raises Fenced when the worker is attached elsewhere.

    A master makes one claim of a request at a time, so a build of it that was started on this worker at this
    very instant is this claim's own, whose commit went unanswered.
    """
    if not wants:
        made = yield _CLAIM_AT_ONCE(
            requestid=requestid,
            builderid=builderid,
            of_workerid=workerid,
            of_attachment=attachment,
            of_masterid=masterid,
            fingerprint=fingerprint,
            now_us=now_us,
        )
        if made:
            claimed = Claimed(*made[0])
            yield from _tell_claimed(requestid, claimed)
            return claimed
    if not (yield _HOLD_WORKER(of_workerid=workerid, of_attachment=attachment, of_masterid=masterid)):
        raise Fenced("the worker is attached elsewhere")
    held = yield _HOLD_REQUEST(requestid=requestid)
    if not held:
        own = yield _CLAIMED(requestid=requestid, of_workerid=workerid, of_masterid=masterid, now_us=now_us)
        return Claimed(*own[0]) if own else Gone()
    attempts, waited = held[0]
    if attempts and (yield _LINGERING(of_requestid=requestid)):
        yield from _say(requestid, "commands of its lost attempt may still run")
        return Gone()
    if wants:
        obstacle = yield from acquire_work(wants, requestid, 0, masterid, now_us)
        if obstacle is not None:
            yield from _say(requestid, f"lock {obstacle!r} is taken")
            return NotFree(obstacle)
    elif waited:  # perhaps in a queue, when it tried a worker that wants locks
        yield from free_request_work(requestid)
    attempt = attempts + 1
    yield _TAKE_REQUEST(requestid=requestid, of_masterid=masterid, now_us=now_us)
    ((next_number,),) = yield _NUMBER(builderid=builderid)
    number = next_number - 1
    ((buildid,),) = yield _ADD_BUILD(
        number=number,
        builderid=builderid,
        requestid=requestid,
        attempt=attempt,
        workerid=workerid,
        masterid=masterid,
        fingerprint=fingerprint,
        now_us=now_us,
    )
    claimed = Claimed(buildid, number, attempt)
    yield from _tell_claimed(requestid, claimed)
    return claimed


def _tell_claimed(requestid: int, claimed: Claimed) -> Work[None]:
    yield Hint("buildrequests", requestid, "claimed")
    yield Hint("builds", claimed.buildid, "new")


def _say(requestid: int, why: str) -> Work[None]:
    if (yield _SAY_WAITS(requestid=requestid, why=why)):
        yield Hint("buildrequests", requestid, "update")


@unit
def say_request_waits(requestid: int, why: str) -> Work[None]:
    """Store why a request doesn't start, for people."""
    yield from _say(requestid, why)


@unit
def say_requests_wait(reasons: Mapping[int, str]) -> Work[None]:
    """Store why requests don't start, for people."""
    for requestid in sorted(reasons):
        yield from _say(requestid, reasons[requestid])


@unit
def say_builders_wait(reasons: Mapping[int, str]) -> Work[None]:
    """Store why builders' requests don't start, for people; empty when they do."""
    for builderid in sorted(reasons):
        if (yield _SAY_BUILDER_WAITS(builderid=builderid, why=reasons[builderid])):
            yield Hint("builders", builderid, "update")


# -- lingering ------------------------------------------------------------------------------------------

_END_LINGERING = Statement(
    "claims.end_lingering",
    lambda _dialect: (
        sa.update(schema.builds)
        .where(_b.id == sa.bindparam("buildid"), _b.lingering == 1)
        .values(lingering=0)
        .returning(_b.buildrequestid)
    ),
)


@unit
def end_lingering(buildid: int) -> Work[None]:
    """The commands of a lost attempt are known dead: free its slot and locks, and let the next one begin."""
    for (requestid,) in (yield _END_LINGERING(buildid=buildid)):
        yield from free_request_work(requestid)
        yield Hint("builds", buildid, "update")
        yield Hint("buildrequests", requestid, "update")


def free_waiting_work(requestid: int, attempts: int) -> Work[None]:
    """Free what a request had that was completed while it waited, but not what a lingering attempt holds."""
    if not attempts or not (yield _LINGERING(of_requestid=requestid)):
        yield from free_request_work(requestid)


# -- stopping --------------------------------------------------------------------------------------------

_ASK_STOP = Statement(
    "claims.ask_stop",
    lambda _dialect: (
        sa.update(schema.buildrequests)
        .where(_r.id == sa.bindparam("requestid"), _r.complete == 0)
        .values(
            stop_results=sa.func.coalesce(_r.stop_results, sa.bindparam("to_results")),
            stop_reason=sa.func.coalesce(_r.stop_reason, sa.bindparam("why")),
            version=_r.version + 1,
        )
        .returning(_r.claimed_by, _r.buildsetid, _r.attempts)
    ),
)
_STOPS = Statement(
    "claims.stops",
    lambda _dialect: sa.select(_r.id, _r.stop_results, _r.stop_reason).where(
        _r.complete == sa.literal_column("0"),
        _r.stop_results.is_not(None),
        _r.claimed_by == sa.bindparam("of_masterid"),
    ),
)


@unit
def stop_request(requestid: int, why: str, now_us: int, results: int = CANCELLED) -> Work[bool]:
    """Stop a request: an unclaimed one completes here and now, a claimed one's owner reads the row.

    Gives whether there was anything to stop.
    """
    rows = yield _ASK_STOP(requestid=requestid, to_results=results, why=why)
    if not rows:
        return False
    claimed_by, buildsetid, attempts = rows[0]
    if claimed_by is None:
        yield from complete_request_work(requestid, buildsetid, results, now_us)
        yield from free_waiting_work(requestid, attempts)
        yield Hint("buildrequests", requestid, "cancel")
    else:
        yield Hint("buildrequests", requestid, "stop")
    return True


@unit
def stops(masterid: int) -> Work[list[tuple[int, int, str | None]]]:
    """The stops asked of this master's builds: (requestid, results, reason)."""
    return list((yield _STOPS(of_masterid=masterid)))
