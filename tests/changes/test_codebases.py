"""The history of codebases, as GitPoller brings it into the store."""

from pathlib import Path
from typing import Any

from buildwright.changes.gitpoller import GitPoller
from buildwright.store import schema
from buildwright.store.base import Store
from buildwright.store.units.commits import Range, commit_range
from buildwright.store.units.registry import CodebaseRow, ProjectRow, register
from tests.support.polling import Master, rows
from tests.support.repositories import Origin


async def codebases(store: Store, *names: tuple[str, str]) -> None:
    """Have the store know (project, codebase)."""
    projects = [ProjectRow(project, project) for project in sorted({project for project, _ in names})]
    made = [CodebaseRow(project, name, name) for project, name in names]
    await store.run(register(1, [], [], projects, made))


def poller(origin: Origin, **more: Any) -> GitPoller:
    given = {"branches": True, "codebase": "lib", "pollInterval": 60, "pollAtLaunch": True, **more}
    return GitPoller(origin.url, **given)


async def history(store: Store) -> list[tuple[str, str | None]]:
    """The revisions, each with its parent's."""
    commits = await rows(store, schema.codebase_commits)
    revisions = {each["id"]: each["revision"] for each in commits}
    assert all((each["parent_commitid"] or 0) < each["id"] for each in commits)
    return [(each["revision"], revisions.get(each["parent_commitid"])) for each in commits]


async def branches(store: Store) -> dict[str, str]:
    revisions = {each["id"]: each["revision"] for each in await rows(store, schema.codebase_commits)}
    return {each["name"]: revisions[each["commitid"]] for each in await rows(store, schema.codebase_branches)}


async def test_commits_and_branches_are_kept(store: Store, origin: Origin, tmp_path: Path) -> None:
    await codebases(store, ("site", "lib"), ("other", "tool"))
    origin.commit("old")
    base = origin.commit("base\n\nand more")
    master = await Master(store, tmp_path).start(poller(origin, project="site"))
    assert await history(store) == [(base, None)]
    [kept] = await rows(store, schema.codebase_commits)
    assert (kept["author"], kept["comments"]) == ("Ann <ann@example.org>", "base\n\nand more")
    assert kept["when_us"] == origin.time * 1_000_000
    assert not await rows(store, schema.changes)
    one, two = origin.commit("one"), origin.commit("two")
    side = origin.commit("side", branch="side")
    await master.pass_time(60)
    assert await history(store) == [(base, None), (one, base), (two, one), (side, two)]
    assert await branches(store) == {"main": two, "side": side}
    origin.checkout("main")
    three = origin.commit("three")
    origin.git("merge", "-q", "--no-ff", "-m", "merge", "side")
    merge = origin.git("rev-parse", "HEAD")
    await master.pass_time(60)
    assert (await history(store))[4:] == [(three, two), (merge, three)]
    assert await branches(store) == {"main": merge, "side": side}
    times = {each["name"]: each["last_us"] for each in await rows(store, schema.codebase_branches)}
    assert times["main"] - times["side"] == 60_000_000
    ids = {each["revision"]: each["id"] for each in await rows(store, schema.codebase_commits)}
    [of] = [each["id"] for each in await rows(store, schema.codebases) if each["name"] == "lib"]
    found = await store.read(commit_range(of, ids[merge], ids[side]))
    assert found == Range(ids[two], [ids[merge], ids[three]], [ids[side]])
    assert await store.read(commit_range(of, ids[one], ids[two])) == Range(ids[one], [], [ids[two]])
    assert await store.read(commit_range(of, ids[one], ids[one])) == Range(ids[one], [], [])
    assert await store.read(commit_range(of, ids[one], 999)) is None
    assert await store.read(commit_range(3 - of, ids[one], ids[two])) is None
    await master.sources.stop()


async def test_two_pollers_of_one_codebase_and_rewritten_branches(
    store: Store, origin: Origin, tmp_path: Path
) -> None:
    await codebases(store, ("site", "lib"))
    base = origin.commit("base")
    master = await Master(store, tmp_path).start(poller(origin, name="1"), poller(origin, name="2"))
    one = origin.commit("one")
    await master.pass_time(60)
    origin.git("reset", "-q", "--hard", base)
    again = origin.commit("again")
    await master.pass_time(60)
    assert await history(store) == [(base, None), (one, base), (again, base)]
    assert await branches(store) == {"main": again}
    [of] = [each["id"] for each in await rows(store, schema.codebases)]
    assert await store.read(commit_range(of, 2, 3)) == Range(1, [2], [3])
    await master.sources.stop()


async def test_histories_that_have_nothing_in_common(store: Store, origin: Origin, tmp_path: Path) -> None:
    await codebases(store, ("site", "lib"))
    origin.commit("base")
    origin.git("checkout", "-q", "--orphan", "alone")
    origin.commit("alone")
    master = await Master(store, tmp_path).start(poller(origin))
    [of] = [each["id"] for each in await rows(store, schema.codebases)]
    assert await store.read(commit_range(of, 1, 2)) is None
    await master.sources.stop()


async def test_which_codebase_it_is(store: Store, origin: Origin, tmp_path: Path) -> None:
    """A name that two projects have needs the project; one that nobody knows is only the changes'."""
    await codebases(store, ("a", "lib"), ("b", "lib"), ("b", "tool"))
    origin.commit()
    made: list[dict[str, Any]] = [
        {"codebase": "lib"},
        {"codebase": "lib", "project": "c"},
        {"codebase": "none"},
        {"codebase": "tool", "project": lambda change: "somewhere"},
        {"codebase": "lib", "project": "b"},
    ]
    master = await Master(store, tmp_path).start(
        *(poller(origin, name=str(number), **each) for number, each in enumerate(made))
    )
    names = {each["id"]: (each["projectid"], each["name"]) for each in await rows(store, schema.codebases)}
    projects = {each["id"]: each["name"] for each in await rows(store, schema.projects)}
    kept = [names[each["codebaseid"]] for each in await rows(store, schema.codebase_commits)]
    assert {(projects[project], name) for project, name in kept} == {("b", "tool"), ("b", "lib")}
    assert len(kept) == 2
    await master.sources.stop()


async def test_a_codebase_that_a_poller_is_given_later(store: Store, origin: Origin, tmp_path: Path) -> None:
    await codebases(store, ("site", "lib"))
    head = origin.commit()
    master = await Master(store, tmp_path).start(poller(origin, name="p", codebase=None))
    assert await history(store) == []
    await master.sources.reconfigure([poller(origin, name="p")])
    await master.pass_time(60)
    assert await history(store) == [(head, None)]
    assert not await rows(store, schema.changes)
    await master.sources.stop()
