"""The demo, as `make run` runs it: commits become builds, Ctrl-C ends everything, the next run goes on."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

from tests.support.processes import free_port

SCRIPT = Path(__file__).parents[2] / "examples" / "demo" / "run.py"
SECONDS = 120.0
SUCCESS, FAILURE, RETRY = 0, 2, 5


def eventually(condition: Callable[[], Any], what: Callable[[], str]) -> Any:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {SECONDS} s: {what()}")


class Demo:
    """One run of the demo."""

    def __init__(self, root: Path, port: int) -> None:
        self.root = root
        self.port = port
        self.url = f"http://127.0.0.1:{port}/"
        self.log = root.with_suffix(".log")
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(SCRIPT), "--port", str(port), "--root", str(root)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def get(self, path: str, **query: Any) -> Any:
        url = f"{self.url}api/v2/{path}?{urlencode(query)}"
        with build_opener(ProxyHandler({})).open(url, timeout=20) as answer:
            return json.load(answer)

    def builds(self, builder: str) -> list[dict[str, Any]]:
        """The builder's builds, while somebody answers."""
        try:
            found: list[dict[str, Any]] = self.get(f"builders/{builder}/builds", order="number")["builds"]
        except (URLError, OSError):
            assert self.process.poll() is None, self.log.read_text()
            return []
        return found

    def results(self, builder: str) -> list[int]:
        return [each["results"] for each in self.builds(builder) if each["complete"]]

    def soaking(self) -> int | None:
        """The number of the newest build that runs its long command."""
        for build in reversed(self.builds("nightly")):
            for step in self.get(f"builds/{build['buildid']}/steps")["steps"]:
                if step["name"] == "soak" and step["started_at"] and not step["complete"]:
                    number: int = build["number"]
                    return number
        return None

    def open_builds(self) -> int:
        """How many builds the store has as running, while no master does."""
        connection = sqlite3.connect(self.root / "master" / "state.sqlite")
        [(count,)] = connection.execute("SELECT count(*) FROM builds WHERE complete_at IS NULL")
        connection.close()
        return int(count)

    def wait_for(self, condition: Callable[[], Any]) -> Any:
        return eventually(condition, self.log.read_text)

    def pids(self) -> list[int]:
        """The processes of master and worker."""
        locks = [self.root / "master" / "master.lock", self.root / "worker" / ".buildwright" / "lock"]
        return [int(lock.read_text()) for lock in locks]

    def force(self, builder: str, **params: Any) -> None:
        subprocess.run(
            [sys.executable, "-m", "buildwright", "force", builder, "--url", self.url]
            + [word for name, value in params.items() for word in ("-p", f"{name}={value}")],
            check=True,
            capture_output=True,
        )

    def interrupt(self) -> None:
        """Ctrl-C, and wait until nothing is left."""
        pids = self.pids()
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(SECONDS) == 0, self.log.read_text()
        for pid in pids:
            assert not Path(f"/proc/{pid}").exists(), f"process {pid} is left"


@contextmanager
def demo(root: Path, port: int) -> Iterator[Demo]:
    run = Demo(root, port)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.process.terminate()
            run.process.wait(SECONDS)


def test_from_nothing_to_builds_and_on(tmp_path: Path) -> None:
    root, port = tmp_path / "run", free_port()
    with demo(root, port) as run:
        run.wait_for(lambda: run.results("tests")[-2:] == [SUCCESS, FAILURE])
        [red] = run.get("builders/tests/builds", order="-number", limit=1)["builds"]
        text = run.get(f"builds/{red['buildid']}/steps/test/logs/stdio/contents")["logchunks"][0]["content"]
        assert "FAIL: test_every_line" in text
        assert "the square of" in text
        assert "program finished with exit code 1" in text
        assert run.get("forceschedulers/force")["forceschedulers"][0]["button_name"] == "Build now"
        names = {each["name"] for each in run.get("schedulers")["schedulers"]}
        assert names == {"commits", "nightly", "force"}
        run.wait_for(lambda: "tests/2: failure    why: " in run.log.read_text())
        run.force("nightly", seconds=3600)
        number = run.wait_for(run.soaking)
        before = len(run.results("tests"))
        run.interrupt()
    assert run.open_builds() == 0  # they have ended by now, with RETRY
    with demo(root, port) as again:
        again.wait_for(lambda: again.results("tests")[before:][-2:] == [SUCCESS, FAILURE])
        assert [each["results"] for each in again.builds("nightly") if each["number"] == number] == [RETRY]
        again.wait_for(lambda: (again.soaking() or 0) > number)  # what was cut off is tried again
        again.interrupt()
    assert "Traceback" not in run.log.read_text()


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with demo(tmp_path / "first", port := free_port()) as first:
        first.wait_for(lambda: first.log.read_text().count("Buildwright runs at"))
        with demo(tmp_path / "second", port) as second:
            assert second.process.wait(SECONDS) == 1
            assert f"port {port} can't be listened on" in second.log.read_text()
        assert first.process.poll() is None
        first.interrupt()


def test_git_is_asked_for(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--root", str(tmp_path / "run")],
        env={**os.environ, "PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "demo: the demo needs git: apt-get install -y git\n"
