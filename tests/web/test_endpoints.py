"""Every path, field and control method of Buildbot's data API, on a running master.

The table is Buildbot's: what is answered, the resource, the path. ``B`` stands for a builder by its id or its
name, ``S`` for a step by its number or its name."""

import itertools
from pathlib import Path
from typing import Any

import aiohttp

from buildwright.model.results import SUCCESS
from buildwright.store.base import wall_us
from buildwright.store.unit import unit
from buildwright.store.units.changes import NewChange, add_changes
from buildwright.store.units.commits import Seen, SeenCommit, see_work
from tests.support.rig import Rig, rig

PATHS = """
collection build_data /builders/B/builds/n:build_number/data
collection build_data /builds/n:buildid/data
single build_data /builders/B/builds/n:build_number/data/i:name
single build_data /builds/n:buildid/data/i:name
bytes build_data /builders/B/builds/n:build_number/data/i:name/value
bytes build_data /builds/n:buildid/data/i:name/value
single builder /builders/n:builderid
single builder /builders/s:buildername
single builder /masters/n:masterid/builders/n:builderid
collection builder /builders
collection builder /masters/n:masterid/builders
collection builder /projects/n:projectid/builders
collection builder /workers/n:workerid/builders
single build /builds/n:buildid
single build /builders/B/builds/n:build_number
collection build /builds
collection build /builders/n:builderid/builds
collection build /builders/s:buildername/builds
collection build /buildrequests/n:buildrequestid/builds
collection build /changes/n:changeid/builds
collection build /workers/n:workerid/builds
collection build /builds/n:buildid/triggered_builds
single buildrequest /buildrequests/n:buildrequestid
collection buildrequest /buildrequests
collection buildrequest /builders/n:builderid/buildrequests
single codebase /codebases/n:codebaseid
single codebase /projects/n:projectid/codebases/i:codebasename
collection codebase /codebases
single commit /commits/n:commitid
single commit /codebases/n:codebaseid/commits_by_revision/s:revision
collection commit /codebases/n:codebaseid/commits
single commit_graph /codebases/n:codebaseid/commit_range/n:commitid1/n:commitid2/commits_common_parent
single branch /branches/n:branchid
collection branch /codebases/n:codebaseid/branches
single worker /workers/n:workerid
single worker /workers/i:name
single worker /masters/n:masterid/workers/n:workerid
single worker /masters/n:masterid/workers/i:name
single worker /masters/n:masterid/builders/n:builderid/workers/n:workerid
single worker /masters/n:masterid/builders/n:builderid/workers/i:name
single worker /builders/n:builderid/workers/n:workerid
single worker /builders/n:builderid/workers/i:name
collection worker /workers
collection worker /masters/n:masterid/workers
collection worker /masters/n:masterid/builders/n:builderid/workers
collection worker /builders/n:builderid/workers
single step /steps/n:stepid
single step /builds/n:buildid/steps/S
single step /builders/B/builds/n:build_number/steps/S
collection step /builds/n:buildid/steps
collection step /builders/B/builds/n:build_number/steps
single log /logs/n:logid
single log /steps/n:stepid/logs/i:log_slug
single log /builds/n:buildid/steps/S/logs/i:log_slug
single log /builders/B/builds/n:build_number/steps/S/logs/i:log_slug
collection log /steps/n:stepid/logs
collection log /builds/n:buildid/steps/S/logs
collection log /builders/B/builds/n:build_number/steps/S/logs
single logchunk /logs/n:logid/contents
single logchunk /steps/n:stepid/logs/i:log_slug/contents
single logchunk /builds/n:buildid/steps/S/logs/i:log_slug/contents
single logchunk /builders/B/builds/n:build_number/steps/S/logs/i:log_slug/contents
text logchunk /logs/n:logid/raw
text logchunk /steps/n:stepid/logs/i:log_slug/raw
text logchunk /builds/n:buildid/steps/S/logs/i:log_slug/raw
text logchunk /builders/B/builds/n:build_number/steps/S/logs/i:log_slug/raw
text logchunk /logs/n:logid/raw_inline
text logchunk /steps/n:stepid/logs/i:log_slug/raw_inline
text logchunk /builds/n:buildid/steps/S/logs/i:log_slug/raw_inline
text logchunk /builders/B/builds/n:build_number/steps/S/logs/i:log_slug/raw_inline
single buildset /buildsets/n:bsid
collection buildset /buildsets
single change /changes/n:changeid
collection change /changes
collection change /builders/B/builds/n:build_number/changes
collection change /builds/n:buildid/changes
collection change /sourcestamps/n:ssid/changes
single changesource /changesources/n:changesourceid
single changesource /masters/n:masterid/changesources/n:changesourceid
collection changesource /changesources
collection changesource /masters/n:masterid/changesources
single master /masters/n:masterid
single master /builders/n:builderid/masters/n:masterid
collection master /masters
collection master /builders/n:builderid/masters
single sourcestamp /sourcestamps/n:ssid
collection sourcestamp /sourcestamps
collection sourcestamp /buildsets/:buildsetid/sourcestamps
single scheduler /schedulers/n:schedulerid
single scheduler /masters/n:masterid/schedulers/n:schedulerid
collection scheduler /schedulers
collection scheduler /masters/n:masterid/schedulers
single forcescheduler /forceschedulers/i:schedulername
collection forcescheduler /forceschedulers
collection forcescheduler /builders/:builderid/forceschedulers
collection rootlink /
collection spec /application.spec
single project /projects/n:projectid
single project /projects/i:projectname
collection project /projects
single property /buildsets/n:bsid/properties
single property /builders/B/builds/n:build_number/properties
single property /builds/n:buildid/properties
collection _property /builds/n:buildid/property_list
collection _property /buildsets/n:bsid/properties_list
collection _property /changes/n:changeid/properties_list
collection test_result /test_result_sets/n:test_result_setid/results
collection test_result_set /test_result_sets
collection test_result_set /builders/n:builderid/test_result_sets
collection test_result_set /builders/s:buildername/test_result_sets
collection test_result_set /builds/n:buildid/test_result_sets
collection test_result_set /steps/n:stepid/test_result_sets
collection test_result_set /codebases/n:codebaseid/commit_range/n:commitid1/n:commitid2/test_result_sets
single test_result_set /test_result_sets/n:test_result_setid
"""
# `/logchunks` alone names no log in Buildbot either.
NOT_HERE = """
/logchunks
"""
FIELDS = {
    "_property": "name source value",
    "build": "buildid number builderid buildrequestid workerid masterid started_at complete complete_at "
    "locks_duration_s results state_string properties",
    "build_data": "buildid name length value source",
    "builder": "builderid name masterids description description_format description_html projectid tags",
    "buildrequest": "buildrequestid buildsetid builderid priority claimed claimed_at claimed_by_masterid "
    "complete results submitted_at complete_at waited_for properties",
    "buildset": "bsid external_idstring reason rebuilt_buildid submitted_at complete complete_at results "
    "sourcestamps parent_buildid parent_relationship",
    "branch": "branchid codebaseid name commitid last_timestamp",
    "change": "changeid parent_changeids author committer files comments revision when_timestamp branch "
    "category revlink properties repository project codebase sourcestamp",
    "changesource": "changesourceid name master",
    "codebase": "codebaseid projectid name slug",
    "commit": "commitid codebaseid author committer comments when_timestamp revision parent_commitid",
    "commit_graph": "common to1 to2",
    "forcescheduler": "name button_name label builder_names enabled all_fields",
    "log": "logid name slug stepid complete num_lines type",
    "logchunk": "logid firstline content",
    "master": "masterid name active last_active",
    "project": "projectid name slug active description description_format description_html",
    "property": "scheduler",
    "rootlink": "name",
    "scheduler": "schedulerid name enabled master",
    "sourcestamp": "ssid revision branch repository project codebase patch created_at",
    "spec": "path type plural type_spec",
    "step": "stepid number name buildid started_at locks_acquired_at complete complete_at results "
    "state_string urls hidden",
    "test_result": "test_resultid builderid test_result_setid test_name test_code_path line duration_ns "
    "value",
    "test_result_set": "test_result_setid builderid buildid stepid description category value_unit "
    "tests_passed tests_failed complete",
    "worker": "workerid name connected_to configured_on workerinfo paused pause_reason graceful",
}
PLURALS = {
    "_property": "_properties",
    "branch": "branches",
    "build_data": "build_data",
    "property": "properties",
}
# Collections that may be empty though everything is there: nothing was triggered.
EMPTY = {"/builds/n:buildid/triggered_builds"}

