"""Adding buildsets and collapsing requests, on both databases."""

import asyncio
import json
from typing import Any

import pytest
import sqlalchemy as sa

from buildwright.model.results import SKIPPED, SUCCESS
from buildwright.store import schema
from buildwright.store.base import Store
from buildwright.store.unit import Hint
from buildwright.store.units.buildsets import add_buildset
from buildwright.store.units.changes import NewChange, add_changes
from buildwright.store.units.claims import stop_request
from buildwright.store.units.collapse import collapse, waiting_requests
from buildwright.store.units.schedulers import Wish, enable, register, start

NOW = 1_750_000_000_000_000


def stamp(revision: str | None = "abc", **more: Any) -> dict[str, Any]:
    return {"branch": "main", "revision": revision, "repository": "r", "codebase": "", "project": "p", **more}


async def rows(store: Store, table: sa.Table) -> list[dict[str, Any]]:
    names = [column.name for column in table.columns]
    found = await store.fetch(sa.select(table).order_by(*table.primary_key.columns))
    return [dict(zip(names, row, strict=True)) for row in found]


async def test_a_buildset_has_its_stamps_changes_properties_and_requests(store: Store) -> None:
    hints: list[Hint] = []
    store.on_hints = hints.extend
    buildsetid, requests = await store.run(
        add_buildset(
            sourcestamps=[stamp(), stamp(codebase="lib", patch={"level": 1, "body": b"diff\xff"})],
            builderids=[3, 5],
            now_us=NOW,
            reason="because",
            properties={"owner": ("me", "Force")},
            priority={5: 7},
            changeids=[11, 10],
            external_idstring="x",
        )
    )
    [buildset] = await rows(store, schema.buildsets)
    assert buildset["id"] == buildsetid
    assert (buildset["reason"], buildset["complete"], buildset["external_idstring"]) == ("because", 0, "x")
    assert json.loads(buildset["properties"]) == {"owner": ["me", "Force"]}
    made = await rows(store, schema.buildrequests)
    assert [(each["id"], each["builderid"], each["priority"]) for each in made] == [
        (requests[3], 3, 0),
        (requests[5], 5, 7),
    ]
    stamps = await rows(store, schema.sourcestamps)
    assert sorted(each["codebase"] for each in stamps) == ["", "lib"]
    [patch] = await rows(store, schema.patches)
    assert patch["body"] == b"diff\xff"
    assert len(await rows(store, schema.buildset_sourcestamps)) == 2
    assert [each["changeid"] for each in await rows(store, schema.buildset_changes)] == [10, 11]
    assert Hint("buildsets", buildsetid, "new") in hints
    assert Hint("buildrequests", requests[5], "new") in hints


async def test_equal_sources_share_one_stamp(store: Store) -> None:
    first = await store.run(add_buildset(sourcestamps=[stamp()], builderids=[1], now_us=NOW))
    second = await store.run(add_buildset(sourcestamps=[stamp()], builderids=[1], now_us=NOW))
    assert first[0] != second[0]
    assert len(await rows(store, schema.sourcestamps)) == 1
    [(stampid, _), *_] = [
        (each["sourcestampid"], 0) for each in await rows(store, schema.buildset_sourcestamps)
    ]
    third = await store.run(add_buildset(sourcestamps=[stampid], builderids=[1], now_us=NOW))
    assert {
        each["sourcestampid"]
        for each in await rows(store, schema.buildset_sourcestamps)
        if each["buildsetid"] == third[0]
    } == {stampid}


async def test_new_stamps_added_at_once_are_one(stores: list[Store]) -> None:
    await asyncio.gather(
        *(
            stores[number % 2].run(
                add_buildset(
                    sourcestamps=[stamp(codebase=name, patch={"body": b"x"}) for name in order],
                    builderids=[1],
                    now_us=NOW,
                )
            )
            for number, order in enumerate(["ab", "ba"] * 5)
        )
    )
    assert len(await rows(stores[0], schema.sourcestamps)) == 2
    assert len(await rows(stores[0], schema.patches)) == 2
    assert len(await rows(stores[0], schema.buildsets)) == 10


async def test_a_key_adds_once_also_at_the_same_time(stores: list[Store]) -> None:
    """P1: a repetition gets the first one's answer."""
    answers = await asyncio.gather(
        *(
            stores[number % 2].run(
                add_buildset(sourcestamps=[stamp()], builderids=[1, 2], now_us=NOW, key="force:k1")
            )
            for number in range(8)
        )
    )
    assert all(answer == answers[0] for answer in answers)
    assert set(answers[0][1]) == {1, 2}
    assert len(await rows(stores[0], schema.buildsets)) == 1


