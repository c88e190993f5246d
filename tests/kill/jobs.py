"""Builds that are killed in the middle of everything: source, trigger, transfers, a custom step of several
commands.
"""

from __future__ import annotations

from pathlib import Path

from tests.support.processes import Farm, eventually

CUSTOM = '''
import re, time
from buildwright.plugins import *

class Counting(util.LogLineObserver):
    def __init__(self):
        super().__init__()
        self.lines = 0
    def outLineReceived(self, line):
        self.lines += 1

@util.renderer
def clock(props):
    return str(time.time_ns())

class Three(steps.ShellMixin, steps.BuildStep):
    """Three commands with an observer, a property that is set twice, a clock in a renderable, a log of its
    own.
    """
    name = "three"
    def __init__(self, **kwargs):
        kwargs = self.setupShellMixin(kwargs, prohibitArgs=["command"])
        super().__init__(**kwargs)
        self.stamp = clock
    renderables = ["stamp"]
    async def run(self):
        seen = Counting()
        self.addLogObserver("stdio", seen)
        own = await self.addLog("own")
        self.setProperty("phase", "first", "three")
        counts = []
        for number in (1, 2, 3):
            own.addStdout(f"before command {number}, stamp {self.stamp}\\n")
            cmd = await self.makeRemoteShellCommand(
                command=[PYTHON, JOB, f"three{number}", SECONDS, LEDGER], collectStdout=(number == 2))
            await self.runCommand(cmd)
            counts.append(seen.lines)
            own.addStdout(f"after command {number}: {seen.lines} lines, rc {cmd.rc}\\n")
            if number == 2:
                self.setProperty("second", len(cmd.stdout), "three")
            if cmd.results() != util.SUCCESS:
                return cmd.results()
        self.setProperty("phase", "last", "three")
        self.setProperty("counts", counts, "three")
        self.setProperty("stamp", self.stamp, "three")
        return util.SUCCESS
'''

CONFIG = """
c = BuildmasterConfig = {}
c['workers'] = [worker.Worker("w", "pw")]
c['builders'] = [
    util.BuilderConfig(name="custom", workernames=["w"], factory=util.BuildFactory([Three()])),
    util.BuilderConfig(name="parent", workernames=["w"], factory=util.BuildFactory([
        steps.ShellCommand(name="pause", command=[PYTHON, JOB, "pause", SECONDS, LEDGER]),
        steps.Trigger(schedulerNames=["children"], waitForFinish=True),
    ])),
    util.BuilderConfig(name="child1", workernames=["w"], factory=util.BuildFactory([
        steps.ShellCommand(name="job", command=[PYTHON, JOB, "child1", SECONDS, LEDGER])])),
    util.BuilderConfig(name="child2", workernames=["w"], factory=util.BuildFactory([
        steps.ShellCommand(name="job", command=[PYTHON, JOB, "child2", SECONDS, LEDGER])])),
    util.BuilderConfig(name="source", workernames=["w"], factory=util.BuildFactory([
        steps.Git(repourl=REPO, mode="full", method="clobber"),
        steps.ShellCommand(name="look", command=["git", "status", "--porcelain"]),
        steps.ShellCommand(name="make", command=["dd", "if=/dev/zero", "of=big", "bs=1M", "count=64"]),
        steps.FileUpload(workersrc="big", masterdest="uploads/big", blocksize=65536),
        steps.DirectoryUpload(workersrc=".git", masterdest="uploads/tree", compress="bz2"),
        steps.ShellCommand(name="job", command=[PYTHON, JOB, "source", SECONDS, LEDGER]),
    ])),
]
c['schedulers'] = [
    schedulers.ForceScheduler(name="force", builderNames=["custom", "parent", "source"]),
    schedulers.Triggerable(name="children", builderNames=["child1", "child2"]),
]
c['www'] = {'port': PORT}
"""


def configure(made: Farm, repository: Path, seconds: float) -> None:
    made.configure(f"REPO = {str(repository)!r}\nSECONDS = {str(seconds)!r}\n{CUSTOM}{CONFIG}")


async def force_all(made: Farm) -> None:
    for builder in ("custom", "parent", "source"):
        await made.api.force("force", builderNames=[builder])


async def check_all(made: Farm, seconds: float = 120) -> None:
    """All that these builds promise, whatever happened to their master."""
    builds = await eventually(lambda: made.api.builds_done(4), "all buildsets are done", seconds)
    api = made.api
    names = {each["builderid"]: each["name"] for each in (await api.get("builders"))["builders"]}
    by_name = {names[build["builderid"]]: build for build in builds}
    assert sorted(names[build["builderid"]] for build in builds) == [
        "child1",
        "child2",
        "custom",
        "parent",
        "source",
    ], "one build of each, one set of children"
    for name, build in by_name.items():
        assert build["results"] == 0, (name, build)
    custom = by_name["custom"]["buildid"]
    (properties,) = (await api.get(f"builds/{custom}/properties"))["properties"]
    printed = [made.printed(f"three{number}", "out") for number in (1, 2, 3)]
    assert [made.starts(f"three{number}") for number in (1, 2, 3)] == [1, 1, 1]
    stored = await api.stream(custom, "three", "stdio", "stdout")
    assert stored == b"".join(printed)
    lines = [(b"".join(printed[:count])).count(b"\n") for count in (1, 2, 3)]
    assert properties["counts"][0] == lines, "the observer has seen what an undisturbed one would"
    assert properties["phase"][0] == "last"
    assert properties["second"][0] == len(printed[1])
    own = (await api.stream(custom, "three", "own", "stdout")).decode()
    stamp = properties["stamp"][0]
    expected = "".join(
        f"before command {n}, stamp {stamp}\nafter command {n}: {lines[n - 1]} lines, rc 0\n"
        for n in (1, 2, 3)
    )
    assert own == expected, "the step's own lines are there once, with the clock of its start"
    await made.check_job(by_name["parent"]["buildid"], "pause", "pause")
    for child in ("child1", "child2"):
        await made.check_job(by_name[child]["buildid"], "job", child)
    await made.check_job(by_name["source"]["buildid"], "job", "source")
    uploaded = made.basedir / "uploads" / "big"
    assert uploaded.stat().st_size == 64 * 1024 * 1024
    assert _files(uploaded.parent / "tree") == _files(made.directory / "workers/w/source/build/.git")
    there = sorted(path.name for path in uploaded.parent.iterdir())
    assert there == ["big", "tree"], "no half files are left"


def _files(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }
