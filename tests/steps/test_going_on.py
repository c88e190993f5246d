"""P4: builds go on when their master goes away, whatever their step is doing."""

import os
from pathlib import Path

import pytest
import sqlalchemy as sa

from buildwright.model.results import CANCELLED, FAILURE, RETRY, SUCCESS, WARNINGS
from buildwright.store import schema
from tests.steps.conftest import Start
from tests.support.rig import Rig
from tests.worker.support import alive

HOLD = '"echo $$; while [ ! -e ../go ]; do sleep 0.02; done; echo over"'


async def let_go(it: Rig, builder: str = "b") -> None:
    """Let a command go on that waits for the file, and make sure that its worker is attached again."""
    await it.until("workers", it.attached)
    it.builddir(builder).mkdir(parents=True, exist_ok=True)
    (it.builddir(builder) / "go").write_text("")


async def test_a_stop_while_nobody_drives_the_build(start: Start) -> None:
    it = await start(f'builder("b", steps.ShellCommand(command={HOLD}), steps.ShellCommand(command="true"))')
    request = await it.submit()
    await it.until_output(request, b"\n")
    await it.stop_build(request)
    await it.restart()
    built = await it.finished(request)
    assert built.outline == [("shell", CANCELLED)], built
    assert not alive(int(built.log("shell").out))


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_step_that_takes_another_way_is_retried(start: Start, stopped: bool) -> None:
    """What it had running is killed before the next attempt begins, or before a stop is done."""
    it = await start(
        f"""
import pathlib
class Fickle(steps.ShellMixin, steps.BuildStep):
    def __init__(self, **kwargs):
        super().__init__(**self.setupShellMixin(kwargs))
    async def run(self):
        ways = pathlib.Path(basedir) / "ways"
        way = len(ways.read_text()) if ways.exists() else 0
        ways.write_text("x" * (way + 1))
        command = await self.makeRemoteShellCommand(command={HOLD}, env={{"WAY": str(way)}})
        await self.runCommand(command)
        return command.results()
builder("b", Fickle(name="fickle"))
"""
    )
    request = await it.submit()
    await it.until_output(request, b"\n")
    if stopped:
        await it.stop_build(request)
    await it.restart()
    if not stopped:
        await it.until_output(request, b"\n")
        await let_go(it)
    built = await it.finished(request)
    first, *others = await it.builds(request)
    assert not alive(int(first.log("fickle").out.split()[0]))
    if stopped:
        assert (built.results, others) == (CANCELLED, [])
    else:
        assert (first.results, built.results) == (RETRY, SUCCESS)
        assert "asked for a command that it didn't ask for before" in first.state


async def test_a_changed_configuration_ends_the_attempt_with_its_command(start: Start) -> None:
    text = f'builder("b", steps.ShellCommand(command={HOLD}), steps.ShellCommand(command="true", name="X"))'
    it = await start(text)
    request = await it.submit()
    await it.until_output(request, b"\n")
    it.configure(text.replace("X", "Y"))
    await it.restart()
    await let_go(it)
    built = await it.finished(request)
    first, second = await it.builds(request)
    assert (first.results, second.results) == (RETRY, SUCCESS)
    assert "configuration changed" in first.state
    assert first.log("shell").out.endswith(b"\nover\n")
    assert built.outline == [("shell", SUCCESS), ("Y", SUCCESS)]


async def test_in_the_middle_of_git(start: Start, tmp_path: Path) -> None:
    from tests.support.repositories import GitRepository

    repo = GitRepository(tmp_path / "repo")
    head = repo.commit(a="1\n")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "git").write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\ncase "$*" in *fetch*) echo fetching;'
        f' while [ ! -e {tmp_path}/go ]; do sleep 0.02; done;; esac\nexec /usr/bin/git "$@"\n'
    )
    (tools / "git").chmod(0o755)
    it = await start(
        f"builder('b', steps.Git({repo.url!r}, mode='full', env={{'PATH': ['{tools}', '${{PATH}}']}}))"
    )
    request = await it.submit()
    await it.until_output(request, b"fetching")
    await it.restart()
    await it.until("workers", it.attached)
    (tmp_path / "go").write_text("")
    built = await it.finished(request)
    assert built.results == SUCCESS, built
    assert (built.attempt, built.step("git").tries) == (1, 0)
    assert built.properties["got_revision"] == head
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len([call for call in calls if call.startswith("fetch")]) == 1
    assert len([call for call in calls if call.startswith("init")]) == 1


