"""Who may do what: one gate for calls, readings, events and logs, however they are spelled."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa
from yarl import URL

from buildwright.model import roles
from buildwright.model.authz import Access, Authz, EndpointMatcherBase
from buildwright.model.logins import UserPasswordAuth
from buildwright.plugins import util
from buildwright.store import schema
from buildwright.store.unit import Hint
from buildwright.web import audit
from buildwright.web.auth import readers
from buildwright.web.auth.things import Thing, thing_at, thing_of
from buildwright.web.auth.tokens import new_token
from buildwright.web.data import TABLE, Data
from tests.support.rows import PATIENCE
from tests.support.webserver import BUILDER_IDS, Server, execute, snapshot
from tests.web.conftest import SMALL
from tests.web.test_audit import entries
from tests.web.test_login import Person

LAST = SMALL.builds
USERS = UserPasswordAuth({name: f"of {name}" for name in ("ann", "bob", "eve")})
ANN_RULES = roles.RolesFromUsername(roles=["admins"], usernames=["ann", "token:robot"])
ROLES = [ANN_RULES, roles.RolesFromOwner(role="owner")]


def serve_rules(server: Server, *allow: Any, roles: Sequence[Any] = ROLES, **more: Any) -> None:
    server.snapshot = snapshot(auth=USERS, authz=Authz(allow, roles, **more))


@pytest.fixture
async def ann(server: Server) -> AsyncIterator[Person]:
    found = Person(server)
    yield found
    await found.http.close()


@pytest.fixture
async def eve(server: Server) -> AsyncIterator[Person]:
    found = Person(server)
    yield found
    await found.http.close()


@pytest.fixture
async def nobody(server: Server) -> AsyncIterator[Person]:
    found = Person(server)
    yield found
    await found.http.close()


async def log_in(*people: tuple[Person, str]) -> None:
    for person, name in people:
        assert (await person.login(name, f"of {name}"))[0] == 200


THERE_IS = {
    "n:buildrequestid": str(LAST + 1),
    "i:name": "worker-1",
    "n:schedulerid": "3",
    "i:schedulername": "force",
    "s:schedulername": "try",
    "s:buildername": "waits-for-arm",
}


def filled_in(path: str) -> str:
    """A path of the API's description with something that is there."""
    parts = [THERE_IS.get(part, "1" if part.startswith("n:") else part) for part in path.split("/")]
    assert not any(":" in part for part in parts), f"say what stands for the elements of {path}"
    return "/".join(parts)


async def every_method(person: Person) -> list[tuple[str, str]]:
    """Each path and method that the API says it has."""
    _, described = await person.get("/api/v2/application.spec")
    found = [
        (f"/{filled_in(each['path'])}", method) for each in described["specs"] for method in each["methods"]
    ]
    names = "add cancel enable force kill pause rebuild set_priority stop try unpause"
    assert {method for _, method in found} >= set(names.split())
    return found


async def state(server: Server) -> list[Any]:
    """Everything that a call could change."""
    tables = (schema.buildrequests, schema.buildsets, schema.workers, schema.schedulers, schema.changes)
    return [await server.store.fetch(sa.select(table).order_by(table.c.id)) for table in tables]


