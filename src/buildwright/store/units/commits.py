"""Commits and branches of codebases: what a change source saw, for whoever compares builds along them.

A commit is stored once per codebase, after its parent: so its id is greater than its parent's, and a way
along parents always leads to smaller ids. It knows its first parent, if that was seen. A branch points to the
commit that it was last seen at; one that is gone stays where it was.

Several pollers may see the same commits at the same time, in different orders. The codebase's row is locked
before its commits are looked for, so that they come one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.unit import Hint, Statement, Work, in_set, insert, unit

_cb = schema.codebases.c
_c = schema.codebase_commits.c
_b = schema.codebase_branches.c


class SeenCommit(NamedTuple):
    """A commit; ``parent`` is its first parent's revision."""

    revision: str
    author: str
    committer: str | None
    comments: str
    when_us: int
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a codebase: commits, parents before their children, and what branches point to."""

    codebase: str
    project: str  # empty: whichever has a codebase of that name, if only one has
    commits: Sequence[SeenCommit] = ()
    branches: Sequence[tuple[str, str]] = ()  # name, revision


class Range(NamedTuple):
    """The way between two commits: their nearest common ancestor, and the ids from each of them down to it,
    without it.
    """

    common: int
    to1: list[int]
    to2: list[int]


FIND = Statement(
    "commits.find_codebase",
    lambda _dialect: (
        sa.select(_cb.id)
        .join(schema.projects, schema.projects.c.id == _cb.projectid)
        .where(
            _cb.name == sa.bindparam("of_name"),
            sa.or_(
                schema.projects.c.name == sa.bindparam("of_project"),
                sa.bindparam("any_project", type_=sa.Integer) == 1,
            ),
        )
        .order_by(_cb.id)
    ),
)
LOCK = Statement(
    "commits.lock_codebase",
    lambda _dialect: sa.select(_cb.id).where(_cb.id == sa.bindparam("of")).with_for_update(),
)
KNOWN = Statement(
    "commits.known",
    lambda dialect: sa.select(_c.revision, _c.id).where(
        _c.codebaseid == sa.bindparam("of"), in_set(_c.revision, "revisions")(dialect)
    ),
)
ADD = Statement(
    "commits.add",
    lambda _dialect: (
        sa.insert(schema.codebase_commits)
        .values(
            codebaseid=sa.bindparam("codebaseid"),
            revision=sa.bindparam("revision"),
            author=sa.bindparam("author"),
            committer=sa.bindparam("committer"),
            comments=sa.bindparam("comments"),
            when_us=sa.bindparam("when_us"),
            parent_commitid=sa.bindparam("parent_commitid"),
        )
        .returning(_c.id)
    ),
)
BRANCHES = Statement(
    "commits.branches",
    lambda dialect: sa.select(_b.name, _b.id, _b.commitid).where(
        _b.codebaseid == sa.bindparam("of"), in_set(_b.name, "names")(dialect)
    ),
)
ADD_BRANCH = Statement(
    "commits.add_branch",
    lambda dialect: (
        insert(dialect, schema.codebase_branches)
        .values(
            codebaseid=sa.bindparam("codebaseid"),
            name=sa.bindparam("name"),
            commitid=sa.bindparam("commitid"),
            last_us=sa.bindparam("last_us"),
        )
        .returning(_b.id)
    ),
)
MOVE_BRANCH = Statement(
    "commits.move_branch",
    lambda _dialect: (
        sa.update(schema.codebase_branches)
        .where(_b.id == sa.bindparam("of"))
        .values(commitid=sa.bindparam("to_commit"), last_us=sa.bindparam("to_us"))
    ),
)


def see_work(seen: Seen, now_us: int) -> Work[None]:
    """Part of a unit, its last: store what was seen, as far as it is new. Nothing, if there is no such
    codebase, or more than one.
    """
    found = yield FIND(of_name=seen.codebase, of_project=seen.project, any_project=int(not seen.project))
    if len(found) != 1:
        return
    codebaseid = int(found[0][0])
    yield LOCK(of=codebaseid)
    wanted = {commit.revision for commit in seen.commits} | {revision for _, revision in seen.branches}
    wanted |= {commit.parent for commit in seen.commits if commit.parent is not None}
    known: dict[str, int] = dict((yield KNOWN(of=codebaseid, revisions=sorted(wanted))))
    for commit in seen.commits:
        if commit.revision in known:
            continue
        [(commitid,)] = yield ADD(
            codebaseid=codebaseid,
            revision=commit.revision,
            author=commit.author,
            committer=commit.committer,
            comments=commit.comments,
            when_us=commit.when_us,
            parent_commitid=None if commit.parent is None else known.get(commit.parent),
        )
        known[commit.revision] = int(commitid)
        yield Hint("commits", int(commitid), "new")
    yield from _move_branches(codebaseid, seen.branches, known, now_us)


def _move_branches(
    codebaseid: int, branches: Sequence[tuple[str, str]], commits: dict[str, int], now_us: int
) -> Work[None]:
    heads = {name: commits[revision] for name, revision in branches if revision in commits}
    if not heads:
        return
    rows = yield BRANCHES(of=codebaseid, names=sorted(heads))
    known = {name: (branchid, commitid) for name, branchid, commitid in rows}
    for name, commitid in sorted(heads.items()):
        if name not in known:
            [(branchid,)] = yield ADD_BRANCH(
                codebaseid=codebaseid, name=name, commitid=commitid, last_us=now_us
            )
            yield Hint("branches", int(branchid), "new")
        elif known[name][1] != commitid:
            yield MOVE_BRANCH(of=known[name][0], to_commit=commitid, to_us=now_us)
            yield Hint("branches", int(known[name][0]), "update")


# -- the way between two commits --------------------------------------------------------------------------


def way_of(
    codebaseid: sa.ColumnElement[int], first: sa.ColumnElement[int], second: sa.ColumnElement[int]
) -> sa.CTE:
    """The way from two commits to their nearest common ancestor, as pairs ``at1`` and ``at2``: from one to
    the next pair, the greater of the two went to its parent. It ends with equals, if they have an ancestor.
    """
    one, two = (schema.codebase_commits.alias(name).c for name in ("commit1", "commit2"))
    start = sa.select(one.id.label("at1"), two.id.label("at2")).where(
        one.id == first, one.codebaseid == codebaseid, two.id == second, two.codebaseid == codebaseid
    )
    way = start.cte("way", recursive=True)
    step = schema.codebase_commits.alias("step").c
    greater = sa.case((way.c.at1 > way.c.at2, way.c.at1), else_=way.c.at2)
    return way.union_all(
        sa.select(
            sa.case((way.c.at1 > way.c.at2, step.parent_commitid), else_=way.c.at1),
            sa.case((way.c.at1 > way.c.at2, way.c.at2), else_=step.parent_commitid),
        )
        .select_from(way)
        .where(step.id == greater, way.c.at1 != way.c.at2, step.parent_commitid.is_not(None))
    )


def _way(_dialect: str) -> sa.Select[tuple[int, int]]:
    names = ("codebaseid", "commitid1", "commitid2")
    way = way_of(*(sa.bindparam(name, type_=sa.BigInteger) for name in names))
    return sa.select(way.c.at1, way.c.at2)


WAY = Statement("commits.way", _way)


@unit
def commit_range(codebaseid: int, commitid1: int, commitid2: int) -> Work[Range | None]:
    """A read: the way between two commits of a codebase; None if they aren't there, or have no common
    ancestor.
    """
    rows = yield WAY(codebaseid=codebaseid, commitid1=commitid1, commitid2=commitid2)
    common = next((at1 for at1, at2 in rows if at1 == at2), None)
    if common is None:
        return None
    to1, to2 = (sorted({row[side] for row in rows} - {common}, reverse=True) for side in (0, 1))
    return Range(int(common), to1, to2)
