"""What pull requests, merge requests and Gerrit's changes are checked out as."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from buildwright.model.results import FAILURE, SUCCESS
from buildwright.steps.gitforges import change_ref
from buildwright.store import schema
from tests.steps.conftest import Start
from tests.support.forge import Forge
from tests.support.repositories import GitRepository, git_builder


@pytest.fixture
def repo(tmp_path: Path) -> GitRepository:
    made = GitRepository(tmp_path / "repo")
    made.commit(a="1\n")
    return made


def forge(repo: GitRepository, name: str) -> str:
    return git_builder(repo, branch="main").replace("steps.Git(", f"steps.{name}(")


async def test_github_takes_the_newest_merge(start: Start, repo: GitRepository) -> None:
    old = repo.git("rev-parse", "HEAD")
    new = repo.commit(a="2\n")
    repo.git("update-ref", "refs/pull/7/merge", new)
    it = await start(forge(repo, "GitHub"))
    for branch in ("refs/pull/7/merge", "pull/7/merge"):
        built = await it.build(sources=[{"codebase": "", "branch": branch, "revision": "0" * 40}])
        assert built.properties["got_revision"] == new, built
    built = await it.build(sources=[{"codebase": "", "branch": "main", "revision": old}])
    assert built.properties["got_revision"] == old


async def test_a_pull_request_from_the_poller_to_its_build(start: Start, repo: GitRepository) -> None:
    merge = repo.commit(a="merged\n")
    repo.git("update-ref", "refs/pull/7/merge", merge)
    forge = Forge()
    await forge.server.start_server(shutdown_timeout=1)
    forge.github(7, "1" * 40)
    forge.pulls[7]["base"]["repo"]["clone_url"] = repo.url
    it = await start(
        f"""
from buildwright.plugins import changes
c["change_source"] = [changes.GitHubPullrequestPoller(
    "o", "r", baseURL={forge.url!r}, magic_link=True, pollAtLaunch=True, token="x",
    github_property_whitelist=["github.number"])]
c["schedulers"].append(schedulers.AnyBranchScheduler("pulls", builderNames=["b"],
    change_filter=util.ChangeFilter(category="pull")))
builder("b", steps.GitHub(util.Property("repository")))
"""
    )
    try:
        requests = schema.buildrequests.c

        async def asked() -> list[int]:
            return [each for (each,) in await it.store.fetch(sa.select(requests.id))]

        [request] = await it.until("buildrequests", asked)
        built = await it.finished(request)
    finally:
        await forge.server.close()
    assert built.results == SUCCESS, built
    assert built.properties["got_revision"] == merge
    assert built.properties["github.number"] == 7
    assert built.properties["branch"] == "refs/pull/7/merge"


async def test_gitlab_takes_the_source_of_a_merge_request(
    start: Start, repo: GitRepository, tmp_path: Path
) -> None:
    fork = GitRepository(tmp_path / "fork")
    theirs = fork.commit(a="theirs\n")
    fork.git("branch", "-m", "feature")
    it = await start(forge(repo, "GitLab"))
    properties = {
        "target_branch": "main",
        "source_branch": "feature",
        "source_git_ssh_url": fork.url,
        "target_git_ssh_url": repo.url,
    }
    stamp = {"codebase": "", "branch": "main", "revision": "0" * 40}
    built = await it.build(sources=[stamp], properties=properties)
    assert built.properties["got_revision"] == theirs, built
    built = await it.build()
    assert built.properties["got_revision"] == repo.git("rev-parse", "main")


async def test_gerrit_takes_the_patch_set(start: Start, repo: GitRepository) -> None:
    sets = {name: repo.commit(a=f"{name}\n") for name in ("1/1", "105/2", "1234/3")}
    for name, commit in sets.items():
        number, _, patchset = name.partition("/")
        repo.git("update-ref", f"refs/changes/{number.zfill(2)[-2:]}/{number}/{patchset}", commit)
    repo.git("reset", "--hard", "--quiet", "HEAD~1")
    it = await start(forge(repo, "Gerrit"))
    for name, commit in sets.items():
        built = await it.build(properties={"gerrit_change": name})
        assert built.properties["got_revision"] == commit, built
        assert built.properties["gerrit_branch"].endswith(f"/{name}")
    event = {"event.patchSet.ref": "refs/changes/05/105/2", "gerrit_change": "1/1"}
    built = await it.build(properties=event)
    assert built.properties["got_revision"] == sets["105/2"]
    assert (await it.build()).results == SUCCESS
    built = await it.build(properties={"gerrit_change": "12"})
    assert built.results == FAILURE
    assert "the property gerrit_change must be 'change/patchset', not '12'" in built.step("git").state


def test_references_of_changes() -> None:
    assert change_ref(5, 1) == "refs/changes/05/5/1"
    assert change_ref(109, 12) == "refs/changes/09/109/12"
    assert change_ref(1210, 3) == "refs/changes/10/1210/3"
