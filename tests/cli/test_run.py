"""`buildwright run`: a builder on this machine, without a master."""

import signal
from pathlib import Path

import pytest

from tests.cli.support import buildwright, eventually, failed, spawn

CONFIG = r"""
from buildwright.plugins import schedulers, secrets, steps, util, worker

c = BuildmasterConfig = {}
c["workers"] = [worker.Worker("w1", "sesame"), worker.Worker("w2", "sesame"), worker.LocalWorker("w3")]
pool = util.MasterLock("pool")

def builder(name, *steps, workers=("w1", "w2"), **kwargs):
    factory = util.BuildFactory(list(steps))
    return util.BuilderConfig(name=name, workernames=list(workers), factory=factory, **kwargs)

c["builders"] = [
    builder(
        "whole",
        steps.ShellCommand(
            name="say",
            command=["echo", util.Interpolate("%(prop:workername)s %(src::branch)s %(prop:count)s")],
        ),
        steps.ShellCommand(name="tests", command="echo testing", doStepIf=util.Property("runtests")),
        steps.Trigger(schedulerNames=["children"], waitForFinish=True),
        steps.Trigger(schedulerNames=["later"]),
        steps.FileDownload(mastersrc="given.txt", workerdest="given.txt"),
        steps.ShellCommand(name="left", command="cat given.txt && touch left-behind"),
        locks=[pool.access("counting")],
    ),
    builder("child", steps.ShellCommand(name="work", command="echo I am a child"), workers=["w3"]),
    builder("red", steps.ShellCommand(name="fail", command="echo it fails >&2; exit 3")),
    builder("stubborn",
        steps.ShellCommand(name="wait", command="echo waiting; sleep 600"),
        steps.ShellCommand(name="late", command="echo cleaning up; sleep 600", alwaysRun=True)),
    builder("endless", steps.ShellCommand(name="wait", command=f"echo waiting; while :; do sleep 0.1; done")),
]
c["schedulers"] = [
    schedulers.Triggerable("children", builderNames=["child"]),
    schedulers.NightlyTriggerable("later", builderNames=["red"], hour=0, dayOfMonth=1, month=1),
    schedulers.Nightly("nightly", builderNames=["red"], minute="*"),
    schedulers.ForceScheduler("force", builderNames=["whole", "endless", "stubborn"]),
]
c["www"] = {"port": 8010}
"""


@pytest.fixture
def basedir(tmp_path: Path) -> Path:
    made = tmp_path / "ci"
    made.mkdir()
    (made / "master.cfg").write_text(CONFIG)
    (made / "given.txt").write_text("from the master's directory\n")
    return made


def test_a_build_and_what_it_triggers(basedir: Path, tmp_path: Path) -> None:
    """Also: nothing is left in the configuration's directory, as a master would leave it."""
    before = {path.name for path in basedir.iterdir()}
    work = tmp_path / "work"
    options = ["--branch", "main", "-p", "count=5", "-p", "runtests=false", "--worker", "w2"]
    done = buildwright("run", "whole", "--config", basedir, "--workdir", work, *options)
    assert done.code == 0, (done.out, done.err)
    said = done.out.splitlines()
    for line in ("w2 main 5", "I am a child", "from the master's directory"):
        assert line in said
    assert "testing" not in said
    ends = [line.partition(" after")[0] for line in said if line.startswith(("===", "<=="))]
    child = ends.index("=== child, build 1")
    assert ends[child : child + 4] == [
        "=== child, build 1",
        "<== 0 work: success",
        "=== whole, build 1",
        "<== 2 trigger: success",
    ]
    assert ends[child + 4 :] == ["<== 3 trigger_1: success", "<== 4 download: success", "<== 5 left: success"]
    assert said[-1].startswith("Build 1: success")
    assert "Building whole as worker w2" in done.err
    assert "child" in done.err
    assert "pool (counting)" in done.err
    assert "Not built here, as it waits for its time: what later starts" in done.err
    assert (work / "w2" / "whole" / "build" / "left-behind").exists()
    assert {path.name for path in basedir.iterdir()} - {"__pycache__"} == before


