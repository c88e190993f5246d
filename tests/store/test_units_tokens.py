"""API tokens, on every kind of database."""

from buildwright.store.base import Store
from buildwright.store.units.tokens import add_token, drop_token, tokens
from buildwright.web.auth.tokens import any_token, find_token, new_token


async def test_the_life_of_a_token(store: Store) -> None:
    token, hashed = new_token()
    assert token not in hashed
    assert not await store.read(any_token())
    assert await store.run(add_token("script", hashed, 5))
    assert not await store.run(add_token("script", "another hash", 6))
    assert await store.run(add_token("person", "a third hash", 7))
    assert await store.read(tokens()) == [("person", 7), ("script", 5)]
    assert await store.read(find_token(hashed)) == "script"
    assert await store.read(find_token("another hash")) is None
    assert await store.run(drop_token("script"))
    assert not await store.run(drop_token("script"))
    assert await store.read(find_token(hashed)) is None
    assert await store.read(any_token())
