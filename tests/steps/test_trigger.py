"""Builds of other builders."""

import json

import pytest

from buildwright.model.results import CANCELLED, EXCEPTION, FAILURE, SUCCESS
from buildwright.store.units.schedulers import view
from tests.steps.conftest import BOTH_STORES, Start

CHILDREN = """
c["workers"].append(worker.Worker("w2", "sesame"))
c["buildbotURL"] = "http://ci.example.org/"
for name, command in (("good", "true"), ("bad", "false"), ("slow", "echo waiting; exec sleep 1000")):
    builder(name, steps.ShellCommand(command=command), workers=["w2"])
"""
BOTH = ("w1", "w2")


async def test_waiting_for_children(start: Start) -> None:
    it = await start(
        CHILDREN
        + """
builder("b", steps.Trigger(
    schedulerNames=["run-good", "run-bad"],
    waitForFinish=True,
    set_properties={"given": util.Interpolate("from %(prop:buildername)s")},
    copy_properties=["kept", "missing"],
))
""",
        BOTH,
    )
    built = await it.build(properties={"kept": 7})
    assert built.results == FAILURE
    assert built.step("trigger").state == "triggered run-good, run-bad (failure)"
    (good, bad) = await it.children(built.id)
    assert good[1:] == ("good", SUCCESS, "Triggered from", True)
    assert bad[1:] == ("bad", FAILURE, "Triggered from", True)
    (child,) = await it.builds(good[0])
    assert (child.properties["given"], child.sources["given"]) == ("from b", "Trigger")
    assert child.properties["kept"] == 7
    assert "missing" not in child.properties
    ids = it.master.core.services.registry.builders
    assert built.step("trigger").urls == {
        f"run-good #{good[0]}": f"http://ci.example.org/#/buildrequests/{good[0]}",
        f"run-bad #{bad[0]}": f"http://ci.example.org/#/buildrequests/{bad[0]}",
        "success: good #1": f"http://ci.example.org/#/builders/{ids['good']}/builds/1",
        "failure: bad #1": f"http://ci.example.org/#/builders/{ids['bad']}/builds/1",
    }


async def test_unimportant_children_do_not_count(start: Start) -> None:
    it = await start(
        CHILDREN
        + """
builder("b", steps.Trigger(schedulerNames=["run-good", "run-bad"], unimportantSchedulerNames=["run-bad"],
    waitForFinish=True, parent_relationship="Child of"))
""",
        BOTH,
    )
    built = await it.build()
    assert built.results == SUCCESS
    assert [child[2:4] for child in await it.children(built.id)] == [
        (SUCCESS, "Child of"),
        (FAILURE, "Child of"),
    ]


async def test_not_waiting(start: Start) -> None:
    it = await start(CHILDREN + 'builder("b", steps.Trigger(schedulerNames=["run-slow"]))', BOTH)
    built = await it.build()
    assert built.results == SUCCESS
    ((child, _, _, _, complete),) = await it.children(built.id)
    assert not complete
    await it.stop_build(child)
    assert (await it.finished(child)).results == CANCELLED


@pytest.mark.parametrize(
    ("arguments", "revision", "branch"),
    [
        ("", "abc", "side"),
        (", updateSourceStamp=False", "given", "side"),
        (", updateSourceStamp=True", "abc", "side"),
        (", alwaysUseLatest=True", None, None),
        (", sourceStamp={'codebase': '', 'branch': 'x', 'revision': util.Property('buildername')}", "b", "x"),
        (", sourceStamps=[{'codebase': '', 'branch': 'y'}]", None, "y"),
    ],
)
async def test_what_children_are_built_from(
    start: Start, arguments: str, revision: str | None, branch: str | None
) -> None:
    it = await start(
        CHILDREN
        + f"""
builder("b", steps.SetProperty("got_revision", "abc"), steps.Trigger(schedulerNames=["run-good"]{arguments},
    waitForFinish=True))
""",
        BOTH,
    )
    built = await it.build(sources=[{"codebase": "", "branch": "side", "revision": "given"}])
    assert built.results == SUCCESS, built
    ((child, *_),) = await it.children(built.id)
    (view,) = await it.builds(child)
    assert (view.properties["revision"], view.properties["branch"]) == (revision, branch)


