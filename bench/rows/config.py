"""A large configuration: 1,000 builders of five steps, 100 workers, 100 schedulers; and one as large as the
largest in public (`configs/large.cfg`), which is to be checked within three seconds and, once it is loaded,
planned within one.

During a reload a client asks for one builder again and again; the longest answer is what a person notices.
"""

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from bench.sides import HERE, TRUE, Master, Setup, Side, master
from bench.table import Figure, Measurement, Row, median_of

# What each side's master writes when it has taken over a changed configuration.
RELOADED = {"ours": "the configuration is loaded", "peer": "configuration update complete"}
NIGHT = "2026-03-02 03:00"
RUNNING = {"ours": "", "peer": "BuildMaster is running"}


def large() -> Setup:
    return Setup(workers=100, builders=1000, schedulers=100, steps=TRUE * 5)


async def check(side: Side, short: bool) -> dict[str, Figure]:
    times: list[float] = []
    async with master(side, large(), started=False) as made:
        while len(times) < 3 or (not short and sum(times) < 10):
            began = time.monotonic()
            await asyncio.to_thread(_run, side, made, side.check_configuration(made.home))
            times.append(time.monotonic() - began)
    return {"config_check": median_of(times)}


async def check_large(side: Side, short: bool) -> dict[str, Figure]:
    times: list[float] = []
    async with master(side, Setup(), started=False) as made:
        _write_large(side, made)
        while len(times) < (2 if short else 5):
            began = time.monotonic()
            await asyncio.to_thread(_run, side, made, side.check_configuration(made.home))
            times.append(time.monotonic() - began)
    return {"check_large": median_of(times, "1,037 builders of 7,336 steps; at most 3 s")}


async def plan_large(side: Side, short: bool) -> dict[str, Figure]:
    """Ours alone: the peer has nothing of the kind."""
    if side.name == "peer":
        return {}
    async with master(side, Setup(), started=False) as made:
        _write_large(side, made)
        command: list[str | Path] = [side.bin / "python", HERE / "planning.py", made.home, NIGHT]
        said = json.loads(await asyncio.to_thread(_run, side, made, command))
    if (said["builds"], said["steps"]) != (1037, 7336):
        raise RuntimeError(f"not everything was planned: {said}")
    rounds = said["rounds"][:2] if short else said["rounds"]
    return {"plan_large": median_of(rounds, "1,037 builds of 7,336 steps, once loaded; at most 1 s")}


def _write_large(side: Side, made: Master) -> None:
    template = (HERE / "configs" / "large.cfg").read_text()
    (made.home / "master.cfg").write_text(template.replace("@PKG@", side.package))


def _run(side: Side, made: Master, command: Sequence[str | Path]) -> str:
    """Run a command to its end; gives what it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **side.environment(made.setup)},
        cwd=made.home,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the configuration was refused:\n{done.stdout}{done.stderr}")
    return done.stdout


async def life(side: Side, short: bool) -> dict[str, Figure]:
    reloads: list[float] = []
    worst: list[float] = []
    async with master(side, large(), started=False) as made:
        first = await started(made)
        for _ in range(1 if short else 5):
            seconds, slowest = await reload(made)
            reloads.append(seconds)
            worst.append(slowest)
        stops = [made.stop()]
        starts = []
        for _ in range(1 if short else 5):
            starts.append(await started(made))
            stops.append(made.stop())
    again = median_of(starts)
    return {
        "config_start": Figure(first, 1, f"on a new database; {again.value:.2f} s again"),
        "config_reload": median_of(reloads),
        "reload_worst_call": median_of(worst),
        "config_stop": median_of(stops),
    }


async def said(made: Master, words: str, after: int) -> None:
    """Wait until the master's log has the words beyond a position."""
    log = made.side.log_of(made.home)
    while words not in log.read_text(errors="replace")[after:]:
        made.running.require_alive()
        await asyncio.sleep(0.01)


async def started(made: Master) -> float:
    """Seconds to where REST serves the last builder and the master itself says that it runs."""
    log = made.side.log_of(made.home)
    position = len(log.read_text(errors="replace")) if log.exists() else 0
    began = time.monotonic()
    await made.start()
    await said(made, RUNNING[made.side.name], position)
    return time.monotonic() - began


async def reload(made: Master) -> tuple[float, float]:
    """Seconds of a reload, and the milliseconds of the slowest call meanwhile."""
    position = len(made.side.log_of(made.home).read_text(errors="replace"))
    slowest = 0.0
    began = time.monotonic()
    made.running.signal(signal.SIGHUP)
    waiting = asyncio.create_task(said(made, RELOADED[made.side.name], position), name="reload")
    while not waiting.done():
        slowest = max(slowest, await made.rest.timed_get("/builders/builder500"))
        await asyncio.sleep(0.005)
    await waiting
    return time.monotonic() - began, 1000 * slowest


MEASUREMENTS = (
    Measurement(check, (Row("config_check", "s", False),)),
    Measurement(check_large, (Row("check_large", "s", False),)),
    Measurement(plan_large, (Row("plan_large", "s", False),)),
    Measurement(
        life,
        (
            Row("config_start", "s", False),
            Row("config_reload", "s", False),
            Row("reload_worst_call", "ms", False),
            Row("config_stop", "s", False),
        ),
    ),
)
