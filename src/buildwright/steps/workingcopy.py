"""What source steps share whose tool keeps a working copy in the work directory.

A build either goes on in the working copy that is there, cleaned as ``method`` says and brought to what is
wanted, or begins with an empty directory: with method ``clobber``, and whenever what is there isn't a working
copy of the same repository.

A patch is kept among the tool's own files, so that the next build sees that its working copy was patched and
cleans it first, whatever its mode: files that a patch has made would stay else.

Revisions and branches may come from anybody. They are handed over where no option can stand, or refused.
"""

from __future__ import annotations

import abc
import posixpath
from collections.abc import Mapping
from typing import Any, ClassVar

from buildwright.builds.commands import RemoteShellCommand
from buildwright.model.errors import error, shown
from buildwright.model.renderable import is_renderable
from buildwright.model.results import SUCCESS
from buildwright.model.sources import Patch
from buildwright.steps.source import Source
from buildwright.steps.tool import Tail

MODES = ("incremental", "full")
APART_IN = "source"  # where a working copy is kept that isn't the work directory, beside it
APART = ("copy", "export")  # the methods that have one


class WorkingCopy(Source):
    """A step in the work directory, or in another one beside it. Its arguments are attributes."""

    renderables: ClassVar[tuple[str, ...]] = ("repourl", "mode", "method")

    tool: ClassVar[str]  # the command's name
    admin: ClassVar[str]  # where the tool keeps its own files in a working copy
    methods: ClassVar[tuple[str, ...]]  # of mode "full"; the first is the default
    environment: ClassVar[Mapping[str, str]] = {"LC_MESSAGES": "C"}
    complaints: ClassVar[tuple[str, ...]] = ()  # how lines begin that say why the tool failed

    repourl: Any = None
    method: Any = None

    _dir: str  # of the working copy
    _tail: Tail | None = None

    def check_copy(self) -> None:
        """Check ``mode`` and ``method``, as far as they are known."""
        kind = f"step {type(self).__name__}"
        if not is_renderable(self.mode) and self.mode not in MODES:
            error(f"{kind}: mode must be 'incremental' or 'full', not {shown(self.mode)}")
        if self.method is not None and not is_renderable(self.method):
            if self.method not in self.methods:
                error(f"{kind}: method must be one of {', '.join(self.methods)}, not {shown(self.method)}")
            elif self.mode == "incremental":
                error(f"{kind}: method {self.method!r} needs mode='full'")

    def check_text(self, name: str, example: str) -> None:
        """Check an argument that must be there and be text."""
        value = getattr(self, name)
        kind = f"step {type(self).__name__}"
        if is_renderable(value):
            return
        if not value:
            error(f"{kind} has no {name}", f"give it {name}={example!r}")
        elif not isinstance(value, str):
            error(f"{kind}: {name} must be text, not {shown(value)}", f"as in {name}={example!r}")

    # -- to be overridden ---------------------------------------------------------------------------------

    @abc.abstractmethod
    async def is_ours(self) -> bool:
        """Whether the directory is a working copy of the repository that is wanted."""

    @abc.abstractmethod
    async def make(self, branch: str, revision: str | None) -> None:
        """Make the working copy. There is no directory yet."""

    @abc.abstractmethod
    async def update(self, branch: str, revision: str | None) -> None:
        """Bring the working copy to what is wanted, without what builds have changed of its files."""

    @abc.abstractmethod
    async def clean(self, ignored: bool) -> None:
        """Remove files that aren't the repository's, and undo all changes; ``ignored`` ones only if so."""

    @abc.abstractmethod
    async def got_revision(self) -> str:
        """The working copy's revision."""

    # -- running ------------------------------------------------------------------------------------------

    @property
    def how(self) -> str:
        """What becomes of the files that are there: a method, or "incremental"."""
        return "incremental" if self.mode == "incremental" else (self.method or self.methods[0])

    async def checkout(self, branch: str, revision: str | None, patch: Patch | None) -> int:
        if self.mode not in MODES:
            self.refuse(f"mode must be 'incremental' or 'full', not {self.mode!r}")
        if self.how not in (*self.methods, "incremental"):
            self.refuse(f"method must be one of {', '.join(self.methods)}, not {self.method!r}")
        if revision is not None and revision.startswith("-"):
            self.refuse(f"{revision!r} can't be a revision")
        self._dir = self.place()
        await self.with_retries(lambda: self._get(branch, revision))
        await self.arrange()
        if patch is not None:
            await self._apply(patch)
        self.set_source_property("got_revision", await self.got_revision())
        return SUCCESS

    def place(self) -> str:
        """The working copy's directory."""
        return APART_IN if self.how in APART else self.target

    @property
    def target(self) -> str:
        """The directory that is built."""
        directory: str = self.workdir or self.build.workdir
        return directory

    async def arrange(self) -> None:
        """Take the sources from the working copy to where they are built, if that is elsewhere."""
        if self.target != self._dir:
            await self.runRmdir(self.target, timeout=self.timeout)
            await self.take_over()

    async def take_over(self) -> None:
        """Make the directory that is built, from the working copy."""
        paths = {"from_path": self.build.path(self._dir), "to_path": self.build.path(self.target)}
        await self.runRemoteCommand("cpdir", {**paths, "timeout": self.timeout})

    async def _get(self, branch: str, revision: str | None) -> None:
        """One try: the working copy as it is to be."""
        if self.how == "clobber" or not await self.is_ours():
            await self.begin_anew(branch, revision)
            return
        patched = await self.hasFile(self._patch_file)
        if patched or self.how in ("clean", "fresh"):
            await self.clean(self.how == "fresh")
        if patched:
            await self.runRmdir(self._patch_file)  # cleaning may have removed it
        await self.update(branch, revision)

    async def begin_anew(self, branch: str, revision: str | None) -> None:
        """Begin with an empty directory."""
        await self.runRmdir(self._dir, timeout=self.timeout)
        await self.make(branch, revision)

    @property
    def _patch_file(self) -> str:
        return f"{self._dir}/{self.admin}/buildwright.patch"

    async def _apply(self, patch: Patch) -> None:
        target = self.target
        keeps = target == self._dir  # else the next build doesn't see what was patched, but a new directory
        file = self._patch_file if keeps else f"{target}/.buildwright.patch"
        body = patch.body if patch.body.endswith(b"\n") else patch.body + b"\n"  # a form may have cut it off
        await self.downloadFileContentToWorker(file, body, abandonOnFailure=True, workdir=".")
        place = posixpath.normpath(posixpath.join(target, patch.subdir))
        words = ["patch", f"-p{patch.level}", "--force", "--forward", "--remove-empty-files"]
        words.append(f"--input={posixpath.relpath(file, place)}")
        done = await self.run_tool(words, place, check=False, environment={"LC_ALL": "C"})
        if done.results() != SUCCESS:
            self.refuse("the patch doesn't apply, see the log")
        if not keeps:
            await self.runRmFile(file)

    # -- the tool -----------------------------------------------------------------------------------------

    async def vc(self, *words: str, dir: str | None = None, **options: Any) -> RemoteShellCommand:
        """Run the tool in the working copy, or beside it; it ends the step if it fails."""
        where = self._dir if dir is None else dir
        return await self.run_tool([self.tool, *words], where, environment=self.environment, **options)

    async def vc_afar(self, *words: str, **options: Any) -> RemoteShellCommand:
        """Run what speaks to the repository: where it fails, the step ends with what the tool said."""
        done, why = await self.vc_tried(*words, **options)
        if done.results() != SUCCESS:
            self.refuse(why or f"{self.tool} failed, see the log")
        return done

    async def vc_tried(self, *words: str, **options: Any) -> tuple[RemoteShellCommand, str]:
        """Run the tool; gives also why it failed, as far as its words tell."""
        if self._tail is None:
            self._tail = Tail()
            self.addLogObserver("stdio", self._tail)
        self._tail.clear()
        done = await self.vc(*words, check=False, **options)
        return done, "" if done.results() == SUCCESS else self._said(self._tail.text)

    def _said(self, text: str) -> str:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        for mark in self.complaints:
            for line in lines:
                if line.startswith(mark):
                    return line
        return lines[-1] if lines else ""
