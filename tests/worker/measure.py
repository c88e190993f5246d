"""Figures of a worker alone: `python -m tests.worker.measure`.

Commands a second, megabytes of output a second, processor time and memory of a `buildwright-worker start`
whose master is `FakeMaster` in this process. Its own work is in the rates, not in the processor time.
"""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.worker.support import FakeMaster, WorkerProcess, master, resident_kib

COMMANDS = 1000


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")


async def commands(fake: FakeMaster, pid: int, at_once: int) -> None:
    began, before = time.monotonic(), processor_seconds(pid)

    async def series(number: int) -> None:
        for count in range(COMMANDS // at_once):
            await fake.run(f"c{at_once}-{number}-{count}", command=["true"], logEnviron=False)

    await asyncio.gather(*(series(number) for number in range(at_once)))
    rate = COMMANDS / (time.monotonic() - began)
    cost = (processor_seconds(pid) - before) / COMMANDS * 1000
    say(f"true, {at_once} at once: {rate:.0f} a second, {cost:.2f} ms of the worker each")


async def output(fake: FakeMaster, pid: int, command: str) -> None:
    began, before = time.monotonic(), processor_seconds(pid)
    done = await fake.run(f"o{len(fake.records)}", command=command)
    seconds = time.monotonic() - began
    megabytes = len(done.stdout) / 1e6
    cost = processor_seconds(pid) - before
    say(f"{command}: {megabytes / seconds:.0f} MB/s, {cost / megabytes * 1000:.1f} ms of the worker a MB")


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with master() as fake, WorkerProcess(Path(directory) / "w", fake.url) as worker:
            await fake.run("first", command="true")
            pid = worker.process.pid
            say(f"memory: {resident_kib(pid) / 1024:.1f} MiB")
            for at_once in (1, 4):
                await commands(fake, pid, at_once)
            await output(fake, pid, "head -c 200M /dev/zero")
            await output(fake, pid, "seq 1 5000000")
            say(f"memory: {resident_kib(pid) / 1024:.1f} MiB")


if __name__ == "__main__":
    asyncio.run(main())
