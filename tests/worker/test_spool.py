"""The spool: a queue of records over memory and disk, against a plain one."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buildwright_worker import spool as spool_module
from buildwright_worker.protocol.store import MemoryStore
from buildwright_worker.spool import SpoolSpace

steps = st.lists(
    st.tuples(st.just("append"), st.integers(0, 3000))
    | st.tuples(st.just("read"), st.integers(1, 5000))
    | st.tuples(st.just("drop"), st.integers(0, 20))
    | st.tuples(st.just("limit"), st.sampled_from([0, 2000, 1 << 20]))
    | st.tuples(st.just("retry"), st.just(0)),
    max_size=120,
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps, st.sampled_from([0, 500, 5000, 1 << 20]), st.data())
def test_p5_reads_what_was_appended_wherever_it_lies(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    plan: list[tuple[str, int]],
    memory: int,
    data: st.DataObject,
) -> None:
    monkeypatch.setattr(spool_module, "SEGMENT", 4000)
    monkeypatch.setattr(spool_module, "INDEX_EVERY", 500)
    space = SpoolSpace(tmp_path / "spool", memory_limit=memory, disk_limit=1 << 20)
    spool, model = space.spool(), MemoryStore()
    counter = 0
    for what, amount in plan:
        if what == "append":
            counter += 1
            packed = counter.to_bytes(4, "big") + bytes(amount)
            spool.append(packed)
            model.append(packed)
        elif what == "read" and model.next > model.first:
            start = data.draw(st.integers(model.first, model.next - 1))
            assert_same_from(spool, model, start, amount)
        elif what == "drop":
            upto = min(model.next, model.first + amount)
            spool.drop(upto)
            model.drop(upto)
        elif what == "limit":
            space._disk_limit = amount
        elif what == "retry":
            space.retry()
        assert (spool.first, spool.next) == (model.first, model.next)
        assert space.used >= 0
        assert spool.full == space.full
    assert_same_from(spool, model, model.first, 1 << 20)
    spool.close()
    assert space.used == 0
    assert not space.full
    assert not spool.overflowed
    assert list((tmp_path / "spool").glob("*")) == []


def assert_same_from(spool: spool_module.Spool, model: MemoryStore, start: int, budget: int) -> None:
    """The spool may give fewer at once, where memory meets disk, but all in the end."""
    wanted = model.read(start, 1 << 30)
    got: list[bytes] = []
    while len(got) < len(wanted):
        part = spool.read(start + len(got), budget)
        assert part, "nothing was read although there is more"
        assert len(part) == 1 or sum(map(len, part)) <= budget
        got += part
    assert got == wanted


def test_memory_first_then_disk_then_memory_again(tmp_path: Path) -> None:
    space = SpoolSpace(tmp_path, memory_limit=1000)
    spool = space.spool()
    for _ in range(5):
        spool.append(bytes(400))
    assert spool.overflowed
    assert space.used == 3 * 404
    spool.drop(5)
    assert space.used == 0
    assert not spool.overflowed


def test_full_says_why_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    space = SpoolSpace(tmp_path, memory_limit=0, disk_limit=1000)
    spool, other = space.spool(), space.spool()
    spool.append(bytes(900))
    assert not space.full
    other.append(bytes(200))
    assert (spool.full, other.full) == (False, True)
    assert "limit" in space.why
    assert not space.retry()
    spool.drop(1)
    assert space.retry()
    assert (other.full, space.why) == (False, "")
    assert other.read(0, 1000) == [bytes(200)]


def test_records_at_their_largest(tmp_path: Path) -> None:
    space = SpoolSpace(tmp_path, memory_limit=0)
    spool = space.spool()
    records = [bytes([number]) * 65600 for number in range(20)]
    for record in records:
        spool.append(record)
    read: list[bytes] = []
    while len(read) < 20:
        read += spool.read(len(read), 1 << 18)
    assert read == records
    assert spool.read(7, 10) == [records[7]]
