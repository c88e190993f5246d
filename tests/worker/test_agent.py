"""The agent and its masters: cuts, detachments, credit, the dead-man, refusals, garbage."""

import asyncio
import logging
import os
from http import HTTPStatus
from pathlib import Path

import pytest

from buildwright_worker import agent as agent_module
from buildwright_worker import posix
from buildwright_worker.agent import Agent
from buildwright_worker.protocol import CommandAnswer, Hello, encode
from buildwright_worker.protocol import messages as m
from tests.worker.support import FakeMaster, alive, config_for, eventually, master, names, running_agent


async def test_hello(fake_master: FakeMaster, agent: Agent, basedir: Path) -> None:
    [hello] = fake_master.hellos
    assert (hello.version, hello.commands, hello.lost) == (1, [], [])
    assert {"shell", "upload", "download", "mkdir"} <= set(hello.capabilities)
    assert hello.info["basedir"] == str(basedir)
    assert hello.info["numcpus"] == os.cpu_count()
    assert hello.info["hostname"] == os.uname().nodename
    assert hello.info["environ"]["PATH"] == os.environ["PATH"]
    assert hello.info["os_id"]
    fake_master.cut()
    await fake_master.until(lambda: len(fake_master.hellos) == 2)
    assert (hello.boot, hello.ledger) == (fake_master.hellos[1].boot, fake_master.hellos[1].ledger)


# Going on


async def test_p4_p5_cuts_lose_and_repeat_nothing(fake_master: FakeMaster, agent: Agent) -> None:
    await fake_master.begin("c", command="for i in $(seq 1 3000); do echo $i; sleep 0.0005; done")
    for count in (200, 700, 1500):
        await fake_master.until_lines("c", count)
        fake_master.cut()
    done = await fake_master.outcome("c")
    assert done.stdout == b"".join(b"%d\n" % number for number in range(1, 3001))
    assert len(fake_master.hellos) == 4
    assert fake_master.errors == []


async def test_p4_a_command_ends_while_no_master_is_there(
    fake_master: FakeMaster, agent: Agent, basedir: Path
) -> None:
    await fake_master.begin("c", command="until test -e go; do sleep 0.02; done; seq 1 1000; exit 3")
    await fake_master.until_output("c", b" process ", "h")
    await fake_master.stop()
    (basedir / "go").touch()
    assert agent.session is not None
    await eventually(lambda: agent.session is not None and agent.session.running == 0)
    await fake_master.start()
    done = await fake_master.outcome("c")
    assert (done.rc, done.stdout.count(b"\n")) == (3, 1000)
    await eventually(lambda: agent.session is not None and agent.session.held == [])
    assert names(basedir / ".buildwright/commands") == []


async def test_p4_a_start_sent_twice_starts_once(
    fake_master: FakeMaster, agent: Agent, basedir: Path
) -> None:
    fake_master.acknowledges = False
    script = "echo ran >>count; until test -e go; do sleep 0.02; done"
    for _ in range(3):
        await fake_master.begin("c", command=script)
    await fake_master.until_output("c", b" process ", "h")
    fake_master.cut()
    await fake_master.until(lambda: len(fake_master.hellos) == 2)
    await fake_master.begin("c", command=script)
    (basedir / "go").touch()
    await fake_master.outcome("c")
    await fake_master.begin("c", command=script)
    fake_master.acknowledges = True
    fake_master.acknowledge_all()
    await fake_master.run("next", command="true")
    assert (basedir / "count").read_text() == "ran\n"


async def test_p4_unacknowledged_records_come_again_to_the_next_master(basedir: Path) -> None:
    async with master() as first, master() as second:
        first.acknowledges = False
        async with running_agent(config_for(basedir, first.url, second.url)) as agent:
            await first.begin("c", command="echo one; until test -e go; do sleep 0.02; done; echo two")
            await first.until_output("c", b"one\n")
            second._attachment = 10
            first.detach("lease lapsed")
            await second.attached()
            (basedir / "go").touch()
            done = await second.outcome("c")
            assert done.stdout == b"one\ntwo\n"
            assert second.hellos[0].commands[0].attachment == 1
            assert agent.session is not None
            assert agent.session.attachment == 11


async def test_p3_a_master_that_lost_the_worker_is_refused(basedir: Path) -> None:
    async with master() as old, master() as new, running_agent(config_for(basedir, old.url, new.url)):
        await old.attached()
        new._attachment = 5
        old.detach("frozen")
        await new.attached()
        old._attachment = 1
        new.detach("test")
        await old.until(lambda: len(old.hellos) == 2)
        await new.until(lambda: len(new.hellos) == 2)
        assert new._attachment == 7


