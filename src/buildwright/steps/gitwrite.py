"""What a build gives back to git: commits, tags and pushes, from the work directory of a `Git` step."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from buildwright.builds.step import BuildStep
from buildwright.model.errors import error, shown
from buildwright.model.gitaccess import SSH_PORT
from buildwright.model.renderable import IRenderable, is_renderable
from buildwright.model.results import SUCCESS
from buildwright.steps.gittool import NO_REF, GitToolMixin

DISALLOW, CREATE, IGNORE = "disallow", "create-empty-commit", "ignore"


class _GitStep(GitToolMixin, BuildStep):
    """The arguments of all steps in this module."""

    haltOnFailure = True
    renderables: ClassVar[tuple[str, ...]] = ("env", "logEnviron", "timeout")

    def __init__(
        self, workdir: Any, env: Any, timeout: Any, logEnviron: Any, config: Any, **kwargs: Any
    ) -> None:
        super().__init__(workdir=workdir, **kwargs)
        self.env = env
        self.timeout = timeout
        self.logEnviron = logEnviron
        self.config = config
        self.check_config()
        if env is not None and not is_renderable(env) and not isinstance(env, dict):
            error(f"step {type(self).__name__}: env must be a dict, not {shown(env)}")

    def needs(self, **arguments: Any) -> None:
        for name, value in arguments.items():
            if not value and not is_renderable(value):
                error(f"step {type(self).__name__} has no {name}")

    async def run(self) -> int:
        self._dir = self.workdir or self.build.workdir
        return await self.write()

    async def write(self) -> int:
        """Do what the step is for."""
        raise AssertionError("every step of git has its write")

    async def must(self, *words: str) -> None:
        """Run git; if it fails the step ends, and git's reason is in its summary."""
        done, why = await self.git_afar(*words)
        if done.results() != SUCCESS:
            self.refuse(why or f"git {words[0]} failed, see the log")

    def texts(self, name: str) -> list[str]:
        """A rendered argument that is a list of texts, or one text."""
        value = getattr(self, name)
        values = [value] if isinstance(value, str) else list(value or [])
        return [str(each) for each in values]


