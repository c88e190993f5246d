"""`buildwright builds`: what has been built, and how it went."""

from __future__ import annotations

import json
from typing import Any

import click

from buildwright.cli import looks
from buildwright.cli.client import Master, Where, master_at, on_a_master
from buildwright.cli.naming import builder_named, names


@click.command(name="builds")
@click.argument("builder", required=False)
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
@click.option("--running", is_flag=True, help="Only builds that run now.")
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
    for build in found:
        build["builder"] = builders.get(build["builderid"], str(build["builderid"]))
        build["worker"] = workers.get(build["workerid"], str(build["workerid"]))
    if as_json:
        print(json.dumps(found, indent=2))
    elif found:
        head = ("BUILD", "RESULT", "STARTED", "TOOK", "WORKER", "STATE")
        click.echo(looks.table(head, [_row(build) for build in found]))
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


def _row(build: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{build['builder']}/{build['number']}",
        looks.result(build["results"]),
        looks.ago(build["started_at_us"]),
        looks.took(build["started_at_us"], build["complete_at_us"]),
        build["worker"],
        build["state_string"],
    )
