"""P5, on the way out: in any tier, and while it moves, a reader sees exactly what was written."""

import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buildwright.logs import append, frames, reader, search
from buildwright.logs.append import Piece, split
from buildwright.logs.blobs import DatabaseBlobs, FileBlobs
from buildwright.logs.errors import BlobMissing, Expired, LogDamaged, NoSuchLog
from buildwright.logs.reader import LogReader
from buildwright.logs.seal import Sealer, blob_key
from buildwright.store.base import Store
from buildwright.store.memory import MemoryStore
from buildwright.store.unit import Fenced, Unit, Work, unit
from buildwright.store.units import logs as units
from buildwright.store.units import logstretches
from buildwright.store.units.logs import LogState
from tests.logs.model import CHUNK, FRAME, WINDOW, appends, check, write

R = TypeVar("R")

_ids = itertools.count(1)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every border at a few bytes, so that short logs cross all of them; and every log is sealed."""
    monkeypatch.setattr(append, "CHUNK_SIZE", CHUNK)
    monkeypatch.setattr(frames, "FRAME_SIZE", FRAME)
    monkeypatch.setattr(units, "WINDOW_BYTES", WINDOW)
    monkeypatch.setattr(reader, "HALF_LINE_BYTES", 30)
    monkeypatch.setattr(reader, "WINDOW_FRAMES", 2)
    monkeypatch.setattr(search, "ROOM", WINDOW)
    monkeypatch.setattr(search, "ROOM_BACKWARD", WINDOW)
    monkeypatch.setattr(logstretches, "SLACK", CHUNK)
    monkeypatch.setattr(units, "KEEP_UP_TO", -1)


async def _seal(store: Store, blobs: FileBlobs | DatabaseBlobs) -> None:
    sealer = Sealer(store, blobs)
    while await sealer.seal_some(10):
        pass


async def _everything(
    store: Store, tmp_path: Path, batches: list[list[Piece]], cuts: list[tuple[int, int]]
) -> None:
    """Written, finished, sealed: the same to every reader."""
    blobs = FileBlobs(tmp_path / "blobs")
    log_reader = LogReader(store, blobs)
    running, logid = next(_ids), next(_ids)
    await check(log_reader, running, await write(store, running, batches, complete=False))
    model = await write(store, logid, batches)
    for tier in (units.LIVE, units.SEALED):
        if tier == units.SEALED:
            await _seal(store, blobs)
        assert (await log_reader.log(logid)).tier == tier
        await check(log_reader, logid, model)
        for first, count in cuts:
            assert await log_reader.lines(logid, first, count) == model.lines[first : first + count]


_cuts = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), min_size=1, max_size=8)
_relaxed = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.mark.parametrize("store", ["memory"], indirect=True)
@_relaxed
@given(batches=appends, cuts=_cuts)
async def test_any_log_in_any_tier(
    store: Store, tmp_path: Path, small: None, batches: list[list[Piece]], cuts: list[tuple[int, int]]
) -> None:
    await _everything(store, tmp_path, batches, cuts)


@pytest.mark.parametrize("store", ["sqlite", "postgres"], indirect=True)
@settings(_relaxed, max_examples=25)
@given(batches=appends, cuts=_cuts)
async def test_any_log_on_every_database(
    store: Store, tmp_path: Path, small: None, batches: list[list[Piece]], cuts: list[tuple[int, int]]
) -> None:
    await _everything(store, tmp_path, batches, cuts)


def _mixed(size: int) -> list[list[Piece]]:
    """Real sizes: many short lines, a line of 5 MB, and another stream's line that spans all of it."""
    text = b"".join(b"%d: the quick brown fox\n" % i for i in range(size))
    long = b"L" * 5_000_000
    batches = [[Piece("e", 0, "1/1", b"begun early, ")]]
    batches += [[Piece("o", i, "1/1", text[i : i + 50_001])] for i in range(0, len(text), 50_001)]
    batches += [[Piece("o", i, "1/1", long[i : i + 65536])] for i in range(0, len(long), 65536)]
    batches += [[Piece("o", 0, "1/1", b"\nlast"), Piece("e", 0, "1/1", b"ended late\n")]]
    return batches


