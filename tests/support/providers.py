"""Servers to log in at, on loopback: what GitHub, GitLab, Bitbucket and an OpenID Connect provider answer.

Each keeps to the protocol strictly: a code is good once, for the client, the address and the PKCE challenge
that it was given for; the API wants the token that came of it.
"""

import base64
import hashlib
import secrets
from collections.abc import Callable
from typing import Any

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

CLIENT = "client id"
SECRET = "client secret & more"  # what has to be quoted


class Provider:
    """The server; ``user`` is who is logged in at it, in its own words, by path of its API."""

    def __init__(self) -> None:
        self.api: dict[str, Any] = {}
        self.claims: dict[str, Any] = {}
        self.basic = False  # whether clients say who they are by HTTP basic authentication
        self.key: Any = RSAKey.generate_key(2048, {"kid": "one"})
        self.algorithm = "RS256"
        self.keys: list[Any] = [self.key]
        self.described: dict[str, Any] = {}
        self.sign: Callable[[dict[str, Any]], str] = self._sign
        self.asked: dict[str, str] = {}  # how the browser was sent here
        self.seen: list[str] = []  # paths of the API
        self._codes: dict[str, dict[str, str]] = {}
        self._tokens: set[str] = set()
        self._runner = web.AppRunner(self._app())
        self.url = ""

    async def start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    def use_elliptic_curves(self) -> None:
        self.key = ECKey.generate_key("P-256", {"kid": "two"})
        self.algorithm = "ES256"
        self.keys = [self.key]

    def _app(self) -> web.Application:
        app = web.Application()
        for path in ("/login/oauth/authorize", "/oauth/authorize", "/site/oauth2/authorize", "/authorize"):
            app.router.add_get(path, self._authorize)
        for path in ("/login/oauth/access_token", "/oauth/token", "/site/oauth2/access_token", "/token"):
            app.router.add_post(path, self._token)
        app.router.add_get("/.well-known/openid-configuration", self._describe)
        app.router.add_get("/keys", self._keys)
        app.router.add_get("/{path:.*}", self._api)
        return app

    async def _authorize(self, request: web.Request) -> web.Response:
        asked = self.asked = dict(request.query)
        assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT)
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(8)
        self._codes[code] = asked
        back = f"{asked['redirect_uri']}?code={code}&state={asked['state']}"
        return web.Response(status=302, headers={"Location": back})

    async def _token(self, request: web.Request) -> web.Response:
        form = dict(await request.post())
        if self.basic:
            from urllib.parse import unquote_plus

            _, _, text = request.headers["Authorization"].partition(" ")
            client, secret = map(unquote_plus, base64.b64decode(text).decode().split(":"))
        else:
            client, secret = str(form["client_id"]), str(form["client_secret"])
        asked = self._codes.pop(str(form["code"]), None)
        verifier = str(form["code_verifier"]).encode()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier).digest()).decode().rstrip("=")
        good = (
            asked is not None
            and (client, secret) == (CLIENT, SECRET)
            and form["grant_type"] == "authorization_code"
            and form["redirect_uri"] == asked["redirect_uri"]
            and challenge == asked["code_challenge"]
        )
        if not good or asked is None:
            return web.json_response(
                {"error": "invalid_grant", "error_description": "no such code"}, status=400
            )
        token = secrets.token_urlsafe(8)
        self._tokens.add(token)
        answer = {"access_token": token, "token_type": "bearer"}
        if "openid" in asked.get("scope", "").split():
            answer["id_token"] = self.sign({"nonce": asked.get("nonce"), **self.claims})
        return web.json_response(answer)

    def _sign(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": self.algorithm, "kid": self.key.kid}, claims, self.key)

    async def _describe(self, _request: web.Request) -> web.Response:
        return web.json_response(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                "userinfo_endpoint": f"{self.url}/userinfo",
                "token_endpoint_auth_methods_supported": [
                    "client_secret_basic" if self.basic else "client_secret_post"
                ],
            }
            | self.described
        )

    async def _keys(self, _request: web.Request) -> web.Response:
        return web.json_response(KeySet(self.keys).as_dict(private=False))

    async def _api(self, request: web.Request) -> web.Response:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or token not in self._tokens:
            return web.json_response({"message": "who are you?"}, status=401)
        self.seen.append(request.path_qs)
        found = self.api.get(request.path)
        if found is None:
            return web.json_response({"message": "not found"}, status=404)
        if isinstance(found, list) and "page" in request.query:
            size, page = int(request.query["per_page"]), int(request.query["page"])
            found = found[size * (page - 1) : size * page]
        return web.json_response(found)
