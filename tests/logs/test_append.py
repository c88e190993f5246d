"""P5, on the way in: chunks hold exactly what came, and lines get the numbers of their newlines."""

from hypothesis import given
from hypothesis import strategies as st

from buildwright.logs import append
from buildwright.logs.append import CHUNK_SIZE, Piece, finish, split
from buildwright.logs.lines import assemble
from buildwright.store.units.logs import Chunk, LogState
from tests.logs.model import Model, appends


def _all(batches: list[list[Piece]], *, end: bool = True) -> tuple[list[Chunk], LogState, Model]:
    chunks: list[Chunk] = []
    state, model = LogState(), Model()
    for batch in batches:
        new, state = split(state, batch)
        chunks += new
        model.add(batch)
    if end:
        new, state = finish(state, 5)
        chunks += new
        model.finish()
    return chunks, state, model


@given(appends, st.booleans())
def test_chunks_are_the_pieces(batches: list[list[Piece]], end: bool) -> None:
    chunks, state, model = _all(batches, end=end)
    at = (0, 0, 0)
    for chunk in chunks:
        assert (chunk.seq, chunk.offset, chunk.first_line) == at
        assert chunk.content.count(b"\n") == chunk.num_lines or (
            chunk.content == b"" and chunk.num_lines == 1
        )
        at = (chunk.seq + 1, chunk.offset + len(chunk.content), chunk.first_line + chunk.num_lines)
    assert at == (state.next_chunk, state.length, state.num_lines)
    assert state.num_lines == len(model.lines)
    for stream, content in model.streams.items():
        assert b"".join(chunk.content for chunk in chunks if chunk.stream == stream) == content
    assert list(state.open_lines) == list(model.halves)
    assert assemble(chunks, 0, len(model.lines)) == model.lines


@given(appends, st.integers(0, 40), st.integers(0, 40))
def test_any_range_of_lines(batches: list[list[Piece]], first: int, count: int) -> None:
    chunks, _state, model = _all(batches)
    assert assemble(chunks, first, first + count) == model.lines[first : first + count]


def test_neighbours_of_one_stream_and_origin_share_a_chunk() -> None:
    chunks, _state = split(
        LogState(),
        [
            Piece("o", 0, "1", b"a"),
            Piece("o", 10, "1", b""),
            Piece("o", 20, "1", b"b\n"),
            Piece("o", 30, "2", b"c"),
            Piece("e", 40, "2", b"d"),
            Piece("o", 50, "2", b"e"),
            Piece("o", 50 + append.MERGE_WITHIN_US, "2", b"f"),
        ],
    )
    assert [(c.stream, c.origin, c.time_us, c.content) for c in chunks] == [
        ("o", "1", 0, b"ab\n"),
        ("o", "2", 30, b"c"),
        ("e", "2", 40, b"d"),
        ("o", "2", 50, b"e"),
        ("o", "2", 50 + append.MERGE_WITHIN_US, b"f"),
    ]
    assert [c.line_from for c in chunks] == [0, 1, 2, 1, 1]


def test_much_at_once_is_cut_after_newlines() -> None:
    line = b"." * 99 + b"\n"
    chunks, _state = split(LogState(), [Piece("o", 0, "", line * 2000)])
    assert all(CHUNK_SIZE // 2 < len(c.content) <= CHUNK_SIZE for c in chunks[:-1])
    assert all(c.content.endswith(b"\n") and c.line_from == c.seq for c in chunks)


def test_a_line_longer_than_a_chunk_is_cut_anywhere() -> None:
    chunks, state = split(LogState(), [Piece("o", 0, "", b"." * (3 * CHUNK_SIZE) + b"\n")])
    assert [len(c.content) for c in chunks] == [CHUNK_SIZE] * 3 + [1]
    assert [c.line_from for c in chunks] == [0, 0, 0, 0]
    assert state.num_lines == 1
    assert not state.open_lines


def test_finish_completes_half_lines_in_the_order_of_their_beginnings() -> None:
    _chunks, state = split(
        LogState(),
        [Piece("e", 0, "", b"first"), Piece("o", 0, "", b"x\nsecond"), Piece("e", 0, "", b" more")],
    )
    ends, after = finish(state, 7)
    assert [(c.stream, c.first_line, c.num_lines, c.line_from, c.content, c.time_us) for c in ends] == [
        ("e", 1, 1, 0, b"", 7),
        ("o", 2, 1, 1, b"", 7),
    ]
    assert after == LogState(5, 3, 18, {})
    assert finish(after, 8) == ([], after)
