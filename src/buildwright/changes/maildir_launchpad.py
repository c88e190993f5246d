"""Changes from the mails that Launchpad sends of revisions of a Bazaar branch.

The header ``X-Launchpad-Branch`` says which branch it is; the text is what ``bzr log --long --verbose`` says
of the revision, with what was merged indented below it.
"""

from __future__ import annotations

import contextlib
import email.utils
import re
from collections.abc import Mapping
from datetime import datetime
from email.message import EmailMessage
from typing import Any

from buildwright.changes.maildir import MaildirSource, Parsed
from buildwright.changes.tools import expect_texts
from buildwright.model.errors import expect

_RULE = re.compile(r"(?: {4,})?-{20,}\Z")  # a message's own lines are indented by two
_FIELD = re.compile(r"(revno|author|committer|timestamp): (.*)")
_MESSAGE = re.compile(r"message:\s*\Z")
_FILES = re.compile(r"(added|removed|renamed|modified|kind changed):\s*\Z")
_END = re.compile(r"=== |--\s*\Z")


class BzrLaunchpadEmailMaildirSource(MaildirSource):
    """Reads the mails that Launchpad sends to subscribers of a branch. A change's branch is what
    ``branchMap`` has for ``lp:~person/project/branch``, else ``defaultBranch``, else that name itself.

    Example::

        c["change_source"].append(
            changes.BzrLaunchpadEmailMaildirSource(
                "/var/mail/launchpad", branchMap={"lp:~example/project/2.0": "2.0"}, defaultBranch="trunk"
            )
        )
    """

    def __init__(
        self,
        maildir: str,
        prefix: str | None = None,
        branchMap: Mapping[str, str] | None = None,
        defaultBranch: str | None = None,
        category: str = "",
        repository: str = "",
        name: str | None = None,
    ) -> None:
        super().__init__(maildir, prefix, category, repository, name)
        expect_texts(self.what, defaultBranch=defaultBranch)
        if branchMap is not None and not expect(branchMap, dict, f"{self.what}: branchMap", "a dict"):
            branchMap = None
        self.branchMap = {str(name).removeprefix("lp:"): branch for name, branch in (branchMap or {}).items()}
        self.defaultBranch = defaultBranch

    def parse(self, message: EmailMessage, prefix: str | None = None) -> Parsed | None:  # noqa: ARG002
        part = message.get_body(("plain",))
        named = message["X-Launchpad-Branch"]
        if named is None or part is None:
            return None
        told = _revision(str(part.get_content()))
        if told is None:
            return None
        where = str(named).strip().removeprefix("lp:")
        told["branch"] = self.branchMap.get(where, self.defaultBranch or f"lp:{where}")
        told["repository"] = self.repository or f"lp:{where}"
        if "when" not in told and (sent := message["date"]):
            told["when"] = email.utils.parsedate_to_datetime(str(sent)).timestamp()
        return "bzr", told


def _name(line: str) -> str:
    """A file's name, without what tells that it can be run or is a link."""
    return line.strip().rstrip("*@")


def _revision(text: str) -> dict[str, Any] | None:
    """The first revision that a log tells of; None if there is none."""
    fields: dict[str, str] = {}
    files: list[str] = []
    comments: list[str] = []
    section = ""
    for line in text.splitlines():
        if _END.match(line) or (fields and _RULE.match(line)):
            break
        if line.startswith(" "):
            if section == "message":
                comments.append(line[2:])
            elif section == "renamed":
                files += [_name(each) for each in line.split(" => ", 1)]
            elif section:
                files.append(_name(line))
        elif found := _FIELD.match(line):
            fields[found[1]] = found[2].strip()
        elif _MESSAGE.match(line):
            section = "message"
        elif files_of := _FILES.match(line):
            section = files_of[1]
        elif not line.strip() and section == "message":
            comments.append("")
    if "revno" not in fields:
        return None
    told: dict[str, Any] = {
        "author": fields.get("author") or fields.get("committer", ""),
        "revision": fields["revno"].partition(" ")[0],  # behind it may be "[merge]"
        "comments": "\n".join(comments).strip("\n"),
        "files": list(dict.fromkeys(files)),
    }
    with contextlib.suppress(ValueError):  # then the mail's own date has to do
        told["when"] = datetime.strptime(fields.get("timestamp", "")[4:], "%Y-%m-%d %H:%M:%S %z").timestamp()
    return told