async def test_every_method_is_refused_to_whom_the_rules_refuse(
    server: Server, eve: Person, nobody: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_rules(server, util.AnyControlEndpointMatcher(role="admins"))
    monkeypatch.setattr(audit, "STRANGERS_A_MINUTE", 10_000)
    await log_in((eve, "eve"))
    methods = await every_method(nobody)
    before = await state(server)
    for path, method in methods:
        for person, who in ((eve, "eve hasn't got it"), (nobody, "you are not logged in")):
            status, why = await person.call(path, method, {"builderid": 1, "owner": "ann"})
            assert status == 403, (path, method, why)
            assert why.startswith("you need to have role 'admins' to ")
            assert why.endswith(who)
    assert await state(server) == before
    entered = await entries(server)
    assert entered[0]["method"] == "login"
    assert [(each["who"], each["target"], each["method"], each["outcome"]) for each in entered[1:]] == [
        (who, path, method, "refused") for path, method in methods for who in ("eve", "unknown")
    ]


async def test_every_method_passes_for_whom_the_rules_let(server: Server, ann: Person) -> None:
    """The other half: what refuses everybody would pass the test above."""
    serve_rules(server, util.AnyControlEndpointMatcher(role="admins"))
    await log_in((ann, "ann"))
    for path, method in await every_method(ann):
        status, why = await ann.call(path, method)
        assert status not in (401, 403), (path, method, why)


async def test_without_rules_one_has_to_be_known(server: Server, eve: Person, nobody: Person) -> None:
    server.snapshot = snapshot(auth=USERS)
    await log_in((eve, "eve"))
    before = await state(server)
    for path, method in await every_method(nobody):
        status, why = await nobody.call(path, method)
        assert (status, "login" in why) == (401, True), (path, method)
    assert await state(server) == before
    assert (await eve.call("/workers/1", "pause"))[0] == 200


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/builds/3", "stop", 403),
        ("/builds/%33", "stop", 403),
        ("//builds///3/", "stop", 403),
        ("/b%75ilds/3", "stop", 403),
        ("/builders/waits-for-arm/builds/1", "stop", 403),
        ("/builders/1/builds/1", "stop", 403),
        ("/builds/999999", "stop", 403),
        ("/buildrequests/301", "cancel", 403),
        # Spelled otherwise it is no method at all.
        ("/builds/3", "sTOP", 501),
        ("/builds/3", "Stop", 501),
        ("/builds/3", "stop ", 501),
        ("/buildrequests/301", "stop", 501),
    ],
)
async def test_however_it_is_spelled(
    server: Server, eve: Person, path: str, method: str, status: int
) -> None:
    serve_rules(server, util.StopBuildEndpointMatcher(role="admins"))
    await log_in((eve, "eve"))
    before = await state(server)
    for version in ("v2", "latest"):
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {}}
        url = URL(f"{server.url}/api/{version}{path}", encoded=True)
        async with eve.http.post(url, json=body) as response:
            assert response.status == status
    assert await state(server) == before


async def builders_of(server: Server, *buildids: int) -> list[str]:
    names = {number: name for name, number in BUILDER_IDS.items()}
    rows = await server.store.fetch(sa.select(schema.builds.c.id, schema.builds.c.builderid))
    by_id: dict[int, int] = dict(tuple(row) for row in rows)
    return [names[by_id[each]] for each in buildids]


async def test_rules_for_some_builders(server: Server, ann: Person, eve: Person) -> None:
    [builder] = await builders_of(server, LAST)
    serve_rules(
        server,
        util.StopBuildEndpointMatcher(builder=builder, role="admins"),
        util.RebuildBuildEndpointMatcher(builder="no-such-*", role="admins"),
        util.ForceBuildEndpointMatcher(builder="waits-*", role="admins"),
        util.EnableSchedulerEndpointMatcher(role="admins"),
    )
    await log_in((ann, "ann"), (eve, "eve"))
    _, build = await eve.get(f"/api/v2/builds/{LAST}")
    number, builderid = build["builds"][0]["number"], build["builds"][0]["builderid"]
    for path in (
        f"/builds/{LAST}",
        f"/builders/{builderid}/builds/{number}",
        f"/builders/{builder}/builds/{number}",
    ):
        assert (await eve.call(path, "stop"))[0] == 403
    others = await builders_of(server, *range(1, LAST))
    other = next(number for number, name in enumerate(others, 1) if name != builder)
    assert (await eve.call(f"/builds/{other}", "stop"))[0] == 200
    assert (await eve.call(f"/builds/{LAST}", "rebuild"))[0] == 200
    assert (await ann.call(f"/builds/{LAST}", "stop"))[0] == 200
    assert (await eve.call("/schedulers/3", "enable", {"enabled": True}))[0] == 403
    # A form starts all of its builders unless it names some; each of them must be allowed.
    for params, status in [
        ({}, 403),
        ({"builderid": 1}, 403),
        ({"builderid": "waits-for-arm"}, 403),
        ({"builderid": 2}, 200),
        ({"builderNames": ["builder-02"]}, 200),
        ({"builderNames": "builder-02", "builderid": 1}, 200),  # it is the names that count
        ({"builderNames": ["builder-02", "waits-for-arm"]}, 403),
        ({"builderNames": [], "builderid": 1}, 403),
        ({"builderid": 12345}, 403),
    ]:
        found, why = await eve.call("/forceschedulers/force", "force", params)
        assert found == status, (params, why)
    _, result = await eve.call(
        "/forceschedulers/force", "force", {"builderNames": "builder-02", "builderid": 1}
    )
    assert list(result[1]) == ["2"]


