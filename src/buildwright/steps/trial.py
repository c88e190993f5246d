"""Twisted's test runner."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from buildwright.builds.commands import RemoteShellCommand
from buildwright.builds.observers import STDOUT, LogBlockObserver
from buildwright.model.errors import error, shown
from buildwright.model.renderable import is_renderable
from buildwright.steps.arguments import expect_flags, expect_texts, expect_words
from buildwright.steps.issues import Kept, with_count
from buildwright.steps.shell import Tool

UNSET: Any = ()

# What trial's last line counts, and how a summary says it.
COUNTERS = {
    "failures": "failure",
    "errors": "error",
    "skips": "skip",
    "expectedFailures": "todo",
    "unexpectedSuccesses": "surprise",
}


class TrialObserver(LogBlockObserver):
    """Reads what trial ends with: problems after a double line, ``Ran 3 tests in 0.1s``, and
    ``FAILED (failures=1, skips=2)``.
    """

    _RAN = re.compile(r"Ran (\d+) tests? in ")
    _END = re.compile(r"(?:PASSED|FAILED|OK)(?: \((.*)\))?$")
    _RULE = "=" * 79

    def __init__(self) -> None:
        super().__init__()
        self.total: int | None = None
        self.counts = dict.fromkeys(COUNTERS, 0)
        self.problems = Kept()
        self._in_problems = False

    def blockReceived(self, stream: str, block: bytes) -> None:
        if stream != STDOUT or not (
            self._in_problems or self.total is not None or b"=====" in block or b"Ran " in block
        ):
            return
        for raw in block.removesuffix(b"\n").split(b"\n"):
            self._line(raw.decode("utf-8", "replace").rstrip("\r"))

    def _line(self, line: str) -> None:
        ran = self._RAN.match(line)
        if ran is not None:
            self.total = (self.total or 0) + int(ran[1])
            self._in_problems = False
        elif self._in_problems:
            self.problems.add(line)
        elif line == self._RULE:
            self._in_problems = True
            self.problems.add(line)
        elif self.total is not None and (end := self._END.match(line)):
            for part in (end[1] or "").split(", "):
                name, _, count = part.partition("=")
                if name in self.counts and count.isdecimal():
                    self.counts[name] += int(count)


class Trial(Tool):
    """Runs ``trial`` and counts tests.

    ``testpath`` is put first into PYTHONPATH; None leaves that as it is. What to test is ``tests``, a name or
    a list of them, or with ``testChanges`` the Python files that the build's changes are about. ``jobs`` runs
    that many at a time; then there is a log ``test.N.log`` of each, otherwise one ``test.log``. Failures and
    errors are also in the log ``problems``.

    Example::

        factory.addStep(steps.Trial(tests="project.test", jobs=4, testpath="src"))
    """

    name = "trial"
    description = "testing"
    descriptionDone = "trial"
    python: Any = None
    trial: Any = "trial"
    trialMode: Any = ("--reporter=bwverbose",)
    trialArgs: Any = ()
    reactor: Any = None
    testpath: Any = UNSET
    tests: Any = None
    testChanges: Any = False
    recurse: Any = False
    randomly: Any = False
    jobs: Any = None
    renderables: ClassVar[Sequence[str]] = ("tests", "jobs")

    def __init__(
        self,
        reactor: Any = UNSET,
        python: Any = None,
        trial: Any = None,
        testpath: Any = UNSET,
        tests: Any = None,
        testChanges: Any = None,
        recurse: Any = None,
        randomly: Any = None,
        trialMode: Any = None,
        trialArgs: Any = None,
        jobs: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if reactor is not UNSET:
            self.reactor = reactor
        if testpath is not UNSET:
            self.testpath = testpath
        given = {
            "python": python,
            "trial": trial,
            "tests": tests,
            "testChanges": testChanges,
            "recurse": recurse,
            "randomly": randomly,
            "trialMode": trialMode,
            "trialArgs": trialArgs,
            "jobs": jobs,
        }
        for name, value in given.items():
            if value is not None:
                setattr(self, name, value)
        self._found = TrialObserver()
        kind = f"step {type(self).__name__}"
        expect_texts(kind, trial=self.trial, reactor=self.reactor, testpath=testpath or None)
        expect_words(kind, python=python, tests=tests, trialMode=trialMode, trialArgs=trialArgs)
        expect_flags(kind, testChanges=testChanges, recurse=recurse, randomly=randomly)
        if self.testpath is UNSET:
            error(f"{kind} has no testpath", "give it the directory with the package, or None")
        if not self.tests and not self.testChanges:
            error(f"{kind} has nothing to test", "give it tests='package' or testChanges=True")
        if self.jobs is not None and not is_renderable(self.jobs) and not _is_count(self.jobs):
            error(f"{kind}: jobs must be a number of 1 or more, not {shown(self.jobs)}", "as in jobs=4")

    def words(self) -> list[Any]:
        words = [self.python, self.trial, self.trialMode]
        if self.reactor:
            words.append(f"--reactor={self.reactor}")
        if self.recurse:
            words.append("--recurse")
        if self.randomly:
            words.append("--random=0")
        if self.jobs:
            words.append(f"--jobs={self.jobs}")
        words.append(self.trialArgs)
        if self.testChanges:
            return [
                *words,
                *(f"--testmodule={file}" for file in self.build.allFiles() if file.endswith(".py")),
            ]
        return [*words, self.tests]

    async def run(self) -> int:
        if self.testpath:
            inherited = await self.render(self.build.env)
            before = (self.env or {}).get("PYTHONPATH", inherited.get("PYTHONPATH", []))
            path = [self.testpath, *([before] if isinstance(before, str) else before)]
            self.env = {**(self.env or {}), "PYTHONPATH": path}
        if self.jobs:
            logs = {f"test.{job}.log": f"_trial_temp/{job}/test.log" for job in range(int(self.jobs))}
        else:
            logs = {"test.log": "_trial_temp/test.log"}
        self.logfiles = {**logs, **(self.logfiles or {})}
        self.lazylogfiles = True
        self.addLogObserver("stdio", self._found)
        return await super().run()

    async def _examine(self, command: RemoteShellCommand) -> None:
        await super()._examine(command)
        found = self._found
        found.flush()
        found.problems.write(self, "problems")
        if found.total is not None:
            failed = found.counts["failures"] + found.counts["errors"]
            self.setStatistic("tests-total", found.total)
            self.setStatistic("tests-failed", failed)
            self.setStatistic("tests-passed", max(0, found.total - failed - found.counts["skips"]))

    def _with_result(self, text: str) -> dict[str, str]:
        found = self._found
        if found.total is not None:
            text = with_count(text, found.total, "test") if found.total else f"{text} no tests".lstrip()
            for name, said in COUNTERS.items():
                text = with_count(text, found.counts[name], said)
        return super()._with_result(text)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
