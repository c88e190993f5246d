"""The one gate that every request passes: who asks, and whether they may.

- **Reading** is open, unless a rule of ``c['www']['authz']`` is for it. Then nothing but the page's own
  files, logging in and the probes is answered to whom the rules refuse: a path that nobody thought of is
  refused, too. An event is a reading of the thing that it tells of, and asked for anew with each one.
- **Acting** is asked of the rules as well, by the kind of thing that the path leads to and the method's exact
  name, never by how either was spelled. Whom no rule refuses must be known besides: by an API token, a
  session, or a proxy. Where nobody can be (there are neither tokens nor logins), whoever is on this machine
  may act; the master then listens there only.

A refusal is one message, which says what role is missing and who was taken for whom, and is entered in the
audit: :mod:`buildwright.web.rpc` enters those of calls, the gate those of readings.

Nobody is known by cookie or proxy to a request that a page of a foreign site makes
(:mod:`buildwright.web.auth.origins`)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

import structlog
from aiohttp import web

from buildwright.model.authz import ALLOWED, GET, Access, Authz, Verdict
from buildwright.model.logins import NoAuth, RemoteUserAuth
from buildwright.web.audit import Audit
from buildwright.web.auth import origins
from buildwright.web.auth.sessions import Sessions
from buildwright.web.auth.things import NO_THING, Thing, thing_at, thing_of
from buildwright.web.auth.tokens import any_token, digest, find_token
from buildwright.web.auth.users import NOBODY, TOKEN_PREFIX, User, more_of, of_token, owner_of
from buildwright.web.cors import check_host
from buildwright.web.data import TABLE, Data, kind_of
from buildwright.web.errors import Denied, Unauthorized
from buildwright.web.paths import split
from buildwright.web.resource import Endpoint
from buildwright.web.services import WebServices

log = structlog.get_logger(__name__)

_USER: Final = web.RequestKey("buildwright user", User)
_OPEN: Final = frozenset(
    {"/", "/config", "/favicon.ico", "/icon.svg", "/robots.txt", "/livez", "/healthz", "/readyz", "/worker"}
)
_OPEN_BELOW: Final = ("/auth/", "/assets/", "/page/")

Find = Callable[[], Awaitable[Thing]]


class Gate:
    """Asked by whoever answers requests."""

    def __init__(self, services: WebServices, audit: Audit) -> None:
        self.services = services
        self.sessions = Sessions(services)
        self.audit = audit
        self._data = Data(services)

    @property
    def authz(self) -> Authz | None:
        """The rules, if there are any."""
        authz = self.services.snapshot().www.authz
        return authz if authz is not None and authz.allowRules else None

    @property
    def guards_reading(self) -> bool:
        """Whether a rule is for reading."""
        authz = self.authz
        return authz is not None and authz.guards_reading

    # -- who asks ----------------------------------------------------------------------------------------

    async def user(self, request: web.Request) -> User:
        """Who asks; raises Unauthorized for a token that isn't known."""
        found = request.get(_USER)
        if found is None:
            found = request[_USER] = await self._identify(request)
        return found

    async def _identify(self, request: web.Request) -> User:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            hashed = digest(token.strip())
            name = await self._token_name(hashed)
            if name is None:
                raise Unauthorized("this API token is not known here")
            return of_token(name, hashed)
        snapshot = self.services.snapshot()
        auth = snapshot.www.auth
        if isinstance(auth, NoAuth):
            return NOBODY
        if origins.is_foreign(request, snapshot) and not origins.is_link(request):
            return NOBODY
        if isinstance(auth, RemoteUserAuth):
            return await _of_proxy(request, auth)
        return await self.sessions.read(request) or NOBODY

    async def _token_name(self, hashed: str) -> str | None:
        return self.services.tokens().get(hashed) or await self.services.store.read(find_token(hashed))

    async def still(self, user: User) -> bool:
        """Whether somebody who was known is so still."""
        if user.by == "token":
            return await self._token_name(user.token) is not None
        auth = self.services.snapshot().www.auth
        if user.by == "proxy":
            return isinstance(auth, RemoteUserAuth)
        return user.by == "nobody" or await self.sessions.lives(user)

    async def must_be_known(self, request: web.Request) -> None:
        """Raises Unauthorized or Denied for whom nobody knows, where one can be known."""
        if (await self.user(request)).known:
            return
        snapshot = self.services.snapshot()
        can_log_in = not isinstance(snapshot.www.auth, NoAuth)
        if can_log_in:
            raise Unauthorized(
                "acting needs a login, or an API token: log in, or send 'Authorization: Bearer <token>'"
            )
        if bool(self.services.tokens()) or await self.services.store.read(any_token()):
            raise Unauthorized("acting needs an API token: send it as 'Authorization: Bearer <token>'")
        if not origins.is_local(request):
            raise Unauthorized(
                "this master has no API tokens, so only its own machine may act; make one to act from here"
            )
        check_host(request, snapshot)

    # -- acting ------------------------------------------------------------------------------------------

    async def admit_call(
        self, request: web.Request, kind: str, method: str, raw_path: str, find: Find
    ) -> None:
        """Let a call pass, or raise Unauthorized or Denied. ``find`` finds out what it is of."""
        origins.check_site(request)
        access = Access(kind, method, path=f"/{raw_path}", control=True)
        verdict = await self._judge(await self.user(request), access, find)
        if not verdict.allowed:
            raise Denied(_refusal(await self.user(request), access, verdict))
        await self.must_be_known(request)

    # -- reading -----------------------------------------------------------------------------------------

    async def admit_reading(self, request: web.Request) -> None:
        """Let a request pass that isn't a call, or raise Unauthorized or Denied."""
        if request.method == "OPTIONS":
            return
        if request.method not in ("GET", "HEAD"):
            if _route(request).startswith("/api/"):
                return  # a call passes the gate by itself
            origins.check_own(request, self.services.snapshot())
        if not self.guards_reading or _is_open(request):
            return
        user = await self.user(request)
        access, find = self._asked(request)
        verdict = await self._judge(user, access, find)
        if not verdict.allowed:
            raise await self.refused(request, user, _refusal(user, access, verdict))

    def keep_private(self, request: web.Request, response: web.StreamResponse) -> None:
        """See that no cache on the way gives one user's answer to another."""
        if self.guards_reading and not _is_open(request):
            said = response.headers.get("Cache-Control", "no-cache").split(",")
            parts = [part for part in map(str.strip, said) if part not in ("public", "private")]
            response.headers["Cache-Control"] = ", ".join(["private", *parts])

    async def refused(self, request: web.Request, user: User, why: str, of: str | None = None) -> Denied:
        """Enter a reading that is refused; gives what to raise. ``of``: of what, if not of the path."""
        await self.audit.refused_reading(request, user.name if user.known else None, why, of)
        return Denied(why)

    async def admit_guarded(self, request: web.Request, raw_path: str, kind: str) -> None:
        """Let pass who reads what only they may who may act, or raise Unauthorized or Denied."""
        access = Access(kind, GET, path=f"/{raw_path}", control=True)
        user = await self.user(request)
        verdict = await self._judge(user, access, _nothing)
        if not verdict.allowed:
            raise await self.refused(request, user, _refusal(user, access, verdict))
        await self.must_be_known(request)

    def _asked(self, request: web.Request) -> tuple[Access, Find]:
        parts = request.rel_url.raw_path.strip("/").split("/", 2)
        if parts[0] != "api" or len(parts) < 3:
            name = request.match_info.get(
                "name", ""
            )  # of a builder: /badges/NAME.svg, /feeds/builders/NAME/...
            builder = re.sub(r"\.(svg|png)$", "", name)
            kind = "badges" if "badges" in parts[:2] else parts[0]
            return Access(kind, path=request.path, builder=builder or None), _nothing
        raw_path = parts[2]
        found = TABLE.find(split(raw_path))
        if found is None:
            return Access("api", path=f"/{raw_path}"), _nothing
        target = found[0]
        guarded = isinstance(target, Endpoint) and target.guarded
        access = Access(kind_of(target), path=f"/{raw_path}", control=guarded)
        return access, lambda: thing_at(self.services, self._data, raw_path)

    # -- events ------------------------------------------------------------------------------------------

    async def access_of(self, kind: str, id: int) -> tuple[Access, Thing]:
        """The reading that an event of a thing is."""
        access = Access(kind)
        authz = self.authz
        if authz is None or not authz.asks_of_things(access):
            return access, NO_THING
        return access, await thing_of(self.services, kind, id)

    def may(self, user: User, access: Access, thing: Thing = NO_THING) -> bool:
        """Whether somebody may read something."""
        authz = self.authz
        if authz is None:
            return True
        return bool(authz.judge(user.details, replace(access, owner=thing.owner), thing.builders).allowed)

    def why_not(self, user: User, access: Access) -> str:
        """The message to somebody who may not."""
        authz = self.authz
        verdict = authz.judge(user.details, access) if authz is not None else ALLOWED
        return _refusal(user, access, verdict)

    # -- what could be done ------------------------------------------------------------------------------

    async def standing(self, request: web.Request) -> str:
        """Why somebody may not act at all; empty: no reason."""
        try:
            await self.must_be_known(request)
        except (Unauthorized, Denied) as error:
            return error.message
        return ""

    async def outlook(
        self, user: User, standing: str, access: Access, find: Find | None = None
    ) -> dict[str, Any]:
        """Whether a call would pass: ``allowed`` is None where that depends on which thing it is of, which is
        so without ``find``.
        """
        authz, verdict = self.authz, ALLOWED
        if authz is not None and find is None:
            verdict = authz.judge(user.details, replace(access, known=False))
        elif find is not None:
            verdict = await self._judge(user, access, find)
        if verdict.allowed:
            return {"allowed": not standing, "message": standing}
        message = _refusal(user, access, verdict) if verdict.allowed is False else ""
        return {"allowed": verdict.allowed, "message": message}

    async def _judge(self, user: User, access: Access, find: Find) -> Verdict:
        authz = self.authz
        if authz is None:
            return ALLOWED
        thing = await find() if authz.asks_of_things(access) else NO_THING
        return authz.judge(user.details, replace(access, owner=thing.owner), thing.builders)


