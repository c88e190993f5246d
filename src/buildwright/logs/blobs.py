"""Where sealed logs lie: files, the database, or an object store, behind one protocol.

All a blob store must promise: a ``put`` that returned is durable and whole; a ``put`` that failed or never
returned has not changed what readers see under that key; ``get`` gives exactly the bytes asked for or
raises :class:`BlobMissing`; ``delete`` of what isn't there is fine. Keys are relative paths of plain
characters. Which key is a log's blob is only said by the database, so a blob that nobody recorded is never
read.

- :class:`FileBlobs`: a directory, for one master. Temporary file, fsync, rename, fsync of the directory.
- :class:`DatabaseBlobs`: pieces in the database itself, for several masters without a store that they
  share.
- :class:`ObjectBlobs`: S3 and what speaks it (also GCS, Azure), through ``obstore``, which is imported only
  here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from buildwright.logs.errors import BlobMissing
from buildwright.store.base import Store
from buildwright.store.units.blobs import cut_pieces, get_pieces, put_pieces

PIECE_SIZE = 256 * 1024
_PIECES_AT_ONCE = 4


class BlobStore(Protocol):
    """See the module's docstring for what an implementation promises."""

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> int:
        """Store a blob, replacing one of the same key; gives its size."""

    async def get(self, key: str, offset: int, length: int) -> bytes:
        """The bytes from ``offset`` on, all ``length`` of them; raises BlobMissing."""

    async def delete(self, key: str) -> None:
        """Remove a blob, if it is there."""


def open_blobs(where: str, store: Store, directory: Path) -> BlobStore:
    """The blob store that a configuration names: ``files``, ``database``, or an object store's URL."""
    if where == "files":
        return FileBlobs(directory)
    if where == "database":
        return DatabaseBlobs(store)
    return ObjectBlobs(where)


class FileBlobs:
    """Blobs as files under a directory that belongs to one master.

    Unfinished files lie in ``.partial`` and are removed by the next process that puts something; should a
    former process wake up then, its rename fails and so does its put.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._partial = directory / ".partial"
        self._cleaned = False

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> int:
        if not self._cleaned:
            await asyncio.to_thread(self._clean)
            self._cleaned = True
        temporary = self._partial / secrets.token_hex(8)
        size = 0
        file = await asyncio.to_thread(temporary.open, "xb")
        try:
            async for chunk in chunks:
                await asyncio.to_thread(file.write, chunk)
                size += len(chunk)
            await asyncio.to_thread(self._settle, file, temporary, self._directory / key)
        except BaseException:
            # Not in a thread: a cancelled task can't await any more, and this doesn't block for long.
            file.close()
            temporary.unlink(missing_ok=True)
            raise
        return size

    async def get(self, key: str, offset: int, length: int) -> bytes:
        return await asyncio.to_thread(self._read, key, offset, length)

    async def delete(self, key: str) -> None:
        await asyncio.to_thread((self._directory / key).unlink, missing_ok=True)

    def _clean(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._partial)
        self._partial.mkdir(parents=True)

    def _settle(self, file: BinaryIO, temporary: Path, path: Path) -> None:
        file.flush()
        os.fsync(file.fileno())
        file.close()
        made = [parent for parent in path.parents if not parent.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.rename(path)
        for directory in [path.parent, *(parent.parent for parent in made)]:
            _fsync_directory(directory)

    def _read(self, key: str, offset: int, length: int) -> bytes:
        try:
            with (self._directory / key).open("rb", buffering=0) as file:
                data = os.pread(file.fileno(), length, offset)
        except FileNotFoundError:
            raise BlobMissing(key, str(self._directory)) from None
        if len(data) != length:
            raise BlobMissing(key, str(self._directory))
        return data


def _fsync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DatabaseBlobs:
    """Blobs in the ``blobs`` table, in pieces of 256 KiB, written and removed in small units."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> int:
        size = written = 0
        buffer = bytearray()
        async for chunk in chunks:
            size += len(chunk)
            buffer += chunk
            if len(buffer) >= _PIECES_AT_ONCE * PIECE_SIZE:
                whole = len(buffer) // PIECE_SIZE
                await self._write(key, written, buffer[: whole * PIECE_SIZE])
                del buffer[: whole * PIECE_SIZE]
                written += whole
        if buffer or not written:
            await self._write(key, written, buffer)
        return size

    async def get(self, key: str, offset: int, length: int) -> bytes:
        first = offset // PIECE_SIZE
        pieces = await self._store.read(
            get_pieces(key, first, max(offset, offset + length - 1) // PIECE_SIZE)
        )
        begin = offset - first * PIECE_SIZE
        data = b"".join(pieces)[begin : begin + length]
        if not pieces or len(data) != length:
            raise BlobMissing(key, self._store.name)
        return data

    async def delete(self, key: str) -> None:
        while not await self._store.run(cut_pieces(key, _PIECES_AT_ONCE)):
            pass

    async def _write(self, key: str, first: int, data: bytearray) -> None:
        pieces = [bytes(data[at : at + PIECE_SIZE]) for at in range(0, len(data), PIECE_SIZE)] or [b""]
        await self._store.run(put_pieces(key, first, pieces))


class ObjectBlobs:
    """Blobs in an object store, named by its URL: ``s3://bucket/prefix``, ``gs://…``, ``az://…``.

    ``options`` are obstore's for that kind of store (``endpoint``, ``region``, ``access_key_id``, …); without
    them the usual environment variables hold.
    """

    def __init__(self, url: str, **options: Any) -> None:
        try:
            import obstore
        except ImportError:
            raise ModuleNotFoundError(
                f"blobs in {url} need the package obstore: install it beside buildwright"
            ) from None
        from obstore.store import from_url

        self._obstore = obstore
        self._where = url
        self._objects = from_url(url, **options)

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> int:
        size = 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size
            async for chunk in chunks:
                size += len(chunk)
                yield chunk

        await self._obstore.put_async(self._objects, key, counted())
        return size

    async def get(self, key: str, offset: int, length: int) -> bytes:
        try:
            data = bytes(await self._obstore.get_range_async(self._objects, key, start=offset, length=length))
        except FileNotFoundError:
            raise BlobMissing(key, self._where) from None
        if len(data) != length:
            raise BlobMissing(key, self._where)
        return data

    async def delete(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            await self._obstore.delete_async(self._objects, key)
