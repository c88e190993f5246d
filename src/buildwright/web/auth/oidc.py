"""OpenID Connect: who somebody is, by an ID token that the provider has signed.

The provider's description is read from its issuer's address and must name that very issuer. The token's
signature is checked with the provider's keys (never with a shared secret, and never "none"), and that it is
from this issuer, for this client, of this login (the nonce), and in time. What the provider's answer about
the user says besides counts if it is of the same subject."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import aiohttp

from buildwright.model.oauth import OIDCAuth
from buildwright.web.auth.provider import Login, ProviderError, Where, exchange, get

ALGORITHMS: Final = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
LEEWAY_SECONDS: Final = 60


class OpenIdProvider:
    """Any provider of OpenID Connect."""

    def __init__(
        self, auth: OIDCAuth, http: aiohttp.ClientSession, described: MutableMapping[str, Any]
    ) -> None:
        self._auth = auth
        self._http = http
        self._described = described  # what issuers say of themselves, for a while; the flow's
        self._description: Mapping[str, Any] = {}

    async def where(self) -> Where:
        issuer = self._auth.issuer
        found = self._described.get(issuer)
        if found is None:
            found = await get(self._http, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            if not isinstance(found, dict) or found.get("issuer") != issuer:
                named = found.get("issuer") if isinstance(found, dict) else None
                raise ProviderError(f"the issuer {issuer!r} calls itself {named!r}; they must be the same")
            self._described[issuer] = found
        self._description = found
        methods = self._description.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        return Where(
            self._address("authorization_endpoint"),
            self._address("token_endpoint"),
            basic="client_secret_basic" in methods,
        )

    def asks(self, login: Login, /) -> Mapping[str, str]:
        return {"scope": " ".join(self._auth.scopes), "nonce": login.nonce}

    async def exchange(
        self, where: Where, form: Mapping[str, str], client: tuple[str, str]
    ) -> dict[str, Any]:
        return await exchange(self._http, where, form, client)

    async def user(self, answer: Mapping[str, Any], login: Login, client_id: str, /) -> dict[str, Any]:
        claims = await self._claims(str(answer.get("id_token") or ""), login, client_id)
        if self._description.get("userinfo_endpoint"):
            more = await get(self._http, self._address("userinfo_endpoint"), answer["access_token"])
            if not isinstance(more, dict) or more.get("sub") != claims["sub"]:
                raise ProviderError("its answer about the user is about somebody else")
            claims = {**more, **claims}
        verified = claims.get("email_verified") in (True, "true")
        email = claims.get("email") if verified or not self._auth.verifiedEmailOnly else None
        username = email if self._auth.usernameClaim == "email" else _lookup(claims, self._auth.usernameClaim)
        groups = _lookup(claims, self._auth.groupsClaim)
        return {
            "username": username,
            "full_name": claims.get("name"),
            "email": email,
            "groups": [str(each) for each in groups] if isinstance(groups, list) else [],
        }

    async def _claims(self, id_token: str, login: Login, client_id: str) -> dict[str, Any]:
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        keys = await get(self._http, self._address("jwks_uri"))
        try:
            token = jwt.decode(id_token, KeySet.import_key_set(keys), algorithms=ALGORITHMS)
            jwt.JWTClaimsRegistry(
                leeway=LEEWAY_SECONDS,
                iss={"essential": True, "value": self._auth.issuer},
                aud={"essential": True, "value": client_id},
                sub={"essential": True},
                exp={"essential": True},
                iat={"essential": True},
                nonce={"essential": True, "value": login.nonce},
            ).validate(token.claims)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise ProviderError(f"its ID token is not valid: {error}") from None
        claims = dict(token.claims)
        if isinstance(claims["aud"], list) and len(claims["aud"]) > 1 and claims.get("azp") != client_id:
            raise ProviderError("its ID token is for somebody else")
        return claims

    def _address(self, name: str) -> str:
        found = self._description.get(name)
        if not isinstance(found, str) or not found.startswith(("https://", "http://")):
            raise ProviderError(f"its description has no {name}")
        return found


def _lookup(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or within objects by a name with dots."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
