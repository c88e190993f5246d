"""`buildwright plan`: what a change or a moment would start."""

import json
import re
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from buildwright.cli.main import main
from buildwright.cli.times import moment
from buildwright.testing import Rehearsal
from buildwright.testing.plugin import rehearse
from tests.cli.support import buildwright

__all__ = ["rehearse"]

CONFIG = r"""
from buildwright.plugins import schedulers, secrets, steps, util, worker

c = BuildmasterConfig = {}
c["workers"] = [worker.Worker("w1", "sesame", properties={"cpu": "arm"}), worker.Worker("w2", "sesame")]
c["secretsProviders"] = [secrets.SecretInAFile(dirname=basedir + "/secrets")]
c["builders"] = []

def builder(name, *steps, workers=("w1",), **kwargs):
    factory = util.BuildFactory(list(steps))
    c["builders"].append(util.BuilderConfig(name=name, workernames=list(workers), factory=factory, **kwargs))

@util.renderer
def tricky(props):
    return props.getBuild().getProperty("got_revision")["lib"]

builder("first",
    steps.Git(repourl="https://git.example.org/it", mode="full"),
    steps.SetProperty(property="target", value=util.Interpolate("all-%(prop:cpu)s")),
    steps.ShellCommand(name="make", command=["make", util.Property("target"), "it's here"]),
    steps.SetPropertyFromCommand(name="measure", command="du -s .", property="size"),
    steps.ShellCommand(name="tell", command=util.Interpolate("tell %(prop:size)s %(prop:got_revision)s")),
    steps.ShellCommand(name="never", command="never", doStepIf=util.Property("wanted", default=False)),
    steps.ShellCommand(name="perhaps", command="perhaps", doStepIf=lambda step: step.results.none),
    steps.ShellCommand(name="number", command=util.Interpolate("number %(prop:buildnumber)s")),
    steps.ShellCommand(name="upload", command=["upload", util.Secret("token")]),
    steps.ShellCommand(name="odd", command=["odd", tricky]),
    steps.MasterShellCommand(name="publish", command="publish it"),
    steps.FileUpload(workersrc="a.zip", masterdest=util.Interpolate("%(src::branch)s.zip")),
    steps.ShellSequence(name="several", commands=[
        util.ShellArg(command=["one", util.Property("target")]), util.ShellArg(command="two | three")]),
    steps.CMake(path="..", definitions={"CMAKE_BUILD_TYPE": util.Property("target")}),
    steps.Trigger(schedulerNames=["children"], waitForFinish=True))
builder("second", steps.ShellCommand(command=["on", util.Property("workername")]), workers=("w1", "w2"))
builder("nightly", steps.ShellCommand(command=util.Interpolate("night %(prop:scheduler)s %(prop:clean)s")))
builder("child", steps.ShellCommand(command="child"))

quick = schedulers.SingleBranchScheduler("quick", builderNames=["first"],
    change_filter=util.ChangeFilter(branch="main", repository_re="https://"),
    fileIsImportant=lambda change: change.files != ["README"],
    properties={"level": util.Interpolate("%(src::branch)s-quick")})
night = schedulers.Nightly("night", builderNames=["nightly"], hour=3, properties={"clean": True})
c["schedulers"] = [
    quick,
    schedulers.AnyBranchScheduler("stable", treeStableTimer=90, builderNames=["second"]),
    schedulers.SingleBranchScheduler("lib", branch="main", codebases=["lib"], builderNames=["child"]),
    schedulers.AnyBranchScheduler("broken", builderNames=["child"],
        change_filter=util.ChangeFilter(filter_fn=lambda change: change.no_such_thing)),
    night,
    schedulers.Nightly("changed", builderNames=["nightly"], hour=3, onlyIfChanged=True),
    schedulers.Periodic("often", builderNames=["child"], periodicBuildTimer=600),
    schedulers.Dependent("later", upstream=quick, builderNames=["child"]),
    schedulers.Dependent("after-night", upstream=night, builderNames=["second"]),
    schedulers.Triggerable("children", builderNames=["child"]),
    schedulers.NightlyTriggerable("asked-nightly", builderNames=["child"], hour=3),
    schedulers.Try_Userpass("try", builderNames=["child"], userpass=[("ann", "secret")]),
    schedulers.ForceScheduler("force", builderNames=["first", "second"]),
]
c["www"] = {"port": 8010}
"""


@pytest.fixture
def basedir(tmp_path: Path) -> Path:
    made = tmp_path / "ci"
    (made / "secrets").mkdir(parents=True)
    (made / "secrets" / "token").write_text("a very secret token\n")
    (made / "secrets" / "token").chmod(0o600)
    (made / "master.cfg").write_text(CONFIG)
    return made


