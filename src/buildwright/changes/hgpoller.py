"""HgPoller: finds the changesets that came into branches of a Mercurial repository.

A poll asks the remote what its branches and bookmarks point to, pulls those that moved into a repository of
its own, and lists for each what leads to it and to none of the changesets known from the last poll. What is
known, `lastRev`, is one changeset per name; it moves in the same unit that stores the changes. So a poll that
is killed anywhere is done again with the same outcome, and a change's identity keeps any repetition from
counting twice (P1).

- The first poll records, and finds nothing. The same after the poller was pointed to another repository.
- The first changeset of a repository that was empty, and a branch that nothing is known to compare with, is
  one change: its newest changeset.
- A rewritten branch: its changesets that the old one hadn't. If the old one isn't to be had any more, its
  newest changeset.
- A branch that is missing: that is told, and it is expected to come back.
- A repository that can't be reached, or has vanished: an error that says so, and everything stays as it is
  until the next poll.

The repository of the poller's own is a cache: what a killed hg has left half done is undone, and one that is
broken, or unrelated to the remote, is made anew.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildwright.changes.base import Found, Poll, PollError, PollingChangeSource
from buildwright.changes.gitpoller import without_password
from buildwright.changes.tools import (
    ToolFailed,
    address,
    ask,
    expect_functions,
    expect_texts,
    interval,
    run_tool,
)
from buildwright.model.errors import error, expect, shown
from buildwright.model.logger import get_logger
from buildwright.model.text import is_encoding

if TYPE_CHECKING:
    from buildwright.store.units.changes import NewChange

log = get_logger(__name__)

US = 1_000_000
DEFAULT = "default"
_NODE = re.compile(r"[0-9a-f]{40}\Z")
_NOTHING = "0" * 40
_UNKNOWN = re.compile(r"abort: unknown (?:revision|branch|bookmark)|filtered revision|hg: parse error")
_BROKEN = re.compile(
    r"integrity check failed|corrupt|no node|unrelated|\.hg.*not found|requires features|"
    r"invalid (?:revlog|magic)|unknown (?:version|format)|repository .* not found in",
    re.IGNORECASE,
)
_FIELDS = "node|json", "user|json", "desc|json", "date|hgdate|json", "files|json"
_TEMPLATE = "[" + ",".join(f"{{{each}}}" for each in _FIELDS) + "]\\n"
# Nothing of the user's settings, no colours, no questions.
_ENVIRONMENT = {"HGPLAIN": "1", "HGENCODING": "utf-8"}


class HgPoller(PollingChangeSource):
    """Looks for new changesets in a Mercurial repository: in ``branches`` and ``bookmarks``, or in
    ``default``.

    Example::

        c["change_source"].append(
            changes.HgPoller("https://hg.example.org/project", branches=["default", "stable"])
        )
    """

    def __init__(
        self,
        repourl: str,
        branch: str | None = None,
        branches: Sequence[str] | None = None,
        bookmarks: Sequence[str] | None = None,
        workdir: str | None = None,
        pollInterval: float | None = None,
        hgbin: str = "hg",
        usetimestamps: bool = True,
        category: str | None = None,
        project: str = "",
        encoding: str = "utf-8",
        name: str | None = None,
        pollAtLaunch: bool = False,
        revlink: Callable[[str, str], str] | None = None,
        pollRandomDelayMin: float = 0,
        pollRandomDelayMax: float = 0,
        pollinterval: float | None = None,
    ) -> None:
        self.repourl = address("HgPoller", "repourl", repourl)
        self._shown = without_password(self.repourl)
        super().__init__(
            self._shown if name is None else name,
            pollInterval=interval("HgPoller", pollInterval, pollinterval),
            pollAtLaunch=pollAtLaunch,
            pollRandomDelayMin=pollRandomDelayMin,
            pollRandomDelayMax=pollRandomDelayMax,
        )
        if branch is not None and branches:
            error(f"{self.what} takes only one of branch and branches")
        texts = {"branch": branch, "workdir": workdir, "hgbin": hgbin, "category": category}
        expect_texts(self.what, **texts, project=project)
        expect_functions(self.what, revlink=revlink)
        if not expect(encoding, str, f"{self.what}: encoding", "text"):
            encoding = "utf-8"
        if not is_encoding(encoding):
            error(f"{self.what}: there is no encoding {encoding!r}", "as in encoding='latin-1'")
            encoding = "utf-8"
        named = [branch] if branch is not None else _listed(self.what, "branches", branches)
        self.bookmarks = _listed(self.what, "bookmarks", bookmarks)
        self.branches = named or ([] if self.bookmarks else [DEFAULT])
        self.workdir = workdir or "hgpoller-work"
        self.hgbin = hgbin
        self.usetimestamps = usetimestamps
        self.category = category
        self.project = project
        self.encoding = encoding
        self.revlink = revlink

    # -- polling ------------------------------------------------------------------------------------------

    async def poll(self, poll: Poll) -> Found:
        own = hashlib.sha256(f"{self.name}\0{self.repourl}".encode()).hexdigest()[:12]
        slug = re.sub(r"[^\w-]+", "_", self.name)[-60:]
        directory = poll.workdir / self.workdir / f"{slug}-{own}"
        state = poll.state
        if state is not None and state.get("repository") != self._shown:
            state = None
        last: dict[str, str] | None = None if state is None else dict(state["lastRev"])
        now = await self._remote()
        missing = [name for name in [*self.branches, *self.bookmarks] if name not in now]
        changes: list[NewChange] = []
        if last is not None and any(now[name] != last.get(name) for name in now):
            changes = await self._mended(directory, last, now)
        kept = {name: last[name] for name in missing if last is not None and name in last}
        notice = ""
        if missing:
            names = ", ".join(map(repr, missing))
            notice = f"{self._shown} has no {names}: it is empty, or the poller's branches are wrong."
        return Found({"repository": self._shown, "lastRev": {**now, **kept}}, changes, notice)

    async def _remote(self) -> dict[str, str]:
        """What the remote's branches and bookmarks point to, of those that are followed and are there."""
        found = {}
        for name in [*self.branches, *self.bookmarks]:
            try:
                words = ["identify", "--debug", "--id", f"--rev={name}", "--", self.repourl]
                said = (await self._hg(words)).decode().strip()
            except ToolFailed as failure:
                if _UNKNOWN.search(failure.stderr) is None:
                    raise
                continue
            if not _NODE.match(said):
                raise PollError(f"hg identify of {self._shown} gave {said!r} for {name!r}.")
            if said != _NOTHING:
                found[name] = said
        return found

    async def _mended(self, directory: Path, last: dict[str, str], now: dict[str, str]) -> list[NewChange]:
        """The changes, with a repository that is made anew if it is broken."""
        try:
            return await self._look(directory, last, now)
        except ToolFailed as failure:
            if _BROKEN.search(failure.stderr) is None:
                raise
            log.warning(
                "a poller's repository is broken and made anew", source=self.name, error=failure.stderr
            )
            shutil.rmtree(directory, ignore_errors=True)
            return await self._look(directory, last, now)

    async def _look(self, directory: Path, last: dict[str, str], now: dict[str, str]) -> list[NewChange]:
        if not (directory / ".hg" / "requires").exists():
            shutil.rmtree(directory, ignore_errors=True)
            directory.parent.mkdir(parents=True, exist_ok=True)
            await self._hg(["init", "--", str(directory)])
        elif (directory / ".hg" / "store" / "journal").exists():
            await self._hg(["recover", "--no-verify"], directory)
        wanted = {node for name, node in now.items() if node != last.get(name)} | set(last.values())
        await self._pull(directory, wanted)
        known = sorted(await self._here(directory, set(last.values())))
        changes: list[NewChange] = []
        for name in sorted(now):
            before = last.get(name)
            if now[name] == before:
                continue
            lost = before is not None and before not in known
            revset = now[name]
            if known and not lost:
                revset = f"sort(only({now[name]}, {'+'.join(known)}), rev)"
            words = ["log", f"--rev={revset}", f"--template={_TEMPLATE}"]
            lines = (await self._hg(words, directory)).decode("utf-8", "replace").splitlines()
            changes += [self._change(json.loads(line), name) for line in lines]
        return changes

    async def _pull(self, directory: Path, wanted: set[str]) -> None:
        """Pull these changesets; those that the remote has no more are left out."""
        missing = sorted(wanted - await self._here(directory, wanted))
        while missing:
            try:
                words = ["pull", "--quiet", *[f"--rev={node}" for node in missing], "--", self.repourl]
                await self._hg(words, directory)
            except ToolFailed as failure:
                gone = [node for node in missing if node[:12] in failure.stderr]
                if _UNKNOWN.search(failure.stderr) is None or not gone:
                    raise
                missing.remove(gone[0])
            else:
                return

    async def _here(self, directory: Path, nodes: set[str]) -> set[str]:
        """Those of the changesets that the repository has."""
        revset = "+".join(f"present({node})" for node in sorted(nodes)) or "none()"
        found = await self._hg(["log", f"--rev={revset}", "--template={node}\\n"], directory)
        return set(found.decode().split())

    def _change(self, fields: Sequence[Any], name: str) -> NewChange:
        from buildwright.store.units.changes import NewChange

        node, user, comments, date, files = fields
        link = ask(self.what, "revlink", self.revlink, name, node) if self.revlink is not None else ""
        if link is not None and not isinstance(link, str):
            raise PollError(f"{self.what}: the function revlink must give text, not {shown(link)}")
        return NewChange(
            author=user,
            comments=comments,
            branch=name,
            revision=node,
            revlink=link or None,
            when_us=int(date.split()[0]) * US if self.usetimestamps else None,
            category=self.category,
            project=self.project,
            repository=self._shown,
            files=tuple(self._file(each) for each in files),
            identity=json.dumps(["poll", self.name, self._shown, name, node]),
        )

    def _file(self, name: str) -> str:
        """A file's name; what isn't UTF-8 in it comes as lone surrogates."""
        return name.encode("utf-8", "surrogateescape").decode(self.encoding, "backslashreplace")

    async def _hg(self, words: Sequence[str], directory: Path | None = None) -> bytes:
        command = [self.hgbin, "--noninteractive"]
        if directory is not None:
            command += ["--cwd", str(directory)]
        doing = f"hg {words[0]} of {self._shown}"
        try:
            return await run_tool([*command, *words], doing, "hgbin", environment=_ENVIRONMENT)
        except ToolFailed as failure:
            told = str(failure).replace(self.repourl, self._shown)
            raise ToolFailed(told, failure.stderr) from None


def _listed(what: str, name: str, values: Any) -> list[str]:
    if values is None:
        return []
    if not isinstance(values, list | tuple) or not all(isinstance(each, str) and each for each in values):
        error(f"{what}: {name} must be a list of names, not {shown(values)}", f"as in {name}=['stable']")
        return []
    return list(values)
