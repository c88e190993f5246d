"""`buildwright-worker start` as a process: killed, stopped, restarted, beside another one, without disk."""

import asyncio
import logging
import os
import signal
import ssl
import sys
from pathlib import Path

import pytest

from buildwright_worker import config as config_module
from tests.worker.support import (
    FakeMaster,
    WorkerProcess,
    alive,
    config_for,
    eventually,
    master,
    names,
    resident_kib,
    run_command,
    running_agent,
)

FAMILY = """
import os, sys, time
open("starts", "a").write("x")
if os.fork() == 0:
    os.setsid()
os.write(1, b"%d\\n" % os.getpid())  # in one piece
time.sleep(1000)
"""


async def run_family(fake_master: FakeMaster, command: str) -> list[int]:
    await fake_master.begin(command, command=[sys.executable, "-c", FAMILY])
    await fake_master.until_lines(command, 2)
    return [int(line) for line in fake_master.output(command).split()]


async def test_p4_after_kill_9_the_next_process_kills_the_leftovers_and_says_lost(
    fake_master: FakeMaster, basedir: Path
) -> None:
    async with WorkerProcess(basedir, fake_master.url) as worker:
        pids = await run_family(fake_master, "c")
        await worker.kill()
        assert all(map(alive, pids))
        await worker.start()
        await fake_master.until(lambda: len(fake_master.hellos) == 2)
        assert not any(map(alive, pids))
        first, second = fake_master.hellos
        assert [(lost.id, lost.why) for lost in second.lost] == [
            ("c", "the worker process that ran it ended")
        ]
        assert second.commands == []
        assert first.boot != second.boot
        assert first.ledger == second.ledger
        await eventually(lambda: names(basedir / ".buildwright/commands") == [])
        await fake_master.begin(
            "c", command=[sys.executable, "-c", FAMILY]
        )  # forgotten: a new attempt may reuse it
        await fake_master.until(lambda: (basedir / "starts").read_text() == "xx")


async def test_p4_a_lost_command_is_not_started_before_it_is_forgotten(
    fake_master: FakeMaster, basedir: Path
) -> None:
    async with WorkerProcess(basedir, fake_master.url) as worker:
        await run_family(fake_master, "c")
        await worker.kill()
        fake_master.answer = lambda hello: []
        await worker.start()
        await fake_master.until(lambda: len(fake_master.hellos) == 2)
        await fake_master.begin("c", command=[sys.executable, "-c", FAMILY])
        await fake_master.run("d", command="true")
        assert (basedir / "starts").read_text() == "x"
        fake_master.tell(lambda session: session.forget_lost("c"))
        await eventually(lambda: names(basedir / ".buildwright/commands") == [])


async def test_sigterm_kills_reports_and_ends(fake_master: FakeMaster, basedir: Path) -> None:
    async with WorkerProcess(basedir, fake_master.url) as worker:
        pids = await run_family(fake_master, "c")
        worker.process.terminate()
        assert await asyncio.wait_for(worker.process.wait(), 30) == 0
        done = await fake_master.outcome("c")
        assert done.failure == "lost"
        assert not any(map(alive, pids))


async def test_sigusr1_ends_gracefully_and_sighup_does_nothing(
    fake_master: FakeMaster, basedir: Path
) -> None:
    async with WorkerProcess(basedir, fake_master.url) as worker:
        await fake_master.begin("c", command="until test -e go; do sleep 0.02; done; echo done")
        await fake_master.until_output("c", b" process ", "h")
        worker.process.send_signal(signal.SIGHUP)
        worker.process.send_signal(signal.SIGUSR1)
        await fake_master.until(lambda: fake_master.goodbyes)
        assert fake_master.goodbyes[0].graceful
        fake_master.tell(lambda session: session.shutdown())
        (basedir / "go").touch()
        assert await asyncio.wait_for(worker.process.wait(), 30) == 0
        assert (await fake_master.outcome("c")).stdout == b"done\n"


async def test_p4_a_frozen_worker_goes_on(fake_master: FakeMaster, basedir: Path) -> None:
    async with WorkerProcess(basedir, fake_master.url) as worker:
        await fake_master.begin("c", command="for i in $(seq 100); do echo $i; sleep 0.005; done")
        await fake_master.until_lines("c", 10)
        worker.process.send_signal(signal.SIGSTOP)
        fake_master.cut()
        await fake_master.until(lambda: fake_master.session is None)
        worker.process.send_signal(signal.SIGCONT)
        done = await fake_master.outcome("c")
        assert done.stdout == b"".join(b"%d\n" % number for number in range(1, 101))


