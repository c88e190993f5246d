"""What steps that run a version control tool share, whether they get sources or write into a repository."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from buildwright.builds.commands import RemoteShellCommand
from buildwright.builds.observers import STDERR, LogObserver
from buildwright.builds.step import BuildStepFailed
from buildwright.steps.composite import CompositeStepMixin

TAIL_BYTES = 4096


class Tail(LogObserver):
    """Keeps the end of what was said on standard error."""

    def __init__(self) -> None:
        self._said = b""

    def feed(self, stream: str, data: bytes) -> None:
        if stream == STDERR:
            self._said = (self._said + data)[-TAIL_BYTES:]

    def clear(self) -> None:
        self._said = b""

    @property
    def text(self) -> str:
        return self._said.decode("utf-8", "replace")


class ToolMixin(CompositeStepMixin):
    """Runs a tool, and says in one line why it failed: in the log and in the step's summary."""

    env: Any = None
    timeout: Any = 1200
    logEnviron: Any = True
    why: str = ""

    async def run_tool(
        self,
        words: list[str],
        dir: str,
        *,
        check: bool = True,
        collect: bool = False,
        environment: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> RemoteShellCommand:
        """Run a command in a directory (relative to the builder's); it ends the step if it fails.

        The builder's ``env`` goes before ``environment``, and the step's own before both.
        """
        env = dict(environment or {})
        env.update(await self.build.render(self.build.env))
        env.update(self.env or {})
        command = RemoteShellCommand(
            self.build.path(dir),
            words,
            env=env,
            timeout=self.timeout,
            logEnviron=self.logEnviron,
            collectStdout=collect,
            **options,
        )
        await self.run_checked(command, abandonOnFailure=check)
        return command

    def refuse(self, why: str) -> NoReturn:
        """End the step with FAILURE, for a reason that people can read."""
        self.why = why
        self._run.log("stdio").addStderr(why + "\n")
        raise BuildStepFailed

    def _with_result(self, text: str) -> dict[str, str]:
        said = super()._with_result(text)
        if self.why and self.results != 0:
            said["step"] += f": {self.why}"
        return said
