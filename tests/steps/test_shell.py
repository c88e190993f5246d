"""Command lines."""

from pathlib import Path

from buildwright.model.results import CANCELLED, EXCEPTION, FAILURE, SUCCESS, WARNINGS
from tests.steps.conftest import Start
from tests.worker.support import alive


async def test_a_command(start: Start) -> None:
    it = await start('builder("b", steps.ShellCommand(command="echo hello; echo oops >&2"))')
    built = await it.build()
    assert built.results == SUCCESS
    assert built.outline == [("shell", SUCCESS)]
    assert built.log("shell").out == b"hello\n"
    assert built.log("shell").err == b"oops\n"
    assert built.log("shell").complete
    assert b"program finished with exit code 0" in built.log("shell").header
    assert built.step("shell").state == "'echo hello; ...'"
    assert built.state == "build successful"


async def test_a_list_is_run_as_it_is(start: Start) -> None:
    it = await start(
        """
nested = ["nested", util.Property("buildnumber")]
builder("b", steps.ShellCommand(command=["printf", "%s|", "a b", "$HOME", nested]))
"""
    )
    assert (await it.build()).log("shell").out == b"a b|$HOME|nested|1|"


async def test_surroundings(start: Start) -> None:
    it = await start(
        """
builder("b", steps.ShellCommand(command="pwd; echo $ONE $TWO $THREE; cat", workdir="elsewhere",
    env={"TWO": ["a", "b"], "THREE": util.Interpolate("%(prop:buildername)s")}, initialStdin="typed",
    logEnviron=False), env={"ONE": util.Property("workername"), "TWO": "not this"})
"""
    )
    built = await it.build()
    assert built.log("shell").out.decode() == f"{it.builddir()}/elsewhere\nw1 a:b b\ntyped"
    assert b"environment" not in built.log("shell").header


async def test_exit_codes_and_flags(start: Start) -> None:
    it = await start(
        """
def step(name, code, **flags):
    return steps.ShellCommand(name=name, command=f"exit {code}", decodeRC={0: 0, 1: util.WARNINGS}, **flags)
builder("warned", step("a", 1, warnOnWarnings=True))
builder("ignored", step("a", 1))
builder("flunked", step("a", 1, flunkOnWarnings=True))
builder("fails", step("a", 2), step("b", 0))
builder("halts", step("a", 2, haltOnFailure=True), step("b", 0), step("c", 3, alwaysRun=True), step("d", 0))
builder("warns", step("a", 2, flunkOnFailure=False, warnOnFailure=True))
builder("passes", step("a", 2, flunkOnFailure=False, haltOnFailure=True), step("b", 0))
"""
    )
    outcomes = {
        "warned": (WARNINGS, [("a", WARNINGS)]),
        "ignored": (SUCCESS, [("a", WARNINGS)]),
        "flunked": (FAILURE, [("a", WARNINGS)]),
        "fails": (FAILURE, [("a", FAILURE), ("b", SUCCESS)]),
        "halts": (FAILURE, [("a", FAILURE), ("c", FAILURE)]),
        "warns": (WARNINGS, [("a", FAILURE)]),
        "passes": (SUCCESS, [("a", FAILURE)]),
    }
    for builder, (results, outline) in outcomes.items():
        built = await it.build(builder)
        assert (built.results, built.outline) == (results, outline), built


async def test_log_files(start: Start) -> None:
    it = await start(
        """
files = {"one": "one.log", "two": {"filename": "two.log", "follow": True}, "none": "none.log"}
command = "echo 1 > one.log; echo new >> two.log; echo out"
builder("b", steps.ShellCommand(command="echo old > two.log", name="before"),
    steps.ShellCommand(command=command, logfiles=files),
    steps.ShellCommand(command=command, logfiles=files, lazylogfiles=True, name="lazy"))
"""
    )
    built = await it.build()
    assert built.results == SUCCESS, built
    logs = {name: log.out for name, log in built.step("shell").logs.items()}
    assert logs == {"stdio": b"out\n", "one": b"1\n", "two": b"new\n", "none": b""}
    logs = {name: log.out for name, log in built.step("lazy").logs.items()}
    assert logs == {"stdio": b"out\n", "one": b"1\n", "two": b"new\n"}


