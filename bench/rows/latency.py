"""How long a person waits: from the force request to the command's start, and to the finished build in REST.

One build at a time on an idle worker. The command is `date`, which prints the nanosecond it ran at: its start
is read from the build's own log, on the same clock as the request.
"""

import asyncio
import statistics
import time

from bench.sides import Master, Setup, Side, master
from bench.table import Figure, Measurement, Row, percentile

NANOSECONDS = ("date", "+%s%N")
SAMPLES = 200


async def sample(made: Master) -> tuple[float, float]:
    """Milliseconds to the start and to the end of one build."""
    sent = time.time_ns()
    build = await made.rest.finished_build(await made.rest.force())
    seen = time.time_ns()
    text = await made.rest.log_text(build)
    started = next(int(line[1:]) for line in text.splitlines() if line.startswith("o"))
    return (started - sent) / 1e6, (seen - sent) / 1e6


async def measure(side: Side, short: bool) -> dict[str, Figure]:
    async with master(side, Setup(steps=[NANOSECONDS])) as made:
        for _ in range(5):
            await sample(made)
        starts: list[float] = []
        ends: list[float] = []
        began = time.monotonic()
        while len(starts) < SAMPLES or (not short and time.monotonic() - began < 10):
            start, end = await sample(made)
            starts.append(start)
            ends.append(end)
            await asyncio.sleep(0.01)  # an idle master: what the build left to do is done
    return {
        "latency_start_p50": Figure(statistics.median(starts), len(starts)),
        "latency_start_p95": Figure(percentile(starts, 0.95), len(starts)),
        "latency_done_p50": Figure(
            statistics.median(ends), len(ends), f"p95 {percentile(ends, 0.95):.1f} ms"
        ),
    }


MEASUREMENTS = (
    Measurement(
        measure,
        (
            Row("latency_start_p50", "ms", False),
            Row("latency_start_p95", "ms", False),
            Row("latency_done_p50", "ms", False),
        ),
    ),
)
