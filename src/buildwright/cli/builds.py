"""`buildwright builds`: what has been built, and how it went."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import click

from buildwright.cli import looks
from buildwright.cli.client import Master, NotThere, Where, master_at, on_a_master
from buildwright.cli.naming import builder_named, names


@click.command(name="builds")
@click.argument("builder", required=False)
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
@click.option("--running", is_flag=True, help="Only builds that run now, and how long they may still take.")
@click.option("--json", "as_json", is_flag=True, help="Print them as the data API has them.")
@on_a_master
async def command(where: Where, builder: str | None, limit: int, running: bool, as_json: bool) -> None:
    """List builds, the newest first; those of BUILDER, or all.

    \b
    Examples:
      buildwright builds
      buildwright builds linux-tests --limit 5
      buildwright builds --running --url https://ci.example.org
      buildwright builds --json | jq '.[0].results'
    """
    async with master_at(where) as master:
        found = await _builds(master, builder, limit, running)
        builders, workers = await names(master, "builders"), await names(master, "workers")
        if running:
            for build in found:
                build["seconds_left"] = await _seconds_left(master, build["buildid"])
    for build in found:
        build["builder"] = builders.get(build["builderid"], str(build["builderid"]))
        build["worker"] = workers.get(build["workerid"], str(build["workerid"]))
    if as_json:
        print(json.dumps(found, indent=2))
    elif found:
        head: tuple[str, ...] = ("BUILD", "RESULT", "STARTED", "TOOK", "WORKER", "STATE")
        rows = [_row(build) for build in found]
        if running:
            head = (*head[:4], "LEFT", *head[4:])
            rows = [(*row[:4], _left(build), *row[4:]) for row, build in zip(rows, found, strict=True)]
        click.echo(looks.table(head, rows))
    else:
        what = f"Builder {builder}" if builder else "This master"
        now = "has no build running" if running else "has had no build yet"
        click.echo(f"{what} {now}. `buildwright force BUILDER` asks for one.")


async def _builds(master: Master, builder: str | None, limit: int, running: bool) -> list[dict[str, Any]]:
    query: dict[str, Any] = {"limit": limit, "property": "*"}
    if running:
        query["complete"] = False
    if builder is None:
        return await master.all("builds", order="-buildid", **query)
    owner = await builder_named(master, builder)
    return await master.all(f"builders/{owner['builderid']}/builds", order="-number", **query)


async def _seconds_left(master: Master, buildid: int) -> float | None:
    """How long the build may still take; None: nobody knows."""
    with contextlib.suppress(NotThere):  # a build that retention has removed
        left: float | None = (await master.one(f"builds/{buildid}/estimate"))["seconds_left"]
        return left
    return None


def _left(build: dict[str, Any]) -> str:
    left = build["seconds_left"]
    return "" if left is None else f"about {looks.duration(left)}"


def _row(build: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{build['builder']}/{build['number']}",
        looks.result(build["results"]),
        looks.ago(build["started_at_us"]),
        looks.took(build["started_at_us"], build["complete_at_us"]),
        build["worker"],
        build["state_string"],
    )
