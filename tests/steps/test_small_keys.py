"""Keys and arguments that say little things, on a running master."""

import aiohttp
import pytest
import sqlalchemy as sa

from buildwright.model.results import FAILURE, SUCCESS, WARNINGS
from buildwright.store import schema
from tests.steps.conftest import Start

CONFIGURATION = """
c["db"] = {"db_url": c.pop("db_url"), "engine_kwargs": {}}
c["mq"] = {"type": "simple"}
c["changeHorizon"] = 50
c["www"].update(allowed_origins=["https://*.example.org"], json_cache_seconds=30, ws_ping_interval=5)
c["metrics"] = None

class Ends(steps.BuildStep):
    def __init__(self, result, **kwargs):
        super().__init__(**kwargs)
        self.result = result
    async def run(self):
        self.descriptionDone = util.Results[self.result]
        return self.result

builder("b", steps.ShellCommand(command=["pwd"]), builddir="on the master", workerbuilddir="there",
        description="what *it* is for", description_format="markdown", tags=["fast"],
        properties={"given": 1}, defaultProperties={"given": 2, "missing": 3})
builder("ends", *[Ends(result, name=f"s{result}", flunkOnFailure=False, warnOnWarnings=True)
                  for result in (util.SUCCESS, util.WARNINGS, util.FAILURE)])
builder("breaks", Ends(util.EXCEPTION))
builder("gives up", Ends(util.CANCELLED))
"""


async def test_numbers_are_logged_and_small_logs_are_packed(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    it = await start(
        """
c["metrics"] = {"log_interval": 1, "periodic_interval": 1}
c["logCompressionLimit"] = 10
builder("b", steps.ShellCommand(command="echo more than ten bytes", logEnviron=False))
"""
    )
    built = await it.build()
    tier = sa.select(schema.logs.c.tier).where(schema.logs.c.length > 10)

    async def packed() -> bool:
        return [row for (row,) in await it.store.fetch(tier)] == ["sealed"]

    await it.until("logs", packed)
    assert b"more than ten bytes\n" in built.log("shell").out
    said: list[str] = []

    async def logged() -> bool:
        said.append(capsys.readouterr().out)
        return "metrics" in "".join(said)

    await it.until("nothing", logged)
    [line, *_] = [
        line for line in "".join(said).splitlines() if "metrics" in line and "waiting_requests" in line
    ]
    assert "waiting_requests=0" in line
    assert "master_attached_workers=1" in line


@pytest.mark.parametrize(("limit", "kept"), [("False", True), ("0", False)])
async def test_whether_logs_are_packed(limit: str, kept: bool, start: Start) -> None:
    text = f'c["logCompressionLimit"] = {limit}\nbuilder("b", steps.ShellCommand(command="seq 20000"))'
    it = await start(text)
    built = await it.build()
    assert built.log("shell").out.endswith(b"20000\n")
    rows = await it.store.fetch(sa.select(schema.logs.c.tier).where(schema.logs.c.length > 64 * 1024))
    assert [tier == "kept" for (tier,) in rows] == [kept]


async def test_builders_keys_and_results(start: Start) -> None:
    it = await start(CONFIGURATION)
    assert it.master.core.snapshot.retention.max_changes == 50
    built = await it.build()
    assert built.results == SUCCESS
    assert built.log("shell").text == f"{it.directory}/w1/there/build\n"
    assert (built.properties["given"], built.properties["missing"]) == (1, 3)
    ended = await it.build("ends")
    assert ended.outline == [("s0", SUCCESS), ("s1", WARNINGS), ("s2", FAILURE)]
    assert ended.step("s2").state == "failure (failure)"
    assert [(await it.build(name)).result for name in ("breaks", "gives up")] == ["exception", "cancelled"]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{it.port}") as client:
        origin = {"Origin": "https://ci.example.org"}
        async with client.get("/api/v2/builders?name=b", headers=origin) as reply:
            (found,) = (await reply.json())["builders"]
            assert (found["description"], found["description_format"]) == ("what *it* is for", "markdown")
            assert found["tags"] == ["fast"]
            assert "max-age=30" in reply.headers["Cache-Control"]
            assert reply.headers["Access-Control-Allow-Origin"] == "https://ci.example.org"
        async with client.ws_connect("/ws") as events:
            await events.send_json({"cmd": "ping", "_id": 1})
            assert (await events.receive_json())["_id"] == 1
