"""Logging in at another server, each on loopback and strict: forges by OAuth 2, others by OpenID Connect."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from yarl import URL

from buildwright.model.authz import AnyControlEndpointMatcher, Authz
from buildwright.model.logins import AuthBase
from buildwright.model.oauth import OIDCAuth
from buildwright.model.render import Secret
from buildwright.model.roles import RolesFromGroups
from buildwright.plugins import util
from tests.support.providers import CLIENT, SECRET, Provider
from tests.support.webserver import Server, snapshot
from tests.web.test_audit import entries
from tests.web.test_login import Person


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    found = Provider()
    await found.start()
    yield found
    await found.stop()


@pytest.fixture
async def person(server: Server) -> AsyncIterator[Person]:
    found = Person(server)
    yield found
    await found.http.close()


class Secrets:
    async def get(self, name: str) -> str | None:
        return SECRET if name == "client-secret" else None


def use(server: Server, auth: AuthBase, **www: Any) -> None:
    whole = snapshot(auth=auth, **www)
    server.snapshot = replace(whole, buildbot_url=f"{server.url}/", secrets_providers=[Secrets()])


async def step(person: Person, url: str) -> tuple[int, str]:
    """One request of a browser: status, and where it is sent or what it is told."""
    async with person.http.get(URL(url, encoded=True), allow_redirects=False) as response:
        return response.status, response.headers.get("Location") or await response.text()


async def go(person: Person, query: str = "") -> tuple[int, str]:
    """A whole login: to the provider, back, and in."""
    status, there = await step(person, f"{person.server.url}/auth/login{query}")
    assert status == 302, there
    status, back = await step(person, there)
    assert (status, back.startswith(f"{person.server.url}/auth/login?code=")) == (302, True)
    return await step(person, back)


async def test_github(server: Server, person: Person, provider: Provider) -> None:
    use(server, util.GitHubAuth(CLIENT, Secret("client-secret"), serverURL=provider.url))
    provider.api = {
        "/api/v3/user": {"login": "ann", "name": "Ann A.", "email": "public@example.org"},
        "/api/v3/user/emails": [
            {"email": "old@example.org", "primary": False, "verified": True},
            {"email": "ann@example.org", "primary": True, "verified": True},
        ],
        "/api/v3/user/orgs": [{"login": f"org-{number}"} for number in range(150)],
    }
    assert await go(person) == (302, f"{server.url}/")
    user = await person.user()
    assert (user["username"], user["full_name"], user["email"]) == ("ann", "Ann A.", "ann@example.org")
    assert user["groups"] == [f"org-{number}" for number in range(150)]
    assert provider.asked["scope"] == "user:email read:org"
    assert (await person.call("/workers/1", "pause"))[0] == 200
    # An address that isn't verified is nobody's.
    provider.api["/api/v3/user/emails"][1]["verified"] = False
    await go(person)
    assert "email" not in await person.user()
    assert {(each["who"], each["method"]) for each in await entries(server)} == {
        ("ann@example.org", "login"),
        ("ann@example.org", "pause"),
        ("ann", "login"),
    }


async def test_teams_of_github(server: Server, person: Person, provider: Provider) -> None:
    auth = util.GitHubAuth(CLIENT, SECRET, serverURL=provider.url, apiVersion=4, getTeamsMembership=True)
    rules = Authz([AnyControlEndpointMatcher(role="core")], [RolesFromGroups(groupPrefix="org/")])
    use(server, auth, authz=rules)
    provider.api = {
        "/api/v3/user": {"login": "ann", "name": None},
        "/api/v3/user/emails": [],
        "/api/v3/user/orgs": [{"login": "org"}],
        "/api/v3/user/teams": [{"organization": {"login": "org"}, "slug": "core", "name": "The Core"}],
    }
    await go(person)
    assert (await person.user())["groups"] == ["org", "org/core", "org/The Core"]
    assert (await person.call("/workers/1", "pause"))[0] == 200
    provider.api["/api/v3/user/teams"][0]["slug"] = "guests"
    await go(person)
    assert (await person.call("/workers/1", "pause"))[0] == 403


async def test_gitlab(server: Server, person: Person, provider: Provider) -> None:
    use(server, util.GitLabAuth(provider.url, CLIENT, SECRET, scope="read_api"))
    provider.api = {
        "/api/v4/user": {
            "username": "ann", "name": "Ann", "email": "ann@example.org", "confirmed_at": "2020-01-01",
        },
        "/api/v4/groups": [{"path": "tools", "full_path": "tools"}, {"path": "ci", "full_path": "tools/ci"}],
    }  # fmt: skip
    assert (await go(person))[0] == 302
    assert (await person.user())["groups"] == ["tools", "tools/ci"]
    assert (await person.user())["email"] == "ann@example.org"
    assert provider.asked["scope"] == "read_api"
    assert any("min_access_level=10" in path and "all_available=false" in path for path in provider.seen)


async def test_bitbucket(
    server: Server, person: Person, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(util.BitbucketAuth, "server", provider.url)
    monkeypatch.setattr(util.BitbucketAuth, "api", provider.url)
    provider.basic = True
    use(server, util.BitbucketAuth(CLIENT, SECRET))
    provider.api = {
        "/2.0/user": {"username": "ann", "display_name": "Ann"},
        "/2.0/user/emails": {"values": [{"email": "ann@x.org", "is_primary": True, "is_confirmed": True}]},
        "/2.0/workspaces": {"values": [{"slug": "one"}], "next": f"{provider.url}/2.0/more"},
        "/2.0/more": {"values": [{"slug": "two"}]},
    }
    assert (await go(person))[0] == 302
    assert await person.user() == {
        "anonymous": False,
        "username": "ann",
        "full_name": "Ann",
        "email": "ann@x.org",
        "groups": ["one", "two"],
    }
    provider.api["/2.0/workspaces"]["next"] = "http://127.0.0.1:1/elsewhere"
    assert (await go(person))[0] == 403


def claims(provider: Provider, **more: Any) -> dict[str, Any]:
    now = int(time.time())
    return {
        "iss": provider.url,
        "aud": CLIENT,
        "sub": "4711",
        "iat": now,
        "exp": now + 300,
        "preferred_username": "ann",
        "name": "Ann",
        "email": "ann@example.org",
        "email_verified": True,
        **more,
    }


@pytest.mark.parametrize("basic", [False, True])
async def test_openid_connect(server: Server, person: Person, provider: Provider, basic: bool) -> None:
    provider.basic = basic
    use(server, OIDCAuth(provider.url, CLIENT, Secret("client-secret"), groupsClaim="realm.roles"))
    provider.claims = claims(provider)
    provider.api = {"/userinfo": {"sub": "4711", "realm": {"roles": ["staff", "admins"]}, "name": "Other"}}
    if basic:
        provider.use_elliptic_curves()
    assert await go(person, "?redirect=/builders/3") == (302, f"{server.url}/builders/3")
    assert await person.user() == {
        "anonymous": False,
        "username": "ann",
        "full_name": "Ann",
        "email": "ann@example.org",
        "groups": ["staff", "admins"],
    }
    assert set(provider.asked["scope"].split()) == {"openid", "email", "profile"}
    provider.claims = claims(provider, email_verified=False)
    await go(person)
    assert "email" not in await person.user()


async def test_google(
    server: Server, person: Person, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(util.GoogleAuth, "google", provider.url)
    use(server, util.GoogleAuth(CLIENT, SECRET))
    provider.claims = claims(provider)
    provider.api = {"/userinfo": {"sub": "4711"}}
    await go(person)
    assert (await person.user())["username"] == "ann@example.org"
    # Its first part alone could be anybody's; and an address must be verified to be a name.
    provider.claims = claims(provider, email_verified=False)
    status, why = await go(person)
    assert (status, "names no user" in why) == (403, True)


def _other_key(provider: Provider, told: dict[str, Any]) -> str:
    return jwt.encode({"alg": "RS256", "kid": "one"}, told, RSAKey.generate_key(2048))


def _shared(provider: Provider, told: dict[str, Any]) -> str:
    public = provider.key.as_pem(private=False)
    return jwt.encode(
        {"alg": "HS256"}, told, OctKey.import_key(SECRET.encode() + public[:1]), algorithms=["HS256"]
    )


def _unsigned(_provider: Provider, told: dict[str, Any]) -> str:
    import base64
    import json

    parts = [json.dumps(part).encode() for part in ({"alg": "none"}, told)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."


@pytest.mark.parametrize("sign", [_other_key, _shared, _unsigned])
async def test_an_id_token_that_the_provider_has_not_signed(
    server: Server, person: Person, provider: Provider, sign: Any
) -> None:
    use(server, OIDCAuth(provider.url, CLIENT, SECRET))
    provider.claims = claims(provider)
    provider.api = {"/userinfo": {"sub": "4711"}}
    provider.sign = lambda told: str(sign(provider, told))
    status, why = await go(person)
    assert (status, "not valid" in why) == (403, True)
    assert await person.user() == {"anonymous": True}


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "https://elsewhere.example.org"},
        {"aud": "another client"},
        {"aud": [CLIENT, "another client"]},
        {"exp": 1_000_000_000},
        {"iat": 4_000_000_000},
        {"nonce": "of another login"},
        {"sub": "4712"},
        {"sub": None},
        {"preferred_username": None},
    ],
)
async def test_an_id_token_of_something_else(
    server: Server, person: Person, provider: Provider, wrong: dict[str, Any]
) -> None:
    use(server, OIDCAuth(provider.url, CLIENT, SECRET))
    provider.claims = claims(provider, **wrong)
    provider.api = {"/userinfo": {"sub": "4711"}}
    status, why = await go(person)
    assert status == 403, why
    assert await person.user() == {"anonymous": True}


async def test_an_issuer_must_be_who_it_says(server: Server, person: Person, provider: Provider) -> None:
    use(server, OIDCAuth(provider.url, CLIENT, SECRET))
    provider.described = {"issuer": "https://elsewhere.example.org"}
    status, why = await step(person, f"{server.url}/auth/login")
    assert (status, "must be the same" in why) == (503, True)
    await provider.stop()
    status, why = await step(person, f"{server.url}/auth/login")
    assert (status, "can't be asked just now" in why) == (503, True)


async def test_a_login_belongs_to_the_browser_that_began_it(
    server: Server, person: Person, provider: Provider
) -> None:
    use(server, OIDCAuth(provider.url, CLIENT, SECRET))
    provider.claims = claims(provider)
    provider.api = {"/userinfo": {"sub": "4711"}}
    _, there = await step(person, f"{server.url}/auth/login")
    _, back = await step(person, there)
    # Somebody else is sent the link of a login that isn't theirs.
    victim = Person(server)
    status, why = await step(victim, back)
    assert (status, "not begun in this browser" in why) == (403, True)
    await step(victim, f"{server.url}/auth/login")
    status, why = await step(victim, back)
    assert (status, "state" in why) == (403, True)
    assert await victim.user() == {"anonymous": True}
    await victim.http.close()
    state = URL(back).query["state"]
    status, why = await step(person, f"{server.url}/auth/login?code=guessed&state={state}")
    assert (status, "the code is refused: no such code" in why) == (403, True)
    status, why = await step(person, f"{server.url}/auth/login?error=access_denied&state={state}")
    assert (status, "access_denied" in why) == (403, True)
    assert (await step(person, back))[0] == 302
    assert (await person.user())["username"] == "ann"
    # A code and a state are good once.
    assert (await step(person, back))[0] == 403
    now_us = server.services.now_us
    _, there = await step(person, f"{server.url}/auth/login")
    _, back = await step(person, there)
    server.services.now_us = lambda: now_us() + 601_000_000
    assert (await step(person, back))[0] == 403


async def test_a_sessions_cookie_is_no_login_and_the_other_way_round(
    server: Server, person: Person, provider: Provider
) -> None:
    use(server, OIDCAuth(provider.url, CLIENT, SECRET))
    await step(person, f"{server.url}/auth/login")
    [carried] = person.cookies
    session = carried.key.replace("-login-", "-session-")
    async with aiohttp.ClientSession() as other:
        headers = {"Cookie": f"{session}={carried.value}"}
        async with other.get(f"{server.url}/config", headers=headers) as response:
            assert (await response.json())["user"] == {"anonymous": True}


@pytest.mark.parametrize(
    ("wanted", "place"),
    [
        ("/builders/3", "/builders/3"),
        ("//evil.example.org/", "/#//evil.example.org/"),
        ("/%5Cevil.example.org/", "/#/\\evil.example.org/"),
        ("https://evil.example.org/", "/#https://evil.example.org/"),
        ("%23/builders/3", "/#/builders/3"),
        ("builders", "/#builders"),
        ("/x%0D%0ASet-Cookie:a=b", "/"),
        ("", "/"),
    ],
)
async def test_a_login_leads_nowhere_else(
    server: Server, person: Person, provider: Provider, wanted: str, place: str
) -> None:
    use(server, OIDCAuth(provider.url, CLIENT, SECRET))
    provider.claims = claims(provider)
    provider.api = {"/userinfo": {"sub": "4711"}}
    assert await go(person, f"?redirect={wanted}") == (302, f"{server.url}{place}")


async def test_secrets_stay_with_the_master(server: Server, person: Person, provider: Provider) -> None:
    use(server, util.GitHubAuth(CLIENT, Secret("client-secret"), serverURL=provider.url, autologin=True))
    _, config = await person.get("/config")
    assert config["auth"] == {
        "name": "GitHub",
        "oauth2": True,
        "fa_icon": "fa-github",
        "autologin": True,
        "loginUri": "auth/login",
        "logoutUri": "auth/logout",
    }
    _, there = await step(person, f"{server.url}/auth/login")
    assert SECRET not in there
    assert "client_secret" not in there
    [carried] = person.cookies
    assert (carried["httponly"], carried["samesite"]) == (True, "Lax")


async def test_too_many_groups_for_a_session_are_told(
    server: Server, person: Person, provider: Provider
) -> None:
    use(server, util.GitHubAuth(CLIENT, SECRET, serverURL=provider.url))
    provider.api = {
        "/api/v3/user": {"login": "ann"},
        "/api/v3/user/emails": [],
        "/api/v3/user/orgs": [{"login": f"organization-of-some-length-{number}"} for number in range(300)],
    }
    status, why = await go(person)
    assert (status, "you are in 300 groups" in why) == (403, True)
    rules = Authz([AnyControlEndpointMatcher(role="299")], [RolesFromGroups("organization-of-some-length-")])
    use(server, util.GitHubAuth(CLIENT, SECRET, serverURL=provider.url), authz=rules)
    provider.api["/api/v3/user/orgs"] = [{"login": f"g{number:04}"} for number in range(1500)]
    provider.api["/api/v3/user/orgs"].append({"login": "organization-of-some-length-299"})
    assert (await go(person))[0] == 302
    # Of groups too many, those are carried that are roles.
    assert (await person.user())["groups"] == ["organization-of-some-length-299"]
    assert (await person.call("/workers/1", "pause"))[0] == 200