def asked(**more: Any) -> dict[str, Any]:
    """As somebody asks a scheduler for one builder's build."""
    properties = {"owner": ["me", "Force Build Form"]}
    return {
        "sourcestamps": [stamp()],
        "builderids": [7],
        "reason": "because",
        "properties": properties,
        **more,
    }


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"external_idstring": "job 7", "priority": {7: 3}},
        {"sourcestamps": [stamp(codebase="a"), stamp(codebase="b")], "priority": 5},
        {"sourcestamps": []},
        {"waited_for": True, "parent_buildid": 3, "parent_relationship": "Triggered from"},
        {"rebuilt_buildid": 4},
    ],
)
async def test_what_is_started_is_the_same_whether_its_stamps_are_known(
    store: Store, more: dict[str, Any]
) -> None:
    """All in one statement, where that can be, or step by step."""
    ids = await store.run(register([Wish("force")]))
    told: list[Hint] = []
    store.on_hints = told.extend
    started = [await store.run(start(ids["force"], asked(**more), NOW)) for _ in range(2)]
    assert None not in started
    first, second = [each for each in started if each is not None]
    for table, column, one, two in (
        (schema.buildsets, "id", first[0], second[0]),
        (schema.buildrequests, "buildsetid", first[0], second[0]),
        (schema.buildset_sourcestamps, "buildsetid", first[0], second[0]),
    ):
        kept = [
            [
                {name: value for name, value in row.items() if name not in ("id", "buildsetid")}
                for row in await rows(store, table)
                if row[column] == which
            ]
            for which in (one, two)
        ]
        assert kept[0] == kept[1]
        assert len(kept[0]) == (len(more.get("sourcestamps", [1])) if "sourcestampid" in table.columns else 1)
    assert [each["id"] for each in await rows(store, schema.buildrequests)] == [first[1][7], second[1][7]]
    assert told == [
        hint
        for buildsetid, requests in (first, second)
        for hint in (Hint("buildsets", buildsetid, "new"), Hint("buildrequests", requests[7], "new"))
    ]


@pytest.mark.parametrize("known", [False, True])
async def test_what_is_started_under_a_key_is_started_once(stores: list[Store], known: bool) -> None:
    """P1: a repetition gets the first one's answer, also one at the same time or of another kind."""
    ids = await stores[0].run(register([Wish("force")]))
    if known:
        await stores[0].run(add_buildset(sourcestamps=[stamp()], builderids=[], now_us=NOW))
    answers = await asyncio.gather(
        *(stores[n % 2].run(start(ids["force"], asked(key="force:k1"), NOW)) for n in range(8))
    )
    answers += [await stores[1].run(add_buildset(now_us=NOW, **asked(key="force:k1")))]
    assert answers[0] is not None
    assert all(answer == answers[0] for answer in answers)
    assert [answers[0][1][7]] == [each["id"] for each in await rows(stores[0], schema.buildrequests)]


async def test_a_disabled_scheduler_starts_nothing(store: Store) -> None:
    ids = await store.run(register([Wish("force")]))
    await store.run(add_buildset(sourcestamps=[stamp()], builderids=[], now_us=NOW))
    await store.run(enable(ids["force"], enabled=False))
    assert await store.run(start(ids["force"], asked(), NOW)) is None
    assert await rows(store, schema.buildrequests) == []
    assert await rows(store, schema.idempotency) == []


async def test_a_buildset_without_builders_is_complete_and_told_downstream(store: Store) -> None:
    ids = await store.run(register([Wish("up"), Wish("down", upstreams=("up",))]))
    buildsetid, requests = await store.run(
        add_buildset(sourcestamps=[stamp()], builderids=[], now_us=NOW, schedulerid=ids["up"])
    )
    assert requests == {}
    [buildset] = await rows(store, schema.buildsets)
    assert (buildset["complete"], buildset["results"], buildset["complete_at"]) == (1, SUCCESS, NOW)
    assert await rows(store, schema.scheduler_completions) == [
        {"schedulerid": ids["down"], "buildsetid": buildsetid}
    ]


async def add(store: Store, *, builderid: int = 1, priority: int = 0, **stamps: Any) -> int:
    _, requests = await store.run(
        add_buildset(
            sourcestamps=[stamp(**stamps)],
            builderids=[builderid],
            now_us=NOW,
            priority=priority,
            properties={"x": [1, "Scheduler"]},
        )
    )
    return requests[builderid]


async def test_collapsing_skips_the_lower_and_keeps_the_urgency(store: Store) -> None:
    await store.run(
        add_changes([NewChange("me", branch="main", revision="b", repository="r", project="p")], NOW)
    )
    first = await add(store, revision="a", priority=9)
    second = await add(store, revision="b")
    waiting = await store.read(waiting_requests([first, second]))
    assert [(each.id, each.priority) for each in waiting] == [(first, 9), (second, 0)]
    assert [bool(each.sources[0].has_changes) for each in waiting] == [False, True]
    assert waiting[0].properties == {"x": (1, "Scheduler")}
    assert await store.run(collapse(first, second, NOW))
    found = {each["id"]: each for each in await rows(store, schema.buildrequests)}
    assert (found[first]["complete"], found[first]["results"]) == (1, SKIPPED)
    assert (found[second]["complete"], found[second]["priority"]) == (0, 9)
    done = {each["id"]: each for each in await rows(store, schema.buildsets)}
    assert done[found[first]["buildsetid"]]["complete"] == 1
    assert [each.id for each in await store.read(waiting_requests([first, second]))] == [second]


async def test_collapsing_refuses_what_does_not_wait(store: Store) -> None:
    first, second = await add(store), await add(store)
    other = await add(store, builderid=2)
    assert not await store.run(collapse(second, first, NOW))
    assert not await store.run(collapse(first, other, NOW))
    assert not await store.run(collapse(first, 999_999, NOW))
    assert await store.run(stop_request(second, "no", NOW))
    assert not await store.run(collapse(first, second, NOW))


async def test_mutual_collapse_leaves_the_newest(stores: list[Store]) -> None:
    ids = [await add(stores[0]) for _ in range(6)]
    pairs = [(low, high) for low in ids for high in ids if low != high]
    await asyncio.gather(
        *(stores[n % 2].run(collapse(low, high, NOW)) for n, (low, high) in enumerate(pairs))
    )
    left = [each["id"] for each in await rows(stores[0], schema.buildrequests) if not each["complete"]]
    assert left == [ids[-1]]
