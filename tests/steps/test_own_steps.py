"""Steps of one's own: several commands, observers, properties, more steps, conditions, locks, mistakes."""

import pytest

from buildwright.builds import distributor, stepwaits
from buildwright.model.results import (
    CANCELLED,
    EXCEPTION,
    FAILURE,
    RETRY,
    SKIPPED,
    SUCCESS,
    WARNINGS,
)
from tests.steps.conftest import BOTH_STORES, Start
from tests.worker.support import alive

CENSUS = """
class Counter(util.LogLineObserver):
    def __init__(self):
        super().__init__()
        self.lines = []
        self.ended = False
    def outLineReceived(self, line):
        self.lines.append(line)
    def finishReceived(self):
        self.ended = True

class Census(steps.ShellMixin, steps.BuildStep):
    def __init__(self, **kwargs):
        kwargs = self.setupShellMixin(kwargs, prohibitArgs=["command"])
        super().__init__(**kwargs)
        self.counter = Counter()
        self.addLogObserver("stdio", self.counter)

    async def run(self):
        log = await self.addLog("notes")
        self.setProperty("stage", "first")
        first = await self.makeRemoteShellCommand(command="echo one; printf two", collectStdout=True)
        await self.runCommand(first)
        log.addStdout(f"first said {first.stdout!r}\\n")
        self.setProperty("stage", "second", "mine")
        second = await self.makeRemoteShellCommand(command=HOLD, stdioLogName="other")
        await self.runCommand(second)
        log.addStdout("second is over\\n")
        third = await self.makeRemoteShellCommand(command=["sh", "-c", "echo three; exit 3"], decodeRC={3: 1})
        await self.runCommand(third)
        self.setProperty("lines", self.counter.lines)
        self.setStatistic("lines", len(self.counter.lines))
        log.addStderr("done\\n")
        await self.addURL("the lines", "http://example.org/")
        return third.results()

    def getResultSummary(self):
        return {"step": f"{self.getStatistic('lines', 0)} lines", "build": "counted"}
"""


@BOTH_STORES
async def test_several_commands(start: Start) -> None:
    it = await start('HOLD = "true"\n' + CENSUS + 'builder("b", Census(name="census", warnOnWarnings=True))')
    built = await it.build()
    assert built.results == WARNINGS, built
    assert built.state == "warnings counted (warnings)"
    step = built.step("census")
    assert step.state == "2 lines"
    assert step.urls == {"the lines": "http://example.org/"}
    assert built.log("census").out == b"one\ntwothree\n"
    assert built.log("census", "notes").out == b"first said 'one\\ntwo'\nsecond is over\n"
    assert built.log("census", "notes").err == b"done\n"
    assert built.properties["lines"] == ["one", "twothree"]
    assert (built.properties["stage"], built.sources["stage"]) == ("second", "mine")


@BOTH_STORES
async def test_p4_a_step_of_several_commands_goes_on_under_another_master(start: Start) -> None:
    """P4: killed between its commands, a step ends as if nothing had been."""
    hold = 'HOLD = "echo held; while [ ! -e ../go ]; do sleep 0.02; done; echo freed"\n'
    it = await start(hold + CENSUS + 'builder("b", Census(name="census"))')
    request = await it.submit()
    await it.until_output(request, b"held")
    for _ in range(3):
        await it.restart()
        await it.until("workers", it.attached)
    (it.builddir() / "go").write_text("")
    built = await it.finished(request)
    assert built.results == SUCCESS, built
    assert built.attempt == 1
    assert built.step("census").tries == 0
    assert built.log("census").out == b"one\ntwothree\n"
    assert built.log("census", "other").out == b"held\nfreed\n"
    assert built.log("census", "notes").out == b"first said 'one\\ntwo'\nsecond is over\n"
    assert built.properties["lines"] == ["one", "twothree"]
    assert built.properties["stage"] == "second"
    assert built.log("census").header.count(b"program finished") == 2


async def test_steps_that_add_steps(start: Start) -> None:
    it = await start(
        """
S = steps.ShellCommand
class Adder(steps.BuildStep):
    async def run(self):
        more = [S(command=f"echo {n}", name="next") for n in (1, 2)]
        self.build.addStepsAfterCurrentStep(more)
        self.build.addStepsAfterLastStep([S(command=util.Interpolate("echo %(prop:x)s"), name="last")])
        self.setProperty("x", "late")
        return util.SUCCESS
HOLD = "echo hold; while [ ! -e ../go ]; do sleep 0.02; done"
builder("b", Adder(name="adder"), S(command=HOLD, name="middle"))
"""
    )
    (it.builddir()).mkdir()
    (it.builddir() / "go").write_text("")
    expected = ["adder", "next", "next_1", "middle", "last"]
    built = await it.build()
    assert built.outline == [(name, SUCCESS) for name in expected], built
    assert built.log("last").out == b"late\n"
    (it.builddir() / "go").unlink()
    request = await it.submit()
    await it.until_output(request, b"hold")
    await it.restart()
    await it.until("workers", it.attached)
    (it.builddir() / "go").write_text("")
    built = await it.finished(request)
    assert built.outline == [(name, SUCCESS) for name in expected], built
    assert built.attempt == 1
    assert built.log("last").out == b"late\n"