async def test_p9_the_password_is_in_no_command_and_no_hello(
    fake_master: FakeMaster, basedir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(config_module.PASSWORD_VARIABLE, "sesame")
    async with WorkerProcess(basedir, fake_master.url) as worker:
        done = await fake_master.run("c", command="env")
        assert b"sesame" not in done.stdout
        assert "sesame" not in done.headers
        assert "sesame" not in repr(fake_master.hellos)
        assert "sesame" not in worker.log


async def test_a_worker_stays_small(fake_master: FakeMaster, basedir: Path) -> None:
    async with WorkerProcess(basedir, fake_master.url) as worker:
        await fake_master.run("c", command="true")
        assert resident_kib(worker.process.pid) < 32 * 1024


# Without disk


@pytest.fixture
def small_disk(tmp_path: Path) -> list[str]:
    """What to put before a worker's command, so that its directory is a disk of its own of 3 MiB.

    The mount is in a namespace of the worker's: it goes with it.
    """
    script = (
        'set -e; cd "$1"; mkdir "$1.disk"; mount -t tmpfs -o size=3m,mode=755 tmpfs "$1.disk"; '
        'cp -a . "$1.disk"; mount --move "$1.disk" "$1"; shift; exec "$@"'
    )
    unshare = (
        ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    )
    return [*unshare, "sh", "-c", script, "sh", str(tmp_path / "worker")]


async def test_p5_a_full_disk_stops_commands_and_loses_nothing(
    fake_master: FakeMaster, tmp_path: Path, small_disk: list[str]
) -> None:
    fake_master.window = 0
    async with WorkerProcess(tmp_path / "worker", fake_master.url, prefix=small_disk):
        await fake_master.begin("c1", command=["seq", "1", "1000000"])
        await fake_master.until(lambda: fake_master.rooms)
        assert fake_master.rooms[0] == (False, "No space left on device")
        await fake_master.begin("c2", command="echo ran")
        fake_master.tell(lambda session: session.window(1 << 20))
        done = await fake_master.outcome("c1")
        assert done.stdout == b"".join(b"%d\n" % number for number in range(1, 1000001))
        assert (await fake_master.outcome("c2")).stdout == b"ran\n"
        await fake_master.until(lambda: fake_master.rooms[-1].ok)


async def test_p4_without_room_for_its_ledger_entry_a_command_waits(
    fake_master: FakeMaster, tmp_path: Path, small_disk: list[str]
) -> None:
    async with WorkerProcess(tmp_path / "worker", fake_master.url, prefix=small_disk) as worker:
        await fake_master.begin(
            "c1",
            command="head -c 100M /dev/zero >filler; echo full; while test -e filler; do sleep 0.1; done",
        )
        await fake_master.until_output("c1", b"full\n")
        await fake_master.begin("c2", command="echo ran")
        await fake_master.until(lambda: fake_master.rooms)
        assert fake_master.rooms[0] == (False, "the ledger can't be written: No space left on device")
        await fake_master.begin("c3", command="echo ran")
        fake_master.interrupt("c3")
        assert (await fake_master.outcome("c3")).failure == "interrupted"
        assert "c2" not in fake_master.records
        worker.inside("filler").unlink()
        assert (await fake_master.outcome("c2")).stdout == b"ran\n"
        await fake_master.until(lambda: fake_master.rooms[-1].ok)
        assert (await fake_master.outcome("c1")).rc == 0


# TLS


async def test_tls(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    made = run_command(*words, "-keyout", key, "-out", certificate)
    assert made.returncode == 0, made.stderr
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with master(tls=context) as fake:
        url = fake.url.replace("ws://127.0.0.1", "wss://localhost")
        async with running_agent(config_for(tmp_path / "trusting", url, ca_file=str(certificate))):
            done = await fake.run("c", command=["seq", "1", "200000"])
            assert done.stdout == b"".join(b"%d\n" % number for number in range(1, 200001))
        async with running_agent(config_for(tmp_path / "wary", url)):
            await eventually(lambda: "certificate verify failed" in caplog.text)
        assert len(fake.hellos) == 1
        other_name = url.replace("localhost", "127.0.0.1")
        async with running_agent(config_for(tmp_path / "knows it", other_name, certificate=str(certificate))):
            assert (await fake.run("d", command=["true"])).rc == 0