async def test_kill_and_forget_at_the_hello(fake_master: FakeMaster, agent: Agent, basedir: Path) -> None:
    for command in ("kill", "forget"):
        await fake_master.begin(command, command="echo $$; sleep 1000")
        await fake_master.until_output(command, b"\n")
    pids = [int(fake_master.output(command)) for command in ("kill", "forget")]

    def answer(hello: Hello) -> list[CommandAnswer]:
        return [CommandAnswer(one.id, one.id, len(fake_master.records[one.id])) for one in hello.commands]

    fake_master.answer = answer
    fake_master.cut()
    done = await fake_master.outcome("kill")
    assert done.failure == "interrupted"
    await eventually(lambda: not any(map(alive, pids)))
    await eventually(lambda: names(basedir / ".buildwright/commands") == [])
    assert agent.session is not None
    assert agent.session.held == []


async def test_records_that_are_gone_make_the_command_lost(fake_master: FakeMaster, agent: Agent) -> None:
    await fake_master.begin("c", command="echo $$; sleep 1000")
    await fake_master.until_output("c", b"\n")
    pid = int(fake_master.output("c"))
    fake_master.records["c"] = []  # a store set back to an old copy
    fake_master.cut()
    await fake_master.until(lambda: any(hello.lost for hello in fake_master.hellos))
    assert not alive(pid)
    assert [lost.id for lost in fake_master.hellos[-1].lost] == ["c"]


async def test_p4_the_dead_man_kills(fake_master: FakeMaster, agent: Agent) -> None:
    fake_master.deadman_s = 1
    fake_master.cut()
    await fake_master.until(lambda: len(fake_master.hellos) == 2)
    await fake_master.begin("c", command="echo $$; sleep 1000")
    await fake_master.until_output("c", b"\n")
    pid = int(fake_master.output("c"))
    await fake_master.stop()
    await eventually(lambda: not alive(pid))
    await fake_master.start()
    done = await fake_master.outcome("c")
    assert done.failure == "deadman"


# Credit


async def test_a_parked_master_gets_nothing_and_the_spool_takes_it(
    fake_master: FakeMaster, agent: Agent, basedir: Path
) -> None:
    fake_master.window = 0
    fake_master.cut()
    await fake_master.until(lambda: len(fake_master.hellos) == 2)
    await fake_master.begin("c", command=["seq", "1", "2000000"])
    assert agent.session is not None
    await eventually(lambda: agent.session is not None and agent.session.held and agent.session.running == 0)
    assert agent.session.in_flight == 0
    assert fake_master.records == {}
    assert agent._runner is not None
    assert agent._runner._space.used > 10_000_000
    fake_master.tell(lambda session: session.window(1 << 20))
    done = await fake_master.outcome("c")
    assert done.stdout == b"".join(b"%d\n" % number for number in range(1, 2000001))
    await eventually(lambda: agent._runner is not None and agent._runner._space.used == 0)


async def test_a_full_spool_stops_the_command_and_the_clock_and_drops_nothing(
    fake_master: FakeMaster, basedir: Path
) -> None:
    fake_master.window = 0
    async with running_agent(config_for(basedir, fake_master.url, spool_limit=1 << 20)):
        await fake_master.begin("c", command=["seq", "1", "1000000"], timeout=0.5)
        await fake_master.until(lambda: fake_master.rooms)
        assert not fake_master.rooms[0].ok
        assert "limit of 1 MiB" in fake_master.rooms[0].why
        await fake_master.begin("d", command="sleep 1")
        fake_master.tell(lambda session: session.window(1 << 20))
        await fake_master.outcome("d")
        done = await fake_master.outcome("c")
        assert (done.rc, done.failure) == (0, None)
        assert done.stdout == b"".join(b"%d\n" % number for number in range(1, 1000001))
        await fake_master.until(lambda: fake_master.rooms[-1].ok)


# Masters that don't want us, or don't answer


