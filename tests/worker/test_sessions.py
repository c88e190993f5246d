"""Both ends of a session together, without sockets: cuts at any frame, fences, credit, liveness, the
dead-man."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildwright_worker.protocol import (
    CommandAnswer,
    MasterSession,
    PeerSilent,
    ProtocolError,
    Record,
    Result,
    Secret,
    WorkerSession,
    decode,
    encode,
)
from buildwright_worker.protocol import master_side as ms
from buildwright_worker.protocol import messages as m
from buildwright_worker.protocol import worker_events as ws

END = Result(0, elapsed_us=5)


def new_worker(now: float = 0.0) -> WorkerSession:
    return WorkerSession(boot="b", ledger="l", info={"version": "1"}, capabilities=["shell"], now=now)


def answers(hello: m.Hello, stored: dict[str, int]) -> list[CommandAnswer]:
    held = [CommandAnswer(one.id, "resume", stored.get(one.id, 0)) for one in hello.commands]
    return held + [CommandAnswer(one.id, "forget", 0) for one in hello.lost]


def attach(
    worker: WorkerSession, attachment: int = 1, *, window: int = 1 << 20, now: float = 0.0, **stored: int
) -> MasterSession:
    """A new connection up to the worker's welcome."""
    worker.connected(now)
    master = MasterSession(now=now)
    to_master(worker, master, now)
    [hello] = [event.hello for event in master.events() if isinstance(event, ms.HelloReceived)]
    master.welcome(
        attachment=attachment,
        master=f"m{attachment}",
        deadman_s=60,
        window=window,
        commands=answers(hello, stored),
    )
    to_worker(master, worker, now)
    return master


def to_master(worker: WorkerSession, master: MasterSession, now: float = 0.0) -> None:
    while frames := worker.take_outgoing():
        for frame in frames:
            master.receive(frame, now)


def to_worker(master: MasterSession, worker: WorkerSession, now: float = 0.0) -> None:
    for frame in master.take_outgoing():
        worker.receive(frame, now)


def received(master: MasterSession) -> list[Record]:
    return [r for event in master.events() if isinstance(event, ms.RecordsReceived) for r in event.records]


# Exactly once


@dataclass
class Store:
    """What a master committed: the records of each command; survives masters."""

    records: dict[str, list[Record]] = field(default_factory=dict)

    def commit(self, event: ms.RecordsReceived) -> None:
        stored = self.records.setdefault(event.id, [])
        assert event.first == len(stored)
        stored += event.records


steps = st.lists(
    st.sampled_from(["start", "output", "output", "end", "to_master", "to_worker", "commit", "cut", "attach"])
    | st.tuples(st.just("window"), st.sampled_from([0, 1, 50, 1 << 20])),
    max_size=80,
)


