"""Sessions of people who are logged in: the key that they are signed with, and those that were ended before
their time. A session itself is with its browser only.
"""

from __future__ import annotations

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.unit import Statement, Work, insert, unit

_k = schema.signing_keys.c
_e = schema.ended_sessions.c

_KEY = Statement(
    "sessions.key", lambda _dialect: sa.select(_k.key).where(_k.name == sa.bindparam("name", type_=sa.Text))
)
_KEEP_KEY = Statement(
    "sessions.keep_key",
    lambda dialect: (
        insert(dialect, schema.signing_keys)
        .values(name=sa.bindparam("name"), key=sa.bindparam("key"), created_at=sa.bindparam("created_at"))
        .on_conflict_do_nothing(index_elements=["name"])
    ),
)
_END = Statement(
    "sessions.end",
    lambda dialect: (
        insert(dialect, schema.ended_sessions)
        .values(id=sa.bindparam("id"), expires_at=sa.bindparam("expires_at"))
        .on_conflict_do_nothing(index_elements=["id"])
    ),
)
_FORGET = Statement(
    "sessions.forget",
    lambda _dialect: sa.delete(schema.ended_sessions).where(_e.expires_at <= sa.bindparam("now_us")),
)
_ENDED = Statement(
    "sessions.ended",
    lambda _dialect: sa.select(_e.id).where(_e.id == sa.bindparam("id", type_=sa.Text)),
)


@unit
def signing_key(name: str, candidate: bytes, now_us: int) -> Work[bytes]:
    """The key of this name; the first who asks decides what it is."""
    yield _KEEP_KEY(name=name, key=candidate, created_at=now_us)
    [(key,)] = yield _KEY(name=name)
    return bytes(key)


@unit
def end_session(id: str, expires_at: int, now_us: int) -> Work[None]:
    """End a session before its time; those whose time has come are forgotten."""
    yield _END(id=id, expires_at=expires_at)
    yield _FORGET(now_us=now_us)


@unit
def is_ended(id: str) -> Work[bool]:
    """Read whether a session was ended before its time."""
    return bool((yield _ENDED(id=id)))
