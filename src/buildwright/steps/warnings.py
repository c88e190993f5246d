"""Command lines whose output is searched for warnings.

Output is looked through in blocks as it comes. Most lines are no warnings, and most patterns hold some plain
text ("warning"), so a block is searched for that text first; only lines that have it are decoded and matched.
A pattern without such a text is matched with every line.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

from buildwright.builds.commands import RemoteShellCommand
from buildwright.builds.observers import HEADER, LogBlockObserver
from buildwright.model.errors import error, expect, shown
from buildwright.model.renderable import is_plain, is_renderable
from buildwright.model.results import CANCELLED, FAILURE, SUCCESS, WARNINGS, worst_status
from buildwright.steps.issues import Kept, with_count
from buildwright.steps.patterns import plain_text_in
from buildwright.steps.shell import ShellCommand

UNSET: Any = object()

Warned = tuple[str | None, int | None, str]


class Suppression(NamedTuple):
    """Warnings that don't count: whose file and text match, within these lines. None matches anything."""

    file: re.Pattern[str] | None
    text: re.Pattern[str] | None
    first: int | None
    last: int | None

    def covers(self, file: str | None, line: int | None, text: str) -> bool:
        if self.file is not None and not (file and self.file.search(file)):
            return False
        if self.text is not None and not self.text.search(text):
            return False
        if self.first is None and self.last is None:
            return True
        if line is None:
            return False
        return (self.first is None or self.first <= line) and (self.last is None or line <= self.last)


_SUPPRESSION = re.compile(r"(?P<file>.+?)\s+:\s+(?P<text>.+?)(?:\s+:\s+(?P<first>\d+)(?:-(?P<last>\d+))?)?")


def parse_suppressions(text: str) -> list[Suppression]:
    """A suppression file: ``file : text : first-last`` a line, where ``file`` and ``text`` are patterns and
    the lines may be left out. Raises ValueError, with the line's number.
    """
    found = []
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if not line or line.startswith("#"):
            continue
        parts = _SUPPRESSION.fullmatch(line)
        if parts is None:
            raise ValueError(f"line {number} is not 'file : text' or 'file : text : first-last'")
        first = int(parts["first"]) if parts["first"] else None
        last = int(parts["last"]) if parts["last"] else first
        try:
            found.append(Suppression(re.compile(parts["file"]), re.compile(parts["text"]), first, last))
        except re.error as bad:
            raise ValueError(f"line {number} has a pattern that is none: {bad}") from None
    return found


class WarningObserver(LogBlockObserver):
    """Finds the warnings in a log. ``extract(line, match)`` says where a warning is from and what it says."""

    def __init__(
        self,
        warning: re.Pattern[str],
        enter: re.Pattern[str] | None,
        leave: re.Pattern[str] | None,
        extract: Callable[[str, re.Match[str]], Warned],
        suppressions: Sequence[Suppression],
    ) -> None:
        super().__init__()
        self.warnings = Kept()
        self._warning = warning
        self._enter = enter
        self._leave = leave
        self._extract = extract
        self._suppressions = suppressions
        self._directories: list[str] = []
        # Without suppressions nobody asks for a warning's file, so nobody needs its directory.
        patterns = [warning, *(each for each in (enter, leave) if each is not None and suppressions)]
        texts = [plain_text_in(pattern) for pattern in patterns]
        self._texts = None if None in texts else [text for text in texts if text is not None]

    def blockReceived(self, stream: str, block: bytes) -> None:
        if stream == HEADER:
            return
        for line in self._suspects(block):
            self._look_at(line.decode("utf-8", "replace").rstrip("\r"))

    def _suspects(self, block: bytes) -> Iterator[bytes]:
        if self._texts is None:
            yield from block.removesuffix(b"\n").split(b"\n")
            return
        lower = block.lower()
        found: dict[int, int] = {}  # lines by their starts: their ends
        for text in self._texts:
            place = lower.find(text)
            while place >= 0:
                start = block.rfind(b"\n", 0, place) + 1
                end = block.find(b"\n", place)
                end = len(block) if end < 0 else end
                found[start] = end
                place = lower.find(text, end)
        for start in sorted(found):
            yield block[start : found[start]]

    def _look_at(self, line: str) -> None:
        if self._suppressions:
            entered = self._enter.search(line) if self._enter is not None else None
            if entered is not None:
                self._directories.append(entered.group(1))
                return
            if self._leave is not None and self._leave.search(line):
                if self._directories:
                    self._directories.pop()
                return
        match = self._warning.match(line)
        if match is None or (self._suppressions and self._is_suppressed(line, match)):
            return
        self.warnings.add(line)

    def _is_suppressed(self, line: str, match: re.Match[str]) -> bool:
        file, number, text = self._extract(line, match)
        if file and self._directories:
            file = posixpath.join(self._directories[-1], file)
        return any(each.covers(file, number, text) for each in self._suppressions)


