"""Local workers: processes that outlive their master, and that it looks after."""

import os
import signal

from buildwright.cli.status import alive
from tests.cli.support import Master, eventually, succeeded, worker_pid
from tests.support.processes import free_port


def test_one_that_dies_is_started_again(master: Master) -> None:
    first = worker_pid(master)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: worker_pid(master) != first and alive(worker_pid(master)), "another one runs")
    assert "all is well" in succeeded("force", "green", "--follow", "--basedir", master.basedir).out


def test_one_outlives_a_master_that_was_killed(master: Master) -> None:
    worker = worker_pid(master)
    os.kill(master.pid, signal.SIGKILL)
    master.start()
    assert "all is well" in succeeded("force", "green", "--follow", "--basedir", master.basedir).out
    assert worker_pid(master) == worker


def test_another_address_of_the_master_reaches_it(master: Master) -> None:
    before = worker_pid(master)
    succeeded("stop", master.basedir)
    master.port = free_port()
    master.configure()
    master.start()
    assert "all is well" in succeeded("force", "green", "--follow", "--basedir", master.basedir).out
    assert worker_pid(master) != before


def test_one_that_is_configured_no_longer_ends(master: Master) -> None:
    worker = worker_pid(master)
    text = (master.basedir / "master.cfg").read_text()
    (master.basedir / "master.cfg").write_text(
        text.replace('worker.LocalWorker("local")', 'worker.Worker("local", "password")')
    )
    succeeded("reload", master.basedir)
    eventually(lambda: not alive(worker), "its process has ended")
