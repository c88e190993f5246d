"""What all steps of git share: configuration for its commands, and the way to another repository."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, ClassVar

from buildwright.builds.commands import RemoteShellCommand
from buildwright.model.errors import error, shown
from buildwright.model.gitaccess import (
    ACCESS_ARGUMENTS,
    SSH_PORT,
    AccessError,
    GitAccess,
    check_access,
    git_access,
    why_unreachable,
)
from buildwright.model.renderable import is_renderable
from buildwright.model.results import SUCCESS
from buildwright.steps.tool import Tail, ToolMixin

# What git allows in no name of a branch or tag; some of it would mean something else in a refspec or a path.
NO_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|/$")


class GitToolMixin(ToolMixin):
    """Runs git in one directory. Its arguments are attributes."""

    renderables: ClassVar[tuple[str, ...]] = ("config", *ACCESS_ARGUMENTS)

    repourl: Any = None
    port: Any = SSH_PORT
    config: Any = None
    sshPrivateKey: Any = None
    sshHostKey: Any = None
    sshKnownHosts: Any = None
    auth_credentials: Any = None
    git_credentials: Any = None

    _dir: str
    _access = GitAccess("")
    _tail: Tail | None = None

    def check_config(self) -> None:
        kind = f"step {type(self).__name__}"
        if self.config is not None and not is_renderable(self.config) and not isinstance(self.config, dict):
            error(f"{kind}: config must be a dict, not {shown(self.config)}")

    def check_remote(self) -> None:
        kind = f"step {type(self).__name__}"
        if not self.repourl:
            error(f"{kind} has no repourl", "give it repourl='https://...'")
        check_access(
            kind,
            port=self.port,
            sshPrivateKey=self.sshPrivateKey,
            sshHostKey=self.sshHostKey,
            sshKnownHosts=self.sshKnownHosts,
            auth_credentials=self.auth_credentials,
            git_credentials=self.git_credentials,
        )

    def find_way(self, elsewhere: str = "") -> None:
        """See how to reach ``repourl``, for all commands from now on. Ends the step if it makes no sense.

        With ``elsewhere`` this other address is used, which need not come from the configuration: a password
        is for ``repourl``'s host all the same.
        """
        if not isinstance(self.repourl, str) or not self.repourl:
            self.refuse(f"repourl must be the address of a repository, not {shown(self.repourl)}")
        given = {name: getattr(self, name) for name in ACCESS_ARGUMENTS}
        try:
            self._access = git_access(self.repourl, port=self.port, **given)
            if elsewhere:
                self._access = replace(self._access, url=git_access(elsewhere).url)
        except AccessError as problem:
            self.refuse(str(problem))

    async def git(self, *words: str, **options: Any) -> RemoteShellCommand:
        config = [word for name, value in (self.config or {}).items() for word in ("-c", f"{name}={value}")]
        return await self.run_tool(
            ["git", *self._access.options, *config, *words],
            self._dir,
            environment=self._access.environment,
            private=self._access.files,
            **options,
        )

    async def git_afar(self, *words: str, **options: Any) -> tuple[RemoteShellCommand, str]:
        """Run what speaks to the other repository; gives also why it failed, as far as git's words tell."""
        tail = self._tail
        if tail is None:
            tail = self._tail = Tail()
            self.addLogObserver("stdio", tail)
        tail.clear()
        done = await self.git(*words, check=False, **options)
        if done.results() == SUCCESS:
            return done, ""
        return done, why_unreachable(tail.text) or _last_words(tail.text)


def _last_words(said: str) -> str:
    """The line in which git says why it failed."""
    lines = [line.strip() for line in re.split(r"[\r\n]", said)]
    for mark in ("fatal: ", "error: ", "ERROR: ", "ssh: "):
        for line in lines:
            if line.startswith(mark):
                return line.removeprefix("fatal: ").removeprefix("error: ")
    return ""
