"""Try jobs and sent changes, from outside to a worker: what is acknowledged is built, once."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa

from buildwright.model.errors import ConfigErrors
from buildwright.model.results import SUCCESS
from buildwright.schedulers.tries import Try_Jobdir, Try_Userpass
from buildwright.schedulers.triggerable import NightlyTriggerable, Triggerable
from buildwright.schedulers.tryjobs import BadJob, TryJob, file_of_job
from buildwright.store import schema
from tests.support.rig import Rig, rig

Start = Callable[[str], Awaitable[Rig]]
Post = Callable[..., Awaitable[Any]]

BUILDERS = """
from buildwright.plugins import changes
for name in ("b", "other"):
    builder(name, steps.ShellCommand(command="true"))
"""
PATCH = b"--- a/x\n+++ b/x\n\xff\n"


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a rig; it ends with the test."""
    async with AsyncExitStack() as stack:

        async def start(text: str) -> Rig:
            url = "sqlite:///state.sqlite"
            return await stack.enter_async_context(rig(tmp_path, url, BUILDERS + text))

        yield start


async def call(it: Rig, path: str, method: str, key: str | None = None, **params: Any) -> Any:
    """Call a method of the data API: its result, or its error's message."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    headers = {} if key is None else {"Idempotency-Key": key}
    url = f"http://127.0.0.1:{it.port}/api/v2/{path}"
    async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers) as response:
        answer = await response.json()
    return answer["result"] if "result" in answer else answer["error"]["message"]


async def rows(it: Rig, table: sa.Table) -> list[Any]:
    return list(await it.store.fetch(sa.select(table).order_by(*table.primary_key.columns)))


async def source(it: Rig, buildsetid: int) -> tuple[Any, ...]:
    """Branch, revision and repository of a buildset, with its patch."""
    stamps, patches, links = schema.sourcestamps.c, schema.patches.c, schema.buildset_sourcestamps.c
    joined = schema.sourcestamps.outerjoin(schema.patches, patches.id == stamps.patchid).join(
        schema.buildset_sourcestamps, links.sourcestampid == stamps.id
    )
    wanted = (stamps.branch, stamps.revision, stamps.repository, patches.level, patches.body, patches.author)
    found = await it.store.fetch(sa.select(*wanted).select_from(joined).where(links.buildsetid == buildsetid))
    [row] = found
    return tuple(row)


TRY = """
c["schedulers"].append(schedulers.Try_Userpass("try", ["b", "other"], properties={"x": "ours"}))
"""
JOB: dict[str, Any] = {
    "branch": "main",
    "baserev": "abc",
    "repository": "repo",
    "patch_level": 1,
    "patch_body_base64": base64.b64encode(PATCH).decode(),
    "who": "ann",
    "comment": "faster\nthan before",
}


async def test_p1_a_job_over_the_api_is_built_and_a_repetition_acts_once(start: Start) -> None:
    """P1: acknowledged means stored, and the same key acts once."""
    it = await start(TRY)
    given = {**JOB, "builderNames": ["b"], "properties": {"x": "theirs", "y": 2}}
    [buildsetid, requests] = await call(it, "tryschedulers/try", "try", "once", **given)
    assert [buildsetid, requests] == await call(it, "tryschedulers/try", "try", "once", **given)
    assert await source(it, buildsetid) == ("main", "abc", "repo", 1, PATCH, "ann")
    [request] = requests.values()
    built = await it.finished(request)
    assert built.results == SUCCESS
    assert {name: built.properties[name] for name in ("x", "y", "owner")} == {
        "x": "ours",
        "y": 2,
        "owner": "ann",
    }
    assert built.sources["y"] == "try build"
    [buildset] = await rows(it, schema.buildsets)
    assert buildset[2] == "try job of ann: faster"


async def test_all_builders_of_the_scheduler_unless_some_are_named(start: Start) -> None:
    it = await start(TRY)
    [_, requests] = await call(it, "tryschedulers/try", "try", **JOB)
    assert len(requests) == 2
    message = await call(it, "tryschedulers/try", "try", **JOB, builderNames=["b", "none"])
    assert message == {"builderNames": "Try_Userpass 'try' doesn't start none, only b, other"}
    assert "there is no such try scheduler" in await call(it, "tryschedulers/nobody", "try", **JOB)


async def test_a_scheduler_with_users_takes_jobs_of_them_only(start: Start) -> None:
    it = await start(
        """