async def test_of_which_builder_and_owner_things_are(each_server: Server) -> None:
    """On every database, however deep below a build."""
    store, services = each_server.store, each_server.services
    owner = """'{"owner":["eve","Force"]}'"""
    [(stepid, buildid)] = await store.fetch(
        sa.select(schema.steps.c.id, schema.steps.c.buildid)
        .join(schema.logs, schema.logs.c.stepid == schema.steps.c.id)
        .order_by(schema.steps.c.id)
        .limit(1)
    )
    [(logid,)] = await store.fetch(sa.select(schema.logs.c.id).where(schema.logs.c.stepid == stepid).limit(1))
    await execute(store, f"UPDATE builds SET properties = {owner} WHERE id = {buildid}")
    await execute(store, f"UPDATE buildsets SET properties = {owner} WHERE id = {LAST + 1}")
    of_build = Thing(tuple(await builders_of(each_server, buildid)), "eve")
    waiting = Thing(("waits-for-arm",), "eve")
    for kind, which, expected in [
        ("builds", buildid, of_build),
        ("steps", stepid, of_build),
        ("logs", logid, of_build),
        ("buildrequests", LAST + 1, waiting),
        ("buildsets", LAST + 1, waiting),
        ("builders", 1, Thing(("waits-for-arm",))),
        ("builds", 999_999, Thing()),
        ("test_result_sets", 999_999, Thing()),
        ("masters", 1, Thing()),
    ]:
        assert await thing_of(services, kind, which) == expected, kind
    data = Data(services)
    for path in (
        f"/builds/{buildid}/steps/1/logs/stdio/raw",
        f"/logs/{logid}/contents",
        f"/steps/{stepid}/logs",
    ):
        assert await thing_at(services, data, path) in (of_build, Thing(of_build.builders, "eve")), path
    assert await thing_at(services, data, "/builders/waits-for-arm/builds") == Thing(("waits-for-arm",))
    assert await thing_at(services, data, "/builds") == Thing()


async def test_ones_own_builds(server: Server, eve: Person, ann: Person, nobody: Person) -> None:
    serve_rules(
        server,
        util.StopBuildEndpointMatcher(role="owner", defaultDeny=False),
        util.AnyControlEndpointMatcher(role="admins"),
        roles=[ANN_RULES, util.RolesFromOwner(role="owner")],
    )
    await execute(
        server.store,
        f"""UPDATE builds SET properties = '{{"owner":["eve","Force"]}}' WHERE id = {LAST}""",
    )
    await execute(
        server.store,
        f"""UPDATE buildsets SET properties = '{{"owner":["bob","Force"]}}' WHERE id = {LAST + 1}""",
    )
    await log_in((eve, "eve"), (ann, "bob"))
    assert (await eve.call(f"/builds/{LAST}", "stop"))[0] == 200
    assert (await eve.call(f"/builds/{LAST}", "rebuild"))[0] == 403
    assert (await eve.call(f"/builds/{LAST - 1}", "stop"))[0] == 403
    assert (await eve.call(f"/buildrequests/{LAST + 1}", "cancel"))[0] == 403
    assert (await ann.call(f"/buildrequests/{LAST + 1}", "cancel"))[0] == 200
    assert (await ann.call(f"/builds/{LAST}", "stop"))[0] == 403
    # An owner that isn't said is nobody's, also for those who aren't logged in.
    assert (await nobody.call(f"/builds/{LAST}", "stop"))[0] == 403


