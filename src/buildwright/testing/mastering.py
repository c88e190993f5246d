"""What steps do on the master in a rehearsal: command lines and requests that are scripts.

They take the places of :class:`~buildwright.steps.masterprocess.MasterProcess` and of what an
:class:`~buildwright.steps.http.HTTPStep` sends; both steps' own code is the shipped one.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from unittest.mock import patch

from buildwright.builds.step import BuildStep
from buildwright.steps.http import HTTPStep
from buildwright.steps.master import MasterShellCommand
from buildwright.steps.masterprocess import Ended, MasterProcess
from buildwright.testing.scripts import MASTER, Ran, Script, Scripts

Now = Callable[[], datetime]
FOREVER = 1e9

_asking: contextvars.ContextVar[BuildStep | None] = contextvars.ContextVar("asking", default=None)


@contextmanager
def scripted_master(scripts: Scripts, now: Now) -> Iterator[None]:
    """Have what steps run on the master, and what they request, be scripts."""
    run_command = MasterShellCommand._command  # noqa: SLF001 - what it starts has to know its step

    async def command(step: MasterShellCommand, *args: Any) -> int:
        _asking.set(step)
        return await run_command(step, *args)

    async def start(words: Any, workdir: str, env: Mapping[str, str], **options: Any) -> _Process:
        del options
        shell = list(words[:2]) == ["/bin/sh", "-c"] and len(words) == 3
        # What differs from the master's own environment is what the step has asked for.
        own = {name: value for name, value in env.items() if os.environ.get(name) != value}
        ran = _ran(words[2] if shell else list(words), _asking.get(), now(), workdir=workdir, env=own)
        return _Process(ran, scripts.begin(ran))

    async def request(step: HTTPStep) -> dict[str, Any]:
        given = {name: getattr(step, name) for name in ("params", "data", "json", "headers")}
        ran = _ran(f"{step.method} {step.url}", step, now(), args=given)
        return await _answered(ran, scripts.begin(ran))

    with (
        patch.object(MasterShellCommand, "_command", command),
        patch.object(MasterProcess, "start", start),
        patch.object(HTTPStep, "_request", request),
    ):
        yield


def _ran(
    command: str | list[str],
    step: BuildStep | None,
    at: datetime,
    workdir: str = "",
    env: Mapping[str, str] | None = None,
    args: Mapping[str, Any] | None = None,
) -> Ran:
    made = Ran(command, MASTER, workdir, env or {}, at, args=args or {})
    if step is not None:
        made.builder, made.build, made.step = step.build.builder.name, step.build.number, str(step.name)
    return made


class _Process:
    """A command line that plays its script."""

    def __init__(self, ran: Ran, script: Script) -> None:
        self._ran = ran
        self._script = script

    async def run(self, output: Any, limit: float | None, gently: str) -> Ended:
        """As `MasterProcess.run`."""
        del gently
        loop, script, ran = asyncio.get_running_loop(), self._script, self._ran
        began = loop.time()
        code, signal = script.code, script.signal or 0
        try:
            async with asyncio.timeout(limit or None):
                for after, stream, data in script.acts:
                    await asyncio.sleep(after)
                    output.write(stream, data)
                await asyncio.sleep(FOREVER if script.endless else script.rest)
        except TimeoutError:
            output.write("h", f"command timed out: {limit:g} seconds elapsed\n".encode())
            code, signal, ran.failure = -1, 9, "timeout"
        except asyncio.CancelledError:
            output.write("h", b"command interrupted\n")
            code, signal, ran.failure = -1, 9, "interrupted"
            raise
        finally:
            for stream in "oe":
                output.end(stream)
            ran.code, ran.took = code, loop.time() - began
        return Ended(code, signal, ran.took)


async def _answered(ran: Ran, script: Script) -> dict[str, Any]:
    """What a request comes to: its script's status and headers, and what it prints as the body."""
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(FOREVER if script.endless else script.rest)
    ran.took = asyncio.get_running_loop().time() - began
    failed = script.code != 0  # exits and dies say that there is no answer
    ran.code = 0 if failed else script.status
    return {
        "problem": "the server can't be reached" if failed else "",
        "sent": [],
        "status": 0 if failed else script.status,
        "reason": "",
        "redirected": "",
        "received": [list(header) for header in script.headers.items()],
        "body": b"".join(data for _, stream, data in script.acts if stream == "o"),
        "cut": False,
    }
