"""Several commands in one step."""

import pytest

from buildwright.model.errors import ConfigErrors
from buildwright.model.results import CANCELLED, FAILURE, SUCCESS, WARNINGS
from buildwright.plugins import steps, util
from tests.steps.conftest import Start


async def test_commands_in_a_row(start: Start) -> None:
    it = await start(
        """
A = util.ShellArg
env = {"WHO": util.Property("buildername")}
builder("b", steps.ShellSequence(name="seq", workdir="there", env=env, commands=[
    A("echo $WHO"), A(command=["echo", util.Interpolate("%(prop:buildnumber)s")], logname="number"),
    A(command="", haltOnFailure=True), A(util.Property("nothing")), A(command="pwd", logname="number")]))
"""
    )
    built = await it.build()
    assert built.outline == [("seq", SUCCESS)], built
    assert built.log("seq").out == b"b\n"
    assert built.log("seq", "number").out.decode() == f"1\n{it.builddir()}/there\n"


async def test_what_results_come_to(start: Start) -> None:
    it = await start(
        """
A = util.ShellArg
def seq(name, *commands, **kwargs):
    builder(name, steps.ShellSequence(name="seq", commands=list(commands), warnOnWarnings=True, **kwargs))
rc = {0: util.SUCCESS, 3: util.WARNINGS}
seq("goes-on", A("echo one; exit 1"), A("echo two"))
seq("halts", A("echo one; exit 1", haltOnFailure=True), A("echo two"), A("echo three", alwaysRun=True))
seq("ignored", A("exit 1", flunkOnFailure=False), A("echo two"))
seq("softened", A("exit 1", flunkOnFailure=False, warnOnFailure=True), A("echo two"))
seq("warned", A("exit 3", warnOnWarnings=util.Property("warn", default=True)), A("echo two"), decodeRC=rc)
seq("flunked", A("exit 3", flunkOnWarnings=True), decodeRC=rc)
seq("nothing")
"""
    )
    outcomes = {
        "goes-on": (FAILURE, b"one\ntwo\n", "'echo one; ...' (failure)"),
        "halts": (FAILURE, b"one\nthree\n", "'echo one; ...' (failure)"),
        "ignored": (SUCCESS, b"two\n", "'echo two'"),
        "softened": (WARNINGS, b"two\n", "'exit 1' (warnings)"),
        "warned": (WARNINGS, b"two\n", "'exit 3' (warnings)"),
        "flunked": (FAILURE, b"", "'exit 3' (failure)"),
    }
    for builder, (results, out, state) in outcomes.items():
        built = await it.build(builder)
        step = built.step("seq")
        assert (built.results, built.log("seq").out, step.state) == (results, out, state), built
    assert (await it.build("nothing")).outline == [("seq", SUCCESS)]


async def test_a_stop_ends_the_sequence(start: Start) -> None:
    it = await start(
        """
A = util.ShellArg
builder("b", steps.ShellSequence(commands=[A("echo one; exec sleep 1000"), A("echo two", alwaysRun=True)]))
"""
    )
    request = await it.submit()
    await it.until_output(request, b"one")
    await it.stop_build(request)
    built = await it.finished(request)
    assert built.outline == [("generic", CANCELLED)]
    assert built.log("generic").out == b"one\n"


async def test_sequences_that_are_made_at_run_time(start: Start) -> None:
    """Commands from a function, a subclass that runs its own, and a secret in one of them."""
    it = await start(
        """
import pathlib
place = pathlib.Path(basedir) / "secrets"
place.mkdir(mode=0o700)
(place / "key").write_text("correct horse")
(place / "key").chmod(0o600)
c["secretsProviders"] = [secrets.SecretInAFile(str(place))]
@util.renderer
def commands(props):
    names = props.getProperty("names", ["x", "y"])
    return [util.ShellArg(["echo", name, util.Secret("key")]) for name in names]
class Mine(steps.ShellSequence):
    name = "mine"
    def shouldRunTheCommand(self, cmd):
        return cmd != ["echo", "skip"]
    async def run(self):
        words = ["one", "skip", "two"]
        return await self.runShellSequence([util.ShellArg(["echo", word], logname=word) for word in words])
builder("b", steps.ShellSequence(commands=commands, name="seq"), Mine())
"""
    )
    built = await it.build()
    assert built.outline == [("seq", SUCCESS), ("mine", SUCCESS)], built
    assert built.log("seq").out == b"x <key>\ny <key>\n"
    assert {name: log.out for name, log in built.step("mine").logs.items()} == {
        "one": b"one\n",
        "two": b"two\n",
    }
    for path in it.basedir.glob("state.sqlite*"):
        assert b"correct horse" not in path.read_bytes()


def test_wrong_arguments() -> None:
    with pytest.raises(ConfigErrors, match="ShellArg: haltOnFailure must be True or False, not str 'no'"):
        util.ShellArg("true", haltOnFailure="no")
    with pytest.raises(ConfigErrors, match="ShellArg has no command"):
        util.ShellArg()
    with pytest.raises(ConfigErrors, match="ShellArg: command must be text or a list of texts, not int 3"):
        util.ShellArg(3)
    with pytest.raises(ConfigErrors, match="ShellArg: logname must be text"):
        util.ShellArg("true", logname=["a"])
    with pytest.raises(ConfigErrors, match="commands must be a list of ShellArgs; one is str 'true'"):
        steps.ShellSequence(commands=["true"])
    with pytest.raises(ConfigErrors, match="commands must be a list of ShellArgs, not str 'true'"):
        steps.ShellSequence(commands="true")
    with pytest.raises(ConfigErrors, match="takes no argument 'command'"):
        steps.ShellSequence(command="true")
