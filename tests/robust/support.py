"""What these tests share: the head of a configuration, and what a user sees of a build."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.processes import Farm, eventually

HEAD = """
from buildwright.plugins import *
c = BuildmasterConfig = {}
c['www'] = {'port': PORT}
c['workers'] = [worker.Worker("w", "pw")]
c['builders'] = []
c['schedulers'] = []

def builder(name, *steps, **kwargs):
    kwargs.setdefault("workernames", ["w"])
    c['builders'].append(util.BuilderConfig(name=name, factory=util.BuildFactory(list(steps)), **kwargs))
    force = f"force-{name.replace(' ', '_')}"
    c['schedulers'].append(schedulers.ForceScheduler(name=force, builderNames=[name]))

def job(name, seconds):
    return steps.ShellCommand(name="job", command=[PYTHON, JOB, name, str(seconds), LEDGER])

"""


async def ready(made: Farm, text: str, *workers: str) -> None:
    """A master with this configuration, serving, and its workers, attached."""
    made.configure(HEAD + text)
    await made.start_master()
    await made.master_is_up()
    for name in workers:
        await made.start_worker(name)
    await eventually(lambda: attached(made, len(workers)), "the workers are attached")


async def attached(made: Farm, count: int) -> bool:
    workers = (await made.api.get("workers"))["workers"]
    return sum(bool(each["connected_to"]) for each in workers) >= count


async def force(made: Farm, builder: str, **params: Any) -> tuple[int, dict[str, int]]:
    return await made.api.force(f"force-{builder.replace(' ', '_')}", builderNames=[builder], **params)


async def done(made: Farm, count: int = 1, seconds: float = 60) -> list[dict[str, Any]]:
    """All builds in their order, once so many buildsets are complete."""
    found = await eventually(lambda: made.api.builds_done(count), f"{count} buildsets are complete", seconds)
    builds: list[dict[str, Any]] = sorted(found, key=lambda build: build["buildid"])
    return builds


async def started(made: Farm, job: str) -> bool:
    return made.starts(job) > 0


async def said(made: Farm, text: str, times: int = 1) -> bool:
    return told(made).count(text) >= times


def told(made: Farm) -> str:
    """The master's log."""
    return made.master.output.read_text()


def alive(pid: str) -> bool:
    """Whether a process runs."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def no_traceback(made: Farm) -> None:
    """Nothing of what happened was unexpected."""
    for output in (made.master.output, *(worker.output for worker in made.workers.values())):
        text = output.read_text(errors="replace")
        assert "Traceback" not in text, text[-4000:]


@dataclass(frozen=True)
class Seen:
    """A build of one step as a user sees it."""

    results: int
    build: str
    step: str
    text: str  # the whole log
    stdout: bytes
    stderr: bytes


async def seen(made: Farm, build: dict[str, Any]) -> Seen:
    buildid = build["buildid"]
    (step,) = (await made.api.get(f"builds/{buildid}/steps"))["steps"]
    name = step["name"]
    logs = {log["slug"] for log in (await made.api.get(f"steps/{step['stepid']}/logs"))["logs"]}
    assert logs == {"stdio"}, f"no err.text, no traceback: {logs}"
    raw = await made.api.raw(f"builds/{buildid}/steps/{name}/logs/stdio/raw")
    return Seen(
        build["results"],
        build["state_string"],
        step["state_string"],
        raw.decode("utf-8", "replace"),
        await made.api.stream(buildid, name, "stdio", "stdout"),
        await made.api.stream(buildid, name, "stdio", "stderr"),
    )
