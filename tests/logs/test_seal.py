"""Sealing can die anywhere, be done twice at once, be refused by one log: nothing is lost or left."""

import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa

from buildwright.logs import seal
from buildwright.logs.append import Piece
from buildwright.logs.blobs import BlobStore, DatabaseBlobs, FileBlobs
from buildwright.logs.reader import LogReader
from buildwright.logs.seal import Sealer, blob_key
from buildwright.store import schema
from buildwright.store.base import Store
from buildwright.store.memory import MemoryDatabase, MemoryStore
from buildwright.store.unit import Unit
from buildwright.store.units import logs as units
from tests.logs.model import FRAME, check, write

R = TypeVar("R")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many chunks, frames, windows and units for a short log."""
    monkeypatch.setattr("buildwright.logs.append.CHUNK_SIZE", 8)
    monkeypatch.setattr("buildwright.logs.frames.FRAME_SIZE", FRAME)
    monkeypatch.setattr(units, "WINDOW_BYTES", 100)
    monkeypatch.setattr(units, "KEEP_UP_TO", 20)


def _text(lines: int) -> list[list[Piece]]:
    return [[Piece("o", 0, "1/1", b"line %d\nhal" % i), Piece("e", 0, "1/1", b"!\n")] for i in range(lines)]


async def _rows(store: Store, table: sa.Table) -> int:
    return int((await store.fetch(sa.select(sa.func.count()).select_from(table)))[0][0])


class Died(BaseException):
    """The process is gone."""


class Fate:
    """Dies at the n-th of the points that everything of one process passes."""

    def __init__(self, at: int | None) -> None:
        self.left = at

    def pass_point(self) -> None:
        if self.left is None:
            return
        if self.left <= 0:
            raise Died
        self.left -= 1


class MortalStore(MemoryStore):
    """A store whose process may die before a unit, or after its commit and before anybody hears of it."""

    def __init__(self, database: MemoryDatabase, fate: Fate) -> None:
        super().__init__(database)
        self.fate = fate

    async def run(self, unit: Unit[R], *, timeout: float | None = None) -> R:
        self.fate.pass_point()
        result = await super().run(unit, timeout=timeout)
        self.fate.pass_point()
        return result

    async def read(self, unit: Unit[R], *, timeout: float | None = None) -> R:
        self.fate.pass_point()
        return await super().read(unit, timeout=timeout)


class MortalBlobs:
    """The same for a blob store."""

    def __init__(self, blobs: BlobStore, fate: Fate) -> None:
        self.blobs, self.fate = blobs, fate

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> int:
        size = await self.blobs.put(key, chunks)
        self.fate.pass_point()
        return size

    async def get(self, key: str, offset: int, length: int) -> bytes:
        return await self.blobs.get(key, offset, length)

    async def delete(self, key: str) -> None:
        self.fate.pass_point()
        await self.blobs.delete(key)
        self.fate.pass_point()


@pytest.mark.parametrize("where", ["files", "database"])
async def test_a_sealer_that_dies_anywhere(
    small: None, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal, "DROP_BYTES", 1)
    for at in itertools.count():
        database = MemoryDatabase()
        store = MemoryStore(database)
        await store.start()
        model = await write(store, 1, _text(40))
        fate = Fate(at)
        mortal = MortalStore(database, fate)
        await mortal.start()

        def blobs_of(some: Store, at: int = at) -> BlobStore:
            return FileBlobs(tmp_path / str(at)) if where == "files" else DatabaseBlobs(some)

        sealer = Sealer(mortal, MortalBlobs(blobs_of(mortal), fate))
        survived = True
        try:
            for _ in range(3):
                await sealer.seal_some(5)
        except Died:
            survived = False
        blobs = blobs_of(store)
        reader = LogReader(store, blobs)
        await check(reader, 1, model)
        again = Sealer(store, blobs)
        while await again.seal_some(5):
            pass
        await check(reader, 1, model)
        assert (await reader.log(1)).tier == units.SEALED
        assert await _rows(store, schema.logchunks) == 0
        if where == "files":
            assert [p for p in (tmp_path / str(at)).rglob("*") if p.is_file()] == [
                tmp_path / str(at) / blob_key(1)
            ]
        database.close()
        if survived:
            break
    assert at > 10


async def test_an_expiry_that_dies_anywhere(small: None, tmp_path: Path) -> None:
    """Tombstone first: whatever dies after it, nobody reads, and the rest goes."""
    for at in itertools.count():
        database = MemoryDatabase()
        store = MemoryStore(database)
        await store.start()
        await write(store, 1, _text(40))
        blobs = FileBlobs(tmp_path / str(at))
        await Sealer(store, blobs).seal_some(1)
        await store.run(units.expire_log(1, 5))
        fate = Fate(at)
        mortal = MortalStore(database, fate)
        await mortal.start()
        survived = True
        try:
            await Sealer(mortal, MortalBlobs(blobs, fate)).seal_some(5)
        except Died:
            survived = False
        await Sealer(store, blobs).seal_some(5)
        log = await LogReader(store, blobs).log(1)
        assert (log.tier, log.blob, log.expired_at) == (units.EXPIRED, None, 5)
        assert await _rows(store, schema.logchunks) == 0
        assert not [p for p in (tmp_path / str(at)).rglob("*") if p.is_file()]
        database.close()
        if survived:
            break
    assert at > 5


async def test_two_masters_seal_one_log(store: Store, small: None, tmp_path: Path) -> None:
    """The second comes in the middle of the first one's put: either's blob will do, one flip counts."""
    blobs = FileBlobs(tmp_path)
    model = await write(store, 1, _text(40))

    class Overtaken(FileBlobs):
        async def put(self, key: str, chunks: AsyncIterator[bytes]) -> int:
            first = await anext(chunks)
            await Sealer(store, blobs).seal_some(1)
            await Sealer(store, blobs).seal_some(1)

            async def rest() -> AsyncIterator[bytes]:
                yield first
                async for chunk in chunks:
                    yield chunk

            return await super().put(key, rest())

    assert await Sealer(store, Overtaken(tmp_path)).seal_some(1) == 1
    reader = LogReader(store, blobs)
    assert (await reader.log(1)).tier == units.SEALED
    await check(reader, 1, model)


async def test_the_loser_with_another_compressor_removes_its_blob(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    await store.start()
    blobs = FileBlobs(tmp_path)
    model = await write(store, 1, _text(40))
    usual = blob_key(1)

    class Overtaken(FileBlobs):
        async def put(self, key: str, chunks: AsyncIterator[bytes]) -> int:
            size = await super().put(key, chunks)
            monkeypatch.undo()
            await Sealer(store, blobs).seal_some(1)
            return size

    monkeypatch.setattr(seal, "blob_key", lambda logid: f"0/{logid}-of-an-older-version")
    await Sealer(store, Overtaken(tmp_path)).seal_some(1)
    assert [path.name for path in (tmp_path / "0").iterdir()] == [Path(usual).name]
    await check(LogReader(store, blobs), 1, model)
    await store.stop()


async def test_small_logs_stay_and_cost_nothing(store: Store, small: None, tmp_path: Path) -> None:
    model = await write(store, 1, [[Piece("o", 0, "", b"twenty bytes of text")]])
    running = await write(store, 2, _text(40), complete=False)
    blobs = FileBlobs(tmp_path / "blobs")
    assert await store.read(units.logs_to_tend(0, 10)) == []
    assert await Sealer(store, blobs).seal_some(10) == 0
    assert not (tmp_path / "blobs").exists()
    reader = LogReader(store, blobs)
    assert (await reader.log(1)).tier == units.KEPT
    await check(reader, 1, model)
    await check(reader, 2, running)


async def test_a_log_that_cant_be_sealed_stops_no_other(small: None, tmp_path: Path) -> None:
    """It stays readable where it is, is tried again more and more rarely, and sealed once it can be."""
    store = MemoryStore()
    await store.start()

    class Refusing(FileBlobs):
        tries = 0
        refuse = True

        async def put(self, key: str, chunks: AsyncIterator[bytes]) -> int:
            if key == blob_key(1) and self.refuse:
                self.tries += 1
                raise PermissionError(13, "Permission denied", str(tmp_path))
            return await super().put(key, chunks)

    blobs = Refusing(tmp_path)
    models = {logid: await write(store, logid, _text(40)) for logid in (1, 2, 3)}
    sealer = Sealer(store, blobs)
    reader = LogReader(store, blobs)
    for _ in range(40):
        await sealer.seal_some(1)
    assert [(await reader.log(logid)).tier for logid in (1, 2, 3)] == [units.LIVE, units.SEALED, units.SEALED]
    assert blobs.tries == 5
    blobs.refuse = False
    for _ in range(40):
        await sealer.seal_some(1)
    assert (await reader.log(1)).tier == units.SEALED
    for logid, model in models.items():
        await check(reader, logid, model)
    await store.stop()


async def test_a_damaged_log_is_never_sealed(store: Store, small: None, tmp_path: Path) -> None:
    await write(store, 1, _text(40))
    await store.run(_lose_chunk())
    assert await Sealer(store, FileBlobs(tmp_path / "blobs")).seal_some(1) == 0
    assert await store.read(units.logs_to_tend(0, 10)) == [(1, units.LIVE)]
    assert not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]


def _lose_chunk() -> Unit[None]:
    from buildwright.store.unit import Statement, Work, unit

    lose = Statement(
        "test.lose", lambda _dialect: sa.delete(schema.logchunks).where(schema.logchunks.c.seq == 7)
    )

    @unit
    def lose_chunk() -> Work[None]:
        yield lose()

    return lose_chunk()


async def test_a_sealed_log_keeps_every_record(store: Store, small: None, tmp_path: Path) -> None:
    await write(store, 1, _text(40))
    reader = LogReader(store, FileBlobs(tmp_path))

    async def everything() -> list[Any]:
        chunks: list[Any] = []
        while (tail := await reader.tail(1, len(chunks))).chunks:
            chunks += tail.chunks
        return chunks

    before = await everything()
    for _ in range(2):
        await Sealer(store, FileBlobs(tmp_path)).seal_some(1)
    assert await everything() == before
