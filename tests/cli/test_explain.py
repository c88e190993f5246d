"""`buildwright check --explain`: a configuration as the master understands it."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from buildwright.cli.main import main

PARTS = """
from buildwright.plugins import steps, util

def compile_with(compiler):
    return steps.ShellCommand(name="compile", command=["make", util.Interpolate("CC=%(kw:cc)s", cc=compiler)])
"""
CONFIG = """
from buildwright.plugins import schedulers, steps, util, worker
from parts import compile_with

def chosen(builder, requests):
    return requests[0]

@util.renderer
def named(props):
    return ["linux"]

c = BuildmasterConfig = {}
c["workers"] = [
    worker.Worker("w1", "a very secret password", max_builds=2),
    worker.Worker("idle", "another one"),
]
c["properties"] = {"site": "here"}
pool = util.MasterLock("pool", maxCount=3)
c["builders"] = [
    util.BuilderConfig("linux", workernames=["w1"], tags=["fast"], description="Builds.", nextBuild=chosen,
        properties={"level": 2}, env={"CC": "gcc"}, locks=[pool.access("counting")],
        factory=util.BuildFactory([
            compile_with("gcc"),
            steps.ShellCommand(name="test", command="make test", doStepIf=lambda step: True),
            steps.ShellCommand(name="test", command="make test2", locks=[pool.access("exclusive")]),
        ])),
    util.BuilderConfig("empty", workernames=["w1"], factory=util.BuildFactory()),
    util.BuilderConfig("asked", workernames=["w1"], factory=util.BuildFactory([compile_with("clang")])),
]
quick = schedulers.SingleBranchScheduler("quick", builderNames=["linux"], treeStableTimer=60,
    change_filter=util.ChangeFilter(branch="main"), properties={"size": util.Property("level")})
c["schedulers"] = [
    quick,
    schedulers.Dependent("later", upstream=quick, builderNames=["linux"]),
    schedulers.Nightly("night", builderNames=["linux"], hour=4),
    schedulers.Triggerable("forgotten", builderNames=["linux"]),
    schedulers.ForceScheduler("force", builderNames=["linux", "asked"]),
    schedulers.AnyBranchScheduler("who-knows", builderNames=named),
]
c["services"] = [util.OldBuildCanceller("old", [(["linux"], util.SourceStampFilter())])]
c["www"] = {"port": 8010}
"""


@pytest.fixture
def basedir(tmp_path: Path) -> Path:
    (tmp_path / "parts.py").write_text(PARTS)
    (tmp_path / "master.cfg").write_text(CONFIG)
    return tmp_path


def explained(basedir: Path, *options: str) -> str:
    done = CliRunner().invoke(main, ["check", str(basedir), "--explain", *options])
    assert done.exit_code == 0, done.output
    return done.output


def test_everything_is_there_with_its_place(basedir: Path) -> None:
    found: dict[str, Any] = json.loads(explained(basedir, "--json"))
    assert found["ok"]
    configuration = found["configuration"]
    linux = configuration["builders"][0]
    lines = CONFIG.splitlines()
    assert 'util.BuilderConfig("linux"' in lines[linux["line"] - 1]
    assert linux["started_by"] == ["quick", "later", "night", "forgotten", "force", "perhaps who-knows"]
    assert (linux["tags"], linux["properties"], linux["locks"]) == (
        ["fast"],
        {"level": 2},
        "[pool (counting)]",
    )
    assert linux["functions"] == {"nextBuild": "chosen"}
    compiled, tested, _ = linux["steps"]
    assert (compiled["type"], Path(compiled["file"]).name) == ("ShellCommand", "parts.py")
    assert "return steps.ShellCommand" in PARTS.splitlines()[compiled["line"] - 1]
    assert compiled["arguments"] == {"command": "['make', Interpolate('CC=%(kw:cc)s', cc='gcc')]"}
    assert tested["arguments"] == {"command": "'make test'", "doStepIf": "a lambda"}
    [w1, _] = configuration["workers"]
    assert (w1["builders"], w1["max_builds"]) == (["linux", "empty", "asked"], 2)
    when = {each["name"]: each["when"] for each in configuration["schedulers"]}
    assert when == {
        "quick": "waits for changes, until none has come for 60 s",
        "later": "follows quick",
        "night": "comes by the clock (0 4 * * *)",
        "forgotten": "waits for a step that triggers it",
        "force": "waits for somebody to ask",
        "who-knows": "waits for changes",
    }
    assert configuration["schedulers"][0]["filter"] == {"branch": "'main'"}
    assert configuration["schedulers"][0]["properties"] == {"size": "Property('level')"}
    [pool] = configuration["locks"]
    assert pool["used_by"] == ["linux (counting)", "linux: test (exclusive)"]
    assert configuration["properties"] == {"site": "here"}
    [old] = configuration["services"]
    assert (old["name"], old["type"], type(old["line"])) == ("old", "OldBuildCanceller", int)


def test_what_looks_forgotten_is_remarked(basedir: Path) -> None:
    remarks = json.loads(explained(basedir, "--json"))["configuration"]["remarks"]
    assert [each["message"] for each in remarks] == [
        "builder 'linux' has 2 steps named 'test': they get numbers",
        "builder 'empty' is started only if who-knows names it",
        "builder 'empty' has no steps",
        "no builder uses worker 'idle'",
        "no step triggers scheduler 'forgotten'",
        "scheduler 'quick' waits for changes, and there is no change source",
    ]
    assert all(each["line"] for each in remarks)


def test_for_people(basedir: Path) -> None:
    said = explained(basedir)
    assert "a very secret password" not in said
    for text in (
        "on w1, started by quick, later, night, forgotten, force, perhaps who-knows",
        "0 compile: ShellCommand(command=['make', Interpolate('CC=%(kw:cc)s', cc='gcc')])  (parts.py:5)",
        "pool  MasterLock for 3: linux (counting), linux: test (exclusive)",
        "Remarks\n  builder 'linux' has 2 steps named 'test'",
    ):
        assert text in said, said
    assert said.endswith("is fine: 3 builders, 2 workers, 6 schedulers, 0 change sources.\n")