async def test_tokens_have_roles_by_their_names(server: Server, nobody: Person) -> None:
    serve_rules(server, util.AnyControlEndpointMatcher(role="admins"))
    robot, other = new_token(), new_token()
    server.tokens = {robot[1]: "robot", other[1]: "ann"}
    assert (await nobody.call("/workers/1", "pause", Authorization=f"Bearer {robot[0]}"))[0] == 200
    status, why = await nobody.call("/workers/1", "pause", Authorization=f"Bearer {other[0]}")
    assert status == 403
    assert "token:ann" in why


READINGS = [
    "/api",
    "/api/v2",
    "/api/v2/builds",
    "/api/latest/builds/1",
    "/api/v2/builds/1/steps/1/logs/stdio/raw",
    "/api/v2/logs/1/contents",
    "/api/v2/logs/1/raw_inline",
    "/api/v2/builds/1/data/x/value",
    "/api/v2/audits",
    "/api/v2/nothing/here",
    "/api/v2/application.spec",
    "/metrics",
    "/ws",
    "/sse/listen",
    "/sse/listen/builds/*/*",
    "/sse/add/x/builds/*/*",
]


@pytest.mark.parametrize("path", READINGS)
async def test_reading_is_guarded_by_a_rule_for_everything(
    server: Server, ann: Person, eve: Person, nobody: Person, path: str
) -> None:
    serve_rules(server, util.AnyEndpointMatcher(role="admins"))
    await log_in((ann, "ann"), (eve, "eve"))
    for person in (eve, nobody):
        async with person.http.get(f"{server.url}{path}") as response:
            assert response.status == 403
            assert "role 'admins'" in (await response.json())["error"]
    async with ann.http.get(f"{server.url}{path}") as response:
        assert response.status != 403
    entered = [each for each in await entries(server) if each["method"] == "get"]
    assert [(each["who"], each["target"], each["outcome"]) for each in entered] == [
        ("eve", path, "refused"),
        ("unknown", path, "refused"),
    ]


async def test_guarded_answers_are_for_no_cache_but_their_readers(server: Server, ann: Person) -> None:
    serve_rules(server, util.AnyEndpointMatcher(role="admins"))
    server.snapshot = replace(server.snapshot, www=replace(server.snapshot.www, json_cache_seconds=60))
    await log_in((ann, "ann"))
    said = {}
    for path in ("/api/v2/builds/1", "/api/v2/logs/1/raw", "/metrics", "/robots.txt"):
        async with ann.http.get(f"{server.url}{path}") as response:
            said[path] = response.headers["Cache-Control"]
    assert said == {
        "/api/v2/builds/1": "private, max-age=60",
        "/api/v2/logs/1/raw": "private, no-cache",
        "/metrics": "private, no-cache",
        "/robots.txt": said["/robots.txt"],
    }
    assert "public" in said["/robots.txt"]


async def test_nothing_is_open_by_oversight(server: Server, nobody: Person) -> None:
    """Each route of the application, so that a new one can't be forgotten."""
    serve_rules(server, util.AnyEndpointMatcher(role="admins"))
    open_to_all = set()
    for resource in server.app.router.resources():
        path = resource.canonical
        for element in ("{path}", "{name}", "{stream}", "{builder}"):
            path = path.replace(element, "x")
        async with nobody.http.get(f"{server.url}{path}", allow_redirects=False) as response:
            if response.status != 403:
                open_to_all.add(resource.canonical)
    assert open_to_all <= {
        "/", "/assets/{name}", "/icon.svg", "/favicon.ico", "/robots.txt", "/config",
        "/auth/login", "/auth/logout", "/livez", "/healthz", "/readyz",
    }  # fmt: skip


