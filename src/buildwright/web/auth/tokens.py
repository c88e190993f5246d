"""API tokens: who programs are.

A token is a random text that its owner sends as ``Authorization: Bearer <token>``; the store (and the
configuration's ``www['tokens']``) keep its SHA-256 only. A token has enough randomness that a fast hash is no
weakness, and looking up the hash compares in no secret-dependent time. A token that is taken back stops
working with the next request: nothing is cached."""

from __future__ import annotations

import hashlib
import secrets

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.unit import Statement, Work, unit

PREFIX = "bw_"

_t = schema.api_tokens.c
_FIND = Statement(
    "find_api_token", lambda _dialect: sa.select(_t.name).where(_t.hash == sa.bindparam("hash"))
)
_ANY = Statement("any_api_token", lambda _dialect: sa.select(_t.id).limit(1))


def new_token() -> tuple[str, str]:
    """A token for its owner, and the hash to keep of it."""
    token = PREFIX + secrets.token_urlsafe(32)
    return token, digest(token)


def digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


@unit
def find_token(hash: str) -> Work[str | None]:
    """Read the name of the token with this hash."""
    rows = yield _FIND(hash=hash)
    return rows[0][0] if rows else None


@unit
def any_token() -> Work[bool]:
    """Read whether there is a token at all."""
    return bool((yield _ANY()))