async def test_conditions(start: Start) -> None:
    it = await start(
        """
S = steps.ShellCommand
async def later(step):
    return step.getProperty("buildnumber") == 1
def wrong(step):
    raise KeyError("doStepIf")
builder("b",
    S(command="true", name="no", doStepIf=False),
    S(command="true", name="function", doStepIf=lambda step: step.getProperty("go")),
    S(command="true", name="later", doStepIf=later),
    S(command="true", name="rendered", doStepIf=util.Property("go") == "yes"),
    S(command="true", name="hidden", hideStepIf=True),
    S(command="true", name="hidden if skipped", doStepIf=False,
        hideStepIf=lambda results, step: results == util.SKIPPED),
    S(command="true", name="shown", hideStepIf=lambda results, step: results == util.SKIPPED),
    S(command="true", name="wrong", doStepIf=wrong))
"""
    )
    built = await it.build(properties={"go": "yes"})
    assert built.outline == [
        ("no", SKIPPED),
        ("function", SUCCESS),
        ("later", SUCCESS),
        ("rendered", SUCCESS),
        ("hidden", SUCCESS),
        ("hidden if skipped", SKIPPED),
        ("shown", SUCCESS),
        ("wrong", EXCEPTION),
    ], built
    assert [step.name for step in built.steps if step.hidden] == ["hidden", "hidden if skipped"]
    assert built.step("no").logs == {}


BAD = """
class Bad(steps.ShellMixin, steps.BuildStep):
    def __init__(self, how, **kwargs):
        super().__init__(**self.setupShellMixin(kwargs))
        self.how = how
    async def run(self):
        return await getattr(self, self.how)()
    async def raises(self):
        await self.runCommand(await self.makeRemoteShellCommand(command="echo before"))
        raise RuntimeError("it is broken")
    async def none(self):
        pass
    async def text(self):
        return "success"
    async def failed(self):
        from buildwright.builds.step import BuildStepFailed
        raise BuildStepFailed
    async def cancelled(self):
        import asyncio
        raise asyncio.CancelledError
    async def unstorable(self):
        self.setProperty("x", object())
    async def leaves_a_command(self):
        import asyncio
        left = asyncio.ensure_future(
            self.runCommand(await self.makeRemoteShellCommand(command="echo $$; exec sleep 1000")))
        await self.sleep(0.2)
        raise RuntimeError("too early")
    async def observed(self):
        class Observer(util.LogLineObserver):
            def outLineReceived(self, line):
                raise ValueError("an odd line: " + line)
        self.addLogObserver("stdio", Observer())
        await self.runCommand(await self.makeRemoteShellCommand(command="echo odd; echo even"))
        return util.SUCCESS
    async def retry(self):
        return util.RETRY
"""


@pytest.mark.parametrize(
    ("how", "result", "text"),
    [
        ("raises", EXCEPTION, b"RuntimeError: it is broken"),
        ("none", EXCEPTION, b"gave None"),
        ("text", EXCEPTION, b"gave 'success'"),
        ("failed", FAILURE, None),
        ("cancelled", EXCEPTION, b"was cancelled"),
        ("unstorable", EXCEPTION, b"can't be stored"),
        ("leaves_a_command", EXCEPTION, b"too early"),
        ("observed", EXCEPTION, b"an odd line: odd"),
        ("absent", EXCEPTION, b"no attribute 'absent'"),
    ],
)
async def test_mistakes(start: Start, how: str, result: int, text: bytes | None) -> None:
    it = await start(
        BAD + f'builder("b", Bad({how!r}, name="bad"), steps.ShellCommand(command="true", alwaysRun=True))'
    )
    built = await it.build()
    assert built.outline == [("bad", result), ("shell", SUCCESS)], built
    if text is not None:
        assert text in built.log("bad", "err.text").out
        assert built.log("bad", "err.text").type == "t"
    if how == "observed":
        assert built.log("bad").out == b"odd\neven\n"
    if how == "leaves_a_command":
        assert not alive(int(built.log("bad").out))


