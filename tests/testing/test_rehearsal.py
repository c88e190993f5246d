"""The test kit: configurations at work on virtual time."""

import signal
import textwrap
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from buildwright.config.loader import load
from buildwright.model.results import CANCELLED, FAILURE, SUCCESS
from buildwright.testing import Rehearsal
from buildwright.testing.rehearsal import Overdue

Rehearse = Callable[..., Rehearsal]

HEAD = """
from buildwright.plugins import changes, schedulers, steps, util, worker
c = BuildmasterConfig = {}
c["www"] = {"port": 8010}
c["workers"] = [worker.Worker("w1", "sesame"), worker.Worker("w2", "sesame", max_builds=1)]
c["builders"], c["schedulers"] = [], []

def builder(name, *steps, workers=("w1",), **kwargs):
    factory = util.BuildFactory(list(steps))
    c["builders"].append(util.BuilderConfig(name, workernames=list(workers), factory=factory, **kwargs))
    c["schedulers"].append(schedulers.ForceScheduler(name="force-" + name, builderNames=[name]))
"""


@pytest.fixture
def configured(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a configuration; gives its file."""

    def write(text: str) -> Path:
        path = tmp_path / "master.cfg"
        path.write_text(HEAD + textwrap.dedent(text))
        return path

    return write


def test_scripts_say_what_commands_do(configured: Callable[[str], Path], rehearse: Rehearse) -> None:
    ci = rehearse(
        configured("""
    builder("b",
        steps.ShellCommand(name="compile", command=["make", "all"], env={"CC": "gcc"}, workdir="src"),
        steps.SetPropertyFromCommand(name="size", command="du -s .", property="size"),
        steps.ShellCommand(name="test", command=util.Interpolate("make test SIZE=%(prop:size)s"),
                           doStepIf=util.Property("runtests")),
        steps.ShellCommand(name="late", command="late", alwaysRun=True))
    """)
    )
    ci.on(["make", "all"]).prints("compiling\n").prints("careful\n", stream="stderr").takes(
        timedelta(minutes=3)
    )
    ci.on("du *").prints("17\n")
    ci.on("make test*").prints("1 failed\n").exits(2)
    build = ci.build("b", properties={"runtests": True}, branch="main")
    assert build.outline == [("compile", SUCCESS), ("size", SUCCESS), ("test", FAILURE), ("late", SUCCESS)]
    assert (build.result, build.step("test").result) == ("failure", "failure")
    assert build.log("compile").out == b"compiling\n"
    assert build.log("compile").err == b"careful\n"
    assert (build.properties["size"], build.properties["branch"], build.worker) == ("17", "main", "w1")
    assert [ran.line for ran in ci.ran] == ["make all", "du -s .", "make test SIZE=17", "late"]
    compiled = ci.ran[0]
    assert (compiled.step, compiled.builder, compiled.build) == ("compile", "b", 1)
    assert (compiled.workdir, compiled.env, compiled.took, compiled.code) == ("b/src", {"CC": "gcc"}, 180, 0)
    assert ci.build("b").step("test").result == "skipped"
    assert ci.ran[0].at == datetime(2026, 3, 2, 12)  # noqa: DTZ001 - local time
    assert ci.now - ci.ran[0].at < timedelta(minutes=7)


def test_a_script_is_for_whom_it_names_and_as_often_as_it_says(
    configured: Callable[[str], Path], rehearse: Rehearse
) -> None:
    ci = rehearse(
        configured("""
    builder("a", steps.ShellCommand(name="x", command="work"), workers=["w1"])
    builder("b", steps.ShellCommand(name="x", command="work"), workers=["w2"])
    """)
    )
    ci.on("work", builder="a").exits(1).once()
    failing = ci.on("work", worker="w2").dies(signal.SIGSEGV)
    assert [ci.build("a").result, ci.build("a").result] == ["failure", "success"]
    assert "killed by SIGSEGV" in ci.build("b").step("x").state
    assert [ran.worker for ran in failing.ran] == ["w2"]
    with pytest.raises(LookupError, match="did you mean 'a'"):
        ci.build("A")


def test_strict_rehearsals_want_every_command_to_be_expected(
    configured: Callable[[str], Path], rehearse: Rehearse
) -> None:
    ci = rehearse(
        configured('builder("b", steps.ShellCommand(command="one"), steps.ShellCommand(command="two"))'),
        strict=True,
    )
    ci.on("one")
    with pytest.raises(AssertionError, match="two"):
        ci.build("b")
    ci.on("two")
    assert ci.build("b").results == SUCCESS


def test_limits_and_stops_end_commands(configured: Callable[[str], Path], rehearse: Rehearse) -> None:
    ci = rehearse(
        configured("""
    builder("silent", steps.ShellCommand(command="hang", timeout=600))
    builder("long", steps.ShellCommand(command="hang", timeout=None, maxTime=7200))
    builder("endless", steps.ShellCommand(command="hang", timeout=None))
    """)
    )
    ci.on("hang").hangs()
    assert ci.build("silent").log("shell").header.count(b"600 seconds without output") == 1
    assert [ran.failure for ran in ci.ran] == ["timeout_without_output"]
    ci.build("long")
    assert (ci.ran[-1].failure, ci.ran[-1].took) == ("timeout", 7200)
    with pytest.raises(Overdue, match="endless runs 'hang'"):
        ci.build("endless")
    [running] = ci.builds("endless")
    assert running.result == "running"
    ci.stop(running)
    assert [build.results for build in ci.settle() or ci.builds("endless")] == [CANCELLED]


def test_files_are_in_memory(configured: Callable[[str], Path], rehearse: Rehearse) -> None:
    ci = rehearse(
        configured("""
    builder("b",
        steps.MakeDirectory(dir="build/out"),
        steps.StringDownload("a text", workerdest="given.txt"),
        steps.ShellCommand(name="pack", command=["pack"]),
        steps.FileExists(file="build/pack.zip"),
        steps.FileUpload(workersrc="pack.zip", masterdest="out/pack.zip"),
        steps.RemoveDirectory(dir="build/out"),
        steps.FileExists(file="build/never"),
        steps.MasterShellCommand(name="publish", command="scp out/pack.zip host:"))
    """)
    )
    ci.on(["pack"]).writes("pack.zip", b"zipped")
    ci.on("scp *").prints("sent\n").takes(30)
    build = ci.build("b")
    assert [step.result for step in build.steps] == ["success"] * 6 + ["failure"]
    machine = ci.machines["w1"]
    assert machine.files == {"b/build/given.txt": b"a text", "b/build/pack.zip": b"zipped"}
    assert not machine.is_directory("b/build/out")
    assert (ci.directory / "out" / "pack.zip").read_bytes() == b"zipped"
    machine.files["b/build/never"] = b""
    assert ci.build("b").log("publish").out == b"sent\n"
    sent = ci.ran[-1]
    assert (sent.worker, sent.line) == ("(master)", "scp out/pack.zip host:")
    assert (sent.builder, sent.build, sent.step, sent.took) == ("b", 2, "publish", 30)
    ci.on("scp *", step="publish").hangs()
    assert ci.build("b").log("publish").header.count(b"command timed out") == 1
    assert (ci.ran[-1].failure, ci.ran[-1].took) == ("timeout", 3600)


def test_requests_are_answered(configured: Callable[[str], Path], rehearse: Rehearse) -> None:
    ci = rehearse(
        configured("""
    builder("b",
        steps.POST("https://hooks.example.org/built", json={"what": util.Property("what")}, name="tell"),
        steps.GET(util.Interpolate("https://files.example.org/%(prop:what)s"), name="look"))
    """)
    )
    ci.on("GET https://files*").answers(404, "no such file", {"Server": "here"})
    build = ci.build("b", properties={"what": "it"})
    assert [step.result for step in build.steps] == ["success", "failure"]
    assert [ran.line for ran in ci.ran] == [
        "POST https://hooks.example.org/built",
        "GET https://files.example.org/it",
    ]
    assert (ci.ran[0].args["json"], ci.ran[0].step, ci.ran[0].builder) == ({"what": "it"}, "tell", "b")
    assert build.log("look", "content").text == "no such file"
    ci.on("POST *").exits(1)
    assert ci.build("b").step("tell").result == "failure"


def test_git_is_known(configured: Callable[[str], Path], rehearse: Rehearse) -> None:
    ci = rehearse(configured('builder("b", steps.Git(repourl="https://git.example.org/it", mode="full"))'))
    revision = "a" * 40
    assert ci.build("b", branch="main", revision=revision).properties["got_revision"] == revision
    latest = ci.build("b", branch="main").properties["got_revision"]
    assert len(latest) == 40
    assert latest not in (revision, ci.build("b", branch="other").properties["got_revision"])
    assert ci.ran == []
    assert any("fetch" in ran.line for ran in ci.ran_with_git)


def test_changes_and_forms_start_builds(configured: Callable[[str], Path], rehearse: Rehearse) -> None:
    ci = rehearse(
        configured("""
    builder("b", steps.ShellCommand(command=["make", util.Property("target", default="all")], timeout=None))
    c["schedulers"] += [
        schedulers.SingleBranchScheduler("quick", change_filter=util.ChangeFilter(branch="main"),
            builderNames=["b"], fileIsImportant=lambda change: change.files != ["README"]),
        schedulers.AnyBranchScheduler("stable", treeStableTimer=300, builderNames=["b"],
            change_filter=util.ChangeFilter(branch_re="release")),
        schedulers.ForceScheduler("ask", builderNames=["b"], properties=[util.StringParameter("target")]),
    ]
    """)
    )
    [build] = ci.change(branch="main", files=["a.c"], revision="abc", author="ann")
    assert (build.scheduler, build.properties["revision"], build.results) == ("quick", "abc", SUCCESS)
    assert ci.change(branch="main", files=["README"]) == []
    assert ci.change(branch="release-1", files=["a.c"]) == []
    assert ci.advance(minutes=2) == []
    assert ci.change(branch="release-1", files=["b.c"]) == []
    assert ci.advance(minutes=4) == []
    [build] = ci.advance(minutes=2)
    assert build.scheduler == "stable"
    slow = ci.on("make all").takes(timedelta(hours=5)).once()
    assert ci.change(branch="release-2", files=["a.c"]) == []
    [long] = ci.advance(minutes=6)
    [build] = ci.change(branch="main", files=["a.c"])
    assert (build.result, long.result, len(slow.ran)) == ("success", "running", 1)
    ci.settle()
    [build] = ci.force("ask", target="docs")
    assert ci.ran[-1].command == ["make", "docs"]
    assert [build.scheduler for build in ci.builds("b")] == ["quick", "stable", "stable", "quick", "ask"]
    with pytest.raises(LookupError, match="did you mean 'ask'"):
        ci.force("asks")


def test_a_week_is_played_in_a_moment(configured: Callable[[str], Path], rehearse: Rehearse) -> None:
    """Also when its builds take hours: what happens once a second elsewhere happens here when it matters."""
    ci = rehearse(
        configured("""
    builder("nightly", steps.ShellCommand(command="work", timeout=None), workers=["w2"])
    builder("often", steps.ShellCommand(command="look"))
    night = schedulers.Nightly("night", builderNames=["nightly"], hour=3, minute=30,
        dayOfWeek=[0, 1, 2, 3, 4])
    c["schedulers"] += [night, schedulers.Dependent("after", upstream=night, builderNames=["often"])]
    c["schedulers"].append(schedulers.Periodic("hourly", builderNames=["often"], periodicBuildTimer=3600))
    """),
        at="2026-03-02 12:00",
    )
    ci.on("work").takes(timedelta(hours=5))
    builds = ci.advance(days=7)
    nights = [build for build in builds if build.scheduler == "night"]
    assert [f"{build.started:%a %H:%M}" for build in nights] == [
        f"{day} 03:30" for day in ("Tue", "Wed", "Thu", "Fri", "Mon")
    ]
    assert {build.results for build in builds} == {SUCCESS}
    followers = [build for build in builds if build.scheduler == "after"]
    assert f"{followers[0].started:%a %H:%M}" == "Tue 08:30"
    assert len([build for build in builds if build.scheduler == "hourly"]) == 7 * 24
    assert ci.skipped("night") == []


def test_workers_that_are_not_there_are_waited_for(
    configured: Callable[[str], Path], rehearse: Rehearse
) -> None:
    path = configured('builder("b", steps.ShellCommand(command="x"), workers=["w2"])')
    ci = rehearse(load(path, path.parent), workers=["w1"])
    with pytest.raises(Overdue, match="b waits for"):
        ci.build("b")
    assert [builder for builder, _ in ci.waiting()] == ["b"]


async def test_a_coroutine_is_told_to_be_a_function(
    configured: Callable[[str], Path], rehearse: Rehearse
) -> None:
    with pytest.raises(RuntimeError, match="plain function"):
        rehearse(configured('builder("b")'))


def test_a_defect_of_a_step_is_seen(configured: Callable[[str], Path], rehearse: Rehearse) -> None:
    ci = rehearse(
        configured("""
    class Broken(steps.BuildStep):
        name = "broken"
        async def run(self):
            raise RuntimeError("it is broken")
    builder("b", Broken())
    """)
    )
    build = ci.build("b")
    assert build.result == "exception"
    assert b"it is broken" in build.log("broken", "err.text").out
    assert "it is broken" in str(build)
