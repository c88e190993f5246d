"""The audit: every call that acts is entered, with its outcome; who may not act may not read it."""

import asyncio
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa

from buildwright.master.retention import Pass
from buildwright.model.retention import Retention
from buildwright.store import schema
from buildwright.store.base import wall_us
from buildwright.web import audit
from buildwright.web.auth.tokens import new_token
from tests.support.rows import PATIENCE
from tests.support.webserver import Server
from tests.web.conftest import SMALL, getter
from tests.web.test_acting import Call, caller

LAST = SMALL.builds


@pytest.fixture
def call(each_server: Server, http: aiohttp.ClientSession) -> Call:
    return caller(each_server, http)


async def entries(server: Server) -> list[dict[str, Any]]:
    """The entries, once all have their outcome, which follows the answer."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = await server.store.fetch(sa.select(schema.audit).order_by(schema.audit.c.id))
            rows = [dict(zip(schema.audit.c.keys(), row, strict=True)) for row in found]
            if all(row["outcome"] != "asked" for row in rows):
                return rows
            await asyncio.sleep(0.01)


async def test_calls_are_entered_with_their_outcome(each_server: Server, call: Call) -> None:
    before = wall_us()
    status, answer = await call(f"/builds/{LAST}", "stop", reason="enough")
    assert status == 200
    await call("/forceschedulers/force", "force", builderid=99, reason="x" * 1000)
    await call(f"/builds/{LAST}", "dance", how="well")
    await call("/builds/123456", "stop")
    await call("/workers/1", "pause", headers={"X-Forwarded-For": "192.0.2.7"})
    stop, force, dance, lost, _pause = await entries(each_server)
    assert before <= stop["asked_at"] <= wall_us()
    assert (stop["who"], stop["peer"], stop["method"]) == ("anonymous", "127.0.0.1", "stop")
    assert (stop["target"], stop["params"]) == (f"/builds/{LAST}", '{"reason":"enough"}')
    assert (stop["outcome"], stop["answer"]) == ("done", "null")
    assert force["outcome"] == "refused"
    assert "builder" in force["answer"]
    assert len(force["params"]) < 400
    assert (dance["outcome"], dance["params"]) == ("refused", '{"how":"well"}')
    assert "no such method" in dance["answer"]
    assert (lost["outcome"], lost["answer"]) == ("refused", "there is no such build")
    assert answer["result"] is None


async def test_tokens_are_named_and_strangers_are_entered_so_often(
    server: Server, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, hashed = new_token()
    server.tokens = {hashed: "release-script"}
    post, get = caller(server, http), getter(server, http)
    known = {"Authorization": f"Bearer {token}"}
    await post("/workers/1", "pause", headers=known)
    monkeypatch.setattr(audit, "STRANGERS_A_MINUTE", 3)
    wrong = {"Authorization": "Bearer bw_wrong"}
    answers = await asyncio.gather(*(post("/workers/1", "kill", headers=wrong, a="b") for _ in range(9)))
    assert {status for status, _ in answers} == {401}
    mine, *strangers = await entries(server)
    assert (mine["who"], mine["outcome"]) == ("release-script", "done")
    assert 3 <= len(strangers) <= 6  # a minute may end meanwhile
    assert {(each["who"], each["params"], each["outcome"]) for each in strangers} == {
        ("unknown", "{}", "refused")
    }
    assert token not in str(await entries(server))
    assert (await get("/audits"))[0] == 401
    async with http.get(f"{server.url}/api/v2/audits?who=release-script", headers=known) as response:
        [shown] = (await response.json())["audits"]
    assert (shown["method"], shown["target"], shown["params"]) == ("pause", "/workers/1", {})
    assert shown["asked_at"] == shown["asked_at_us"] // 1_000_000
    async with http.get(f"{server.url}/api/v2/audits/{shown['auditid']}", headers=known) as response:
        assert response.status == 200


@pytest.fixture
def broken(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server whose workers can't be paused, because of a defect."""

    async def fail(*_: Any) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(server.services.control, "worker_action", fail)
    return server


async def test_a_call_that_breaks_is_entered_as_failed(broken: Server, http: aiohttp.ClientSession) -> None:
    assert (await caller(broken, http)("/workers/1", "pause"))[0] == 500
    [entry] = await entries(broken)
    assert (entry["outcome"], entry["answer"]) == ("failed", "ZeroDivisionError")


async def test_entries_go_by_their_age(each_server: Server, call: Call) -> None:
    for _ in range(3):
        await call("/workers/1", "pause")
    rule = Retention(audit=timedelta(days=1))
    assert not await Pass(each_server.store, rule, wall_us()).count()
    later = wall_us() + 2 * 86_400_000_000
    assert (await Pass(each_server.store, rule, later).count())[""].audits == 3
    outcome = await Pass(each_server.store, rule, later, pause=0).carry_out()
    assert outcome.gone.audits == 3
    assert await entries(each_server) == []
