"""The key of sessions, and those that are ended, on every kind of database."""

from buildwright.store.base import Store
from buildwright.store.units.sessions import end_session, is_ended, signing_key


async def test_all_masters_have_the_key_of_the_first(store: Store) -> None:
    assert await store.run(signing_key("sessions", b"first", 1)) == b"first"
    assert await store.run(signing_key("sessions", b"second", 2)) == b"first"
    assert await store.run(signing_key("another", b"third", 3)) == b"third"


async def test_an_ended_session_is_known_until_it_would_have_expired(store: Store) -> None:
    assert not await store.read(is_ended("one"))
    await store.run(end_session("one", 100, 10))
    await store.run(end_session("one", 100, 11))
    assert await store.read(is_ended("one"))
    await store.run(end_session("two", 300, 100))
    assert not await store.read(is_ended("one"))
    assert await store.read(is_ended("two"))
