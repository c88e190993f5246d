"""Logging in at another server: OAuth 2's code flow, with PKCE and a state that only this browser has.

1. ``begin`` sends the browser to the provider. What must be the same when it comes back (state, the verifier
   of PKCE, OpenID Connect's nonce, and where to go on) travels in a signed cookie of ten minutes, which no
   script can read.
2. ``end`` takes the browser that came back with a code: state and cookie must belong together, so that nobody
   can be logged in as somebody else by a link. The code is exchanged for a token, over a connection of the
   master's own, with the client's secret and the verifier.
3. With the token the provider is asked once who that is (:mod:`buildwright.web.auth.forges`,
   :mod:`buildwright.web.auth.oidc`); then the token is forgotten."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import aiohttp
import structlog
from aiohttp import web

from buildwright.model.oauth import OAuth2Auth
from buildwright.model.properties import Properties
from buildwright.model.render import render
from buildwright.web.auth.forges import provider_of
from buildwright.web.auth.provider import Login, Provider, ProviderError
from buildwright.web.auth.sessions import LOGIN, Sessions
from buildwright.web.errors import Denied, Unavailable
from buildwright.web.services import WebServices

log = structlog.get_logger(__name__)

LOGIN_SECONDS: Final = 600
ASK_SECONDS: Final = 15
DESCRIBED_US: Final = 600_000_000
PATH: Final = "auth/login"


class Flow:
    """Both ends of a login at another server."""

    def __init__(self, services: WebServices, sessions: Sessions) -> None:
        self._services = services
        self._sessions = sessions
        # What OpenID Connect's issuers say of themselves: asked for once in a while, not for each browser.
        self._described: dict[str, Any] = {}
        self._forget_us = 0

    async def begin(self, request: web.Request, auth: OAuth2Auth) -> web.Response:
        """Send a browser to the provider."""
        verifier = secrets.token_urlsafe(48)
        login = Login(secrets.token_urlsafe(24), verifier, secrets.token_urlsafe(24))
        async with self._http(auth) as http:
            provider = self._provider(auth, http)
            try:
                where = await provider.where()
            except (ProviderError, aiohttp.ClientError, TimeoutError) as error:
                raise _unavailable(auth, error) from None
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "client_id": await self._text(auth.clientId),
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "redirect_uri": self._redirect_uri,
            "response_type": "code",
            "state": login.state,
            **provider.asks(login),
        }
        response = web.Response(
            status=302,
            headers={
                "Location": f"{where.authorize}{'&' if '?' in where.authorize else '?'}{urlencode(asked)}"
            },
        )
        carried = {
            "state": login.state,
            "verifier": login.verifier,
            "nonce": login.nonce,
            "place": place_of(request, self._services.snapshot().buildbot_url),
            "auth": auth.kind,
        }
        text = await self._sessions.sign(LOGIN, carried, LOGIN_SECONDS)
        await self._sessions.set_cookie(request, response, LOGIN, text, LOGIN_SECONDS)
        return response

    async def end(self, request: web.Request, auth: OAuth2Auth) -> tuple[dict[str, Any], str]:
        """Who a browser is that came back from the provider, and where it goes on; raises Denied."""
        claims = await self._sessions.claims(request, LOGIN)
        state = request.query.get("state", "")
        if claims is None or claims["auth"] != auth.kind:
            raise Denied(
                "this login was not begun in this browser, or too long ago; begin again at "
                f"{self._services.snapshot().buildbot_url}"
            )
        if not hmac.compare_digest(state.encode(), claims["state"].encode()):
            raise Denied("this login's state is not the one that it was begun with: begin again")
        if "error" in request.query:
            said = request.query.get("error_description") or request.query["error"]
            raise Denied(f"{auth.title} has not let you in: {said[:200]}")
        login = Login(claims["state"], claims["verifier"], claims["nonce"])
        try:
            async with asyncio.timeout(ASK_SECONDS), self._http(auth) as http:
                provider = self._provider(auth, http)
                details = await self._ask(provider, auth, login, request.query["code"])
        except ProviderError as error:
            log.warning("a login at another server failed", provider=auth.what, why=str(error))
            raise Denied(f"{auth.title} does not say who you are: {error}") from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _unavailable(auth, error) from None
        return details, str(claims["place"])

    def _provider(self, auth: OAuth2Auth, http: aiohttp.ClientSession) -> Provider:
        now = self._services.now_us()
        if now >= self._forget_us:
            self._described.clear()
            self._forget_us = now + DESCRIBED_US
        return provider_of(auth, http, self._described)

    async def _ask(self, provider: Provider, auth: OAuth2Auth, login: Login, code: str) -> dict[str, Any]:
        where = await provider.where()
        client = await self._text(auth.clientId), await self._text(auth.clientSecret)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": login.verifier,
        }
        answer = await provider.exchange(where, form, client)
        details = await provider.user(answer, login, client[0])
        if not details.get("username"):
            raise ProviderError("its answer names no user")
        return {name: value for name, value in details.items() if value not in (None, "", [])}

    def _http(self, auth: OAuth2Auth) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(ssl=auth.ssl_verify)
        headers = {"Accept": "application/json", "User-Agent": "Buildwright"}
        timeout = aiohttp.ClientTimeout(total=ASK_SECONDS)
        return aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout, trust_env=True)

    async def _text(self, value: Any) -> str:
        properties = Properties()
        properties.secret_source = self._services.snapshot().secret
        return str(await render(value, properties))

    @property
    def _redirect_uri(self) -> str:
        return f"{self._services.snapshot().buildbot_url}{PATH}"


def place_of(request: web.Request, base: str) -> str:
    """Where a browser goes on after its login: a place of our page, wherever ``redirect`` may point."""
    wanted = request.query.get("redirect", "")
    if not wanted or not wanted.isprintable() or len(wanted) > 1000:
        return base
    if wanted.startswith("/") and not wanted.startswith(("//", "/\\")):
        own = urlsplit(base)
        return f"{own.scheme}://{own.netloc}{wanted}"
    return f"{base}#{wanted.removeprefix('#')}"


def _unavailable(auth: OAuth2Auth, error: Exception) -> Unavailable:
    why = str(error) or type(error).__name__
    log.warning("another server's login can't be used", provider=auth.what, why=why)
    return Unavailable(f"{auth.title} can't be asked just now: {why[:200]}")
