"""What a configuration names, as rows: builders, workers, projects, codebases; and which master has them.

Rows are found by name and never deleted: history refers to them. What a master no longer has is only taken
off it. New rows are inserted in the order of their names and changed ones in that of their ids, so that two
masters that come at the same time never wait for each other's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.unit import Hint, Statement, Work, in_set, insert, unit

_b = schema.builders.c
_w = schema.workers.c
_p = schema.projects.c
_cb = schema.codebases.c
_bm = schema.builder_masters.c
_cw = schema.configured_workers.c


class BuilderRow(NamedTuple):
    """A configured builder as it is stored; ``tags`` is JSON."""

    name: str
    description: str | None
    description_format: str | None
    tags: str
    project: str | None
    workers: tuple[str, ...]


class ProjectRow(NamedTuple):
    """A project as it is stored."""

    name: str
    slug: str
    description: str | None = None
    description_format: str | None = None


class CodebaseRow(NamedTuple):
    """A configured codebase as it is stored."""

    project: str
    name: str
    slug: str


_FIND_BUILDERS = Statement(
    "registry.find_builders",
    lambda _dialect: sa.select(_b.id, _b.name, _b.description, _b.description_format, _b.tags, _b.projectid),
)
_ADD_BUILDER = Statement(
    "registry.add_builder",
    lambda dialect: (
        insert(dialect, schema.builders)
        .values(name=sa.bindparam("name"))
        .on_conflict_do_nothing(index_elements=["name"])
    ),
)
_CHANGE_BUILDER = Statement(
    "registry.change_builder",
    lambda _dialect: (
        sa.update(schema.builders)
        .where(_b.id == sa.bindparam("of"))
        .values(
            description=sa.bindparam("to_description"),
            description_format=sa.bindparam("to_format"),
            tags=sa.bindparam("to_tags"),
            projectid=sa.bindparam("to_project"),
            version=_b.version + 1,
        )
    ),
)
_FIND_WORKERS = Statement("registry.find_workers", lambda _dialect: sa.select(_w.id, _w.name))
_ADD_WORKER = Statement(
    "registry.add_worker",
    lambda dialect: (
        insert(dialect, schema.workers)
        .values(name=sa.bindparam("name"))
        .on_conflict_do_nothing(index_elements=["name"])
    ),
)
_FIND_PROJECTS = Statement(
    "registry.find_projects",
    lambda _dialect: sa.select(_p.id, _p.name, _p.slug, _p.description, _p.description_format),
)
_ADD_PROJECT = Statement(
    "registry.add_project",
    lambda dialect: (
        insert(dialect, schema.projects)
        .values(name=sa.bindparam("name"))
        .on_conflict_do_nothing(index_elements=["name"])
    ),
)
_CHANGE_PROJECT = Statement(
    "registry.change_project",
    lambda _dialect: (
        sa.update(schema.projects)
        .where(_p.id == sa.bindparam("of"))
        .values(
            slug=sa.bindparam("to_slug"),
            description=sa.bindparam("to_description"),
            description_format=sa.bindparam("to_format"),
        )
    ),
)
_FIND_CODEBASES = Statement(
    "registry.find_codebases", lambda _dialect: sa.select(_cb.id, _cb.projectid, _cb.name, _cb.slug)
)
_ADD_CODEBASE = Statement(
    "registry.add_codebase",
    lambda dialect: (
        insert(dialect, schema.codebases)
        .values(projectid=sa.bindparam("projectid"), name=sa.bindparam("name"))
        .on_conflict_do_nothing(index_elements=["projectid", "name"])
    ),
)
_CHANGE_CODEBASE = Statement(
    "registry.change_codebase",
    lambda _dialect: (
        sa.update(schema.codebases).where(_cb.id == sa.bindparam("of")).values(slug=sa.bindparam("to_slug"))
    ),
)
_HELD = Statement(
    "registry.held",
    lambda _dialect: sa.select(_bm.builderid).where(_bm.masterid == sa.bindparam("of_masterid")),
)
_HOLD = Statement("registry.hold", lambda _dialect: sa.insert(schema.builder_masters))
_LET_GO = Statement(
    "registry.let_go",
    lambda dialect: sa.delete(schema.builder_masters).where(
        _bm.masterid == sa.bindparam("of_masterid"), in_set(_bm.builderid, "builderids")(dialect)
    ),
)
_CONFIGURED = Statement(
    "registry.configured",
    lambda _dialect: sa.select(_cw.builderid, _cw.workerid).where(
        _cw.masterid == sa.bindparam("of_masterid")
    ),
)
_CONFIGURE = Statement("registry.configure", lambda _dialect: sa.insert(schema.configured_workers))
_UNCONFIGURE = Statement(
    "registry.unconfigure",
    lambda _dialect: sa.delete(schema.configured_workers).where(
        _cw.masterid == sa.bindparam("of_masterid"),
        _cw.builderid == sa.bindparam("of_builderid"),
        _cw.workerid == sa.bindparam("of_workerid"),
    ),
)


class Ids(NamedTuple):
    """Ids by name."""

    builders: dict[str, int]
    workers: dict[str, int]
    projects: dict[str, int]


@unit
def register(
    masterid: int,
    builders: Sequence[BuilderRow],
    workers: Sequence[str],
    projects: Sequence[ProjectRow] = (),
    codebases: Sequence[CodebaseRow] = (),
) -> Work[Ids]:
    """Store what this master's configuration names; gives the ids. Writes only what differs."""
    project_ids = yield from _register_projects(projects)
    yield from _register_codebases(codebases, project_ids)
    worker_ids = yield from _named(_FIND_WORKERS, _ADD_WORKER, workers)
    known = yield _FIND_BUILDERS()
    names = {row[1] for row in known}
    new = sorted({builder.name for builder in builders} - names)
    if new:
        yield _ADD_BUILDER.many({"name": name} for name in new)
        known = yield _FIND_BUILDERS()
    rows = {row[1]: row for row in known}
    changed = []
    for builder in builders:
        row = rows[builder.name]
        projectid = project_ids.get(builder.project) if builder.project else None
        if tuple(row[2:]) != (builder.description, builder.description_format, builder.tags, projectid):
            changed.append(
                {
                    "of": row[0],
                    "to_description": builder.description,
                    "to_format": builder.description_format,
                    "to_tags": builder.tags,
                    "to_project": projectid,
                }
            )
    if changed:
        changed.sort(key=lambda change: change["of"])
        yield _CHANGE_BUILDER.many(changed)
        for change in changed:
            yield Hint("builders", change["of"], "update")
    builder_ids = {builder.name: int(rows[builder.name][0]) for builder in builders}
    yield from _assign(masterid, builders, builder_ids, worker_ids)
    return Ids(builder_ids, {name: worker_ids[name] for name in workers}, project_ids)


