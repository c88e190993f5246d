"""Logging in with a password, by a proxy, out again; sessions, and how often one may try."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
import pytest
from yarl import URL

from buildwright.model.logins import CustomAuth, RemoteUserAuth
from buildwright.model.render import Secret
from buildwright.plugins import util
from buildwright.web.auth import limits
from buildwright.web.auth.passwords import fits, is_hash
from buildwright.web.auth.tokens import new_token
from tests.support.rig import rig
from tests.support.webserver import Server, snapshot
from tests.web.test_audit import entries

USERS = {"ann": "a good one", "bob": bcrypt.hashpw(b"bobs", b"$2b$04$Fd5CUHkkfJ1QnvjrOp6Wlu").decode()}


class Person:
    """A browser, and what it asks for."""

    def __init__(self, server: Server) -> None:
        self.http = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
        self.server = server
        self.headers: dict[str, str] = {}

    async def login(self, username: str, password: str, **headers: str) -> tuple[int, Any]:
        given = {"username": username, "password": password}
        return await self.post("/auth/login", given, **headers)

    async def post(self, path: str, given: Any, **headers: str) -> tuple[int, Any]:
        url = f"{self.server.url}{path}"
        async with self.http.post(url, json=given, headers=self.headers | headers) as response:
            return response.status, await response.json()

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        url = URL(f"{self.server.url}{path}", encoded=True)
        async with self.http.get(url, headers=self.headers | headers) as response:
            return response.status, await response.json()

    async def call(self, path: str, method: str, params: Any = None, **headers: str) -> tuple[int, Any]:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
        status, answer = await self.post(f"/api/v2{path}", body, **headers)
        error = answer.get("error", {})
        return status, answer.get("result", error if isinstance(error, str) else error.get("message"))

    async def user(self) -> Any:
        return (await self.get("/config"))[1]["user"]

    @property
    def cookies(self) -> list[Any]:
        return list(self.http.cookie_jar)


@pytest.fixture
async def person(server: Server) -> AsyncIterator[Person]:
    found = Person(server)
    yield found
    await found.http.close()


@pytest.fixture
def passwords(server: Server) -> None:
    server.snapshot = snapshot(auth=util.UserPasswordAuth(USERS))


@pytest.mark.usefixtures("passwords")
async def test_a_session_from_login_to_logout(server: Server, person: Person) -> None:
    assert await person.user() == {"anonymous": True}
    status, why = await person.call("/workers/1", "pause")
    assert (status, "log" in why) == (401, True)
    status, answer = await person.login("ann", "a good one")
    assert (status, answer["user"]["username"]) == (200, "ann")
    assert await person.user() == {"anonymous": False, "username": "ann", "email": "ann"}
    assert (await person.call("/workers/1", "pause"))[0] == 200
    [cookie] = person.cookies
    assert (cookie["httponly"], cookie["samesite"], cookie["secure"], cookie["path"]) == (
        True,
        "Lax",
        "",
        "/",
    )
    taken = f"{cookie.key}={cookie.value}"
    assert (await person.post("/auth/logout", {}))[0] == 200
    assert await person.user() == {"anonymous": True}
    # Out is out, also for a copy of the cookie.
    async with (
        aiohttp.ClientSession() as other,
        other.get(f"{server.url}/config", headers={"Cookie": taken}) as response,
    ):
        assert (await response.json())["user"] == {"anonymous": True}
    asked = [(each["who"], each["method"], each["outcome"]) for each in await entries(server)]
    assert asked == [
        ("unknown", "pause", "refused"),
        ("ann", "login", "done"),
        ("ann", "pause", "done"),
        ("ann", "logout", "done"),
    ]


@pytest.mark.usefixtures("passwords")
async def test_a_forced_build_belongs_to_who_is_logged_in(person: Person) -> None:
    await person.login("ann", "a good one")
    status, result = await person.call("/forceschedulers/force", "force", {"builderid": 2, "owner": "eve"})
    assert status == 200
    _, properties = await person.get(f"/api/v2/buildsets/{result[0]}/properties")
    assert properties["properties"][0]["owner"][0] == "ann"


@pytest.mark.usefixtures("passwords")
@pytest.mark.parametrize(
    ("username", "password", "status"),
    [
        ("ann", "a good one", 200),
        ("ann", "a good one ", 403),
        ("ann", "", 403),
        ("", "a good one", 403),
        ("bob", "bobs", 200),
        ("bob", USERS["bob"], 403),  # who has read the hash knows no password
        ("eve", "a good one", 403),
        ("ann", "x" * 5000, 403),
        ("ann\0", "a good one", 403),
    ],
)
async def test_passwords(person: Person, username: str, password: str, status: int) -> None:
    assert (await person.login(username, password))[0] == status
    assert (await person.user())["anonymous"] is (status != 200)


@pytest.mark.usefixtures("passwords")
async def test_ways_to_send_a_password(server: Server, person: Person) -> None:
    basic = "Basic " + base64.b64encode(b"ann:a good one").decode()
    url, headers = f"{server.url}/auth/login", {"Authorization": basic}
    async with person.http.get(url, headers=headers, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (302, server.snapshot.buildbot_url)
    assert (await person.user())["username"] == "ann"
    async with person.http.get(f"{server.url}/auth/login") as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith("Basic realm=")
    form = {"username": "ann", "password": "a good one"}
    async with person.http.post(f"{server.url}/auth/login", data=form) as response:
        assert response.status == 200
    assert (await person.get("/auth/login", Authorization="Basic %%%"))[0] == 400
    bodies: list[Any] = [[], {"username": 5, "password": "x"}, {"username": "ann"}]
    for wrong in bodies:
        assert (await person.post("/auth/login", wrong))[0] == 400
    # Only the login itself takes them: a browser would send them along with everything.
    async with aiohttp.ClientSession() as other:
        body = {"jsonrpc": "2.0", "id": 1, "method": "pause", "params": {}}
        headers = {"Authorization": basic}
        async with other.post(f"{server.url}/api/v2/workers/1", json=body, headers=headers) as response:
            assert response.status == 401


@pytest.mark.usefixtures("passwords")
async def test_a_session_ends_with_its_time_and_its_user(server: Server, person: Person) -> None:
    await person.login("ann", "a good one")
    later = server.services.now_us() + server.snapshot.www.session_seconds * 1_000_000 + 1
    now_us = server.services.now_us
    server.services.now_us = lambda: later
    assert (await person.call("/workers/1", "pause"))[0] == 401
    server.services.now_us = now_us
    assert (await person.call("/workers/1", "pause"))[0] == 200
    server.snapshot = snapshot(auth=util.UserPasswordAuth({"bob": "bobs"}))
    assert (await person.call("/workers/1", "pause"))[0] == 401
    server.snapshot = snapshot(auth=RemoteUserAuth())
    assert (await person.call("/workers/1", "pause"))[0] == 401
    server.snapshot = snapshot(auth=util.UserPasswordAuth(USERS))
    assert (await person.call("/workers/1", "pause"))[0] == 200


@pytest.mark.usefixtures("passwords")
async def test_a_cookie_that_nobody_signed_is_nobodys(server: Server, person: Person) -> None:
    await person.login("ann", "a good one")
    [cookie] = person.cookies
    head, claims, signature = cookie.value.split(".")
    said = json.loads(base64.urlsafe_b64decode(claims + "=="))
    forged = base64.urlsafe_b64encode(json.dumps(said | {"use": "session", "exp": 2**40}).encode()).decode()
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    for value in (
        f"{head}.{forged.rstrip('=')}.{signature}",
        f"{none}.{claims}.",
        f"{head}.{claims}.",
        f"{head}.{claims}.{signature[:-4]}AAAA",
        "",
        "a.b.c",
        "\\",
        cookie.value + "A",
    ):
        async with aiohttp.ClientSession() as other:
            headers = {"Cookie": f"{cookie.key}={value}"}
            async with other.get(f"{server.url}/config", headers=headers) as response:
                assert (await response.json())["user"] == {"anonymous": True}, value
            headers = {"Cookie": f"{cookie.key}={cookie.value}"}
            async with other.get(f"{server.url}/config", headers=headers) as response:
                assert (await response.json())["user"]["username"] == "ann"


@pytest.mark.usefixtures("passwords")
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example.org"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://ci.example.net"},  # which may use the data API, but not as somebody
    ],
)
async def test_a_page_of_another_site_acts_as_nobody(
    server: Server, person: Person, headers: dict[str, str]
) -> None:
    await person.login("ann", "a good one")
    server.snapshot = snapshot(
        auth=util.UserPasswordAuth(USERS), allowed_origins=["https://ci.example.net", "null"]
    )
    status, _ = await person.call("/workers/1", "pause", **headers)
    assert status in (400, 401, 403)
    for path in ("/auth/login", "/auth/logout"):
        status, answer = await person.post(path, {"username": "ann", "password": "a good one"}, **headers)
        assert (status, "another site" in answer["error"]) == (403, True)
    for path in ("/ws", "/sse/listen", "/auth/logout"):
        async with person.http.get(f"{server.url}{path}", headers={**headers, "Upgrade": "x"}) as response:
            refused = response.status in (400, 403)
            # A stream may be opened by a page that may use the data API; it is nobody's.
            assert refused or (
                path == "/sse/listen" and headers["Origin"] in ("null", "https://ci.example.net")
            )
    assert (await person.user())["username"] == "ann"
    assert (await person.call("/workers/1", "pause", Origin=server.url))[0] == 200
    assert (await person.call("/workers/1", "pause", **{"Sec-Fetch-Site": "same-origin"}))[0] == 200


async def test_a_dashboard_of_ones_own_is_not_sent_a_foreign_pages_form(person: Person) -> None:
    path = "/plugins/wsgi_dashboards/any/where"
    assert (await person.post(path, {}))[0] == 404
    assert (await person.post(path, {}, Origin="https://evil.example.org"))[0] == 403
    assert (await person.post(path, {}, **{"Sec-Fetch-Site": "cross-site"}))[0] == 403


async def test_cookies_go_over_https_only_where_there_is_https(server: Server, person: Person) -> None:
    from dataclasses import replace

    host = server.url.removeprefix("http://")
    server.snapshot = replace(snapshot(auth=util.UserPasswordAuth(USERS)), buildbot_url=f"https://{host}/")
    async with person.http.post(
        f"{server.url}/auth/login", json={"username": "ann", "password": "a good one"}
    ) as response:
        said = response.headers["Set-Cookie"]
    assert said.startswith("__Host-buildwright-session-")
    assert "Secure" in said
    assert "HttpOnly" in said
    assert "SameSite=Lax" in said
    assert "Domain" not in said


@pytest.mark.usefixtures("passwords")
async def test_tries_are_limited_by_name_and_by_client(
    server: Server, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [server.services.now_us()]
    server.services.now_us = lambda: now[0]
    app_tries = limits.Tries(lambda: now[0])
    for _ in range(limits.PER_NAME):
        assert not app_tries.begin("192.0.2.1", "ann")
    assert app_tries.begin("192.0.2.2", "ann") == limits.WINDOW_US
    assert not app_tries.begin("192.0.2.2", "bob")
    for number in range(limits.PER_CLIENT - limits.PER_NAME):
        assert not app_tries.begin("192.0.2.1", f"user-{number}")
    assert app_tries.begin("192.0.2.1", "somebody else")
    now[0] += limits.WINDOW_US
    assert not app_tries.begin("192.0.2.1", "ann")
    # Whose password was right is not kept out by whoever guesses.
    app_tries.succeeded("192.0.2.1", "ann")
    for _ in range(limits.PER_NAME):
        app_tries.begin("192.0.2.9", "ann")
    assert app_tries.begin("192.0.2.9", "ann")
    assert not app_tries.begin("192.0.2.1", "ann")
    monkeypatch.setattr(limits, "MOST_KEYS", 50)
    for number in range(500):
        app_tries.begin(f"client {number}", f"name {number}")
        app_tries.succeeded(f"client {number}", f"name {number}")
    assert len(app_tries._friends) == 50
    assert len(app_tries._names._begun) == 50


@pytest.mark.usefixtures("passwords")
async def test_too_many_tries_are_told_so(person: Person) -> None:
    forwarded = {"X-Forwarded-For": "203.0.113.9"}
    answers = [
        await person.login("ann", f"guess {number}", **forwarded) for number in range(limits.PER_NAME + 1)
    ]
    assert [status for status, _ in answers] == [403] * limits.PER_NAME + [429]
    assert (await person.login("ann", "a good one", **{"X-Forwarded-For": "203.0.113.10"}))[0] == 429
    assert (await person.login("bob", "bobs", **forwarded))[0] == 200


async def test_a_file_of_users(server: Server, person: Person, tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(
        f"# people\nann:{USERS['bob']}\n"
        "sha:{SHA}kGByAB793z4R5tK1eC9Hd/4Dhzk=\n"
        "apache:$apr1$gcNUZugF$aZDaqPePOXDBf6o12bAmK0\n"
        "crypt:abOkmxXhjDb.Y\n"
        "six:$6$kTnbw96kGQ0JYP5f$6/ZU4EUqzz47IvetovUqzLix32pQ.MVa18GW3UwQbAPBM51NZRHZ8tSyF4S/CtBXyzEj/IAnBXj0RAYuETq0d.\n"
        "plain:geheim\nempty:\n"
    )
    server.snapshot = snapshot(auth=util.HTPasswdAuth(path))
    assert (await person.login("ann", "bobs"))[0] == 200
    for name in ("sha", "apache", "crypt", "six"):
        assert (await person.login(name, "geheim"))[0] == 200, name
        assert (await person.login(name, "Geheim"))[0] == 403, name
    for name, password in (("plain", "geheim"), ("empty", "x"), ("nobody", "bobs"), ("# people", "x")):
        assert (await person.login(name, password))[0] == 403, name
    await person.login("ann", "bobs")
    path.write_text("")
    assert await person.user() == {"anonymous": True}
    path.unlink()
    assert (await person.login("ann", "bobs"))[0] == 403


def test_what_counts_as_a_hash() -> None:
    assert is_hash(USERS["bob"])
    assert is_hash("$apr1$gcNUZugF$aZDaqPePOXDBf6o12bAmK0")
    for text in ("a good one", "$2b$", "$6$", "abOkmxXhjDb.Y", "{SHA}kGByAB793z4R5tK1eC9Hd/4Dhzk=", "$$$"):
        assert not is_hash(text)
    long = "é" * 60  # longer than what bcrypt reads
    assert fits(long, bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4)).decode(), hashed=True)


class OwnCheck(CustomAuth):
    def check_credentials(self, user: str, password: str) -> bool:
        if user == "broken":
            raise RuntimeError("the wiki is down")
        return (user, password) == ("ann", "wiki")


class OwnInfo:
    async def getUserInfo(self, username: str) -> dict[str, Any]:
        return {"full_name": username.title(), "email": f"{username}@example.org", "groups": ["staff"]}


async def test_a_check_and_details_of_ones_own(server: Server, person: Person) -> None:
    server.snapshot = snapshot(auth=OwnCheck(userInfoProvider=OwnInfo()))
    assert (await person.login("ann", "wrong"))[0] == 403
    status, answer = await person.login("broken", "x")
    assert (status, "the master's log says why" in answer["error"]) == (503, True)
    assert "wiki" not in str(answer)
    assert (await person.login("ann", "wiki"))[0] == 200
    assert await person.user() == {
        "anonymous": False,
        "username": "ann",
        "full_name": "Ann",
        "email": "ann@example.org",
        "groups": ["staff"],
    }


async def test_a_secret_is_a_password(server: Server, person: Person) -> None:
    class Provider:
        async def get(self, name: str) -> str | None:
            return {"password-of-ann": "from a file"}.get(name)

    from dataclasses import replace

    with_secret = snapshot(auth=util.UserPasswordAuth([("ann", Secret("password-of-ann"))]))
    server.snapshot = replace(with_secret, secrets_providers=[Provider()])
    assert (await person.login("ann", "from a file"))[0] == 200
    assert (await person.login("ann", "password-of-ann"))[0] == 403


async def test_a_proxy_names_the_user(server: Server, person: Person) -> None:
    server.snapshot = snapshot(auth=RemoteUserAuth(header=b"REMOTE_USER"))
    assert (await person.call("/workers/1", "pause"))[0] == 401
    known = {"REMOTE_USER": "ann@EXAMPLE"}
    assert (await person.call("/workers/1", "pause", **known))[0] == 200
    assert (await person.post("/auth/login", {}, **known))[1]["user"]["realm"] == "EXAMPLE"
    assert (await person.post("/auth/login", {}))[0] == 401
    for wrong in ("ann", "ann@a@b", "", "@EXAMPLE"):
        assert (await person.call("/workers/1", "pause", REMOTE_USER=wrong))[0] == 401
    headers = {**known, "Sec-Fetch-Site": "cross-site"}
    assert (await person.call("/workers/1", "pause", **headers))[0] == 403
    server.snapshot = snapshot(auth=RemoteUserAuth(trustedProxies=["192.0.2.0/24"]))
    assert (await person.call("/workers/1", "pause", **known))[0] == 401
    server.snapshot = snapshot()
    assert (await person.get("/auth/login", **known))[0] == 404


async def test_tokens_work_beside_logins(server: Server, person: Person) -> None:
    token, hashed = new_token()
    server.tokens = {hashed: "release-script"}
    server.snapshot = snapshot(auth=util.UserPasswordAuth(USERS))
    with_token = {"Authorization": f"Bearer {token}"}
    assert (await person.call("/workers/1", "pause", **with_token))[0] == 200
    _, config = await person.get("/config", **with_token)
    assert config["user"] == {"anonymous": False, "username": "token:release-script"}
    await person.login("ann", "a good one")
    # Who sends a token is the token's user; a wrong one is not made good by a session.
    assert (await person.call("/workers/1", "pause", Authorization="Bearer wrong"))[0] == 401


@pytest.mark.usefixtures("passwords")
async def test_all_masters_of_a_database_know_a_session(
    server: Server, person: Person, tmp_path: Path
) -> None:
    other = Server(server.store, tmp_path)
    other.snapshot = server.snapshot
    await other.start()
    try:
        await person.login("ann", "a good one")
        here, person.server = person.server, other
        assert (await person.user())["username"] == "ann"
        await person.post("/auth/logout", {})
        person.server = here
        assert await person.user() == {"anonymous": True}
    finally:
        await other.stop()


@pytest.mark.parametrize(
    ("auth", "everywhere"),
    [
        ("None", False),
        ("util.UserPasswordAuth({'ann': 'a good one'})", True),
        ("util.RemoteUserAuth()", False),
    ],
)
async def test_a_master_listens_where_others_can_say_who_they_are(
    tmp_path: Path, auth: str, everywhere: bool
) -> None:
    text = f"builder('b', steps.ShellCommand(command='true'))\nc['www']['auth'] = {auth}\n"
    async with rig(tmp_path, "sqlite:///state.sqlite", text, workers=()) as it:
        [runner] = it.master.serving._runners
        hosts = {address[0] for address in runner.addresses}
        assert (hosts == {"127.0.0.1"}) is not everywhere
        assert bool(hosts & {"0.0.0.0", "::"}) is everywhere
