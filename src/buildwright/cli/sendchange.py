"""`buildwright sendchange`: tell a master of a change, by hand or from a hook."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any, TextIO

import click

from buildwright.cli.client import Where, master_at, on_a_master
from buildwright.cli.naming import pairs


@click.command(name="sendchange")
@click.argument("files", nargs=-1)
@click.option("-W", "--author", "--who", required=True, help="Who made the change: Ann <ann@example.org>.")
@click.option("-R", "--repository", help="The repository, as schedulers and builders know it.")
@click.option("-b", "--branch", help="The branch; left out, it is the trunk.")
@click.option("-r", "--revision", help="The commit.")
@click.option(
    "--revision-file",
    "--revision_file",
    type=click.File(),
    help="A file that the commit's name is read from.",
)
@click.option("-P", "--project", help="The project that filters look for.")
@click.option("--codebase", help="The codebase; else the configuration's codebaseGenerator says it.")
@click.option("-C", "--category", help="The category that filters look for.")
@click.option("-c", "-m", "--comments", help="The commit's message.")
@click.option("-F", "--logfile", type=click.File(), help="A file with the message; - is standard input.")
@click.option(
    "-p",
    "--property",
    "properties",
    metavar="NAME=VALUE",
    multiple=True,
    callback=pairs,
    help="A property of the change; may be repeated.",
)
@click.option("-w", "--when", type=float, metavar="SECONDS", help="When it was made, since 1970; else now.")
@click.option("-l", "--revlink", help="Where the commit can be looked at.")
@click.option("--committer", help="Who committed it, if that is somebody else.")
@click.option(
    "-a",
    "--auth",
    metavar="USER:PASSWORD",
    envvar="BUILDWRIGHT_CHANGE_AUTH",
    help="User and password of the PBChangeSource that the change is meant for.",
)
@click.option("--id", "identity", help="What makes it the same change when it is sent again; else it is new.")
@click.option("--json", "as_json", is_flag=True, help="Print the change's id as JSON.")
@on_a_master
async def command(
    where: Where,
    files: tuple[str, ...],
    revision_file: TextIO | None,
    logfile: TextIO | None,
    properties: list[tuple[str, str]],
    when: float | None,
    auth: str | None,
    identity: str | None,
    as_json: bool,
    **texts: str | None,
) -> None:
    """Tell the master of a change of FILES.

    Schedulers see it as they see the changes of any change source. When the answer has come, the change is
    stored: it will be acted on, whatever happens to the master.

    \b
    Examples:
      buildwright sendchange --author ann -b main -r 4f2a1c src/main.c
      buildwright sendchange --author ann --project web --property ticket=17 --comments "fix it"
      git log -1 --format=%B | buildwright sendchange --author ann --logfile -
    """
    given: dict[str, Any] = {name: value for name, value in texts.items() if value is not None}
    if revision_file is not None:
        given["revision"] = revision_file.read().strip()
    if logfile is not None:
        if "comments" in given:
            raise click.UsageError("--comments and --logfile exclude each other")
        given["comments"] = logfile.read()
    if auth is not None:
        given["username"], _, given["passwd"] = auth.partition(":")
    given["files"] = list(files)
    given["properties"] = dict(properties)
    given["when_timestamp"] = time.time() if when is None else when
    async with master_at(where) as master:
        changeid = await master.act("changes", "add", given, identity or str(uuid.uuid4()))
    if as_json:
        print(json.dumps({"changeid": changeid}))
    elif changeid is None:
        click.echo("Not taken: none of the files is inside the PBChangeSource's prefix.")
    else:
        click.echo(f"The master has change {changeid}.")