@pytest.mark.parametrize("changed", [False, True])
async def test_in_the_middle_of_a_download(start: Start, changed: bool) -> None:
    """Whole, and of one file: also if it is another one by then."""
    it = await start('builder("b", steps.FileDownload("give", "got"))')
    contents = [os.urandom(1000) * 40_000, os.urandom(1000) * 41_000]
    (it.basedir / "give").write_bytes(contents[0])
    request = await it.submit()
    await it.started(request)
    await it.stop()
    if changed:
        (it.basedir / "give").write_bytes(contents[1])
    await it.start()
    built = await it.finished(request)
    assert built.results == SUCCESS, built
    assert built.attempt == 1
    got = (it.builddir() / "build/got").read_bytes()
    assert got in (contents if changed else contents[:1])
    assert not list(it.directory.rglob("*.part"))


async def test_in_the_middle_of_a_large_upload(start: Start) -> None:
    it = await start('builder("b", steps.FileUpload("give", "kept", workdir="."))')
    it.builddir().mkdir(parents=True)
    content = os.urandom(1000) * 40_000
    (it.builddir() / "give").write_bytes(content)
    request = await it.submit()
    await it.started(request)
    await it.restart()
    built = await it.finished(request)
    assert built.results == SUCCESS, built
    assert built.attempt == 1
    assert (it.basedir / "kept").read_bytes() == content
    assert not list(it.directory.rglob("*.part"))


async def test_in_the_middle_of_waiting(start: Start) -> None:
    """A step that sleeps, and one that waits for its lock."""
    it = await start(
        f"""
lock = util.MasterLock("one")
class Sleeper(steps.BuildStep):
    async def run(self):
        self.setProperty("slept", False)
        await self.sleep(0.5)
        self.setProperty("slept", True)
        return util.SUCCESS
builder("b", Sleeper(name="sleeper"))
builder("holder", steps.ShellCommand(command={HOLD}, locks=[lock.access("exclusive")]))
builder("waiter", steps.ShellCommand(command="echo mine", locks=[lock.access("exclusive")]))
"""
    )
    holder = await it.submit("holder")
    await it.until_output(holder, b"\n")
    sleeper, waiter = await it.submit("b"), await it.submit("waiter")

    async def both_wait() -> bool:
        slept = await it.builds(sleeper)
        waits = await it.builds(waiter)
        return bool(
            slept and "slept" in slept[0].properties
            and waits and waits[0].steps and "waits for lock" in waits[0].steps[0].state
        )  # fmt: skip

    await it.until("steps", both_wait)
    await it.restart()
    built = await it.finished(sleeper)
    assert (built.results, built.attempt, built.properties["slept"]) == (SUCCESS, 1, True), built
    assert built.step("sleeper").tries == 0
    await let_go(it, "holder")
    for request in (holder, waiter):
        built = await it.finished(request)
        assert (built.results, built.attempt) == (SUCCESS, 1), built


async def test_observers_hear_once_what_was_said_once(start: Start) -> None:
    it = await start(
        """
class Listener(util.LogObserver):
    def __init__(self):
        self.heard = []
    def outReceived(self, data):
        self.heard.append(data)
class Talk(steps.ShellMixin, steps.BuildStep):
    def __init__(self, **kwargs):
        super().__init__(**self.setupShellMixin(kwargs))
        self.listener = Listener()
        self.addLogObserver("stdio", self.listener)
    async def run(self):
        log = self._run.log("stdio")
        for word in ("one", "two"):
            log.addStdout(f"before {word}\\n")
            command = f"echo {word}; while [ ! -e ../{word} ]; do sleep 0.02; done; echo end of {word}"
            await self.runCommand(await self.makeRemoteShellCommand(command=command))
            log.addStdout(f"after {word}\\n")
        self.setProperty("heard", "".join(self.listener.heard))
        return util.SUCCESS
builder("b", Talk(name="talk"))
"""
    )
    request = await it.submit()
    for word in ("one", "two"):
        await it.until_output(request, f"\n{word}\n".encode())
        await it.restart()
        await it.until("workers", it.attached)
        (it.builddir() / word).write_text("")
    built = await it.finished(request)
    expected = "".join(f"before {word}\n{word}\nend of {word}\nafter {word}\n" for word in ("one", "two"))
    assert built.log("talk").out.decode() == expected
    assert built.properties["heard"] == expected
    assert (built.attempt, built.step("talk").tries) == (1, 0)


