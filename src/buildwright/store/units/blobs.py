"""Blobs in the database: numbered pieces of equal size, for several masters that share no other store.

A blob's pieces are written in several small units. That is safe because nobody knows of a blob before the
unit that records its key, and because a key is only ever written with the same content: a repeat overwrites
like with like.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.unit import Statement, Work, insert, unit

_b = schema.blobs.c
_KEY = _b.key == sa.bindparam("blob")

_PUT = Statement(
    "blobs.put",
    lambda dialect: (
        insert(dialect, schema.blobs)
        .values(key=sa.bindparam("key"), piece=sa.bindparam("piece"), content=sa.bindparam("content"))
        .on_conflict_do_update(index_elements=["key", "piece"], set_={"content": sa.bindparam("content")})
    ),
)
_GET = Statement(
    "blobs.get",
    lambda _dialect: (
        sa.select(_b.content)
        .where(_KEY, _b.piece >= sa.bindparam("first"), _b.piece <= sa.bindparam("last"))
        .order_by(_b.piece)
    ),
)
_LAST = Statement("blobs.last", lambda _dialect: sa.select(sa.func.max(_b.piece)).where(_KEY))
_CUT = Statement(
    "blobs.cut", lambda _dialect: sa.delete(schema.blobs).where(_KEY, _b.piece >= sa.bindparam("first"))
)


@unit
def put_pieces(key: str, first: int, contents: Sequence[bytes]) -> Work[None]:
    """Write the pieces first, first+1, ... of a blob."""
    yield _PUT.many(
        [{"key": key, "piece": first + i, "content": content} for i, content in enumerate(contents)]
    )


@unit
def get_pieces(key: str, first: int, last: int) -> Work[list[bytes]]:
    rows = yield _GET(blob=key, first=first, last=last)
    return [bytes(content) for (content,) in rows]


@unit
def cut_pieces(key: str, count: int) -> Work[bool]:
    """Remove the last ``count`` pieces of a blob; True when none is left."""
    ((last,),) = yield _LAST(blob=key)
    if last is None:
        return True
    first = max(0, last + 1 - count)
    yield _CUT(blob=key, first=first)
    return bool(first == 0)
