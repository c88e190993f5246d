"""API tokens: their names and hashes."""

from __future__ import annotations

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.unit import Statement, Work, insert, unit

_t = schema.api_tokens.c

_LIST = Statement("list_api_tokens", lambda _dialect: sa.select(_t.name, _t.created_at).order_by(_t.name))
_ADD = Statement(
    "add_api_token",
    lambda dialect: (
        insert(dialect, schema.api_tokens)
        .values(name=sa.bindparam("name"), hash=sa.bindparam("hash"), created_at=sa.bindparam("created_at"))
        .on_conflict_do_nothing(index_elements=["name"])
        .returning(_t.id)
    ),
)
_DROP = Statement(
    "drop_api_token",
    lambda _dialect: sa.delete(schema.api_tokens).where(_t.name == sa.bindparam("name")).returning(_t.id),
)


@unit
def tokens() -> Work[list[tuple[str, int]]]:
    """Read the names of all tokens, and when they were made."""
    return [(row[0], row[1]) for row in (yield _LIST())]


@unit
def add_token(name: str, hash: str, created_at: int) -> Work[bool]:
    """Keep a token's hash; False if the name is taken."""
    return bool((yield _ADD(name=name, hash=hash, created_at=created_at)))


@unit
def drop_token(name: str) -> Work[bool]:
    """Forget a token; False if there is none of this name."""
    return bool((yield _DROP(name=name)))
