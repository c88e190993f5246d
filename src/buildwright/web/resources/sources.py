"""Source stamps and changes: what is built, and what came in.

The changes of a build are Buildbot's blame list: from the changes of its own source stamps back through their
parents to those that the builder's last successful build of the same branches had. The way back is bounded,
so that a builder that never succeeded doesn't list a repository's whole past."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.web.fields import Condition, Element, decode_json, json_list, number, opaque, seconds, text
from buildwright.web.paths import number as path_number
from buildwright.web.resource import Endpoint, Json, resource
from buildwright.web.resources import changebuilds
from buildwright.web.ways import BUILD as BUILD_WAYS

LONGEST_BLAME = 1000

_s = schema.sourcestamps.c
_p = schema.patches.c
_c = schema.changes.c

_PATCH = (_p.id, _p.level, _p.subdir, _p.author, _p.comment)
STAMP_SOURCE = schema.sourcestamps.outerjoin(schema.patches, _p.id == _s.patchid)
STAMP_COLUMNS: tuple[Element, ...] = (
    _s.id,
    _s.branch,
    _s.revision,
    _s.repository,
    _s.project,
    _s.codebase,
    _s.created_at,
    *_PATCH,
)


def _patch(patchid: int | None, level: Any, subdir: Any, author: Any, comment: Any) -> Json | None:
    if patchid is None:
        return None
    # Buildbot shows no patch's text here either: its bytes become null.
    return {
        "author": author,
        "body": None,
        "comment": comment,
        "level": level,
        "patchid": patchid,
        "subdir": subdir,
    }


def stamp(
    ssid: int,
    branch: Any,
    revision: Any,
    repository: Any,
    project: Any,
    codebase: Any,
    created_at: int,
    *patch: Any,
) -> Json:
    """A source stamp inside another object, from the values of STAMP_COLUMNS."""
    return {
        "branch": branch,
        "codebase": codebase,
        "created_at": created_at // 1_000_000,
        "created_at_us": created_at,
        "patch": _patch(*patch),
        "project": project,
        "repository": repository,
        "revision": revision,
        "ssid": ssid,
    }


SOURCESTAMP = resource(
    "sourcestamp",
    STAMP_SOURCE,
    _s.id,
    number("ssid", _s.id),
    text("branch", _s.branch, nullable=True),
    text("revision", _s.revision, nullable=True),
    text("repository", _s.repository),
    text("project", _s.project),
    text("codebase", _s.codebase),
    opaque("patch", *_PATCH, decode=_patch, type="patch", nullable=True),
    seconds("created_at", _s.created_at),
    null_differs=True,
)

CHANGE = resource(
    "change",
    schema.changes.outerjoin(schema.sourcestamps, _s.id == _c.sourcestampid).outerjoin(
        schema.patches, _p.id == _s.patchid
    ),
    _c.id,
    number("changeid", _c.id),
    opaque(
        "parent_changeids",
        sa.func.coalesce(_c.parent_changeid, 0),
        decode=lambda parent: [parent] if parent else [],
        type="list",
    ),
    text("author", _c.author),
    text("committer", _c.committer, nullable=True),
    json_list("files", _c.files),
    text("comments", _c.comments),
    text("revision", _c.revision, nullable=True),
    seconds("when_timestamp", _c.when_us, type="integer"),
    seconds("received_at", _c.received_at),
    text("branch", _c.branch, nullable=True),
    text("category", _c.category, nullable=True),
    text("revlink", _c.revlink, nullable=True),
    opaque("properties", _c.properties, decode=decode_json, type="sourcedproperties"),
    text("repository", _c.repository),
    text("project", _c.project),
    text("codebase", _c.codebase),
    opaque("sourcestamp", *STAMP_COLUMNS, decode=stamp, type="sourcestamp"),
    changebuilds.of_changes(_c.id),
)


def _blame(buildid: Element) -> Condition:
    """Whether a change is on the blame list of the build with this id."""
    builds, earlier = schema.builds.alias("this_build").c, schema.builds.alias("earlier_build").c
    mine, theirs = _sources("mine"), _sources("theirs")
    this = (
        sa.select(builds.builderid, builds.number, builds.buildrequestid)
        .where(builds.id == buildid)
        .cte("this")
    )
    # The newest earlier success for which no source stamp of this build lacks a fellow of the same branch.
    fellow: sa.Select[Any] = (
        sa.select(sa.literal_column("1"))
        .select_from(theirs[0])
        .where(
            theirs[1].id == earlier.buildrequestid,
            theirs[2].codebase == mine[2].codebase,
            theirs[2].repository == mine[2].repository,
            sa.func.coalesce(theirs[2].branch, "") == sa.func.coalesce(mine[2].branch, ""),
        )
        .correlate_except(*_tables(theirs[0]))
    )
    lacking: sa.Select[Any] = (
        sa.select(sa.literal_column("1"))
        .select_from(mine[0])
        .where(mine[1].id == sa.select(this.c.buildrequestid).scalar_subquery(), ~sa.exists(fellow))
        .correlate_except(*_tables(mine[0]))
    )
    before = (
        sa.select(earlier.buildrequestid)
        .where(
            # As values, not as a join: then the index on (builder, number) is walked back from here.
            earlier.builderid == sa.select(this.c.builderid).scalar_subquery(),
            earlier.number < sa.select(this.c.number).scalar_subquery(),
            earlier.number >= sa.select(this.c.number - LONGEST_BLAME).scalar_subquery(),
            earlier.results == 0,
            ~sa.exists(lacking),
        )
        .order_by(earlier.number.desc())
        .limit(1)
        .cte("before")
    )
    known = _changes_of(sa.select(before.c.buildrequestid), "known").cte("known")
    heads = _changes_of(sa.select(this.c.buildrequestid), "heads").cte("heads")
    start = sa.select(heads.c.changeid, sa.literal_column("1", sa.Integer).label("depth")).where(
        heads.c.changeid.not_in(sa.select(known.c.changeid))
    )
    walk = start.cte("walk", recursive=True)
    child = schema.changes.alias("child").c
    walk = walk.union(
        sa.select(child.parent_changeid, walk.c.depth + 1)
        .select_from(walk)
        .where(
            child.id == walk.c.changeid,
            child.parent_changeid.is_not(None),
            child.parent_changeid.not_in(sa.select(known.c.changeid)),
            walk.c.depth < LONGEST_BLAME,
        )
    )
    return _c.id.in_(sa.select(walk.c.changeid))


def _tables(joined: sa.FromClause) -> list[sa.FromClause]:
    """What a join is made of: these are the query's own, all else comes from around it."""
    if isinstance(joined, sa.Join):
        return [*_tables(joined.left), *_tables(joined.right)]
    return [joined]


