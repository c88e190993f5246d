"""Copying directories on Windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from buildwright.builds.commands import RemoteShellCommand
from buildwright.model.results import CANCELLED, EXCEPTION, FAILURE, SUCCESS, WARNINGS
from buildwright.steps.arguments import expect_flags, expect_lists, expect_texts
from buildwright.steps.shell import Tool

# Its exit code is a sum: 1 and 2 tell of files that were copied or are there in excess.
_MISMATCHED, _NOT_COPIED, _FATAL = 4, 8, 16


class Robocopy(Tool):
    """Copies ``source`` to ``destination`` with ``robocopy``.

    ``files`` names what to copy, ``recursive`` takes subdirectories along, ``mirror`` also removes what isn't
    in the source, ``move`` removes it from the source. What ``exclude_files`` (or ``exclude``) and
    ``exclude_dirs`` name is left out.

    Example::

        factory.addStep(steps.Robocopy(source="out", destination="S:/releases/nightly", mirror=True))
    """

    renderables: ClassVar[Sequence[str]] = (
        "source",
        "destination",
        "files",
        "recursive",
        "mirror",
        "move",
        "exclude_files",
        "exclude_dirs",
        "custom_opts",
        "verbose",
    )

    def __init__(
        self,
        source: Any,
        destination: Any,
        exclude: Any = None,
        exclude_files: Any = None,
        files: Any = None,
        recursive: Any = False,
        mirror: Any = False,
        move: Any = False,
        exclude_dirs: Any = None,
        custom_opts: Any = None,
        verbose: Any = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.destination = destination
        self.files = files
        self.recursive = recursive
        self.mirror = mirror
        self.move = move
        self.exclude_files = exclude if exclude_files is None else exclude_files
        self.exclude_dirs = exclude_dirs
        self.custom_opts = custom_opts
        self.verbose = verbose
        kind = f"step {type(self).__name__}"
        expect_texts(kind, source=source, destination=destination)
        expect_flags(kind, recursive=recursive, mirror=mirror, move=move, verbose=verbose)
        expect_lists(
            kind,
            files=files,
            exclude=exclude,
            exclude_files=exclude_files,
            exclude_dirs=exclude_dirs,
            custom_opts=custom_opts,
        )

    def words(self) -> list[Any]:
        words = ["robocopy", self.source, self.destination, *(self.files or ())]
        for option, wanted in (("/E", self.recursive), ("/MIR", self.mirror), ("/MOVE", self.move)):
            if wanted:
                words.append(option)
        for option, names in (("/XF", self.exclude_files), ("/XD", self.exclude_dirs)):
            if names:
                words += [option, *names]
        if self.verbose:
            words += ["/V", "/TS", "/FP"]
        return [*words, "/TEE", "/NP", *(self.custom_opts or ())]

    def evaluateCommand(self, cmd: RemoteShellCommand) -> Any:
        code = cmd.rc
        if cmd.results() == CANCELLED:
            return CANCELLED
        if code is None or code < 0 or cmd.failure is not None:
            return FAILURE
        if code & _FATAL:
            return EXCEPTION
        if code & _NOT_COPIED:
            return FAILURE
        return WARNINGS if code & _MISMATCHED else SUCCESS