@settings(max_examples=300)
@given(steps, st.data())
def test_p5_records_are_committed_once_and_in_order_at_any_cut(plan: list[Any], data: st.DataObject) -> None:
    worker = new_worker()
    store = Store()
    produced: dict[str, list[Record]] = {}
    started = 0
    attachment = 0
    link: tuple[list[bytes], list[bytes]] | None = None  # bytes under way to master, to worker
    master = MasterSession(now=0)
    uncommitted: list[ms.RecordsReceived] = []

    def drain(to: Any, wire: list[bytes], count: int) -> None:
        for frame in wire[:count]:
            to.receive(frame, 0.0)
        del wire[:count]

    def flow() -> None:
        if link is not None:
            link[0].extend(worker.take_outgoing(100))
            link[1].extend(master.take_outgoing())
        for event in worker.events():
            if isinstance(event, ws.StartWanted):
                assert event.id not in produced, "started twice"
                produced[event.id] = []
        for got in master.events():
            if isinstance(got, ms.HelloReceived):
                nonlocal attachment
                attachment += 1
                uncommitted.clear()
                stored = {command: len(records) for command, records in store.records.items()}
                master.welcome(
                    attachment=attachment,
                    master="m",
                    deadman_s=60,
                    window=200,
                    commands=answers(got.hello, stored),
                )
            elif isinstance(got, ms.RecordsReceived):
                uncommitted.append(got)

    def running() -> list[str]:
        return [command for command, records in produced.items() if not records or records[-1].kind != "r"]

    def commit(count: int) -> None:
        for event in uncommitted[:count]:
            store.commit(event)
            if data.draw(st.booleans()) or event.records[-1].kind == "r":
                master.ack(event.id, event.first + len(event.records))
        del uncommitted[:count]

    for step in plan:
        flow()
        if step == "attach" and link is None:
            worker.connected(0.0)
            master = MasterSession(now=0)
            link = ([], [])
        elif step == "cut" and link is not None:
            worker.disconnected()
            link = None
            uncommitted.clear()
        elif step == "start" and link is not None and master.attachment:
            started += 1
            for _ in range(data.draw(st.integers(1, 2))):
                master.start(f"c{started}", "shell", {})
        elif step in ("output", "end") and running():
            command = data.draw(st.sampled_from(running()))
            if step == "output":
                payload = data.draw(st.binary(max_size=60))
                worker.append(command, "o", 1, payload)
                produced[command].append(Record("o", 1, payload))
            else:
                worker.finish(command, 1, END)
                produced[command].append(Record("r", 1, END.to_map()))
        elif step == "to_master" and link is not None:
            drain(master, link[0], data.draw(st.integers(1, 3)))
        elif step == "to_worker" and link is not None:
            drain(worker, link[1], data.draw(st.integers(1, 3)))
        elif step == "commit" and link is not None:
            commit(1)
        elif isinstance(step, tuple) and link is not None and master.attachment:
            master.window(step[1])
        flow()
        assert worker.in_flight >= 0
        for command, records in store.records.items():
            assert records == produced[command][: len(records)]

    # Let all of it end: everything produced is committed and forgotten.
    for command in running():
        worker.finish(command, 1, END)
        produced[command].append(Record("r", 1, END.to_map()))
    worker.disconnected()
    worker.connected(0.0)
    master = MasterSession(now=0)
    link = ([], [])
    while True:
        flow()
        if not link[0] and not link[1] and not uncommitted:
            break
        drain(master, link[0], len(link[0]))
        drain(worker, link[1], len(link[1]))
        flow()
        commit(len(uncommitted))
        flow()
        for command in [
            command for command in worker.held if not produced[command]
        ]:  # a start that was still under way
            worker.finish(command, 1, END)
            produced[command].append(Record("r", 1, END.to_map()))
        for event_id in list(store.records):
            if event_id in master.open:
                master.ack(event_id, len(store.records[event_id]))
    assert {
        command: records for command, records in produced.items() if command in store.records
    } == store.records
    assert worker.held == []
    assert worker.in_flight == 0


def test_p4_start_twice_starts_once_also_over_attachments_and_after_the_end() -> None:
    worker = new_worker()
    master = attach(worker)
    master.start("c", "shell", {"command": ["true"]}, [Secret("S", "v")])
    master.start("c", "shell", {"command": ["true"]})
    to_worker(master, worker)
    starts = [event for event in worker.events() if isinstance(event, ws.StartWanted)]
    assert starts == [ws.StartWanted("c", "shell", {"command": ["true"]}, [Secret("S", "v")])]
    worker.finish("c", 1, END)
    worker.disconnected()
    master = attach(worker, 2)
    master.start("c", "shell", {"command": ["true"]})
    to_worker(master, worker)
    assert not [event for event in worker.events() if isinstance(event, ws.StartWanted)]


def test_p4_a_lost_command_is_not_started_again_and_is_said_until_forgotten() -> None:
    worker = new_worker()
    worker.lost("c", "the worker was killed")
    worker.connected(0)
    [frame] = worker.take_outgoing()
    hello = decode(frame)
    assert isinstance(hello, m.Hello)
    assert hello.lost == [m.LostCommand("c", "the worker was killed")]
    worker.disconnected()
    worker.connected(0)
    master = MasterSession(now=0)
    to_master(worker, master)
    master.welcome(attachment=1, master="m", deadman_s=60, window=100, commands=[])
    master.start("c", "shell", {})
    to_worker(master, worker)
    assert [type(event) for event in worker.events()] == [ws.Welcomed]
    master.forget_lost("c")
    to_worker(master, worker)
    assert worker.events() == [ws.Forgotten("c")]


# The fence