async def test_a_stop_ends_the_wait_and_the_children(start: Start) -> None:
    it = await start(
        CHILDREN + 'builder("b", steps.Trigger(schedulerNames=["run-slow"], waitForFinish=True))', BOTH
    )
    request = await it.submit()

    async def child_of() -> int | None:
        for build in await it.builds(request):
            for each in await it.children(build.id):
                return each[0]
        return None

    child = await it.until("buildrequests", child_of)
    await it.until_output(child, b"waiting")
    await it.stop_build(request, "not needed")
    built = await it.finished(request)
    assert built.results == CANCELLED
    assert built.state == "cancelled: not needed (cancelled)"
    ended = await it.finished(child)
    assert ended.results == CANCELLED
    assert "the build that waits for it was stopped: b #1" in ended.state


@BOTH_STORES
async def test_p4_one_set_of_children_whoever_waits(start: Start) -> None:
    """P4: the master goes away while a step waits for its children; they are triggered once."""
    it = await start(
        CHILDREN
        + """
builder("held", steps.ShellCommand(command="echo waiting; while [ ! -e ../../go ]; do sleep 0.02; done"),
    workers=["w2"])
builder("b", steps.Trigger(schedulerNames=["run-good", "run-held"], waitForFinish=True))
""",
        BOTH,
    )
    request = await it.submit()

    async def two() -> list[int]:
        builds = await it.builds(request)
        found = await it.children(builds[0].id) if builds else []
        return [each[0] for each in found] if len(found) == 2 else []

    children = await it.until("buildrequests", two)
    await it.until_output(children[1], b"waiting")
    await it.restart()
    await it.until("workers", it.attached)
    (it.directory / "w2/go").write_text("")
    built = await it.finished(request)
    assert built.results == SUCCESS, built
    assert built.attempt == 1
    assert built.step("trigger").tries == 0
    assert [each[0] for each in await it.children(built.id)] == children
    assert [child.attempt for each in children for child in await it.builds(each)] == [1, 1]


async def test_a_stop_while_nobody_drives_the_build_reaches_the_children(start: Start) -> None:
    it = await start(
        CHILDREN + 'builder("b", steps.Trigger(schedulerNames=["run-slow"], waitForFinish=True))', BOTH
    )
    request = await it.submit()

    async def child_of() -> int | None:
        for build in await it.builds(request):
            for each in await it.children(build.id):
                return each[0]
        return None

    child = await it.until("buildrequests", child_of)
    await it.until_output(child, b"waiting")
    await it.stop_build(request)
    await it.restart()
    assert (await it.finished(request)).results == CANCELLED
    assert (await it.finished(child)).results == CANCELLED


async def test_an_unknown_scheduler_triggers_nothing(start: Start) -> None:
    it = await start(
        CHILDREN + 'builder("b", steps.Trigger(schedulerNames=["run-good", "nobody"], waitForFinish=True))',
        BOTH,
    )
    built = await it.build()
    assert built.outline == [("trigger", EXCEPTION)]
    assert b"there is no Triggerable scheduler 'nobody'" in built.log("trigger", "err.text").out
    assert await it.children(built.id) == []


async def test_a_step_of_ones_own_chooses(start: Start) -> None:
    it = await start(
        CHILDREN
        + """
class Chooser(steps.Trigger):
    async def getSchedulersAndProperties(self):
        return [
            {"sched_name": "run-good", "props_to_set": {"n": n, "who": util.Property("buildername")},
             "unimportant": False}
            for n in (1, 2)
        ]
builder("b", Chooser(waitForFinish=True))
""",
        BOTH,
    )
    built = await it.build()
    assert built.results == SUCCESS, built
    found = [(await it.builds(child[0]))[0].properties for child in await it.children(built.id)]
    assert [(each["n"], each["who"]) for each in found] == [(1, "b"), (2, "b")]


