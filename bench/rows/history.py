"""Life with a past: lists, a start and a claim over 100,000 builds and 25,000 waiting requests."""

import asyncio
import statistics
import time

from bench.history import FILL
from bench.rows.latency import NANOSECONDS, sample
from bench.sides import Master, Setup, Side, master
from bench.table import Figure, Measurement, Row, percentile

LISTS = (  # what is asked, and how many rows must come
    ("/builds?limit=200&order=-started_at&property=owners", 200),
    ("/builders", 2),
    ("/builders/{waiting}/builds?limit=200&order=-number&property=owners&property=branch", 200),
    ("/builders/{waiting}/buildrequests?claimed=false&limit=200&order=-priority", 200),
    ("/buildrequests?limit=50&order=-buildrequestid", 50),
    ("/builds?results=2&limit=50", 50),
)
CLAIMS = 200


async def lists(made: Master, short: bool) -> Figure:
    """The worst list's p95 in ms; the others' in the note."""
    waiting = (await made.rest.get("/builders/waiting"))["builders"][0]["builderid"]
    worst: list[float] = []
    notes: list[str] = []
    count = 20 if short else 200
    for template, wanted in LISTS:
        path = template.format(waiting=waiting)
        (found,) = (len(rows) for name, rows in (await made.rest.get(path)).items() if name != "meta")
        if found != wanted:
            raise RuntimeError(f"{path} gives {found} rows, not {wanted}")
        times = [1000 * await made.rest.timed_get(path) for _ in range(count)]
        worst.append(percentile(times, 0.95))
        notes.append(f"{template.partition('&')[0]} {statistics.median(times):.0f}/{worst[-1]:.0f}")
    return Figure(max(worst), count * len(LISTS), "worst list; p50/p95 each: " + ", ".join(notes))


async def claims(made: Master, short: bool) -> Figure:
    """p50 of force to start on the other builder."""
    began = time.monotonic()
    starts: list[float] = []
    while len(starts) < (50 if short else CLAIMS) or (not short and time.monotonic() - began < 10):
        starts.append((await sample(made))[0])
        await asyncio.sleep(0.01)
    return Figure(statistics.median(starts), len(starts), "force to start on another builder")


async def measure(side: Side, short: bool) -> dict[str, Figure]:
    async with master(side, Setup(steps=[NANOSECONDS], absent=True), attached=False) as made:
        made.stop()  # it has run once: builders and workers are in the database
        FILL[side.name](made.home / "state.sqlite")
        starts = [await made.start()]
        while not short and len(starts) < 5:
            made.stop()
            starts.append(await made.start())
        await made.start_workers()
        return {
            "history_list_p95": await lists(made, short),
            "pending_start": Figure(statistics.median(starts), len(starts)),
            "pending_claim_p50": await claims(made, short),
        }


MEASUREMENTS = (
    Measurement(
        measure,
        (
            Row("history_list_p95", "ms", False),
            Row("pending_start", "s", False),
            Row("pending_claim_p50", "ms", False),
        ),
    ),
)