import pathlib
pathlib.Path(basedir, "secrets").mkdir(mode=0o700, exist_ok=True)
pathlib.Path(basedir, "secrets", "bob").write_text("hidden")
pathlib.Path(basedir, "secrets", "bob").chmod(0o600)
c["secretsProviders"] = [secrets.SecretInAFile(dirname=basedir + "/secrets")]
c["schedulers"].append(schedulers.Try_Userpass("try", ["b"], port=8031, userpass=[
    ("ann", "sesame"), ("bob", util.Secret("bob")),
]))
"""
    )
    job = {name: value for name, value in JOB.items() if name != "who"}
    refused = {"passwd": "Try_Userpass 'try' has no such user with this password"}
    for wrong in ({}, {"username": "ann"}, {"username": "ann", "passwd": "hidden"}):
        assert await call(it, "tryschedulers/try", "try", **job, **wrong) == refused
    for user, password in (("ann", "sesame"), ("bob", "hidden")):
        added = await call(it, "tryschedulers/try", "try", **job, username=user, passwd=password)
        [request] = added[1].values()
        assert (await it.finished(request)).properties["owner"] == user
    entries = repr(await rows(it, schema.audit))  # P9: what was entered of the calls
    assert "<passwd>" in entries
    assert "sesame" not in entries
    assert "hidden" not in entries
    [warning] = [each for each in it.master.snapshot.warnings if "port" in each.message]
    assert "nothing listens on this port" in warning.message


async def test_a_disabled_scheduler_refuses(start: Start) -> None:
    it = await start(TRY)
    await call(it, f"schedulers/{it.master.core.schedulers.ids['try']}", "enable", enabled=False)
    assert await call(it, "tryschedulers/try", "try", **JOB) == {"": "Try_Userpass 'try' is disabled"}


# -- job directories -----------------------------------------------------------------------------------------

JOBDIR = 'c["schedulers"].append(schedulers.Try_Jobdir("dir", ["b"], jobdir="jobs"))\n'


async def put(it: Rig, name: str, content: bytes) -> None:
    jobdir = it.basedir / "jobs"
    (jobdir / "tmp" / name).write_bytes(content)
    (jobdir / "tmp" / name).rename(jobdir / "new" / name)


async def ready(it: Rig) -> None:
    await it.until("buildsets", lambda: is_there(it.basedir / "jobs/cur"))


async def is_there(path: Path) -> bool:
    return await asyncio.to_thread(path.exists)


async def test_p1_a_job_in_a_directory_is_built_once_whatever_dies(start: Start) -> None:
    """P1: the master dies after the buildset is stored and before the file is moved: it is built once."""
    it = await start(JOBDIR)
    await ready(it)
    content = file_of_job(TryJob("7-ann", "main", "abc", 1, PATCH, who="ann", builder_names=("b",)))
    await put(it, "job", content)
    await it.until("buildsets", lambda: is_there(it.basedir / "jobs/cur/job"))
    [buildset] = await rows(it, schema.buildsets)
    assert buildset[1] == "7-ann"
    assert await source(it, buildset[0]) == ("main", "abc", "", 1, PATCH, "ann")
    (it.basedir / "jobs/cur/job").rename(it.basedir / "jobs/new/job")
    await it.restart()
    await it.until("buildsets", lambda: is_there(it.basedir / "jobs/cur/job"))
    [(request, *_)] = await rows(it, schema.buildrequests)
    assert (await it.finished(request)).results == SUCCESS


async def test_a_file_that_is_no_job_is_put_aside_and_others_go_on(start: Start) -> None:
    it = await start(JOBDIR)
    await ready(it)
    await put(it, "a", b"hello")
    await put(it, "b", file_of_job(TryJob(baserev="abc", builder_names=("nobody",))))
    await put(it, "c", file_of_job(TryJob(baserev="abc")))
    for name in "abc":
        await it.until("buildsets", lambda: is_there(it.basedir / f"jobs/cur/{name}"))  # noqa: B023
    assert len(await rows(it, schema.buildsets)) == 1


async def test_jobs_wait_while_the_scheduler_is_disabled(start: Start) -> None:
    it = await start(JOBDIR)
    await ready(it)
    schedulerid = it.master.core.schedulers.ids["dir"]
    await call(it, f"schedulers/{schedulerid}", "enable", enabled=False)
    await put(it, "job", file_of_job(TryJob(baserev="abc")))
    await it.master.core.jobdirs.sweep()
    assert (it.basedir / "jobs/new/job").exists()
    await call(it, f"schedulers/{schedulerid}", "enable", enabled=True)
    await it.until("buildsets", lambda: is_there(it.basedir / "jobs/cur/job"))
    assert len(await rows(it, schema.buildsets)) == 1


# -- plans ---------------------------------------------------------------------------------------------------


async def test_the_patch_belongs_to_the_codebase_that_is_meant() -> None:
    scheduler = Try_Userpass(
        "try", ["b"], codebases={"app": {"repository": "r/app"}, "lib": {"branch": "v2"}}
    )
    plan = await scheduler.plan(TryJob(baserev="abc", repository="r/app", patch_body=PATCH))
    stamps = {stamp["codebase"]: stamp for stamp in plan.stamps if isinstance(stamp, dict)}
    assert (stamps["app"]["revision"], stamps["app"]["patch"]["body"]) == ("abc", PATCH)
    assert (stamps["lib"]["branch"], "patch" in stamps["lib"]) == ("v2", False)
    plan = await scheduler.plan(TryJob(baserev="abc", codebase="lib", patch_body=PATCH))
    assert [stamp["codebase"] for stamp in plan.stamps if isinstance(stamp, dict) and "patch" in stamp] == [
        "lib"
    ]
    for job, message in (
        (TryJob(), "say which of 'app', 'lib' the patch is of"),
        (TryJob(codebase="x"), "has no codebase 'x'"),
    ):
        with pytest.raises(BadJob, match=message):
            await scheduler.plan(job)


async def test_a_priority_may_be_a_function() -> None:
    def priority(builders: list[str], changes: object) -> int:
        assert changes == {}
        return len(builders)

    common: dict[str, Any] = {"priority": priority}
    assert (await Try_Userpass("x", ["a", "b"], **common).plan(TryJob())).priority == 2
    assert (await Triggerable("x", ["a", "b", "c"], **common).plan()).priority == 3
    assert (await NightlyTriggerable("x", ["a"], **common).plan()).priority == 0  # its builds come later


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Try_Userpass("x", ["b"], userpass="ann"),  # type: ignore[arg-type]
            "userpass must be a list",
        ),
        (lambda: Try_Userpass("x", ["b"], userpass=[("ann", 7)]), "userpass must be pairs"),
        (lambda: Try_Jobdir("x", ["b"], 7), "jobdir must be a directory's path"),  # type: ignore[arg-type]
    ],
)
def test_what_is_wrong_is_said(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigErrors, match=message):
        make()


# -- sent changes --------------------------------------------------------------------------------------------

SENT = """
c["codebaseGenerator"] = lambda change: "web" if change["repository"] == "r/web" else ""
c["revlink"] = lambda revision, repository: "http://example.org/" + revision
c["change_source"] = [
    changes.PBChangeSource(),
    changes.PBChangeSource(user="sub", passwd="x", prefix="sub/"),
]
c["schedulers"].append(schedulers.AnyBranchScheduler("all", ["b"], codebases=["", "web"]))
"""


async def test_p1_a_sent_change_is_acted_on_once(start: Start) -> None:
    """P1: the change that was acknowledged starts a build, and sent again it is the same one."""
    it = await start(SENT)
    given = {
        "author": "ann",
        "branch": "main",
        "revision": "abc",
        "repository": "r/web",
        "files": ["a", "b"],
        "comments": "why",
        "category": "quick",
        "project": "p",
        "when_timestamp": 1_700_000_000.5,
        "properties": {"x": 1},
    }
    changeid = await call(it, "changes", "add", "key", **given)
    assert changeid == await call(it, "changes", "add", "key", **given)
    await it.until("buildsets", lambda: rows(it, schema.buildsets))
    columns = [column.name for column in schema.changes.columns]
    [row] = await rows(it, schema.changes)
    stored = dict(zip(columns, row, strict=True))
    expected = {
        "id": changeid,
        "author": "ann",
        "codebase": "web",
        "revlink": "http://example.org/abc",
        "when_us": 1_700_000_000_500_000,
        "files": '["a","b"]',
        "category": "quick",
        "project": "p",
        "comments": "why",
        "properties": '{"x":[1,"Change"]}',
    }
    assert {name: stored[name] for name in expected} == expected
    [(request, *_)] = await rows(it, schema.buildrequests)
    assert (await it.finished(request)).properties["x"] == 1


async def test_a_prefix_cuts_paths_and_leaves_changes_out(start: Start) -> None:
    it = await start(SENT)
    user = {"username": "sub", "passwd": "x"}
    assert await call(it, "changes", "add", author="ann", files=["other/x"], **user) is None
    await call(it, "changes", "add", author="ann", files=["other/x", "sub/y"], **user)
    [row] = await rows(it, schema.changes)
    assert dict(zip([column.name for column in schema.changes.columns], row, strict=True))["files"] == '["y"]'
    wrong = await call(it, "changes", "add", author="ann", username="sub", passwd="changepw")
    assert list(wrong) == ["passwd"]


async def test_everything_wrong_with_a_change_is_told_by_field(start: Start) -> None:
    it = await start(SENT)
    given: dict[str, Any] = {
        "files": "a",
        "branch": 1,
        "when_timestamp": "now",
        "properties": ["x"],
        "colour": "red",
    }
    assert set(await call(it, "changes", "add", **given)) == {*given, "author"}
    assert not await rows(it, schema.changes)
