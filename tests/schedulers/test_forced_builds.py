"""Forced builds on a real master: the worker that was chosen, and what is taken over from another build."""

from pathlib import Path
from typing import Any

import aiohttp

from buildwright.model.results import SUCCESS
from buildwright.store.base import wall_us
from buildwright.store.units.changes import NewChange, add_changes
from tests.support.rig import Rig, rig

FORM = """
c["workers"].append(worker.Worker("w2", "sesame"))
builder("b", steps.ShellCommand(command="true"), workers=["w1", "w2"], canStartBuild=util.enforceChosenWorker)
builder("elsewhere", steps.ShellCommand(command="true"))

def fitting(builds):
    return [build for build in builds if build["properties"].get("kind") == "release"]

c["schedulers"].append(schedulers.ForceScheduler(name="force", builderNames=["b"], properties=[
    util.StringParameter("kind", default="quick"),
    util.StringParameter("colour", default="red"),
    util.NestedParameter("group", fields=[
        util.WorkerChoiceParameter(),
        util.InheritBuildParameter("inherit", compatible_builds=fitting),
    ]),
]))
c["schedulers"].append(schedulers.ForceScheduler(name="on-worker", builderNames=["b"], properties=[
    util.WorkerChoiceParameter(),
    util.InheritBuildParameter(),
    util.StringParameter("kind", default="quick"),
    util.StringParameter("colour", default="red"),
]))
c["schedulers"].append(schedulers.AnyBranchScheduler("all", ["elsewhere"]))
"""


async def call(it: Rig, **form: Any) -> Any:
    """Fill in the form: the request's id, or what is wrong by field."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "force", "params": {"username": "ann@example.org", **form}}
    url = f"http://127.0.0.1:{it.port}/api/v2/forceschedulers/on-worker"
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        answer = await response.json()
    return next(iter(answer["result"][1].values())) if "result" in answer else answer["error"]["message"]


async def form_of(it: Rig, name: str) -> dict[str, Any]:
    url = f"http://127.0.0.1:{it.port}/api/v2/forceschedulers/{name}"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        form: dict[str, Any] = (await response.json())["forceschedulers"][0]
    return form


async def test_the_chosen_worker_builds(tmp_path: Path) -> None:
    async with rig(tmp_path, "sqlite:///state.sqlite", FORM, ("w1", "w2")) as it:
        await it.until("workers", it.attached)
        for name in ("w1", "w2", "w2", "w1"):
            assert (await it.finished(await call(it, workername=name))).properties["workername"] == name
        assert (await it.finished(await call(it, workername="-any-"))).results == SUCCESS
        assert await call(it, workername="w3") == {
            "workername": "'Worker' has to be one of -any-, w1, w2",
        }


async def test_a_request_waits_for_the_chosen_worker(tmp_path: Path) -> None:
    async with rig(tmp_path, "sqlite:///state.sqlite", FORM, ("w1",)) as it:
        await it.until("workers", it.attached)
        waits = await call(it, workername="w2")
        assert (await it.finished(await call(it, workername="w1"))).results == SUCCESS
        assert await it.builds(waits) == []
        await it.start_worker("w2")
        assert (await it.finished(waits)).properties["workername"] == "w2"


async def test_a_form_takes_over_from_a_finished_build(tmp_path: Path) -> None:
    async with rig(tmp_path, "sqlite:///state.sqlite", FORM) as it:
        first = await it.finished(await call(it, kind="release", colour="blue"))
        assert (first.properties["kind"], first.properties["colour"]) == ("release", "blue")
        again = await it.finished(await call(it, inherit="b/1", colour="green"))
        taken = {name: again.properties[name] for name in ("kind", "colour", "orig_owner", "inherit")}
        assert taken == {
            "kind": "release",  # the other build's: nobody has filled it in
            "colour": "green",
            "orig_owner": "ann@example.org",
            "inherit": "b/1",
        }
        assert await call(it, inherit="b/77") == {"inherit": "there is no finished build b/77"}
        assert await call(it, inherit="b") == {
            "inherit": "'Inherit from' has to be a build, as in builder/12"
        }


async def test_changes_are_taken_over_too(tmp_path: Path) -> None:
    async with rig(tmp_path, "sqlite:///state.sqlite", FORM) as it:
        [change] = await it.store.run(add_changes([NewChange("ann", branch="main")], wall_us()))

        async def built() -> Any:
            async with aiohttp.ClientSession() as session:
                url = f"http://127.0.0.1:{it.port}/api/v2/builders/elsewhere/builds"
                async with session.get(url, params={"complete": "true"}) as response:
                    return (await response.json())["builds"]

        await it.until("builds", built)
        request = await call(it, inherit="elsewhere/1")
        build = await it.finished(request)
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{it.port}/api/v2/builds/{build.id}/changes"
            async with session.get(url) as response:
                changes = (await response.json())["changes"]
        assert [each["changeid"] for each in changes] == [change.changeid]


async def test_the_form_offers_workers_and_builds_that_fit(tmp_path: Path) -> None:
    async with rig(tmp_path, "sqlite:///state.sqlite", FORM) as it:
        for kind in ("quick", "release", "release"):
            await it.finished(await call(it, kind=kind))
        [group] = [each for each in (await form_of(it, "force"))["all_fields"] if each["name"] == "group"]
        choices = {each["name"]: each["choices"] for each in group["fields"]}
        assert choices == {"workername": ["-any-", "w1", "w2"], "inherit": ["b/3", "b/2"]}
        plain = (await form_of(it, "on-worker"))["all_fields"]
        [inherit] = [each for each in plain if each["name"] == "inherit"]
        assert (inherit["type"], inherit["choices"]) == ("inherit", ["b/3", "b/2", "b/1"])


EVERY = """
builder("b", steps.ShellCommand(command="true"))
c["schedulers"].append(schedulers.ForceScheduler(
    name="on-worker", builderNames=["b"],
    username=util.UserNameParameter(need_email=True),
    reason=util.ChoiceStringParameter("reason", choices=["fun", "profit"], default="fun"),
    priority=util.IntParameter("priority", default=3),
    codebases=["app", util.CodebaseParameter("lib", branch=util.ChoiceStringParameter(
        "branch", choices=["v1", "v2"], default="v1"), patch=util.PatchParameter())],
    properties=[util.NestedParameter("outer", fields=[util.ParameterGroup("inner", layout="tabs", fields=[
        util.StringParameter("text", regex="[a-z]+$", required=True),
        util.TextParameter("lines", maxsize=5),
        util.FileParameter("file", maxsize=3),
        util.IntParameter("number"),
        util.BooleanParameter("flag"),
        util.ChoiceStringParameter("some", choices=["x", "y"], multiple=True),
        util.FixedParameter("fixed", default="always"),
        util.WorkerChoiceParameter(),
        util.InheritBuildParameter(),
        util.AnyPropertyParameter("any"),
    ])])]))
