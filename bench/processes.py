"""Processes under measure: started in a session of their own, watched through /proc, and gone with the bench.

The kernel kills each one when the bench dies, so an interrupted run leaves nothing behind.
"""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


class Process:
    """One process whose memory and time are measured; what it prints goes to a file."""

    def __init__(
        self, command: Sequence[str | Path], cwd: Path, output: Path, env: Mapping[str, str]
    ) -> None:
        self.command = [str(part) for part in command]
        self.output = output
        with output.open("ab") as sink:
            self._popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self.command],
                cwd=cwd,
                env={**os.environ, **env},
                stdin=subprocess.PIPE,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        self.pid = self._popen.pid

    def alive(self) -> bool:
        return self._popen.poll() is None

    def require_alive(self) -> None:
        if not self.alive():
            raise RuntimeError(f"{' '.join(self.command)} ended by itself:\n{self.tail()}")

    def tail(self) -> str:
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-30:])

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(line.encode() + b"\n")
        self._popen.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def stop(self, patience: float = 60.0) -> float:
        """Ask it to end, kill it when it doesn't, and return the seconds that it took."""
        began = time.monotonic()
        if self.alive():
            self._popen.terminate()
            try:
                self._popen.wait(patience)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        if self._popen.stdin is not None:
            self._popen.stdin.close()
        return time.monotonic() - began

    def cpu_seconds(self) -> float:
        """User and system time of all its threads, without its children's."""
        return time.clock_gettime(~self.pid << 3 | 2)  # how Linux numbers the processes' CPU clocks

    def rss(self) -> int:
        """Resident memory in bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError(f"process {self.pid} has no resident memory")


@contextmanager
def peak_rss(process: Process) -> Iterator[list[int]]:
    """Sample the memory twenty times a second; the list's one item is the largest so far."""
    peak = [process.rss()]
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.05):
            if process.alive():
                peak[0] = max(peak[0], process.rss())

    thread = threading.Thread(target=sample, name="peak-rss")
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