async def test_refusals_say_why_and_are_tried_again(
    fake_master: FakeMaster, basedir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fake_master.refusal = (HTTPStatus.FORBIDDEN, "another process is attached as w1")
    async with running_agent(config_for(basedir, fake_master.url)):
        await eventually(lambda: "refused this worker (another process is attached as w1)" in caplog.text)
        fake_master.refusal = (HTTPStatus.UNAUTHORIZED, "wrong password")
        await eventually(lambda: "does not know this name and password (wrong password)" in caplog.text)
        fake_master.refusal = (HTTPStatus.NOT_FOUND, "nothing here")
        await eventually(lambda: "answered 404 nothing here" in caplog.text)
        fake_master.refusal = None
        await fake_master.attached()


async def test_masters_are_tried_in_turn(basedir: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def talk_nonsense(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.org ESMTP\r\n")
        writer.close()

    other = await asyncio.start_server(talk_nonsense, "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    async with master() as good, other:
        masters = ["ws://127.0.0.1:1/worker", f"ws://127.0.0.1:{port}/worker", good.url]
        async with running_agent(config_for(basedir, *masters)):
            await good.attached()
    assert "ws://127.0.0.1:1/worker" in caplog.text
    assert "this is no master of ours" in caplog.text


async def test_a_silent_master_is_left(monkeypatch: pytest.MonkeyPatch, basedir: Path) -> None:
    monkeypatch.setattr(agent_module, "ANSWER_S", 0.2)
    callers: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: callers.append(writer), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with master() as good, silent:
        async with running_agent(config_for(basedir, f"ws://127.0.0.1:{port}/worker", good.url)):
            await good.attached()
        for caller in callers:
            caller.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xc1",
        b"x" * 100,
        b"x" * ((1 << 20) + 1),
        encode(m.Window(1))[:-1],
        encode(m.Start(99, "c", "shell", {}, [])),
        encode(m.Hello(1, "b", "l", {}, [], [], [])),
    ],
    ids=["empty", "reserved", "text", "oversize", "half", "future", "not-mine"],
)
async def test_garbage_ends_the_connection_and_nothing_else(
    fake_master: FakeMaster, agent: Agent, garbage: bytes
) -> None:
    await fake_master.begin("c", command="echo on; sleep 1000")
    await fake_master.until_output("c", b"on\n")
    fake_master.send_raw(garbage)
    await fake_master.until(lambda: len(fake_master.hellos) == 2)
    assert [(one.id, one.state) for one in fake_master.hellos[1].commands] == [("c", "running")]
    fake_master.interrupt("c")
    await fake_master.outcome("c")


# Ends


async def test_shutdown_when_idle(fake_master: FakeMaster, basedir: Path) -> None:
    agent = Agent(config_for(basedir, fake_master.url))
    running = asyncio.create_task(agent.run())
    await fake_master.begin("c", command="until test -e go; do sleep 0.02; done; echo done")
    await fake_master.until_output("c", b" process ", "h")
    agent.retire("upgrade")
    await fake_master.until(lambda: fake_master.goodbyes)
    assert fake_master.goodbyes[0] == (True, "upgrade")
    fake_master.tell(lambda session: session.shutdown())
    (basedir / "go").touch()
    await asyncio.wait_for(running, 30)
    assert (await fake_master.outcome("c")).stdout == b"done\n"


async def test_stop_kills_and_reports(fake_master: FakeMaster, basedir: Path) -> None:
    async with running_agent(config_for(basedir, fake_master.url)):
        await fake_master.begin("c", command="trap '' TERM; echo $$; sleep 1000; sleep 1000", sigtermTime=100)
        await fake_master.until_output("c", b"\n")
    done = await fake_master.outcome("c")
    assert done.failure == "lost"
    assert not alive(int(done.stdout))
    assert names(basedir / ".buildwright/commands") == []
    assert not fake_master.goodbyes[0].graceful


async def test_stop_without_a_master_leaves_it_to_the_next_start(
    fake_master: FakeMaster, basedir: Path
) -> None:
    async with running_agent(config_for(basedir, fake_master.url)):
        await fake_master.begin("c", command="echo $$; sleep 1000")
        await fake_master.until_output("c", b"\n")
        await fake_master.stop()
    assert not alive(int(fake_master.output("c")))
    await fake_master.start()
    async with running_agent(config_for(basedir, fake_master.url)):
        await fake_master.until(lambda: len(fake_master.hellos) == 2)
    assert [lost.id for lost in fake_master.hellos[1].lost] == ["c"]
    async with running_agent(config_for(basedir, fake_master.url)):
        await fake_master.until(lambda: len(fake_master.hellos) == 3)
    assert fake_master.hellos[2].lost == []


async def test_p4_a_second_worker_on_one_directory_is_refused(
    fake_master: FakeMaster, agent: Agent, basedir: Path
) -> None:
    with pytest.raises(posix.LockHeld) as caught:
        await Agent(config_for(basedir, fake_master.url)).run()
    assert caught.value.pid == os.getpid()


async def test_many_agents_in_one_process(fake_master: FakeMaster, tmp_path: Path) -> None:
    agents = [Agent(config_for(tmp_path / f"w{number}", fake_master.url)) for number in range(20)]
    tasks = [asyncio.create_task(agent.run()) for agent in agents]
    await asyncio.gather(*(agent.attached.wait() for agent in agents))
    assert len({hello.ledger for hello in fake_master.hellos}) == 20
    for agent in agents:
        agent.stop("the test ends")
    await asyncio.gather(*tasks)
