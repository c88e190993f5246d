"""What a log should say, computed in the plainest way; and the pieces to try it with."""

from collections.abc import Iterable

from hypothesis import strategies as st

from buildwright.logs.append import Piece, finish, split
from buildwright.logs.lines import Line
from buildwright.logs.patterns import Pattern
from buildwright.logs.reader import LogReader
from buildwright.logs.search import Searcher, of_pattern
from buildwright.store.base import Store
from buildwright.store.units import logs as units
from buildwright.store.units.logs import LogState

CHUNK, FRAME, WINDOW = 16, 150, 40  # small enough that a few dozen bytes cross every border


class Model:
    """A log as a person would write it down."""

    def __init__(self) -> None:
        self.streams: dict[str, bytes] = {}
        self.lines: list[Line] = []
        self.halves: dict[str, bytearray] = {}  # in the order in which they began
        self.complete = False

    def add(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            self.streams[piece.stream] = self.streams.get(piece.stream, b"") + piece.content
            *ended, rest = piece.content.split(b"\n")
            for text in ended:
                self.lines.append((piece.stream, bytes(self.halves.pop(piece.stream, b"") + text)))
            if rest:
                self.halves.setdefault(piece.stream, bytearray()).extend(rest)

    def finish(self) -> None:
        self.ended_by_newline = len(self.lines)
        self.lines += [(stream, bytes(half)) for stream, half in self.halves.items()]
        self.halves = {}
        self.complete = True

    def merged(self) -> bytes:
        """All streams: each line with its newline; what ended without one, at the end, is parted by it."""
        whole = self.ended_by_newline if self.complete else len(self.lines)
        halves = [text for _, text in self.lines[whole:]] + [bytes(half) for half in self.halves.values()]
        return b"".join(text + b"\n" for _, text in self.lines[:whole]) + b"\n".join(halves)


contents = st.one_of(
    st.text("ab\n", max_size=12).map(str.encode),
    st.integers(0, 90).map(lambda size: b"x" * size),
    st.integers(0, 90).map(lambda size: b"y" * size + b"\n"),
    st.integers(0, 40).map(lambda size: b"\n" * size),
)
pieces = st.builds(
    Piece,
    st.sampled_from("oeh"),
    st.integers(0, 3).map(lambda s: s * 700_000),
    st.sampled_from(["", "7/1"]),
    contents,
)
appends = st.lists(st.lists(pieces, max_size=6), max_size=10)


async def write(
    store: Store, logid: int, batches: Iterable[Iterable[Piece]], *, complete: bool = True
) -> Model:
    """Write a log as the engine does; gives what it should say."""
    model = Model()
    await store.run(units.add_log(logid, 1, f"log{logid}", f"log{logid}", "s"))
    state = LogState()
    for pieces in batches:
        batch = list(pieces)
        model.add(batch)
        rows, after = split(state, batch)
        await store.run(units.append(logid, state.next_chunk, rows, after))
        state = after
    if complete:
        model.finish()
        rows, after = finish(state, 9)
        await store.run(units.finish(logid, state.next_chunk, rows, after))
    return model


async def check(reader: LogReader, logid: int, model: Model, *, searched: bool = True) -> None:
    """Everything that a reader can see agrees with the model."""
    for stream in "oeh":
        assert b"".join([data async for data in reader.raw(logid, stream)]) == model.streams.get(stream, b"")
    assert b"".join([data async for data in reader.raw(logid)]) == model.merged()
    count = len(model.lines)
    assert await reader.count(logid) == count
    assert await reader.lines(logid, 0, count + 5) == model.lines
    assert await reader.lines(logid, count, 5) == []
    await check_pages(reader, logid, model, WINDOW if searched else 10 * WINDOW)
    if searched:
        await check_search(reader, logid, model)
    seq, followed = 0, dict[str, bytes]()
    while True:
        tail = await reader.tail(logid, seq)
        assert [chunk.seq for chunk in tail.chunks] == list(range(seq, tail.next_seq))
        for chunk in tail.chunks:
            followed[chunk.stream] = followed.get(chunk.stream, b"") + chunk.content
        if tail.next_seq == seq:
            break
        seq = tail.next_seq
    assert followed == model.streams or {s: b for s, b in model.streams.items() if b} == followed
    assert tail.complete == model.complete
    assert tail.num_lines == count


LONGEST = 20


async def check_pages(reader: LogReader, logid: int, model: Model, room: int) -> None:
    """Page by page, each line is there, its beginning if it is long, and its length."""
    at = 0
    while at < len(model.lines):
        page = await reader.page(logid, at, 9, room=room, longest=LONGEST)
        assert (page.first, bool(page.lines), len(page.lines) <= 9) == (at, True, True)
        for line, (stream, text) in zip(page.lines, model.lines[at:], strict=False):
            assert (line.stream, line.text, line.length) == (stream, text[:LONGEST], len(text))
        at += len(page.lines)
    assert (await reader.page(logid, at, 9, room=room, longest=LONGEST)).lines == []
    last = await reader.page(logid, -1, 1, room=room, longest=1000)
    assert [(line.stream, line.text) for line in last.lines] == model.lines[-1:]
    halves = await reader.half_lines(logid, LONGEST)
    assert [(half.stream, half.text, half.length) for half in halves] == [
        (stream, bytes(text[-LONGEST:]), len(text)) for stream, text in model.halves.items()
    ]


async def check_search(reader: LogReader, logid: int, model: Model) -> None:
    """Forward and backward, with a limit and without, the lines that a plain look finds."""
    searcher = Searcher(reader)
    for text, backward, limit in (("ab", False, 2), ("ab", True, 99), ("y" * 20, True, 1), ("x", False, 99)):
        expected = [
            (number, stream) for number, (stream, line) in enumerate(model.lines) if text.encode() in line
        ]
        found: list[tuple[int, str]] = []
        at: int | None = None
        more = True
        while more:
            part = await searcher.find(logid, of_pattern(Pattern(text)), at, backward=backward, limit=limit)
            assert len(part.matches) <= limit
            found += [(match.number, match.stream) for match in part.matches]
            at = part.next
            more = at is not None
        assert found == (expected[::-1] if backward else expected)
