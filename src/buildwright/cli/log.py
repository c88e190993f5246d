"""`buildwright log`: what a build's commands have printed, also while they print it."""

from __future__ import annotations

import sys
from typing import Any

import click

from buildwright.cli.client import Master, Where, master_at, on_a_master
from buildwright.cli.faults import Failure
from buildwright.cli.following import follow_build, follow_request, lines
from buildwright.cli.naming import build_named, request_under_way
from buildwright.cli.printing import Printer
from buildwright.model.errors import suggest
from buildwright.model.results import SKIPPED, SUCCESS, WARNINGS


@click.command(name="log")
@click.argument("build")
@click.argument("step", required=False)
@click.argument("log", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until the build or the step ends.")
@click.option("--tail", type=click.IntRange(0), metavar="N", help="Only the last N lines of each log.")
@click.option("--environment", is_flag=True, help="Show the environment of each command, too.")
@click.option("--raw", is_flag=True, help="The bytes of one log as they were written, and nothing else.")
@click.option(
    "--stream",
    type=click.Choice(["stdout", "stderr", "header"]),
    help="With --raw: exactly the bytes of this stream.",
)
@on_a_master
async def command(
    where: Where,
    build: str,
    step: str | None,
    log: str | None,
    follow: bool,
    tail: int | None,
    environment: bool,
    raw: bool,
    stream: str | None,
) -> None:
    """Show the logs of BUILD: BUILDER/NUMBER, a build's id, or a builder for its newest build.

    With --follow, a builder stands for its build that runs or is about to.

    STEP is a step's name or number; without it, all steps are shown. LOG is the name of a log (most have one
    log, stdio); without it, all logs of the step. On a terminal, standard error is red and what the worker
    says of the command is blue.

    \b
    Examples:
      buildwright log linux-tests              the newest build, all of it
      buildwright log linux-tests/42 test      one step
      buildwright log -f linux-tests           as it runs; exit code 1 unless it succeeds
      buildwright log linux-tests --tail 20
      buildwright log linux-tests/42 test stdio --raw --stream stdout > output
    """
    if stream is not None and not raw:
        raise click.UsageError("--stream goes with --raw")
    if raw and (follow or tail is not None):
        raise click.UsageError("--raw gives the whole of a log as it is now: without --follow and --tail")
    if follow and tail is not None:
        raise click.UsageError("--follow shows a log from its beginning: without --tail")
    plain = step is not None and log is not None
    printer = Printer(plain=plain, environment=environment)
    async with master_at(where) as master:
        if follow:
            results = await _follow(master, build, step, log, printer)
            sys.exit(0 if results in (SUCCESS, WARNINGS, SKIPPED) else 1)
        found = await build_named(master, build)
        steps = await _steps(master, found, step)
        if raw:
            await _raw(master, steps, log, stream)
        else:
            await _show(master, steps, log, tail, printer)


async def _follow(master: Master, build: str, step: str | None, log: str | None, printer: Printer) -> int:
    """Follow a build; of a builder, the one that runs or is still to come."""
    requestid = await request_under_way(master, build)
    if requestid is not None:
        return await follow_request(master, requestid, printer, step=step, log=log)
    found = await build_named(master, build)
    return await follow_build(master, found["buildid"], printer, step=step, log=log)


async def _steps(master: Master, build: dict[str, Any], wanted: str | None) -> list[dict[str, Any]]:
    steps = await master.all(f"builds/{build['buildid']}/steps", order="number")
    if wanted is None:
        return [each for each in steps if each["started_at"] is not None and not each["hidden"]]
    found = [each for each in steps if wanted in (each["name"], str(each["number"]))]
    if not found:
        names = [each["name"] for each in steps]
        hint = suggest(wanted, names) or f"there are {', '.join(names) or 'none yet'}"
        raise Failure(f"the build has no step {wanted!r}: {hint}")
    return found


async def _logs(master: Master, step: dict[str, Any], wanted: str | None) -> list[dict[str, Any]]:
    logs = await master.all(f"steps/{step['stepid']}/logs", order="logid")
    if wanted is None:
        return logs
    found = [each for each in logs if wanted in (each["name"], each["slug"])]
    if not found:
        names = ", ".join(each["name"] for each in logs) or "none"
        raise Failure(f"step {step['name']!r} has no log {wanted!r}: there are {names}")
    return found


async def _raw(master: Master, steps: list[dict[str, Any]], log: str | None, stream: str | None) -> None:
    logs = [(step, each) for step in steps for each in await _logs(master, step, log)]
    if len(logs) != 1:
        names = ", ".join(f"{step['name']} {each['name']}" for step, each in logs) or "none"
        raise Failure(f"--raw gives one log, name it: STEP and LOG, of these: {names}")
    query = {} if stream is None else {"stream": stream}
    async for piece in master.stream(f"logs/{logs[0][1]['logid']}/raw", **query):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


async def _show(
    master: Master, steps: list[dict[str, Any]], wanted: str | None, tail: int | None, printer: Printer
) -> None:
    for step in steps:
        printer.step(step)
        for log in await _logs(master, step, wanted):
            first = 0 if tail is None else max(log["num_lines"] - tail, 0)
            async for page in lines(master, log, first, log["num_lines"]):
                printer.lines(step, log, page)
        if step["complete"]:
            printer.step_over(step)
