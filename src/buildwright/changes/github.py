"""GitHubPullrequestPoller: finds pull requests with new commits, over GitHub's API.

A poll costs one request for 100 open pull requests, and two or more for each that has something new. Without
a token GitHub answers 60 requests an hour, with one 5000.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from buildwright.changes.base import PollError, as_dict
from buildwright.changes.http import MOST_PAGES, Api, RateLimited, api
from buildwright.changes.pullrequests import PullRequest, PullRequestPoller, when_us
from buildwright.model.errors import error, expect, shown
from buildwright.model.renderable import is_renderable

if TYPE_CHECKING:
    from buildwright.store.units.changes import NewChange

API = "https://api.github.com"
TYPES = {"https": "clone_url", "git": "git_url", "ssh": "ssh_url", "svn": "svn_url"}
FILE_PAGES = 30  # GitHub gives no more than 3000 files


class GitHubPullrequestPoller(PullRequestPoller):
    """Looks for pull requests with new commits in a repository at GitHub; ``branches`` are those that the
    pull requests are for.

    A change's branch is the pull request's own, in the repository that it comes from; with ``magic_link`` it
    is ``refs/pull/N/merge`` in the repository itself, for :class:`~buildwright.steps.gitforges.GitHub`.

    Example::

        c["change_source"].append(
            changes.GitHubPullrequestPoller(
                owner="example", repo="project", branches=["main"], token=util.Secret("github-token")
            )
        )
    """

    def __init__(
        self,
        owner: str,
        repo: str,
        branches: Sequence[str] | None = None,
        category: str | Callable[[Mapping[str, Any]], Any] | None = "pull",
        project: str | None = None,
        baseURL: str | None = None,
        pullrequest_filter: bool | Callable[[Mapping[str, Any]], Any] = True,
        token: Any = None,
        magic_link: bool = False,
        repository_type: str = "https",
        github_property_whitelist: Sequence[str] | None = None,
        pollInterval: float = 600,
        pollAtLaunch: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(
            name or f"GitHubPullrequestPoller:{owner}/{repo}",
            branches,
            pullrequest_filter,
            category,
            project,
            github_property_whitelist,
            "github",
            pollInterval=pollInterval,
            pollAtLaunch=pollAtLaunch,
        )
        for key, value in {"owner": owner, "repo": repo, "baseURL": baseURL or API}.items():
            expect(value, str, f"{self.what}: {key}", "text")
        if token is not None and not is_renderable(token):
            expect(token, str, f"{self.what}: token", "text, or a util.Secret")
        if repository_type not in TYPES:
            error(f"{self.what}: repository_type must be {', '.join(TYPES)}, not {shown(repository_type)}")
        self.owner = owner
        self.repo = repo
        self.baseURL = str(baseURL or API).rstrip("/")
        self.token = token
        self.magic_link = bool(magic_link)
        self.repository_type = repository_type

    @property
    def credentials(self) -> Any:
        return self.token

    def api(self, credentials: Any) -> AbstractAsyncContextManager[Api]:
        headers = {"Accept": "application/vnd.github+json"}
        if credentials is not None:
            headers["Authorization"] = f"token {credentials}"
        advice = "Check the poller's token." if credentials is not None else "Give the poller a token."
        return api(self.baseURL, advice, headers)

    async def pull_requests(self, api: Api) -> AsyncIterator[PullRequest]:
        path = f"/repos/{self.owner}/{self.repo}/pulls"
        async for pull in self._pages(api, path, MOST_PAGES, state="open"):
            yield PullRequest(int(pull["number"]), pull["head"]["sha"], pull["base"]["ref"], pull)

    async def _pages(self, api: Api, path: str, most: int, **query: str) -> AsyncIterator[Any]:
        found, links = await api.get(path, per_page="100", **query)
        for page in range(most):
            if not isinstance(found, list):
                raise PollError(f"{self.what}: {api.address(path)} gave no list")
            for each in found:
                yield each
            if "next" not in links or page + 1 == most:
                return
            found, links = await api.get(links["next"])

    async def change(self, api: Api, pull: PullRequest) -> NewChange:
        from buildwright.store.units.changes import NewChange

        content = pull.content
        base, head = content["base"]["repo"], content["head"]["repo"]
        branch = content["head"]["ref"]
        if self.magic_link:
            head, branch = base, f"refs/pull/{pull.number}/merge"
        elif head is None:  # the repository it comes from is gone: GitHub has kept its commits
            head, branch = base, f"refs/pull/{pull.number}/head"
        files = self._pages(api, f"/repos/{self.owner}/{self.repo}/pulls/{pull.number}/files", FILE_PAGES)
        repository = head[TYPES[self.repository_type]]
        title, body = content["title"] or "", content.get("body") or ""
        change = NewChange(
            author=await self._author(api, content),
            comments=f"GitHub Pull Request #{pull.number}\n{title}\n{body}".rstrip("\n"),
            branch=branch,
            revision=pull.revision,
            revlink=content["html_url"],
            when_us=when_us(content["updated_at"]),
            repository=repository,
            project=self.project if self.project is not None else base["full_name"],
            files=[str(each["filename"]) async for each in files],
            properties=self.properties(content),
            identity=json.dumps(["pull", self.name, repository, pull.number, pull.revision]),
        )
        return replace(change, category=self.category_of(as_dict(change)))

    async def _author(self, api: Api, content: Mapping[str, Any]) -> str:
        """Who has made the pull request; with an address, if it is public."""
        user = content.get("user")
        if user is None:  # the account is gone
            return "ghost"
        try:
            found, _ = await api.get(f"/users/{user['login']}")
            email = found.get("email")
        except RateLimited:
            raise
        except PollError:
            email = None
        return f"{user['login']} <{email}>" if email else str(user["login"])
