"""BitbucketPullrequestPoller: finds pull requests with new commits, over the API of Bitbucket's cloud."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from buildwright.changes.base import as_dict
from buildwright.changes.http import MOST_PAGES, Api, api, basic
from buildwright.changes.pullrequests import PullRequest, PullRequestPoller, when_us
from buildwright.model.errors import error, expect
from buildwright.model.renderable import is_renderable

if TYPE_CHECKING:
    from buildwright.store.units.changes import NewChange


class BitbucketPullrequestPoller(PullRequestPoller):
    """Looks for pull requests with new commits in a repository at Bitbucket.

    ``branch`` is the name of the pull request's own branch, or a list of them.

    Example::

        c["change_source"].append(
            changes.BitbucketPullrequestPoller(
                owner="example",
                slug="project",
                branch=["release", "hotfix"],
                auth=("ci", util.Secret("app-password")),
            )
        )
    """

    address: ClassVar[str] = "https://api.bitbucket.org/2.0"

    def __init__(
        self,
        owner: str,
        slug: str,
        branch: str | Sequence[str] | None = None,
        pollInterval: float = 600,
        useTimestamps: bool = True,
        category: str | Callable[[Mapping[str, Any]], Any] | None = None,
        project: str = "",
        pullrequest_filter: bool | Callable[[Mapping[str, Any]], Any] = True,
        pollAtLaunch: bool = False,
        auth: Any = None,
        bitbucket_property_whitelist: Sequence[str] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            name or f"BitbucketPullrequestPoller:{owner}/{slug}",
            [branch] if isinstance(branch, str) else branch,
            pullrequest_filter,
            category,
            project,
            bitbucket_property_whitelist,
            "bitbucket",
            pollInterval=pollInterval,
            pollAtLaunch=pollAtLaunch,
        )
        for key, value in {"owner": owner, "slug": slug}.items():
            expect(value, str, f"{self.what}: {key}", "text")
        if auth is not None and not is_renderable(auth):
            pair = isinstance(auth, list | tuple) and len(auth) == 2
            if not pair:
                error(f"{self.what}: auth must be (user, password)", "the password is an app password")
        self.owner = owner
        self.slug = slug
        self.useTimestamps = bool(useTimestamps)
        self.auth = auth

    @property
    def credentials(self) -> Any:
        return self.auth

    def api(self, credentials: Any) -> AbstractAsyncContextManager[Api]:
        headers = {"Accept": "application/json"}
        if credentials is None:
            return api(self.address, "Give the poller auth=(user, password).", headers)
        headers["Authorization"] = basic(*credentials)
        return api(self.address, "Check the poller's auth.", headers)

    async def pull_requests(self, api: Api) -> AsyncIterator[PullRequest]:
        url: str | None = f"/repositories/{self.owner}/{self.slug}/pullrequests"
        for _ in range(MOST_PAGES):
            if url is None:
                return
            page, _ = await api.get(url)
            for pull in page["values"]:
                commit = pull["source"]["commit"]
                if commit is None:  # its repository is gone
                    continue
                branch = pull["source"]["branch"]["name"]
                yield PullRequest(int(pull["id"]), commit["hash"], branch, pull)
            url = page.get("next")

    async def change(self, api: Api, pull: PullRequest) -> NewChange:
        from buildwright.store.units.changes import NewChange

        content = pull.content
        source = content["source"]
        revision = pull.revision
        if len(revision) < 40:
            commit, _ = await api.get(source["commit"]["links"]["self"]["href"])
            revision = commit["hash"]
        link = content["links"]["html"]["href"]
        repository = source["repository"]["links"]["html"]["href"]
        change = NewChange(
            author=content["author"]["display_name"],
            comments=f"pull-request #{pull.number}: {content['title']}\n{link}",
            branch=source["branch"]["name"],
            revision=revision,
            revlink=link,
            when_us=when_us(content["updated_on"]) if self.useTimestamps else None,
            repository=repository,
            project=self.project or "",
            properties=self.properties(content),
            identity=json.dumps(["pull", self.name, repository, pull.number, revision]),
        )
        return replace(change, category=self.category_of(as_dict(change)))
