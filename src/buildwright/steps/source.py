"""What steps that get a build's sources share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from buildwright.builds.step import BuildStep, BuildStepFailed
from buildwright.model.errors import error, shown
from buildwright.model.renderable import IRenderable, is_renderable, settle
from buildwright.model.sources import Patch
from buildwright.steps.tool import ToolMixin


class Source(ToolMixin, BuildStep):
    """Arguments of all steps that get sources, and which source stamp is theirs.

    A step of one's own overrides ``run_vc(branch, revision, patch)``. It may be started again from its
    beginning at any time.

    Example::

        class Snapshot(steps.ShellMixin, steps.Source):
            def __init__(self, url, **kwargs):
                self.url = url
                super().__init__(**self.setupShellMixin(kwargs, prohibitArgs=["command"]))

            async def run_vc(self, branch, revision, patch):
                fetch = f"curl --silent --fail {self.url}/{branch}.tar.gz | tar xz"
                command = await self.makeRemoteShellCommand(command=fetch)
                await self.runCommand(command)
                return command.results()


        factory.addStep(Snapshot("https://snapshots.example.org/project", workdir="build"))
    """

    haltOnFailure = True
    restartable = True
    renderables: ClassVar[tuple[str, ...]] = ("alwaysUseLatest", "env", "logEnviron", "timeout")

    branch: Any = None

    def __init__(
        self,
        workdir: Any = None,
        mode: str | IRenderable = "update",
        alwaysUseLatest: bool | IRenderable = False,
        timeout: float | IRenderable | None = 1200,
        retry: tuple[float, int] | None = None,
        env: Any = None,
        logEnviron: bool | IRenderable = True,
        codebase: Any = "",
        description: Any = None,
        descriptionDone: Any = None,
        descriptionSuffix: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            workdir=workdir,
            description=description or "updating",
            descriptionDone=descriptionDone or "update",
            descriptionSuffix=descriptionSuffix,
            **kwargs,
        )
        kind = f"step {type(self).__name__}"
        if not isinstance(codebase, str):
            error(f"{kind}: codebase must be text, not {shown(codebase)}")
            codebase = ""
        if retry is not None and not _is_retry(retry):
            error(f"{kind}: retry must be (seconds, repeats), not {shown(retry)}", "as in retry=(10, 3)")
            retry = None
        if env is not None and not is_renderable(env) and not isinstance(env, dict):
            error(f"{kind}: env must be a dict, not {shown(env)}")
        self.mode = mode
        self.alwaysUseLatest = alwaysUseLatest
        self.timeout = timeout
        self.retry = retry
        self.env = env
        self.logEnviron = logEnviron
        self.codebase: str = codebase
        if codebase and isinstance(self.name, str):
            self.name = f"{self.name}-{codebase}"

    # -- to be overridden ---------------------------------------------------------------------------------

    async def run_vc(self, branch: str, revision: str | None, patch: Patch | None) -> int:
        """Get the sources; gives the step's result. ``revision`` is None for the branch's newest."""
        return await self.checkout(branch, revision, patch)

    async def checkout(self, branch: str, revision: str | None, patch: Patch | None) -> int:  # noqa: ARG002
        """What ``run_vc`` does in the steps of this package."""
        raise AssertionError("every source step has its run_vc")

    # -- running ------------------------------------------------------------------------------------------

    async def run(self) -> int:
        branch, revision, patch = self.branch, None, None
        if not self.alwaysUseLatest:
            stamp = self.build.getSourceStamp(self.codebase)
            if stamp is None:
                named = f"the codebase {self.codebase!r}" if self.codebase else "a codebase without a name"
                self.refuse(f"the build has no source stamp of {named}")
            branch = stamp.branch or branch
            revision = stamp.revision or None
            patch = stamp.patch
        suffix = [text for text in (self.codebase, branch, "[patch]" if patch else "") if text]
        if self.descriptionSuffix is None:
            self.descriptionSuffix = suffix
            self.updateSummary()
        result: int = await settle(self.run_vc(branch, revision, patch))
        return result

    async def with_retries(self, attempt: Callable[[], Awaitable[None]]) -> None:
        """Do what may fail for a passing reason, again as often and as late as ``retry`` says."""
        delay, repeats = self.retry or (0, 0)
        while True:
            try:
                await attempt()
            except BuildStepFailed:
                if not repeats:
                    raise
                repeats -= 1
                self.why = ""
                self._run.log("stdio").addHeader(
                    f"trying again in {delay:g} s, {repeats} more times after that\n"
                )
                await self.sleep(delay)
            else:
                return

    def set_source_property(self, name: str, value: Any) -> None:
        """Set a property of this codebase's sources: a dict by codebase, if the codebase has a name."""
        source = type(self).__name__
        if not self.codebase:
            self.setProperty(name, value, source)
            return
        known = self.getProperty(name)
        by_codebase = dict(known) if isinstance(known, dict) else {}
        by_codebase[self.codebase] = value
        self.setProperty(name, by_codebase, source)


def _is_retry(retry: Any) -> bool:
    return (
        isinstance(retry, list | tuple)
        and len(retry) == 2
        and isinstance(retry[0], int | float)
        and isinstance(retry[1], int)
        and retry[0] >= 0
        and retry[1] >= 0
    )
