"""Moving finished logs out of the database, and expired ones out of the world.

A finished log above 64 KiB is sealed: its chunks are packed into compressed frames
(:mod:`buildwright.logs.frames`), the blob is put, and when that is durable one unit records its index and
flips the tier; from then on readers use the blob. The chunks go in small units after that. An expired log
has its tombstone first, then loses blob, chunks and index. Smaller logs stay as they are: see
:data:`buildwright.store.units.logs.KEEP_UP_TO`.

The sealer remembers nothing: what is left to do is in the tier, so it can die at any point and whoever
comes next goes on. What that can leave behind:

- before the put has returned: nothing that counts (a temporary file, which the next put removes);
- after it, before the flip: a blob that nobody knows. The next sealer writes the same one: the key is made
  of the log, the format and the compressor's version, and packing a finished log is a function of these
  alone. That is also why two masters can seal one log at once: either writes the same bytes, and one flips;
- after the flip: chunks that nobody reads, and the tier that says so.

A sealer that lost the flip removes its blob if the winner's has another key (another version of the
compressor). A log that can't be sealed, because its chunks contradict each other or the blob store refuses,
is reported and left as it is: readable. It is tried again after 2, 4, 8, … rounds, so it neither stops the
others nor costs much.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import structlog
from backports import zstd

from buildwright.logs.blobs import BlobStore
from buildwright.logs.errors import LogDamaged, LogError
from buildwright.logs.frames import FORMAT, Discontinuity, FrameWriter
from buildwright.store.base import Store
from buildwright.store.errors import StoreError
from buildwright.store.units import logs as units
from buildwright.store.units.logs import LogRow

_log = structlog.get_logger(__name__)

DROP_BYTES = 4 * 1024 * 1024  # about what one unit drops
LONGEST_PAUSE = 1024  # rounds


def blob_key(logid: int) -> str:
    """Where this version of the sealer puts a log. Not how a log's blob is found: that is recorded."""
    return f"{logid // 1000}/{logid}-{FORMAT}-{zstd.zstd_version}"


class Sealer:
    """Tends finished logs. One round at a time; several masters may each have one."""

    def __init__(self, store: Store, blobs: BlobStore) -> None:
        self._store = store
        self._blobs = blobs
        self._round = 0
        self._failed: dict[int, tuple[int, int]] = {}  # log -> failures so far, the round of the next try

    async def seal_some(self, limit: int) -> int:
        """Bring up to ``limit`` logs a step on (seal, drop chunks, or bury); gives how many that worked for.

        Fewer than ``limit`` means that nothing more is to be done now. Compressing happens in a thread, one
        frame after the other; a large log takes as long as it takes, so call this from a task of its own.
        """
        self._round += 1
        done = tried = after = 0
        while tried < limit:
            found = await self._store.read(units.logs_to_tend(after, limit))
            for logid, tier in found:
                after = logid
                if tried < limit and self._failed.get(logid, (0, 0))[1] <= self._round:
                    tried += 1
                    done += await self._tend(logid, tier)
            if len(found) < limit:
                break
        return done

    async def _tend(self, logid: int, tier: str) -> bool:
        try:
            if tier == units.LIVE:
                await self._seal(logid)
            elif tier == units.SHEDDING:
                await self._shed(logid)
            else:
                await self._bury(logid)
        except StoreError:
            raise  # the database's trouble is everybody's
        except Exception as error:  # whatever ails one log, the others go on
            failures = self._failed.get(logid, (0, 0))[0] + 1
            self._failed[logid] = (failures, self._round + min(2**failures, LONGEST_PAUSE))
            _log.error(
                "a finished log could not be moved; it stays where it is",
                logid=logid,
                tier=tier,
                error=str(error) or type(error).__name__,
                exc_info=not isinstance(error, (LogError, OSError)),
            )
            return False
        self._failed.pop(logid, None)
        return True

    async def _seal(self, logid: int) -> None:
        log = await self._store.read(units.get_log(logid))
        if log is None or log.tier != units.LIVE:
            return
        key = blob_key(logid)
        writer = FrameWriter()
        try:
            async with contextlib.aclosing(self._frames(log, writer)) as frames:
                size = await self._blobs.put(key, frames)
        except Discontinuity as gap:
            now = await self._store.read(units.get_log(logid))
            if now is None or now.tier != units.LIVE:
                return  # another master was faster, and is dropping the chunks
            raise LogDamaged(logid, str(gap)) from gap
        if await self._store.run(units.record_seal(logid, key, size, writer.index().encode())):
            return
        winner = await self._store.read(units.get_log(logid))
        if winner is None or winner.blob != key:
            await self._blobs.delete(key)

    async def _frames(self, log: LogRow, writer: FrameWriter) -> AsyncGenerator[bytes]:
        seq = 0
        while True:
            window = await self._store.read(units.read_window(log.id, seq, None))
            if window.next_seq == seq:
                break
            for frame in await asyncio.to_thread(writer.add, window.chunks):
                yield frame
            seq = window.next_seq
        for frame in await asyncio.to_thread(writer.end, log.next_chunk, log.num_lines, log.length):
            yield frame

    async def _shed(self, logid: int) -> None:
        log = await self._store.read(units.get_log(logid))
        if log is None:
            return
        count = max(64, min(4096, DROP_BYTES * log.next_chunk // max(log.length, 1)))
        while not await self._store.run(units.drop_chunks(logid, count)):
            pass

    async def _bury(self, logid: int) -> None:
        log = await self._store.read(units.get_log(logid))
        if log is None or log.tier != units.EXPIRING:
            return
        if log.blob is not None:
            await self._blobs.delete(log.blob)
        await self._shed(logid)
        await self._store.run(units.bury_log(logid))
