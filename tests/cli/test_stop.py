"""`buildwright stop`: running builds' commands go on, or are waited for."""

import os
import signal
from pathlib import Path

from buildwright.cli.status import alive
from tests.cli.support import Master, buildwright, eventually, failed, spawn, succeeded, worker_pid


def waiting_build(master: Master) -> None:
    """Have the builder `gated` run a command that waits for the gate."""
    succeeded("force", "gated", "--basedir", master.basedir)
    eventually(lambda: master.starts == 1, "the command runs")


def test_commands_go_on_and_so_does_the_build(master: Master) -> None:
    waiting_build(master)
    pid, worker = master.pid, worker_pid(master)
    done = succeeded("stop", master.basedir)
    assert f"The master (process {pid}) has stopped." in done.out
    assert str(master.basedir / "workers" / "local") in done.out
    assert master.running is not None
    assert master.running.wait() == 0
    assert alive(worker)
    master.start()
    master.open_gate()
    follow = succeeded("log", "-f", "gated/1", "--basedir", master.basedir)
    assert "waiting\nthrough\n" in follow.out
    assert master.starts == 1
    assert worker_pid(master) == worker


def test_the_local_workers_are_ended_too(master: Master) -> None:
    worker = worker_pid(master)
    done = succeeded("stop", master.basedir, "--workers", "--json")
    assert done.json == {"pid": master.pid, "stopped": True, "workers_ended": ["local"]}
    eventually(lambda: not alive(worker), "its process has ended")  # a moment after its lock is free


def test_a_drain_waits_for_what_runs(master: Master, tmp_path: Path) -> None:
    waiting_build(master)
    stop = spawn(tmp_path / "stop", "stop", "--drain", master.basedir)
    eventually(lambda: "gated/1 still running" in stop.text, "it says what it waits for")
    assert alive(master.pid)
    succeeded("force", "green", "--basedir", master.basedir)
    master.open_gate()
    assert stop.wait() == 0
    assert "has stopped" in stop.text
    assert not master.status
    master.start()
    assert "success" in succeeded("builds", "gated", "--basedir", master.basedir).out
    done = succeeded("log", "-f", "green", "--basedir", master.basedir)  # what came while it drained
    assert "all is well" in done.out


def test_a_drain_can_be_cut_short(master: Master, tmp_path: Path) -> None:
    waiting_build(master)
    stop = spawn(tmp_path / "stop", "stop", "--drain", master.basedir)
    eventually(lambda: (master.status or {}).get("state") == "draining", "the master drains")
    succeeded("stop", master.basedir)
    assert stop.wait() == 0
    master.start()
    master.open_gate()
    assert "through" in succeeded("log", "-f", "gated/1", "--basedir", master.basedir).out
    assert master.starts == 1


def test_the_end_need_not_be_waited_for(master: Master) -> None:
    assert "was told to stop" in succeeded("stop", master.basedir, "--no-wait").out
    assert master.running is not None
    assert master.running.wait() == 0
    assert buildwright("stop", master.basedir, "--no-wait", "--workers").code == 2


def test_no_master_runs(master: Master, tmp_path: Path) -> None:
    os.kill(master.pid, signal.SIGKILL)
    assert master.running is not None
    master.running.wait()
    assert f"no master runs in {master.basedir}" in failed("stop", master.basedir)
    assert "no master's directory" in failed("stop", cwd=tmp_path)
    assert "there is no directory" in failed("stop", tmp_path / "nothing")
