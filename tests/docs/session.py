"""Doing what a page says: its files are written, its commands run, and what they print is compared.

A session has a directory of its own and a shell's state (directory, environment) per terminal. Commands that
stay are processes of their own, which end with the session; so do the local workers that masters have left.

What a command prints is its standard output, and its standard error if the page shows that: progress, which a
terminal shows and takes away again, is not expected in a page.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.docs.blocks import ROOT, Block, Command, as_expected, commands

PATIENCE = 300.0
POLL = 0.1
PROGRAMS = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Printed:
    """What came of a command."""

    code: int
    output: str
    errors: str

    def fits(self, command: Command) -> bool:
        return as_expected(command.expected, self.output) or as_expected(
            command.expected, self.output + self.errors
        )

    def __str__(self) -> str:
        return f"exit code {self.code}:\n{self.output}{self.errors}"


class Session:
    """A reader at a machine. ``replaced`` says what of a page's text is other here: ports, addresses."""

    def __init__(
        self, directory: Path, replaced: Mapping[str, str] | None = None, **environment: str
    ) -> None:
        self.directory = directory
        self._replaced = dict(replaced or {})
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("BUILDWRIGHT")},
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "HOME": str(directory),
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
            "COLUMNS": "100",
            **environment,
        }
        self._terminals: dict[str, dict[str, str]] = {}
        self._staying: list[tuple[subprocess.Popen[bytes], Path]] = []

    def follow(self, block: Block) -> None:
        """Do what a block says."""
        if block.language == "console":
            self._console(block)
        elif block.title is not None:
            path = self.directory / self.here(block.title)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.here(block.text), encoding="utf-8")

    def do(self, line: str, stays: str | None = None) -> None:
        """Run a command that no page shows; with ``stays``, until it prints that, and it goes on running."""
        attributes = {} if stays is None else {"stays": ""}
        shown = [] if stays is None else ["...", stays]
        text = "\n".join([f"$ {line}", *shown])
        self._console(Block(ROOT / "not a page", 0, "console", {"terminal": "1", **attributes}, text))

    def here(self, text: str) -> str:
        """A page's text with what is other here."""
        for old, new in self._replaced.items():
            text = text.replace(old, new)
        return text

    def _console(self, block: Block) -> None:
        found = commands(block)
        terminal = block.attributes.get("terminal", "1")
        for shown in found:
            last = shown is found[-1]
            command = Command(self.here(shown.line), [self.here(line) for line in shown.expected])
            if last and "stays" in block.attributes:
                self._stay(block, terminal, command)
            elif "until" in block.attributes:
                self._repeat(block, terminal, command)
            else:
                printed = self._run(terminal, command.line)
                wanted = int(block.attributes.get("exit", 0)) if last else 0
                self._compare(block, command, printed)
                assert printed.code == wanted, f"{block.place}: {command.line!r} ended with {printed}"

    def _run(self, terminal: str, line: str) -> Printed:
        """Run a command line as a terminal's shell would, and keep what it does to the shell."""
        state = self._terminals.setdefault(terminal, {"cwd": str(self.directory)})
        kept = self.directory / f".terminal-{terminal}"
        kept.touch()
        script = f". {shlex.quote(str(kept))}\n{line}\ncode=$?\nexport -p > {shlex.quote(str(kept))}\n"
        script += f"pwd > {shlex.quote(str(kept))}.cwd\nexit $code\n"
        files = [self.directory / f".{name}-{terminal}" for name in ("stdout", "stderr")]
        with files[0].open("wb") as output, files[1].open("wb") as errors:
            process = self._start(script, state["cwd"], output.fileno(), errors.fileno())
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
        state["cwd"] = Path(f"{kept}.cwd").read_text().strip() or state["cwd"]
        return Printed(code, *(path.read_text(errors="replace") for path in files))

    def _start(self, script: str, cwd: str, output: int, errors: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["bash", "-c", script],
            cwd=cwd,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )

    def _stay(self, block: Block, terminal: str, command: Command) -> None:
        output = self.directory / f".stays-{len(self._staying)}"
        state = self._terminals.setdefault(terminal, {"cwd": str(self.directory)})
        kept = self.directory / f".terminal-{terminal}"
        kept.touch()
        with output.open("wb") as file:
            script = f". {shlex.quote(str(kept))}\nexec {command.line}\n"
            process = self._start(script, state["cwd"], file.fileno(), file.fileno())
        # As a terminal's shell does: a process that has ended is not left as a zombie.
        threading.Thread(target=process.wait, daemon=True).start()
        self._staying.append((process, output))
        expected = [*command.expected, "..."]
        until = time.monotonic() + PATIENCE
        while not as_expected(expected, output.read_text(errors="replace")):
            said = output.read_text(errors="replace")
            assert process.poll() is None, f"{block.place}: {command.line!r} ended:\n{said}"
            assert time.monotonic() < until, f"{block.place}: {command.line!r} printed:\n{said}"
            time.sleep(POLL)

    def _repeat(self, block: Block, terminal: str, command: Command) -> None:
        until = time.monotonic() + PATIENCE
        while True:
            printed = self._run(terminal, command.line)
            if printed.fits(command):
                return
            if time.monotonic() > until:
                self._compare(block, command, printed)
            time.sleep(POLL)

    def _compare(self, block: Block, command: Command, printed: Printed) -> None:
        if not printed.fits(command):
            wanted = "\n".join(command.expected)
            logs = "\n".join(path.read_text(errors="replace")[-3000:] for _, path in self._staying)
            raise AssertionError(
                f"{block.place}: {command.line!r} ended with {printed}\nand not with\n{wanted}\n"
                f"What stays says:\n{logs}"
            )

    def close(self) -> None:
        """End everything that the session has begun."""
        for process, _ in self._staying:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process, _ in self._staying:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        for lock in self.directory.rglob(".buildwright/lock"):
            worker = str(lock.parent.parent)
            subprocess.run(
                [sys.executable, "-m", "buildwright_worker", "stop", worker], check=False, capture_output=True
            )


@contextmanager
def session(
    directory: Path, replaced: Mapping[str, str] | None = None, **environment: str
) -> Iterator[Session]:
    """A session that ends with its context."""
    made = Session(directory, replaced, **environment)
    try:
        yield made
    finally:
        made.close()
