"""Ending attempts without their worker: it was away beyond the grace, or its process died.

The requests are queued again (RETRY), within their bound. An attempt whose commands may still run lingers:
slot, work directory and locks stay with it until the worker says that they are dead, or its dead-man limit
has passed.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from buildwright.logs.append import finish
from buildwright.store import schema
from buildwright.store.unit import Fenced, Hint, Statement, Work, unit
from buildwright.store.units.attach import open_builds_work
from buildwright.store.units.engine import CLOSE_STEPS
from buildwright.store.units.finishing import finish_build_work
from buildwright.store.units.logs import finish_work, step_logs_work
from buildwright.store.units.testresults import complete_sets_work

_w = schema.workers.c

_HOLD = Statement(
    "losing.hold",
    lambda _dialect: (
        sa.select(_w.id)
        .where(
            _w.id == sa.bindparam("of_workerid"),
            _w.attachment == sa.bindparam("of_attachment"),
            _w.masterid == sa.bindparam("of_masterid"),
        )
        .with_for_update()
    ),
)
_RAISE = Statement(
    "losing.raise",
    lambda _dialect: (
        sa.update(schema.workers)
        .where(_w.id == sa.bindparam("workerid"))
        .values(attachment=_w.attachment + 1, connected=0, version=_w.version + 1)
    ),
)
_FORGET_JOURNALS = Statement(
    "losing.forget_journals",
    lambda _dialect: sa.delete(schema.journal).where(
        schema.journal.c.stepid.in_(
            sa.select(schema.steps.c.id).where(schema.steps.c.buildid == sa.bindparam("of_buildid"))
        )
    ),
)


@unit
def lose_builds(
    *,
    workerid: int,
    attachment: int,
    masterid: int,
    buildids: Sequence[int] | None,
    results: int,
    why: str,
    lingering: bool,
    now_us: int,
    keep_logs_up_to: int | None = None,
) -> Work[int]:
    """End a worker's open builds (or those named) without it: by default their requests are queued again.

    Counts the attachment up, so that whatever still thinks it drives them is fenced. Gives how many were
    ended.
    """
    if not (yield _HOLD(of_workerid=workerid, of_attachment=attachment, of_masterid=masterid)):
        raise Fenced("the worker is attached elsewhere")
    if buildids is None:
        yield _RAISE(workerid=workerid)
    ended = 0
    for build in (yield from open_builds_work(workerid)):
        if buildids is not None and build.buildid not in buildids:
            continue
        closed = yield CLOSE_STEPS(of_buildid=build.buildid, now_us=now_us, state=why)
        for (stepid,) in closed:
            for log in (yield from step_logs_work(stepid)):
                if not log.complete:
                    chunks, state = finish(log.state, now_us)
                    yield from finish_work(log.id, log.next_chunk, chunks, state, keep_logs_up_to)
            yield Hint("steps", stepid, "finished")
        yield from complete_sets_work(build.buildid)
        yield _FORGET_JOURNALS(of_buildid=build.buildid)
        yield from finish_build_work(
            buildid=build.buildid,
            requestid=build.requestid,
            results=results,
            state_string=why,
            lingering=lingering and bool(closed),
            holds_locks=True,
            now_us=now_us,
        )
        ended += 1
    return ended