async def test_real_sizes_and_a_line_of_5_mb(store: Store, tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path / "blobs")
    log_reader = LogReader(store, blobs)
    size = 60_000
    await write(store, 1, _mixed(size))
    stdout = b"".join(p.content for batch in _mixed(size) for p in batch if p.stream == "o")
    for tier in (units.LIVE, units.SEALED):
        if tier == units.SEALED:
            await _seal(store, blobs)
        assert (await log_reader.log(1)).tier == tier
        assert b"".join([data async for data in log_reader.raw(1, "o")]) == stdout
        merged = b"".join([data async for data in log_reader.raw(1)])
        assert merged == stdout.removesuffix(b"last") + b"begun early, ended late\nlast"
        lines = await log_reader.lines(1, size - 1, 10)
        assert [(stream, len(text)) for stream, text in lines] == [
            ("o", len(b"59999: the quick brown fox")),
            ("o", 5_000_000),
            ("e", len(b"begun early, ended late")),
            ("o", 4),
        ]
        assert await log_reader.lines(1, 30_000, 1) == [("o", b"30000: the quick brown fox")]


async def test_a_range_of_lines_costs_a_frame(store: Store, tmp_path: Path) -> None:
    """Also a line that another stream began long before: only the frames with its parts are read."""

    class Counting(FileBlobs):
        asked: list[int]

        async def get(self, key: str, offset: int, length: int) -> bytes:
            self.asked.append(length)
            return await super().get(key, offset, length)

    blobs = Counting(tmp_path)
    size = 60_000
    await write(store, 1, _mixed(size))
    await _seal(store, blobs)
    log_reader = LogReader(store, blobs)
    log = await log_reader.log(1)
    assert log.frames is not None
    index = frames.Index.decode(log.frames)
    assert len(index.streams) > 20
    blobs.asked = []
    await log_reader.lines(1, 10, 20)
    assert blobs.asked == [index.starts[1]]
    blobs.asked = []
    assert (await log_reader.lines(1, size + 1, 1))[0][1] == b"begun early, ended late"
    assert len(blobs.asked) == 2
    blobs.asked = []
    assert [data async for data in log_reader.raw(1, "h")] == []
    assert blobs.asked == []


class Stepping(MemoryStore):
    """Runs a read statement by statement, something else after a chosen one: no two share a snapshot."""

    pause_after = -1
    between: Callable[[], Awaitable[None]]
    statements = 0

    async def read(self, unit: Unit[R], *, timeout: float | None = None) -> R:
        work = unit.start()
        rows: Any = None
        while True:
            try:
                request: Any = work.send(rows)
            except StopIteration as end:
                result: R = end.value
                return result
            rows = await super().read(_one(request))
            if self.statements == self.pause_after:
                self.statements += 1
                await self.between()
            self.statements += 1


@unit
def _one(request: Any) -> Work[Any]:
    rows = yield request
    return rows


async def test_sealing_between_any_two_statements_of_a_reader_leaves_no_gap(
    small: None, tmp_path: Path
) -> None:
    batches = [
        [
            Piece("oe"[i % 2], i, "", b"%d " % i * 5 + b"\n" * (i % 3 == 0)),
            Piece("o", i, "", b"ab\ncd" * (i % 4)),
        ]
        for i in range(12)
    ]
    done = False
    for at in itertools.count():
        store = Stepping()
        await store.start()
        blobs = FileBlobs(tmp_path / str(at))
        model = await write(store, 1, batches)
        log_reader = LogReader(store, blobs)
        store.statements = 0

        async def between(store: Stepping = store, blobs: FileBlobs = blobs) -> None:
            nonlocal done
            done = False
            await _seal(store, blobs)

        store.between = between
        store.pause_after = at
        done = True
        await check(log_reader, 1, model, searched=False)
        for first in range(0, len(model.lines), 7):
            assert await log_reader.lines(1, first, 9) == model.lines[first : first + 9]
        await store.stop()
        if done:
            break
    assert at > 50


async def test_readers_beside_appends_see_prefixes(store: Store, tmp_path: Path, small: None) -> None:
    """A running log never shows anything but a prefix per stream, and whole lines in their final order."""
    log_reader = LogReader(store, FileBlobs(tmp_path))
    await store.run(units.add_log(1, 1, "stdio", "stdio", "s"))
    state = LogState()
    written = {"o": b"", "e": b""}
    seen: list[tuple[str, bytes]] = []
    for i in range(40):
        batch = [Piece("o", i, "", b"line %d\nhalf" % i), Piece("e", i, "", b"e%d" % i + b"\n" * (i % 2))]
        rows, after = split(state, batch)
        await store.run(units.append(1, state.next_chunk, rows, after))
        state = after
        for piece in batch:
            written[piece.stream] += piece.content
        for stream, content in written.items():
            assert b"".join([data async for data in log_reader.raw(1, stream)]) == content
        lines = await log_reader.lines(1, 0, 1000)
        assert lines[: len(seen)] == seen
        seen = lines
        assert len(seen) == state.num_lines