async def test_p6_retry_is_bounded(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """P6: a step that asks for another attempt gets five of them."""
    monkeypatch.setattr(distributor, "RETRY_PAUSE", 0.0)
    it = await start(BAD + 'builder("b", Bad("retry", name="bad"))')
    request = await it.submit()
    built = await it.finished(request)
    assert [build.results for build in await it.builds(request)] == [RETRY] * 4 + [EXCEPTION]
    assert "given up after 5 attempts" in built.state


@BOTH_STORES
async def test_locks_of_steps(start: Start) -> None:
    it = await start(
        """
lock = util.MasterLock("one")
many = util.WorkerLock("many", maxCount=2)
command = "echo held; while [ ! -e ../go ]; do sleep 0.02; done"
alone, shared = lock.access("exclusive"), lock.access("counting")
builder("b", steps.ShellCommand(command=command, locks=[alone]))
builder("c", steps.ShellCommand(command=command, locks=[alone, many.access("counting")]))
builder("d", steps.ShellCommand(command="true", locks=[shared]), locks=[shared])
builder("e", steps.ShellCommand(command="true", locks=util.Transform(lambda: [lock])))
builder("f", steps.ShellCommand(command="true", locks=util.Transform(lambda: [shared])))
"""
    )
    first = await it.submit("b")
    await it.until_output(first, b"held")
    second = await it.submit("c")

    async def waits() -> bool:
        builds = await it.builds(second)
        return bool(builds and builds[0].steps and builds[0].steps[0].state == "waits for lock 'one'")

    await it.until("steps", waits)
    third = await it.submit("c", properties={"n": 2})
    for builder in "bc":
        (it.builddir(builder)).mkdir(exist_ok=True)
    (it.builddir("b") / "go").write_text("")
    assert (await it.finished(first)).results == SUCCESS
    await it.until_output(second, b"held")
    (it.builddir("c") / "go").write_text("")
    built = await it.finished(second)
    assert built.results == SUCCESS, built
    assert built.step("shell").waited_us > 0
    assert (await it.finished(third)).results == SUCCESS
    built = await it.build("d")
    assert built.outline == [("shell", EXCEPTION)]
    assert b"held by the build itself" in built.log("shell", "err.text").out
    built = await it.build("e")
    assert built.outline == [("shell", EXCEPTION)]
    assert b"no lock accesses" in built.log("shell", "err.text").out
    assert (await it.build("f")).results == SUCCESS


async def test_a_stop_ends_the_wait_for_a_lock(start: Start) -> None:
    it = await start(
        """
lock = util.MasterLock("one")
for name in "bc":
    builder(name, steps.ShellCommand(command="echo held; exec sleep 1000", locks=[lock.access("exclusive")]))
"""
    )
    first = await it.submit("b")
    await it.until_output(first, b"held")
    second = await it.submit("c")

    async def waits() -> bool:
        builds = await it.builds(second)
        return bool(builds and builds[0].steps and "waits for lock" in builds[0].steps[0].state)

    await it.until("steps", waits)
    await it.stop_build(second)
    built = await it.finished(second)
    assert built.outline == [("shell", CANCELLED)]
    await it.stop_build(first)
    assert (await it.finished(first)).results == CANCELLED


async def test_work_on_the_master(start: Start) -> None:
    it = await start(
        """
import pathlib
class Work(steps.BuildStep):
    def note(self, text):
        with open(pathlib.Path(basedir) / "notes", "a") as notes:
            notes.write(text)
        return {"n": (1, 2)}
    async def wait(self):
        import asyncio
        await asyncio.sleep(1000)
    async def run(self):
        found = await self.once("note", self.note, "x")
        self.setProperty("found", found)
        await self.once("wait", self.wait)
        return util.SUCCESS
class Odd(steps.BuildStep):
    async def run(self):
        await self.once("odd", lambda: object())
builder("b", Work(name="work"))
builder("c", Odd(name="odd"))
"""
    )
    request = await it.submit()

    async def noted() -> bool:
        builds = await it.builds(request)
        return bool(builds) and "found" in builds[0].properties

    await it.until("builds", noted)
    await it.stop_build(request)
    built = await it.finished(request)
    assert built.outline == [("work", CANCELLED)]
    assert built.properties["found"] == {"n": [1, 2]}
    assert (it.basedir / "notes").read_text() == "x"
    built = await it.build("c")
    assert built.outline == [("odd", EXCEPTION)]
    assert b"what once('odd') gave can't be stored" in built.log("odd", "err.text").out


async def test_foreign_waits_start_again_or_end_the_attempt(start: Start) -> None:
    """What awaited something of its own can't be gone on with: it starts again if it says that it may."""
    it = await start(
        """
class Foreign(steps.ShellMixin, steps.BuildStep):
    def __init__(self, **kwargs):
        super().__init__(**self.setupShellMixin(kwargs))
    async def run(self):
        import asyncio
        await asyncio.sleep(0)
        command = "echo $$; [ -e ../go ] || exec sleep 1000"
        cmd = await self.makeRemoteShellCommand(command=command)
        await self.runCommand(cmd)
        return cmd.results()
class Again(Foreign):
    restartable = True
builder("b", Foreign(name="step"))
builder("c", Again(name="step"))
"""
    )
    for builder, attempts, tries in (("b", [RETRY, SUCCESS], 0), ("c", [SUCCESS], 1)):
        request = await it.submit(builder)
        await it.until_output(request, b"\n")
        (it.builddir(builder) / "go").write_text("")
        await it.restart()
        built = await it.finished(request)
        builds = await it.builds(request)
        assert [build.results for build in builds] == attempts, built
        assert built.step("step").tries == tries
        first = int(builds[0].log("step").out.split()[0])
        assert not alive(first)


async def test_helpers_for_files(start: Start) -> None:
    it = await start(
        """
class Files(steps.CompositeStepMixin, steps.BuildStep):
    async def run(self):
        await self.runMkdir("d/e")
        await self.downloadFileContentToWorker("f", "content\\n", workdir="d/e")
        await self.downloadFileContentToWorker("g", "more", workdir="d/e", mode=0o600)
        found = {
            "there": await self.pathExists("d/e/f"),
            "absent": await self.pathExists("d/nothing"),
            "glob": [name.rpartition("/")[2] for name in await self.runGlob("d/**/*")],
            "files": [await self.hasFile(name) for name in ("d/e/f", "d/e", "d/nothing")],
            "content": await self.getFileContentFromWorker("../d/e/f"),
            "none": await self.getFileContentFromWorker("../d/e/nothing"),
        }
        await self.runRmFile("d/e/f")
        found["removed"] = not await self.pathExists("d/e/f")
        found["rc"] = await self.runRmFile("d/e/f", abandonOnFailure=False)
        await self.runRmdir("d")
        self.setProperty("found", found)
        log = await self.addLogForRemoteCommands("removing")
        log.addHeader("twice")
        await self.runRmFile("d/e/f")
        return util.SUCCESS
builder("b", Files(name="files"))
"""
    )
    built = await it.build()
    assert built.outline == [("files", FAILURE)], built
    assert built.properties["found"] == {
        "there": True,
        "absent": False,
        "glob": ["e", "f", "g"],
        "files": [True, False, False],
        "content": "content\n",
        "none": None,
        "removed": True,
        "rc": 2,
    }
    assert built.log("files", "removing").header == b"twice"
    assert b"No such file" in built.log("files", "removing").err


@pytest.mark.parametrize("how", ["nothing", "release", "hang", "fail"])
async def test_interrupting_a_wait_of_ones_own(
    start: Start, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(stepwaits, "INTERRUPT_SECONDS", 0.2)
    it = await start(
        f"""
import asyncio
class Waits(steps.BuildStep):
    async def run(self):
        self.waited = asyncio.get_running_loop().create_future()
        self.setProperty("begun", True)
        self.setProperty("told", await self.waited)
        return util.SUCCESS
    async def interrupt(self, reason):
        if {how!r} == "release":
            self.waited.set_result(reason)
            await asyncio.sleep(0)
        if {how!r} == "hang":
            await asyncio.sleep(1000)
        if {how!r} == "fail":
            raise RuntimeError("can't be interrupted")
builder("b", Waits(name="waits"))
"""
    )
    request = await it.submit()

    async def begun() -> bool:
        builds = await it.builds(request)
        return bool(builds) and "begun" in builds[0].properties

    await it.until("builds", begun)
    await it.stop_build(request, "enough")
    built = await it.finished(request)
    assert built.outline == [("waits", CANCELLED)], built
    assert built.properties.get("told") == ("enough" if how == "release" else None)


async def test_a_build_that_is_not_wanted(start: Start) -> None:
    it = await start(
        """
def broken(build):
    raise ValueError("no idea")
builder("b", steps.ShellCommand(command=["true"]), do_build_if=lambda build: build.number > 1)
builder("c", steps.ShellCommand(command=["true"]), do_build_if=broken)
"""
    )
    built = await it.build()
    assert (built.results, built.outline) == (SKIPPED, [])
    built = await it.build()
    assert (built.results, built.outline) == (SUCCESS, [("shell", SUCCESS)])
    built = await it.build("c")
    assert (built.results, built.outline) == (EXCEPTION, [])
    assert "do_build_if failed: ValueError('no idea')" in built.state