def _sources(name: str) -> tuple[sa.FromClause, Any, Any]:
    """Requests with their source stamps, under names of their own."""
    requests = schema.buildrequests.alias(f"{name}_request")
    links = schema.buildset_sourcestamps.alias(f"{name}_link")
    stamps = schema.sourcestamps.alias(f"{name}_stamp")
    joined = requests.join(links, links.c.buildsetid == requests.c.buildsetid).join(
        stamps, stamps.c.id == links.c.sourcestampid
    )
    return joined, requests.c, stamps.c


def _changes_of(requests: Any, name: str) -> Any:
    """The changes of requests: those that made the buildset, and those of its source stamps."""
    request = schema.buildrequests.alias(f"{name}_request").c
    links = schema.buildset_sourcestamps.alias(f"{name}_link").c
    causes = schema.buildset_changes.alias(f"{name}_cause").c
    changes = schema.changes.alias(f"{name}_change").c
    return sa.union(
        sa.select(changes.id.label("changeid")).where(
            request.id.in_(requests),
            links.buildsetid == request.buildsetid,
            changes.sourcestampid == links.sourcestampid,
        ),
        sa.select(causes.changeid).where(request.id.in_(requests), causes.buildsetid == request.buildsetid),
    )


_of_buildset = _s.id.in_(
    sa.select(schema.buildset_sourcestamps.c.sourcestampid).where(
        schema.buildset_sourcestamps.c.buildsetid == path_number("buildsetid")
    )
)

ENDPOINTS = [
    Endpoint("/sourcestamps", SOURCESTAMP, True),
    Endpoint("/sourcestamps/n:ssid", SOURCESTAMP, False, _s.id == path_number("ssid")),
    Endpoint("/buildsets/n:buildsetid/sourcestamps", SOURCESTAMP, True, _of_buildset),
    Endpoint("/changes", CHANGE, True),
    Endpoint("/changes/n:changeid", CHANGE, False, _c.id == path_number("changeid")),
    Endpoint("/sourcestamps/n:ssid/changes", CHANGE, True, _c.sourcestampid == path_number("ssid")),
    *(Endpoint(f"{path}/changes", CHANGE, True, _blame(buildid)) for path, buildid in BUILD_WAYS),
]
