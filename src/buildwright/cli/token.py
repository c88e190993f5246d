"""`buildwright token`: who may act over the API.

Tokens are made where the master's configuration and database are; the database keeps a token's hash only, so
it is shown once.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import click

from buildwright.cli import looks
from buildwright.cli.database import noted, store_of
from buildwright.cli.faults import Failure
from buildwright.model.errors import suggest
from buildwright.store.units.tokens import add_token, drop_token, tokens
from buildwright.web.auth.tokens import new_token

_basedir = click.option(
    "--basedir",
    type=click.Path(file_okay=False, path_type=Path, resolve_path=True),
    default=Path(),
    help="The master's directory; by default this one.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")


@click.group(name="token")
def command() -> None:
    """Make, list and delete API tokens.

    Anybody who reaches a master can read. Acting (forcing, stopping, ...) needs a token as soon as there is
    one; while there is none, the master listens to its own machine only, and everybody there may act. A new
    or deleted token counts at once, also with a running master.

    \b
    Examples:
      buildwright token create release-script
      BUILDWRIGHT_TOKEN=bw_... buildwright force linux-tests --url https://ci.example.org
    """


@command.command(name="create", short_help="Make a token for a person or a program, and print it.")
@click.argument("name")
@_basedir
@_json
def create(name: str, basedir: Path, as_json: bool) -> None:
    """Make a token called NAME (of a person or a program) and print it, once."""
    if not name.strip() or not name.isprintable() or len(name) > 100:
        raise Failure(f"{name!r} can't be a token's name: 1 to 100 printable characters")
    token, hashed = new_token()

    async def add() -> tuple[bool, bool]:
        async with store_of(basedir) as store:
            first = not await store.read(tokens())
            added = await store.run(add_token(name, hashed, time.time_ns() // 1000))
            if added:
                await noted(store, "create", f"/tokens/{name}")
            return added, first

    added, first = asyncio.run(add())
    if not added:
        raise Failure(f"there is a token {name!r} already: delete it first, or choose another name")
    if as_json:
        print(json.dumps({"name": name, "token": token}))
        return
    click.echo(token)
    click.echo("Keep it: it is shown this once. Scripts send it as 'Authorization: Bearer TOKEN'.", err=True)
    if first:
        click.echo(
            "From now on acting needs a token. A running master goes on listening where it did: restart it "
            "to have it listen on all interfaces.",
            err=True,
        )


@command.command(name="list")
@_basedir
@_json
def list_(basedir: Path, as_json: bool) -> None:
    """List the tokens' names, and when they were made."""

    async def read() -> list[tuple[str, int]]:
        async with store_of(basedir) as store:
            return await store.read(tokens())

    found = asyncio.run(read())
    if as_json:
        print(json.dumps([{"name": name, "created_at_us": made} for name, made in found]))
    elif found:
        click.echo(looks.table(("NAME", "MADE"), [(name, looks.ago(made)) for name, made in found]))
    else:
        click.echo("There are no tokens in the database: only this machine may act.")


@command.command(name="delete", short_help="Delete a token: whoever has it can't act with it any more.")
@click.argument("name")
@_basedir
@_json
def delete(name: str, basedir: Path, as_json: bool) -> None:
    """Delete the token called NAME: who has it can't act with it any more."""

    async def drop() -> tuple[bool, list[str]]:
        async with store_of(basedir) as store:
            dropped = await store.run(drop_token(name))
            if dropped:
                await noted(store, "delete", f"/tokens/{name}")
            return dropped, [each for each, _ in await store.read(tokens())]

    dropped, left = asyncio.run(drop())
    if not dropped:
        hint = suggest(name, left) or f"there are {', '.join(left) or 'none'}"
        raise Failure(f"there is no token {name!r}: {hint}")
    if as_json:
        print(json.dumps({"name": name, "deleted": True}))
        return
    click.echo(f"Token {name!r} is deleted.")
    if not left:
        click.echo("It was the last one: this machine may act without a token again.", err=True)
