"""A process of the master's, that doesn't outlive it.

It leads a session of its own. A watchdog, a shell that waits for the end of a pipe which only the master
holds open, kills its process group when the master dies. Killing it begins with the signal that its step
names; if it has not ended after five seconds, KILL follows. What it has left in its process group is killed
when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from buildwright.builds.observers import HEADER, STDERR, STDOUT
from buildwright.builds.steplogs import MasterOutput

KILL_AFTER = 5.0
LAST_WORDS = 1.0  # for the pipes of a killed process, which somebody out of its group may hold
_READ = 64 * 1024
_WATCHDOG = 'read -r _; kill -KILL "-$1"'


class Ended(NamedTuple):
    """How a process has ended; ``code`` is -1 if a signal has killed it."""

    code: int
    signal: int
    seconds: float


class MasterProcess:
    """A started process."""

    def __init__(self, process: asyncio.subprocess.Process, terminal: int | None) -> None:
        self._process = process
        self._terminal = terminal
        self._watchdog: asyncio.subprocess.Process | None = None

    @classmethod
    async def start(
        cls, words: Sequence[str], workdir: str, env: Mapping[str, str], *, pty: bool
    ) -> MasterProcess:
        """Start it. Raises OSError, ValueError."""
        ours, theirs = os.openpty() if pty else (None, None)
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                cwd=workdir,
                env=dict(env),
                stdin=asyncio.subprocess.DEVNULL if theirs is None else theirs,
                stdout=asyncio.subprocess.PIPE if theirs is None else theirs,
                stderr=asyncio.subprocess.PIPE if theirs is None else theirs,
                start_new_session=True,
            )
        except BaseException:
            if ours is not None:
                os.close(ours)
            raise
        finally:
            if theirs is not None:
                os.close(theirs)
        made = cls(process, ours)
        try:
            made._watchdog = await asyncio.create_subprocess_exec(
                "/bin/sh", "-c", _WATCHDOG, "watchdog", str(process.pid),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        except BaseException:
            await made._end()
            raise
        return made

    async def run(self, output: MasterOutput, limit: float | None, gently: str) -> Ended:
        """Copy what it prints until it ends; kill it after ``limit`` seconds, or when this is cancelled."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(limit or None):
                await self._copy(output)
        except TimeoutError:
            output.write(HEADER, f"command timed out: {limit:g} seconds elapsed\n".encode())
            await self._kill(gently, output)
        except asyncio.CancelledError:
            output.write(HEADER, b"command interrupted\n")
            await self._kill(gently, output)
            raise
        finally:
            code = await self._end()
        return Ended(max(code, -1), max(-code, 0), time.monotonic() - began)

    async def _copy(self, output: MasterOutput) -> None:
        if self._terminal is not None:
            await self._copy_terminal(self._terminal, output)
        else:
            process = self._process
            assert process.stdout is not None
            assert process.stderr is not None
            await asyncio.gather(
                _copied(process.stdout, STDOUT, output), _copied(process.stderr, STDERR, output)
            )
        await self._process.wait()

    async def _copy_terminal(self, terminal: int, output: MasterOutput) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(terminal), "rb", 0)
        )
        try:
            # A terminal whose last process is gone answers with an error instead of its end.
            with contextlib.suppress(OSError):
                await _copied(reader, STDOUT, output)
        finally:
            output.end(STDOUT)
            transport.close()

    async def _kill(self, name: str, output: MasterOutput) -> None:
        """Have it end, and copy what it still has to say."""
        self._signal(getattr(signal, f"SIG{name}"))
        for patience in (KILL_AFTER, LAST_WORDS):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._copy(output)
            self._signal(signal.SIGKILL)

    async def _end(self) -> int:
        """Kill what is left, and the watchdog; gives the exit code, negative for a signal."""
        self._signal(signal.SIGKILL)
        code = await self._process.wait()
        if self._watchdog is not None:
            with contextlib.suppress(ProcessLookupError):
                self._watchdog.kill()
            await self._watchdog.wait()
        if self._terminal is not None:
            os.close(self._terminal)
        return code

    def _signal(self, number: int) -> None:
        # The group's number is the leader's process id, and stays taken while anything of the group lives.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


async def _copied(reader: asyncio.StreamReader, stream: str, output: MasterOutput) -> None:
    while data := await reader.read(_READ):
        output.write(stream, data)
    output.end(stream)
