"""Which pages of other origins may use the data API, and which hosts it answers to.

A request with an ``Origin`` that isn't allowed is refused, also a GET. Allowed are the origins of
``www['allowed_origins']`` (wildcards, case doesn't count) or, without that setting, the origin of the
master's own URL; and always the origin that the request itself went to, since browsers send theirs along with
a page's own requests too.

The last rule trusts the ``Host`` header, which a page of a foreign name that resolves to this machine could
bend (DNS rebinding). So acting without a token needs a host that is an address, ``localhost``, or the host of
the master's URL: such a page can't call itself any of them."""

from __future__ import annotations

import ipaddress
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from aiohttp import web

from buildwright.model.snapshot import Snapshot
from buildwright.web.errors import ApiError, Denied

PATHS = ("/api", "/sse/")
METHODS = ("GET", "POST", "HEAD")
MAX_AGE = "3600"


def check_origin(request: web.Request, snapshot: Snapshot) -> dict[str, str]:
    """The headers that allow the request's origin; raises ApiError if it isn't allowed."""
    origin = request.headers.get("Origin")
    if origin is None:
        return {}
    if not _is_allowed(origin.lower(), request.host.lower(), snapshot):
        raise ApiError("invalid origin")
    return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}


def preflight_headers(request: web.Request, snapshot: Snapshot) -> dict[str, str]:
    """The answer to a preflight; raises ApiError."""
    headers = check_origin(request, snapshot)
    if not headers:
        raise ApiError("a preflight request has an Origin header")
    method = request.headers.get("Access-Control-Request-Method", "GET")
    if method not in METHODS:
        raise ApiError(f"invalid method {method[:20]!r}; there are {', '.join(METHODS)}")
    allowed = "Content-Type, Authorization, Idempotency-Key"
    return headers | {
        "Access-Control-Allow-Methods": ", ".join(METHODS),
        "Access-Control-Allow-Headers": allowed,
        "Access-Control-Max-Age": MAX_AGE,
    }


def check_host(request: web.Request, snapshot: Snapshot) -> None:
    """Raises Denied if the request came by a name that nobody gave this master."""
    host = _hostname(request.host)
    if host == "localhost" or host.endswith(".localhost") or _is_address(host):
        return
    if host in {_hostname(urlsplit(url).netloc) for url in (snapshot.buildbot_url, snapshot.title_url)}:
        return
    raise Denied(
        f"this master doesn't go by the name {host[:60]!r}; set c['buildbotURL'], or send an API token"
    )


def _is_allowed(origin: str, host: str, snapshot: Snapshot) -> bool:
    if urlsplit(origin).netloc == host and host:
        return True
    own = urlsplit(snapshot.buildbot_url)
    patterns = [text.lower() for text in snapshot.www.allowed_origins] or [
        f"{own.scheme}://{own.netloc}".lower()
    ]
    return any(fnmatchcase(origin, pattern) for pattern in patterns)


def _hostname(netloc: str) -> str:
    if netloc.startswith("["):
        return netloc[1:].partition("]")[0].lower()
    return netloc.partition(":")[0].lower()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def allowed_headers(request: web.Request, snapshot: Snapshot) -> dict[str, str]:
    """What an answer of any kind carries, so that an allowed page may read it; nothing for others."""
    if not request.path.startswith(PATHS):
        return {}
    try:
        return check_origin(request, snapshot)
    except ApiError:
        return {}
