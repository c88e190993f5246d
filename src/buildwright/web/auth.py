"""Who may act. Reading is open; acting needs an API token, unless there is none and the caller is on this
machine.

A token is a random text that its owner sends as ``Authorization: Bearer <token>``; the store (and the
configuration's ``www['tokens']``) keep its SHA-256 only. A token has enough randomness that a fast hash is no
weakness, and looking up the hash compares in no secret-dependent time. A token that is taken back stops
working with the next request: nothing is cached.

Without any token the master listens on loopback alone, and acting is open to whoever is on this machine. A
proxy on the same machine makes the whole world look local, so a request that was forwarded never counts as
local."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets

import sqlalchemy as sa
from aiohttp import web

from buildwright.store import schema
from buildwright.store.unit import Statement, Work, unit
from buildwright.web.cors import check_host
from buildwright.web.errors import Unauthorized
from buildwright.web.services import WebServices

ANONYMOUS = "anonymous"
PREFIX = "bw_"

_t = schema.api_tokens.c
_FIND = Statement(
    "find_api_token", lambda _dialect: sa.select(_t.name).where(_t.hash == sa.bindparam("hash"))
)
_ANY = Statement("any_api_token", lambda _dialect: sa.select(_t.id).limit(1))
_ACT_AS = "acting needs an API token: send it as 'Authorization: Bearer <token>'"
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")


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


async def authorize(request: web.Request, services: WebServices) -> str:
    """Who asks to act: the token's name, or anonymous; raises Unauthorized or Denied."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    configured = services.tokens()
    if scheme.lower() == "bearer":
        hashed = digest(token.strip())
        name = configured.get(hashed) or await services.store.read(find_token(hashed))
        if name is None:
            raise Unauthorized("this API token is not known here")
        return name
    if configured:
        raise Unauthorized(_ACT_AS)
    if await services.store.read(any_token()):
        raise Unauthorized(_ACT_AS)
    if not is_local(request):
        raise Unauthorized(
            "this master has no API tokens, so only its own machine may act; make one to act from here"
        )
    check_host(request, services.snapshot())
    return ANONYMOUS


def is_local(request: web.Request) -> bool:
    """Whether the request came from this machine, and not through a proxy on it."""
    if any(header in request.headers for header in _FORWARDED):
        return False
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    if not isinstance(peer, tuple):
        return isinstance(peer, str)  # a UNIX socket
    address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