"""


async def test_every_field_of_nested_groups_is_checked_by_itself(tmp_path: Path) -> None:
    bad = {
        "username": "ann",
        "reason": "glory",
        "priority": "high",
        "lib_branch": "v3",
        "lib_patch_level": "one",
        "outer_inner_text": "A",
        "outer_inner_lines": "too long",
        "outer_inner_file": "abcd",
        "outer_inner_number": "1.5",
        "outer_inner_some": ["x", "z"],
        "outer_inner_workername": "w9",
        "outer_inner_inherit": "b",
        "outer_inner_any_name": "a b",
    }
    async with rig(tmp_path, "sqlite:///state.sqlite", EVERY) as it:
        assert set(await call(it, **bad)) == set(bad)
        assert await call(it, outer_inner_text=" ") == {"outer_inner_text": "'text' needs to be specified"}
        good = {
            "priority": "7",
            "app_branch": "main",
            "lib_branch": "v2",
            "lib_patch_body": "--- a\n",
            "outer_inner_text": "abc",
            "outer_inner_number": ["12"],
            "outer_inner_flag": True,
            "outer_inner_some": ["x", "y"],
            "outer_inner_fixed": "never",
            "outer_inner_any_name": "extra",
            "outer_inner_any_value": "1",
        }
        built = await it.finished(await call(it, **good))
        assert built.properties["outer"] == {
            "inner": {
                "text": "abc",
                "lines": "",
                "file": "",
                "number": 12,
                "flag": True,
                "some": ["x", "y"],
                "fixed": "always",
                "workername": None,
                "inherit": "",
                "extra": "1",
            }
        }
        assert built.properties["owner"] == "ann@example.org"
