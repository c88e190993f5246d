"""The bytes of messages: every message comes back, and nothing else comes through."""

from typing import Any

import msgpack  # type: ignore[import-untyped]  # it carries no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildwright_worker.protocol import ProtocolError, codec
from buildwright_worker.protocol import messages as m

counts = st.integers(0, (1 << 63) - 1)
small = st.integers(0, 1 << 40)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,40}", fullmatch=True)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False)
    | texts
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
maps = st.dictionaries(texts, plain, max_size=4)
seconds = st.floats(0, 1e9)
results = st.builds(
    lambda *fields: m.Result(*fields).to_map(),
    st.integers(-1, 255),
    st.none() | st.just("timeout"),
    counts,
    st.none() | st.integers(1, 64),
    st.none() | texts,
)
records = (
    st.builds(m.Record, st.sampled_from("oehlb"), counts, st.binary(max_size=400), texts)
    | st.builds(m.Record, st.just("u"), counts, plain, texts)
    | st.builds(m.Record, st.just("r"), counts, results, st.just(""))
)
any_message = st.one_of(
    st.builds(
        m.Hello,
        st.just(m.VERSION),
        texts,
        texts,
        maps,
        st.lists(texts),
        st.lists(st.builds(m.HeldCommand, ids, counts, counts, st.sampled_from(["running", "done"]))),
        st.lists(st.builds(m.LostCommand, ids, texts)),
    ),
    st.builds(m.Records, ids, counts, st.lists(records, max_size=5)),
    st.builds(m.Pull, ids, counts, counts),
    st.builds(m.Refused, texts, counts),
    st.builds(m.Goodbye, st.booleans(), texts),
    st.builds(m.Room, st.booleans(), texts),
    st.builds(m.Ping, counts),
    st.builds(m.Pong, counts),
    st.builds(
        m.Welcome,
        counts,
        texts,
        seconds,
        counts,
        st.lists(st.builds(m.CommandAnswer, ids, st.sampled_from(["resume", "kill", "forget"]), counts)),
        seconds,
        seconds,
    ),
    st.builds(m.Start, counts, ids, texts, maps, st.lists(st.builds(m.Secret, texts, texts))),
    st.builds(m.Interrupt, counts, ids, texts),
    st.builds(m.Ack, counts, ids, counts),
    st.builds(m.Window, counts),
    st.builds(m.Data, counts, ids, counts, st.binary(max_size=400), st.booleans()),
    st.builds(m.Detach, texts),
    st.builds(m.Shutdown),
)


@given(any_message)
def test_a_message_comes_back(message: m.Message) -> None:
    assert codec.decode(codec.encode(message)) == message


@given(st.lists(records, min_size=1, max_size=8), ids, small)
def test_packed_records_make_the_same_frame_as_a_message(batch: list[m.Record], id: str, first: int) -> None:
    packed = [codec.pack_record(*record) for record in batch]
    assert [codec.unpack_record(one) for one in packed] == batch
    assert codec.decode(codec.records_frame(id, first, packed)) == m.Records(id, first, batch)


@pytest.mark.parametrize("size", [0, 255, 256, 65535, 65536])
def test_record_sizes(size: int) -> None:
    data = bytes(size)
    frame = codec.records_frame("c", 0, [codec.pack_record("o", 1, data)])
    assert codec.decode(frame) == m.Records("c", 0, [m.Record("o", 1, data, "")])


def test_a_record_has_a_limit() -> None:
    with pytest.raises(ProtocolError, match="more than 65536"):
        codec.pack_record("o", 1, bytes(65537))
    with pytest.raises(ProtocolError, match="more than"):
        codec.pack_record("u", 1, "x" * 70000, "key")


def test_file_names_that_are_not_utf8_come_back() -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    record = m.Record("u", 1, [name], "files")
    assert codec.decode(codec.records_frame("c", 0, [codec.pack_record(*record)])) == m.Records(
        "c", 0, [record]
    )


def test_an_unsendable_value_says_so() -> None:
    with pytest.raises(ProtocolError, match="cannot be sent"):
        codec.encode(m.Start(1, "c", "shell", {"command": object()}, []))
    with pytest.raises(ProtocolError, match="more than a frame"):
        codec.encode(m.Start(1, "c", "shell", {"initialStdin": "x" * m.MAX_FRAME}, []))


@given(st.binary(max_size=200))
def test_garbage_is_a_protocol_error_or_a_message(data: bytes) -> None:
    try:
        message = codec.decode(data)
    except ProtocolError:
        return
    assert codec.decode(codec.encode(message)) == message


@given(any_message, st.data())
def test_a_cut_or_lengthened_frame_is_a_protocol_error(message: m.Message, data: st.DataObject) -> None:
    frame = codec.encode(message)
    cut = data.draw(st.integers(0, len(frame) - 1))
    with pytest.raises(ProtocolError):
        codec.decode(frame[:cut])
    with pytest.raises(ProtocolError):
        codec.decode(frame + b"\x00")


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        ["x"],
        [True, "c"],
        [99],
        [7],
        [7, -1],
        [7, True],
        [7, 1.0],
        [7, 1, 2],
        [7, 1 << 63],
        [3, "", 0, 0],
        [3, "../x", 0, 0],
        [3, "a/b", 0, 0],
        [3, "x" * 129, 0, 0],
        [3, "a\n", 0, 0],
        [2, "c", 0, [["z", 0, b"", ""]]],
        [2, "c", 0, [["o", 0, "text", ""]]],
        [2, "c", 0, [["o", 0, bytes(65537), ""]]],
        [2, "c", 0, [["o", 0, b""]]],
        [2, "c", 0, [["r", 0, {}, ""]]],
        [2, "c", 0, [["r", 0, {"rc": "0", "elapsed_us": 0}, ""]]],
        [17, 1, "c", "shell", {"a": msgpack.ExtType(1, b"x")}, []],
        [17, 1, "c", "shell", {"a": msgpack.Timestamp(1)}, []],
        [17, 1, "c", "shell", {"a": {1: 2}}, []],
        [17, 1, "c", "shell", {}, [["name"]]],
        [16, 1, "m", float("nan"), 0, [], 20, 2],
        [16, 1, "m", 1, 0, [["c", "explode", 0]], 20, 2],
    ],
)
def test_wrong_types_are_protocol_errors(value: Any) -> None:
    with pytest.raises(ProtocolError):
        codec.decode(msgpack.packb(value, strict_types=False))


def test_deep_nesting_is_a_protocol_error() -> None:
    deep: Any = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(ProtocolError, match="deep"):
        codec.decode(msgpack.packb([17, 1, "c", "shell", {"a": deep}, []]))
    with pytest.raises(ProtocolError):
        codec.decode(b"\x91" * 5000 + b"\xc0")


def test_oversize_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match="more than"):
        codec.decode(bytes(m.MAX_FRAME + 1))


def test_an_error_never_shows_a_value() -> None:
    frame = msgpack.packb([17, 1, "c", "shell", {}, [["name", ["hunter2"]]]])
    with pytest.raises(ProtocolError) as caught:
        codec.decode(frame)
    assert "hunter2" not in str(caught.value)
