"""Buildsets: how work gets into the store.

`add_buildset` is one unit: the source stamps (found or made), the buildset, what it is built from, one
request per builder. Schedulers, the trigger of a step, the rebuild and the API run it as a part of their
own unit (`add_buildset_work`), so that what caused it and what it causes are committed together.

A caller that may repeat itself (an API call, a triggered step that is replayed) gives a `key`. The first
call writes its result beside the key; a repetition, also one that runs at the same time, gets that result
and adds nothing. Keys outlive what they started.

What somebody asks a scheduler for is mostly one builder, of source stamps that are stored: one statement adds
that.

A buildset without builders is complete at once, with SUCCESS, and the schedulers that wait for such are
told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from buildwright.model.results import SUCCESS
from buildwright.model.text import encode_json
from buildwright.store import schema
from buildwright.store.unit import POSTGRESQL, Hint, Shortcut, Statement, Work, in_set, insert, unit
from buildwright.store.units.sourcestamps import Stamp, sourcestamp_ids, stamp_hash

_buildsets = schema.buildsets
_requests = schema.buildrequests
_sources = schema.buildset_sourcestamps
_causes = schema.buildset_changes
_keys = schema.idempotency


def _values(*names: str) -> dict[str, sa.BindParameter[Any]]:
    return {name: sa.bindparam(name) for name in names}


TAKE_KEY = Statement(
    "take_idempotency_key",
    lambda dialect: (
        insert(dialect, _keys)
        .values(_values("key", "result", "created_at"))
        .on_conflict_do_nothing(index_elements=["key"])
        .returning(_keys.c.key)
    ),
)
READ_KEY = Statement(
    "read_idempotency_key",
    lambda _dialect: sa.select(_keys.c.result).where(_keys.c.key == sa.bindparam("key")),
)
KEEP_RESULT = Statement(
    "keep_idempotency_result",
    lambda _dialect: (
        sa.update(_keys).where(_keys.c.key == sa.bindparam("which")).values(result=sa.bindparam("result"))
    ),
)
ADD_BUILDSET = Statement(
    "add_buildset",
    lambda _dialect: (
        sa.insert(_buildsets)
        .values(
            _values(
                "external_idstring",
                "reason",
                "schedulerid",
                "submitted_at",
                "complete",
                "complete_at",
                "results",
                "parent_buildid",
                "parent_relationship",
                "rebuilt_buildid",
                "properties",
            )
        )
        .returning(_buildsets.c.id)
    ),
)
ADD_SOURCE = Statement(
    "add_buildset_sourcestamp",
    lambda _dialect: sa.insert(_sources).values(_values("buildsetid", "sourcestampid")),
)
ADD_CAUSE = Statement(
    "add_buildset_change", lambda _dialect: sa.insert(_causes).values(_values("buildsetid", "changeid"))
)
ADD_REQUEST = Statement(
    "add_buildrequest",
    lambda _dialect: (
        sa.insert(_requests)
        .values(_values("buildsetid", "builderid", "priority", "submitted_at", "waited_for"))
        .returning(_requests.c.id)
    ),
)
TELL_UPSTREAM_DONE = Statement(
    "tell_upstream_done",
    lambda dialect: (
        insert(dialect, schema.scheduler_completions)
        .from_select(
            ["schedulerid", "buildsetid"],
            sa.select(
                schema.scheduler_upstreams.c.schedulerid, sa.cast(sa.bindparam("buildsetid"), schema.Id)
            ).where(schema.scheduler_upstreams.c.upstreamid == sa.bindparam("upstreamid")),
        )
        .on_conflict_do_nothing(index_elements=["schedulerid", "buildsetid"])
    ),
)


def _start_at_once() -> sa.sql.base.Executable:
    """For an enabled scheduler: one request, from stamps that are stored, under a key that is new.

    The ids are taken first, because the key's row holds them.
    """
    when = sa.bindparam("now_us", type_=schema.Big)
    scheduler = (
        sa.select(schema.schedulers.c.id)
        .where(schema.schedulers.c.id == sa.bindparam("schedulerid"), schema.schedulers.c.enabled != 0)
        .with_for_update(read=True)
        .cte("scheduler")
    )
    stamps = (
        sa.select(schema.sourcestamps.c.id)
        .where(in_set(schema.sourcestamps.c.ss_hash, "hashes")(POSTGRESQL))
        .cte("stamps")
    )
    known = sa.select(sa.func.count()).select_from(stamps).scalar_subquery()
    ids = (
        sa.select(_next(_buildsets).label("buildset"), _next(_requests).label("request"))
        .select_from(scheduler)
        .where(known == sa.bindparam("stamps", type_=schema.Big))
        .cte("ids")
        .prefix_with("MATERIALIZED")
    )
    builderid = sa.bindparam("builderid", type_=schema.Id)
    result = sa.func.format('[%s,{"%s":%s}]', ids.c.buildset, builderid, ids.c.request, type_=schema.Text)
    key = (
        insert(POSTGRESQL, _keys)
        .from_select(
            ["key", "result", "created_at"],
            sa.select(sa.bindparam("key", type_=schema.Text), result, when).select_from(ids),
        )
        .on_conflict_do_nothing(index_elements=["key"])
        .returning(_keys.c.key)
        .cte("key")
    )
    buildset = {
        "id": ids.c.buildset,
        "external_idstring": sa.bindparam("external_idstring", type_=schema.Text),
        "reason": sa.bindparam("reason", type_=schema.Text),
        "schedulerid": sa.bindparam("schedulerid", type_=schema.Id),
        "submitted_at": when,
        "properties": sa.bindparam("properties", type_=schema.Text),
    }
    added = (
        sa.insert(_buildsets)
        .from_select([*buildset], sa.select(*buildset.values()).select_from(ids.join(key, sa.true())))
        .returning(_buildsets.c.id)
        .cte("added")
    )
    sources = (
        sa.insert(_sources)
        .from_select(
            ["buildsetid", "sourcestampid"],
            sa.select(added.c.id, stamps.c.id).select_from(added.join(stamps, sa.true())),
        )
        .cte("sources")
    )
    request = {
        "id": ids.c.request,
        "buildsetid": added.c.id,
        "builderid": builderid,
        "priority": sa.bindparam("priority", type_=schema.Int),
        "submitted_at": when,
    }
    return (
        sa.insert(_requests)
        .from_select([*request], sa.select(*request.values()).select_from(ids.join(added, sa.true())))
        .returning(_requests.c.buildsetid, _requests.c.id)
        .add_cte(sources)
    )


def _next(table: sa.Table) -> sa.ColumnElement[int]:
    """The next id of a table."""
    return sa.func.nextval(sa.func.pg_get_serial_sequence(table.name, "id"), type_=schema.Id)


START_AT_ONCE = Shortcut("start_at_once", _start_at_once)

Added = tuple[int, dict[int, int]]
"""The buildset's id, and each builder's id with its request's."""