async def test_two_writers_of_one_log(store: Store, tmp_path: Path) -> None:
    """P3, P5: of two that append at one place one is refused, whole; a finished log refuses everybody."""
    await store.run(units.add_log(1, 1, "stdio", "stdio", "s"))
    rows, after = split(LogState(), [Piece("o", 0, "", b"mine\n")])
    other, stale = split(LogState(), [Piece("o", 0, "", b"theirs\n"), Piece("e", 0, "", b"more\n")])
    await store.run(units.append(1, 0, rows, after))
    with pytest.raises(Fenced):
        await store.run(units.append(1, 0, other, stale))
    with pytest.raises(Fenced):
        await store.run(units.append(1, 0, rows, after))
    with pytest.raises(Fenced):
        await store.run(units.finish(1, 0, [], stale))
    await store.run(units.finish(1, 1, [], after))
    with pytest.raises(Fenced):
        await store.run(units.append(1, 1, *split(after, [Piece("o", 0, "", b"late\n")])))
    log_reader = LogReader(store, FileBlobs(tmp_path))
    assert await log_reader.lines(1, 0, 9) == [("o", b"mine")]
    assert (await log_reader.tail(1, 1)).complete


async def test_adding_a_log_again_gives_the_one_there_is(store: Store) -> None:
    told: list[Any] = []
    store.on_hints = told.extend
    first = await store.run(units.add_log(5, 2, "stdio", "stdio", "s"))
    rows, after = split(LogState(), [Piece("o", 0, "", b"x\nhalf")])
    await store.run(units.append(5, 0, rows, after))
    again = await store.run(units.add_log(6, 2, "stdio", "stdio", "s"))
    assert first.state == LogState()
    assert (again.id, again.state) == (5, after)
    assert [log.id for log in await store.read(units.step_logs(2))] == [5]
    await store.run(units.finish(5, 1, [], after))
    assert told == [("logs", 5, "new"), ("logs", 5, "append"), ("logs", 5, "finished")]


async def test_what_is_not_there(store: Store, tmp_path: Path, small: None) -> None:
    blobs = FileBlobs(tmp_path)
    log_reader = LogReader(store, blobs)
    with pytest.raises(NoSuchLog, match="no log 77"):
        await log_reader.lines(77, 0, 1)
    await write(store, 1, [[Piece("o", 0, "", b"some text\n" * 9)]])
    await _seal(store, blobs)
    await blobs.delete(blob_key(1))
    with pytest.raises(BlobMissing, match="1-1-"):
        await log_reader.lines(1, 0, 1)
    assert await store.run(units.expire_log(1, 86_400_000_000 * 365))
    assert not await store.run(units.expire_log(1, 1))
    with pytest.raises(Expired, match="log 1 expired on 1971-01-01") as expired:
        await log_reader.tail(1, 0)
    assert expired.value.on == 86_400_000_000 * 365


async def test_expiry_in_the_middle_of_a_read(store: Store, tmp_path: Path, small: None) -> None:
    blobs = FileBlobs(tmp_path)
    log_reader = LogReader(store, blobs)
    for sealed in (False, True):
        logid = next(_ids)
        await write(store, logid, [[Piece("o", 0, "", b"some text\n" * 90)]])
        if sealed:
            await _seal(store, blobs)
        data = log_reader.raw(logid)
        assert await anext(data)
        await store.run(units.expire_log(logid, 5))
        await _seal(store, blobs)
        with pytest.raises(Expired):
            async for _ in data:
                pass
        assert (await log_reader.log(logid)).tier == units.EXPIRED


async def test_a_damaged_blob_is_named_not_served(tmp_path: Path, small: None) -> None:
    store = MemoryStore()
    await store.start()
    blobs = FileBlobs(tmp_path)
    await write(store, 1, [[Piece("o", 0, "", b"some text\n" * 90)]])
    await _seal(store, blobs)
    path = tmp_path / blob_key(1)
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        with pytest.raises(LogDamaged, match=r"log 1 is damaged: blob 0/1-1-"):
            async for _ in LogReader(store, blobs).raw(1):
                pass
    await store.stop()