class WarningCountingShellCommand(ShellCommand):
    """Runs ``command`` and counts the lines of its output that match ``warningPattern`` from their beginning.

    The lines are in the log ``warnings (N)``; their number is added to the property ``warnings-count``. With
    warnings the result is WARNINGS; with more than ``maxWarnCount`` of them it is FAILURE.

    Not counted is what ``suppressionList`` names, a list of (file pattern, text pattern, first line, last
    line), or a ``suppressionFile`` at the worker with lines ``file : text : first-last``. For that
    ``warningExtractor(step, line, match)`` gives a warning's (file, line number, text); what
    ``directoryEnterPattern`` and ``directoryLeavePattern`` match says which directory the files are in.

    Example::

        factory.addStep(
            steps.WarningCountingShellCommand(
                name="lint", command=["make", "lint"], warningPattern=".*: (warning|note): ", maxWarnCount=20
            )
        )
    """

    name = "generic"
    warningPattern: Any = "(?i).*warning[: ].*"
    directoryEnterPattern: Any = r".*make.*: Entering directory [\"'`](.*)[\"'`]"
    directoryLeavePattern: Any = r".*make.*: Leaving directory"
    suppressionFile: Any = None
    suppressionList: Any = ()
    maxWarnCount: Any = None
    warnCount = 0

    renderables: ClassVar[Sequence[str]] = (
        "warningPattern",
        "maxWarnCount",
        "directoryEnterPattern",
        "directoryLeavePattern",
        "suppressionFile",
        "suppressionList",
    )

    def __init__(
        self,
        warningPattern: Any = UNSET,
        warningExtractor: Any = None,
        maxWarnCount: Any = None,
        directoryEnterPattern: Any = None,
        directoryLeavePattern: Any = None,
        suppressionFile: Any = None,
        suppressionList: Any = None,
        **kwargs: Any,
    ) -> None:
        if warningPattern is not UNSET:
            self.warningPattern = warningPattern
        for name, value in (
            ("maxWarnCount", maxWarnCount),
            ("directoryEnterPattern", directoryEnterPattern),
            ("directoryLeavePattern", directoryLeavePattern),
            ("suppressionFile", suppressionFile),
            ("suppressionList", suppressionList),
        ):
            if value is not None:
                setattr(self, name, value)
        super().__init__(**kwargs)
        kind = f"step {type(self).__name__}"
        if warningExtractor is not None and not callable(warningExtractor):
            error(
                f"{kind}: warningExtractor must be a function, not {shown(warningExtractor)}",
                "one of (step, line, match) that gives (file, line number, text)",
            )
        self._extractor: Callable[[Any, str, re.Match[str]], Warned] = (
            warningExtractor or type(self).warnExtractWholeLine
        )
        self._warnings: WarningObserver | None = None
        self._check_warnings(kind)

    def _check_warnings(self, kind: str) -> None:
        for name in ("warningPattern", "directoryEnterPattern", "directoryLeavePattern"):
            value = getattr(self, name)
            if not is_renderable(value):
                _check_pattern(value, f"{kind}: {name}")
        if self.maxWarnCount is not None and not is_renderable(self.maxWarnCount):
            expect(self.maxWarnCount, int, f"{kind}: maxWarnCount", "a number or None")
        file = self.suppressionFile
        if file is not None and not is_renderable(file) and not isinstance(file, str):
            error(f"{kind}: suppressionFile must be a path at the worker, not {shown(file)}")
        listed = self.suppressionList
        if is_renderable(listed) or not is_plain(listed):
            return
        if not isinstance(listed, list | tuple):
            error(f"{kind}: suppressionList must be a list, not {shown(listed)}")
            return
        for each in listed:
            try:
                _suppression(each)
            except ValueError as bad:
                error(f"{kind}: suppressionList: {bad}", "as in ('file', 'text', 1, 20); None for any")

    # -- extractors ---------------------------------------------------------------------------------------

    def warnExtractWholeLine(self, line: str, match: re.Match[str]) -> Warned:  # noqa: ARG002 - as all of them
        """A warning of which nothing is known but its line."""
        return None, None, line

    def warnExtractFromRegexpGroups(self, line: str, match: re.Match[str]) -> Warned:  # noqa: ARG002
        """File, line number and text are the pattern's first three groups."""
        file, number, text = (*match.groups(), None, None, None)[:3]
        return file, int(number) if number and number.isdecimal() else None, text or ""

    # -- running ------------------------------------------------------------------------------------------

    async def run(self) -> int:
        if self.warningPattern is not None:
            suppressions = [_suppression(each) for each in self.suppressionList or ()]
            if self.suppressionFile is not None:
                read = await self._read_suppressions(self.suppressionFile)
                if isinstance(read, int):
                    return read
                suppressions += read
            self._warnings = WarningObserver(
                re.compile(self.warningPattern),
                _compiled(self.directoryEnterPattern),
                _compiled(self.directoryLeavePattern),
                self._extract,
                suppressions,
            )
            self.addLogObserver("stdio", self._warnings)
        return await super().run()

    def _extract(self, line: str, match: re.Match[str]) -> Warned:
        return self._extractor(self, line, match)

    async def _read_suppressions(self, path: str) -> list[Suppression] | int:
        """The suppression file, or the result that the step ends with because it can't be read."""
        # By a command and not by a transfer, since its output is journalled: so the step can be gone on with.
        reader = ["cmd", "/c", "type"] if self.worker.worker_system == "nt" else ["cat", "--"]
        command = await self.makeRemoteShellCommand(
            command=[*reader, path], collectStdout=True, stdioLogName=None, logfiles={}, initialStdin=None
        )
        await self.runCommand(command)
        if command.interrupted:
            return CANCELLED
        trouble = "it can't be read" if command.rc else ""
        if not trouble:
            try:
                return parse_suppressions(command.stdout)
            except ValueError as bad:
                trouble = str(bad)
        self._run.log("stdio").addStderr(f"suppression file {path}: {trouble}\n")
        return FAILURE

    async def _examine(self, command: RemoteShellCommand) -> None:
        await super()._examine(command)
        found = self._warnings
        if found is None:
            return
        found.flush()
        count = self.warnCount = found.warnings.count
        found.warnings.write(self, f"warnings ({count})")
        if count:
            self.setStatistic("warnings", self.getStatistic("warnings", 0) + count)
        if count or not self.hasProperty("warnings-count"):
            before = self.getProperty("warnings-count", 0)
            total = count + (before if isinstance(before, int) else 0)  # it may be anybody's property
            self.setProperty("warnings-count", total, "WarningCountingShellCommand")

    def evaluateCommand(self, cmd: RemoteShellCommand) -> Any:
        result = cmd.results()
        if result == CANCELLED:
            return result
        if self.maxWarnCount is not None and self.warnCount > self.maxWarnCount:
            return FAILURE
        return worst_status(result, WARNINGS if self.warnCount else SUCCESS)

    def _with_result(self, text: str) -> dict[str, str]:
        return super()._with_result(with_count(text, self.warnCount, "warning"))