class GitCommit(_GitStep):
    """Commits these paths on the branch that is checked out.

    ``emptyCommits`` says what to do if they hold nothing new: ``disallow`` fails, ``ignore`` does nothing,
    ``create-empty-commit`` makes one all the same. Who commits says ``config``, as in
    ``config={"user.name": "CI", "user.email": "ci@example.org"}``, unless the worker's own git knows.

    Example::

        factory.addStep(
            steps.GitCommit(
                paths=["version.txt"],
                messages=["Count the version up"],
                config={"user.name": "CI", "user.email": "ci@example.org"},
            )
        )
    """

    name = "gitcommit"
    renderables: ClassVar[tuple[str, ...]] = ("paths", "messages")

    def __init__(
        self,
        workdir: str | IRenderable | None = None,
        paths: Any = None,
        messages: Any = None,
        env: Any = None,
        timeout: float | IRenderable | None = 1200,
        logEnviron: bool | IRenderable = True,
        emptyCommits: str = DISALLOW,
        config: Any = None,
        no_verify: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(workdir, env, timeout, logEnviron, config, **kwargs)
        self.needs(paths=paths, messages=messages)
        for name, value in {"paths": paths, "messages": messages}.items():
            if value and not is_renderable(value) and not isinstance(value, list | tuple):
                error(f"step GitCommit: {name} must be a list, not {shown(value)}", "put it in a list: [...]")
        if emptyCommits not in (DISALLOW, CREATE, IGNORE):
            error(
                f"step GitCommit: emptyCommits must be {DISALLOW!r}, {CREATE!r} or {IGNORE!r},"
                f" not {shown(emptyCommits)}"
            )
        self.paths = paths
        self.messages = messages
        self.emptyCommits = emptyCommits
        self.no_verify = no_verify

    async def write(self) -> int:
        head = await self.git("symbolic-ref", "--quiet", "HEAD", check=False, collect=True)
        if head.results() != SUCCESS:
            self.refuse("no branch is checked out, so a commit would be lost: give the Git step a branch")
        await self.must("add", "--", *self.texts("paths"))
        words = ["commit", *[f"--message={text}" for text in self.texts("messages")]]
        if self.no_verify:
            words.append("--no-verify")
        staged = await self.git("diff", "--cached", "--quiet", check=False)
        if staged.results() == SUCCESS:
            if self.emptyCommits == IGNORE:
                self._run.log("stdio").addHeader("there is nothing to commit\n")
                return SUCCESS
            if self.emptyCommits == DISALLOW:
                self.refuse("there is nothing to commit")
            words.append("--allow-empty")
        await self.must(*words)
        return SUCCESS


class GitTag(_GitStep):
    """Tags the commit that is checked out; an ``annotated`` tag has ``messages``.

    Example::

        factory.addStep(
            steps.GitTag(
                tagName=util.Interpolate("nightly-%(prop:buildnumber)s"),
                annotated=True,
                messages=["As of tonight"],
            )
        )
    """

    name = "gittag"
    renderables: ClassVar[tuple[str, ...]] = ("tagName", "messages")

    def __init__(
        self,
        workdir: str | IRenderable | None = None,
        tagName: str | IRenderable | None = None,
        annotated: bool = False,
        messages: Any = None,
        force: bool = False,
        env: Any = None,
        timeout: float | IRenderable | None = 1200,
        logEnviron: bool | IRenderable = True,
        config: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(workdir, env, timeout, logEnviron, config, **kwargs)
        self.needs(tagName=tagName)
        if annotated and messages is None:
            error("step GitTag: an annotated tag needs messages", "as in messages=['Release 1.0']")
        elif messages is not None and not annotated:
            error("step GitTag: only an annotated tag has messages", "add annotated=True")
        elif messages is not None and not is_renderable(messages) and not isinstance(messages, list | tuple):
            error(f"step GitTag: messages must be a list, not {shown(messages)}", "put it in a list: [...]")
        self.tagName = tagName
        self.annotated = annotated
        self.messages = messages
        self.force = force

    async def write(self) -> int:
        name = str(self.tagName or "")
        if not name or name.startswith("-") or NO_REF.search(name):
            self.refuse(f"{name!r} can't be a tag")
        words = ["tag"]
        if self.annotated:
            words += ["--annotate", *[f"--message={text}" for text in self.texts("messages")]]
        if self.force:
            words.append("--force")
        await self.must(*words, "--", name)
        return SUCCESS


class GitPush(_GitStep):
    """Pushes a branch or a tag, or what a whole refspec says, to a repository.

    Example::

        factory.addStep(
            steps.GitPush(
                repourl="https://git.example.org/project.git",
                branch="main",
                auth_credentials=("ci", util.Secret("git-password")),
            )
        )
    """

    name = "gitpush"
    renderables: ClassVar[tuple[str, ...]] = ("repourl", "branch")

    def __init__(
        self,
        workdir: str | IRenderable | None = None,
        repourl: str | IRenderable | None = None,
        port: int = SSH_PORT,
        branch: str | IRenderable | None = None,
        force: bool = False,
        env: Any = None,
        timeout: float | IRenderable | None = 1200,
        logEnviron: bool | IRenderable = True,
        sshPrivateKey: str | IRenderable | None = None,
        sshHostKey: str | IRenderable | None = None,
        sshKnownHosts: str | IRenderable | None = None,
        auth_credentials: Any = None,
        git_credentials: Any = None,
        config: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(workdir, env, timeout, logEnviron, config, **kwargs)
        self.needs(branch=branch)
        self.repourl = repourl
        self.port = port
        self.branch = branch
        self.force = force
        self.sshPrivateKey = sshPrivateKey
        self.sshHostKey = sshHostKey
        self.sshKnownHosts = sshKnownHosts
        self.auth_credentials = auth_credentials
        self.git_credentials = git_credentials
        self.check_remote()

    async def write(self) -> int:
        refspec = str(self.branch or "")
        if not refspec or NO_REF.search(re.sub(r"^\+|:", "", refspec)):
            self.refuse(f"{refspec!r} can't be a branch")
        self.find_way()
        await self.must("push", *(["--force"] if self.force else []), "--", self._access.url, refspec)
        return SUCCESS
