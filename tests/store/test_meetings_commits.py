"""Pollers that see the same commits of a codebase at the same time meet on PostgreSQL, at every statement."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.base import Store
from buildwright.store.unit import Unit, unit
from buildwright.store.units.commits import Seen, SeenCommit, see_work
from buildwright.store.units.registry import CodebaseRow, ProjectRow, register
from tests.store.scenes import NOW, World, both_ways
from tests.support.stores import started


@pytest.fixture
async def store(postgres_store_url: str) -> AsyncIterator[Store]:
    async with started(postgres_store_url) as store:
        yield store


def commit(revision: str, parent: str | None = None) -> SeenCommit:
    return SeenCommit(revision, "me", None, "", 0, parent)


async def test_two_that_see_the_same_in_another_order(store: Store, postgres_store_url: str) -> None:
    """Each commit is there once, after its parent; and none loses a deadlock."""
    world = World.on(store)
    see = unit(see_work)

    async def scene() -> tuple[Unit[Any], Unit[Any], str]:
        name = world.name("codebase")
        await store.run(register(1, [], [], [ProjectRow("p", "p")], [CodebaseRow("p", name, name)]))
        left, right = commit("left", "base"), commit("right", "base")
        first = Seen(name, "p", [commit("base"), left, right], [("main", "left"), ("side", "right")])
        second = Seen(name, "p", [commit("base"), right, left], [("side", "right"), ("main", "left")])
        return see(first, NOW), see(second, NOW), name

    met = await both_ways(postgres_store_url, world, scene)
    assert len(met) > 10
    codebases, commits, branches = schema.codebases.c, schema.codebase_commits.c, schema.codebase_branches.c
    parents = schema.codebase_commits.alias().c
    for each in met:
        assert each.a.error is None, each.order
        assert each.b.error is None, each.order
        of = sa.select(codebases.id).where(codebases.name == each.memory).scalar_subquery()
        rows = await store.fetch(
            sa.select(commits.revision, parents.revision, commits.id > parents.id)
            .outerjoin(parents.id.table, parents.id == commits.parent_commitid)
            .where(commits.codebaseid == of)
        )
        assert sorted(rows) == [("base", None, None), ("left", "base", True), ("right", "base", True)]
        heads = await store.fetch(
            sa.select(branches.name, commits.revision)
            .join(commits.id.table, commits.id == branches.commitid)
            .where(branches.codebaseid == of)
        )
        assert sorted(heads) == [("main", "left"), ("side", "right")]
