"""Tools of C and C++ projects."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from buildwright.builds.commands import RemoteShellCommand
from buildwright.model.results import CANCELLED, FAILURE, SUCCESS, WARNINGS
from buildwright.steps.arguments import (
    expect_dicts,
    expect_flags,
    expect_lists,
    expect_texts,
    expect_words,
)
from buildwright.steps.issues import IssueObserver
from buildwright.steps.shell import Tool


class CMake(Tool):
    """Runs ``cmake`` to configure a build: ``cmake -G generator -D name=value ... options path``.

    Example::

        factory.addStep(
            steps.CMake(path="../source", generator="Ninja", definitions={"CMAKE_BUILD_TYPE": "Release"})
        )
    """

    name = "cmake"
    haltOnFailure = True
    description = "running cmake"
    descriptionDone = "cmake"
    renderables: ClassVar[Sequence[str]] = ("path", "generator", "definitions", "options", "cmake")

    def __init__(
        self,
        path: Any = None,
        generator: Any = None,
        definitions: Any = None,
        options: Any = None,
        cmake: Any = "cmake",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.generator = generator
        self.definitions = definitions
        self.options = options
        self.cmake = cmake
        kind = f"step {type(self).__name__}"
        expect_texts(kind, path=path, generator=generator, cmake=cmake)
        expect_dicts(kind, definitions=definitions)
        expect_lists(kind, options=options)

    def words(self) -> list[Any]:
        words = [self.cmake]
        if self.generator:
            words += ["-G", self.generator]
        words += [f"-D{name}={value}" for name, value in (self.definitions or {}).items()]
        words += self.options or ()
        return [*words, self.path] if self.path else words


class Cppcheck(Tool):
    """Runs ``cppcheck`` on ``source`` and counts what it reports by severity.

    Each severity has a log and a property ``cppcheck-SEVERITY``. Errors are a failure, others are warnings.

    Example::

        factory.addStep(steps.Cppcheck(source=["src", "tools"], enable=["warning", "performance"]))
    """

    name = "cppcheck"
    description = "running cppcheck"
    descriptionDone = "cppcheck"
    renderables: ClassVar[Sequence[str]] = ("binary", "source", "enable", "inconclusive", "extra_args")

    SEVERITIES = ("error", "warning", "style", "performance", "portability", "information")
    # "[a.c:3]: (error) text", or "a.c:3:5: error: text [id]"
    _MESSAGE = re.compile(
        rf"(?:\[.*\]: \((?:inconclusive, )?|[^:]+(?::\d+){{1,2}}: (?:inconclusive )?)"
        rf"(?P<severity>{'|'.join(SEVERITIES)})(?:, inconclusive)?(?:\) |: )"
    )

    def __init__(
        self,
        binary: Any = "cppcheck",
        source: Any = ".",
        enable: Any = (),
        inconclusive: Any = False,
        extra_args: Any = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.binary = binary
        self.source = source
        self.enable = enable
        self.inconclusive = inconclusive
        self.extra_args = extra_args
        kind = f"step {type(self).__name__}"
        expect_texts(kind, binary=binary)
        expect_flags(kind, inconclusive=inconclusive)
        expect_words(kind, source=source, enable=enable, extra_args=extra_args)

    def words(self) -> list[Any]:
        words = [self.binary]
        if self.enable:
            words.append(f"--enable={','.join(_list(self.enable))}")
        if self.inconclusive:
            words.append("--inconclusive")
        return [*words, *_list(self.extra_args), *_list(self.source)]

    async def run(self) -> int:
        self._found = IssueObserver(self.SEVERITIES, self._severity)
        self.addLogObserver("stdio", self._found)
        return await super().run()

    def _severity(self, stream: str, line: str) -> str | None:  # noqa: ARG002 - of either stream
        message = self._MESSAGE.match(line)
        return message["severity"] if message else None

    async def _examine(self, command: RemoteShellCommand) -> None:
        await super()._examine(command)
        self._found.flush()
        self._found.tell(self, "cppcheck")

    def evaluateCommand(self, cmd: RemoteShellCommand) -> Any:
        if cmd.results() == CANCELLED:
            return CANCELLED
        if cmd.results() != SUCCESS or self._found.issues["error"].count:
            return FAILURE
        return WARNINGS if self._found.total else SUCCESS

    def _with_result(self, text: str) -> dict[str, str]:
        return super()._with_result(self._found.summary(text) if "_found" in self.__dict__ else text)


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(each) for each in value]
