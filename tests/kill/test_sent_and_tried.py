"""The master is killed right after it has taken what people sent: all of it happens, once, and what became
useless is stopped by the next one.
"""

from pathlib import Path
from typing import Any

import aiohttp

from buildwright.model.results import CANCELLED, SUCCESS
from buildwright.schedulers.tryjobs import TryJob, file_of_job
from tests.support.processes import Farm, eventually, farm, properties_of

CONFIG = """
from buildwright.plugins import schedulers, steps, util, worker

def builder(name, command):
    factory = util.BuildFactory([steps.ShellCommand(name="job", command=command)])
    return util.BuilderConfig(name=name, workernames=["w"], factory=factory)

c = BuildmasterConfig = {}
c["workers"] = [worker.Worker("w", "pw")]
c["builders"] = [
    builder("slow", [PYTHON, JOB, util.Interpolate("slow-%(prop:revision)s"), "600", LEDGER]),
    builder("quick", [PYTHON, JOB, util.Interpolate("quick-%(prop:revision)s"), "0.1", LEDGER]),
]
c["schedulers"] = [
    schedulers.AnyBranchScheduler("all", builderNames=["slow"]),
    schedulers.Try_Userpass("try", builderNames=["quick"]),
    schedulers.Try_Jobdir("dir", builderNames=["quick"], jobdir="jobs"),
]
c["services"] = [util.OldBuildCanceller("newer-wins", [("slow", util.SourceStampFilter(branch_eq="main"))])]
c["www"] = {"port": f"tcp:{PORT}:interface=127.0.0.1"}
"""


async def call(it: Farm, path: str, method: str, key: str, **params: Any) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    headers = {"Idempotency-Key": key}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{it.api.base}/api/v2/{path}", json=body, headers=headers) as response,
    ):
        answer = await response.json()
    assert "result" in answer, answer
    return answer["result"]


async def builds_of(it: Farm, builder: str) -> dict[str, dict[str, Any]]:
    """The builder's builds by their revision."""
    try:
        found = (await it.api.get(f"builders/{builder}/builds", property="*"))["builds"]
    except (aiohttp.ClientError, OSError):
        return {}
    found = [build for build in found if build["properties"]]  # those that have come to a step
    by_revision = {properties_of(build)["revision"]: build for build in found}
    assert len(by_revision) == len(found), "something was built twice"
    return by_revision


async def test_p1_what_was_taken_happens_once_and_what_is_useless_is_stopped(tmp_path: Path) -> None:
    """P1, P10: kill -9 between the answer and everything that follows from it."""
    async with farm(tmp_path) as it:
        it.configure(CONFIG)
        await it.start_master()
        await it.master_is_up()
        await it.start_worker("w")
        sent = {"author": "ann", "branch": "main", "repository": "r"}
        await call(it, "changes", "add", "one", revision="one", **sent)
        await eventually(lambda: _true(it.starts("slow-one")), "the first change is built")

        jobs = it.basedir / "jobs"
        await eventually(lambda: _true((jobs / "cur").is_dir()), "the directory is watched")
        (jobs / "tmp/job").write_bytes(file_of_job(TryJob(baserev="filed")))
        change = await call(it, "changes", "add", "two", revision="two", **sent)
        tried = await call(it, "tryschedulers/try", "try", "three", baserev="tried")
        (jobs / "tmp/job").rename(jobs / "new/job")
        await it.master.kill()

        await it.start_master()
        await it.master_is_up()
        assert await call(it, "changes", "add", "two", revision="two", **sent) == change
        assert await call(it, "tryschedulers/try", "try", "three", baserev="tried") == tried

        async def quick() -> Any:
            found = await builds_of(it, "quick")
            return found if len(found) == 2 and all(each["complete"] for each in found.values()) else None

        done = await eventually(quick, "both jobs are built")
        assert {revision: build["results"] for revision, build in done.items()} == {
            "filed": SUCCESS,
            "tried": SUCCESS,
        }

        async def newer() -> Any:
            found = await builds_of(it, "slow")
            return found if "two" in found and found["one"]["complete"] else None

        slow = await eventually(newer, "the newer change is built and the older is not")
        assert slow["one"]["results"] == CANCELLED
        assert "is newer (OldBuildCanceller 'newer-wins')" in slow["one"]["state_string"]
        assert not slow["two"]["complete"]
        assert [it.starts(name) for name in ("slow-one", "quick-filed", "quick-tried")] == [1, 1, 1]
        await it.api.post(f"builds/{slow['two']['buildid']}", "stop", reason="the test ends")


async def _true(value: object) -> bool:
    return bool(value)
