"""Buildbot's table of events, heard from a running master while everything in it happens."""

import re
from pathlib import Path

import aiohttp

from buildwright.model.results import SUCCESS
from buildwright.store.base import wall_us
from buildwright.store.unit import unit
from buildwright.store.units.changes import NewChange, add_changes
from buildwright.store.units.commits import Seen, SeenCommit, see_work
from tests.support.rig import Rig, rig

# What isn't heard here: masters/N/started and /stopped, at a master's own start and when others find it gone;
# workers/N/missing, which is for reporters.
EVENTS = """
branches/N/new branches/N/update
builders/N/started builders/N/stopped builders/N/update
builders/N/buildrequests/N/new builders/N/buildrequests/N/claimed builders/N/buildrequests/N/complete
builders/N/builds/N/new builders/N/builds/N/finished
buildrequests/N/new buildrequests/N/claimed buildrequests/N/unclaimed buildrequests/N/complete
buildrequests/N/cancel
buildsets/N/builders/N/buildrequests/N/new buildsets/N/builders/N/buildrequests/N/complete
buildsets/N/new buildsets/N/complete
builds/N/new builds/N/finished builds/N/properties/update
builds/N/steps/N/new builds/N/steps/N/started builds/N/steps/N/updated builds/N/steps/N/finished
changes/N/new
codebases/N/new codebases/N/update codebases/N/commits/N/new commits/N/new
logs/N/new logs/N/append logs/N/finished
projects/N/new projects/N/update
schedulers/N/updated
steps/N/new steps/N/started steps/N/updated steps/N/finished
steps/N/logs/stdio/new steps/N/logs/stdio/append steps/N/logs/stdio/finished
test_result_sets/N/new test_result_sets/N/completed
workers/N/connected workers/N/disconnected workers/N/state_updated
workers/N/builds/N/new workers/N/builds/N/finished
"""

TEXT = """
class Does(steps.BuildStep):
    async def run(self):
        tests = await self.addTestResultSet("tests", "pass_fail", "boolean")
        self.addTestResult(tests, "1")
        log = await self.addLog("stdio")
        log.addStdout("hello\\n")
        self.addURL("link", "https://example.org/")
        self.setProperty("done", True)
        return util.SUCCESS if self.build.attempt > 1 else util.RETRY
builder("b", Does(name="does"))
c["schedulers"].append(schedulers.SingleBranchScheduler("all", branch="main", builderNames=["b"]))
"""
MORE = """
c["projects"] = [util.Project("site", description="WORDS")]
c["codebases"] = [util.Codebase("pages", "site", slug="SLUG")]
c["builders"][0].description = "changed"
builder("more", Does(name="does"))
"""


class Heard:
    """The names of all events, numbers as N."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self.names: set[str] = set()

    async def listen(self) -> None:
        for length in range(3, 8):
            path = "/".join(["*"] * length)
            await self._socket.send_json({"cmd": "startConsuming", "path": path, "_id": length})

    async def until(self, *wanted: str) -> None:
        """Listen until these were heard."""
        while missing := set(wanted) - self.names:
            try:
                message = await self._socket.receive_json(timeout=20)
            except TimeoutError:
                raise AssertionError(f"not heard: {sorted(missing)}") from None
            if "k" in message:
                assert isinstance(message["m"], dict)
                self.names.add(re.sub(r"(?<=/)\d+(?=/)", "N", message["k"]))


async def test_every_event_of_the_table_is_heard(tmp_path: Path) -> None:
    async with (
        rig(tmp_path, "sqlite:///state.sqlite", TEXT, workers=()) as it,
        aiohttp.ClientSession() as http,
        http.ws_connect(f"http://127.0.0.1:{it.port}/ws") as socket,
    ):
        heard = Heard(socket)
        await heard.listen()
        await it.start_worker()
        await heard.until("workers/N/connected")
        await it.store.run(add_changes([NewChange("me", branch="main", revision="1")], wall_us()))
        await heard.until("builds/N/finished", "buildrequests/N/unclaimed", "buildsets/N/complete")
        await _control(it, heard)
        it.configure(TEXT + MORE)
        await it.master.reload()
        await heard.until("projects/N/new", "codebases/N/new", "builders/N/started", "builders/N/update")
        it.configure(
            (TEXT + MORE).replace("WORDS", "others").replace("SLUG", "slug").replace('"more"', '"less"')
        )
        await it.master.reload()
        await heard.until("projects/N/update", "codebases/N/update", "builders/N/stopped")
        for revision in ("1", "2"):
            seen = Seen("pages", "site", [SeenCommit(revision, "me", None, "", 0)], [("main", revision)])
            await it.store.run(unit(see_work)(seen, wall_us()))
        await it.stop_worker()
        await heard.until(*EVENTS.split())


async def _control(it: Rig, heard: Heard) -> None:
    """What people do: pause the worker, switch a scheduler off and on, cancel what waits."""
    control = it.master.core.control()
    assert await control.worker_action(1, "pause", "enough")
    await heard.until("workers/N/state_updated")
    requestid = await it.submit("b")
    assert await control.cancel_request(requestid, "enough")
    await heard.until("buildrequests/N/cancel")
    schedulerid = it.master.core.services.registry.schedulers["all"]
    assert await control.enable_scheduler(schedulerid, False)
    await heard.until("schedulers/N/updated")
    assert await control.worker_action(1, "unpause", "")
    assert (await it.build("b")).results == SUCCESS
