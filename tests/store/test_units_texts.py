"""Texts from outside that no column holds: stored alike on every database, and found again."""

import json
from typing import Any

import pytest
import sqlalchemy as sa

from buildwright.model.text import encode_json, storable
from buildwright.store import schema
from buildwright.store.base import Store
from buildwright.store.units import leases, schedulers
from buildwright.store.units.buildsets import add_buildset
from buildwright.store.units.changes import NewChange, add_changes, find_source, read_source, take_poll
from buildwright.store.units.claims import say_builders_wait, say_request_waits, stop_request
from buildwright.store.units.collapse import waiting_requests
from buildwright.store.units.control import pause_worker
from buildwright.store.units.engine import NOTE, SET_URLS, START_STEP, Part
from buildwright.store.units.locks import Want, declare
from buildwright.store.units.logs import add_log_work
from buildwright.store.units.registry import BuilderRow, register
from buildwright.store.units.tokens import add_token, drop_token, tokens
from tests.store.scenes import NOW, World

ODD = "a\0b\udcffc\U0001f600é"
HELD = "a\ufffdb\ufffdc\U0001f600é"


@pytest.fixture
def world(store: Store) -> World:
    return World.on(store)


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("", ""),
        ("plain", "plain"),
        ("\x01\t\n\x7f", "\x01\t\n\x7f"),
        ("né 中 \U0001f600", "né 中 \U0001f600"),
        (ODD, HELD),
        ("\0", "\ufffd"),
        ("\ud83d\ude00", "\ufffd\ufffd"),  # two halves are no whole
    ],
)
def test_what_can_be_stored(text: str, stored: str) -> None:
    assert storable(text) == stored
    storable(text).encode()


def test_json_that_can_be_stored() -> None:
    assert encode_json({"a": [1, "é"]}) == '{"a":[1,"é"]}'
    assert json.loads(encode_json({"a\udcff": ("\udcff\0", {"b": None})})) == {
        "a\ufffd": ["\ufffd\0", {"b": None}]
    }


async def test_every_text_of_a_build(world: World) -> None:
    master = await world.master()
    builder = await world.builder(master)
    request = await world.request(
        builder,
        reason=ODD,
        external_idstring=ODD,
        parent_relationship=ODD,
        properties={"p\0": (ODD, "source")},
        sourcestamps=[
            {"branch": ODD, "repository": ODD, "patch": {"body": ODD, "author": ODD, "comment": ODD}}
        ],
        key=ODD,
    )
    buildset = await world.buildset_of(request)
    assert [buildset[name] for name in ("reason", "external_idstring", "parent_relationship")] == [HELD] * 3
    assert json.loads(buildset["properties"]) == {"p\0": ["a\0b\ufffdc\U0001f600é", "source"]}
    (waits,) = await world.store.read(waiting_requests([request]))
    assert waits.properties["p\0"][1] == "source"
    (stamp,) = await world.rows(schema.sourcestamps)
    assert (stamp["branch"], stamp["repository"]) == (HELD, HELD)
    await world.store.run(say_request_waits(request, ODD))
    await world.store.run(say_builders_wait({builder: ODD}))
    assert (await world.request_row(request))["waits_for"] == HELD
    fence = await world.worker(master, boot=ODD)
    build = await world.claimed(request, builder, fence)
    await world.store.run(stop_request(request, ODD, NOW))
    assert (await world.request_row(request))["stop_reason"] == HELD
    start = START_STEP(
        stepid=1, buildid=build.id, number=0, name=ODD, now_us=NOW, locks_acquired_at=NOW, state=ODD,
        fingerprint=ODD, arguments=b"\0\xff",
    )  # fmt: skip
    journal = {"stepid": 1, "of_try": 0, "kind": "once", "logid": None, "done": 1, "outcome": b"\0\xff"}
    await world.store.run(
        world.writing(
            build,
            start,
            SET_URLS(stepid=1, urls=ODD),
            NOTE.many({**journal, "seq": seq, "fingerprint": ODD} for seq in range(2)),
            Part(add_log_work, (1, 1, ODD, ODD, "s")),
            state=ODD,
            properties=ODD,
        )
    )
    step = await world.row(schema.steps, 1)
    assert [step[name] for name in ("name", "state_string", "urls", "fingerprint")] == [HELD] * 4
    assert step["arguments"] == b"\0\xff", "bytes stay"
    assert [row["fingerprint"] for row in await world.rows(schema.journal)] == [HELD] * 2
    log = await world.row(schema.logs, 1)
    assert (log["name"], log["slug"]) == (HELD, HELD)
    again = await world.store.run(world.writing(build, Part(add_log_work, (2, 1, ODD, ODD, "s")), version=1))
    assert [found.id for found in again] == [1], "found again by what it was stored as"


