"""Texts that a database can't hold, and builds whose rows can't be written: they end, and are shown."""

from __future__ import annotations

from pathlib import Path

from tests.robust.support import alive, done, force, no_traceback, ready, told
from tests.support.processes import Farm, farm

ODD = r'''
class Odd(steps.ShellMixin, steps.BuildStep):
    """Says NUL and half a surrogate pair wherever a step may say something."""
    def __init__(self, **kwargs):
        super().__init__(**self.setupShellMixin(kwargs, prohibitArgs=["command"]))
    async def run(self):
        self.description = "running \0 \udcff"
        await self.updateSummary()
        log = await self.addLog("log \0 \udcff")
        log.addStdout("line \0 \udcff\n")
        await self.addURL("url \0 \udcff", "http://localhost/\0\udcff")
        self.setProperty("odd \0", "value \0", "source \0")
        try:
            self.setProperty("half", "\udcff")
        except ValueError as error:
            self.setProperty("refused", str(error))
        await self.runCommand(await self.makeRemoteShellCommand(command=["printf", "%s", b"\xff"]))
        self.descriptionDone = "done \0 \udcff"
        return util.FAILURE
    def getResultSummary(self):
        return {"step": "step \0 \udcff", "build": "build \0 \udcff"}

builder("b", Odd(name=util.Interpolate("odd %(prop:text)s")), properties={"text": "\0 more"})
'''


async def test_texts_that_no_database_holds(tmp_path: Path, db_url: str) -> None:
    async with farm(tmp_path) as made:
        await ready(made, f"c['db_url'] = {db_url!r}\n{ODD}", "w")
        await force(made, "b")
        (build,) = await done(made)
        assert build["results"] == 2
        assert build["state_string"].startswith("failed build ")
        (step,) = (await made.api.get(f"builds/{build['buildid']}/steps"))["steps"]
        assert step["state_string"].startswith("step ")
        assert step["name"].startswith("odd ")
        assert [url["name"][:4] for url in step["urls"]] == ["url "]
        logs = (await made.api.get(f"steps/{step['stepid']}/logs"))["logs"]
        assert [log["name"][:5] for log in logs] == ["log \ufffd", "stdio"]
        assert await made.api.raw(f"logs/{logs[0]['logid']}/raw", stream="stdout") == b"line \0 \xff\n"
        assert await made.api.raw(f"logs/{logs[1]['logid']}/raw", stream="stdout") == b"\xff"
        properties = (await made.api.get(f"builds/{build['buildid']}/properties"))["properties"][0]
        assert properties["odd \0"] == ["value \0", "source \0"]
        assert "not UTF-8 can't be stored" in properties["refused"][0]
        no_traceback(made)


BROKEN = r"""
class Broken(steps.ShellMixin, steps.BuildStep):
    '''Has something written that no database takes, while a command runs that would never end.'''
    def __init__(self, **kwargs):
        super().__init__(**self.setupShellMixin(kwargs, prohibitArgs=["command"]))
    async def run(self):
        command = await self.makeRemoteShellCommand(command=[PYTHON, JOB, "broken", "600", LEDGER])
        self._run.writer.call(lambda: (yield object()))
        await self.runCommand(command)
        return util.SUCCESS

class Later(Broken):
    async def run(self):
        command = await self.makeRemoteShellCommand(command=[PYTHON, JOB, "later", "600", LEDGER])
        self.addLogObserver("stdio", Break(self))
        await self.runCommand(command)
        return util.SUCCESS

class Break(util.LogLineObserver):
    def __init__(self, broken):
        super().__init__()
        self.broken = broken
    def outLineReceived(self, line):
        if "line 11 " in line:
            self.broken._run.writer.call(lambda: (yield object()))

builder("broken", Broken(name="x"), steps.ShellCommand(command=["true"]))
builder("later", Later(name="x"), steps.ShellCommand(command=["true"]))
builder("good", job("good", 0.1))
"""


async def test_a_defect_leaves_no_build_open(tmp_path: Path, db_url: str) -> None:
    """A write that the database refuses for good is our own defect; the build ends all the same."""
    async with farm(tmp_path) as made:
        await ready(made, f"c['db_url'] = {db_url!r}\n{BROKEN}", "w")
        await force(made, "broken")
        await force(made, "later")
        builds = await done(made, 2)
        for build in builds:
            assert build["results"] == 4, build
            assert "internal error, see the master's log" in build["state_string"]
            steps = (await made.api.get(f"builds/{build['buildid']}/steps"))["steps"]
            assert all(step["complete"] for step in steps), steps
        assert told(made).count("a build's writer failed") == 2
        assert _running(made) == [], "the commands are killed"
        await force(made, "good")
        assert [build["results"] for build in await done(made, 3)] == [4, 4, 0]


def _running(made: Farm) -> list[tuple[str, str]]:
    starts = {job: made.ledger / f"{job}.starts" for job in ("broken", "later") if made.starts(job)}
    pids = [(job, pid) for job, path in starts.items() for pid in path.read_text().split()]
    return [(job, pid) for job, pid in pids if alive(pid)]
