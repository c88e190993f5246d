"""What became of changes: the newest build of each builder for each change, as a field of changes that is
there when it is asked for.

One statement serves all changes of an answer, so that a page of thirty changes and a hundred builders is one
request. A build belongs to a change if it builds the change's source stamp, or if its buildset was made for
the change among others: these are the builds at ``/changes/N/builds``, without the older ones of a builder
that built a change again."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.sql.base import Executable

from buildwright.store import schema
from buildwright.store.unit import Row, Statement, in_set
from buildwright.web.fields import Derived, Element
from buildwright.web.resource import Json

_b = schema.builds.c


def _newest(dialect: str) -> Executable:
    changes, sources = schema.changes.c, schema.buildset_sourcestamps.c
    causes, requests = schema.buildset_changes.c, schema.buildrequests.c
    made = sa.union(
        sa.select(changes.id.label("changeid"), sources.buildsetid).where(
            in_set(changes.id, "ids")(dialect), sources.sourcestampid == changes.sourcestampid
        ),
        sa.select(causes.changeid, causes.buildsetid).where(in_set(causes.changeid, "ids")(dialect)),
    ).subquery("made")
    built = schema.builds.alias("built").c
    newest = (
        sa.select(made.c.changeid, sa.func.max(built.id).label("buildid"))
        .where(requests.buildsetid == made.c.buildsetid, built.buildrequestid == requests.id)
        .group_by(made.c.changeid, built.builderid)
        .subquery("newest")
    )
    return (
        sa.select(
            newest.c.changeid,
            _b.id,
            _b.number,
            _b.builderid,
            _b.started_at,
            _b.complete_at,
            _b.results,
            _b.state_string,
        )
        .where(_b.id == newest.c.buildid)
        .order_by(newest.c.changeid, _b.builderid)
    )


def _build(row: Row) -> Json:
    buildid, number, builderid, started_at, complete_at, results, state_string = row
    return {
        "builderid": builderid,
        "buildid": buildid,
        "complete": complete_at is not None,
        "complete_at_us": complete_at,
        "number": number,
        "results": results,
        "started_at_us": started_at,
        "state_string": state_string,
    }


_NEWEST = Statement("api_builds_of_changes", _newest)


def of_changes(key: Element) -> Derived:
    """The field of changes."""
    return Derived(
        "builds",
        (key,),
        "list",
        spec={"type": "list", "of": {"name": "build"}},
        rows=_NEWEST,
        collect=lambda rows: [_build(row) for row in rows],
        on_request=True,
    )