def test_p3_frames_of_an_older_attachment_are_refused() -> None:
    worker = new_worker()
    old = attach(worker, 1)
    old.start("a", "shell", {})
    to_worker(old, worker)
    worker.disconnected()
    old.start("b", "shell", {})
    old.interrupt("a", "stop")
    attach(worker, 2)
    worker.events()
    for frame in old.take_outgoing():
        worker.receive(frame, 0)
    assert worker.events() == []
    refusals = [decode(frame) for frame in worker.take_outgoing()]
    assert refusals == [m.Refused("b", 1), m.Refused("a", 1)]
    old.receive(encode(m.Refused("b", 1)), 0)
    assert old.events() == [ms.RefusedReceived("b", 1)]


def test_p3_a_welcome_with_an_older_number_is_refused_and_left() -> None:
    worker = new_worker()
    attach(worker, 5)
    worker.disconnected()
    worker.events()
    attach(worker, 4)
    assert not worker.welcomed
    assert worker.attachment == 5
    assert worker.events() == [ws.Detached("m4 welcomed with an older attachment")]
    assert worker.take_outgoing() == [encode(m.Refused("", 4))]


def test_orders_before_a_welcome_are_errors_and_after_a_detach_ignored() -> None:
    worker = new_worker()
    worker.connected(0)
    with pytest.raises(ProtocolError, match="before its welcome"):
        worker.receive(encode(m.Start(1, "c", "shell", {}, [])), 0)
    worker.disconnected()
    master = attach(worker)
    master.detach("lease lapsed")
    to_worker(master, worker)
    worker.events()
    worker.receive(encode(m.Start(1, "c", "shell", {}, [])), 0)
    assert worker.events() == []
    assert worker.held == []


# Answers to a hello


def test_kill_and_forget() -> None:
    worker = new_worker()
    master = attach(worker)
    for command in ("keep", "kill", "forget"):
        master.start(command, "shell", {})
    to_worker(master, worker)
    for command in ("keep", "kill", "forget"):
        worker.append(command, "o", 1, b"x")
    worker.disconnected()
    worker.events()
    worker.connected(0)
    master = MasterSession(now=0)
    to_master(worker, master)
    wanted = [
        CommandAnswer("keep", "resume", 1),
        CommandAnswer("kill", "kill", 0),
        CommandAnswer("forget", "forget", 0),
    ]
    master.welcome(attachment=2, master="m", deadman_s=60, window=1000, commands=wanted)
    to_worker(master, worker)
    events = worker.events()
    assert [type(event) for event in events] == [ws.Welcomed, ws.InterruptWanted, ws.Forgotten]
    to_master(worker, master)
    assert received(master) == [Record("o", 1, b"x")]
    assert worker.held == ["keep", "kill"]


@pytest.mark.parametrize("wanted", [0, 9])
def test_records_that_are_not_kept_make_a_command_lost(wanted: int) -> None:
    worker = new_worker()
    master = attach(worker)
    master.start("c", "shell", {})
    to_worker(master, worker)
    for _ in range(3):
        worker.append("c", "o", 1, b"x")
    to_master(worker, master)
    master.ack("c", 2)
    to_worker(master, worker)
    worker.disconnected()
    worker.events()
    attach(worker, 2, c=wanted)
    assert [event for event in worker.events() if isinstance(event, ws.Unresumable)]
    worker.append("c", "o", 1, b"more")
    assert worker.take_outgoing() == []
    worker.lost("c", "killed")
    worker.disconnected()
    worker.connected(0)
    hello = decode(worker.take_outgoing()[0])
    assert isinstance(hello, m.Hello)
    assert (hello.commands, hello.lost) == ([], [m.LostCommand("c", "killed")])


def test_a_welcome_must_answer_every_command() -> None:
    worker = new_worker()
    master = attach(worker)
    master.start("c", "shell", {})
    to_worker(master, worker)
    worker.disconnected()
    worker.connected(0)
    master = MasterSession(now=0)
    to_master(worker, master)
    with pytest.raises(ValueError, match="no answer"):
        master.welcome(attachment=2, master="m", deadman_s=60, window=10, commands=[])
    with pytest.raises(ProtocolError, match="no answer"):
        worker.receive(encode(m.Welcome(2, "m", 60.0, 10, [], 20.0, 2.0)), 0)


# Credit


@given(st.integers(1, 5000), st.lists(st.integers(0, 600), min_size=1, max_size=40))
def test_never_more_under_way_than_the_window_but_for_one_record(window: int, sizes: list[int]) -> None:
    worker = new_worker()
    master = attach(worker, window=window)
    master.start("c", "shell", {})
    to_worker(master, worker)
    for size in sizes:
        worker.append("c", "o", 1, bytes(size))
    seen = 0
    while seen < len(sizes):
        before = worker.in_flight
        to_master(worker, master)
        fresh = received(master)
        assert worker.in_flight <= window or (before == 0 and len(fresh) == 1)
        assert fresh
        seen += len(fresh)
        master.ack("c", seen)
        to_worker(master, worker)
    assert worker.in_flight == 0