CONTROL: list[tuple[str, str, dict[str, Any]]] = [
    ("/builds/n:buildid", "rebuild", {}),
    ("/builds/n:buildid", "stop", {"reason": "enough"}),
    ("/builders/s:buildername/builds/n:build_number", "stop", {}),
    ("/buildrequests/n:buildrequestid", "cancel", {"reason": "enough"}),
    ("/buildrequests/n:buildrequestid", "set_priority", {"priority": 3}),
    ("/schedulers/n:schedulerid", "enable", {"enabled": False}),
    ("/schedulers/n:schedulerid", "enable", {"enabled": True}),
    ("/forceschedulers/i:schedulername", "force", {"builderNames": ["b"], "reason": "try"}),
    ("/forceschedulers/i:schedulername", "force", {"builderid": 1}),
    ("/workers/n:workerid", "pause", {"reason": "enough"}),
    ("/workers/i:name", "unpause", {}),
    ("/workers/n:workerid", "stop", {"reason": "enough"}),
    ("/workers/n:workerid", "kill", {"reason": "enough"}),
]

TEXT = """
class Leaves(steps.BuildStep):
    async def run(self):
        self.setBuildData("report", b"bytes", "here")
        tests = await self.addTestResultSet("tests", "pass_fail", "boolean")
        self.addTestResult(tests, "0", "one", "one.py", 1)
        log = await self.addLog("stdio")
        log.addStdout("hello\\n")
        return util.SUCCESS
from buildwright.plugins import changes
c["projects"] = [util.Project("site")]
c["codebases"] = [util.Codebase("pages", "site")]
c["change_source"] = changes.GitPoller("nowhere", branches=True, pollInterval=100_000, pollAtLaunch=True)
builder("b", Leaves(name="leaves"), project="site")
c["schedulers"].append(schedulers.SingleBranchScheduler("all", branch="main", builderNames=["b"],
    codebases={"pages": {"repository": "r"}}))
c["schedulers"].append(schedulers.ForceScheduler("force", builderNames=["b"]))
"""