GATE: Final = web.AppKey("buildwright gate", Gate)


def _route(request: web.Request) -> str:
    """The route that answers a request, however its path is spelled; ``/`` where none does."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "/"


def _is_open(request: web.Request) -> bool:
    """Whether a request is for what everybody gets."""
    route = _route(request)
    return route in _OPEN or route.startswith(_OPEN_BELOW)


def gate_of(request: web.Request) -> Gate:
    """The gate of the application that a request came to."""
    return request.app[GATE]


async def _nothing() -> Thing:
    return NO_THING


async def _of_proxy(request: web.Request, auth: RemoteUserAuth) -> User:
    """Whom a proxy has let in."""
    values = request.headers.getall(auth.header, [])
    if not values:
        return NOBODY
    address = origins.peer(request)
    if address is not None and not any(address in network for network in auth.trustedProxies):
        log.warning("a header that names a user comes from no trusted proxy", peer=str(address))
        return NOBODY
    match = auth.headerRegex.fullmatch(values[0]) if len(values) == 1 else None
    if match is None or not match["username"]:
        log.warning("a proxy's header doesn't fit headerRegex", header=auth.header, times=len(values))
        return NOBODY
    details: dict[str, Any] = {name: value for name, value in match.groupdict().items() if value}
    details = {"email": details["username"]} | details | await more_of(auth, details["username"])
    return User(details, owner_of(details), "proxy")


def _refusal(user: User, access: Access, verdict: Verdict) -> str:
    what = f"{access.action} {access.kind}" if access.action != GET else f"read {access.kind}"
    if not user.known:
        who = "you are not logged in"
    elif user.by == "token":
        who = f"the API token {user.name!r} hasn't got it (roles are given to {TOKEN_PREFIX}{user.name})"
    else:
        who = f"{user.name} hasn't got it"
    return f"you need to have role {verdict.role!r} to {what}: {who}"
