"""A command that tells of its tests in a subunit stream."""

from __future__ import annotations

import asyncio
from typing import Any

from buildwright.builds.commands import RemoteShellCommand
from buildwright.builds.observers import STDOUT, LogObserver
from buildwright.model.results import CANCELLED, FAILURE, PASS_FAIL, SUCCESS, WARNINGS, worst_status
from buildwright.steps.arguments import expect_flags
from buildwright.steps.issues import Kept
from buildwright.steps.reports.case import FAILED, PASSED, SKIPPED, Case
from buildwright.steps.shell import ShellCommand
from buildwright.steps.testresults import read_all
from buildwright.steps.tests import with_test_counts

STREAM_MOST = 64 * 1024 * 1024  # bytes


class StreamObserver(LogObserver):
    """Keeps the bytes of standard output."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.too_much = False

    def feed(self, stream: str, data: bytes) -> None:
        if stream != STDOUT:
            return
        self.too_much = self.too_much or len(self.data) + len(data) > STREAM_MOST
        if not self.too_much:
            self.data += data


class SubunitShellCommand(ShellCommand):
    """Runs ``command``, whose standard output is a subunit stream of version 1 or 2.

    Each test has a result in the build's test results; what went wrong is in the log ``problems``. A failed
    test makes the step fail, and so do no tests at all with ``failureOnNoTests``; a stream that can't be read
    to its end is a warning.

    Example::

        factory.addStep(
            steps.SubunitShellCommand(command=["stestr", "run", "--subunit"], failureOnNoTests=True)
        )
    """

    description = "testing"
    descriptionDone = "test"

    def __init__(self, failureOnNoTests: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        expect_flags(f"step {type(self).__name__}", failureOnNoTests=failureOnNoTests)
        self.failureOnNoTests = failureOnNoTests
        self._stream = StreamObserver()
        self._counts = dict.fromkeys((PASSED, FAILED, SKIPPED), 0)
        self._problems = Kept()
        self._sets: dict[str, int] = {}
        self._unread: str | None = None

    async def run(self) -> int:
        self.addLogObserver("stdio", self._stream)
        return await super().run()

    async def _examine(self, command: RemoteShellCommand) -> None:
        await super()._examine(command)
        data = bytes(self._stream.data)
        if data.strip():
            reading = asyncio.to_thread(read_all, data, "subunit")
            cases, self._unread = await self._run.waits.serve(reading)
            for each in cases:
                await self._keep(each)
        if self._stream.too_much:
            self._unread = f"it has more than {STREAM_MOST // 2**20} MiB"
        if self._unread is not None:
            self._problems.add(f"the stream of results can't be read to its end: {self._unread}")
        self._problems.write(self, "problems")
        passed, failed = self._counts[PASSED], self._counts[FAILED]
        self.setStatistic("tests-total", sum(self._counts.values()))
        self.setStatistic("tests-passed", passed)
        self.setStatistic("tests-failed", failed)

    async def _keep(self, each: Case) -> None:
        self._counts[each.outcome] += 1
        if each.outcome == SKIPPED:
            setid = await self._set_of("skip_only", "message")
            self.addTestResult(setid, each.message or "", each.name, duration_ns=each.duration_ns)
            return
        if each.outcome == FAILED:
            self._problems.add(f"FAILED {each.name}")
            if each.message:
                self._problems.add(each.message)
        value = "1" if each.outcome == PASSED else "0"
        setid = await self._set_of(PASS_FAIL, "boolean")
        self.addTestResult(setid, value, each.name, duration_ns=each.duration_ns, message=each.message)

    async def _set_of(self, category: str, unit: str) -> int:
        if category not in self._sets:
            self._sets[category] = await self.addTestResultSet(self.name, category, unit)
        return self._sets[category]

    def evaluateCommand(self, cmd: RemoteShellCommand) -> Any:
        result = cmd.results()
        if result == CANCELLED:
            return result
        if self._counts[FAILED] or (self.failureOnNoTests and not any(self._counts.values())):
            return FAILURE
        return worst_status(result, SUCCESS if self._unread is None else WARNINGS)

    def _with_result(self, text: str) -> dict[str, str]:
        return super()._with_result(with_test_counts(self, text) if "_run" in self.__dict__ else text)
