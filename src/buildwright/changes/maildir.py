"""Change sources that read mails which a mail system delivers into a maildir.

A poll reads what is in ``new``. Which files it has read is remembered in the same unit that stores their
changes, and only the next poll moves those to ``cur``. If the master dies in between, a mail is found again,
and its change, whose identity is the file's name and content, counts once (P1).

A mail that can't be understood goes to ``cur`` as well, and that is told.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import email
import email.policy
import email.utils
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildwright.changes.base import Found, Poll, PollError, PollingChangeSource
from buildwright.changes.tools import expect_texts
from buildwright.model.errors import error, shown
from buildwright.model.logger import get_logger

if TYPE_CHECKING:
    from buildwright.store.units.changes import NewChange

log = get_logger(__name__)

US = 1_000_000
SECONDS = 10  # from one look to the next
AT_ONCE = 100  # so many mails are read by one poll
Parsed = tuple[str | None, Mapping[str, Any]]

_TEXTS = ("branch", "revision", "revlink", "category", "project", "codebase", "repository")
_HEADER = re.compile(r"(Author|Date|New Revision): (.*)")
_SECTION = re.compile(r"(?:Added|Modified|Removed|Deleted|Copied|Replaced):\Z")
_REMARK = re.compile(r"\s{2,}\([^()]*\)\Z")  # as in "trunk/a   (props changed)"
_DIFF = re.compile(r"(?:Added|Modified|Removed|Deleted|Copied|Replaced): \S|={20,}\Z")


class MaildirSource(PollingChangeSource):
    """Base of sources that read a maildir: one's own has ``parse(message, prefix)``, which gives None for a
    mail that is no change, or a pair: the kind of repository, and a dict of ``author``, ``files``,
    ``comments``, and as far as they are known ``when`` (seconds since the epoch), ``branch``, ``revision``,
    ``revlink``, ``category``, ``project``, ``repository``, ``codebase`` and ``properties``.

    Example::

        class OwnMails(changes.MaildirSource):
            def parse(self, message, prefix=None):
                return None, {"author": message["from"], "files": [], "comments": message["subject"]}

        c["change_source"].append(OwnMails("/var/mail/commits"))
    """

    def __init__(
        self,
        maildir: str,
        prefix: str | None = None,
        category: str = "",
        repository: str = "",
        name: str | None = None,
    ) -> None:
        kind = type(self).__name__
        if not maildir:
            error(f"{kind}: maildir must be the path of a directory, not {shown(maildir)}")
            maildir = "?"
        super().__init__(
            f"{kind}:{maildir}" if name is None else name, pollInterval=SECONDS, pollAtLaunch=True
        )
        expect_texts(self.what, prefix=prefix, category=category, repository=repository)
        if isinstance(prefix, str) and not prefix.endswith("/"):
            error(f"{self.what}: prefix must end with a slash, not be {shown(prefix)}")
        self.maildir = maildir
        self.prefix = prefix
        self.category = category
        self.repository = repository

    @abc.abstractmethod
    def parse(self, message: EmailMessage, prefix: str | None = None) -> Parsed | None:
        """What a mail tells; see the class."""

    async def poll(self, poll: Poll) -> Found:
        directory = poll.workdir / self.maildir
        taken = set((poll.state or {}).get("taken", ()))
        try:
            mails = await asyncio.to_thread(_look, directory, taken)
        except OSError as problem:
            raise PollError(f"{self.what}: {directory} can't be read: {problem.strerror}.") from None
        changes: list[NewChange] = []
        notice = ""
        for name, content in mails:
            try:
                changes += self._changes(name, content)
            except Exception as problem:
                notice = f"{self.what}: {name} can't be understood: {type(problem).__name__}: {problem}"
                log.warning("a mail is no change", source=self.name, mail=name, error=str(problem))
        return Found({"taken": [name for name, _ in mails]}, changes, notice)

    def _changes(self, name: str, content: bytes) -> list[NewChange]:
        from buildwright.store.units.changes import NewChange

        parsed = self.parse(email.message_from_bytes(content, policy=email.policy.default), self.prefix)
        if parsed is None:
            return []
        told = dict(parsed[1])
        files: Sequence[str] = told.get("files") or ()
        if self.prefix and files:
            files = [file.removeprefix(self.prefix) for file in files if file.startswith(self.prefix)]
            if not files:
                return []
        texts = {"category": self.category, "repository": self.repository}
        texts |= {key: str(told[key]) for key in _TEXTS if told.get(key) is not None}
        when = told.get("when")
        properties = {key: (value, "Change") for key, value in (told.get("properties") or {}).items()}
        digest = hashlib.sha256(content).hexdigest()
        change = NewChange(
            author=str(told.get("author") or told.get("who") or ""),
            comments=str(told.get("comments") or ""),
            files=tuple(files),
            when_us=None if when is None else int(when * US),
            properties=properties,
            identity=json.dumps(["maildir", self.name, name, digest]),
            **{key: value for key, value in texts.items() if value},
        )
        return [change]


class SVNCommitEmailMaildirSource(MaildirSource):
    """Reads the mails that Subversion's ``commit-email.pl`` and ``mailer.py`` send of each revision.

    Example::

        c["change_source"].append(changes.SVNCommitEmailMaildirSource("/var/mail/commits", prefix="trunk/"))
    """

    def parse(self, message: EmailMessage, prefix: str | None = None) -> Parsed | None:  # noqa: ARG002
        part = message.get_body(("plain",))
        lines = [] if part is None else str(part.get_content()).splitlines()
        headers: dict[str, str] = {}
        files: list[str] = []
        comments: list[str] = []
        section = ""
        for line in lines:
            if section == "" and (header := _HEADER.match(line)):
                headers[header[1]] = header[2].strip()
            elif _DIFF.match(line) and section:
                break
            elif _SECTION.match(line):
                section = "files"
            elif line == "Log:":
                section = "log"
            elif section == "files" and line.startswith("   "):
                files.append(_REMARK.sub("", line.strip()))
            elif section == "log":
                comments.append(line)
        if "New Revision" not in headers:
            return None
        told: dict[str, Any] = {
            "author": headers.get("Author", ""),
            "files": files,
            "comments": "\n".join(comments).strip(),
            "revision": headers["New Revision"],
        }
        if sent := message["date"]:
            told["when"] = email.utils.parsedate_to_datetime(str(sent)).timestamp()
        return "svn", told


def _look(directory: Path, taken: set[str]) -> list[tuple[str, bytes]]:
    """Move what was taken to ``cur``; gives the other mails, the oldest names first."""
    new, cur = directory / "new", directory / "cur"
    names = sorted(path.name for path in new.iterdir() if not path.name.startswith("."))
    if taken:
        cur.mkdir(exist_ok=True)
    mails: list[tuple[str, bytes]] = []
    for name in names:
        if name in taken:
            with contextlib.suppress(FileNotFoundError):  # somebody else has moved it
                (new / name).rename(cur / name)
        elif len(mails) < AT_ONCE:
            with contextlib.suppress(FileNotFoundError):
                mails.append((name, (new / name).read_bytes()))
    return mails
