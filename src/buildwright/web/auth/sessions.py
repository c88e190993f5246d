"""Sessions: who has logged in, in a cookie that this database's masters have signed.

The cookie is a JWT (HS256), so any master knows its sender without looking anything up, except whether the
session was ended before its time: that is asked of the store each time, and nothing is cached. The key is
made by the first master that needs it and kept in the store. The cookie is for this host alone, no script can
read it, it comes along with no request of a foreign page that changes anything (``SameSite=Lax``; the gate
looks at the origin besides), and over HTTPS it goes over HTTPS only.

A session knows its kind of login: when the configuration changes to another one, or no longer has the user,
it ends. The same key signs what a browser carries to another server and back during a login, under another
``use``."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from buildwright.model.logins import PasswordAuth
from buildwright.store.units.sessions import end_session, is_ended, signing_key
from buildwright.web.auth.origins import is_secure
from buildwright.web.auth.passwords import knows
from buildwright.web.auth.users import User, owner_of
from buildwright.web.errors import Denied
from buildwright.web.services import WebServices

if TYPE_CHECKING:
    from joserfc.jwk import OctKey

SESSION: Final = "session"
LOGIN: Final = "login"
LONGEST_COOKIE: Final = 3800  # browsers keep 4096 bytes with name and attributes
_ALGORITHM: Final = "HS256"
_SECOND: Final = 1_000_000


class Sessions:
    """Makes, reads and ends sessions."""

    def __init__(self, services: WebServices) -> None:
        self._services = services
        self._key: OctKey | None = None
        self._mark = ""  # of the database, in the cookies' names: a host may have masters of several

    async def begin(
        self, request: web.Request, response: web.StreamResponse, details: Mapping[str, Any]
    ) -> None:
        """Give the browser a session of a user. Of groups too many, it holds those that are roles; raises
        Denied for one who is too much to carry even so.
        """
        www = self._services.snapshot().www
        groups = list(details.get("groups") or ())
        claims = {"user": dict(details), "auth": www.auth.kind, "id": secrets.token_urlsafe(16)}
        text = await self.sign(SESSION, claims, www.session_seconds)
        if len(text) > LONGEST_COOKIE and www.authz is not None:
            claims["user"] = {**details, "groups": www.authz.groups_with_roles(details)}
            text = await self.sign(SESSION, claims, www.session_seconds)
        if len(text) > LONGEST_COOKIE:
            raise Denied(
                f"you are in {len(groups)} groups, more than a session can hold; a RolesFromGroups whose "
                "groupPrefix fits fewer of them would help"
            )
        await self.set_cookie(request, response, SESSION, text, www.session_seconds)

    async def read(self, request: web.Request) -> User | None:
        """Who the request's session says it is, while it is valid."""
        claims = await self.claims(request, SESSION)
        return None if claims is None else await self._user(claims)

    async def lives(self, user: User) -> bool:
        """Whether a session that was read before is still valid."""
        if user.expires_us <= self._services.now_us() or await self._services.store.read(
            is_ended(user.session)
        ):
            return False
        return await self._is_welcome(user.details)

    async def end(self, request: web.Request, response: web.StreamResponse) -> User | None:
        """End the request's session for good; gives whose it was."""
        user = await self.read(request)
        await self.set_cookie(request, response, SESSION, "", 0)
        if user is not None:
            await self._services.store.run(
                end_session(user.session, user.expires_us, self._services.now_us())
            )
        return user

    async def drop_login(self, request: web.Request, response: web.StreamResponse) -> None:
        """Have the browser forget a login at another server, which has come to its end."""
        await self.set_cookie(request, response, LOGIN, "", 0)

    # -- what is signed ----------------------------------------------------------------------------------

    async def sign(self, use: str, claims: Mapping[str, Any], seconds: int) -> str:
        """Claims as a text that only a master can have made."""
        from joserfc import jwt

        now = self._services.now_us() // _SECOND
        told = {**claims, "use": use, "iat": now, "exp": now + seconds}
        return jwt.encode({"alg": _ALGORITHM}, told, await self._signing_key())

    async def claims(self, request: web.Request, use: str) -> dict[str, Any] | None:
        """What a cookie of the request says, if a master has signed it for this use and it is in time."""
        from joserfc import jwt
        from joserfc.errors import JoseError

        if not request.cookies:
            return None
        key = await self._signing_key()
        text = request.cookies.get(self._cookie(request, use))
        if not text:
            return None
        try:
            claims = jwt.decode(text, key, algorithms=[_ALGORITHM]).claims
        except (JoseError, ValueError):
            return None
        if claims.get("use") != use or claims["exp"] * _SECOND <= self._services.now_us():
            return None
        return dict(claims)

    async def set_cookie(
        self, request: web.Request, response: web.StreamResponse, use: str, text: str, seconds: int
    ) -> None:
        """Have the browser keep a signed text, or with none drop it."""
        await self._signing_key()
        secure = is_secure(request, self._services.snapshot())
        response.set_cookie(
            self._cookie(request, use),
            text,
            max_age=seconds,
            path="/",
            httponly=True,
            samesite="Lax",
            secure=secure,
        )
        response.headers["Cache-Control"] = "no-store"

    def _cookie(self, request: web.Request, use: str) -> str:
        # A browser takes `__Host-` from this very host over HTTPS only: no neighbour can plant it.
        prefix = "__Host-" if is_secure(request, self._services.snapshot()) else ""
        return f"{prefix}buildwright-{use}-{self._mark}"

    async def _signing_key(self) -> OctKey:
        if self._key is None:
            from joserfc.jwk import OctKey

            store, now_us = self._services.store, self._services.now_us()
            key = await store.run(signing_key("sessions", secrets.token_bytes(32), now_us))
            self._mark = hashlib.sha256(b"name" + key).hexdigest()[:8]
            self._key = OctKey.import_key(key)
        return self._key

    async def _user(self, claims: Mapping[str, Any]) -> User | None:
        details = claims["user"]
        if claims["auth"] != self._services.snapshot().www.auth.kind or not await self._is_welcome(details):
            return None
        if await self._services.store.read(is_ended(claims["id"])):
            return None
        return User(details, owner_of(details), "session", claims["id"], claims["exp"] * _SECOND)

    async def _is_welcome(self, details: Mapping[str, Any]) -> bool:
        auth = self._services.snapshot().www.auth
        if not isinstance(auth, PasswordAuth):
            return True
        return await asyncio.to_thread(knows, auth, str(details.get("username")))
