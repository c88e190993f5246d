"""Secrets as files at the worker while some steps run."""

import json

import pytest

from buildwright.model.errors import ConfigErrors
from buildwright.model.results import FAILURE, SUCCESS
from buildwright.plugins import steps, util
from tests.steps.conftest import Start

SECRETS = """
import os, pathlib
directory = pathlib.Path(basedir) / "secrets"
directory.mkdir(exist_ok=True)
(directory / "key").write_text("opensesame")
os.chmod(directory / "key", 0o600)
c["secretsProviders"] = [secrets.SecretInAFile(str(directory))]
def build(*inner):
    factory = util.BuildFactory([steps.ShellCommand(command="ls -A")])
    config = util.Interpolate("%(prop:buildername)s.cfg"), util.Interpolate("k=%(secret:key)s")
    factory.addSteps(inner, withSecrets=[("key.pem", util.Secret("key")), config])
    factory.addStep(steps.ShellCommand(command="ls -A", alwaysRun=True))
    c["builders"].append(util.BuilderConfig("b", workername="w1", factory=factory))
    c["schedulers"].append(schedulers.Triggerable(name="run-b", builderNames=["b"]))
"""


async def test_the_files_are_there_while_the_steps_run(start: Start) -> None:
    it = await start(
        SECRETS
        + """
build(steps.ShellCommand(command="stat -c '%a %n' *; cat key.pem b.cfg | tr a-z A-Z"))
"""
    )
    built = await it.build()
    assert built.results == SUCCESS
    first, written, used, removed, last = (step for step in built.steps)
    assert (written.name, removed.name) == ("write secret files", "remove secret files")
    assert first.logs["stdio"].out == last.logs["stdio"].out == b""
    assert used.logs["stdio"].out == b"600 b.cfg\n600 key.pem\nOPENSESAMEK=OPENSESAME"
    assert "opensesame" not in json.dumps([str(built), built.properties])


async def test_they_are_removed_when_a_step_fails(start: Start) -> None:
    it = await start(SECRETS + 'build(steps.ShellCommand(command="exit 1", haltOnFailure=True))')
    built = await it.build()
    assert built.results == FAILURE
    assert [step.name for step in built.steps] == [
        "shell",
        "write secret files",
        "shell_1",
        "remove secret files",
        "shell_2",
    ]
    assert built.log("shell_2").out == b""


async def test_they_are_removed_when_the_build_is_stopped(start: Start) -> None:
    it = await start(SECRETS + 'build(steps.ShellCommand(command="echo ready; sleep 1000"))')
    asked = await it.submit()
    await it.until_output(asked, b"ready")
    await it.stop_build(asked)
    built = await it.finished(asked)
    assert built.step("remove secret files").results == SUCCESS
    assert built.log("shell_2").out == b""


def test_for_the_steps_of_a_with_statement() -> None:
    factory = util.BuildFactory()
    with factory.withSecrets([("a", util.Secret("key"))]):
        factory.addStep(steps.ShellCommand(command="x"))
    factory.addSteps([steps.ShellCommand(command="y")])
    names = [spec.cls.__name__ for spec in factory.steps]
    assert names == ["DownloadSecretsToWorker", "ShellCommand", "RemoveWorkerFileSecret", "ShellCommand"]


@pytest.mark.parametrize(
    ("secrets", "said"),
    [
        ("key", "withSecrets must be a list of (path, secret), not str 'key' (as in withSecrets=[("),
        (["key"], "withSecrets must hold pairs of path and secret, not str 'key'"),
        ([(3, "x")], "withSecrets: a path must be text, not int 3"),
        ([("a", 3)], "withSecrets: the content of 'a' must be a secret, not int 3"),
    ],
)
def test_mistakes(secrets: object, said: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        util.BuildFactory().addSteps([], withSecrets=secrets)  # type: ignore[arg-type]
    assert said in str(caught.value)
