"""What a build's sources change, as data of the build."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from buildwright.builds.commands import RemoteShellCommand
from buildwright.builds.shell import ShellMixin
from buildwright.builds.step import BuildStep
from buildwright.model.errors import expect
from buildwright.model.renderable import is_renderable
from buildwright.model.results import SUCCESS

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_ESCAPE = re.compile(rb'\\([0-7]{3}|["\\abfnrtv])')
_ESCAPED = dict(zip(b'abfnrtv"\\', b'\a\b\f\n\r\t\v"\\', strict=True))


class GitDiffInfo(ShellMixin, BuildStep):
    """Compares what is checked out with where its history left ``compareToRef``, and keeps that as the
    build's data ``dataName``: a list in JSON with a dict of each changed file.

    Its keys are ``source_file`` and ``target_file`` (``a/name``, ``b/name``, ``/dev/null``), ``is_binary``,
    ``is_rename`` and ``hunks``: first line and number of lines, ``ss``, ``sl`` in the source, ``ts``, ``tl``
    in the target.

    Example::

        factory.addStep(steps.GitDiffInfo(compareToRef="origin/main", dataName="diffinfo-main"))
    """

    name = "GitDiffInfo"
    description = "recording changes"
    descriptionDone = "recorded changes"
    renderables: ClassVar[Sequence[str]] = ("compareToRef", "dataName")

    def __init__(
        self, compareToRef: Any = "master", dataName: Any = "diffinfo-master", **kwargs: Any
    ) -> None:
        super().__init__(**self.setupShellMixin(kwargs, prohibitArgs=["command"]))
        self.compareToRef = compareToRef
        self.dataName = dataName
        for name in ("compareToRef", "dataName"):
            value = getattr(self, name)
            if not is_renderable(value):
                expect(value, str, f"step GitDiffInfo: {name}", "text")

    async def run(self) -> int:
        base = await self._git("stdio-merge-base", "merge-base", "HEAD", self.compareToRef)
        if base.results() != SUCCESS:
            return base.results()
        # Names as they are; neither colours nor a diff of the user's own, whatever git's configuration says.
        plain = ["-c", "core.quotePath=false", "diff", "--no-color", "--no-ext-diff", "-M", "--unified=0"]
        sides = ["--src-prefix=a/", "--dst-prefix=b/"]
        diff = await self._git("stdio-diff", *plain, *sides, base.stdout.strip(), "HEAD", "--")
        if diff.results() == SUCCESS:
            text = json.dumps(changed_files(diff.stdout.split("\n")))
            await self.setBuildData(self.dataName, text.encode(), "GitDiffInfo")
        return diff.results()

    async def _git(self, log: str, *words: str) -> RemoteShellCommand:
        command = await self.makeRemoteShellCommand(
            command=["git", *words], collectStdout=True, stdioLogName=log
        )
        await self.runCommand(command)
        return command


def changed_files(lines: Iterable[str]) -> list[dict[str, Any]]:
    """The files of git's diff without context, each with its hunks."""
    files: list[dict[str, Any]] = []
    for line in lines:
        if line.startswith("diff --git "):
            source, target = _both_names(line.removeprefix("diff --git "))
            files.append(
                {
                    "source_file": source,
                    "target_file": target,
                    "is_binary": False,
                    "is_rename": False,
                    "hunks": [],
                }
            )
            continue
        if not files:
            continue
        file = files[-1]
        hunk = _HUNK.match(line)
        if hunk is not None:
            ss, sl, ts, tl = (1 if part is None else int(part) for part in hunk.groups())
            file["hunks"].append({"ss": ss, "sl": sl, "ts": ts, "tl": tl})
        elif file["hunks"]:
            continue  # a line of the file, whatever it looks like
        elif line.startswith("--- "):
            file["source_file"] = _name(line[4:])
        elif line.startswith("+++ "):
            file["target_file"] = _name(line[4:])
        elif line.startswith("rename from "):
            file["is_rename"] = True
            file["source_file"] = "a/" + _name(line.removeprefix("rename from "))
        elif line.startswith("rename to "):
            file["target_file"] = "b/" + _name(line.removeprefix("rename to "))
        elif line.startswith("new file mode "):
            file["source_file"] = "/dev/null"
        elif line.startswith("deleted file mode "):
            file["target_file"] = "/dev/null"
        elif line.startswith(("Binary files ", "GIT binary patch")):
            file["is_binary"] = True
    return files


def _both_names(text: str) -> tuple[str, str]:
    """The two names of "a/name b/name", which are the same unless other lines say so."""
    half = len(text) // 2
    return _name(text[:half]), _name(text[half + 1 :])


def _name(text: str) -> str:
    """A file's name, which git puts in quotes if it holds odd characters, and before a tab for spaces."""
    text = text.removesuffix("\t")
    if not (len(text) > 1 and text[0] == text[-1] == '"'):
        return text

    def plain(escape: re.Match[bytes]) -> bytes:
        code = escape[1]
        return bytes([_ESCAPED[code[0]] if len(code) == 1 else int(code, 8)])

    return _ESCAPE.sub(plain, text[1:-1].encode()).decode("utf-8", "replace")