def expanded(pattern: str) -> list[str]:
    """The pattern with each way of naming its builder and step."""
    ways = {"B": ("n:builderid", "s:buildername"), "S": ("i:step_name", "n:step_number")}
    return [
        "/".join(parts)
        for parts in itertools.product(*(ways.get(part, (part,)) for part in pattern.split("/")))
    ]


class Reader:
    """Reads paths of a master's API, with the elements' values filled in."""

    def __init__(self, it: Rig, http: aiohttp.ClientSession) -> None:
        self._base = f"http://127.0.0.1:{it.port}/api/v2"
        self._http = http
        self.values: dict[str, Any] = {}

    def path(self, pattern: str, *, missing: bool = False) -> str:
        def part(element: str) -> str:
            kind, colon, name = element.partition(":")
            if not colon:
                return element
            if missing:
                return "none-such" if kind in ("i", "s") else "999999"
            return "report" if "/data/" in pattern and name == "name" else str(self.values[name])

        return "/".join(map(part, pattern.split("/")))

    async def get(self, path: str) -> tuple[int, str, bytes, Any]:
        async with self._http.get(self._base + path) as answer:
            body = await answer.read()
            is_json = answer.content_type == "application/json"
            return answer.status, answer.content_type, body, await answer.json() if is_json else None

    async def one(self, path: str, plural: str) -> dict[str, Any]:
        _, _, body, found = await self.get(path)
        assert found is not None, body
        first: dict[str, Any] = found[plural][0]
        return first

    async def call(self, path: str, method: str, params: dict[str, Any]) -> tuple[int, Any]:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with self._http.post(self._base + path, json=body) as answer:
            return answer.status, await answer.json()

    async def look(self, it: Rig) -> None:
        """Build the change, and learn what everything is called."""
        kind = {"kind": ("fix", "Change")}
        change = NewChange("me", branch="main", revision="1", codebase="pages", properties=kind)
        await it.store.run(add_changes([change], wall_us()))
        commits = [SeenCommit("1", "me", None, "first", 0), SeenCommit("2", "me", "me", "second", 0, "1")]
        await it.store.run(unit(see_work)(Seen("pages", "site", commits, [("main", "2")]), wall_us()))

        async def built() -> bool:
            _, _, _, builds = await self.get("/builds?complete=true")
            _, _, _, sources = await self.get("/changesources")
            return bool(builds["builds"] and sources["changesources"][0]["master"])

        await it.until("builds", built)
        build = await self.one("/builds", "builds")
        assert build["results"] == SUCCESS
        request = await self.one("/buildrequests", "buildrequests")
        step = await self.one(f"/builds/{build['buildid']}/steps", "steps")
        log = await self.one(f"/steps/{step['stepid']}/logs", "logs")
        stamp = (await self.one("/buildsets", "buildsets"))["sourcestamps"][0]
        self.values = {
            **build,
            **request,
            **step,
            **log,
            **await self.one("/changes", "changes"),
            **await self.one("/changesources", "changesources"),
            **await self.one("/codebases", "codebases"),
            **await self.one("/codebases/1/commits", "commits"),
            **await self.one("/codebases/1/branches", "branches"),
            **await self.one("/projects", "projects"),
            **await self.one("/schedulers?name=all", "schedulers"),
            **await self.one("/test_result_sets", "test_result_sets"),
            **await self.one("/workers", "workers"),
            "bsid": request["buildsetid"],
            "build_number": build["number"],
            "buildername": "b",
            "codebasename": "pages",
            "commitid1": 1,
            "commitid2": 2,
            "revision": "1",
            "log_slug": log["slug"],
            "projectname": "site",
            "schedulername": "force",
            "ssid": stamp["ssid"],
            "step_name": step["name"],
            "step_number": step["number"],
        }