def test_a_window_of_zero_parks() -> None:
    worker = new_worker()
    master = attach(worker, window=0)
    master.start("c", "shell", {})
    to_worker(master, worker)
    worker.append("c", "o", 1, b"x")
    assert not worker.has_outgoing
    assert worker.take_outgoing() == []
    master.window(100)
    to_worker(master, worker)
    to_master(worker, master)
    assert received(master) == [Record("o", 1, b"x")]


def test_commands_take_turns() -> None:
    worker = new_worker()
    master = attach(worker, window=1 << 24)
    for command in ("a", "b"):
        master.start(command, "shell", {})
    to_worker(master, worker)
    for command in ("a", "b"):
        for _ in range(8):
            worker.append(command, "o", 1, bytes(65536))
    frames = [decode(frame) for frame in worker.take_outgoing(1 << 24)]
    assert [frame.id for frame in frames if isinstance(frame, m.Records)][:4] == ["a", "b", "a", "b"]


# Downloads


def test_a_pull_is_asked_again_after_a_reconnect_and_answered_once() -> None:
    worker = new_worker()
    master = attach(worker)
    master.start("c", "download", {})
    to_worker(master, worker)
    worker.pull("c", 0, 10)
    worker.disconnected()
    worker.events()
    master = attach(worker, 2)
    to_master(worker, master)
    assert ms.PullReceived("c", 0, 10) in master.events()
    for _ in range(2):
        master.data("c", 0, b"x" * 10, eof=False)
    to_worker(master, worker)
    assert [event for event in worker.events() if isinstance(event, ws.DataArrived)] == [
        ws.DataArrived("c", 0, b"x" * 10, False)
    ]
    worker.pull("c", 10, 10)
    master.data("c", 10, b"x" * 11, eof=False)
    with pytest.raises(ProtocolError, match="11 bytes for a pull of 10"):
        to_worker(master, worker)


# What a worker says of itself


def test_room_and_goodbye_are_said_again_on_the_next_connection() -> None:
    worker = new_worker()
    worker.room(False, "disk full")
    worker.goodbye(True, "upgrade")
    master = attach(worker)
    to_master(worker, master)
    assert master.events() == [ms.RoomReceived(False, "disk full"), ms.GoodbyeReceived(True, "upgrade")]
    worker.room(False, "still")
    worker.room(True, "")
    to_master(worker, master)
    assert master.events() == [ms.RoomReceived(True, "")]


def test_shutdown_and_detach_arrive() -> None:
    worker = new_worker()
    master = attach(worker)
    worker.events()
    master.shutdown()
    master.detach("lease lapsed")
    to_worker(master, worker)
    assert worker.events() == [ws.ShutdownWanted(), ws.Detached("lease lapsed")]
    assert not worker.welcomed


# Liveness


def silent_at(session: WorkerSession | MasterSession) -> float:
    """When the session calls a peer dead that never sends anything."""
    while True:
        due = session.next_tick()
        assert due is not None
        try:
            session.tick(due)
        except PeerSilent:
            return due


def test_silence_is_found_within_seconds_while_a_command_is_open_and_a_minute_else() -> None:
    for busy, limit in ((True, 7.0), (False, 43.0)):
        worker = new_worker()
        master = attach(worker)
        if busy:
            master.start("c", "shell", {})
            to_worker(master, worker)
        for session in (worker, master):
            assert silent_at(session) == limit


def test_any_frame_is_a_sign_of_life_and_pings_are_answered() -> None:
    worker = new_worker()
    master = attach(worker)
    now = 0.0
    for _ in range(20):
        now = max(now, min(worker.next_tick() or now, master.next_tick()))
        worker.tick(now)
        master.tick(now)
        to_master(worker, master, now)
        to_worker(master, worker, now)
        to_master(worker, master, now)
    assert now > 100
    token = master.probe(now)
    to_worker(master, worker, now)
    to_master(worker, master, now)
    assert ms.PongReceived(token) in master.events()
    assert master.heard_at == now


