"""The command line as its users have it: processes, their output and exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.processes import free_port

SECONDS = 60.0

# A master with one local worker. GATE is a directory: the builder `gated` waits for the file `open` in it.
CONFIG = r"""
import sys
from buildwright.plugins import schedulers, steps, util, worker

FORCED = {
    "green": ["echo all is well", "echo the end"],
    "red": ["echo out; echo err >&2; exit 3"],
    "bytes": [[sys.executable, "-c", "import os; os.write(1, bytes(range(256)) * 4); os.write(2, b'\\xff')"]],
    "gated": [
        f"echo started >> {GATE}/starts; echo waiting;"
        f"while [ ! -e {GATE}/open ]; do sleep 0.05; done; echo through"
    ],
    "colours": [["printf", r"\033[32mgreen\033[0m \033]0;title\007plain \033[2J\n"]],
    "odd/name 1": ["echo odd"],
}

def builder(name, *commands):
    factory = util.BuildFactory()
    for number, command in enumerate(commands):
        factory.addStep(steps.ShellCommand(name=f"step{number}", command=command))
    return util.BuilderConfig(name=name, workernames=["local"], factory=factory)

c = BuildmasterConfig = {}
c["workers"] = [worker.LocalWorker("local")]
c["builders"] = [builder(name, *commands) for name, commands in FORCED.items()]
c["builders"].append(builder("unforced", "true"))
c["schedulers"] = [
    schedulers.ForceScheduler(
        name="force",
        builderNames=list(FORCED),
        properties=[
            util.StringParameter("version", default="1"),
            util.BooleanParameter("checked", default=True),
            util.ChoiceStringParameter("kinds", choices=["a", "b"], multiple=True, default=["a"]),
            util.FixedParameter("fixed", default="always"),
        ],
    ),
    schedulers.ForceScheduler(
        name="second",
        builderNames=["red"],
        codebases=[util.CodebaseParameter("", branch="main"), "lib"],
    ),
    schedulers.Triggerable(name="triggered", builderNames=["unforced"]),
]
c["www"] = {"port": f"tcp:{PORT}:interface=127.0.0.1"}
"""

# The least that is a configuration: nothing runs.
LEAST = """
from buildwright.plugins import schedulers, util, worker
c = BuildmasterConfig = {}
c["workers"] = [worker.Worker("w", "password")]
c["builders"] = [util.BuilderConfig(name="b", workernames=["w"], factory=util.BuildFactory())]
c["schedulers"] = [schedulers.ForceScheduler(name="force", builderNames=["b"])]
c["www"] = {"port": "tcp:%d:interface=127.0.0.1" % globals().get("PORT", 8010)}
"""

# Has a process write down at its end which modules it has loaded.
TELL_MODULES = """
import atexit, sys
from pathlib import Path
atexit.register(lambda: Path({path!r}).write_text("\\n".join(sys.modules)))
"""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


def environment(**more: str) -> dict[str, str]:
    """The environment of a user who has set up nothing."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("BUILDWRIGHT_")}
    return {**own, "NO_COLOR": "", "TERM": "xterm", **more}


def buildwright(
    *arguments: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> Done:
    """Run `buildwright` to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "buildwright", *map(str, arguments)],
        cwd=cwd or Path("/"),
        env=environment(**(env or {})),
        input=stdin,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    made = Done(done.returncode, done.stdout, done.stderr.decode())
    assert "Traceback" not in made.err, made.err
    return made


def failed(*arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run `buildwright`, which fails with exit code 1; its message, on one line."""
    done = buildwright(*arguments, cwd=cwd, env=env)
    assert done.code == 1, (done.code, done.out, done.err)
    assert not done.out
    return " ".join(done.err.split())


def succeeded(*arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Done:
    """Run `buildwright`, which succeeds."""
    done = buildwright(*arguments, cwd=cwd, env=env)
    assert done.code == 0, (done.code, done.out, done.err)
    return done


def eventually(condition: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
    """Wait for a condition to give something true; what it gave."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


@dataclass
class Running:
    """A process in the background, with its output in a file."""

    process: subprocess.Popen[bytes]
    output: Path

    @property
    def text(self) -> str:
        return self.output.read_text()

    def wait(self) -> int:
        return self.process.wait(SECONDS)


@dataclass
class Master:
    """A master's basedir and its process."""

    basedir: Path
    port: int = field(default_factory=free_port)
    running: Running | None = None
    log_count: int = 0

    def configure(self, text: str = CONFIG) -> None:
        gate = self.basedir / "gate"
        gate.mkdir(parents=True, exist_ok=True)
        head = f"PORT = {self.port}\nGATE = {str(gate)!r}\n"
        (self.basedir / "master.cfg").write_text(head + text)

    def spawn(self, *arguments: str) -> Running:
        """Start the process, ready or not; one that was there has been ended."""
        if self.running is not None:
            self.running.wait()
        self.log_count += 1
        self.running = spawn(
            self.basedir.parent / f"{self.basedir.name}.{self.log_count}.log",
            "start",
            self.basedir,
            *arguments,
        )
        return self.running

    def start(self) -> None:
        """Start it, and wait until it serves."""
        running = self.spawn()

        def serves() -> bool:
            assert running.process.poll() is None, running.text
            return self.status is not None

        eventually(serves, "the master serves")

    @property
    def pid(self) -> int:
        assert self.running is not None
        return self.running.process.pid

    @property
    def status(self) -> dict[str, Any] | None:
        """What it says of itself."""
        try:
            found: dict[str, Any] = json.loads((self.basedir / "status.json").read_text())
        except FileNotFoundError:
            return None
        return found if found["pid"] == self.pid else None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def starts(self) -> int:
        """How often the command of `gated` was started."""
        path = self.basedir / "gate" / "starts"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def open_gate(self) -> None:
        (self.basedir / "gate" / "open").touch()

    def end(self) -> None:
        """End it and its local workers, whatever state they are in."""
        if self.running is not None and self.running.process.poll() is None:
            self.running.process.send_signal(signal.SIGTERM)
            try:
                self.running.process.wait(15)
            except subprocess.TimeoutExpired:
                self.running.process.kill()
                self.running.process.wait()
        for worker in self.basedir.glob("workers/*/worker.json"):
            subprocess.run(
                [sys.executable, "-m", "buildwright_worker", "stop", str(worker.parent)],
                stdout=subprocess.DEVNULL,
                check=True,
                timeout=SECONDS,
            )


def spawn(output: Path, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Running:
    """Run `buildwright` in the background."""
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "buildwright", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=environment(**(env or {})),
        )
    return Running(process, output)


@contextmanager
def master_in(basedir: Path, config: str = CONFIG, *, start: bool = True) -> Iterator[Master]:
    """A master with this configuration, that is gone at the end."""
    master = Master(basedir)
    master.configure(config)
    try:
        if start:
            master.start()
        yield master
    finally:
        master.end()


def worker_pid(master: Master) -> int:
    """The process of the local worker."""
    lock = master.basedir / "workers/local/.buildwright/lock"
    found = eventually(lambda: lock.exists() and lock.read_text().strip(), "the local worker runs")
    return int(found)