async def test_reading_is_open_without_a_rule_for_it(server: Server, nobody: Person) -> None:
    serve_rules(server, util.AnyControlEndpointMatcher(role="admins"))
    for path in ("/api/v2/builds/1", "/metrics", "/api/v2/application.spec"):
        async with nobody.http.get(f"{server.url}{path}") as response:
            assert response.status == 200
    # The audit is for those who may act, and has who asked for it all the same.
    assert (await nobody.get("/api/v2/audits"))[0] == 403
    [refused] = await entries(server)
    assert (refused["who"], refused["target"]) == ("unknown", "/api/v2/audits")


class Listening:
    """Events over one WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def ask(self, cmd: str, path: str) -> dict[str, Any]:
        await self._socket.send_json({"cmd": cmd, "path": path, "_id": 1})
        return await self.next()

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            message = await self._socket.receive()
        return json.loads(message.data) if message.type is aiohttp.WSMsgType.TEXT else {"closed": True}


class Hidden(EndpointMatcherBase):
    """Hides the builds of one builder, and all workers."""

    builder = ""

    def matches(self, access: Access, match: Any) -> Any:
        return access.kind == "workers" or (access.builder == self.builder and access.kind == "builds")


async def test_events_of_what_one_may_not_read_are_not_told(server: Server, eve: Person, ann: Person) -> None:
    hidden = Hidden(role="admins")
    first, second = LAST, LAST - 1
    [hidden.builder, other] = await builders_of(server, first, second)
    assert hidden.builder != other
    serve_rules(server, hidden)
    await log_in((ann, "ann"), (eve, "eve"))
    assert (await eve.get(f"/api/v2/builds/{first}"))[0] == 403
    assert (await eve.get(f"/api/v2/builds/{first}/steps"))[0] == 200  # the rule is for builds alone
    assert (await eve.get(f"/api/v2/builds/{second}"))[0] == 200
    async with (
        eve.http.ws_connect(f"{server.url}/ws") as of_eve,
        ann.http.ws_connect(f"{server.url}/ws") as of_ann,
    ):
        low, high = Listening(of_eve), Listening(of_ann)
        assert (await low.ask("startConsuming", "builds/*/*"))["code"] == 200
        assert (await low.ask("startConsuming", "*/*/*"))["code"] == 200
        refused = await low.ask("startConsuming", "workers/*/*")
        assert refused["code"] == 403
        assert "role 'admins' to read workers" in refused["error"]
        assert (await high.ask("startConsuming", "builds/*/*"))["code"] == 200
        server.bus.publish(
            [Hint("workers", 1), Hint("builds", first, "update"), Hint("builds", second, "update")]
        )
        assert [(await high.next())["k"] for _ in range(2)] == [
            f"builds/{first}/update",
            f"builds/{second}/update",
        ]
        assert {(await low.next())["k"] for _ in range(2)} == {f"builds/{second}/update"}
    refusals = [(each["who"], each["target"]) for each in await entries(server) if each["method"] == "get"]
    assert refusals == [("eve", f"/api/v2/builds/{first}"), ("eve", "/events of workers/*/*")]


async def test_a_stream_is_guarded_like_a_socket(server: Server, eve: Person, ann: Person) -> None:
    hidden = Hidden(role="admins")
    serve_rules(server, hidden)
    await log_in((eve, "eve"), (ann, "ann"))
    async with eve.http.get(f"{server.url}/sse/listen/workers/*/*") as response:
        assert response.status == 403
    async with eve.http.get(f"{server.url}/sse/listen") as response:
        handshake = await response.content.readuntil(b"\n\n")
        stream = handshake.partition(b"data: ")[2].decode().strip()
        assert (await eve.get(f"/sse/add/{stream}/workers/*/*"))[0] == 403
        # Another user's stream isn't one's own to change.
        assert (await ann.get(f"/sse/add/{stream}/builds/*/*"))[0] == 403
        assert (await eve.get(f"/sse/add/{stream}/builds/*/*"))[0] == 200


@pytest.mark.parametrize("how", ["logout", "token", "rules"])
async def test_who_may_no_longer_read_hears_nothing_more(
    server: Server, ann: Person, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(readers, "LOOK_AGAIN_US", 0)
    serve_rules(server, util.AnyEndpointMatcher(role="admins"))
    token, hashed = new_token()
    headers = {}
    if how == "token":
        server.tokens = {hashed: "robot"}
        headers = {"Authorization": f"Bearer {token}"}
    else:
        await log_in((ann, "ann"))
    async with ann.http.ws_connect(f"{server.url}/ws", headers=headers) as socket:
        listening = Listening(socket)
        assert (await listening.ask("startConsuming", "builds/*/*"))["code"] == 200
        server.bus.publish([Hint("builds", 1, "update")])
        assert (await listening.next())["k"] == "builds/1/update"
        if how == "logout":
            await ann.post("/auth/logout", {})
        elif how == "token":
            server.tokens = {}
        else:
            serve_rules(server, util.AnyEndpointMatcher(role="nobody"))
        server.bus.publish([Hint("builds", 2, "update")])
        if how == "rules":  # still known, and may ask for what else there is
            assert (await listening.ask("startConsuming", "builds/*/*"))["code"] == 403
        else:
            assert await listening.next() == {"closed": True}


async def test_a_page_is_told_what_its_user_may(server: Server, eve: Person, nobody: Person) -> None:
    [builder] = await builders_of(server, LAST)
    serve_rules(
        server,
        util.StopBuildEndpointMatcher(builder=builder, role="admins"),
        util.RebuildBuildEndpointMatcher(role="owner"),
        util.EnableSchedulerEndpointMatcher(role="admins"),
    )
    await log_in((eve, "eve"))
    _, config = await eve.get("/config")
    may = config["permissions"]
    assert config["auth"]["name"] == "UserPasswordAuth"
    assert config["auth"]["loginUri"] == "auth/login"
    assert may["builds"]["stop"]["allowed"] is None
    assert may["builds"]["rebuild"]["allowed"] is None
    assert may["workers"]["pause"] == {"allowed": True, "message": ""}
    assert may["schedulers"]["enable"]["allowed"] is False
    assert "role 'admins'" in may["schedulers"]["enable"]["message"]
    _, config = await nobody.get("/config")
    assert config["permissions"]["workers"]["pause"]["allowed"] is False
    assert "login" in config["permissions"]["workers"]["pause"]["message"]
    _, exact = await eve.get(f"/auth/permissions?path=/builds/{LAST}")
    assert {name: each["allowed"] for name, each in exact["methods"].items()} == {
        "stop": False,
        "rebuild": False,
    }
    assert (await eve.get("/auth/permissions?path=/nothing"))[0] == 404
    for path, method in await every_method(eve):
        _, told = await eve.get(f"/auth/permissions?path={path}")
        if method == "force":
            continue
        status, why = await eve.call(path, method, {"reason": "as told"})
        assert (status != 403) is told["methods"][method]["allowed"], (path, method, why)


async def test_no_login_and_no_rules_leave_this_machine_alone(server: Server, nobody: Person) -> None:
    _, config = await nobody.get("/config")
    assert config["auth"] == {"name": "NoAuth"}
    assert config["permissions"]["builds"]["stop"]["allowed"] is True
    assert (await nobody.get("/auth/login"))[0] == 404
    far = {"X-Forwarded-For": "203.0.113.9"}
    _, config = await nobody.get("/config", **far)
    assert config["permissions"]["builds"]["stop"]["allowed"] is False


def test_no_path_of_the_table_is_without_a_kind() -> None:
    from buildwright.web.data import kind_of

    assert all(kind_of(target) for _, target in TABLE)
