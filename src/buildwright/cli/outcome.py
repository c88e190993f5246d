"""What came of a build and of those that it triggered, as plain data for programs."""

from __future__ import annotations

from typing import Any

from buildwright.cli.following import Reads
from buildwright.model.results import Results


async def outcome(here: Reads, requestid: int) -> dict[str, Any]:
    """All builds that there are, the asked one first; ``requestid`` is its request."""
    builders = {each["builderid"]: each["name"] for each in await here.all("builders")}
    workers = {each["workerid"]: each["name"] for each in await here.all("workers")}
    found = await here.all("builds", order="buildid", property="*")
    named = {each["buildid"]: _name(each, builders) for each in found}
    parents = {
        request["buildrequestid"]: (await here.one(f"buildsets/{request['buildsetid']}"))["parent_buildid"]
        for request in await here.all("buildrequests")
    }
    builds = [
        {
            **named[build["buildid"]],
            **_ended(build),
            "properties": {name: value for name, (value, _) in build["properties"].items()},
            "steps": [
                {
                    "number": step["number"],
                    "name": step["name"],
                    **_ended(step),
                    "hidden": step["hidden"],
                    "urls": step["urls"],
                }
                for step in await here.all(f"builds/{build['buildid']}/steps", order="number")
            ],
            "test_results": [
                {name: each[name] for name in ("description", "category", "tests_passed", "tests_failed")}
                for each in await here.all(f"builds/{build['buildid']}/test_result_sets")
            ],
            "triggered_by": named.get(parents[build["buildrequestid"]]),
            "worker": workers.get(build["workerid"]),
        }
        for build in sorted(found, key=lambda each: (each["buildrequestid"] != requestid, each["buildid"]))
    ]
    request = await here.one(f"buildrequests/{requestid}")
    return {**_result(request["results"]), "builds": builds}


def _name(build: dict[str, Any], builders: dict[int, str]) -> dict[str, Any]:
    return {"builder": builders.get(build["builderid"]), "number": build["number"]}


def _result(results: int | None) -> dict[str, Any]:
    return {"results": results, "result": None if results is None else Results[results]}


def _ended(thing: dict[str, Any]) -> dict[str, Any]:
    """The end of a build or step."""
    began, ended = thing["started_at_us"], thing["complete_at_us"]
    seconds = None if began is None or ended is None else round((ended - began) / 1e6, 3)
    return {**_result(thing["results"]), "state": thing["state_string"], "seconds": seconds}
