"""A worker's attachment: the one fence of everything that runs on it.

:func:`attach` counts the attachment up and moves the worker's open builds, found in the store, to the new
master; from its commit on every write of a former owner fails. Only then are journal and acknowledged
positions read (:func:`open_builds`), and only then is the worker answered.

Which process of the worker held the builds decides whether their commands are alive. A hello can be answered
after its process has ended, so attaching leaves that as it is; :func:`adopt` notes the process once it has
answered again and its predecessor's builds are dealt with.

Who held the worker before is overwritten by the attachment, so the row keeps it with the call's key: a call
that is run again, because the answer to its commit was lost, is answered as the first time.
"""

from __future__ import annotations

import json
import secrets
from typing import NamedTuple

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.unit import Fenced, Hint, Statement, Unit, Work, in_set, unit

_w = schema.workers.c
_m = schema.masters.c
_b = schema.builds.c
_r = schema.buildrequests.c
_st = schema.steps.c
_j = schema.journal.c
_l = schema.logs.c


class Attached(NamedTuple):
    """The new attachment, and who held the worker before: its master, and the worker's process by boot and
    ledger id.
    """

    attachment: int
    previous_master: int | None
    previous_boot: str | None
    previous_ledger: str | None
    paused: bool
    graceful: bool


class OpenBuild(NamedTuple):
    """A build to go on with, as it stands in the store."""

    buildid: int
    number: int
    builderid: int
    requestid: int
    attempt: int
    started_at: int
    properties: str
    fingerprint: str
    pinned: str | None
    version: int
    previous_master: int


class StepRow(NamedTuple):
    stepid: int
    buildid: int
    number: int
    name: str
    tries: int
    started_at: int
    complete_at: int | None
    results: int | None
    state_string: str
    urls: str
    hidden: int
    fingerprint: str | None
    arguments: bytes | None
    properties_before: str | None
    foreign_wait: int
    added_steps: int


class Entry(NamedTuple):
    """A journal row."""

    stepid: int
    tries: int
    seq: int
    kind: str
    fingerprint: str
    logid: int | None
    acked: int
    done: int
    outcome: bytes | None


class LogRow(NamedTuple):
    logid: int
    stepid: int
    name: str
    slug: str
    type: str
    complete: int
    num_lines: int
    length: int
    next_chunk: int
    open_lines: str


class OpenBuilds(NamedTuple):
    """All that a new owner needs: builds, all their steps, the journals of those, logs of the unfinished
    ones.
    """

    builds: list[OpenBuild]
    steps: list[StepRow]
    journal: list[Entry]
    logs: list[LogRow]


