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

With a `codebase` the commits that come, and what the branches point to, are told of that codebase, too: from
the first poll on, which tells the branches' newest commits.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from buildwright.changes.base import Found, Poll, PollError, PollingChangeSource, as_dict
from buildwright.changes.git import (
    HEADS,
    TAGS,
    Commit,
    GitFailed,
    Remote,
    Repository,
    is_broken,
    local,
    private_files,
)
from buildwright.changes.gitseen import seen_of
from buildwright.changes.tools import ask
from buildwright.model.errors import error, expect, shown, warn
from buildwright.model.gitaccess import (
    ACCESS_ARGUMENTS,
    SSH_PORT,
    AccessError,
    GitAccess,
    check_access,
    git_access,
)
from buildwright.model.logger import get_logger
from buildwright.model.properties import Properties
from buildwright.model.render import IRenderable, is_renderable, render
from buildwright.model.text import is_encoding

if TYPE_CHECKING:
    from buildwright.store.units.changes import NewChange

log = get_logger(__name__)

US = 1_000_000
Branches = bool | Sequence[str] | Callable[[str], Any] | None


class GitPoller(PollingChangeSource):
    """Looks for new commits in a Git repository.

    With ``codebase`` their history is kept, too: of the one of ``c["codebases"]`` that has this name, in the
    project that ``project`` names. Of what ``branches`` want, ``fetch_refspec`` leaves what a refspec names,
    or one of a list.

    Example::

        c["change_source"].append(
            changes.GitPoller(
                "https://git.example.org/project.git",
                branches=["main", "release"],
                pollInterval=120,
                project="project",
            )
        )
    """

    def __init__(
        self,
        repourl: Any,
        branches: Branches = None,
        branch: str | None = None,
        workdir: str | None = None,
        pollInterval: float | None = None,
        gitbin: str = "git",
        usetimestamps: bool = True,
        category: str | Callable[[Mapping[str, Any]], Any] | None = None,
        codebase: str | None = None,
        project: str | Callable[[Mapping[str, Any]], Any] | None = None,
        fetch_refspec: Any = None,
        encoding: str = "utf-8",
        name: str | None = None,
        pollAtLaunch: bool = False,
        buildPushesWithNoCommits: bool = False,
        only_tags: bool = False,
        sshPrivateKey: str | IRenderable | None = None,
        sshHostKey: str | IRenderable | None = None,
        sshKnownHosts: str | IRenderable | None = None,
        pollRandomDelayMin: float = 0,
        pollRandomDelayMax: float = 0,
        auth_credentials: Any = None,
        git_credentials: Any = None,
        pollinterval: float | None = None,
    ) -> None:
        if not is_renderable(repourl) and (not isinstance(repourl, str) or not repourl):
            error(
                f"GitPoller: repourl must be the address of a repository, not {shown(repourl)}",
                "as in 'https://...'",
            )
            repourl = "?"
        if pollinterval is not None and not expect(
            pollinterval, (int, float), "GitPoller: pollinterval", "a number of seconds"
        ):
            pollinterval = None
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
            error(f"{self.what}: pollInterval is given twice", "pollinterval is its old name: leave it out")
        elif pollinterval is not None:
            warn(f"{self.what}: pollinterval is the old name of pollInterval", "write pollInterval")
        if sum((bool(branches), branch is not None, bool(only_tags))) > 1:
            error(f"{self.what} takes only one of branches, branch and only_tags")
        expect(gitbin, str, f"{self.what}: gitbin", "text")
        if not expect(encoding, str, f"{self.what}: encoding", "text"):
            encoding = "utf-8"
        if codebase is not None:
            expect(codebase, str, f"{self.what}: codebase", "text")
        for key, optional in {"category": category, "project": project}.items():
            if optional is not None and not callable(optional):
                expect(optional, str, f"{self.what}: {key}", "text or a function")
        check_access(
            self.what,
            port=SSH_PORT,
            sshPrivateKey=sshPrivateKey,
            sshHostKey=sshHostKey,
            sshKnownHosts=sshKnownHosts,
            auth_credentials=auth_credentials,
            git_credentials=git_credentials,
        )
        if not is_encoding(encoding):
            error(f"{self.what}: there is no encoding {encoding!r}", "as in encoding='latin-1'")
            encoding = "utf-8"
        self.repourl = repourl
        self.branches = _branches(self.what, branches, branch)
        self.fetch_refspec = _refspecs(self.what, fetch_refspec)
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
        self.git_credentials = git_credentials
        for each in self._named():
            if not self._fetched(each):
                error(f"{self.what}: fetch_refspec doesn't name the branch {each.removeprefix(HEADS)!r}")

    @property
    def _codebase(self) -> list[str] | None:
        """The codebase whose commits are told, and its project, unless that is known of changes only."""
        if not self.codebase:
            return None
        return [self.codebase, self.project if isinstance(self.project, str) else ""]

    # -- polling ------------------------------------------------------------

    async def poll(self, poll: Poll) -> Found:
        access, shown_url = await self._access(poll)
        place = hashlib.sha256(access.url.encode()).hexdigest()[:12]
        slug = re.sub(r"[^\w-]+", "_", self.name)[-60:]
        own = hashlib.sha256(self.name.encode()).hexdigest()[:8]
        directory = poll.workdir / self.workdir
        with private_files(directory / f"{slug}-{own}.private", access.files) as variables:
            environment = {**access.environment, **variables}
            remote = Remote(access.url, shown_url, access.options, environment)
            repository = Repository(
                directory / f"{slug}-{own}-{place}", remote, gitbin=self.gitbin, encoding=self.encoding
            )
            return await self._poll(repository, poll.state)

    async def _poll(self, repository: Repository, state: Mapping[str, Any] | None) -> Found:
        try:
            await repository.prepare()
            return await self._look(repository, state)
        except GitFailed as failure:
            if not is_broken(failure):
                raise
            log.warning(
                "a poller's repository is broken and made anew", source=self.name, error=failure.stderr
            )
            repository.discard()
            await repository.prepare()
            return await self._look(repository, state)

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
        came: list[Commit] = []
        moved = [name for name in sorted(now) if now[name] != last.get(name)]
        if state is not None:
            known = sorted({each for each in await repository.commits_of(sorted(set(last.values()))) if each})
            for name in moved:
                new = await self._new(repository, now[name], last.get(name), known)
                changes += [self._change(commit, name, shown_url) for commit in new]
                came += new
        told = None if state is None else state.get("codebase")
        heads = {name: now[name] for name in (moved if told == self._codebase else now)}
        seen = await seen_of(repository, heads, came, *self._codebase) if self._codebase and heads else None
        now.update({name: last[name] for name in missing if name in last})  # it is expected to come back
        gone = sorted({local(name) for name in last} - {local(name) for name in now})
        await repository.forget([each for each in gone if each in ours])
        notice = ""
        if missing:
            names = ", ".join(repr(name.removeprefix(HEADS)) for name in missing)
            notice = f"{shown_url} has no branch {names}. Check the poller's branches."
        elif not refs:
            notice = f"{shown_url} has nothing to follow: no commit yet, or no branch that is wanted."
        remembered: dict[str, Any] = {"repository": shown_url, "lastRev": now}
        if self._codebase:
            remembered["codebase"] = self._codebase
        return Found(remembered, changes, notice, seen)

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
        change = NewChange(
            author=commit.author,
            committer=commit.committer,
            comments=commit.comments,
            branch=branch,
            revision=commit.revision,
            when_us=commit.time * US if self.usetimestamps else None,
            repository=repository,
            codebase=self.codebase or "",
            files=commit.files,
            identity=json.dumps(["poll", self.name, repository, branch, commit.revision]),
        )
        known = as_dict(change)
        return replace(
            change,
            category=self._said("category", self.category, known),
            project=self._said("project", self.project, known) or "",
        )

    def _said(self, what: str, given: Any, known: Mapping[str, Any]) -> Any:
        """An argument that is text or a function: the text for this change."""
        if not callable(given):
            return given
        value = ask(self.what, what, given, known, about=known["revision"])
        if value is not None and not isinstance(value, str):
            raise PollError(f"{self.what}: the function {what} must give text, not {shown(value)}")
        return value

    # -- which references ------------------------------------------------------------

    def _named(self) -> list[str]:
        """The full names of the references that are named one by one."""
        if isinstance(self.branches, list) and not self.only_tags:
            return [full_name(each) for each in self.branches]
        return []

    def _fetched(self, name: str) -> bool:
        """Whether ``fetch_refspec`` names the reference."""
        return self.fetch_refspec is None or any(fnmatchcase(name, each) for each in self.fetch_refspec)

    async def _wanted(self, repository: Repository) -> dict[str, str]:
        """The remote's references that are followed."""
        refs = await self._asked_for(repository)
        return {name: target for name, target in refs.items() if self._fetched(name)}

    async def _asked_for(self, repository: Repository) -> dict[str, str]:
        """The remote's references that ``branches`` and the like want."""
        if self.only_tags:
            return await repository.remote_refs([TAGS + "*"])
        if self.branches is True:
            return await repository.remote_refs([HEADS + "*"])
        if callable(self.branches):
            refs = await repository.remote_refs([])
            wanted = self.branches
            return {name: target for name, target in refs.items() if ask(self.what, "branches", wanted, name)}
        if self.branches is None:
            head = await repository.remote_head()
            if head is None:
                return {}
            return dict([head])
        names = self._named()
        refs = await repository.remote_refs(names)
        return {name: refs[name] for name in names if name in refs}

    # -- how to get there ------------------------------------------------------------

    async def _access(self, poll: Poll) -> tuple[GitAccess, str]:
        """How to reach the remote, and its address as it may be shown and stored."""
        props = Properties()
        props.secret_source = poll.secret_source
        try:
            url = str(await render(self.repourl, props))
            given = {name: await render(getattr(self, name), props) for name in ACCESS_ARGUMENTS}
            access = git_access(url, **given)
        except AccessError as problem:
            raise PollError(f"{self.what}: {problem}") from None
        except Exception as problem:
            raise PollError(
                f"{self.what} can't be rendered: {type(problem).__name__}: {problem}"
            ) from problem
        shown_url = without_password(access.url)
        for name, value in props.secrets.items():
            shown_url = shown_url.replace(value, f"<{name}>")
        return access, shown_url


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
            error(f"{what}: {each!r} is no name of a branch", "as in 'main' or 'release/2.0'")
    return list(branches)


def _refspecs(what: str, given: Any) -> list[str] | None:
    """The patterns of full names that refspecs have on the remote's side."""
    if given is None:
        return None
    refspecs = [given] if isinstance(given, str) else given
    if not isinstance(refspecs, (list, tuple, set, frozenset)) or not refspecs:
        error(f"{what}: fetch_refspec must be a refspec or a list of them, not {shown(given)}")
        return None
    patterns = []
    for each in refspecs:
        source = each.removeprefix("+").partition(":")[0] if isinstance(each, str) else ""
        if source.count("*") > 1 or not is_branch(source.replace("*", "x")):
            error(
                f"{what}: fetch_refspec: {shown(each)} is no refspec",
                "as in '+refs/heads/release/*:refs/remotes/origin/release/*'",
            )
        patterns.append(full_name(source))
    return patterns


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