def test_the_exit_code_is_the_builds(basedir: Path) -> None:
    done = buildwright("run", "red", "--config", basedir / "master.cfg")
    assert done.code == 1
    assert "it fails" in done.out
    assert "Build 1: failure" in done.out


def test_json_is_for_programs(basedir: Path) -> None:
    done = buildwright("run", "whole", "--config", basedir, "-p", "count=5", "-p", "runtests=false", "--json")
    assert done.code == 0, done.err
    assert "I am a child" in done.err
    told = done.json
    assert (told["results"], told["result"]) == (0, "success")
    whole, child = told["builds"]
    assert (whole["builder"], whole["number"], whole["worker"]) == ("whole", 1, "w1")
    assert (whole["result"], whole["state"], whole["triggered_by"]) == ("success", "build successful", None)
    assert (whole["properties"]["count"], whole["properties"]["runtests"]) == (5, False)
    assert [(step["name"], step["result"]) for step in whole["steps"]] == [
        ("say", "success"),
        ("tests", "skipped"),
        ("trigger", "success"),
        ("trigger_1", "success"),
        ("download", "success"),
        ("left", "success"),
    ]
    assert all(step["seconds"] >= 0 for step in whole["steps"])
    assert (child["builder"], child["triggered_by"]) == ("child", {"builder": "whole", "number": 1})
    red = buildwright("run", "red", "--config", basedir, "--json")
    assert (red.code, red.json["result"], red.json["builds"][0]["steps"][0]["results"]) == (1, "failure", 2)


def test_a_directory_of_its_own_goes_or_stays(basedir: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    buildwright("run", "red", cwd=basedir, env={"TMPDIR": str(temporary)})
    assert list(temporary.iterdir()) == []
    done = buildwright("run", "red", "--keep", cwd=basedir, env={"TMPDIR": str(temporary)})
    [kept] = temporary.iterdir()
    assert f"What was built is in {kept}" in done.err
    assert (kept / "w1" / "red" / "build").is_dir()


def test_ctrl_c_stops_the_build(basedir: Path, tmp_path: Path) -> None:
    running = spawn(tmp_path / "output", "run", "endless", "--config", basedir)
    eventually(lambda: "\nwaiting\n" in running.text, "its command runs")
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 1
    assert "<== 0 wait: cancelled" in running.text
    assert "cancelled: interrupted" in running.text


def test_a_second_ctrl_c_kills_it(basedir: Path, tmp_path: Path) -> None:
    """Also what runs in spite of the first one; and two can't build in one directory."""
    work = tmp_path / "work"
    running = spawn(tmp_path / "output", "run", "stubborn", "--config", basedir, "--workdir", work)
    eventually(lambda: "\nwaiting\n" in running.text, "its command runs")
    said = failed("run", "red", "--config", basedir, "--workdir", work)
    assert f"process {running.process.pid} builds in {work}" in said
    running.process.send_signal(signal.SIGINT)
    eventually(lambda: "\ncleaning up\n" in running.text, "the step that always runs")
    assert "<== 0 wait: cancelled" in running.text
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 1
    assert "buildwright: killed" in running.text


def test_what_is_wrong_is_said(basedir: Path) -> None:
    assert "did you mean 'whole'" in failed("run", "hole", "--config", basedir)
    assert "has no worker 'w3'" in failed("run", "whole", "--worker", "w3", "--config", basedir)
    assert "no step of builder 'whole' gets the codebase 'lib'" in failed(
        "run", "whole", "--codebase", "lib", "--config", basedir
    )
    (basedir / "master.cfg").write_text(CONFIG + "\nc['nonsense'] = 1\n")
    assert "nonsense" in failed("run", "whole", "--config", basedir)
