"""Logging in and out over HTTP, and what a page is told of it.

- ``POST /auth/login`` with ``{"username": ..., "password": ...}``, as JSON or as a form, or ``GET`` with HTTP
  basic authentication, where the master checks passwords. The answer is the user (to GET, a redirect to the
  page), with a session's cookie.
- ``GET /auth/login`` where another server does (:mod:`buildwright.web.auth.oauth`): a redirect there; from
  there browsers come back to the same path. ``?redirect=`` says to which place of the page they go on.
- ``POST`` or ``GET /auth/logout`` ends the session for good.
- ``GET /auth/permissions?path=/builds/12`` says for each method of the path whether it would be allowed, and
  if not, why. What is so for all things of a kind stands in ``/config``, too.

Tries are limited by client and name (:mod:`buildwright.web.auth.limits`), and entered in the audit. None of
it is answered to a page of another site."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog
from aiohttp import web

from buildwright.model.authz import Access
from buildwright.model.logins import NoAuth, PasswordAuth, RemoteUserAuth
from buildwright.model.oauth import OAuth2Auth
from buildwright.model.renderable import SecretMissing
from buildwright.model.secrets import SecretUnavailable
from buildwright.store.units.audit import DONE
from buildwright.web.auth import origins
from buildwright.web.auth.gate import Gate
from buildwright.web.auth.limits import Tries
from buildwright.web.auth.oauth import Flow, place_of
from buildwright.web.auth.passwords import Passwords
from buildwright.web.auth.things import Thing, thing_at
from buildwright.web.auth.users import NOBODY, more_of, owner_of
from buildwright.web.data import TABLE, Data, kind_of
from buildwright.web.errors import ApiError, Denied, NotFound, TooMany, Unauthorized, Unavailable
from buildwright.web.methods import COLLECTION_METHODS, METHODS, methods_of
from buildwright.web.paths import split
from buildwright.web.replies import JSON, json_reply
from buildwright.web.services import WebServices

log = structlog.get_logger(__name__)

_WRONG = "no user has this name and password"


class Logins:
    """The handlers."""

    def __init__(self, services: WebServices, gate: Gate) -> None:
        self._services = services
        self._gate = gate
        self._data = Data(services)
        self._tries = Tries(services.now_us)
        self._passwords = Passwords()
        self._flow = Flow(services, gate.sessions)

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/auth/login", self.login)
        app.router.add_post("/auth/login", self.login)
        app.router.add_get("/auth/logout", self.logout)
        app.router.add_post("/auth/logout", self.logout)
        app.router.add_get("/auth/permissions", self.permissions)

    # -- in ----------------------------------------------------------------------------------------------

    async def login(self, request: web.Request) -> web.StreamResponse:
        auth = self._services.snapshot().www.auth
        if isinstance(auth, OAuth2Auth):
            return await self._elsewhere(request, auth)
        origins.check_own(request, self._services.snapshot())
        if isinstance(auth, PasswordAuth):
            return await self._by_password(request, auth)
        if isinstance(auth, RemoteUserAuth):
            user = await self._gate.user(request)
            if not user.known:
                raise Unauthorized("the proxy has let nobody in: this request names no user")
            if request.method == "GET":
                return self._on(request)
            return json_reply({"user": user.shown})
        raise NotFound("this master has no logins: c['www']['auth'] isn't set")

    async def _by_password(self, request: web.Request, auth: PasswordAuth) -> web.StreamResponse:
        given = await _credentials(request)
        if given is None:
            headers = {"WWW-Authenticate": 'Basic realm="Buildwright", charset="UTF-8"'}
            return json_reply({"error": "send a name and a password"}, status=401, headers=headers)
        username, password = given
        client = origins.client(request)
        if wait_us := self._tries.begin(client, username):
            raise TooMany("too many logins have failed: try again later", wait_us // 1_000_000 + 1)
        if not await self._is_right(auth, username, password):
            await self._gate.audit.refused(
                request, None, "login", "auth/login", {}, f"{username[:60]}: {_WRONG}"
            )
            raise Denied(_WRONG)
        self._tries.succeeded(client, username)
        details = {"username": username, "email": username} | await more_of(auth, username)
        response = json_reply({"user": {"anonymous": False} | details})
        if request.method == "GET":
            response = self._on(request)
        return await self._let_in(request, response, details)

    def _on(self, request: web.Request) -> web.Response:
        """Send a browser on to the page."""
        place = place_of(request, self._services.snapshot().buildbot_url)
        return web.Response(status=302, headers={"Location": place})

    async def _is_right(self, auth: PasswordAuth, username: str, password: str) -> bool:
        try:
            return await self._passwords.check(auth, username, password, self._services.snapshot().secret)
        except (SecretMissing, SecretUnavailable) as error:
            log.warning("a password can't be looked up", login=auth.what, why=str(error))
        except Exception as error:
            log.exception("check_credentials raised", login=auth.what, error=type(error).__name__)
        raise Unavailable("passwords can't be checked just now: the master's log says why")

    async def _elsewhere(self, request: web.Request, auth: OAuth2Auth) -> web.StreamResponse:
        if "code" not in request.query and "error" not in request.query:
            return await self._flow.begin(request, auth)
        try:
            details, place = await self._flow.end(request, auth)
        except Denied as error:
            await self._gate.audit.refused(request, None, "login", "auth/login", {}, error.message)
            raise
        details |= await more_of(auth, str(details["username"]))
        response = web.Response(status=302, headers={"Location": place})
        await self._gate.sessions.drop_login(request, response)
        return await self._let_in(request, response, details)

    async def _let_in(
        self, request: web.Request, response: web.Response, details: Mapping[str, Any]
    ) -> web.Response:
        await self._gate.sessions.begin(request, response, details)
        audit = self._gate.audit
        entry = await audit.asked(request, owner_of(details), "login", "auth/login", {})
        await audit.ended(entry, DONE, "")
        return response

    # -- out ---------------------------------------------------------------------------------------------

    async def logout(self, request: web.Request) -> web.StreamResponse:
        snapshot = self._services.snapshot()
        origins.check_own(request, snapshot)
        if request.method == "GET":
            response = web.Response(status=302, headers={"Location": snapshot.buildbot_url})
        else:
            response = json_reply({"user": {"anonymous": True}})
        user = await self._gate.sessions.end(request, response)
        if user is not None:
            audit = self._gate.audit
            await audit.ended(await audit.asked(request, user.name, "logout", "auth/logout", {}), DONE, "")
        return response

    # -- what a page is told -----------------------------------------------------------------------------

    async def permissions(self, request: web.Request) -> web.StreamResponse:
        raw_path = request.query.get("path", "").strip("/")
        found = TABLE.find(split(raw_path))
        if found is None:
            raise NotFound("there is nothing at this path")
        user = await self._gate.user(request)
        target = found[0]
        kind = kind_of(target)
        if not self._gate.may(user, Access(kind)):
            raise Denied(self._gate.why_not(user, Access(kind)))

        async def find() -> Thing:
            return await thing_at(self._services, self._data, raw_path)

        standing = await self._gate.standing(request)
        methods = {}
        for method in methods_of(target):
            of_what = None if method == "force" else find  # whose builders are yet to be picked
            access = Access(kind, method, path=f"/{raw_path}", control=True)
            methods[method] = await self._gate.outlook(user, standing, access, of_what)
        return json_reply({"methods": methods, "user": user.shown}, headers={"Cache-Control": "no-store"})


async def told(gate: Gate, request: web.Request) -> dict[str, Any]:
    """What /config says of logins, of who asks and of what they may."""
    auth = gate.services.snapshot().www.auth
    described = auth.describe()
    if not isinstance(auth, NoAuth | RemoteUserAuth):
        described |= {"loginUri": "auth/login", "logoutUri": "auth/logout"}
    try:
        user = await gate.user(request)
    except Unauthorized:
        user = NOBODY  # a token that isn't known
    standing = await gate.standing(request)
    permissions = {
        kind: {
            method: await gate.outlook(user, standing, Access(kind, method, control=True))
            for method in methods
        }
        for table in (METHODS, COLLECTION_METHODS)
        for kind, methods in table.items()
    }
    return {"auth": described, "authz": {}, "permissions": permissions, "user": user.shown}


async def _credentials(request: web.Request) -> tuple[str, str] | None:
    """The name and password that a request brings."""
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            name, colon, password = b64decode(text, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise ApiError("the Authorization header can't be read") from None
        return (name, password) if colon else None
    if request.method != "POST":
        return None
    given: Any
    if request.content_type == JSON:
        try:
            given = msgspec.json.decode(await request.read())
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ApiError(f"the body is no JSON: {error}") from None
    else:
        given = await request.post()
    fields = given if isinstance(given, Mapping) else {}
    username, word = fields.get("username"), fields.get("password")
    if not isinstance(username, str) or not isinstance(word, str):
        raise ApiError("send 'username' and 'password', as JSON or as a form")
    return username, word