def encode_properties(properties: Mapping[str, Sequence[Any]] | str) -> str:
    """{name: (value, source)} as it is stored; text is taken for encoded."""
    return properties if isinstance(properties, str) else encode_json(properties)


def add_buildset_work(
    *,
    sourcestamps: Sequence[Stamp | int],
    builderids: Iterable[int],
    now_us: int,
    reason: str = "",
    schedulerid: int | None = None,
    properties: Mapping[str, Sequence[Any]] | str = "{}",
    external_idstring: str | None = None,
    waited_for: bool = False,
    parent_buildid: int | None = None,
    parent_relationship: str | None = None,
    rebuilt_buildid: int | None = None,
    priority: int | Mapping[int, int] = 0,
    changeids: Iterable[int] = (),
    key: str | None = None,
) -> Work[Added]:
    """Part of a unit: add a buildset with its requests, or give the result of the call that had this key.

    A source stamp is a mapping or the id of one that is stored. ``priority`` may differ by builder.
    """
    if key is not None:
        first = yield TAKE_KEY(key=key, result="", created_at=now_us)
        if not first:
            return _result((yield READ_KEY(key=key))[0][0])
    made = yield from sourcestamp_ids([stamp for stamp in sourcestamps if not isinstance(stamp, int)], now_us)
    stampids = {*made, *(stamp for stamp in sourcestamps if isinstance(stamp, int))}
    builders = list(dict.fromkeys(builderids))
    done = not builders
    [(buildsetid,)] = yield ADD_BUILDSET(
        external_idstring=external_idstring,
        reason=reason,
        schedulerid=schedulerid,
        submitted_at=now_us,
        complete=int(done),
        complete_at=now_us if done else None,
        results=SUCCESS if done else -1,
        parent_buildid=parent_buildid,
        parent_relationship=parent_relationship,
        rebuilt_buildid=rebuilt_buildid,
        properties=encode_properties(properties),
    )
    yield Hint("buildsets", buildsetid, "new")
    if stampids:
        yield ADD_SOURCE.many({"buildsetid": buildsetid, "sourcestampid": each} for each in sorted(stampids))
    causes = sorted(set(changeids))
    if causes:
        yield ADD_CAUSE.many({"buildsetid": buildsetid, "changeid": each} for each in causes)
    requests: dict[int, int] = {}
    for builderid in builders:
        [(requestid,)] = yield ADD_REQUEST(
            buildsetid=buildsetid,
            builderid=builderid,
            priority=priority if isinstance(priority, int) else priority.get(builderid, 0),
            submitted_at=now_us,
            waited_for=int(waited_for),
        )
        requests[builderid] = requestid
        yield Hint("buildrequests", requestid, "new")
    if done:
        yield Hint("buildsets", buildsetid, "complete")
        if schedulerid is not None:
            yield TELL_UPSTREAM_DONE(upstreamid=schedulerid, buildsetid=buildsetid)
    if key is not None:
        yield KEEP_RESULT(which=key, result=msgspec.json.encode([buildsetid, requests]).decode())
    return buildsetid, requests


