"""Small units on the real schema that the store's tests share."""

from typing import Any

import sqlalchemy as sa

from buildwright.store.schema import blobs, workers
from buildwright.store.unit import POSTGRESQL, Hint, Rows, Shortcut, Statement, Work, in_set, insert, unit

ADD = Statement(
    "add worker",
    lambda dialect: insert(dialect, workers).values(name=sa.bindparam("name")).returning(workers.c.id),
)
UPSERT = Statement(
    "upsert worker",
    lambda dialect: (
        insert(dialect, workers)
        .values(name=sa.bindparam("name"), info=sa.bindparam("info"))
        .on_conflict_do_update(
            index_elements=["name"], set_={"info": sa.bindparam("info"), "version": workers.c.version + 1}
        )
        .returning(workers.c.id, workers.c.version)
    ),
)
BUMP = Statement(
    "bump worker",
    lambda _dialect: (
        sa.update(workers)
        .values(version=workers.c.version + 1)
        .where(workers.c.id == sa.bindparam("of_id"))
        .returning(workers.c.version)
    ),
)
READ = Statement(
    "read worker", lambda _dialect: sa.select(workers.c.version).where(workers.c.id == sa.bindparam("of_id"))
)
SWAP = Statement(
    "compare and set worker",
    lambda _dialect: (
        sa.update(workers)
        .values(version=workers.c.version + 1)
        .where(workers.c.id == sa.bindparam("of_id"), workers.c.version == sa.bindparam("was"))
        .returning(workers.c.version)
    ),
)
NAMES = Statement("names", lambda _dialect: sa.select(workers.c.name).order_by(workers.c.id))
AMONG = Statement(
    "workers among",
    lambda dialect: (
        sa.select(workers.c.name).where(in_set(workers.c.id, "ids")(dialect)).order_by(workers.c.id)
    ),
)
STORE = Statement(
    "store blob",
    lambda dialect: insert(dialect, blobs).values(
        key=sa.bindparam("key"), piece=sa.bindparam("piece"), content=sa.bindparam("content")
    ),
)
BLOB = Statement(
    "blob", lambda _dialect: sa.select(blobs.c.content).where(blobs.c.key == sa.bindparam("of_key"))
)


ADD_AT_ONCE = Shortcut(
    "add worker and bump it",
    lambda: (
        insert(POSTGRESQL, workers)
        .values(name=sa.bindparam("name"), version=1)
        .on_conflict_do_nothing(index_elements=["name"])
        .returning(workers.c.id)
    ),
)


class Refused(Exception):
    """What these units raise when they are asked to."""


@unit
def add(name: str, *, refuse: bool = False) -> Work[int]:
    rows = yield ADD(name=name)
    workerid: int = rows[0][0]
    yield Hint("workers", workerid, "new")
    yield BUMP(of_id=workerid)
    if refuse:
        raise Refused(name)
    return workerid


@unit
def bump(workerid: int) -> Work[int]:
    rows = yield BUMP(of_id=workerid)
    version: int = rows[0][0]
    return version


@unit
def compare_and_set(workerid: int) -> Work[bool]:
    [(version,)] = yield READ(of_id=workerid)
    rows = yield SWAP(of_id=workerid, was=version)
    return bool(rows)


@unit
def version_of(workerid: int) -> Work[int]:
    [(version,)] = yield READ(of_id=workerid)
    assert isinstance(version, int)
    return version


@unit
def names() -> Work[list[str]]:
    rows: Rows = yield NAMES()
    return [name for (name,) in rows]


@unit
def among(ids: list[int]) -> Work[list[str]]:
    rows: Rows = yield AMONG(ids=ids)
    return [name for (name,) in rows]


@unit
def put(key: str, content: bytes) -> Work[None]:
    yield STORE(key=key, piece=0, content=content)


@unit
def get(key: str) -> Work[bytes]:
    [(content,)] = yield BLOB(of_key=key)
    assert isinstance(content, bytes)
    return content


@unit
def add_many(these: list[str]) -> Work[Any]:
    return (yield ADD_ONLY.many([{"name": name} for name in these]))


ADD_ONLY = Statement(
    "add workers", lambda dialect: insert(dialect, workers).values(name=sa.bindparam("name"))
)


@unit
def upsert(name: str, info: str) -> Work[tuple[int, int]]:
    [(workerid, version)] = yield UPSERT(name=name, info=info)
    return workerid, version
