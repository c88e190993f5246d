"""P9: a secret's value is in no output, however the stream is cut."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from buildwright_worker.protocol import Masker


def masked_in_pieces(masker: Masker, pieces: list[bytes]) -> bytes:
    return b"".join(masker.feed("o", piece) for piece in pieces) + masker.flush("o")


def cut(data: bytes, points: list[int]) -> list[bytes]:
    edges = [0, *sorted(point % (len(data) + 1) for point in points), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


values = st.text("ab'\n", min_size=3, max_size=20)
streams = st.lists(st.sampled_from(["a", "b", "\n", "'", "ab", "aab"]), max_size=40).map("".join)


@given(
    st.lists(values, min_size=1, max_size=4), streams, st.lists(st.integers(0, 200), max_size=8), st.data()
)
def test_p9_cuts_change_nothing_and_no_secret_is_left(
    secrets: list[str], noise: str, points: list[int], data: st.DataObject
) -> None:
    text = noise.encode()
    for value in data.draw(st.lists(st.sampled_from(secrets), max_size=4)):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + value.encode() + text[at:]
    named = [(f"S{index}", value) for index, value in enumerate(secrets)]
    masker = Masker(named)
    whole = masker.mask(text)
    assert masked_in_pieces(masker, cut(text, points)) == whole
    for value in secrets:
        assert value.encode() not in whole
        for line in value.splitlines():
            assert len(line) < 8 or "\n" not in value.strip("\n") or line.encode() not in whole


@given(st.lists(values, min_size=1, max_size=3), st.lists(st.binary(max_size=20), max_size=10))
def test_p9_what_was_shown_so_far_is_a_prefix_of_the_whole(secrets: list[str], pieces: list[bytes]) -> None:
    masker = Masker([("S", value) for value in secrets])
    whole = masker.mask(b"".join(pieces))
    shown = b""
    for piece in pieces:
        shown += masker.feed("o", piece)
        assert whole.startswith(shown)


def test_without_secrets_the_same_object_passes() -> None:
    data = b"x" * 1000
    assert Masker([]).feed("o", data) is data
    assert Masker([("empty", ""), ("short", "ab")]).feed("o", data) is data


def test_streams_are_separate() -> None:
    masker = Masker([("PW", "hunter2")])
    assert masker.feed("o", b"hunt") == b""
    assert masker.feed("e", b"er2 ") == b"er2 "
    assert masker.feed("o", b"er2!") == b"<PW>!"
    assert masker.flush("o") == b""


def test_a_prefix_of_a_secret_is_held_until_the_end() -> None:
    masker = Masker([("PW", "hunter2")])
    assert masker.feed("o", b"password: hunter") == b"password: "
    assert masker.flush("o") == b"hunter"


def test_forms_of_a_multi_line_value() -> None:
    key = "-----BEGIN-----\nabcdefgh12345678\nshort\n-----END-----\n"
    masker = Masker([("KEY", key)])
    assert masker.mask(key.encode()) == b"<KEY>"
    assert masker.mask(key.strip().encode() + b".") == b"<KEY>."
    assert masker.mask(key.strip().replace("\n", "\r\n").encode()) == b"<KEY>"
    assert masker.mask(b"x abcdefgh12345678 y short") == b"x <KEY> y short"


def test_a_quoted_value_is_masked_also_inside_a_longer_word() -> None:
    masker = Masker([("PW", "it's secret")])
    assert masker.mask(b"""'--pw=it'"'"'s secret'""") == b"'--pw=<PW>'"


def test_the_longest_of_values_that_begin_together() -> None:
    masker = Masker([("SHORT", "abc"), ("LONG", "abcdef")])
    assert masker.feed("o", b"abc") == b""
    assert masker.feed("o", b"defabcx") == b"<LONG><SHORT>x"


def test_values_in_plain_data() -> None:
    masker = Masker([("PW", "hunter2")])
    assert masker.mask_value({"a": ["hunter2", 1, b"-hunter2-"], "hunter2": None}) == {
        "a": ["<PW>", 1, b"-<PW>-"],
        "<PW>": None,
    }