def run(*arguments: str | Path, code: int = 0) -> Result:
    done = CliRunner().invoke(main, ["plan", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done


def plan(*arguments: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*arguments, "--json").stdout)
    return found


MAIN = ("--branch", "main", "--repository", "https://git.example.org/it", "--files", "a.c")


def test_a_change_starts_what_wants_it(basedir: Path) -> None:
    found = plan("--config", basedir, *MAIN, "--author", "ann")
    assert [(each["scheduler"], each["when"]) for each in found["starts"]] == [
        ("quick", "at once"),
        ("stable", "once no change has come for 90 s"),
        ("later", "if quick succeeds"),
    ]
    idle = {each["scheduler"]: each["why"] for each in found["idle"]}
    assert idle == {
        "lib": "follows the codebase 'lib', not ''",
        "broken": "a function of its own fails: AttributeError: "
        "'Change' object has no attribute 'no_such_thing'",
        "night": "comes by the clock (0 3 * * *)",
        "changed": "notes the change for its next time: comes by the clock (0 3 * * *)",
        "often": "comes every 600 s, counted from its last build",
        "after-night": "follows night, which starts nothing",
        "children": "waits for a step that triggers it",
        "asked-nightly": "waits for a step that triggers it, and then for the clock: 0 3 * * *",
        "try": "waits for somebody to try a difference",
        "force": "waits for somebody to ask",
    }
    first = found["starts"][0]["builds"][0]
    assert first["builder"] == "first"
    assert first["properties"]["level"] == ["main-quick", "Scheduler"]
    assert first["sourcestamps"] == [
        {
            "codebase": "",
            "repository": "https://git.example.org/it",
            "project": "",
            "branch": "main",
            "revision": None,
        }
    ]


def test_why_a_change_starts_nothing(basedir: Path) -> None:
    def why(*arguments: str) -> str:
        found = plan("--config", basedir, *arguments)
        return next(str(each["why"]) for each in found["idle"] if each["scheduler"] == "quick")

    assert why("--branch", "other") == "its filter wants repository_re 'https://', branch 'main'"
    readme = (*MAIN[:-1], "README")
    assert why(*readme) == "its fileIsImportant says that the change is not important"
    assert why(*MAIN, "--codebase", "x") == "follows the codebase '', not 'x'"


def test_steps_are_rendered_as_far_as_they_can_be(basedir: Path) -> None:
    found = plan("--config", basedir, *MAIN, "--revision", "abc")
    steps = {step["name"]: step for step in found["starts"][0]["builds"][0]["steps"]}
    does = {name: step["does"] for name, step in steps.items()}
    assert does["git"] == "gets abc of https://git.example.org/it (full)"
    assert does["make"] == "make all-arm 'it'\"'\"'s here'"
    assert does["tell"] == "tell <size> <got_revision>"
    assert steps["tell"]["depends_on"] == ["size (step measure)", "got_revision (step git)"]
    assert [steps[name]["runs"] for name in ("make", "never", "perhaps")] == [True, False, None]
    assert (does["number"], steps["number"]["depends_on"]) == (
        "number <buildnumber>",
        ["buildnumber (the master)"],
    )
    assert does["upload"] == "upload <secret token>"
    assert does["odd"] == "odd <tricky>"
    assert steps["odd"]["depends_on"] == [
        "got_revision (step git)",
        "tricky, which needs the build (TypeError)",
    ]
    assert does["publish"] == "on the master: publish it"
    assert does["upload_1"] == "FileUpload(workersrc='a.zip', masterdest='main.zip')"
    assert does["several"] == "one all-arm\ntwo | three"
    assert does["cmake"] == "cmake -DCMAKE_BUILD_TYPE=all-arm .."
    assert does["trigger"] == "triggers children and waits"
    assert (Path(steps["make"]["file"]).name, type(steps["make"]["line"])) == ("master.cfg", int)
    [second] = found["starts"][1]["builds"]
    assert second["steps"][0]["does"] == "on <workername>"


def test_a_moment_starts_what_is_due(basedir: Path) -> None:
    found = plan("--config", basedir, "--at", "2026-03-02 03:00")
    assert [(each["scheduler"], each["when"]) for each in found["starts"]] == [
        ("night", "on Monday, 2026-03-02 at 03:00"),
        ("changed", "on Monday, 2026-03-02 at 03:00, if an important change has come by then"),
        ("asked-nightly", "on Monday, 2026-03-02 at 03:00, if a step has triggered it by then"),
        ("after-night", "if night succeeds"),
    ]
    assert found["starts"][0]["builds"][0]["steps"][0]["does"] == "night night True"
    assert plan("--config", basedir, "--at", "2026-03-02 03:01")["starts"] == []
    idle = {
        each["scheduler"]: each["why"]
        for each in plan("--config", basedir, "--at", "2026-03-02 05:00")["idle"]
    }
    assert idle["night"] == "is due on Tuesday, 2026-03-03 at 03:00 next"
    assert idle["quick"] == "waits for changes"


def test_for_people(basedir: Path) -> None:
    """In words; secrets' values are never read."""
    said = run("--config", basedir, *MAIN, "--builder", "first").output
    assert "quick starts 1 build at once\n  first on w1\n    of main of https://git.example.org/it\n" in said
    assert "stable" not in said
    assert "depends on size (step measure), got_revision (step git)" in said
    assert re.search(r"never +never \(skipped: doStepIf\)", said)
    assert "a very secret token" not in said
    brief = run("--config", basedir, *MAIN, "--brief").output
    assert "make all-arm" not in brief
    assert "force starts nothing: waits for somebody to ask" in brief


def test_what_was_planned_is_what_is_run(basedir: Path, rehearse: Callable[..., Rehearsal]) -> None:
    """The engine runs the very commands."""
    config = CONFIG.replace('steps.ShellCommand(name="odd", command=["odd", tricky]),', "")
    config = config.replace("step.results.none", "True")
    (basedir / "master.cfg").write_text(config)
    found = plan("--config", basedir, *MAIN, "--revision", "b" * 40)
    planned = [step for step in found["starts"][0]["builds"][0]["steps"] if step["runs"] is not False]
    ci = rehearse(basedir / "master.cfg")
    ci.machines["w1"].files["first/build/a.zip"] = b"zipped"
    ci.on("du -s .").prints("17")
    ci.on("publish it").does(lambda ran: None)
    ci.on("upload *").does(lambda ran: None)
    ci.change(branch="main", repository="https://git.example.org/it", files=["a.c"], revision="b" * 40)
    [build] = ci.builds("first")
    later = {
        "<size>": "17",
        "<got_revision>": "b" * 40,
        "<buildnumber>": "1",
        "<secret token>": "a very secret token",
    }
    expected = []
    for step in planned:
        does = step["does"].removeprefix("on the master: ")
        for mark, value in later.items():
            does = does.replace(mark, value if " " not in value else f"'{value}'")
        if step["type"] in ("ShellCommand", "SetPropertyFromCommand", "MasterShellCommand"):
            expected.append(does)
        elif step["type"] in ("ShellSequence", "CMake"):
            expected += does.splitlines()
    ran = [ran.line for ran in ci.ran if ran.builder in ("first", "")]
    assert ran == expected
    assert build.result == "success", build


def test_a_checkouts_head_is_a_change(basedir: Path, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"

    def git(*words: str) -> str:
        who = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
        return subprocess.run(
            ["git", "-C", str(checkout), *who, *words], check=True, capture_output=True, text=True
        ).stdout.strip()

    checkout.mkdir()
    git("init", "--quiet", "--initial-branch", "main")
    git("remote", "add", "origin", "https://git.example.org/it")
    for name in ("README", "odd näme.c"):
        (checkout / name).write_text("x")
        git("add", name)
        git("commit", "--quiet", "-m", f"Add {name}")
    done = buildwright("plan", "--config", basedir, cwd=checkout)
    assert done.code == 0, done.err
    head = git("rev-parse", "HEAD")
    assert done.out.startswith(
        f"A change of main at {head} in https://git.example.org/it by Ann <ann@example.org>"
    )
    assert f"gets {head} of" in done.out
    said = run("--config", basedir, "--git", checkout, "--files", "README").output
    assert "quick starts nothing: its fileIsImportant" in said
    assert "has no commit to plan for" in run("--config", basedir, "--git", tmp_path, code=1).output
    assert "give one of both" in run("--config", basedir, "--git", checkout, "--at", "now", code=2).output


NOW = datetime(2026, 3, 4, 12, 30)  # noqa: DTZ001 - local time; a Wednesday


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", "2026-03-04 12:30"),
        ("13:05", "2026-03-04 13:05"),
        ("03:00", "2026-03-05 03:00"),
        ("today 03:00", "2026-03-04 03:00"),
        ("tomorrow 03:00", "2026-03-05 03:00"),
        ("Monday 02:30", "2026-03-09 02:30"),
        ("wednesday 13:00", "2026-03-04 13:00"),
        ("wednesday 12:00", "2026-03-11 12:00"),
        ("in 3 hours", "2026-03-04 15:30"),
        ("2026-12-24 18:00", "2026-12-24 18:00"),
        ("2026-12-24T18:00", "2026-12-24 18:00"),
    ],
)
def test_times(text: str, expected: str) -> None:
    assert f"{moment(text, NOW):%Y-%m-%d %H:%M}" == expected


@pytest.mark.parametrize("text", ["", "noon", "25:00", "someday 03:00", "in a while"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="is no time: write for example"):
        moment(text, NOW)
