"""Tools of Python projects: linters and documentation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from buildwright.builds.commands import RemoteShellCommand
from buildwright.builds.observers import STDERR
from buildwright.model.errors import error, shown
from buildwright.model.renderable import is_renderable
from buildwright.model.results import CANCELLED, FAILURE, SUCCESS, WARNINGS, worst_status
from buildwright.steps.arguments import expect_dicts, expect_flags, expect_lists, expect_texts
from buildwright.steps.issues import IssueObserver, with_count
from buildwright.steps.shell import ShellCommand, Tool


class _Linter(ShellCommand):
    """Runs a linter and counts its issues by kind."""

    tool: ClassVar[str]  # its properties' names begin with that
    kinds: ClassVar[tuple[str, ...]] = ()
    flunking: ClassVar[tuple[str, ...]] = ()  # kinds of issues that are failures

    async def run(self) -> int:
        self._found = IssueObserver(self.kinds, self.kind_of)
        self.addLogObserver("stdio", self._found)
        return await super().run()

    def kind_of(self, stream: str, line: str) -> str | None:  # noqa: ARG002 - to be overridden
        """The kind of issue that a line of output reports; None if it is no issue."""
        raise AssertionError("every linter knows its lines")

    async def _examine(self, command: RemoteShellCommand) -> None:
        await super()._examine(command)
        self._found.flush()
        self._found.tell(self, self.tool)

    def evaluateCommand(self, cmd: RemoteShellCommand) -> Any:
        if cmd.results() == CANCELLED:
            return CANCELLED
        issues = self._found.issues
        if self.has_failed(cmd) or any(issues[kind].count for kind in self.flunking):
            return FAILURE
        return WARNINGS if self._found.total else SUCCESS

    def has_failed(self, cmd: RemoteShellCommand) -> bool:  # noqa: ARG002 - to be overridden
        """Whether the linter could not do its work."""
        raise AssertionError("every linter knows its exit codes")

    def _with_result(self, text: str) -> dict[str, str]:
        return super()._with_result(self._found.summary(text) if "_found" in self.__dict__ else text)


class PyFlakes(_Linter):
    """Runs pyflakes; ``command`` is its command line.

    Issues are sorted into logs and properties: ``pyflakes-unused`` (imports), ``pyflakes-undefined`` (names),
    ``pyflakes-redefs``, ``pyflakes-import*`` and ``pyflakes-misc``. Undefined names are a failure, and so is
    a file that can't be parsed; others are warnings.

    Example::

        factory.addStep(steps.PyFlakes(command=["pyflakes", "src"], flunkOnFailure=False))
    """

    name = tool = "pyflakes"
    flunkOnFailure = False
    description = "running pyflakes"
    descriptionDone = "pyflakes"
    kinds = ("unused", "undefined", "redefs", "import*", "misc")
    flunking = ("undefined",)

    _ISSUE = re.compile(r"[^:]+:\d+:(?:\d+:?)? ")
    _unreadable = False

    def kind_of(self, stream: str, line: str) -> str | None:
        if not self._ISSUE.match(line):
            return None
        if stream == STDERR:  # a file that it can't parse
            self._unreadable = True
            return None
        if "imported but unused" in line:
            return "unused"
        if "unable to detect undefined names" in line or "defined from star imports" in line:
            return "import*"
        if "undefined name" in line:
            return "undefined"
        return "redefs" if "redefinition of" in line else "misc"

    def has_failed(self, cmd: RemoteShellCommand) -> bool:
        return self._unreadable or cmd.failure is not None or cmd.rc not in (0, 1)


class PyLint(_Linter):
    """Runs pylint; ``command`` is its command line. Both its text and its parseable output are understood.

    Messages are sorted into logs and properties by their category: ``pylint-convention``,
    ``pylint-refactor``, ``pylint-warning``, ``pylint-error``, ``pylint-fatal``, ``pylint-info``. Errors are a
    failure, others are warnings. With ``store_results`` the messages are also kept as test results, in a set
    of the category ``code_issue``.

    Example::

        factory.addStep(steps.PyLint(command=["pylint", "--output-format=parseable", "project"]))
    """

    name = tool = "pylint"
    description = "running pylint"
    descriptionDone = "pylint"
    CATEGORIES: ClassVar[Mapping[str, str]] = {
        "C": "convention",
        "R": "refactor",
        "W": "warning",
        "E": "error",
        "F": "fatal",
        "I": "info",
    }
    kinds = tuple(CATEGORIES.values())
    flunking = ("error", "fatal")

    # "a.py:1:0: C0114: text", or parseable: "a.py:1: [C0114(name), function] text", or old: "C:  1, 0: text"
    _MESSAGE: ClassVar[re.Pattern[str]] = re.compile(
        r"(?P<place>(?P<file>.+?):(?P<line>\d+):(?:\d+:)? )\[?(?P<kind>[CRWEFI])\d{4}[(:,]"
        r"|(?P<bare>[CRWEFI])(?:\d{4})?: *\d+(?:, *\d+)?: "
    )

    def __init__(self, store_results: Any = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        expect_flags(f"step {type(self).__name__}", store_results=store_results)
        self._store_results = bool(store_results)
        self._set: int | None = None  # of the stored results

    async def addTestResultSets(self) -> None:
        if self._store_results:
            self._set = await self.addTestResultSet("Pylint warnings", "code_issue", "message")

    def kind_of(self, stream: str, line: str) -> str | None:
        found = None if stream == STDERR else self._MESSAGE.match(line)
        if found is None:
            return None
        if self._set is not None and found["file"]:
            text = line[found.end("place") :]
            self.addTestResult(self._set, text, None, found["file"], int(found["line"]))
        return self.CATEGORIES[found["kind"] or found["bare"]]

    def has_failed(self, cmd: RemoteShellCommand) -> bool:
        # Its exit code is a sum: 1 fatal, 2 error, 4 warning, 8 refactor, 16 convention, 32 wrong arguments.
        code = cmd.rc
        return cmd.failure is not None or code is None or not 0 <= code < 32 or bool(code & 3)


class Sphinx(Tool):
    """Builds documentation with ``sphinx-build`` and counts its warnings.

    ``mode`` "full" builds everything anew; ``strict_warnings`` makes a warning a failure. ``defines`` are
    settings of ``conf.py`` (a name without a value: None), ``tags`` those of its ``only`` parts.

    Example::

        factory.addStep(
            steps.Sphinx(
                sphinx_sourcedir="docs", sphinx_builddir="docs/_build", strict_warnings=True, mode="full"
            )
        )
    """

    name = "sphinx"
    haltOnFailure = True
    description = "running sphinx"
    descriptionDone = "sphinx"
    renderables: ClassVar[Sequence[str]] = (
        "sphinx_sourcedir",
        "sphinx_builddir",
        "sphinx_builder",
        "sphinx",
        "tags",
        "defines",
        "strict_warnings",
        "mode",
    )

    _COMPLAINT = re.compile(r"(?:.*: )?(?:WARNING|ERROR|SEVERE|CRITICAL): ")

    def __init__(
        self,
        sphinx_sourcedir: Any = ".",
        sphinx_builddir: Any = None,
        sphinx_builder: Any = None,
        sphinx: Any = "sphinx-build",
        tags: Any = None,
        defines: Any = None,
        strict_warnings: Any = False,
        mode: Any = "incremental",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sphinx_sourcedir = sphinx_sourcedir
        self.sphinx_builddir = sphinx_builddir
        self.sphinx_builder = sphinx_builder
        self.sphinx = sphinx
        self.tags = tags
        self.defines = defines
        self.strict_warnings = strict_warnings
        self.mode = mode
        kind = f"step {type(self).__name__}"
        if sphinx_builddir is None:
            error(f"{kind} has no sphinx_builddir", "give it the directory for what is built")
        if not is_renderable(mode) and mode not in ("incremental", "full"):
            error(f"{kind}: mode must be 'incremental' or 'full', not {shown(mode)}")
        expect_texts(
            kind,
            sphinx_sourcedir=sphinx_sourcedir,
            sphinx_builddir=sphinx_builddir,
            sphinx_builder=sphinx_builder,
            sphinx=sphinx,
        )
        expect_flags(kind, strict_warnings=strict_warnings)
        expect_lists(kind, tags=tags)
        expect_dicts(kind, defines=defines)

    def words(self) -> list[Any]:
        words = [self.sphinx]
        if self.sphinx_builder is not None:
            words += ["-b", self.sphinx_builder]
        for tag in self.tags or ():
            words += ["-t", tag]
        for name in sorted(self.defines or {}):
            value = self.defines[name]
            if isinstance(value, bool):
                value = int(value)
            words += ["-D", name if value is None else f"{name}={value}"]
        if self.mode == "full":
            words.append("-E")
        if self.strict_warnings:
            words.append("-W")
        return [*words, self.sphinx_sourcedir, self.sphinx_builddir]

    async def run(self) -> int:
        self._found = IssueObserver(
            ("warnings",), lambda _, line: "warnings" if self._COMPLAINT.match(line) else None
        )
        self.addLogObserver("stdio", self._found)
        return await super().run()

    async def _examine(self, command: RemoteShellCommand) -> None:
        await super()._examine(command)
        self._found.flush()
        self._found.issues["warnings"].write(self, "warnings")
        self.setStatistic("warnings", self._found.total)

    def evaluateCommand(self, cmd: RemoteShellCommand) -> Any:
        result = cmd.results()
        return worst_status(result, WARNINGS) if self._found.total else result

    def _with_result(self, text: str) -> dict[str, str]:
        count = self._found.total if "_found" in self.__dict__ else 0
        return super()._with_result(with_count(text, count, "warning"))
