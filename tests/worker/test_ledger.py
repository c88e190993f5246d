"""The ledger: what is listed is found, killed and reported by the next process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from buildwright_worker import posix
from buildwright_worker.ledger import Ledger
from tests.worker.support import alive

FAMILY = """
import os, time
if os.fork() == 0:
    os.setsid()
print(os.getpid(), flush=True)
time.sleep(1000)
"""


def test_identity_stays(tmp_path: Path) -> None:
    assert Ledger(tmp_path).identity == Ledger(tmp_path).identity


def test_a_settled_command_leaves_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.begin("a")
    ledger.started("a", os.getpid())
    ledger.begin("b")
    ledger.forget("a")
    ledger.forget("b")
    ledger.forget("never")
    assert Ledger(tmp_path).recover() == []


def test_an_entry_is_made_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.begin("a")
    with pytest.raises(FileExistsError):
        ledger.begin("a")
    ledger.close()


def test_p4_recovery_kills_the_group_and_what_left_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.begin("c1")
    child = subprocess.Popen(
        [sys.executable, "-c", FAMILY],
        env={**os.environ, posix.MARKER: ledger.marker("c1")},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stdout is not None
    pids = [int(child.stdout.readline()) for _ in range(2)]
    ledger.started("c1", child.pid)
    ledger.close()
    lost = Ledger(tmp_path).recover()
    assert [(command.id, command.why) for command in lost] == [("c1", "the worker process that ran it ended")]
    assert not any(map(alive, pids))
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL
    assert [command.id for command in Ledger(tmp_path).recover()] == ["c1"]


def test_p4_a_process_of_the_same_number_is_left_alone(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    bystander = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    ledger.begin("c1")
    ledger.started("c1", bystander.pid)
    ledger.close()
    path = tmp_path / "commands" / "c1"
    start = posix.process_start(bystander.pid)
    assert start is not None
    path.write_text(path.read_text().replace(f'"{start}"', '"1"'))
    assert [command.id for command in Ledger(tmp_path).recover()] == ["c1"]
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_p4_after_a_restart_of_the_machine_nothing_is_killed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    bystander = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    ledger.begin("c1")
    ledger.started("c1", bystander.pid)
    ledger.close()
    path = tmp_path / "commands" / "c1"
    path.write_text(path.read_text().replace(posix.machine_boot(), "another"))
    [lost] = Ledger(tmp_path).recover()
    assert lost.why == "the worker's machine was restarted"
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


@pytest.mark.parametrize("content", [b"", b"{", b'{"machine": ', b"[]", b"null"])
def test_p4_an_entry_that_was_not_written_to_its_end_is_lost_too(tmp_path: Path, content: bytes) -> None:
    Ledger(tmp_path)
    (tmp_path / "commands" / "c1").write_bytes(content)
    assert [command.id for command in Ledger(tmp_path).recover()] == ["c1"]