def test_a_process_that_was_frozen_itself_asks_before_it_judges() -> None:
    worker = new_worker()
    master = attach(worker)
    master.tick(20.0)
    master.tick(500.0)
    assert len(master.take_outgoing()) == 2
    master.tick(520.0)
    with pytest.raises(PeerSilent):
        master.tick(523.0)


def test_becoming_busy_asks_at_once_after_long_idleness() -> None:
    worker = new_worker()
    master = attach(worker)
    master.start("c", "shell", {})
    master.take_outgoing()
    master.tick(19.0)
    assert [type(decode(frame)) for frame in master.take_outgoing()] == [m.Ping]


# The dead-man


def test_p4_the_dead_man_counts_from_the_last_sign_of_life() -> None:
    worker = new_worker()
    master = attach(worker)
    master.start("c", "shell", {})
    to_worker(master, worker, 5.0)
    worker.disconnected()
    worker.events()
    worker.tick(64.0)
    assert worker.events() == []
    assert worker.next_tick() == 65.0
    worker.tick(65.0)
    worker.tick(66.0)
    assert worker.events() == [ws.DeadmanPassed()]
    attach(worker, 2, now=70.0)
    worker.tick(200.0)
    worker.disconnected()
    worker.events()
    worker.tick(400.0)
    assert worker.events() == [ws.DeadmanPassed()]


def test_no_dead_man_without_a_running_command() -> None:
    worker = new_worker()
    attach(worker)
    worker.disconnected()
    assert worker.next_tick() is None


# Errors of the peer


def test_a_hello_comes_first_and_once() -> None:
    master = MasterSession(now=0)
    with pytest.raises(ProtocolError, match="before Hello"):
        master.receive(encode(m.Pull("c", 0, 1)), 0)
    worker = new_worker()
    worker.connected(0)
    [hello] = worker.take_outgoing()
    master.receive(hello, 0)
    with pytest.raises(ProtocolError, match="second Hello"):
        master.receive(hello, 0)


@pytest.mark.parametrize(("version", "older"), [(0, "worker"), (2, "master"), (70, "master")])
def test_another_version_says_what_to_do(version: int, older: str) -> None:
    hello = encode(m.Hello(version, "b", "l", {}, [], [], []))
    surplus = b"\x9b" + hello[1:] + b"\xc0" * 3  # fields that this version doesn't know
    for frame in (hello, surplus):
        with pytest.raises(ProtocolError, match=f"version {version} .*: upgrade the {older}, or") as caught:
            MasterSession(now=0).receive(frame, 0)
        assert len(str(caught.value)) < 120, "a WebSocket's closing reason takes no more"


@pytest.mark.parametrize(
    "message",
    [
        m.Records("other", 0, [Record("o", 1, b"")]),
        m.Records("c", 1, [Record("o", 1, b"")]),
        m.Records("c", 0, []),
        m.Records("c", 0, [Record("r", 1, END.to_map()), Record("o", 1, b"")]),
        m.Pull("other", 0, 1),
        m.Window(1),
    ],
)
def test_what_a_worker_may_not_send(message: m.Message) -> None:
    worker = new_worker()
    master = attach(worker)
    master.start("c", "shell", {})
    with pytest.raises(ProtocolError):
        master.receive(encode(message), 0)


@pytest.mark.parametrize(
    "message",
    [
        m.Welcome(2, "m", 60.0, 1, [], 20.0, 2.0),
        m.Start(2, "x", "shell", {}, []),
        m.Ack(1, "c", 5),
        m.Room(True, ""),
        m.Hello(1, "b", "l", {}, [], [], []),
    ],
)
def test_what_a_master_may_not_send(message: m.Message) -> None:
    worker = new_worker()
    master = attach(worker)
    master.start("c", "shell", {})
    to_worker(master, worker)
    with pytest.raises(ProtocolError):
        worker.receive(encode(message), 0)


def test_a_record_after_the_result_is_a_bug_of_the_caller() -> None:
    worker = new_worker()
    master = attach(worker)
    master.start("c", "shell", {})
    to_worker(master, worker)
    worker.finish("c", 1, END)
    with pytest.raises(RuntimeError, match="has ended"):
        worker.append("c", "o", 1, b"late")


def test_an_id_that_cannot_name_a_file_is_refused_before_it_is_sent() -> None:
    master = attach(new_worker())
    with pytest.raises(ValueError, match="can't be a command's id"):
        master.start("../etc", "shell", {})