class Compile(WarningCountingShellCommand):
    """Runs ``make all`` and counts its warnings; nothing can be tested without it.

    Example::

        factory.addStep(steps.Compile(command=["make", "-j4", "all"], maxWarnCount=100))
    """

    name = "compile"
    haltOnFailure = True
    description = "compiling"
    descriptionDone = "compile"
    command: Any = ("make", "all")


def _compiled(pattern: Any) -> re.Pattern[str] | None:
    return None if pattern is None else re.compile(pattern)


def _check_pattern(value: Any, what: str) -> None:
    if value is None or isinstance(value, re.Pattern):
        return
    if not isinstance(value, str):
        error(f"{what} must be a regular expression, not {shown(value)}")
        return
    try:
        re.compile(value)
    except re.error as bad:
        error(f"{what} is no regular expression: {bad}")


def _suppression(entry: Any) -> Suppression:
    """An entry of a suppression list. Raises ValueError."""
    if not isinstance(entry, list | tuple) or len(entry) != 4:
        raise ValueError(f"an entry must be (file, text, first line, last line), not {shown(entry)}")
    file, text, first, last = entry
    for number in (first, last):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
            raise ValueError(f"a line must be a number or None, not {shown(number)}")
    patterns = []
    for pattern in (file, text):
        if pattern is not None and not isinstance(pattern, str | re.Pattern):
            raise ValueError(f"a pattern must be text or None, not {shown(pattern)}")
        try:
            patterns.append(_compiled(pattern))
        except re.error as bad:
            raise ValueError(f"{pattern!r} is no regular expression: {bad}") from None
    return Suppression(patterns[0], patterns[1], first, last)
