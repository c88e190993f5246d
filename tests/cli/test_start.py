"""`buildwright start`."""

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.cli.support import LEAST, TELL_MODULES, Master, eventually, failed, spawn

# What an idle master on SQLite has no use for: each costs megabytes or tens of milliseconds.
UNUSED = {
    "alembic",
    "asyncpg",
    "greenlet",
    "numpy",
    "obstore",
    "prometheus_client",
    "re2",
    "rich",
    "sqlalchemy.dialects.postgresql",
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(resting: Master, number: signal.Signals) -> None:
    resting.start()
    os.kill(resting.pid, number)
    assert resting.running is not None
    assert resting.running.wait() == 0
    assert not (resting.basedir / "status.json").exists()
    assert "the master is running" in resting.running.text


def test_an_idle_master_loads_only_what_it_uses(resting: Master, tmp_path: Path) -> None:
    resting.configure(LEAST + TELL_MODULES.format(path=str(tmp_path / "modules")))
    resting.start()
    os.kill(resting.pid, signal.SIGTERM)
    assert resting.running is not None
    assert resting.running.wait() == 0
    loaded = set((tmp_path / "modules").read_text().split())
    assert {"aiohttp", "sqlalchemy", "structlog"} <= loaded
    assert not UNUSED & loaded


def test_a_directory_that_is_no_masters(tmp_path: Path) -> None:
    assert "`buildwright init" in failed("start", tmp_path / "nothing")
    assert "it has no master.cfg" in failed("start", cwd=tmp_path)
    assert "it has no other.cfg" in failed("start", tmp_path, "--config", "other.cfg")


def test_a_configuration_with_errors(resting: Master) -> None:
    resting.configure("c = BuildmasterConfig = {'bulders': []}")
    said = failed("start", resting.basedir)
    assert "master.cfg:3: error: unknown key" in said
    assert "did you mean 'builders'?" in said
    assert "3 errors" in said


def test_a_second_master_on_a_basedir(shared: Master) -> None:
    assert f"another master runs on {shared.basedir} (process {shared.pid})" in failed(
        "start", shared.basedir
    )


def test_a_port_that_is_taken(resting: Master) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", resting.port))
        other.listen()
        said = failed("start", resting.basedir)
    assert f"port {resting.port} can't be listened on" in said


def test_databases_that_cannot_be_used(resting: Master) -> None:
    (resting.basedir / "other.sqlite").write_text("no database at all, but long enough to be one" * 100)
    resting.configure(LEAST + 'c["db_url"] = "sqlite:///other.sqlite"\n')
    assert "is no SQLite database" in failed("start", resting.basedir)


def test_the_format_of_the_log(resting: Master) -> None:
    resting.configure(LEAST)
    running = resting.spawn("--log-format", "text")
    eventually(lambda: resting.status, "the master runs")
    os.kill(resting.pid, signal.SIGTERM)
    assert running.wait() == 0
    assert "[info" in running.text
    assert "\x1b" not in running.text


def test_it_can_be_ended_while_it_starts(resting: Master, tmp_path: Path) -> None:
    mark = tmp_path / "loading"
    resting.configure(f"import time\nopen({str(mark)!r}, 'w').close()\ntime.sleep(1)\n" + LEAST)
    running = spawn(tmp_path / "log", "start", resting.basedir)
    eventually(mark.exists, "the configuration is being loaded")
    running.process.send_signal(signal.SIGTERM)
    assert running.wait() == 0
    assert "the master is running" not in running.text
