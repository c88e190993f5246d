"""Links to revisions."""

import pytest

from buildwright.model.errors import ConfigErrors
from buildwright.model.revlinks import RevlinkMatch, default_revlink


@pytest.mark.parametrize(
    ("repository", "link"),
    [
        ("https://github.com/owner/name", "https://github.com/owner/name/commit/ab12"),
        ("https://github.com/owner/name.git", "https://github.com/owner/name/commit/ab12"),
        ("https://me:pw@github.com/owner/name.git/", "https://github.com/owner/name/commit/ab12"),
        ("git://github.com/owner/name.git", "https://github.com/owner/name/commit/ab12"),
        ("git@github.com:owner/name.git", "https://github.com/owner/name/commit/ab12"),
        ("ssh://git@github.com:22/owner/name.git", "https://github.com/owner/name/commit/ab12"),
        ("https://gitlab.com/group/sub/name.git", "https://gitlab.com/group/sub/name/-/commit/ab12"),
        ("git@bitbucket.org:team/name.git", "https://bitbucket.org/team/name/commits/ab12"),
        ("git://git.code.sf.net/p/project/code", "https://sourceforge.net/p/project/code/ci/ab12/"),
        ("https://svn.code.sf.net/p/project/code/trunk", "https://sourceforge.net/p/project/code/ab12/"),
        ("https://github.com.evil.example/owner/name", None),
        ("https://example.org/github.com/owner/name", None),
        ("https://github.com/owner", None),
        ("/srv/git/name.git", None),
        ("", None),
    ],
)
def test_forges_that_are_known(repository: str, link: str | None) -> None:
    assert default_revlink("ab12", repository) == link


def test_a_match_of_ones_own() -> None:
    match = RevlinkMatch(
        [r"https://git\.example/(.*)", r"file:///(.*)"], r"https://web.example/\1?a%%20b&id=%s"
    )
    assert match("7", "https://git.example/one") == "https://web.example/one?a%20b&id=7"
    assert match(r"\1", "file:///tw%o") == r"https://web.example/tw%o?a%20b&id=\1"
    assert match("7", "https://other.example/one") is None


@pytest.mark.parametrize(
    ("repo_urls", "revlink", "said"),
    [
        ("(", "%s", r"RevlinkMatch: str '(' is no regular expression: missing ), unterminated subpattern"),
        ([3], "%s", "RevlinkMatch: int 3 is no regular expression"),
        (3, "%s", "RevlinkMatch: repo_urls must be a regular expression or a list of them, not int 3"),
        ("x", "https://x/", "RevlinkMatch: revlink 'https://x/' must have exactly one %s for the revision"),
        ("x", None, "RevlinkMatch: revlink must be text with a %s for the revision, not None"),
    ],
)
def test_mistakes(repo_urls: object, revlink: object, said: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        RevlinkMatch(repo_urls, revlink)  # type: ignore[arg-type]
    assert said in str(caught.value)
