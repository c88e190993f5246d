"""The parts of `posix` that this machine would not use by itself, and the primitives beneath commands."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from buildwright_worker import posix
from tests.worker.support import FakeMaster, config_for, running_agent


def refuse(*_: object) -> int:
    raise OSError("not on this system")


@pytest.mark.parametrize("lacking", ["pidfd", "waitid", "both"])
async def test_commands_without_the_newer_calls(
    fake_master: FakeMaster, basedir: Path, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    if lacking != "waitid":
        monkeypatch.setattr(os, "pidfd_open", refuse)
    if lacking != "pidfd":
        monkeypatch.setattr(posix, "_HAS_WAITID", False)
    async with running_agent(config_for(basedir, fake_master.url)):
        done = await fake_master.run("c1", command="echo x; exec >&- 2>&-; sleep 0.1; exit 4")
        assert (done.rc, done.stdout) == (4, b"x\n")
        done = await fake_master.run("c2", command="sleep 1000", maxTime=0.1)
        assert (done.failure, done.result.signal) == ("timeout", signal.SIGKILL)


def test_processes_by_ps_as_by_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    try:
        assert posix.group_members(child.pid) == [child.pid]
        monkeypatch.setattr(posix, "_HAS_PROC", False)
        assert posix.group_members(child.pid) == [child.pid]
        start = posix.process_start(child.pid)
        assert start
        assert posix.process_start(child.pid) == start
        assert posix.marked_processes(["x/y"]) == []
    finally:
        child.communicate(b"\n")
    assert posix.process_start(child.pid) is None
    assert posix.group_members(child.pid) == []


def test_signals_by_name() -> None:
    assert posix.signal_number("term") == posix.signal_number("SIGTERM") == signal.SIGTERM
    with pytest.raises(ValueError, match="no signal 'MOON'"):
        posix.signal_number("MOON")


def test_a_lock_is_held_once_and_ends_with_its_descriptor(tmp_path: Path) -> None:
    held = posix.lock_file(tmp_path / "lock")
    with pytest.raises(posix.LockHeld) as caught:
        posix.lock_file(tmp_path / "lock")
    assert caught.value.pid == os.getpid()
    os.close(held)
    os.close(posix.lock_file(tmp_path / "lock"))