async def test_in_the_middle_of_a_sequence(start: Start) -> None:
    """Each command starts once, whatever the number of masters that see to it."""
    it = await start(
        """
def held(word):
    command = f"echo {word} >> ../starts; echo {word}; while [ ! -e ../{word} ]; do sleep 0.02; done"
    return util.ShellArg(command, logname=word)
@util.renderer
def chance(props):
    import uuid
    return [util.ShellArg(["echo", uuid.uuid4().hex], logname="chance"), held("one"), held("two")]
builder("b", steps.ShellSequence(commands=chance, name="seq"))
"""
    )
    request = await it.submit()
    for word in ("one", "two"):
        await it.until_output(request, f"{word}\n".encode())
        await it.restart()
        await it.until("workers", it.attached)
        (it.builddir() / word).write_text("")
    built = await it.finished(request)
    assert built.outline == [("seq", SUCCESS)], built
    assert (built.attempt, built.step("seq").tries) == (1, 0)
    assert (it.builddir() / "starts").read_text() == "one\ntwo\n"
    assert [built.log("seq", word).out for word in ("one", "two")] == [b"one\n", b"two\n"]
    assert len(built.log("seq", "chance").out) == 33


async def test_in_the_middle_of_counting_warnings(start: Start) -> None:
    """With a suppression file that is gone by then: what was read is in the journal."""
    it = await start(
        """
command = ("echo 'a.c:1: warning: known'; echo 'b.c:1: warning: first'; while [ ! -e ../go ]; do sleep 0.02;"
           " done; echo 'b.c:2: warning: second'")
builder("b", steps.SetProperty("warnings-count", 5), steps.Compile(command=command, suppressionFile="known",
    warningPattern=r"(.*):(\\d+): warning: (.*)", warningExtractor=steps.Compile.warnExtractFromRegexpGroups))
"""
    )
    known = it.builddir() / "build/known"
    known.parent.mkdir(parents=True)
    known.write_text("a.c : .*\n")
    request = await it.submit()
    await it.until_output(request, b"first")
    known.unlink()
    await it.restart()
    await let_go(it)
    built = await it.finished(request)
    assert built.outline == [("SetProperty", SUCCESS), ("compile", WARNINGS)], built
    assert (built.attempt, built.step("compile").tries) == (1, 0)
    assert built.log("compile", "warnings (2)").out == b"b.c:1: warning: first\nb.c:2: warning: second\n"
    assert built.properties["warnings-count"] == 7


async def test_statistics_of_finished_steps(start: Start) -> None:
    """They are summed up with those of the steps that another master has run."""
    it = await start(
        f"""
class Counts(steps.ShellCommand):
    def evaluateCommand(self, cmd):
        self.setStatistic("things", 2)
        return util.SUCCESS
class Sums(steps.BuildStep):
    async def run(self):
        add = lambda one, other: one + other
        names = ("things", "warnings", "none")
        self.setProperty("sums", [self.build.getSummaryStatistic(name, add) for name in names])
        self.setProperty("from", self.build.getSummaryStatistic("things", add, 10))
        return util.SUCCESS
builder("b", steps.Compile(command="echo warning: x"), Counts(command="true", name="one"),
    steps.Compile(command="echo warning: y", workdir=util.Property("buildername")),
    steps.ShellCommand(command={HOLD}, name="hold"), Counts(command="true", name="two"), Sums(name="sums"))
"""
    )
    request = await it.submit()
    await it.until_output(request, b"\n", "o")

    async def holds() -> bool:
        return any(step.name == "hold" for build in await it.builds(request) for step in build.steps)

    await it.until("steps", holds)
    await it.restart()
    await let_go(it)
    built = await it.finished(request)
    assert built.results == SUCCESS, built
    assert (built.properties["sums"], built.properties["from"]) == ([4, 2, None], 14)


async def test_results_that_come_with_the_output(start: Start) -> None:
    """Messages that are stored as results while the linter runs are stored once."""
    it = await start(
        """
command = ("echo 'a.py:1:0: W0001: one'; echo 'a.py:2:0: W0001: two';"
           " while [ ! -e ../go ]; do sleep 0.02; done; echo 'b.py:1:0: E0001: three'; exit 6")
builder("b", steps.PyLint(command=command))
"""
    )
    request = await it.submit()
    await it.until_output(request, b"two")
    await it.restart()
    await let_go(it)
    built = await it.finished(request)
    assert built.outline == [("pylint", FAILURE)], built
    assert (built.attempt, built.step("pylint").tries) == (1, 0)
    results = schema.test_results.c
    found = await it.store.fetch(sa.select(results.value).order_by(results.id))
    assert [value for (value,) in found] == ["W0001: one", "W0001: two", "E0001: three"]
    assert built.properties["pylint-total"] == 3
