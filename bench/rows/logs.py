"""Logs in and out: how fast output is stored and read back, what memory it takes, whether it is whole."""

import asyncio
import time

from bench.processes import peak_rss
from bench.rest import log_path
from bench.sides import Master, Setup, Side, master
from bench.support import write_lines, write_short_lines
from bench.table import Figure, Measurement, Row, median_of

MB = 1_000_000


async def stored_rate(made: Master, size: int) -> float:
    """MB/s from the request to the finished build of a step that prints so many bytes."""
    began = time.perf_counter()
    await made.rest.finished_build(await made.rest.force())
    return size / MB / (time.perf_counter() - began)


async def rounds(made: Master, size: int, short: bool) -> list[float]:
    """One round, and for ours more until ten seconds are full."""
    began = time.monotonic()
    rates = [await stored_rate(made, size)]
    while not short and time.monotonic() - began < 10:
        rates.append(await stored_rate(made, size))
    return rates


async def ordinary(side: Side, short: bool) -> dict[str, Figure]:
    async with master(side, Setup(), started=False) as made:
        text = made.home / "lines.txt"
        size = write_lines(text, 100 * MB)
        made.setup.steps = [("cat", str(text))]
        await made.start()
        await made.start_workers()
        before = made.running.rss()
        with peak_rss(made.running) as peak:
            first = await stored_rate(made, size)
            growth = (peak[0] - before) / MB
        rates = [first] if short else [first, *await rounds(made, size, short)]
    return {
        "log_in": median_of(rates),
        "log_in_rss": Figure(growth, 1, "growth of the master during the first 100 MB"),
    }


async def short_lines(side: Side, short: bool) -> dict[str, Figure]:
    count = 14_000_000
    async with master(side, Setup(), started=False) as made:
        text = made.home / "lines.txt"
        size = write_short_lines(text, count)
        made.setup.steps = [("cat", str(text))]
        await made.start()
        await made.start_workers()
        rates = await rounds(made, size, short)
    return {"log_in_short_lines": median_of(rates, f"{count / 1e6:.0f} million lines")}


async def read_rate(made: Master, path: str, short: bool) -> Figure:
    sizes_and_times = [await made.rest.download(path)]
    while not short and sum(seconds for _, seconds in sizes_and_times) < 5:
        sizes_and_times.append(await made.rest.download(path))
    return median_of([size / MB / seconds for size, seconds in sizes_and_times])


async def out(side: Side, short: bool) -> dict[str, Figure]:
    """The step prints its text and then waits for a file, so that the same log is read live and sealed."""
    async with master(side, Setup(), started=False) as made:
        text, go = made.home / "lines.txt", made.home / "go"
        write_lines(text, 100 * MB)
        made.setup.steps = [("sh", "-c", f"cat {text}; until [ -e {go} ]; do sleep 0.2; done")]
        await made.start()
        await made.start_workers()
        request = await made.rest.force()
        path = await _printed(made, request)
        live = await read_rate(made, path, short)
        go.touch()
        await made.rest.finished_build(request)
        sealed = await read_rate(made, path, short)
    worse = min(live, sealed, key=lambda figure: figure.value)
    note = f"the slower of live {live.value:.1f} and sealed {sealed.value:.1f}"
    return {"log_out": Figure(worse.value, live.runs + sealed.runs, note)}


async def _printed(made: Master, request: int) -> str:
    """Wait until all that was printed is stored; the path of the raw log."""
    lines = sum(1 for _ in (made.home / "lines.txt").open("rb"))
    while True:
        builds = (await made.rest.get(f"/buildrequests/{request}/builds"))["builds"]
        if builds:
            path = log_path(builds[0])
            logs = (await made.rest.get(path.rpartition("/")[0]))["logs"]
            if logs and logs[0]["num_lines"] >= lines:
                return path + "/raw"
        await asyncio.sleep(0.2)


async def long_line(side: Side, _short: bool) -> dict[str, Figure]:
    async with master(side, Setup(), started=False) as made:
        text = made.home / "line.txt"
        line = bytes(range(33, 127)) * (5 * MB // 94)
        text.write_bytes(line + b"\n")
        made.setup.steps = [("cat", str(text))]
        await made.start()
        await made.start_workers()
        build = await made.rest.finished_build(await made.rest.force())
        content = await made.rest.log_text(build)
    longest = max((part[1:] for part in content.splitlines() if part.startswith("o")), key=len)
    arrived = sum(len(part) - 1 for part in content.splitlines() if part.startswith("o"))
    whole = longest.encode() == line
    note = "one line of 5 MB, byte for byte" if whole else "not the line that was printed"
    return {"log_long_line": Figure(100 * arrived / len(line), 1, note)}


MEASUREMENTS = (
    Measurement(ordinary, (Row("log_in", "MB/s", True, "socket"), Row("log_in_rss", "MB", False))),
    Measurement(short_lines, (Row("log_in_short_lines", "MB/s", True, "socket"),)),
    Measurement(out, (Row("log_out", "MB/s", True, "socket"),)),
    Measurement(long_line, (Row("log_long_line", "%", True),)),
)
