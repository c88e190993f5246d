"""Reports of test runners, read from the worker into the build's test results."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar

from buildwright.builds.commands import RemoteCommand
from buildwright.builds.step import BuildStep
from buildwright.model.errors import error, expect, shown, suggest
from buildwright.model.renderable import is_renderable
from buildwright.model.results import CANCELLED, FAILURE, PASS_FAIL, SUCCESS, WARNINGS
from buildwright.steps.composite import CONTENT_MOST, Collected, CompositeStepMixin
from buildwright.steps.reports.case import FAILED, PASSED, SKIPPED, Case, Malformed
from buildwright.steps.reports.formats import READERS, told

AT_ONCE = 1000  # results that are added before the loop and the store get their turn
TOLD_MOST = 200  # failures that are named in the step's log


class TestResults(CompositeStepMixin, BuildStep):
    """Reads reports of test runners from the worker, and keeps a result for each test.

    ``path`` is a file, a pattern like ``reports/*.xml``, or a list of those, in the step's working
    directory. ``format`` is one of ctest, junit, pytest, subunit, tap, trial; by default each file's content
    tells it. The step fails if a test failed, and warns if a report is missing or can't be read to its end.

    Example::

        factory.addStep(steps.TestResults(path="reports/*.xml", format="junit", alwaysRun=True))
    """

    __test__ = False  # pytest's sign: this is no test case

    name = "test results"
    alwaysRun = True  # above all when the tests failed
    warnOnWarnings = True
    restartable = True
    renderables: ClassVar[Sequence[str]] = ("path", "format")

    def __init__(
        self, path: Any = None, format: Any = None, maxsize: int = CONTENT_MOST, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.format = format
        self.maxsize = maxsize
        kind = f"step {type(self).__name__}"
        if path is None:
            error(f"{kind} has no path", "give it the report's path at the worker")
        elif not is_renderable(path):
            expect(path, (str, list, tuple), f"{kind}: path", "a path or a list of paths")
        if format is not None and not is_renderable(format) and format not in [*READERS]:
            hint = suggest(format, READERS) or f"there are {', '.join(READERS)}"
            error(f"{kind}: there is no format {shown(format)}", hint)
        expect(maxsize, int, f"{kind}: maxsize", "a number of bytes")
        self._counts = dict.fromkeys((PASSED, FAILED, SKIPPED), 0)
        self._problems = 0
        self._sets: dict[str, int] = {}

    async def run(self) -> int:
        if self.format is not None and self.format not in READERS:
            raise ValueError(f"there is no format {self.format!r}; there are {', '.join(READERS)}")
        paths = [self.path] if isinstance(self.path, str) else list(self.path)
        for path in paths:
            for file in await self._files(path):
                data = await self._fetch(file)
                if self.stopped:
                    return CANCELLED
                if data is not None:
                    await self._take(file, data)
        passed, failed = self._counts[PASSED], self._counts[FAILED]
        for what, count in (("total", passed + failed), ("failed", failed), ("passed", passed)):
            self.setStatistic(f"tests-{what}", count)
        if failed:
            return FAILURE
        return WARNINGS if self._problems else SUCCESS

    async def _files(self, path: str) -> list[str]:
        """The files that a path or pattern names, relative to the builder's directory or absolute."""
        whole = posixpath.join(self.workdir or self.build.workdir, path)
        if not any(char in path for char in "*?["):
            return [whole]
        found = sorted(await self.runGlob(whole, abandonOnFailure=False))
        if not found:
            self._warn(f"no file matches {path}")
        return found

    async def _fetch(self, file: str) -> bytes | None:
        blocks = Collected()
        command = RemoteCommand("upload", {"path": self.build.path(file), "maxsize": self.maxsize})
        command.blocks = blocks
        await self.runCommand(command)
        if command.results() == SUCCESS:
            return bytes(blocks.data)
        if not command.interrupted:
            self._warn(f"{file} can't be read")
        return None

    async def _take(self, file: str, data: bytes) -> None:
        """Keep what a report says."""
        cases, problem = await self._run.waits.serve(asyncio.to_thread(read_all, data, self.format))
        rest = iter(cases)
        while part := list(islice(rest, AT_ONCE)):
            for each in part:
                self._keep(each)
            await self._run.waits.serve(self._run.test_results.drain())
        if problem is not None:
            self._warn(f"{file}: {problem}")
        self.updateSummary()

    def _keep(self, each: Case) -> None:
        self._counts[each.outcome] += 1
        if each.outcome == FAILED and self._counts[FAILED] <= TOLD_MOST:
            first = (each.message or "").partition("\n")[0]
            self._run.log("stdio").addStdout(f"FAILED {each.name}{': ' if first else ''}{first}\n")
        if each.outcome == SKIPPED:
            setid = self._set("skip_only", "message")
            self.addTestResult(setid, each.message or "", each.name, each.path, each.line, each.duration_ns)
        else:
            value = "1" if each.outcome == PASSED else "0"
            setid = self._set(PASS_FAIL, "boolean")
            self.addTestResult(setid, value, each.name, each.path, each.line, each.duration_ns, each.message)

    def _set(self, category: str, unit: str) -> int:
        if category not in self._sets:
            self._sets[category] = self._run.test_results.add_set(self.name, category, unit)
        return self._sets[category]

    def _warn(self, text: str) -> None:
        self._problems += 1
        self._run.log("stdio").addStderr(text + "\n")

    def getCurrentSummary(self) -> dict[str, str]:
        return super().getCurrentSummary() if self.description else {"step": self._told()}

    def getResultSummary(self) -> dict[str, str]:
        if self.description or self.descriptionDone:
            return super().getResultSummary()
        return self._with_result(self._told())

    def _told(self) -> str:
        total = sum(self._counts.values())
        words = [f"{total} test{'s' * (total != 1)}"]
        words += [f"{self._counts[what]} {what}" for what in (FAILED, SKIPPED) if self._counts[what]]
        if self._problems:
            words.append(f"{self._problems} report{'s' * (self._problems != 1)} not read to the end")
        return ", ".join(words)


def read_all(data: bytes, format: str | None) -> tuple[list[Case], str | None]:
    """The cases of a report, and why there may be more that can't be read."""
    cases: list[Case] = []
    try:
        reading: Iterator[Case] = (told(data) if format is None else READERS[format])(data)
        for each in reading:
            cases.append(each)  # noqa: PERF402 - what came before a malformed part is kept
    except Malformed as problem:
        return cases, str(problem)
    return cases, None
