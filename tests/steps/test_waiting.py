"""Everything that waits has its reason, in the store and in the data API (P6)."""

from typing import Any

import aiohttp

from buildwright.model.results import SUCCESS
from buildwright.store.base import Store
from buildwright.store.unit import Unit
from tests.steps.conftest import Start
from tests.support.rig import Rig

HOLD = 'steps.ShellCommand(command="until [ -e ../../go ]; do sleep 0.02; done")'


async def read(it: Rig, path: str) -> list[dict[str, Any]]:
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{it.port}/api/v2{path}") as got:
        assert got.status == 200, await got.text()
        body = await got.json()
        [plural] = body.keys() - {"meta"}
        found: list[dict[str, Any]] = body[plural]
        return found


async def waits(it: Rig, requestid: int, why: str) -> None:
    """Return when a waiting request has this reason."""

    async def look() -> bool:
        [request] = await read(it, f"/buildrequests/{requestid}")
        assert not request["claimed"]
        return bool(request["waits_for"] == why)

    await it.until("builders", look)


def let_go(it: Rig) -> None:
    (it.directory / "w1" / "go").touch()


async def test_p6_busy_absent_and_paused_workers_are_named(start: Start) -> None:
    it = await start(
        f"""
c["workers"] = [worker.Worker(name, "sesame", max_builds=1) for name in ("w1", "w2", "w3", "w4")]
builder("b", {HOLD})
builder("c", workers=["w2", "w1"])
builder("far", workers=["w2", "w3"])
builder("many", workers=["w1", "w2", "w3", "w4"])
"""
    )
    held = await it.submit()
    await it.started(held)
    again, mixed, far, many = [await it.submit(each) for each in ("b", "c", "far", "many")]
    await waits(it, again, "no free worker: 'w1' is busy")
    await waits(it, mixed, "no free worker: 'w1' is busy; 'w2' is not attached")
    await waits(it, far, "no worker: 'w2' is not attached; 'w3' is not attached")
    await waits(
        it, many, "no free worker: 'w1' is busy; 'w2' is not attached; 'w3' is not attached; and 1 more"
    )
    let_go(it)
    for request in (held, again, mixed, many):
        assert (await it.finished(request)).results == SUCCESS
    [claimed] = await read(it, f"/buildrequests/{again}")
    assert (claimed["claimed"], claimed["waits_for"]) == (True, "")


async def test_p6_functions_that_decline_are_named(start: Start) -> None:
    it = await start(
        """
import pathlib
def decided(answer):
    return answer if pathlib.Path(basedir, "decided").exists() else None
builder("next", nextBuild=lambda builder, requests: decided(requests[0]))
builder("worker", nextWorker=lambda builder, workers, request: decided(workers[0]))
builder("start", canStartBuild=lambda builder, worker, request: decided(True))
builder("left-out", nextBuild=lambda builder, requests: decided(requests[0]))
builder("other")
c["prioritizeBuilders"] = lambda master, builders: [
    each for each in builders if each.name != "left-out" or decided(True)
]
""",
        workers=(),
    )
    reasons = {
        "next": "nextBuild of builder 'next' chose none of its requests",
        "worker": "nextWorker of builder 'worker' chose no worker",
        "start": "canStartBuild of builder 'start' said no",
        "left-out": "prioritizeBuilders left this builder out",
    }
    requests = {name: await it.submit(name) for name in reasons}
    await it.start_worker()  # all are looked at in one pass
    for name, requestid in requests.items():
        await waits(it, requestid, reasons[name])
    (it.basedir / "decided").touch()
    it.master.core.distributor.wake()
    for requestid in requests.values():
        assert (await it.finished(requestid)).results == SUCCESS


async def test_p6_a_master_that_is_to_stop_says_so(start: Start) -> None:
    it = await start(f"builder('b', {HOLD})\nbuilder('c')")
    held = await it.submit()
    await it.started(held)
    it.master.core.distributor.close()
    request = await it.submit("c")
    await waits(it, request, "the master is to stop: it starts no more builds")
    let_go(it)
    assert (await it.finished(held)).results == SUCCESS
    await it.restart()
    assert (await it.finished(request)).results == SUCCESS


async def test_p6_a_request_whose_builder_is_nowhere_says_so(start: Start) -> None:
    it = await start('c["multiMaster"] = True\nbuilder("b", workers=["w1"])\nbuilder("kept")', workers=())
    request = await it.submit()
    await waits(it, request, "no worker: 'w1' is not attached")
    it.configure('c["multiMaster"] = True\nbuilder("kept")')
    await it.master.reload()
    await waits(it, request, "no running master has this builder in its configuration")


async def test_p6_requests_and_steps_name_the_lock_they_wait_for(start: Start) -> None:
    it = await start(
        """
whole, part = util.MasterLock("whole"), util.MasterLock("part")
hold = steps.ShellCommand(
    command="until [ -e ../../go ]; do sleep 0.02; done", locks=[part.access("exclusive")]
)
true = steps.ShellCommand(command="true", locks=[part.access("exclusive")])
builder("first", steps.ShellCommand(command="true"), hold, locks=[whole.access("exclusive")])
builder("second", locks=[whole.access("exclusive")])
builder("third", true)
"""
    )
    holder = await it.submit("first")
    await it.started(holder)
    [build] = await it.builds(holder)

    async def holds() -> bool:
        steps = await read(it, f"/builds/{build.id}/steps")
        return len(steps) == 2 and steps[1]["locks_acquired_at"] is not None

    await it.until("steps", holds)
    second, third = await it.submit("second"), await it.submit("third")
    await waits(it, second, "lock 'whole' is taken")
    await it.started(third)
    [waiting] = await it.builds(third)

    async def says() -> bool:
        steps = await read(it, f"/builds/{waiting.id}/steps")
        return [step["waits_for"] for step in steps] == ["waits for lock 'part'"]

    await it.until("steps", says)
    let_go(it)
    for request in (holder, second, third):
        assert (await it.finished(request)).results == SUCCESS
    assert [step["waits_for"] for step in await read(it, f"/builds/{waiting.id}/steps")] == [""]


async def test_a_busy_builder_stores_its_reason_once(start: Start) -> None:
    it = await start('builder("b")')
    assert (await it.build()).results == SUCCESS
    written: list[str] = []
    run: Any = it.store.run

    async def noting(unit: Unit[Any], **options: Any) -> Any:
        written.append(unit.name)
        return await run(unit, **options)

    store: Store = it.store
    store.run = noting  # type: ignore[method-assign]
    requests = [await it.submit() for _ in range(12)]
    for request in requests:
        assert (await it.finished(request)).results == SUCCESS
    assert written.count("claim") >= 12
    assert written.count("say_builders_wait") <= 1
    assert written.count("say_requests_wait") == 0
