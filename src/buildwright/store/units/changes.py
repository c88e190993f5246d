"""Changes: taken once, told to every scheduler that wants them, together with what their source remembers.

A change that carries an identity (a poller's source, repository, branch and revision; a hook's delivery)
is stored once: whoever brings it again gets the first one's id. A change and its rows in the schedulers'
inboxes are one unit, so what is acknowledged will be acted on (P1). Inboxes are needed because ids don't
become visible in their order on PostgreSQL: "what is new" can't be asked by id.

A poller's state moves in the same unit (`take_poll`), compared with the version it was read at: a poll
that was interrupted anywhere has either happened, with all its changes, or will be done again. Who polls
is a matter of economy only (`try_take_source`): two that do so are kept apart by version and identity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import sqlalchemy as sa

from buildwright.model.text import encode_json, storable
from buildwright.store import schema
from buildwright.store.unit import Hint, Statement, Work, in_set, insert, unit
from buildwright.store.units.buildsets import encode_properties
from buildwright.store.units.commits import Seen, see_work
from buildwright.store.units.sourcestamps import sourcestamp_ids

_changes = schema.changes
_sources = schema.changesources
_COLUMNS = (
    "identity",
    "author",
    "committer",
    "comments",
    "branch",
    "revision",
    "revlink",
    "when_us",
    "received_at",
    "category",
    "repository",
    "codebase",
    "project",
    "files",
    "properties",
    "sourcestampid",
)


@dataclass(frozen=True, slots=True)
class NewChange:
    """A change as it comes in."""

    author: str
    comments: str = ""
    branch: str | None = None
    revision: str | None = None
    revlink: str | None = None
    when_us: int | None = None  # None: now
    category: str | None = None
    repository: str = ""
    codebase: str = ""
    project: str = ""
    committer: str | None = None
    files: Sequence[str] = ()
    properties: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    identity: str | None = None  # taken once


class Taken(NamedTuple):
    """A change's id, and whether it is new."""

    changeid: int
    new: bool


KNOWN = Statement(
    "changes.known",
    lambda dialect: sa.select(_changes.c.identity, _changes.c.id).where(
        in_set(_changes.c.identity, "identities")(dialect)
    ),
)
ADD = Statement(
    "changes.add",
    lambda dialect: (
        insert(dialect, _changes)
        .values({name: sa.bindparam(name) for name in _COLUMNS})
        .on_conflict_do_nothing(index_elements=["identity"])
        .returning(_changes.c.id)
    ),
)
FORGOTTEN = Statement(
    "changes.forgotten",
    lambda dialect: sa.select(schema.idempotency.c.key, schema.idempotency.c.result).where(
        in_set(schema.idempotency.c.key, "keys")(dialect)
    ),
)
TELL_SCHEDULERS = Statement(
    "changes.tell_schedulers",
    lambda dialect: insert(dialect, schema.scheduler_changes).from_select(
        ["schedulerid", "changeid"],
        sa.select(schema.schedulers.c.id, _changes.c.id)
        .select_from(schema.schedulers.join(_changes, sa.true()))
        .where(
            schema.schedulers.c.wants_changes == 1,
            schema.schedulers.c.enabled == 1,
            in_set(_changes.c.id, "changeids")(dialect),
        ),
    ),
)


def forgotten_key(identity: str) -> str:
    """What is left of a change that was removed: it is not taken again."""
    return f"change:{identity}"


def add_changes_work(changes: Sequence[NewChange], now_us: int) -> Work[list[Taken]]:
    """Part of a unit: store these changes in their order, except those whose identity is known."""
    changes = [_identified(change) for change in changes]
    known: dict[str, int] = {}
    identities = sorted({change.identity for change in changes if change.identity is not None})
    if identities:
        known = dict((yield KNOWN(identities=identities)))
        keys = {forgotten_key(each): each for each in identities if each not in known}
        if keys:
            for key, changeid in (yield FORGOTTEN(keys=sorted(keys))):
                known[keys[key]] = int(changeid)
    fresh = [change for change in changes if change.identity is None or change.identity not in known]
    stampids = yield from sourcestamp_ids(
        [
            {
                "branch": change.branch,
                "revision": change.revision,
                "repository": change.repository,
                "project": change.project,
                "codebase": change.codebase,
            }
            for change in fresh
        ],
        now_us,
    )
    stamps = iter(stampids)
    taken: list[Taken] = []
    for change in changes:
        if change.identity is not None and change.identity in known:
            taken.append(Taken(known[change.identity], False))
            continue
        taken.append((yield from _add(change, next(stamps), now_us)))
        if change.identity is not None:
            known[change.identity] = taken[-1].changeid
    new = [each.changeid for each in taken if each.new]
    if new:
        yield TELL_SCHEDULERS(changeids=new)
    for changeid in new:
        yield Hint("changes", changeid, "new")
    return taken