async def test_every_text_of_a_change(world: World) -> None:
    change = NewChange(
        ODD, ODD, branch=ODD, revision=ODD, revlink=ODD, category=ODD, repository=ODD, codebase=ODD,
        project=ODD, committer=ODD, files=[ODD, "plain"], properties={"p": (ODD, "Change")}, identity=ODD,
    )  # fmt: skip
    (first, twin) = await world.store.run(add_changes([change, change], NOW))
    assert (first.new, twin) == (True, (first.changeid, False))
    assert await world.store.run(add_changes([change], NOW)) == [(first.changeid, False)]
    row = await world.row(schema.changes, first.changeid)
    names = ("author", "committer", "comments", "branch", "revision", "revlink", "category", "repository")
    assert [row[name] for name in names] == [HELD] * len(names)
    assert json.loads(row["files"]) == ["a\0b\ufffdc\U0001f600é", "plain"]
    assert len(await world.rows(schema.sourcestamps)) == 1


async def test_every_text_of_masters_workers_and_schedules(world: World) -> None:
    masterid, _ = await world.store.run(leases.take(ODD, NOW))
    assert await world.store.run(leases.take(ODD, NOW)) == (masterid, 2)
    fence = await world.worker(await world.master())
    await world.store.run(pause_worker(fence.workerid, ODD))
    assert (await world.row(schema.workers, fence.workerid))["pause_reason"] == HELD
    source = await world.store.run(find_source(ODD))
    assert await world.store.run(find_source(ODD)) == source
    await world.store.run(take_poll(source, 0, encode_json({ODD: "x"}), [], NOW))
    assert HELD[2:] in json.loads((await world.store.read(read_source(source))).state).popitem()[0]
    (scheduler,) = (await world.store.run(schedulers.register([schedulers.Wish("s")]))).values()
    decision = schedulers.Decision("{}", [schedulers.Settlement(ODD, {"sourcestamps": [], "builderids": []})])
    (made,) = await world.store.run(schedulers.settle(scheduler, 0, decision, NOW)) or []
    (cause,) = await world.rows(schema.scheduler_causes)
    assert (cause["cause"], cause["buildsetid"]) == (HELD, made[0])
    assert await world.store.run(add_token(ODD, ODD, NOW)) is True
    assert await world.store.read(tokens()) == [(HELD, NOW)]
    assert await world.store.run(drop_token(ODD)) is True


async def test_a_description_that_can_not_be_stored_is_written_once(world: World) -> None:
    """Names are refused by the configuration's checks; what describes them isn't."""
    master = await world.master()
    row = BuilderRow("b", ODD, None, encode_json([ODD]), None, ())
    await world.store.run(register(master.id, [row], []))
    (builder,) = await world.rows(schema.builders)
    assert builder["description"] == HELD


async def test_a_query_finds_what_was_stored(world: World) -> None:
    """Also one that is built at run time, with its values inside."""
    asked: dict[str, Any] = {"sourcestamps": [], "builderids": [], "now_us": NOW}
    buildsetid, _ = await world.store.run(add_buildset(reason=ODD, **asked))
    reason = schema.buildsets.c.reason
    for condition in (reason == ODD, reason.in_([ODD, "other"])):
        assert await world.store.fetch(sa.select(schema.buildsets.c.id).where(condition)) == [(buildsetid,)]


async def test_a_lock_of_any_name(world: World) -> None:
    ids = await world.store.run(declare([("né 中", 0, 1)], generation=1))
    await world.running(wants=[Want(ids["né 中", 0], ODD, "exclusive", 1)])
    master = await world.master()
    builder = await world.builder(master)
    request = await world.request(builder)
    wants = [Want(ids["né 中", 0], ODD, "exclusive", 1)]
    await world.store.run(world.claiming(request, builder, await world.worker(master), wants))
    assert (await world.request_row(request))["waits_for"] == f"lock {ODD!r} is taken"
