"""Test suites whose results are counted: ``make test``, Perl's ``prove``."""

from __future__ import annotations

import re
from typing import Any

from buildwright.builds.commands import RemoteShellCommand
from buildwright.builds.observers import STDOUT, LogBlockObserver
from buildwright.model.results import CANCELLED, FAILURE, WARNINGS, worst_status
from buildwright.steps.warnings import WarningCountingShellCommand

COUNTERS = ("total", "failed", "passed", "warnings")


class Test(WarningCountingShellCommand):
    """Runs ``make test``. A subclass that knows the numbers of tests tells them by ``setTestResults``.

    Example::

        factory.addStep(steps.Test(command=["make", "check"], maxTime=1800))
    """

    __test__ = False  # pytest's sign: this is no test case

    name = "test"
    warnOnFailure = True
    description = "testing"
    descriptionDone = "test"
    command: Any = ("make", "test")

    def setTestResults(self, total: int = 0, failed: int = 0, passed: int = 0, warnings: int = 0) -> None:
        """Add to the step's numbers of tests: its statistics tests-total, tests-failed and so on."""
        for name, count in zip(COUNTERS, (total, failed, passed, warnings), strict=True):
            key = f"tests-{name}"
            self.setStatistic(key, self.getStatistic(key, 0) + count)

    def _with_result(self, text: str) -> dict[str, str]:
        return super()._with_result(with_test_counts(self, text))


def with_test_counts(step: Any, text: str) -> str:
    """A step's summary with its numbers of tests, if it has any."""
    if not step.hasStatistic("tests-total"):
        return text
    counts = {name: step.getStatistic(f"tests-{name}", 0) for name in COUNTERS}
    words = [f"{counts['total']} test{'s' * (counts['total'] != 1)}"]
    words += [f"{counts[name]} {name}" for name in ("passed", "failed") if counts[name]]
    if counts["warnings"]:
        words.append(f"{counts['warnings']} warning{'s' * (counts['warnings'] != 1)}")
    return " ".join([text, *words]).lstrip()


class ProveObserver(LogBlockObserver):
    """Reads the summary that ``prove`` ends with.

    Per troubled file there is a line ``t/a.t (Wstat: 256 Tests: 3 Failed: 1)``, then one with numbers and
    ranges of tests that passed unexpectedly; the last lines are ``Files=2, Tests=6, ...`` and the result.
    """

    _FILE = re.compile(rb"^\S.*\(Wstat: \d+.* Tests: \d+ Failed: (\d+)\)", re.MULTILINE)
    _SURPRISES = re.compile(rb"^  TO[D]O passed:\s+([\d, -]+)", re.MULTILINE)
    _TOTAL = re.compile(rb"^Files=\d+, Tests=(\d+),", re.MULTILINE)

    def __init__(self) -> None:
        super().__init__()
        self.total: int | None = None
        self.failed = 0
        self.surprises = 0  # tests that passed although they were not expected to
        self._summary = False

    def blockReceived(self, stream: str, block: bytes) -> None:
        if stream != STDOUT:
            return
        if not self._summary:
            start = block.find(b"Test Summary Report\n")
            self._summary = start >= 0
            if not self._summary:
                start = block.find(b"Files=")
            if start < 0:
                return
            block = block[block.rfind(b"\n", 0, start) + 1 :]
        self.failed += sum(int(count) for count in self._FILE.findall(block))
        self.surprises += sum(_how_many(numbers) for numbers in self._SURPRISES.findall(block))
        total = self._TOTAL.search(block)
        if total is not None:
            self.total = int(total[1])


def _how_many(numbers: bytes) -> int:
    """How many numbers there are in "2, 4-6"."""
    count = 0
    for part in numbers.split(b","):
        first, _, last = part.strip().partition(b"-")
        count += int(last or first) - int(first) + 1
    return count


class PerlModuleTest(Test):
    """Runs ``prove`` on the tests of a Perl module, and counts them.

    Example::

        factory.addStep(steps.PerlModuleTest(command=["prove", "--lib", "lib", "-r", "t"]))
    """

    command = ("prove", "--lib", "lib", "-r", "t")

    async def run(self) -> int:
        self._proved = ProveObserver()
        self.addLogObserver("stdio", self._proved)
        return await super().run()

    async def _examine(self, command: RemoteShellCommand) -> None:
        await super()._examine(command)
        found = self._proved
        found.flush()
        if found.total is not None:
            passed = max(0, found.total - found.failed)
            self.setTestResults(found.total, found.failed, passed, found.surprises)

    def evaluateCommand(self, cmd: RemoteShellCommand) -> Any:
        result = super().evaluateCommand(cmd)
        if result == CANCELLED:
            return result
        if self._proved.failed:
            return FAILURE
        return worst_status(result, WARNINGS) if self._proved.surprises else result
