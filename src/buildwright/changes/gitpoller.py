"""GitPoller: finds the commits that came into branches of a Git repository.

A poll asks the remote what its references point to (`ls-remote`), fetches those that moved into a bare
repository of its own, and lists for each what leads to it and to none of the commits known from the last
poll. What is known, `lastRev`, is one commit per reference; it moves in the same unit that stores the
changes. So a poll that is killed anywhere is done again with the same outcome, and a change's identity
(poller, repository, branch, revision) keeps any repetition from counting twice (P1).

- The first poll records, and finds nothing. The same after the poller was pointed to another repository.
- The first commit of a repository that was empty, and a branch that nothing is known to compare with, is
  one change: its newest commit.
- A rewritten branch: its commits that the old one hadn't. If the old one isn't to be had any more (the
  working directory was lost meanwhile), its newest commit.
- A branch that moved to a commit that is known already (a fast-forward merge): nothing, or with
  `buildPushesWithNoCommits` one change.
- A branch that vanished is forgotten, unless it is named in `branches`: then that is an error which says
  so.
- A repository that can't be reached, or has vanished: an error that says so, and everything stays as it
  is until the next poll.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from buildwright.changes.base import Found, Poll, PollError, PollingChangeSource
from buildwright.changes.git import (
    HEADS,
    TAGS,
    Commit,
    GitFailed,
    Remote,
    Repository,
    is_broken,
    local,
)
from buildwright.model.errors import error, expect, shown
from buildwright.model.logger import get_logger
from buildwright.model.properties import Properties
from buildwright.model.render import is_renderable, render

if TYPE_CHECKING:
    from buildwright.store.units.changes import NewChange

log = get_logger(__name__)

US = 1_000_000
Branches = bool | Sequence[str] | Callable[[str], Any] | None


class GitPoller(PollingChangeSource):
    """Looks for new commits in a Git repository."""

    def __init__(
        self,
        repourl: Any,
        *,
        branches: Branches = None,
        branch: str | None = None,
        workdir: str | None = None,
        pollInterval: float | None = None,
        pollinterval: float | None = None,
        gitbin: str = "git",
        usetimestamps: bool = True,
        category: str | None = None,
        codebase: str | None = None,
        project: str | None = None,
        fetch_refspec: Any = None,
        encoding: str = "utf-8",
        name: str | None = None,
        pollAtLaunch: bool = False,
        buildPushesWithNoCommits: bool = False,
        only_tags: bool = False,
        sshPrivateKey: Any = None,
        sshHostKey: Any = None,
        sshKnownHosts: Any = None,
        pollRandomDelayMin: float = 0,
        pollRandomDelayMax: float = 0,
        auth_credentials: tuple[Any, Any] | None = None,
    ) -> None:
        if not is_renderable(repourl) and (not isinstance(repourl, str) or not repourl):
            error(f"GitPoller: repourl must be the address of a repository, not {shown(repourl)}")
            repourl = ""
        address = without_password(repourl) if isinstance(repourl, str) else repr(repourl)
        interval = pollInterval if pollInterval is not None else pollinterval
        super().__init__(
            _name(name, address, branch, branches),
            pollInterval=600 if interval is None else interval,
            pollAtLaunch=pollAtLaunch,
            pollRandomDelayMin=pollRandomDelayMin,
            pollRandomDelayMax=pollRandomDelayMax,
        )
        if pollInterval is not None and pollinterval is not None:
            error(
                f"{self.what}: pollInterval is given twice", hint="pollinterval is its old name: leave it out"
            )
        if sum((bool(branches), branch is not None, bool(only_tags))) > 1:
            error(f"{self.what} takes only one of branches, branch and only_tags")
        if fetch_refspec is not None:
            error(f"{self.what}: fetch_refspec has no effect", hint="name the branches in branches")
        for key, text in {"gitbin": gitbin, "encoding": encoding}.items():
            expect(text, str, f"{self.what}: {key}", "text")
        for key, optional in {"category": category, "codebase": codebase, "project": project}.items():
            if optional is not None:
                expect(optional, str, f"{self.what}: {key}", "text")
        try:
            "".encode(encoding)
        except (LookupError, TypeError):
            error(f"{self.what}: there is no encoding {encoding!r}")
            encoding = "utf-8"
        self.repourl = repourl
        self.branches = _branches(self.what, branches, branch)
        self.workdir = workdir or "gitpoller-work"
        self.gitbin = gitbin
        self.usetimestamps = usetimestamps
        self.category = category
        self.codebase = codebase
        self.project = project or ""
        self.encoding = encoding
        self.buildPushesWithNoCommits = buildPushesWithNoCommits
        self.only_tags = only_tags
        self.sshPrivateKey = sshPrivateKey
        self.sshHostKey = sshHostKey
        self.sshKnownHosts = sshKnownHosts
        self.auth_credentials = auth_credentials

    # -- polling ------------------------------------------------------------

    async def poll(self, poll: Poll) -> Found:
        remote, private = await self._remote(poll)
        place = hashlib.sha256(remote.url.encode()).hexdigest()[:12]
        slug = re.sub(r"[^\w-]+", "_", self.name)[-60:]
        own = hashlib.sha256(self.name.encode()).hexdigest()[:8]
        repository = Repository(
            poll.workdir / self.workdir / f"{slug}-{own}-{place}",
            remote,
            gitbin=self.gitbin,
            encoding=self.encoding,
        )
        try:
            await repository.prepare()
            return await self._look(repository, poll.state)
        except GitFailed as failure:
            if not is_broken(failure):
                raise
            log.warning(
                "a poller's repository is broken and made anew", source=self.name, error=failure.stderr
            )
            repository.discard()
            await repository.prepare()
            return await self._look(repository, poll.state)
        finally:
            for path in private:
                path.unlink(missing_ok=True)

    async def _look(self, repository: Repository, state: Mapping[str, Any] | None) -> Found:
        shown_url = repository.remote.shown
        if state is not None and state.get("repository") != shown_url:
            state = None
        last: dict[str, str] = {} if state is None else dict(state["lastRev"])
        refs = await self._wanted(repository)
        missing = [name for name in self._named() if name not in refs]
        ours = await repository.followed()
        await self._fetch(repository, [name for name in refs if ours.get(local(name)) != refs[name]])
        commits = await repository.commits_of([local(name) for name in refs])
        now = {name: commit for name, commit in zip(refs, commits, strict=True) if commit is not None}
        changes: list[NewChange] = []
        if state is not None:
            known = sorted({each for each in await repository.commits_of(sorted(set(last.values()))) if each})
            for name in sorted(now):
                if now[name] != last.get(name):
                    new = await self._new(repository, now[name], last.get(name), known)
                    changes += [self._change(commit, name, shown_url) for commit in new]
        now.update({name: last[name] for name in missing if name in last})  # it is expected to come back
        gone = sorted({local(name) for name in last} - {local(name) for name in now})
        await repository.forget([each for each in gone if each in ours])
        notice = ""
        if missing:
            names = ", ".join(repr(name.removeprefix(HEADS)) for name in missing)
            notice = f"{shown_url} has no branch {names}. Check the poller's branches."
        elif not refs:
            notice = f"{shown_url} has nothing to follow: no commit yet, or no branch that is wanted."
        return Found({"repository": shown_url, "lastRev": now}, changes, notice)

    async def _fetch(self, repository: Repository, names: Sequence[str]) -> None:
        """Fetch; a reference that vanished since we were told of it doesn't hold up the others."""
        wanted = list(names)
        while wanted:
            try:
                await repository.fetch(wanted)
            except GitFailed as failure:
                match = re.search(r"couldn't find remote ref (\S+)", failure.stderr)
                if match is None or match[1] not in wanted:
                    raise
                wanted.remove(match[1])
            else:
                return

    async def _new(
        self, repository: Repository, target: str, before: str | None, known: Sequence[str]
    ) -> list[Commit]:
        """The commits to tell of a reference that has moved."""
        lost = before is not None and before not in known
        if lost or not known:
            return await repository.log([target], (), walk=False)
        commits = await repository.log([target], known)
        if not commits and self.buildPushesWithNoCommits:
            return await repository.log([target], (), walk=False)
        return commits

    def _change(self, commit: Commit, name: str, repository: str) -> NewChange:
        from buildwright.store.units.changes import NewChange

        branch = name.removeprefix(HEADS)
        return NewChange(
            author=commit.author,
            committer=commit.committer,
            comments=commit.comments,
            branch=branch,
            revision=commit.revision,
            when_us=commit.time * US if self.usetimestamps else None,
            category=self.category,
            repository=repository,
            codebase=self.codebase or "",
            project=self.project,
            files=commit.files,
            identity=json.dumps(["poll", self.name, repository, branch, commit.revision]),
        )

    # -- which references ------------------------------------------------------------

    def _named(self) -> list[str]:
        """The full names of the references that are named one by one."""
        if isinstance(self.branches, list) and not self.only_tags:
            return [full_name(each) for each in self.branches]
        return []

    async def _wanted(self, repository: Repository) -> dict[str, str]:
        """The remote's references that are followed."""
        if self.only_tags:
            return await repository.remote_refs([TAGS + "*"])
        if self.branches is True:
            return await repository.remote_refs([HEADS + "*"])
        if callable(self.branches):
            refs = await repository.remote_refs([])
            return {name: target for name, target in refs.items() if self._asked(name)}
        if self.branches is None:
            head = await repository.remote_head()
            if head is None:
                return {}
            return dict([head])
        names = self._named()
        refs = await repository.remote_refs(names)
        return {name: refs[name] for name in names if name in refs}

    def _asked(self, name: str) -> bool:
        assert callable(self.branches)
        try:
            return bool(self.branches(name))
        except Exception as problem:
            raise PollError(
                f"{self.what}: the function branches failed for {name!r}: {type(problem).__name__}: {problem}"
            ) from problem

    # -- how to get there ------------------------------------------------------------

    async def _remote(self, poll: Poll) -> tuple[Remote, list[Path]]:
        """The remote, and the files with secrets that were made for reaching it."""
        props = Properties()
        props.secret_source = poll.secret_source
        try:
            url = str(await render(self.repourl, props))
            credentials = await render(self.auth_credentials, props)
            key = await render(self.sshPrivateKey, props)
            host_key = await render(self.sshHostKey, props)
            known_hosts = await render(self.sshKnownHosts, props)
        except Exception as problem:
            raise PollError(
                f"{self.what} can't be rendered: {type(problem).__name__}: {problem}"
            ) from problem
        shown_url = without_password(url)
        for name, value in props.secrets.items():
            shown_url = shown_url.replace(value, f"<{name}>")
        settings: dict[str, str] = {}
        environment: dict[str, str] = {}
        files: list[Path] = []
        if credentials is not None:
            user, password = credentials
            environment.update(BUILDWRIGHT_GIT_USERNAME=str(user), BUILDWRIGHT_GIT_PASSWORD=str(password))
            told = (f'echo "{name}=$BUILDWRIGHT_GIT_{name.upper()}"' for name in ("username", "password"))
            settings["credential.helper"] = f"!f() {{ {'; '.join(told)}; }}; f"
        if key is not None:
            directory = poll.workdir / self.workdir
            directory.mkdir(parents=True, exist_ok=True)
            prefix = hashlib.sha256(self.name.encode()).hexdigest()[:16]
            identity = _private(directory / f"{prefix}.key", str(key).rstrip("\n") + "\n")
            files.append(identity)
            ssh = ["ssh", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", str(identity)]
            if known_hosts is not None or host_key is not None:
                hosts = str(known_hosts) if known_hosts is not None else f"* {host_key}"
                files.append(_private(directory / f"{prefix}.hosts", hosts.rstrip("\n") + "\n"))
                ssh += ["-o", f"UserKnownHostsFile={files[-1]}", "-o", "StrictHostKeyChecking=yes"]
            environment["GIT_SSH_COMMAND"] = shlex.join(ssh)
        return Remote(url, shown_url, settings, environment), files


def _name(name: str | None, address: str, branch: str | None, branches: Any) -> str:
    if name is not None:
        return name
    if branch is not None:
        return f"{address}[{branch}]"
    if isinstance(branches, (list, tuple)):
        return f"{address}[{','.join(map(str, branches))}]"
    return address


def _branches(what: str, branches: Any, branch: str | None) -> Any:
    if branch is not None:
        branches = [branch]
    if branches is None or branches is True or callable(branches):
        return branches
    if branches is False or (isinstance(branches, (list, tuple)) and not branches):
        return None
    if not isinstance(branches, (list, tuple)) or not all(isinstance(each, str) for each in branches):
        error(f"{what}: branches must be a list of names, True or a function, not {shown(branches)}")
        return None
    for each in branches:
        if not is_branch(each):
            error(f"{what}: {each!r} is no name of a branch")
    return list(branches)


def is_branch(name: str) -> bool:
    """Whether Git allows such a name."""
    bad = re.search(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|^\.|\.$|/$|^/|\.lock(/|$)", name)
    return bool(name) and name != "@" and bad is None


def full_name(branch: str) -> str:
    """The full name of a branch, which may be given as one."""
    return branch if branch.startswith("refs/") else HEADS + branch


def without_password(url: str) -> str:
    """An address as it may be shown and stored."""
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        return url
    if not password:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}@{host}"))


def _private(path: Path, text: str) -> Path:
    """A file that only we can read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return path
