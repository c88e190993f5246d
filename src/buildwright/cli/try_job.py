"""`buildwright try`: have this working copy's difference built, before anybody else has it."""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import click

from buildwright.cli import checkout
from buildwright.cli.client import Master, Where, master_at, on_a_master
from buildwright.cli.faults import Failure
from buildwright.cli.naming import in_path, names, pairs
from buildwright.cli.tryserver import new_name, put
from buildwright.cli.watching import shown, watch
from buildwright.model.errors import suggest
from buildwright.model.results import SKIPPED, SUCCESS, WARNINGS

SHOWN_UNTRACKED = 5


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command was given about the job itself."""

    patch: BinaryIO | None
    level: int | None
    vc: str | None
    base: str | None
    branch: str | None
    repository: str | None
    project: str
    codebase: str | None
    who: str | None
    comment: str
    builders: tuple[str, ...]
    properties: dict[str, str]


def _commas(
    _context: click.Context, _option: click.Parameter, given: tuple[str, ...]
) -> list[tuple[str, str]]:
    words = [word.strip() for each in given for word in each.split(",") if word.strip()]
    return pairs(_context, _option, tuple(words))


@click.command(name="try")
@click.option(
    "-b", "--builder", "builders", multiple=True, help="A builder to try; else all of the scheduler's."
)
@click.option("--scheduler", help="The Try_Userpass to use, if there are several.")
@click.option(
    "-p",
    "--property",
    "properties",
    metavar="NAME=VALUE",
    multiple=True,
    callback=pairs,
    help="A property of the builds; may be repeated.",
)
@click.option(
    "--properties",
    "more_properties",
    metavar="NAME=VALUE,...",
    multiple=True,
    callback=_commas,
    help="Several properties at once.",
)
@click.option(
    "--diff", "patch", type=click.File("rb"), help="A file with the difference; - is standard input."
)
@click.option(
    "--patchlevel", type=click.IntRange(0), help="Leading path elements to strip from --diff; else 0."
)
@click.option(
    "--vc", type=click.Choice(checkout.SYSTEMS), help="The working copy's system; else it is found."
)
@click.option("--baserev", help="The commit that the difference is against, which the repository has.")
@click.option("--branch", help="The branch that it is for.")
@click.option("--repository", help="The repository, as the builders know it.")
@click.option("--project", default="", help="The project.")
@click.option("--codebase", help="The codebase, if the scheduler has several.")
@click.option("-w", "--who", help="Who asks; else as the version control system knows you.")
@click.option("-C", "--comment", default="", help="What is tried, for people who look at the builds.")
@click.option("-u", "--username", help="One of the scheduler's users, if it has some.")
@click.option("--passwd", envvar="BUILDWRIGHT_TRY_PASSWORD", help="That user's password.")
@click.option(
    "--jobdir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Put the job into this directory of a Try_Jobdir, instead of asking a master.",
)
@click.option("--wait", is_flag=True, help="Wait for the builds; exit code 1 unless all succeed.")
@click.option("-n", "--dryrun", "--dry-run", is_flag=True, help="Show what would be sent, and send nothing.")
@click.option("--get-builder-names", "list_builders", is_flag=True, help="List the builders to choose from.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@on_a_master
async def command(
    where: Where,
    scheduler: str | None,
    properties: list[tuple[str, str]],
    more_properties: list[tuple[str, str]],
    patchlevel: int | None,
    baserev: str | None,
    username: str | None,
    passwd: str | None,
    jobdir: Path | None,
    wait: bool,
    dryrun: bool,
    list_builders: bool,
    as_json: bool,
    **asked: Any,
) -> None:
    """Build what this working copy has that its repository hasn't.

    That is the difference from the newest commit that was pushed to the files as they are: commits of yours,
    and what isn't committed yet. It goes to a Try_Userpass of the configuration, whose builders check that
    commit out and apply the difference. New files count once they are added (`git add`, `hg add`).

    \b
    Examples:
      buildwright try --wait
      buildwright try -b linux-tests -b style --comment "faster parser" --wait
      buildwright try --dryrun
      git diff main | buildwright try --diff - --patchlevel 1 --baserev main
    """
    made = Asked(level=patchlevel, base=baserev, properties=dict([*more_properties, *properties]), **asked)
    if list_builders:
        async with master_at(where) as master:
            found = (await _scheduler(master, scheduler))["builder_names"]
        click.echo(json.dumps(found) if as_json else "\n".join(found))
        return
    job, diff, untracked = await asyncio.to_thread(_job, made, Path.cwd())
    if untracked and not as_json:
        _tell_untracked(untracked)
    if dryrun:
        _show(job, diff, as_json=as_json)
        return
    if jobdir is not None:
        if wait:
            raise click.UsageError("--wait needs a master: a job directory doesn't answer")
        path = await asyncio.to_thread(_put, jobdir, job, diff)
        click.echo(json.dumps({"job": str(path)}) if as_json else f"The job is {path}.")
        return
    job["patch_body_base64"] = _base64(diff)
    job |= {name: value for name, value in (("username", username), ("passwd", passwd)) if value is not None}
    async with master_at(where) as master:
        form = await _scheduler(master, scheduler)
        if form["needs_user"] and (username is None or passwd is None):
            raise Failure(
                f"the try scheduler {form['name']!r} has users: give --username, and --passwd or "
                "BUILDWRIGHT_TRY_PASSWORD"
            )
        buildsetid, requests = await master.act(
            f"tryschedulers/{in_path(form['name'])}", "try", job, str(uuid.uuid4())
        )
        by_id = await names(master, "builders")
        asked_for = {by_id[int(builderid)]: requestid for builderid, requestid in requests.items()}
        told: dict[str, Any] = {"buildsetid": buildsetid, "buildrequests": asked_for}
        if not wait:
            if as_json:
                print(json.dumps(told))
            else:
                click.echo(f"Asked for builds of {', '.join(asked_for)}: buildset {buildsetid}.")
            return
        with shown(quiet=as_json) as show:
            told["builds"] = await watch(master, asked_for, show)
    if as_json:
        print(json.dumps(told))
    good = all(each["results"] in (SUCCESS, WARNINGS, SKIPPED) for each in told["builds"].values())
    sys.exit(0 if good else 1)


async def _scheduler(master: Master, wanted: str | None) -> dict[str, Any]:
    """The try scheduler that is meant."""
    found: list[dict[str, Any]] = await master.all("tryschedulers")
    known = [each["name"] for each in found]
    if not found:
        raise Failure(
            "this master has no try scheduler: put schedulers.Try_Userpass(name='try', builderNames=[...]) "
            "among c['schedulers'], then `buildwright reload`"
        )
    if wanted is None:
        if len(found) > 1:
            raise Failure(f"there are several try schedulers: choose with --scheduler of {', '.join(known)}")
        return found[0]
    if wanted not in known:
        hint = suggest(wanted, known) or f"there are {', '.join(known)}"
        raise Failure(f"there is no try scheduler {wanted!r}: {hint}")
    return found[known.index(wanted)]


def _job(asked: Asked, directory: Path) -> tuple[dict[str, Any], bytes, list[str]]:
    """The job's fields, its difference, and the files that nobody has added."""
    vc = checkout.find(directory, asked.vc)
    if asked.vc is not None and vc is None:
        raise Failure(f"{directory} is in no working copy of {asked.vc}")
    base, branch, repository, author = asked.base, asked.branch, asked.repository, ""
    untracked: list[str] = []
    if asked.patch is not None:
        diff, level = asked.patch.read(), asked.level or 0
        if base is None:
            raise Failure("with --diff, say with --baserev which commit it is against")
    elif vc is None:
        raise Failure(
            f"{directory} is in no working copy of git or hg: run this in one, or give --diff and --baserev"
        )
    else:
        found = checkout.examine(directory, vc, base, branch)
        diff, level, untracked = found.diff, found.level, list(found.untracked)
        base, branch, author = found.base, found.branch, found.author
        repository = found.repository if repository is None else repository
        if asked.level is not None:
            level = asked.level
    job: dict[str, Any] = {
        "branch": branch or "",
        "baserev": base,
        "patch_level": level,
        "repository": repository or "",
        "project": asked.project,
        "who": asked.who or author or getpass.getuser(),
        "comment": asked.comment,
        "builderNames": list(asked.builders),
        "properties": asked.properties,
    }
    if asked.codebase is not None:
        job["codebase"] = asked.codebase
    return job, diff, untracked


