"""`buildwright force`: ask for a build, through a force scheduler as the web page does."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import click

from buildwright.cli.client import Master, Where, master_at, on_a_master
from buildwright.cli.faults import Failure
from buildwright.cli.following import follow_request
from buildwright.cli.naming import builder_named, in_path, pairs
from buildwright.cli.printing import Printer
from buildwright.model.errors import suggest
from buildwright.model.results import SKIPPED, SUCCESS, WARNINGS, Results

CODEBASE_FIELDS = ("branch", "revision", "repository", "project")


@click.command(name="force")
@click.argument("builder")
@click.option("--scheduler", help="The force scheduler to use, if there are several for the builder.")
@click.option(
    "-p",
    "--property",
    "properties",
    metavar="NAME=VALUE",
    multiple=True,
    callback=pairs,
    help="A field of the scheduler's form; may be repeated.",
)
@click.option("--branch", help="What to build.")
@click.option("--revision", help="What to build, exactly.")
@click.option("--repository", help="Where it is from, if the form asks.")
@click.option("--project", help="The project, if the form asks.")
@click.option("--codebase", help="Which codebase these are of, if there are several.")
@click.option("--reason", help="Why, for people who look at the build.")
@click.option("--priority", type=int, help="Higher goes first.")
@click.option(
    "-f", "--follow", is_flag=True, help="Show the build as it runs; exit code 1 unless it succeeds."
)
@click.option("--json", "as_json", is_flag=True, help="Print the ids (with --follow, at its end) as JSON.")
@on_a_master
async def command(
    where: Where,
    builder: str,
    scheduler: str | None,
    properties: list[tuple[str, str]],
    codebase: str | None,
    reason: str | None,
    priority: int | None,
    follow: bool,
    as_json: bool,
    **stamp: str | None,
) -> None:
    """Ask for a build of BUILDER.

    It goes through a ForceScheduler of the configuration, whose form says what can be asked: -p fills in its
    fields, and a name that it doesn't have is answered with those that it has.

    \b
    Examples:
      buildwright force linux-tests
      buildwright force linux-tests --branch feature --follow
      buildwright force release -p version=1.2 -p dry_run=true --reason "trying it out"
    """
    async with master_at(where) as master:
        owner = await builder_named(master, builder)
        form = await _form(master, owner, scheduler)
        given = _filled_in(form, properties, codebase, stamp, reason, priority)
        buildsetid, requests = await master.act(
            f"forceschedulers/{in_path(form['name'])}",
            "force",
            {**given, "builderNames": [builder]},
            str(uuid.uuid4()),
        )
        requestid = requests[str(owner["builderid"])]
        told: dict[str, Any] = {"buildsetid": buildsetid, "buildrequestid": requestid}
        if not follow:
            if as_json:
                print(json.dumps(told))
            else:
                click.echo(f"Asked for a build of {builder}: build request {requestid}, by {form['name']}.")
                click.echo(f"To watch it: buildwright log -f {builder}")
            return
        if as_json:
            results = await follow_request(master, requestid, _Silent())
        else:
            results = await follow_request(master, requestid, Printer())
        builds = await master.all(f"buildrequests/{requestid}/builds", order="-buildid", limit=1)
    if as_json:
        build = builds[0] if builds else {"buildid": None, "number": None}
        told |= {"buildid": build["buildid"], "number": build["number"], "results": results}
        print(json.dumps(told))
    elif not builds:
        click.echo(f"There was no build: the request ended as {Results[results]}.")
    sys.exit(0 if results in (SUCCESS, WARNINGS, SKIPPED) else 1)


class _Silent(Printer):
    """Follows and says nothing."""

    def __init__(self) -> None:
        super().__init__(plain=True, quiet=True)

    def lines(self, step: dict[str, Any], log: dict[str, Any], lines: list[tuple[str, str]]) -> None:
        pass


async def _form(master: Master, builder: dict[str, Any], scheduler: str | None) -> dict[str, Any]:
    """The force scheduler that is meant."""
    forms: list[dict[str, Any]] = await master.all(f"builders/{builder['builderid']}/forceschedulers")
    names = [each["name"] for each in forms]
    if not forms:
        name = builder["name"]
        raise Failure(
            f"no force scheduler starts builder {name!r}: put schedulers.ForceScheduler(name='force', "
            f"builderNames=[{name!r}]) among c['schedulers'], then `buildwright reload`"
        )
    if scheduler is None:
        usable = [each for each in forms if each["enabled"]] or forms
        if len(usable) > 1:
            raise Failure(
                f"there are several force schedulers: choose with --scheduler of {', '.join(names)}"
            )
        return usable[0]
    if scheduler not in names:
        hint = suggest(scheduler, names) or f"there are {', '.join(names)}"
        raise Failure(f"no force scheduler {scheduler!r} starts builder {builder['name']!r}: {hint}")
    return forms[names.index(scheduler)]


def _fields(fields: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for each in fields:
        if "fields" in each:
            yield from _fields(each["fields"])
        else:
            yield each


def _filled_in(
    form: dict[str, Any],
    properties: list[tuple[str, str]],
    codebase: str | None,
    stamp: dict[str, str | None],
    reason: str | None,
    priority: int | None,
) -> dict[str, Any]:
    """The form with what was given; raises Failure for what it has no field for."""
    fields = list(_fields(form["all_fields"]))
    # A form that comes back without a check box has it unchecked; who doesn't name it here means its default.
    given: dict[str, Any] = {each["fullName"]: each["default"] for each in fields if each["type"] == "bool"}
    repeated: dict[str, list[str]] = {}
    for name, value in properties:
        repeated.setdefault(_field(form, fields, name)["fullName"], []).append(value)
    for full_name, values in repeated.items():
        field = next(each for each in fields if each["fullName"] == full_name)
        if len(values) > 1 and not field["multiple"]:
            raise Failure(f"-p {full_name} is given more than once, and takes one value")
        given[full_name] = values if field["multiple"] else values[0]
    for name, text in (("reason", reason), ("priority", priority)):
        if text is not None:
            given[_field(form, fields, name)["fullName"]] = text
    asked = {name: value for name, value in stamp.items() if value is not None}
    if asked or codebase is not None:
        source = _codebase(form, codebase)
        for name, value in asked.items():
            full = next(each for each in source["fields"] if each["name"] == name)
            if full["type"] == "fixed":
                fixed = f"always {full['default']!r}" if full["default"] else "left out"
                raise Failure(f"--{name}: with the force scheduler {form['name']!r} it is {fixed}")
            given[full["fullName"]] = value
    return given


def _field(form: dict[str, Any], fields: list[dict[str, Any]], name: str) -> dict[str, Any]:
    found = [each for each in fields if each["fullName"] == name]
    found = found or [each for each in fields if each["name"] == name]
    if len(found) == 1 and found[0]["type"] == "fixed":
        raise Failure(f"{name!r} is fixed by the force scheduler {form['name']!r}: {found[0]['default']!r}")
    if len(found) == 1:
        return found[0]
    usable = [each["fullName"] for each in fields if each["type"] != "fixed"]
    hint = suggest(name, usable)
    known = f"it has {', '.join(usable)}"
    raise Failure(
        f"the force scheduler {form['name']!r} has no field {name!r}: {f'{hint} ' if hint else ''}{known}"
    )


def _codebase(form: dict[str, Any], wanted: str | None) -> dict[str, Any]:
    sources: list[dict[str, Any]] = [each for each in form["all_fields"] if "codebase" in each]
    names = ", ".join(repr(each["codebase"]) for each in sources)
    if wanted is None:
        if len(sources) != 1:
            raise Failure(f"there are several codebases: say with --codebase which of {names} is meant")
        return sources[0]
    for each in sources:
        if each["codebase"] == wanted:
            return each
    raise Failure(f"the force scheduler {form['name']!r} has no codebase {wanted!r}: it has {names}")
