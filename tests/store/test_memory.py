"""The store of simulations: where a crash can come, and what it then leaves."""

from buildwright.store.memory import MemoryDatabase, MemoryStore
from buildwright.store.unit import Hint
from tests.store import units


async def test_a_crash_before_the_commit_or_after_it() -> None:
    store = MemoryStore()
    told: list[Hint] = []
    store.on_hints = told.extend
    await store.start()

    before = store.run(units.add("before"))
    before.send(None)
    before.close()
    assert await store.read(units.names()) == []

    after = store.run(units.add("after"))
    after.send(None)
    after.send(None)
    after.close()
    assert await store.read(units.names()) == ["after"]
    assert told == []
    await store.stop()


async def test_several_masters_share_a_database_and_hear_their_own_hints() -> None:
    database = MemoryDatabase()
    one, two = MemoryStore(database), MemoryStore(database)
    heard: list[list[Hint]] = [[], []]
    one.on_hints, two.on_hints = heard[0].extend, heard[1].extend
    await one.start()
    await two.start()
    await one.run(units.add("of one"))
    assert await two.read(units.names()) == ["of one"]
    await one.stop()
    await two.run(units.add("of two"))
    assert await two.read(units.names()) == ["of one", "of two"]
    assert heard == [[Hint("workers", 1, "new")], [Hint("workers", 2, "new")]]
    await two.stop()
    database.close()
