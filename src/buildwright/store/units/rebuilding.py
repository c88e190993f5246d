"""What a build can leave out that goes on from where another one has failed.

The other build's steps count as done up to the first that has not succeeded, provided that nothing can have
touched the work directory since: it was of the same builder on the same worker, and no build of that builder
has been there in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from buildwright.model.results import SKIPPED, SUCCESS
from buildwright.store import schema
from buildwright.store.unit import Statement, Work, unit

_b = schema.builds.c
_s = schema.steps.c


class Done(NamedTuple):
    """What is done already."""

    number: int  # of the build that has done it
    fingerprints: Sequence[str]  # of its steps, from the first one on
    properties: str  # as they were when the next one began, JSON


READ_BUILD = Statement(
    "rebuilding.build",
    lambda _dialect: sa.select(_b.builderid, _b.workerid, _b.number, _b.complete_at, _b.properties).where(
        _b.id == sa.bindparam("of_buildid")
    ),
)
BETWEEN = Statement(
    "rebuilding.between",
    lambda _dialect: (
        sa.select(_b.id)
        .where(
            _b.builderid == sa.bindparam("of_builderid"),
            _b.number > sa.bindparam("after"),
            _b.number < sa.bindparam("before"),
            _b.workerid == sa.bindparam("of_workerid"),
        )
        .limit(sa.literal_column("1"))
    ),
)
READ_STEPS = Statement(
    "rebuilding.steps",
    lambda _dialect: (
        sa.select(_s.number, _s.results, _s.fingerprint, _s.added_steps, _s.properties_before)
        .where(_s.buildid == sa.bindparam("of_buildid"))
        .order_by(_s.number)
    ),
)


@unit
def what_is_done(buildid: int, of_buildid: int) -> Work[Done | str]:
    """A read: what the build ``of_buildid`` has done for ``buildid``; text: nothing that counts, and why."""
    mine = yield READ_BUILD(of_buildid=buildid)
    theirs = yield READ_BUILD(of_buildid=of_buildid)
    if not mine or not theirs or theirs[0][3] is None:
        return "the build that failed isn't there any more"
    builderid, workerid, before, _, _ = mine[0]
    other_builderid, other_workerid, number, _, properties = theirs[0]
    if (builderid, workerid) != (other_builderid, other_workerid):
        return "another worker has it"
    if (yield BETWEEN(of_builderid=builderid, of_workerid=workerid, after=number, before=before)):
        return f"another build has used the work directory since build {number}"
    steps = yield READ_STEPS(of_buildid=of_buildid)
    done: list[str] = []
    for at, (_, results, fingerprint, added, _) in enumerate(steps):
        if results not in (SUCCESS, SKIPPED) or added or steps[at][0] != at:
            break
        done.append(fingerprint or "")
    kept = next((row[4] for row in steps[len(done) :] if row[4] is not None), properties)
    return Done(number, done, kept)
