"""SVNPoller: finds the revisions that came into a directory of a Subversion repository.

A poll asks for the repository's newest revision and reads the log of those after the last one that it knows,
``histmax`` at a time, oldest first, until it has them all. That number moves in the same unit that stores the
changes, so a poll that is killed anywhere is done again with the same outcome, and a change's identity keeps
any repetition from counting twice (P1).

- The first poll records, and finds nothing. With a ``cachepath`` that holds the last revision that Buildbot
  knew, it finds what came after that.
- A repository that is another one now (its UUID says so), or that has fewer revisions than it had, is
  recorded anew, and that is told.
- A revision is one change for each branch that ``split_file`` finds among its paths; none if all that it did
  to a branch was to remove it.
- A repository that can't be reached, or has vanished: an error that says so, and everything stays as it is
  until the next poll.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, unquote
from xml.etree import ElementTree as ET

from buildwright.changes.base import Found, Poll, PollError, PollingChangeSource, State
from buildwright.changes.svnsplit import split_file_alwaystrunk
from buildwright.changes.tools import (
    address,
    ask,
    expect_functions,
    expect_texts,
    interval,
    rendered,
    run_tool,
)
from buildwright.model.errors import error, expect, shown
from buildwright.model.renderable import IRenderable, is_renderable

if TYPE_CHECKING:
    from buildwright.store.units.changes import NewChange

US = 1_000_000
_SPLIT = ("branch", "path", "project", "repository", "codebase")


@dataclass(frozen=True, slots=True)
class _Repository:
    """What svn says of the polled directory."""

    uuid: str
    newest: int
    prefix: str  # the directory's path within the repository: "/" or "/.../"


@dataclass(slots=True)
class _Touched:
    """What a revision did to a branch."""

    files: list[str] = field(default_factory=list)
    only_removed: bool = True  # the branch itself, and nothing in it


class SVNPoller(PollingChangeSource):
    """Looks for new revisions in a directory of a Subversion repository.

    Example::

        c["change_source"].append(
            changes.SVNPoller(
                "https://svn.example.org/project/",
                split_file=util.svn.split_file_branches,
                pollInterval=300,
                project="project",
            )
        )
    """

    def __init__(
        self,
        repourl: str,
        split_file: Callable[[str], Any] | None = None,
        svnuser: str | IRenderable | None = None,
        svnpasswd: str | IRenderable | None = None,
        pollInterval: float | None = None,
        histmax: int = 100,
        svnbin: str = "svn",
        revlinktmpl: str = "",
        category: str | None = None,
        project: str = "",
        cachepath: str | None = None,
        extra_args: Sequence[str] | None = None,
        name: str | None = None,
        pollAtLaunch: bool = False,
        pollRandomDelayMin: float = 0,
        pollRandomDelayMax: float = 0,
        pollinterval: float | None = None,
    ) -> None:
        self.repourl = address("SVNPoller", "repourl", repourl).rstrip("/")
        super().__init__(
            self.repourl if name is None else name,
            pollInterval=interval("SVNPoller", pollInterval, pollinterval),
            pollAtLaunch=pollAtLaunch,
            pollRandomDelayMin=pollRandomDelayMin,
            pollRandomDelayMax=pollRandomDelayMax,
        )
        expect_functions(self.what, split_file=split_file)
        for key, value in {"svnuser": svnuser, "svnpasswd": svnpasswd}.items():
            if not is_renderable(value):
                expect_texts(self.what, **{key: value})
        texts = {"svnbin": svnbin, "revlinktmpl": revlinktmpl, "category": category, "project": project}
        expect_texts(self.what, **texts, cachepath=cachepath)
        if extra_args is not None:
            expect(extra_args, (list, tuple), f"{self.what}: extra_args", "a list")
        if expect(histmax, int, f"{self.what}: histmax", "a number") and histmax < 1:
            error(f"{self.what}: histmax must be 1 or more, not {histmax}")
        if revlinktmpl:
            try:
                revlinktmpl % "1"
            except (TypeError, ValueError):
                error(f"{self.what}: revlinktmpl must have one %s for the revision, not {shown(revlinktmpl)}")
        self.split_file = split_file or split_file_alwaystrunk
        self.svnuser = svnuser
        self.svnpasswd = svnpasswd
        self.histmax = histmax
        self.svnbin = svnbin
        self.revlinktmpl = revlinktmpl
        self.category = category
        self.project = project
        self.cachepath = cachepath
        self.extra_args = list(extra_args or ())

    # -- polling ------------------------------------------------------------------------------------------

    async def poll(self, poll: Poll) -> Found:
        words, stdin = await self._login(poll)
        repository = self._repository(await self._svn(["info", *words, "--xml"], stdin))
        last, notice = self._last(repository, poll)
        changes: list[NewChange] = []
        after = last
        while after < repository.newest:
            some = f"{after + 1}:{repository.newest}"
            log = ["log", *words, "--xml", "--verbose", "--revision", some, "--limit", str(self.histmax)]
            entries = list(_parsed(await self._svn(log, stdin)).iter("logentry"))
            for entry in entries:
                changes += self._changes(entry, repository)
            after = _number(entries[-1]) if len(entries) >= self.histmax else repository.newest
        return Found({"uuid": repository.uuid, "lastRev": repository.newest}, changes, notice)

    def _last(self, repository: _Repository, poll: Poll) -> tuple[int, str]:
        """The last revision that is known, and what a person should know of it."""
        state: State | None = poll.state
        if state is None:
            return min(self._cached(poll.workdir, repository.newest), repository.newest), ""
        if state.get("uuid") != repository.uuid:
            return (
                repository.newest,
                f"{self.repourl} is another repository now; its revisions so far are old.",
            )
        last = int(state["lastRev"])
        if last > repository.newest:
            return repository.newest, (
                f"{self.repourl} had {last} revisions and has {repository.newest} now: has it been restored "
                "from a backup? Those that it has are taken as old."
            )
        return last, ""

    def _cached(self, basedir: Path, newest: int) -> int:
        """The last revision that Buildbot has left in its file."""
        if self.cachepath is None:
            return newest
        try:
            return int((basedir / self.cachepath).read_text(encoding="utf-8").strip())
        except FileNotFoundError:
            return newest
        except (OSError, ValueError) as problem:
            raise PollError(
                f"{self.what}: cachepath {self.cachepath!r} holds no revision: {problem}. Remove it to begin "
                "with the repository's newest."
            ) from None

    # -- revisions ----------------------------------------------------------------------------------------

    def _changes(self, entry: ET.Element, repository: _Repository) -> Iterator[NewChange]:
        """A change for each branch that a revision has touched."""
        from buildwright.store.units.changes import NewChange

        revision = str(_number(entry))
        for where, touched in self._branches(entry, repository.prefix).items():
            if touched.only_removed:
                continue
            split = dict(where)
            project = split.get("project", self.project)
            yield NewChange(
                author=entry.findtext("author") or "(no author)",
                files=tuple(touched.files),
                comments=entry.findtext("msg") or "",
                branch=split.get("branch"),
                revision=revision,
                revlink=self.revlinktmpl % quote_plus(revision) if self.revlinktmpl else None,
                when_us=_when_us(entry.findtext("date")),
                category=self.category,
                project=project or "",
                repository=split.get("repository") or self.repourl,
                codebase=split.get("codebase") or "",
                identity=json.dumps(["poll", self.name, repository.uuid, *where, revision]),
            )

    def _branches(self, entry: ET.Element, prefix: str) -> dict[tuple[tuple[str, str | None], ...], _Touched]:
        """What a revision did, by where it did it: all that ``split_file`` tells of that."""
        found: dict[tuple[tuple[str, str | None], ...], _Touched] = {}
        for path in entry.iter("path"):
            name = path.text or ""
            if path.get("kind") == "dir" and not name.endswith("/"):
                name += "/"
            if not name.startswith(prefix):
                continue
            split = self._split(name.removeprefix(prefix))
            if split is None:
                continue
            file = split.pop("path") or ""
            touched = found.setdefault(tuple(sorted(split.items())), _Touched())
            touched.files.append(file)
            touched.only_removed &= not file and path.get("action") == "D"
        return found

    def _split(self, path: str) -> dict[str, str | None] | None:
        given = ask(self.what, "split_file", self.split_file, path)
        if given is None:
            return None
        if isinstance(given, tuple | list) and len(given) == 2:
            given = {"branch": given[0], "path": given[1]}
        if (
            not isinstance(given, Mapping)
            or not isinstance(given.get("path"), str)
            or not set(given) <= set(_SPLIT)
            or not all(value is None or isinstance(value, str) for value in given.values())
        ):
            raise PollError(
                f"{self.what}: split_file must give (branch, path), a dict of {', '.join(_SPLIT)}, or None, "
                f"not {given!r} as for {path!r}"
            )
        return dict(given)

    # -- svn ----------------------------------------------------------------------------------------------

    async def _login(self, poll: Poll) -> tuple[list[str], bytes]:
        """Options of every command, and what it reads: a password, so that no list of processes shows it."""
        given = await rendered(self.what, poll, {"user": self.svnuser, "password": self.svnpasswd})
        words = ["--non-interactive", "--no-auth-cache"]
        if given["user"]:
            words += ["--username", str(given["user"])]
        if given["password"]:
            words.append("--password-from-stdin")
        return [*words, *self.extra_args], str(given["password"] or "").encode()

    async def _svn(self, words: Sequence[str], stdin: bytes) -> bytes:
        command = [self.svnbin, *words, "--", self.repourl]
        return await run_tool(command, f"svn {words[0]} of {self.repourl}", "svnbin", stdin=stdin)

    def _repository(self, info: bytes) -> _Repository:
        entry = _parsed(info).find("entry")
        uuid = entry.findtext("repository/uuid") if entry is not None else None
        root = entry.findtext("repository/root") if entry is not None else None
        url = entry.findtext("url") if entry is not None else None
        if entry is None or not uuid or not root or not url:
            raise PollError(f"svn info of {self.repourl} tells no repository.")
        within = unquote(url.removeprefix(root)).strip("/")
        return _Repository(uuid, _number(entry), f"/{within}/" if within else "/")


def _parsed(text: bytes) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - svn has written it


def _number(entry: ET.Element) -> int:
    return int(entry.get("revision", "0"))


def _when_us(date: str | None) -> int | None:
    """A date as svn writes it, in UTC; None if the revision has none."""
    if not date:
        return None
    return int(datetime.fromisoformat(date).timestamp() * US)