async def test_a_nightly_triggerable_builds_it_later(start: Start) -> None:
    it = await start(
        CHILDREN
        + """
import datetime
months = [(datetime.date.today().month + 5) % 12 + 1]  # not in the time of this test
c["schedulers"].append(schedulers.NightlyTriggerable(name="later", builderNames=["good"], month=months))
builder("b", steps.Trigger(schedulerNames=["later"], waitForFinish=True, set_properties={"x": 1}))
""",
        BOTH,
    )
    built = await it.build(sources=[{"codebase": "", "branch": "side", "revision": "abc"}])
    assert built.results == SUCCESS, built
    assert built.step("trigger").state == "triggered later"
    assert await it.children(built.id) == []
    waiting = await it.store.read(view(it.master.core.services.registry.schedulers["later"]))
    [trigger] = waiting.completions
    assert trigger.parent_buildid == built.id
    assert json.loads(trigger.properties)["x"] == [1, "Trigger"]


async def test_a_subclass_runs_a_command_and_triggers_what_it_says(start: Start) -> None:
    it = await start(
        CHILDREN
        + """
class Planned(steps.ShellMixin, steps.Trigger):
    name = "planned"

    def __init__(self, **kwargs):
        kwargs = self.setupShellMixin(kwargs)
        super().__init__(schedulerNames=["run-good"], **kwargs)

    async def run(self):
        self.observer = util.BufferLogObserver()
        self.addLogObserver("stdio", self.observer)
        await self.runCommand(await self.makeRemoteShellCommand())
        return await super().run()

    def getSchedulersAndProperties(self):
        names = self.observer.getStdout().split()
        return [(name, {"number": number}) for number, name in enumerate(names)]

    def createTriggerProperties(self, props):
        made = super().createTriggerProperties(props)
        made.setProperty("virtual", "from " + self.name, "Mine")
        return made

builder("b", Planned(command="echo run-good run-bad", waitForFinish=True, parent_relationship="Planned by"))
""",
        BOTH,
    )
    built = await it.build()
    assert built.results == FAILURE, built
    children = await it.children(built.id)
    assert [child[1:4] for child in children] == [
        ("good", SUCCESS, "Planned by"),
        ("bad", FAILURE, "Planned by"),
    ]
    for number, (child, *_) in enumerate(children):
        (view,) = await it.builds(child)
        assert (view.properties["number"], view.properties["virtual"]) == (number, "from planned")
        assert view.sources["virtual"] == "Mine"


async def test_nonsense_of_a_subclass_is_named(start: Start) -> None:
    it = await start(
        CHILDREN
        + """
class Odd(steps.Trigger):
    def getSchedulersAndProperties(self):
        return ["run-good"]
builder("b", Odd())
""",
        BOTH,
    )
    built = await it.build()
    assert built.outline == [("trigger", EXCEPTION)]
    assert (
        b"getSchedulersAndProperties of Odd must give a list of dicts with sched_name and props_to_set, and "
        b"one of them is str 'run-good'"
    ) in built.log("trigger", "err.text").out


async def test_names_and_stamps_are_rendered(start: Start) -> None:
    it = await start(
        CHILDREN
        + """
builder("b", steps.Trigger(
    schedulerNames=[util.Interpolate("run-%(prop:which)s")],
    sourceStamps=[{"codebase": "", "branch": util.Property("which"), "revision": "r"}],
    set_properties={"a": util.Interpolate("%(prop:which)s!"), "b": [1, util.Property("which")]},
    waitForFinish=util.Property("waits"),
))
""",
        BOTH,
    )
    built = await it.build(properties={"which": "good", "waits": True})
    assert built.results == SUCCESS, built
    ((child, *_, complete),) = await it.children(built.id)
    assert complete
    (view,) = await it.builds(child)
    values = {name: view.properties[name] for name in ("branch", "revision", "a", "b")}
    assert values == {"branch": "good", "revision": "r", "a": "good!", "b": [1, "good"]}
