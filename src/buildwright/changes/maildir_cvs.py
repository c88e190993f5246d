"""Changes from the mails that CVS sends of commits.

CVS runs what ``CVSROOT/loginfo`` says for each directory that a commit touches, and hands it a text: which
directory, which files, and the log message. A script sends that on, below lines of its own that say more:

    CVSROOT: :ext:cvs.example.org:/cvsroot
    Path: project/src
    Files: main.c,1.3,1.4 two words.c,NONE,1.1
    Project: project
    Category: commits

All of these may be missing. ``Files`` has each file's name with its old and new revision, behind the
directory where there is no ``Path``. Without it the names are those of the text, which has spaces between
them and so can't tell names with spaces from several.
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Iterator, Mapping, Sequence
from email.message import EmailMessage
from typing import Any

from buildwright.changes.maildir import MaildirSource, Parsed
from buildwright.model.errors import expect

_LINE = re.compile(r"(Category|CVSROOT|Cvsmode|Files|Path|Project): *(.*)")
_FILE = re.compile(r"(.+?),(?:NONE|[0-9.]+),(?:NONE|[0-9.]+)(?:\s+|\Z)")
_LIST = re.compile(r"(?:Added|Modified|Removed) Files:\s*\Z")
_TAG = re.compile(r"\s+Tag: (\S+)\s*\Z")


class CVSMaildirSource(MaildirSource):
    """Reads the mails that a script in CVS' ``loginfo`` sends of each directory of a commit. ``properties``
    are those of each change.

    Example::

        c["change_source"].append(
            changes.CVSMaildirSource("/var/mail/commits", prefix="project/", properties={"kind": "cvs"})
        )
    """

    def __init__(
        self,
        maildir: str,
        prefix: str | None = None,
        category: str = "",
        repository: str = "",
        properties: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(maildir, prefix, category, repository, name)
        if properties is not None:
            expect(properties, dict, f"{self.what}: properties", "a dict")
        self.properties = dict(properties or {})

    def parse(self, message: EmailMessage, prefix: str | None = None) -> Parsed | None:  # noqa: ARG002
        part = message.get_body(("plain",))
        lines = [] if part is None else str(part.get_content()).splitlines()
        if "Log Message:" not in lines:
            return None
        at = lines.index("Log Message:")
        found = (_LINE.match(line) for line in lines[:at])
        said: dict[str, str] = {each[1]: each[2] for each in found if each is not None}
        updated = next(
            (line[len("Update of ") :] for line in lines[:at] if line.startswith("Update of ")), ""
        )
        root = said.get("CVSROOT") or self.repository
        path = said.get("Path") or _below(updated, root)
        names = _named(said.get("Files", ""), path) or list(_listed(lines[:at]))
        _, address = email.utils.parseaddr(str(message["from"] or ""))
        told: dict[str, Any] = {
            "author": address.partition("@")[0] or address,
            "files": [f"{path}/{name}" if path else name for name in names] or [path],
            "comments": "\n".join(lines[at + 1 :]).strip("\n"),
            "branch": next((tag[1] for line in lines[:at] if (tag := _TAG.match(line)) is not None), None),
            "properties": self.properties,
        }
        if said.get("Category") not in (None, "", "None"):
            told["category"] = said["Category"]
        if said.get("Project"):
            told["project"] = said["Project"]
        if root:
            told["repository"] = root
        if sent := message["date"]:
            told["when"] = email.utils.parsedate_to_datetime(str(sent)).timestamp()
        return "cvs", told


def _below(directory: str, root: str) -> str:
    """A directory of the repository, relative to its root as far as that is known."""
    return directory.removeprefix(root.rpartition(":")[2].rstrip("/")).strip("/") if root else directory


def _named(files: str, path: str) -> Sequence[str]:
    """The names in a line ``Files``."""
    found = _FILE.findall(files)
    if not found:
        return []
    first = found[0]
    found[0] = first.removeprefix(f"{path} ") if path else first.partition(" ")[2] or first
    return list(found)


def _listed(lines: Sequence[str]) -> Iterator[str]:
    """The names below ``Added Files:`` and the like."""
    inside = False
    for line in lines:
        if _LIST.match(line):
            inside = True
        elif not line.startswith((" ", "\t")):
            inside = False
        elif inside and not _TAG.match(line):
            yield from line.split()