async def test_limits(start: Start) -> None:
    it = await start(
        """
S = steps.ShellCommand
builder("b",
    S(name="silent", command="echo x; exec sleep 1000", timeout=0.3),
    S(name="long", command="while :; do echo x; sleep 0.05; done", timeout=10, maxTime=0.3),
    S(name="lines", command="yes", max_lines=10))
"""
    )
    built = await it.build()
    assert built.outline == [("silent", FAILURE), ("long", FAILURE), ("lines", FAILURE)]
    assert b"0.3 seconds without output" in built.log("silent").header
    assert b"0.3 seconds elapsed" in built.log("long").header
    assert built.log("lines").out == b"y\n" * 10


async def test_a_stop_in_the_middle(start: Start) -> None:
    it = await start(
        """
S = steps.ShellCommand
builder("b", S(command="echo $$; exec sleep 1000"), S(command="true", name="next"),
    S(command="echo cleaning", name="always", alwaysRun=True))
"""
    )
    request = await it.submit()
    await it.until_output(request, b"\n")
    await it.stop_build(request, "bored")
    built = await it.finished(request)
    assert built.results == CANCELLED
    assert built.outline == [("shell", CANCELLED), ("always", SUCCESS)], built
    assert built.state == "cancelled: bored (cancelled)"
    assert not alive(int(built.log("shell").out))


async def test_results_of_ones_own(start: Start) -> None:
    it = await start(
        """
class Mine(steps.ShellCommand):
    async def evaluateCommand(self, cmd):
        return util.WARNINGS if cmd.rc == 7 else cmd.results()
builder("b", Mine(command="exit 7", warnOnWarnings=True), steps.Configure(workdir="."))
"""
    )
    it.builddir().mkdir()
    script = it.builddir() / "configure"
    script.write_text("#!/bin/sh\necho configured\n")
    script.chmod(0o755)
    built = await it.build()
    assert built.outline == [("shell", WARNINGS), ("configure", SUCCESS)]
    assert built.results == WARNINGS
    assert built.log("configure").out == b"configured\n"


async def test_what_can_not_be_rendered(start: Start) -> None:
    it = await start(
        """
def broken(props):
    raise ValueError("no value today")
builder("b", steps.ShellCommand(command=util.Transform(lambda: broken(None)), name="transform"))
builder("c", steps.ShellCommand(command=["echo", util.Secret("nobody")]))
builder("d", steps.ShellCommand(command="true", name=util.Interpolate("named-%(prop:buildnumber)s")),
    steps.ShellCommand(command="true", name=util.Transform(lambda: broken(None))))
"""
    )
    built = await it.build()
    assert built.outline == [("transform", EXCEPTION)]
    assert b"no value today" in built.log("transform", "err.text").out
    built = await it.build("c")
    assert built.outline == [("shell", EXCEPTION)]
    assert b"no secrets provider knows the secret 'nobody'" in built.log("shell", "err.text").out
    built = await it.build("d")
    assert built.outline == [("named-1", SUCCESS), ("ShellCommand", SUCCESS)]


async def test_p9_secrets_are_masked(start: Start, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir(mode=0o700)
    (tmp_path / "secrets/key").write_text("correct horse")
    (tmp_path / "secrets/key").chmod(0o600)
    it = await start(
        f"""
c["secretsProviders"] = [secrets.SecretInAFile({str(tmp_path / "secrets")!r})]
class Telling(steps.BuildStep):
    secret = util.Secret("key")
    renderables = ["secret"]
    async def run(self):
        self.addCompleteLog("told", "it is " + self.secret)
        self.setProperty("told", {{"by": [self.secret]}})
        self.description = ["told", self.secret]
        raise ValueError(self.secret)
builder("b", steps.ShellCommand(command=["echo", util.Secret("key")]), Telling(name="telling"))
"""
    )
    built = await it.build()
    assert built.log("shell").out == b"<key>\n"
    assert built.log("telling", "told").out == b"it is <key>"
    assert "<key>" in built.step("telling").state
    assert built.properties["told"] == {"by": ["<key>"]}
    assert b"ValueError: <key>" in built.log("telling", "err.text").out
    for path in it.basedir.glob("state.sqlite*"):
        assert b"correct horse" not in path.read_bytes()
