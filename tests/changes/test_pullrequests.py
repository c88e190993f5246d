"""Pollers of pull requests, against servers that speak GitHub's and Bitbucket's APIs as far as they ask."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from buildwright.changes.base import Found, Poll, PollError, PollingChangeSource
from buildwright.changes.bitbucket import BitbucketPullrequestPoller
from buildwright.model.errors import ConfigErrors
from buildwright.model.render import Secret
from buildwright.plugins import changes
from tests.support.forge import Forge

TOKEN = "ghp_0123456789abcdef"


def sha(number: int) -> str:
    return f"{number:040x}"


@pytest.fixture
async def forge(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Forge]:
    made = Forge()
    await made.server.start_server(shutdown_timeout=1)
    monkeypatch.setattr(BitbucketPullrequestPoller, "address", made.url)
    yield made
    await made.server.close()


class Polls:
    """Polls one after another, each with what the last one remembered."""

    def __init__(self, poller: PollingChangeSource) -> None:
        self.poller = poller
        self.state: Any = None

    async def __call__(self) -> Found:
        async def secret(name: str) -> str | None:
            return {"token": TOKEN}.get(name)

        found = await self.poller.poll(Poll(self.state, Path("unused"), secret))
        self.state = json.loads(json.dumps(found.state))
        return found

    async def heads(self) -> list[str | None]:
        return [change.revision for change in (await self()).changes]


def github(forge: Forge, repo: str = "r", **more: Any) -> Polls:
    return Polls(changes.GitHubPullrequestPoller("o", repo, baseURL=forge.url, **more))


async def test_github_tells_of_each_new_head_once(forge: Forge) -> None:
    for number in range(1, 6):
        forge.github(number, sha(number))
    look = github(forge, github_property_whitelist=["github.head.*", "github.number"])
    found = await look()
    assert [change.revision for change in found.changes] == [sha(number) for number in range(1, 6)]
    change = found.changes[0]
    assert (change.author, change.branch, change.repository) == (
        "ann <ann@example.org>",
        "topic1",
        "https://h/ann/r.git",
    )
    assert change.files == ["a", "b/ü", "c\nd"]
    assert (change.category, change.project) == ("pull", "o/r")
    assert (change.comments, change.revlink) == ("GitHub Pull Request #1\nTitle 1", "https://h/o/r/pull/1")
    assert change.when_us == 1_767_323_045_000_000
    assert change.properties["github.head.sha"] == (sha(1), "Change")
    assert change.properties["github.number"] == (1, "Change")
    assert "github.title" not in change.properties
    assert await look.heads() == []
    forge.github(2, sha(22))
    del forge.pulls[3]
    assert await look.heads() == [sha(22)]
    assert set(look.state["heads"]) == {"1", "2", "4", "5"}


async def test_github_with_a_magic_link_and_of_people_who_are_gone(forge: Forge) -> None:
    forge.github(1, sha(1))
    forge.github(2, sha(2), user=None)
    forge.github(3, sha(3), user="unknown")
    found = await github(forge, magic_link=True, repository_type="ssh", project="p")()
    assert {(change.branch, change.repository) for change in found.changes} == {
        (f"refs/pull/{number}/merge", "git@h:o/r.git") for number in (1, 2, 3)
    }
    assert [change.author for change in found.changes] == ["ann <ann@example.org>", "ghost", "unknown"]
    assert {change.project for change in found.changes} == {"p"}
    found = await github(forge)()
    assert found.changes[1].branch == "refs/pull/2/head"


async def test_github_filters(forge: Forge) -> None:
    forge.github(1, sha(1))
    forge.github(2, sha(2), target="release")
    assert await github(forge, branches=["release"]).heads() == [sha(2)]
    assert await github(forge, pullrequest_filter=lambda pull: pull["number"] == 1).heads() == [sha(1)]
    assert await github(forge, pullrequest_filter=False).heads() == []
    found = await github(forge, category=lambda change: change["branch"].upper())()
    assert [change.category for change in found.changes] == ["TOPIC1", "TOPIC2"]
    with pytest.raises(
        PollError, match="the function pullrequest_filter failed for pull request 1: KeyError: 'no'"
    ):
        await github(forge, pullrequest_filter=lambda pull: pull["no"])()
    with pytest.raises(PollError, match=r"the function category failed for [0-9a-f]+: KeyError: 'no'"):
        await github(forge, category=lambda change: change["no"])()


async def test_p9_the_token_goes_to_its_own_place_only(forge: Forge) -> None:
    for number in range(1, 4):
        forge.github(number, sha(number))
    forge.credentials = f"token {TOKEN}"
    assert len(await github(forge, token=Secret("token")).heads()) == 3
    with pytest.raises(
        PollError, match=r"access is denied \(401: Bad credentials\). Give the poller a token"
    ):
        await github(forge)()
    with pytest.raises(PollError, match="Check the poller's token") as caught:
        await github(forge, token="wrong")()
    assert "wrong" not in str(caught.value)
    with pytest.raises(PollError, match="can't be rendered: SecretMissing"):
        await github(forge, token=Secret("nothing"))()
    other = Forge()
    await other.server.start_server(shutdown_timeout=1)
    try:
        forge.elsewhere = f"{other.url}/repos/o/r/pulls?state=open"
        with pytest.raises(PollError, match="points to another place"):
            await github(forge, token=Secret("token"))()
        assert other.asked == []
        forge.elsewhere, forge.moved = "", f"{other.url}/repos/o/r/pulls?state=open"
        assert await github(forge, "moved", token=Secret("token")).heads() == []
        assert len(other.asked) == 1
        assert other.authorizations == {None}
    finally:
        await other.server.close()


async def test_a_rate_limit_keeps_what_was_found_before(forge: Forge) -> None:
    for number in range(1, 5):
        forge.github(number, sha(number))
    look = github(forge)
    forge.left = 0
    with pytest.raises(
        PollError, match=r"the rate limit is used up until 22:13:20 UTC\. Give the poller a tok"
    ):
        await look()
    forge.left = 5  # the list's page, two pages of files and the user, and then one more
    found = await look()
    assert [change.revision for change in found.changes] == [sha(1)]
    assert "the rate limit is used up" in found.notice
    forge.left = None
    found = await look()
    assert [change.revision for change in found.changes] == [sha(number) for number in range(2, 5)]
    assert not found.notice


async def test_answers_that_make_no_sense(forge: Forge) -> None:
    with pytest.raises(PollError, match=r"/repos/o/r2/pulls\S* doesn't exist \(404\)"):
        await github(forge, "r2")()
    with pytest.raises(PollError, match="/repos/o/nonsense/pulls gave no list"):
        await github(forge, "nonsense")()
    forge.pulls[1] = {"number": 1}
    with pytest.raises(PollError, match="the answer makes no sense: KeyError: 'head'"):
        await github(forge)()
    look = github(forge)
    await forge.server.close()
    with pytest.raises(PollError, match="can't be reached"):
        await look()


async def test_bitbucket(forge: Forge) -> None:
    for number in range(1, 4):
        forge.bitbucket(number, f"{number}" * 12)
    auth = ("ann", Secret("token"))
    forge.credentials = "Basic " + base64.b64encode(f"ann:{TOKEN}".encode()).decode()
    words: dict[str, Any] = {"auth": auth, "bitbucket_property_whitelist": ["bitbucket.id"], "project": "p"}
    look = Polls(changes.BitbucketPullrequestPoller("o", "r", category="c", **words))
    found = await look()
    full = [f"{number}" * 12 + "0" * 28 for number in range(1, 4)]
    assert [change.revision for change in found.changes] == full
    change = found.changes[0]
    assert (change.author, change.branch, change.repository) == ("Ann", "topic", "https://b/ann/r")
    assert change.comments == "pull-request #1: Title 1\nhttps://b/o/r/pull-requests/1"
    assert (change.category, change.project) == ("c", "p")
    assert change.when_us == 1_767_323_045_123_456
    assert dict(change.properties) == {"bitbucket.id": (1, "Change")}
    assert await look.heads() == []
    forge.bitbucket(2, "a" * 12)
    assert await look.heads() == ["a" * 12 + "0" * 28]
    other = Polls(
        changes.BitbucketPullrequestPoller("o", "r", branch="release", useTimestamps=False, auth=auth)
    )
    assert await other.heads() == []
    other = Polls(changes.BitbucketPullrequestPoller("o", "r", ["topic"], useTimestamps=False, auth=auth))
    assert {change.when_us for change in (await other()).changes} == {None}
    with pytest.raises(PollError, match=r"Give the poller auth=\(user, password\)"):
        await Polls(changes.BitbucketPullrequestPoller("o", "r"))()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"branches": "main"}, "branches must be a list of texts"),
        (
            {"pullrequest_filter": "x"},
            "pullrequest_filter must be a function of a pull request, True or False",
        ),
        ({"category": 3}, "category must be text or a function"),
        ({"token": 3}, "token must be text, or a util.Secret"),
        ({"repository_type": "hg"}, "repository_type must be https, git, ssh, svn, not str 'hg'"),
        ({"github_property_whitelist": "github.*"}, "github_property_whitelist must be a list of texts"),
        ({"pollInterval": -1}, "pollInterval must not be negative"),
    ],
)
def test_mistakes_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        changes.GitHubPullrequestPoller("o", "r", **arguments)
    assert message in str(caught.value)


def test_auth_of_bitbucket_is_a_pair() -> None:
    with pytest.raises(ConfigErrors, match=r"auth must be \(user, password\)"):
        changes.BitbucketPullrequestPoller("o", "r", auth="ann:secret")
