"""The history of codebases: commits, branches, the way between two commits, and test results along it.

A way goes along first parents, as far as commits were seen: down from both to their nearest common ancestor.
Its test results are those of builds whose sources have one of its commits, both ends and the ancestor among
them.
"""

from __future__ import annotations

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.units.commits import commit_range, way_of
from buildwright.web.fields import Condition, number, seconds, text
from buildwright.web.paths import Params
from buildwright.web.paths import number as path_number
from buildwright.web.paths import text as path_text
from buildwright.web.resource import Computed, Endpoint, Json, resource
from buildwright.web.resources.leftovers import TEST_RESULT_SET
from buildwright.web.services import WebServices

_c = schema.codebase_commits.c
_b = schema.codebase_branches.c
_RANGE = "/codebases/n:codebaseid/commit_range/n:commitid1/n:commitid2"

COMMIT = resource(
    "commit",
    schema.codebase_commits,
    _c.id,
    number("commitid", _c.id),
    number("codebaseid", _c.codebaseid),
    text("author", _c.author),
    text("committer", _c.committer, nullable=True),
    text("comments", _c.comments),
    seconds("when_timestamp", _c.when_us, type="integer"),
    text("revision", _c.revision),
    number("parent_commitid", _c.parent_commitid, nullable=True),
)

BRANCH = resource(
    "branch",
    schema.codebase_branches,
    _b.id,
    number("branchid", _b.id),
    number("codebaseid", _b.codebaseid),
    text("name", _b.name),
    number("commitid", _b.commitid),
    seconds("last_timestamp", _b.last_us, type="integer"),
    plural="branches",
)


async def _graph(services: WebServices, params: Params) -> list[Json] | None:
    names = ("codebaseid", "commitid1", "commitid2")
    found = await services.store.browse(commit_range(*(int(params[name]) for name in names)))
    return None if found is None else [found._asdict()]


def _along() -> Condition:
    """Whether the set is of a build whose sources have a commit of the way, its ends among them."""
    builds, requests = schema.builds.alias("built").c, schema.buildrequests.alias("asked").c
    links, stamps = schema.buildset_sourcestamps.alias("link").c, schema.sourcestamps.alias("stamp").c
    commits, codebases = schema.codebase_commits.alias("passed").c, schema.codebases.alias("of").c
    way = way_of(*(path_number(name) for name in ("codebaseid", "commitid1", "commitid2")))
    passed = sa.union(sa.select(way.c.at1), sa.select(way.c.at2))
    return schema.test_result_sets.c.buildid.in_(
        sa.select(builds.id).where(
            commits.id.in_(passed),
            codebases.id == commits.codebaseid,
            stamps.revision == commits.revision,
            stamps.codebase == codebases.name,
            links.sourcestampid == stamps.id,
            requests.buildsetid == links.buildsetid,
            builds.buildrequestid == requests.id,
        )
    )


ENDPOINTS = [
    Endpoint("/commits/n:commitid", COMMIT, False, _c.id == path_number("commitid")),
    Endpoint(
        "/codebases/n:codebaseid/commits_by_revision/s:revision",
        COMMIT,
        False,
        sa.and_(_c.codebaseid == path_number("codebaseid"), _c.revision == path_text("revision")),
    ),
    Endpoint("/codebases/n:codebaseid/commits", COMMIT, True, _c.codebaseid == path_number("codebaseid")),
    Endpoint("/branches/n:branchid", BRANCH, False, _b.id == path_number("branchid")),
    Endpoint("/codebases/n:codebaseid/branches", BRANCH, True, _b.codebaseid == path_number("codebaseid")),
    Computed(
        f"{_RANGE}/commits_common_parent",
        "commit_graph",
        "commit_graphs",
        False,
        _graph,
        {"common": "integer", "to1": "list", "to2": "list"},
    ),
    Endpoint(f"{_RANGE}/test_result_sets", TEST_RESULT_SET, True, _along()),
]
