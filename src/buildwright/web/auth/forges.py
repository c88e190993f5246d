"""Who somebody is at GitHub, GitLab and Bitbucket, asked with the token that their login gave.

An address counts only if its forge has verified it, and a group only where nobody can make one of that name
for themselves."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import aiohttp

from buildwright.model.oauth import BitbucketAuth, GitHubAuth, GitLabAuth, OAuth2Auth, OIDCAuth
from buildwright.web.auth.provider import Login, Provider, ProviderError, Where, exchange, get

MOST_PAGES: Final = 20
_PER_PAGE: Final = 100


def provider_of(
    auth: OAuth2Auth, http: aiohttp.ClientSession, described: MutableMapping[str, Any]
) -> Provider:
    """The provider that a configuration names."""
    from buildwright.web.auth.oidc import OpenIdProvider

    if isinstance(auth, GitHubAuth):
        return GitHub(auth, http)
    if isinstance(auth, GitLabAuth):
        return GitLab(auth, http)
    if isinstance(auth, BitbucketAuth):
        return Bitbucket(auth, http)
    assert isinstance(auth, OIDCAuth)
    return OpenIdProvider(auth, http, described)


class _Forge:
    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def exchange(
        self, where: Where, form: Mapping[str, str], client: tuple[str, str]
    ) -> dict[str, Any]:
        return await exchange(self._http, where, form, client)

    async def _pages(self, url: str, token: str) -> list[dict[str, Any]]:
        """The objects of a list that comes in numbered pages."""
        found: list[dict[str, Any]] = []
        for page in range(1, MOST_PAGES + 1):
            sign = "&" if "?" in url else "?"
            part = await get(self._http, f"{url}{sign}per_page={_PER_PAGE}&page={page}", token)
            found += _objects(part, url)
            if len(part) < _PER_PAGE:
                break
        return found


class GitHub(_Forge):
    """GitHub, and GitHub Enterprise Server."""

    def __init__(self, auth: GitHubAuth, http: aiohttp.ClientSession) -> None:
        super().__init__(http)
        self._auth = auth

    async def where(self) -> Where:
        base = f"{self._auth.serverURL}/login/oauth"
        return Where(f"{base}/authorize", f"{base}/access_token")

    def asks(self, _login: Login, /) -> Mapping[str, str]:
        return {"scope": "user:email read:org"}

    async def user(self, answer: Mapping[str, Any], _login: Login, _client_id: str, /) -> dict[str, Any]:
        api, token = self._auth.apiURL, answer["access_token"]
        user = _object(await get(self._http, f"{api}/user", token), "user")
        emails = await self._pages(f"{api}/user/emails", token)
        groups = [each["login"] for each in await self._pages(f"{api}/user/orgs", token)]
        if self._auth.getTeamsMembership:
            for team in await self._pages(f"{api}/user/teams", token):
                organization = team["organization"]["login"]
                groups += [f"{organization}/{team['slug']}", f"{organization}/{team['name']}"]
        primary = (each["email"] for each in emails if each.get("primary") and each.get("verified"))
        return {
            "username": user.get("login"),
            "full_name": user.get("name"),
            "email": next(primary, None),
            "groups": list(dict.fromkeys(groups)),
        }


class GitLab(_Forge):
    """A GitLab."""

    def __init__(self, auth: GitLabAuth, http: aiohttp.ClientSession) -> None:
        super().__init__(http)
        self._auth = auth

    async def where(self) -> Where:
        base = f"{self._auth.instanceUri}/oauth"
        return Where(f"{base}/authorize", f"{base}/token")

    def asks(self, _login: Login, /) -> Mapping[str, str]:
        return {"scope": self._auth.scope} if self._auth.scope else {}

    async def user(self, answer: Mapping[str, Any], _login: Login, _client_id: str, /) -> dict[str, Any]:
        api, token = f"{self._auth.instanceUri}/api/v4", answer["access_token"]
        user = _object(await get(self._http, f"{api}/user", token), "user")
        # Those that one is a member of: an administrator sees all of them otherwise.
        groups = await self._pages(f"{api}/groups?all_available=false&min_access_level=10", token)
        return {
            "username": user.get("username"),
            "full_name": user.get("name"),
            "email": user.get("email") if user.get("confirmed_at") else None,
            "groups": [each["full_path"] for each in groups],
        }


class Bitbucket(_Forge):
    """Bitbucket Cloud."""

    def __init__(self, auth: BitbucketAuth, http: aiohttp.ClientSession) -> None:
        super().__init__(http)
        self._auth = auth

    async def where(self) -> Where:
        base = f"{self._auth.server}/site/oauth2"
        return Where(f"{base}/authorize", f"{base}/access_token", basic=True)

    def asks(self, _login: Login, /) -> Mapping[str, str]:
        return {}

    async def user(self, answer: Mapping[str, Any], _login: Login, _client_id: str, /) -> dict[str, Any]:
        api, token = f"{self._auth.api}/2.0", answer["access_token"]
        user = _object(await get(self._http, f"{api}/user", token), "user")
        emails = await self._values(f"{api}/user/emails", token)
        workspaces = await self._values(f"{api}/workspaces?role=member", token)
        primary = (each["email"] for each in emails if each.get("is_primary") and each.get("is_confirmed"))
        return {
            "username": user.get("username") or user.get("account_id"),
            "full_name": user.get("display_name"),
            "email": next(primary, None),
            "groups": [each["slug"] for each in workspaces],
        }

    async def _values(self, url: str, token: str) -> list[dict[str, Any]]:
        """The objects of a list whose parts name the next one."""
        found: list[dict[str, Any]] = []
        for _ in range(MOST_PAGES):
            part = _object(await get(self._http, url, token), "list")
            found += _objects(part.get("values"), url)
            following = part.get("next")
            if not following:
                break
            if not str(following).startswith(f"{self._auth.api}/"):
                raise ProviderError("its list goes on somewhere else")
            url = str(following)
        return found


def _object(found: Any, what: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise ProviderError(f"its answer holds no {what}")
    return found


def _objects(found: Any, url: str) -> list[dict[str, Any]]:
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ProviderError(f"{url} answers with no list of objects")
    return found
