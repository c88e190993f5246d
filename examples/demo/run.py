"""The demo: a master, a worker and a sample project, until Ctrl-C. `make run` runs it.

Everything is in demo-run/ beside the Makefile, and the next run goes on with it; remove the directory to
begin again. Master and worker are the ordinary commands in processes of their own, with their output in
demo-run/master.log and demo-run/worker.log.

On Ctrl-C the worker ends first: it kills what it runs and says so, and the master ends those builds with
RETRY and will try them again at the next run. Then the master ends. What does not end by itself in time is
killed.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

from project_history import Project

HERE = Path(__file__).resolve().parent
START_SECONDS = 60.0
WORKER_SECONDS, MASTER_SECONDS = 2.5, 2.0  # to end within, together less than five
COMMIT_SECONDS = 4.0  # between two commits
SEEN_SECONDS = 15.0  # the first look of a new poller only takes note of what is there
RESULTS = ["success", "warnings", "failure", "skipped", "exception", "retry", "cancelled"]

_open = build_opener(ProxyHandler({})).open  # never through a proxy: it is this machine


class Over(Exception):
    """The demo was asked to end."""


class CannotRun(Exception):
    """It can't start; the text says why and what to do."""


class Demo:
    """All of it. ``root`` keeps everything."""

    def __init__(self, root: Path, port: int) -> None:
        self.root = root
        self.port = port
        self.url = f"http://127.0.0.1:{port}/"
        self.project = Project(root / "project")
        self._master: subprocess.Popen[bytes] | None = None
        self._worker: subprocess.Popen[bytes] | None = None
        self._told = -1  # the newest build that was told of

    # -- start and end -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Have everything there and running. Raises CannotRun."""
        if shutil.which("git") is None:
            raise CannotRun("the demo needs git: apt-get install -y git")
        self._prepare()
        print("Starting the master ...", flush=True)
        self._master = self._run("master", "buildwright", "start", str(self.root / "master"))
        self._wait_until_it_serves()
        self._told = max((each["buildid"] for each in self._builds()), default=0)
        self._worker = self._run("worker", "buildwright_worker", "start", str(self.root / "worker"))

    def stop(self) -> None:
        """End the worker, then the master."""
        for process, seconds in ((self._worker, WORKER_SECONDS), (self._master, MASTER_SECONDS)):
            if process is None or process.poll() is not None:
                continue
            process.terminate()
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _prepare(self) -> None:
        master, worker = self.root / "master", self.root / "worker"
        (master / "secrets").mkdir(parents=True, exist_ok=True)
        password = master / "secrets" / "demo-worker"
        if not password.exists():
            password.touch(mode=0o600)
            password.write_text(secrets.token_urlsafe(24), encoding="utf-8")
        configuration = master / "master.cfg"
        if not configuration.is_symlink():
            configuration.symlink_to(HERE / "master.cfg")
        self.project.make()
        url = f"ws://127.0.0.1:{self.port}"
        made = self._command("buildwright_worker", "create", str(worker), url, "demo-worker")
        made += ["--password-file", str(password)]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL)

    def _run(self, name: str, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a process that Ctrl-C reaches only through us."""
        with (self.root / f"{name}.log").open("ab") as output:
            return subprocess.Popen(
                self._command(module, *arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "DEMO_PORT": str(self.port)},
                start_new_session=True,
            )

    def _command(self, module: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", module, *arguments]

    def _wait_until_it_serves(self) -> None:
        assert self._master is not None
        log = self.root / "master.log"
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self._master.poll() is not None:
                last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
                text = "\n".join(f"  {line}" for line in last)
                raise CannotRun(f"the master ended at once:\n{text}\nAll of it: {log}")
            if self._status() is not None:
                return
            time.sleep(0.1)
        raise CannotRun(f"the master doesn't serve after {START_SECONDS:.0f} s: see {log}")

    def _status(self) -> dict[str, Any] | None:
        """What our own master says of itself, once it serves."""
        assert self._master is not None
        try:
            told: dict[str, Any] = json.loads(
                (self.root / "master" / "status.json").read_text(encoding="utf-8")
            )
        except (OSError, ValueError):
            return None
        return told if told["pid"] == self._master.pid else None

    # -- what happens ------------------------------------------------------------------------------------

    def go_on(self) -> None:
        """Commit something right, then something wrong, and tell of builds, until asked to end."""
        self._commit_until_seen()
        self._watch(COMMIT_SECONDS)
        wrong = self.project.add_wrong()
        print(f"Commit {wrong[:8]} is wrong on purpose: its build will be red.", flush=True)
        while True:
            self._watch(3600)

    def _commit_until_seen(self) -> None:
        """Commit until the poller has told of a commit: its very first look only takes note."""
        self._watch(COMMIT_SECONDS)
        while True:
            revision = self.project.add_right()
            print(f"Commit {revision[:8]} is right: its build of 'tests' will be green.", flush=True)
            until = time.monotonic() + SEEN_SECONDS
            while time.monotonic() < until:
                if self._get("changes", revision=revision)["changes"]:
                    return
                self._watch(0.5)

    def _watch(self, seconds: float) -> None:
        """Tell of builds that end, for so long. Raises CannotRun if master or worker have ended."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for name, process in (("master", self._master), ("worker", self._worker)):
                if process is not None and process.poll() is not None:
                    raise CannotRun(f"the {name} has ended: see {self.root / name}.log")
            self._tell()
            time.sleep(0.5)

    def _tell(self) -> None:
        names = None
        for build in self._builds(buildid__gt=self._told):
            if not build["complete"]:
                break
            self._told = build["buildid"]
            names = names or {each["builderid"]: each["name"] for each in self._get("builders")["builders"]}
            name, number = names[build["builderid"]], build["number"]
            told = f"{name}/{number}: {RESULTS[build['results']]}"
            if build["results"] == 2:
                told += f"    why: .venv/bin/buildwright log {name}/{number} --url {self.url}"
            print(told, flush=True)

    def _builds(self, **query: Any) -> list[dict[str, Any]]:
        builds: list[dict[str, Any]] = self._get("builds", order="buildid", **query)["builds"]
        return builds

    def _get(self, path: str, **query: Any) -> Any:
        try:
            with _open(f"{self.url}api/v2/{path}?{urlencode(query)}", timeout=10) as answer:
                return json.load(answer)
        except (URLError, OSError, ValueError) as error:
            raise CannotRun(f"the master doesn't answer ({error}): see {self.root / 'master.log'}") from None


def _asked_to_end(_number: int, _frame: FrameType | None) -> None:
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # the end is under way
    raise Over


def main() -> int:
    """Run the demo; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=8010, help="where the master listens, on 127.0.0.1")
    parser.add_argument(
        "--root", type=Path, default=HERE.parents[1] / "demo-run", help="what keeps everything"
    )
    options = parser.parse_args()
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, _asked_to_end)
    demo = Demo(options.root.resolve(), options.port)
    try:
        demo.start()
        print(GREETING.format(url=demo.url, root=demo.root), flush=True)
        demo.go_on()
    except Over:
        print("\nEnding: the worker, then the master ...", flush=True)
    except CannotRun as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    finally:
        demo.stop()
    print("Everything has ended. `make run` goes on from here.")
    return 0


GREETING = """
Buildwright runs at {url}

  In a few seconds somebody commits to the sample project, once right and once wrong. Watch the builder
  'tests' turn green, then red, and read the failing command's output. 'nightly' is due every second minute.

  Try, in another terminal:
    .venv/bin/buildwright builds --url {url}
    .venv/bin/buildwright force tests --follow --url {url}
    .venv/bin/buildwright log -f nightly --url {url}
  Commit to {root}/project yourself: the poller sees it.

  Ctrl-C ends everything; the next `make run` goes on where it was.
"""

if __name__ == "__main__":
    sys.exit(main())
