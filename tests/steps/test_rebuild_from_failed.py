"""A rebuild from the failed step: what succeeded is left out, where nothing can have touched it since."""

from collections.abc import Mapping
from typing import Any

import aiohttp

from buildwright.model.results import FAILURE, SKIPPED, SUCCESS
from buildwright.testing.views import Build
from tests.steps.conftest import BOTH_STORES, Start
from tests.support.rig import Rig

BUILDER = """
c["workers"].append(worker.Worker("w2", "sesame"))
def counted(name, more="true"):
    return steps.ShellCommand(name=name, command=f"echo {name} >> ../../ran; {more}", haltOnFailure=True)

builder("b",
    counted("get", "echo abc > source"),
    steps.SetPropertyFromCommand(command="cat source", property="made"),
    counted("test", "[ -e ../../good ]"),
    counted("last", "cat source"),
    steps.ShellCommand(name="tell", command=["echo", util.Property("made")], alwaysRun=True),
    workers=["w1", "w2"],
)
"""
W1 = ("w1",)


async def call(it: Rig, buildid: int, **params: Any) -> Any:
    """Ask for a rebuild: the request's id, or the error's message."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "rebuild", "params": params}
    url = f"http://127.0.0.1:{it.port}/api/v2/builds/{buildid}"
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        answer = await response.json()
    return next(iter(answer["result"][1].values())) if "result" in answer else answer["error"]["message"]


async def again(it: Rig, build: Build) -> Build:
    return await it.finished(await call(it, build.id, **{"from": "failed"}))


def ran(it: Rig, worker: str = "w1") -> list[str]:
    return (it.directory / worker / "ran").read_text().split()


def results(build: Build) -> Mapping[str, int | None]:
    return dict(build.outline)


@BOTH_STORES
async def test_what_succeeded_is_left_out_and_what_it_had_set_is_there(start: Start) -> None:
    it = await start(BUILDER, W1)
    first = await it.build(properties={"x": 1})
    assert first.results == FAILURE
    assert ran(it) == ["get", "test"]
    (it.directory / "w1/good").write_text("")
    second = await again(it, first)
    assert second.results == SUCCESS, second
    assert ran(it) == ["get", "test", "test", "last"]
    assert second.outline == [
        ("get", SKIPPED),
        ("setproperty", SKIPPED),
        ("test", SUCCESS),
        ("last", SUCCESS),
        ("tell", SUCCESS),
    ]
    assert second.step("get").state == "done by build 1 (skipped)"
    assert second.log("tell").out == b"abc\n"
    assert (second.properties["made"], second.properties["x"]) == ("abc", 1)


async def test_one_that_fails_again_can_be_gone_on_from(start: Start) -> None:
    it = await start(BUILDER, W1)
    second = await again(it, await it.build())
    assert second.results == FAILURE
    (it.directory / "w1/good").write_text("")
    third = await again(it, second)
    assert third.results == SUCCESS
    assert ran(it) == ["get", "test", "test", "test", "last"]


async def test_a_plain_rebuild_of_one_leaves_nothing_out(start: Start) -> None:
    it = await start(BUILDER, W1)
    second = await again(it, await it.build())
    whole = await it.finished(await call(it, second.id))
    assert results(whole)["get"] == SUCCESS
    assert "rebuild_from" not in whole.properties


async def test_whole_if_another_build_was_there(start: Start) -> None:
    it = await start(BUILDER, W1)
    first = await it.build()
    await it.build()
    third = await again(it, first)
    assert results(third)["get"] == SUCCESS
    assert ran(it) == ["get", "test"] * 3


async def test_whole_on_another_worker_and_on_the_same_if_it_can_be_had(start: Start) -> None:
    it = await start(BUILDER, W1)
    first = await it.build()
    await it.start_worker("w2")
    await it.until("workers", it.attached)
    for _ in range(3):
        second = await again(it, first)
        first = second
        assert second.properties["workername"] == "w1"
    assert ran(it) == ["get", "test", "test", "test", "test"]
    await it.stop_worker("w1")
    await it.until("workers", it.attached)
    other = await again(it, first)
    assert other.properties["workername"] == "w2"
    assert ran(it, "w2") == ["get", "test"]


async def test_whole_if_the_steps_have_changed(start: Start) -> None:
    it = await start(BUILDER, W1)
    first = await it.build()
    it.configure(BUILDER.replace("echo abc", "echo abcd"))
    await it.master.reload()
    second = await again(it, first)
    assert results(second)["get"] == SUCCESS
    assert second.properties["made"] == "abcd"


async def test_p4_it_goes_on_after_a_restart_of_the_master(start: Start) -> None:
    """P4: the master goes away in the first step that isn't left out; what was left out stays so."""
    waits = "echo waiting; while [ ! -e ../../go ]; do sleep 0.02; done; [ -e ../../good ]"
    it = await start(BUILDER.replace("[ -e ../../good ]", waits), W1)
    (it.directory / "w1").mkdir(exist_ok=True)
    (it.directory / "w1/go").write_text("")
    first = await it.build()
    assert first.results == FAILURE
    (it.directory / "w1/go").unlink()
    (it.directory / "w1/good").write_text("")
    request = await call(it, first.id, **{"from": "failed"})
    await it.until_output(request, b"waiting")
    await it.restart()
    await it.until("workers", it.attached)
    (it.directory / "w1/go").write_text("")
    second = await it.finished(request)
    assert (second.results, second.attempt) == (SUCCESS, 1), second
    assert ran(it) == ["get", "test", "test", "last"]


async def test_what_cannot_be_asked(start: Start) -> None:
    it = await start(BUILDER, W1)
    (it.directory / "w1").mkdir(exist_ok=True)
    (it.directory / "w1/good").write_text("")
    built = await it.build()
    assert built.results == SUCCESS
    assert await call(it, built.id, **{"from": "failed"}) == {
        "from": "the build has no failed step to go on from"
    }
    assert await call(it, built.id, **{"from": "start"}) == "'from' must be 'failed', or left out"


async def test_a_property_of_that_name_from_elsewhere_means_nothing(start: Start) -> None:
    it = await start(BUILDER, W1)
    first = await it.build()
    forged = {"buildid": first.id, "workername": "w1"}
    second = await it.build(properties={"rebuild_from": forged})
    assert results(second)["get"] == SUCCESS


async def test_whole_if_another_builder_has_the_directory(start: Start) -> None:
    it = await start(
        BUILDER.replace('    workers=["w1", "w2"],', '    workers=["w1", "w2"], workerbuilddir="shared",')
        + 'builder("other", steps.ShellCommand(command="true"), workerbuilddir="shared")\n',
        W1,
    )
    second = await again(it, await it.build())
    assert results(second)["get"] == SUCCESS