def _identified(change: NewChange) -> NewChange:
    """The change with its identity as it is stored, by which it is known the next time."""
    identity = change.identity
    if identity is None or storable(identity) == identity:
        return change
    return replace(change, identity=storable(identity))


def _add(change: NewChange, stampid: int, now_us: int) -> Work[Taken]:
    rows = yield ADD(
        identity=change.identity,
        author=change.author,
        committer=change.committer,
        comments=change.comments,
        branch=change.branch,
        revision=change.revision,
        revlink=change.revlink,
        when_us=now_us if change.when_us is None else change.when_us,
        received_at=now_us,
        category=change.category,
        repository=change.repository,
        codebase=change.codebase,
        project=change.project,
        files=encode_json(list(change.files)),
        properties=encode_properties(change.properties),
        sourcestampid=stampid,
    )
    if rows:
        return Taken(rows[0][0], True)
    # Another unit brought the same change between our look and our insert, and has committed.
    [(_, changeid)] = yield KNOWN(identities=[change.identity])
    return Taken(changeid, False)


add_changes = unit(add_changes_work)
"""`add_changes_work` as a unit of its own: what hooks and the API use."""

# -- change sources ----------------------------------------------------------------------------


class SourceRow(NamedTuple):
    """What a change source remembers; `version` is to be given back when that changes."""

    masterid: int | None
    state: str
    version: int


ADD_SOURCE = Statement(
    "changesources.add",
    lambda dialect: (
        insert(dialect, _sources)
        .values(name=sa.bindparam("name"))
        .on_conflict_do_nothing(index_elements=["name"])
    ),
)
FIND_SOURCE = Statement(
    "changesources.find",
    lambda _dialect: sa.select(_sources.c.id).where(_sources.c.name == sa.bindparam("of_name")),
)
READ_SOURCE = Statement(
    "changesources.read",
    lambda _dialect: sa.select(_sources.c.masterid, _sources.c.state, _sources.c.version).where(
        _sources.c.id == sa.bindparam("of")
    ),
)
_active = sa.select(schema.masters.c.id).where(schema.masters.c.active == 1)
TAKE_SOURCE = Statement(
    "changesources.take",
    lambda _dialect: (
        sa.update(_sources)
        .where(
            _sources.c.id == sa.bindparam("of"),
            sa.or_(
                _sources.c.masterid.is_(None),
                _sources.c.masterid == sa.bindparam("by"),
                _sources.c.masterid.not_in(_active),
            ),
        )
        .values(masterid=sa.bindparam("by"))
        .returning(_sources.c.id)
    ),
)
LEAVE_SOURCE = Statement(
    "changesources.leave",
    lambda _dialect: (
        sa.update(_sources)
        .where(_sources.c.id == sa.bindparam("of"), _sources.c.masterid == sa.bindparam("by"))
        .values(masterid=None)
    ),
)
MOVE_SOURCE = Statement(
    "changesources.move",
    lambda _dialect: (
        sa.update(_sources)
        .where(_sources.c.id == sa.bindparam("of"), _sources.c.version == sa.bindparam("at_version"))
        .values(state=sa.bindparam("to_state"), version=_sources.c.version + 1)
        .returning(_sources.c.version)
    ),
)


@unit
def find_source(name: str) -> Work[int]:
    """The id of the change source of this name; it gets a row if it is new."""
    rows = yield FIND_SOURCE(of_name=name)
    if not rows:
        yield ADD_SOURCE(name=name)
        rows = yield FIND_SOURCE(of_name=name)
    return int(rows[0][0])


@unit
def read_source(changesourceid: int) -> Work[SourceRow]:
    """A read: what the source remembers."""
    [row] = yield READ_SOURCE(of=changesourceid)
    return SourceRow(*row)


@unit
def try_take_source(changesourceid: int, masterid: int) -> Work[bool]:
    """Whether this master polls: it does already, or nobody does, or one that is gone."""
    return bool((yield TAKE_SOURCE(of=changesourceid, by=masterid)))


@unit
def leave_source(changesourceid: int, masterid: int) -> Work[None]:
    """Let another master poll at once."""
    yield LEAVE_SOURCE(of=changesourceid, by=masterid)


@unit
def take_poll(
    changesourceid: int,
    version: int,
    state: str,
    changes: Sequence[NewChange],
    now_us: int,
    seen: Seen | None = None,
) -> Work[list[Taken] | None]:
    """Store what a poll found, what it saw of a codebase, and what the source remembers from now on.

    Gives None, and does nothing, if the source has moved since ``version`` was read.
    """
    if not (yield MOVE_SOURCE(of=changesourceid, at_version=version, to_state=state)):
        return None
    taken = yield from add_changes_work(changes, now_us)
    if seen is not None:
        yield from see_work(seen, now_us)
    return taken
