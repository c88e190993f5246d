"""One set of promises for every blob store."""

import asyncio
import os
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from buildwright.logs.blobs import PIECE_SIZE, BlobStore, DatabaseBlobs, FileBlobs, ObjectBlobs
from buildwright.logs.errors import BlobMissing
from buildwright.store import schema
from buildwright.store.base import Store
from tests.logs.test_seal import _rows


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def _files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.rglob("*") if path.is_file())


async def _breaking(first: bytes) -> AsyncIterator[bytes]:
    yield first
    raise ConnectionError("the log's chunks can't be read")


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """An S3 on loopback, with a bucket."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        with urllib.request.urlopen(urllib.request.Request(f"{endpoint}/bucket", method="PUT")):
            pass
        yield endpoint
    finally:
        server.stop()


@pytest.fixture(params=["files", "objects in memory", "objects in files", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    if request.param == "files":
        return FileBlobs(tmp_path / "blobs")
    if request.param == "objects in memory":
        return ObjectBlobs("memory:///")
    if request.param == "s3":
        return ObjectBlobs(
            "s3://bucket/ci",
            endpoint=request.getfixturevalue("s3_server"),
            region="us-east-1",
            access_key_id="access",
            secret_access_key="secret",
            client_options={"allow_http": True},
        )
    (tmp_path / "objects").mkdir()
    return ObjectBlobs((tmp_path / "objects").as_uri())


async def _keeps_its_promises(blobs: BlobStore) -> None:
    whole = os.urandom(3 * PIECE_SIZE + 17)
    parts = [whole[:100], whole[100 : PIECE_SIZE * 2], whole[PIECE_SIZE * 2 :]]
    with pytest.raises(BlobMissing, match="5/55-1"):
        await blobs.get("5/55-1", 0, 1)
    assert await blobs.put("5/55-1", _pieces(*parts)) == len(whole)
    assert await blobs.get("5/55-1", 0, len(whole)) == whole
    for offset, length in [
        (0, 1),
        (99, 2),
        (PIECE_SIZE - 1, 2),
        (PIECE_SIZE, PIECE_SIZE),
        (len(whole) - 1, 1),
    ]:
        assert await blobs.get("5/55-1", offset, length) == whole[offset : offset + length]
    with pytest.raises(BlobMissing):
        await blobs.get("5/55-1", len(whole) - 1, 2)
    # The same again, as a second sealer does it.
    assert await blobs.put("5/55-1", _pieces(whole)) == len(whole)
    assert await blobs.get("5/55-1", 0, len(whole)) == whole
    await blobs.put("5/56-1", _pieces(b"neighbour"))
    await blobs.delete("5/55-1")
    await blobs.delete("5/55-1")
    with pytest.raises(BlobMissing):
        await blobs.get("5/55-1", 0, 1)
    assert await blobs.get("5/56-1", 0, 9) == b"neighbour"


async def test_promises(blobs: BlobStore) -> None:
    await _keeps_its_promises(blobs)


async def test_promises_of_the_database(store: Store) -> None:
    await _keeps_its_promises(DatabaseBlobs(store))
    assert await _rows(store, schema.blobs) == 1


async def test_a_put_that_fails_changes_nothing(blobs: BlobStore) -> None:
    await blobs.put("a", _pieces(b"before"))
    with pytest.raises(ConnectionError):
        await blobs.put("a", _breaking(b"half of it"))
    with pytest.raises(ConnectionError):
        await blobs.put("b", _breaking(b"half of it"))
    assert await blobs.get("a", 0, 6) == b"before"
    with pytest.raises(BlobMissing):
        await blobs.get("b", 0, 1)


async def test_a_cancelled_put_leaves_no_file(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x"
        begun.set()
        await asyncio.Event().wait()

    put = asyncio.create_task(blobs.put("a", endless()))
    await begun.wait()
    put.cancel()
    with pytest.raises(asyncio.CancelledError):
        await put
    assert _files(tmp_path) == []


async def test_leftovers_of_a_dead_process_go_and_a_sleeping_one_fails(tmp_path: Path) -> None:
    sleeping = FileBlobs(tmp_path)
    await sleeping.put("a", _pieces(b"a"))
    (tmp_path / ".partial" / "leftover").write_bytes(b"half")

    async def overtaken() -> AsyncIterator[bytes]:
        yield b"half"
        await FileBlobs(tmp_path).put("b", _pieces(b"b"))

    with pytest.raises(FileNotFoundError):
        await sleeping.put("c", overtaken())
    assert _files(tmp_path) == ["a", "b"]