_LEASE = Statement(
    "attach.lease",
    lambda _dialect: (
        sa.select(_m.id)
        .where(_m.id == sa.bindparam("of_masterid"), _m.term == sa.bindparam("of_term"), _m.active == 1)
        .with_for_update(read=True)
    ),
)
_HELD = Statement(
    "attach.held",
    lambda _dialect: (
        sa.select(
            _w.masterid, _w.boot_id, _w.ledger_id, _w.paused, _w.graceful, _w.attachment, _w.attached_call
        )
        .where(_w.id == sa.bindparam("workerid"))
        .with_for_update()
    ),
)
_BUMP = Statement(
    "attach.bump",
    lambda _dialect: (
        sa.update(schema.workers)
        .where(_w.id == sa.bindparam("workerid"))
        .values(
            attachment=_w.attachment + 1,
            masterid=sa.bindparam("to_masterid"),
            connected=1,
            info=sa.bindparam("about"),
            attached_call=sa.bindparam("call"),
            graceful=0,
            version=_w.version + 1,
        )
        .returning(_w.attachment)
    ),
)
_ADOPT = Statement(
    "attach.adopt",
    lambda _dialect: (
        sa.update(schema.workers)
        .where(
            _w.id == sa.bindparam("workerid"),
            _w.attachment == sa.bindparam("of_attachment"),
            _w.masterid == sa.bindparam("of_masterid"),
        )
        .values(boot_id=sa.bindparam("boot"), ledger_id=sa.bindparam("ledger"), version=_w.version + 1)
        .returning(_w.id)
    ),
)
_MOVE_BUILDS = Statement(
    "attach.move_builds",
    lambda _dialect: (
        sa.update(schema.builds)
        .where(
            _b.workerid == sa.bindparam("of_workerid"),
            _b.complete_at.is_(None),
            _b.masterid != sa.bindparam("to_masterid"),
        )
        .values(masterid=sa.bindparam("to_masterid"))
        .returning(_b.buildrequestid)
    ),
)
_MOVE_REQUESTS = Statement(
    "attach.move_requests",
    lambda dialect: (
        sa.update(schema.buildrequests)
        .where(in_set(_r.id, "requestids")(dialect), _r.complete == 0)
        .values(claimed_by=sa.bindparam("to_masterid"), version=_r.version + 1)
    ),
)
_DETACH = Statement(
    "attach.detach",
    lambda _dialect: (
        sa.update(schema.workers)
        .where(
            _w.id == sa.bindparam("workerid"),
            _w.attachment == sa.bindparam("of_attachment"),
            _w.masterid == sa.bindparam("of_masterid"),
        )
        .values(connected=0, version=_w.version + 1)
        .returning(_w.id)
    ),
)

_OPEN = Statement(
    "attach.open_builds",
    lambda _dialect: (
        sa.select(
            _b.id,
            _b.number,
            _b.builderid,
            _b.buildrequestid,
            _b.attempt,
            _b.started_at,
            _b.properties,
            _b.fingerprint,
            _b.pinned,
            _b.version,
            _b.masterid,
        )
        .where(_b.workerid == sa.bindparam("of_workerid"), _b.complete_at.is_(None))
        .order_by(_b.id)
    ),
)
_STEPS = Statement(
    "attach.steps",
    lambda dialect: (
        sa.select(
            _st.id,
            _st.buildid,
            _st.number,
            _st.name,
            _st["try"],
            _st.started_at,
            _st.complete_at,
            _st.results,
            _st.state_string,
            _st.urls,
            _st.hidden,
            _st.fingerprint,
            _st.arguments,
            _st.properties_before,
            _st.foreign_wait,
            _st.added_steps,
        )
        .where(in_set(_st.buildid, "buildids")(dialect))
        .order_by(_st.buildid, _st.number)
    ),
)
_JOURNAL = Statement(
    "attach.journal",
    lambda dialect: (
        sa.select(
            _j.stepid, _j["try"], _j.seq, _j.kind, _j.fingerprint, _j.logid, _j.acked, _j.done, _j.outcome
        )
        .where(in_set(_j.stepid, "stepids")(dialect))
        .order_by(_j.stepid, _j["try"], _j.seq)
    ),
)
_LOGS = Statement(
    "attach.logs",
    lambda dialect: (
        sa.select(
            _l.id,
            _l.stepid,
            _l.name,
            _l.slug,
            _l.type,
            _l.complete,
            _l.num_lines,
            _l.length,
            _l.next_chunk,
            _l.open_lines,
        )
        .where(in_set(_l.stepid, "stepids")(dialect))
        .order_by(_l.id)
    ),
)
_LINGERING = Statement(
    "attach.lingering",
    lambda _dialect: sa.select(_b.id, _b.builderid).where(
        _b.workerid == sa.bindparam("of_workerid"), _b.lingering == 1
    ),
)


def attach(*, workerid: int, masterid: int, term: int, info: str) -> Unit[Attached]:
    """Attach a worker. Raises Fenced when this master's own lease is over."""
    return _attach(workerid, masterid, term, info, key=secrets.token_hex(8))


