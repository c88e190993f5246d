"""P4Source: finds the changes that were submitted below a directory of a Perforce server.

A poll asks for the changes after the last one that it knows, and for what each did. That number moves in the
same unit that stores the changes, so a poll that is killed anywhere is done again with the same outcome, and
a change's identity keeps any repetition from counting twice (P1).

- The first poll records, and finds nothing. The same after the source was pointed to another server or
  directory.
- A submitted change is one change for each branch that ``split_file`` finds among its files.
- With ``histmax`` no more than so many are taken by one poll, the newest, and that older ones were left out
  is told.
- A server that can't be reached: an error that says so, and everything stays as it is until the next poll.

A password is in the environment of p4. With ``use_tickets`` it is on the standard input of ``p4 login``, and
the ticket that comes of it is in the environment, until it is ``ticket_login_interval`` seconds old or fails.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from buildwright.changes.base import Found, Poll, PollError, PollingChangeSource
from buildwright.changes.git import run
from buildwright.changes.p4records import NoRecord, Record, failure, read_records, text
from buildwright.changes.tools import ask, expect_functions, expect_texts, interval, rendered
from buildwright.model.errors import error, expect
from buildwright.model.renderable import IRenderable, is_renderable
from buildwright.model.text import is_encoding

if TYPE_CHECKING:
    from buildwright.store.units.changes import NewChange

US = 1_000_000
AT_ONCE = 50  # so many changes are described by one command
_TICKET = re.compile(r"\b[0-9A-F]{32,}\Z")


def _all_is_one_branch(path: str) -> tuple[str | None, str]:
    return None, path


class P4Source(PollingChangeSource):
    """Looks for changes that were submitted to a Perforce server.

    ``split_file`` gets a file's path below ``p4base`` and gives (branch, path within it), or None for one
    that is of no interest. ``resolvewho`` makes an author of a user's name, ``revlink`` a link of branch and
    revision. ``server_tz`` is not needed: p4 tells times that know no zone.

    Example::

        c["change_source"].append(
            changes.P4Source(
                p4port="ssl:perforce.example.org:1666",
                p4user="ci",
                p4passwd=util.Secret("perforce"),
                p4base="//depot/project/",
                split_file=lambda path: path.split("/", 1),
                pollInterval=120,
            )
        )
    """

    def __init__(
        self,
        p4port: str | None = None,
        p4user: str | IRenderable | None = None,
        p4passwd: str | IRenderable | None = None,
        p4base: str = "//",
        p4bin: str = "p4",
        split_file: Callable[[str], Any] | None = None,
        pollInterval: float | None = None,
        histmax: int | None = None,
        encoding: str = "utf8",
        project: str | None = None,
        name: str | None = None,
        use_tickets: bool = False,
        ticket_login_interval: float = 86400,
        server_tz: str | None = None,
        pollAtLaunch: bool = False,
        revlink: Callable[[str | None, str], Any] | None = None,
        resolvewho: Callable[[str], Any] | None = None,
        pollRandomDelayMin: float = 0,
        pollRandomDelayMax: float = 0,
        pollinterval: float | None = None,
    ) -> None:
        super().__init__(
            f"P4Source:{p4port or ''}:{p4base}" if name is None else name,
            pollInterval=interval("P4Source", pollInterval, pollinterval),
            pollAtLaunch=pollAtLaunch,
            pollRandomDelayMin=pollRandomDelayMin,
            pollRandomDelayMax=pollRandomDelayMax,
        )
        expect_functions(self.what, split_file=split_file, revlink=revlink, resolvewho=resolvewho)
        for key, value in {"p4user": p4user, "p4passwd": p4passwd}.items():
            if not is_renderable(value):
                expect_texts(self.what, **{key: value})
        expect_texts(self.what, p4port=p4port, p4bin=p4bin, project=project, server_tz=server_tz)
        given: Any = p4base
        if not isinstance(given, str) or not given.startswith("//"):
            error(f"{self.what}: p4base must begin with //, as in '//depot/project/', not {given!r}")
            p4base = "//"
        if histmax is not None and expect(histmax, int, f"{self.what}: histmax", "a number") and histmax < 1:
            error(f"{self.what}: histmax must be 1 or more, not {histmax}")
        if use_tickets and p4passwd is None:
            error(f"{self.what}: use_tickets needs a p4passwd to log in with", "give it p4passwd")
        expect(ticket_login_interval, (int, float), f"{self.what}: ticket_login_interval", "seconds")
        if not is_encoding(encoding):
            error(f"{self.what}: there is no encoding {encoding!r}", "as in encoding='latin-1'")
            encoding = "utf8"
        self.p4port = p4port
        self.p4user = p4user
        self.p4passwd = p4passwd
        below = p4base.strip("/")
        self.p4base = f"//{below}/" if below else "//"
        self.p4bin = p4bin
        self.split_file = split_file or _all_is_one_branch
        self.histmax = histmax
        self.encoding = encoding
        self.project = project or ""
        self.use_tickets = bool(use_tickets)
        self.ticket_login_interval = ticket_login_interval
        self.revlink = revlink
        self.resolvewho = resolvewho
        self._ticket: tuple[str, float] | None = None  # and when we logged in, monotonic

    # -- polling ------------------------------------------------------------------------------------------

    async def poll(self, poll: Poll) -> Found:
        given = await rendered(self.what, poll, {"user": self.p4user, "password": self.p4passwd})
        access = await self._access(given["user"], given["password"])
        where = [self.p4port or "", self.p4base]
        state = poll.state if poll.state is not None and poll.state.get("where") == where else None
        if state is None:
            newest = await self._p4(access, "changes", "-s", "submitted", "-m", "1", f"{self.p4base}...")
            return Found({"where": where, "lastChange": max(map(_number, newest), default=0)})
        last = int(state["lastChange"])
        most = ["-m", str(self.histmax)] if self.histmax is not None else []
        after = f"{self.p4base}...@{last + 1},#head"
        numbers = sorted(map(_number, await self._p4(access, "changes", "-s", "submitted", *most, after)))
        changes: list[NewChange] = []
        for begin in range(0, len(numbers), AT_ONCE):
            some = map(str, numbers[begin : begin + AT_ONCE])
            for record in await self._p4(access, "describe", "-s", *some):
                changes += self._changes(record)
        notice = ""
        if self.histmax is not None and len(numbers) >= self.histmax:
            notice = f"{self.what}: {len(numbers)} changes came at once; older ones are left out (histmax)."
        return Found({"where": where, "lastChange": max([last, *numbers])}, changes, notice)

    def _changes(self, record: Record) -> Iterator[NewChange]:
        """A change for each branch that a submitted one has touched."""
        from buildwright.store.units.changes import NewChange

        revision, who = str(_number(record)), text(record, "user", self.encoding)
        for branch, files in self._branches(record).items():
            yield NewChange(
                author=self._said("resolvewho", self.resolvewho, who) or who,
                files=tuple(files),
                comments=text(record, "desc", self.encoding).rstrip("\n"),
                branch=branch,
                revision=revision,
                revlink=self._said("revlink", self.revlink, branch, revision) or None,
                when_us=int(text(record, "time", "ascii") or 0) * US or None,
                project=self.project,
                identity=json.dumps(["poll", self.name, self.p4port, branch, revision]),
            )

    def _branches(self, record: Record) -> dict[str | None, list[str]]:
        """The files, by their branches."""
        found: dict[str | None, list[str]] = {}
        number = 0
        while f"depotFile{number}" in record:
            path = text(record, f"depotFile{number}", self.encoding)
            number += 1
            if not path.startswith(self.p4base):
                continue
            split = ask(self.what, "split_file", self.split_file, path.removeprefix(self.p4base))
            if split is None:
                continue
            if not isinstance(split, tuple | list) or len(split) != 2:
                raise PollError(f"{self.what}: split_file must give (branch, path), not {split!r} for {path}")
            branch, file = split
            if file is not None:
                found.setdefault(branch, []).append(str(file))
        return found

    def _said(self, name: str, function: Callable[..., Any] | None, *arguments: Any) -> str:
        if function is None:
            return ""
        value = ask(self.what, name, function, *arguments)
        if value is not None and not isinstance(value, str):
            raise PollError(f"{self.what}: the function {name} must give text, not {value!r}")
        return value or ""

    # -- p4 -----------------------------------------------------------------------------------------------

    async def _access(self, user: Any, password: Any) -> tuple[list[str], dict[str, str]]:
        """The command's beginning, and its environment."""
        command = [self.p4bin]
        for option, value in {"-p": self.p4port, "-u": user}.items():
            command += [option, str(value)] if value else []
        secret = "" if password is None else str(password)
        if self.use_tickets:
            if self._ticket is None or time.monotonic() - self._ticket[1] >= self.ticket_login_interval:
                self._ticket = await self._log_in(command, secret), time.monotonic()
            secret = self._ticket[0]
        return command, {"P4PASSWD": secret} if secret else {}

    async def _log_in(self, command: Sequence[str], password: str) -> str:
        _, out, err = await self._run([*command, "login", "-p"], {}, f"{password}\n".encode())
        found = _TICKET.search(out.decode("utf-8", "replace").strip())
        if found is None:
            said = (err or out).decode("utf-8", "replace").split("\n")
            why = next((line.strip() for line in reversed(said) if line.strip()), "no ticket came")
            raise PollError(f"{self.what}: p4 login failed: {why}")
        return found[0]

    async def _p4(self, access: tuple[Sequence[str], Mapping[str, str]], *words: str) -> list[Record]:
        """Run p4; gives its records."""
        command, environment = access
        code, out, err = await self._run([*command, "-G", *words], environment)
        doing = f"{self.what}: p4 {words[0]}"
        try:
            records = read_records(out)
        except NoRecord:
            raise PollError(f"{doing} said {out[:200]!r}") from None
        said = " ".join(err.decode("utf-8", "replace").split()) or f"exit status {code}"
        if why := failure(records, self.encoding) or (said if code and not records else ""):
            self._ticket = None  # it may have expired
            raise PollError(f"{doing} failed: {why}")
        return [record for record in records if record.get("code") == b"stat"]

    async def _run(
        self, command: Sequence[str], environment: Mapping[str, str], stdin: bytes = b""
    ) -> tuple[int, bytes, bytes]:
        inherited = {**os.environ, "LC_ALL": "C.UTF-8", **environment}
        return await run(command, stdin, inherited, advice="Install it or set p4bin.")


def _number(record: Record) -> int:
    return int(text(record, "change", "ascii") or 0)