async def test_every_path_answers_and_says_what_is_missing(tmp_path: Path) -> None:
    async with rig(tmp_path, "sqlite:///state.sqlite", TEXT) as it, aiohttp.ClientSession() as http:
        api = Reader(it, http)
        await api.look(it)
        for line in PATHS.strip().splitlines():
            what, resource, short = line.split()
            for pattern in expanded(short):
                path = api.path(pattern)
                await _answers(api, what, resource, path, maybe_empty=short in EMPTY)
                if ":" in pattern:
                    await _is_missing(api, what, resource, api.path(pattern, missing=True))
        for path in NOT_HERE.split():
            status, _, _, found = await api.get(path)
            assert (status, list(found)) == (404, ["error"]), path
        roots = {each["name"] for each in (await api.get("/"))[3]["rootlinks"]}
        tops = {line.split()[2][1:] for line in PATHS.strip().splitlines() if line.startswith("collection")}
        assert roots >= {top for top in tops if top and "/" not in top and "." not in top}


async def _answers(api: Reader, what: str, resource: str, path: str, *, maybe_empty: bool) -> None:
    status, kind, body, found = await api.get(path)
    assert status == 200, (path, body)
    if what == "bytes":
        assert (kind, body) == ("application/octet-stream", b"bytes")
    elif what == "text":
        assert (kind, body.splitlines()[-1]) == ("text/plain", b"hello")
    else:
        plural = PLURALS.get(resource, f"{resource}s")
        assert found.keys() == {plural, "meta"}, path
        assert ("total" in found["meta"]) == (what == "collection"), path
        assert found[plural] or maybe_empty, path
        for each in found[plural]:
            assert each.keys() >= set(FIELDS[resource].split()), path


async def _is_missing(api: Reader, what: str, resource: str, path: str) -> None:
    status, kind, body, found = await api.get(path)
    assert kind == "application/json", path
    if what == "collection" and status == 200:
        assert found[PLURALS.get(resource, f"{resource}s")] == [], path
    else:
        assert (status, list(found)) == (404, ["error"]), (path, body)


async def test_every_control_method_is_known_where_buildbot_has_it(tmp_path: Path) -> None:
    async with rig(tmp_path, "sqlite:///state.sqlite", TEXT) as it, aiohttp.ClientSession() as http:
        api = Reader(it, http)
        await api.look(it)
        for pattern, method, params in CONTROL:
            status, answer = await api.call(api.path(pattern), method, params)
            if method == "set_priority":  # the request is complete: its priority can't matter any more
                assert (status, answer["error"]["code"]) == (400, -32602)
            else:
                assert (status, "result" in answer) == (200, True), (pattern, method, answer)
            status, answer = await api.call(api.path(pattern, missing=True), method, params)
            assert (status, answer["error"]["code"]) == (404, -32600), (pattern, method, answer)
            status, answer = await api.call(api.path(pattern), method.upper(), params)
            assert (status, answer["error"]["code"]) == (501, -32601), (pattern, method, answer)
        worker = await api.one("/workers", "workers")
        assert (worker["paused"], worker["graceful"]) == (False, True)