@unit
def _attach(workerid: int, masterid: int, term: int, info: str, *, key: str) -> Work[Attached]:
    if not (yield _LEASE(of_masterid=masterid, of_term=term)):
        raise Fenced("this master's lease is over")
    ((previous, boot, ledger, paused, graceful, attachment, call),) = yield _HELD(workerid=workerid)
    if call is not None and json.loads(call)[0] == key:
        return Attached(attachment, json.loads(call)[1], boot, ledger, bool(paused), bool(graceful))
    ((attachment,),) = yield _BUMP(
        workerid=workerid, to_masterid=masterid, about=info, call=json.dumps([key, previous])
    )
    moved = yield _MOVE_BUILDS(of_workerid=workerid, to_masterid=masterid)
    if moved:
        yield _MOVE_REQUESTS(requestids=[requestid for (requestid,) in moved], to_masterid=masterid)
    yield Hint("workers", workerid, "connected")
    return Attached(attachment, previous, boot, ledger, bool(paused), bool(graceful))


@unit
def adopt(*, workerid: int, attachment: int, masterid: int, boot: str, ledger: str) -> Work[None]:
    """Note which process of the worker is attached. Raises Fenced when another attachment has followed."""
    if not (
        yield _ADOPT(
            workerid=workerid, of_attachment=attachment, of_masterid=masterid, boot=boot, ledger=ledger
        )
    ):
        raise Fenced("the worker is attached elsewhere")


@unit
def detach(workerid: int, attachment: int, masterid: int) -> Work[bool]:
    """Note that the connection is gone; the attachment stays until another one follows."""
    rows = yield _DETACH(workerid=workerid, of_attachment=attachment, of_masterid=masterid)
    if rows:
        yield Hint("workers", workerid, "disconnected")
    return bool(rows)


def open_builds_work(workerid: int) -> Work[list[OpenBuild]]:
    """The worker's open builds, by id."""
    return [OpenBuild(*row) for row in (yield _OPEN(of_workerid=workerid))]


@unit
def open_builds(workerid: int) -> Work[OpenBuilds]:
    """Read a worker's open builds with all that is needed to go on with them."""
    builds = yield from open_builds_work(workerid)
    if not builds:
        return OpenBuilds([], [], [], [])
    steps = [StepRow(*row) for row in (yield _STEPS(buildids=[build.buildid for build in builds]))]
    replayed = [step.stepid for step in steps if step.complete_at is None or step.added_steps]
    unfinished = [step.stepid for step in steps if step.complete_at is None]
    journal = [Entry(*row) for row in (yield _JOURNAL(stepids=replayed))] if replayed else []
    logs = [LogRow(*row) for row in (yield _LOGS(stepids=unfinished))] if unfinished else []
    return OpenBuilds(builds, steps, journal, logs)


@unit
def lingering_builds(workerid: int) -> Work[list[tuple[int, int]]]:
    """Lost attempts of a worker whose commands aren't known dead: (buildid, builderid)."""
    return list((yield _LINGERING(of_workerid=workerid)))


_TO_WATCH = Statement(
    "attach.builds_to_watch",
    lambda _dialect: (
        sa.select(
            _w.id,
            _w.attachment,
            _w.masterid,
            sa.func.max(sa.case((_b.complete_at.is_(None), 1), else_=0)),
        )
        .select_from(schema.builds.join(schema.workers, _w.id == _b.workerid))
        .where(
            sa.or_(_b.complete_at.is_(None), _b.lingering == sa.literal_column("1")),
            sa.or_(
                _w.masterid == sa.bindparam("of_masterid"),
                _w.masterid.in_(sa.select(_m.id).where(_m.active == sa.literal_column("0"))),
            ),
        )
        .group_by(_w.id, _w.attachment, _w.masterid)
    ),
)


@unit
def builds_to_watch(masterid: int) -> Work[list[tuple[int, int, int, bool]]]:
    """Workers with open or lingering builds that were attached last to this master, or to one that is gone:
    (workerid, attachment, masterid, any open).
    """
    rows = yield _TO_WATCH(of_masterid=masterid)
    return [(*row[:3], bool(row[3])) for row in rows]
