"""What builds and build requests are for: the reason of their buildset, and its source stamps.

Fields that are there when they are asked for, each one statement for all things of an answer: a list of
builds shows what was built, and why, without a request per row."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.unit import Statement, in_set
from buildwright.web.fields import Derived, Element
from buildwright.web.resources.sources import STAMP_COLUMNS, STAMP_SOURCE, stamp

_b = schema.builds.c
_r = schema.buildrequests.c
_bs = schema.buildsets.c
_links = schema.buildset_sourcestamps

_REQUESTS = schema.buildrequests
_BUILDS = schema.builds.join(_REQUESTS, _r.id == _b.buildrequestid)


def _reasons(name: str, owners: sa.FromClause, key: Element) -> Statement:
    return Statement(
        name,
        lambda dialect: (
            sa.select(key, _bs.reason)
            .select_from(owners.join(schema.buildsets, _bs.id == _r.buildsetid))
            .where(in_set(key, "ids")(dialect))
        ),
    )


def _stamps(name: str, owners: sa.FromClause, key: Element) -> Statement:
    links = owners.join(_links, _links.c.buildsetid == _r.buildsetid)
    return Statement(
        name,
        lambda dialect: (
            sa.select(key, *STAMP_COLUMNS)
            .select_from(links.join(STAMP_SOURCE, _links.c.sourcestampid == schema.sourcestamps.c.id))
            .where(in_set(key, "ids")(dialect))
            .order_by(key, schema.sourcestamps.c.id)
        ),
    )


def _fields(key: Element, reasons: Statement, stamps: Statement) -> tuple[Derived, Derived]:
    def reason(rows: list[tuple[Any, ...]]) -> str:
        return str(rows[0][0]) if rows else ""

    return (
        Derived("reason", (key,), "string", rows=reasons, collect=reason, on_request=True),
        Derived(
            "sourcestamps",
            (key,),
            "list",
            spec={"type": "list", "of": {"name": "sourcestamp"}},
            rows=stamps,
            collect=lambda rows: [stamp(*row) for row in rows],
            on_request=True,
        ),
    )


OF_BUILDS = _fields(
    _b.id, _reasons("api_reasons_of_builds", _BUILDS, _b.id), _stamps("api_stamps_of_builds", _BUILDS, _b.id)
)
"""The fields of builds."""
OF_REQUESTS = _fields(
    _r.id,
    _reasons("api_reasons_of_requests", _REQUESTS, _r.id),
    _stamps("api_stamps_of_requests", _REQUESTS, _r.id),
)
"""The fields of build requests."""
