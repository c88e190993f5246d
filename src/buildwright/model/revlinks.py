"""Links to revisions at the forges that keep them.

``c['revlink']`` is a function of revision and repository. A :class:`RevlinkMatch` is one for repositories
that match regular expressions; the default knows the addresses of the large forges.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from buildwright.model.errors import error, expect, shown


class RevlinkMatch:
    r"""A link for repositories that match one of some regular expressions: in the text, ``%s`` is the
    revision and ``\1`` the first group of the expression.

    Example::

        c["revlink"] = util.RevlinkMatch(
            [r"https://git\.example\.org/(.*)\.git"], r"https://git.example.org/\1/commit/%s"
        )
    """

    def __init__(self, repo_urls: str | Iterable[str], revlink: str) -> None:
        self.repo_urls: list[re.Pattern[str]] = []
        given: Any = [repo_urls] if isinstance(repo_urls, str) else repo_urls
        wanted = "a regular expression or a list of them"
        if expect(given, (list, tuple), "RevlinkMatch: repo_urls", wanted):
            for each in given:
                try:
                    self.repo_urls.append(re.compile(each))
                except (re.error, TypeError) as problem:
                    error(f"RevlinkMatch: {shown(each)} is no regular expression: {problem}")
        self.revlink = revlink
        self._parts: list[str] = []
        if expect(revlink, str, "RevlinkMatch: revlink", "text with a %s for the revision"):
            self._parts = [part.replace("\0", "%") for part in revlink.replace("%%", "\0").split("%s")]
            if len(self._parts) != 2:
                error(
                    f"RevlinkMatch: revlink {revlink!r} must have exactly one %s for the revision",
                    r"as in 'https://example.org/\1/commit/%s'",
                )

    def __call__(self, rev: str, repo: str) -> str | None:
        """The link; None if the repository is another's."""
        for pattern in self.repo_urls:
            if found := pattern.match(repo):
                return rev.join([found.expand(part) for part in self._parts])
        return None

    def __repr__(self) -> str:
        return f"RevlinkMatch({[each.pattern for each in self.repo_urls]!r}, {self.revlink!r})"


def _forge(host: str) -> list[str]:
    """The addresses under which a forge has a repository; its path is the first group."""
    host = re.escape(host)
    path = r"((?:[^/?#]+/)+[^/?#]+?)(?:\.git)?/?\Z"
    return [
        rf"(?:https?|git)://(?:[^@/]*@)?{host}(?::\d+)?/{path}",
        rf"(?:git\+)?ssh://(?:[^@/]*@)?{host}(?::\d+)?/{path}",
        rf"[^@/:]+@{host}:{path}",
    ]


FORGES: Final = (
    RevlinkMatch(_forge("github.com"), r"https://github.com/\1/commit/%s"),
    RevlinkMatch(_forge("gitlab.com"), r"https://gitlab.com/\1/-/commit/%s"),
    RevlinkMatch(_forge("bitbucket.org"), r"https://bitbucket.org/\1/commits/%s"),
    RevlinkMatch(
        [r"(?:git|https?|ssh)://(?:[^@/]*@)?git\.code\.sf\.net/p/([^/]+/[^/?#]+?)(?:\.git)?/?\Z"],
        r"https://sourceforge.net/p/\1/ci/%s/",
    ),
    RevlinkMatch(
        [r"(?:svn|https?|svn\+ssh)://(?:[^@/]*@)?svn\.code\.sf\.net/p/([^/]+/[^/?#]+)(?:/.*)?\Z"],
        r"https://sourceforge.net/p/\1/%s/",
    ),
)


def default_revlink(rev: str, repo: str) -> str | None:
    """The link to a revision of a repository at a forge that is known."""
    for forge in FORGES:
        if link := forge(rev, repo):
            return link
    return None
