"""`buildwright audit`: who asked for what, and what became of it."""

from __future__ import annotations

import json
from typing import Any

import click

from buildwright.cli import looks
from buildwright.cli.client import Where, master_at, on_a_master
from buildwright.cli.printing import safe

_COLORS = {"done": "green", "refused": "yellow", "failed": "red", "asked": "magenta"}


@click.command(name="audit")
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
@click.option("--who", help="Only calls of the token, or person, of this name.")
@click.option("--refused", is_flag=True, help="Only calls that were refused.")
@click.option("--json", "as_json", is_flag=True, help="Print the entries as the data API has them.")
@on_a_master
async def command(where: Where, limit: int, who: str | None, refused: bool, as_json: bool) -> None:
    """List the calls that were to change something, the newest first: forced builds, stops, pauses, ...

    Reading it takes an API token, as acting does. An entry that stays "asked" may have happened: the master
    died before it could enter the outcome.

    \b
    Examples:
      buildwright audit
      buildwright audit --who release-script --limit 100 --json
    """
    query: dict[str, Any] = {"limit": limit, "order": "-auditid"}
    if who is not None:
        query["who"] = who
    if refused:
        query["outcome"] = "refused"
    async with master_at(where) as master:
        found = await master.all("audits", **query)
    if as_json:
        print(json.dumps(found, indent=2))
    elif found:
        head = ("WHEN", "WHO", "FROM", "WHAT", "OF WHAT", "OUTCOME", "")
        click.echo(looks.table(head, [_row(entry) for entry in found]))
    else:
        click.echo("There is no such entry.")


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    outcome = entry["outcome"]
    why = entry["answer"] if outcome != "done" else ""
    texts = (entry["who"], entry["peer"] or "", entry["method"], entry["target"])
    return (
        looks.ago(entry["asked_at_us"]),
        *(safe(text) for text in texts),
        click.style(outcome, fg=_COLORS.get(outcome)),
        safe(why),
    )
