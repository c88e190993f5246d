"""The master's work for a step of each class that runs one command on the worker (`configs/steps.cfg`).

A builder for each class has ten such steps. The tools that they call are scripts that print a word, so the
master does what it does for any step of the class: no class may cost it 2 ms of CPU a step.
"""

import asyncio
import time

from bench.sides import HERE, Master, Setup, Side, master
from bench.table import Figure, Measurement, Row

STEPS = 10  # of a build, in the configuration
BUILDS = 10
LOOK_SECONDS = 0.1  # looking costs some CPU, too
PATIENCE_SECONDS = 300.0
TOOLS = (
    "cmake cppcheck lintian make msdev prove pyflakes pylint robocopy rpmbuild rpmlint sphinx-build trial "
    "vcexpress"
)


async def step_overhead(side: Side, short: bool) -> dict[str, Figure]:
    """Ours alone: the peer's figure is `cpu_per_step`."""
    if short:
        return {}
    async with master(side, Setup(), started=False) as made:
        _write(side, made)
        await made.start()
        await made.start_workers()
        await built(made, "builder0", 1)
        names = [each["name"] for each in (await made.rest.get("/builders"))["builders"]]
        names.remove("builder0")
        for name in names:
            await built(made, name, 2)
        costs = {name: await cost(made, name) for name in names}
    worst = sorted(costs, key=lambda name: costs[name], reverse=True)
    note = ", ".join(f"{name} {costs[name]:.2f}" for name in worst[:3])
    return {
        "step_overhead": Figure(
            costs[worst[0]], len(names), f"the worst of {len(names)} classes: {note}; at most 2 ms"
        )
    }


def _write(side: Side, made: Master) -> None:
    template = (HERE / "configs" / "steps.cfg").read_text()
    (made.home / "master.cfg").write_text(template.replace("@PKG@", side.package))
    (made.home / "small.txt").write_text("content\n")
    tools = made.home / "tools"
    tools.mkdir()
    for name in TOOLS.split():
        tool = tools / name
        tool.write_text("#!/bin/sh\necho done\n")
        tool.chmod(0o755)


async def built(made: Master, name: str, count: int) -> float:
    """Have so many builds of a builder, which must succeed; the master's seconds of CPU meanwhile."""
    used = made.running.cpu_seconds()
    requests = [await made.rest.force(name) for _ in range(count)]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        await asyncio.sleep(LOOK_SECONDS)
        waiting = await made.rest.get("/buildrequests?complete=false&field=buildrequestid&field=complete")
        if not waiting["buildrequests"]:
            break
    used = made.running.cpu_seconds() - used
    for request in requests:
        build = await made.rest.finished_build(request)
        if build["results"] != 0:
            raise RuntimeError(f"a build of {name} failed: {build}")
    return used


async def cost(made: Master, name: str) -> float:
    """Milliseconds of CPU a step, the least of three rounds: others' work on the machine only adds to it."""
    return min([1000 * await built(made, name, BUILDS) / (BUILDS * STEPS) for _ in range(3)])


MEASUREMENTS = (Measurement(step_overhead, (Row("step_overhead", "ms", False),)),)