def _register_projects(projects: Sequence[ProjectRow]) -> Work[dict[str, int]]:
    if not projects:
        return {}
    known = {row[1]: tuple(row) for row in (yield _FIND_PROJECTS())}
    new = sorted({project.name for project in projects} - set(known))
    if new:
        yield _ADD_PROJECT.many({"name": name} for name in new)
        known = {row[1]: tuple(row) for row in (yield _FIND_PROJECTS())}
    wanted = {int(known[project.name][0]): project for project in projects}
    changed = [each for each, project in sorted(wanted.items()) if known[project.name][1:] != tuple(project)]
    if changed:
        yield _CHANGE_PROJECT.many(
            {
                "of": each,
                "to_slug": wanted[each].slug,
                "to_description": wanted[each].description,
                "to_format": wanted[each].description_format,
            }
            for each in changed
        )
    for each in changed:
        yield Hint("projects", each, "new" if wanted[each].name in new else "update")
    return {project.name: each for each, project in wanted.items()}


def _register_codebases(codebases: Sequence[CodebaseRow], projects: dict[str, int]) -> Work[None]:
    if not codebases:
        return
    wanted = {(projects[each.project], each.name): each.slug for each in codebases}
    known = {(row[1], row[2]): (row[0], row[3]) for row in (yield _FIND_CODEBASES())}
    new = sorted(set(wanted) - set(known))
    if new:
        yield _ADD_CODEBASE.many({"projectid": projectid, "name": name} for projectid, name in new)
        known = {(row[1], row[2]): (row[0], row[3]) for row in (yield _FIND_CODEBASES())}
    changed = sorted((known[key][0], key) for key, slug in wanted.items() if known[key][1] != slug)
    if changed:
        yield _CHANGE_CODEBASE.many({"of": each, "to_slug": wanted[key]} for each, key in changed)
    for each, key in changed:
        yield Hint("codebases", each, "new" if key in new else "update")


def _assign(
    masterid: int, builders: Sequence[BuilderRow], builder_ids: dict[str, int], worker_ids: dict[str, int]
) -> Work[None]:
    """Say which builders and which of their workers this master has."""
    held = {row[0] for row in (yield _HELD(of_masterid=masterid))}
    wanted = set(builder_ids.values())
    started, stopped = sorted(wanted - held), sorted(held - wanted)
    if started:
        yield _HOLD.many([{"builderid": builderid, "masterid": masterid} for builderid in started])
    if stopped:
        yield _LET_GO(of_masterid=masterid, builderids=stopped)
    pairs = {tuple(row) for row in (yield _CONFIGURED(of_masterid=masterid))}
    wished = {
        (builder_ids[builder.name], worker_ids[name])
        for builder in builders
        for name in builder.workers
        if name in worker_ids
    }
    more, less = sorted(wished - pairs), sorted(pairs - wished)
    if more:
        yield _CONFIGURE.many(
            [{"builderid": builder, "masterid": masterid, "workerid": worker} for builder, worker in more]
        )
    if less:
        yield _UNCONFIGURE.many(
            [
                {"of_masterid": masterid, "of_builderid": builder, "of_workerid": worker}
                for builder, worker in less
            ]
        )
    for builderid in started:
        yield Hint("builders", builderid, "started")
    for builderid in stopped:
        yield Hint("builders", builderid, "stopped")


def _named(find: Statement, add: Statement, names: Iterable[str]) -> Work[dict[str, int]]:
    known = {name: int(row_id) for row_id, name in (yield find())}
    new = sorted(set(names) - set(known))
    if new:
        yield add.many({"name": name} for name in new)
        known = {name: int(row_id) for row_id, name in (yield find())}
    return known


_WISHES = Statement(
    "registry.wishes",
    lambda dialect: sa.select(_w.id, _w.paused, _w.graceful, _w.attachment).where(
        in_set(_w.id, "workerids")(dialect)
    ),
)


@unit
def worker_wishes(workerids: Sequence[int]) -> Work[list[tuple[int, int, int, int]]]:
    """What was asked of some workers, and their attachment: (workerid, paused, graceful, attachment)."""
    return list((yield _WISHES(workerids=workerids)))