def start_at_once_work(
    *,
    sourcestamps: Sequence[Stamp | int],
    builderids: Iterable[int],
    now_us: int,
    schedulerid: int,
    key: str,
    reason: str = "",
    properties: Mapping[str, Sequence[Any]] | str = "{}",
    external_idstring: str | None = None,
    priority: int | Mapping[int, int] = 0,
    changeids: Iterable[int] = (),
    **more: Any,
) -> Work[Added | None]:
    """Part of a unit, its first: as :func:`add_buildset_work` for an enabled scheduler; None: it must be."""
    builders = [*builderids]
    stamps = [stamp for stamp in sourcestamps if not isinstance(stamp, int)]
    if len(builders) != 1 or len(stamps) != len(sourcestamps) or [*changeids] or any(more.values()):
        return None
    (builderid,) = builders
    hashes = {stamp_hash(stamp) for stamp in stamps}
    rows = yield START_AT_ONCE(
        schedulerid=schedulerid,
        hashes=sorted(hashes),
        stamps=len(hashes),
        key=key,
        now_us=now_us,
        external_idstring=external_idstring,
        reason=reason,
        properties=encode_properties(properties),
        builderid=builderid,
        priority=priority if isinstance(priority, int) else priority.get(builderid, 0),
    )
    if not rows:
        return None
    ((buildsetid, requestid),) = rows
    yield Hint("buildsets", buildsetid, "new")
    yield Hint("buildrequests", requestid, "new")
    return buildsetid, {builderid: requestid}


def _result(text: str) -> Added:
    return msgspec.json.decode(text, type=tuple[int, dict[int, int]])


add_buildset = unit(add_buildset_work)
"""`add_buildset_work` as a unit of its own."""
