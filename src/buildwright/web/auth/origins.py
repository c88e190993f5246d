"""Where a request comes from: this machine, a proxy, a page of ours or of a foreign site.

A browser sends cookies, and what a proxy asks it for, along with what a foreign page makes it do. So nobody
is known by them to a request that a page of another origin makes: it is a stranger's, also where
``www['allowed_origins']`` lets such a page use the data API. A browser says whose request it is by ``Origin``
and ``Sec-Fetch-Site``; programs send neither."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from aiohttp import web

from buildwright.model.snapshot import Snapshot
from buildwright.web.errors import Denied

_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")
_OWN = ("same-origin", "none")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def peer(request: web.Request) -> Address | None:
    """The address at the other end; None for a local socket."""
    found = request.transport.get_extra_info("peername") if request.transport is not None else None
    if not isinstance(found, tuple):
        return None
    address = ipaddress.ip_address(str(found[0]).partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def is_local(request: web.Request) -> bool:
    """Whether the request came from this machine, and not through a proxy on it: that makes the whole world
    look local.
    """
    if request.transport is None or any(header in request.headers for header in _FORWARDED):
        return False
    address = peer(request)
    return address is None or address.is_loopback


def client(request: web.Request) -> str:
    """Who is to be counted as one: the address, or for a proxy on this machine that of whom it says. Of IPv6
    the network of a customer.
    """
    address = peer(request)
    if address is None or address.is_loopback:
        said = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
        try:
            address = ipaddress.ip_address(said) if said else address
        except ValueError:
            return said[:60]
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def is_foreign(request: web.Request, snapshot: Snapshot) -> bool:
    """Whether a page of another origin makes this request."""
    origin = request.headers.get("Origin")
    if origin is None:
        return request.headers.get("Sec-Fetch-Site", "none") not in _OWN
    netloc = urlsplit(origin.lower()).netloc
    return not netloc or netloc not in (
        request.host.lower(),
        urlsplit(snapshot.buildbot_url.lower()).netloc,
    )


def is_link(request: web.Request) -> bool:
    """Whether somebody has followed a link from a foreign page to what this asks for."""
    return (
        request.method in ("GET", "HEAD")
        and "Origin" not in request.headers
        and request.headers.get("Sec-Fetch-Mode") == "navigate"
        and request.headers.get("Sec-Fetch-Dest") == "document"
    )


def check_own(request: web.Request, snapshot: Snapshot) -> None:
    """Raises Denied for what a foreign page asks."""
    if is_foreign(request, snapshot):
        raise Denied("a page of another site asks for this: it is refused")


def check_site(request: web.Request) -> None:
    """Raises Denied for what a foreign page makes a browser do without saying which page it is."""
    if "Origin" not in request.headers and request.headers.get("Sec-Fetch-Site", "none") not in _OWN:
        raise Denied("a page of another site asks for this: it is refused")


def is_secure(request: web.Request, snapshot: Snapshot) -> bool:
    """Whether the browser's connection is HTTPS, here or at a proxy."""
    own = urlsplit(snapshot.buildbot_url)
    return request.secure or (own.scheme == "https" and request.host.lower() == own.netloc.lower())
