"""Buildsets: how work gets into the store.

`add_buildset` is one unit: the source stamps (found or made), the buildset, what it is built from, one
request per builder. Schedulers, the trigger of a step, the rebuild and the API run it as a part of their
own unit (`add_buildset_work`), so that what caused it and what it causes are committed together.

A caller that may repeat itself (an API call, a triggered step that is replayed) gives a `key`. The first
call writes its result beside the key; a repetition, also one that runs at the same time, gets that result
and adds nothing. Keys outlive what they started.

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
from buildwright.store.unit import Hint, Statement, Work, insert, unit
from buildwright.store.units.sourcestamps import Stamp, sourcestamp_ids

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


def _result(text: str) -> Added:
    return msgspec.json.decode(text, type=tuple[int, dict[int, int]])


add_buildset = unit(add_buildset_work)
"""`add_buildset_work` as a unit of its own."""