def _tell_untracked(untracked: list[str]) -> None:
    some = ", ".join(untracked[:SHOWN_UNTRACKED]) + (", …" if len(untracked) > SHOWN_UNTRACKED else "")
    click.echo(f"Not sent, because nobody has added them: {some}", err=True)


def _show(job: dict[str, Any], diff: bytes, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**job, "patch_body_base64": _base64(diff)}))
        return
    for name, value in job.items():
        words = [f"{key}={each}" for key, each in value.items()] if isinstance(value, dict) else value
        text = ", ".join(words) if isinstance(words, list) else str(words)
        if text:
            click.echo(f"{name}: {text}")
    click.echo(f"patch: {len(diff)} bytes\n")
    click.echo(diff, nl=False)


def _base64(diff: bytes) -> str:
    import base64

    return base64.b64encode(diff).decode()


def _put(jobdir: Path, job: dict[str, Any], diff: bytes) -> Path:
    """Put the job into the directory, whole or not at all; gives its file."""
    from buildwright.schedulers.tryjobs import BadJob, file_of_job, job_of

    name = new_name()
    try:
        content = file_of_job(job_of({**job, "jobid": name, "patch_body_base64": _base64(diff)}))
    except BadJob as problem:
        raise Failure(str(problem)) from None
    return put(jobdir, name, content)
