"""`buildwright plan`: what a change or a moment would start, without a master."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from buildwright.cli.faults import Failure
from buildwright.cli.given import builder_of, configuration, loaded, named_values
from buildwright.cli.times import moment

if TYPE_CHECKING:
    from buildwright.config.foreseen import ForeseenBuild, ForeseenStep
    from buildwright.config.outlook import Firing, Outlook
    from buildwright.model.snapshot import Snapshot
    from buildwright.model.sources import Change

# Properties that say what the lines above them say already.
_SAID = frozenset(
    {"buildername", "workername", "scheduler", "branch", "revision", "repository", "codebase", "project"}
)


@click.command(name="plan")
@configuration
@click.option("--at", "when", metavar="TIME", help='A moment instead of a change: "tomorrow 03:00", "now".')
@click.option("--branch", help="The change's branch.")
@click.option("--revision", help="Its revision.")
@click.option("--repository", help="Its repository.")
@click.option("--codebase", help="Its codebase; by default what the configuration's codebaseGenerator says.")
@click.option("--project", help="Its project.")
@click.option("--category", help="Its category.")
@click.option("--author", help="Who made it.")
@click.option("--comments", help="What its author says of it.")
@click.option("--files", "files", metavar="PATH", multiple=True, help="A file that it touches; repeated.")
@click.option(
    "-p", "--property", "properties", metavar="NAME=VALUE", multiple=True, callback=named_values,
    help="A property of the change; may be repeated.",
)  # fmt: skip
@click.option(
    "--git",
    "checkout",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The change is this checkout's HEAD.",
)
@click.option("--builder", help="Show only this builder's builds.")
@click.option("--brief", is_flag=True, help="Leave out what the builds' steps do.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def command(
    path: Path,
    when: str | None,
    files: Sequence[str],
    properties: dict[str, Any],
    checkout: Path | None,
    builder: str | None,
    brief: bool,
    as_json: bool,
    **given: str | None,
) -> None:
    """Say what a change would start, or what the clock would at some time: which schedulers act and why the
    others don't, which builders build what with which properties, and what their steps do.

    The change is described by the options; without any it is HEAD of the git checkout here. Nothing is
    stored, started or asked for over a network. What is only known when a build runs is shown by its name, as
    <got_revision>.

    \b
    Examples:
      buildwright plan
      buildwright plan --branch main --files src/main.c --author ann
      buildwright plan --at "tomorrow 03:00" --config /srv/ci
    """
    described = {name: value for name, value in given.items() if value is not None}
    if when is not None and (described or files or properties or checkout):
        raise click.UsageError("--at is a moment instead of a change: give one of both")
    snapshot = loaded(path)
    if builder is not None:
        builder_of(snapshot, builder)
    if when is not None:
        at = _moment(when)
        head = f"At {at:%A, %Y-%m-%d %H:%M}"
        told = asyncio.run(planned(snapshot, at_us=round(at.timestamp()) * 1_000_000, only=builder))
    else:
        change = asyncio.run(_change(snapshot, described, files, properties, checkout))
        head = _head(change)
        told = asyncio.run(planned(snapshot, change, only=builder))
    if as_json:
        print(json.dumps(_as_data(told, brief=brief), indent=2))
    else:
        click.echo("\n".join([head, *in_lines(told, brief=brief)]))


@dataclass(slots=True)
class Told:
    """What is to be said."""

    outlook: Outlook
    builds: list[tuple[Firing, list[ForeseenBuild]]]


async def planned(
    snapshot: Snapshot, change: Change | None = None, *, at_us: int = 0, only: str | None = None
) -> Told:
    """What a change, or without one a moment, would start; of the builds those of one builder, or all."""
    from buildwright.config.foreseen import foresee
    from buildwright.config.outlook import at_time, on_change

    outlook = await (at_time(snapshot, at_us) if change is None else on_change(snapshot, change))
    builds = []
    for firing in outlook.firing:
        names = [name for name in firing.builders if only in (None, name)]
        made = [
            await foresee(snapshot, snapshot.builders[name], firing.properties, firing.stamps, firing.changes)
            for name in names
        ]
        if made or only is None:
            builds.append((firing, made))
    return Told(outlook, builds)


def _moment(text: str) -> datetime:
    try:
        return moment(text, datetime.now())  # noqa: DTZ005 - local time, as schedules are written
    except ValueError as problem:
        raise Failure(str(problem)) from None


# -- the change --------------------------------------------------------------------------------------------


async def _change(
    snapshot: Snapshot,
    described: dict[str, str],
    files: Sequence[str],
    properties: dict[str, Any],
    checkout: Path | None,
) -> Change:
    """The change as the intake makes it of what was given."""
    from buildwright.changes.base import Intake
    from buildwright.model.properties import Properties
    from buildwright.model.sources import Change
    from buildwright.store.units.changes import NewChange

    read: dict[str, Any] = {}
    if checkout is not None or not (described or files or properties):
        read = _head_of(checkout or Path())
    made: dict[str, Any] = {"author": "somebody", **read, **described}
    if files:
        made["files"] = list(files)
    ready = await Intake(snapshot.codebase_generator, snapshot.revlink).prepare(
        NewChange(**made), has_codebase="codebase" in described
    )
    props = Properties()
    props.update(properties, "Change")
    return Change(
        who=ready.author,
        files=list(ready.files),
        comments=ready.comments,
        branch=ready.branch,
        revision=ready.revision,
        revlink=ready.revlink,
        category=ready.category,
        when=time.time(),
        repository=ready.repository,
        project=ready.project,
        codebase=ready.codebase,
        properties=props,
    )


def _head_of(directory: Path) -> dict[str, Any]:
    """HEAD of a git checkout, as a change."""
    separator = "\x1f"
    shown = _git(directory, "log", "-1", f"--format=%H{separator}%an <%ae>{separator}%B")
    revision, author, comments = shown.split(separator, 2)
    branch = _git(directory, "rev-parse", "--abbrev-ref", "HEAD").strip()
    names = _git(directory, "show", "--format=", "--name-only", "-z", "--first-parent", "-m", "HEAD")
    try:
        repository = _git(directory, "config", "--get", "remote.origin.url").strip()
    except Failure:
        repository = str(directory.absolute())
    return {
        "revision": revision,
        "author": author,
        "comments": comments.strip(),
        "branch": None if branch == "HEAD" else branch,
        "files": [name for name in names.split("\0") if name],
        "repository": repository,
    }


def _git(directory: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *words],
            capture_output=True,
            check=False,
            encoding="utf-8",
            errors="surrogateescape",
        )
    except FileNotFoundError:
        raise Failure(
            "there is no git: describe the change with --branch, --revision, --files, ..."
        ) from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        why = said[-1] if said else "git failed"
        raise Failure(
            f"{directory.absolute()} has no commit to plan for ({why}): describe the change with --branch, "
            "--revision, --files, ..., or name a checkout with --git"
        )
    return done.stdout


def _head(change: Change) -> str:
    named = [
        f"of {change.branch}" if change.branch else "",
        f"at {change.revision}" if change.revision else "",
    ]
    named += [f"in {change.repository}" if change.repository else ""]
    named += [f"codebase {change.codebase!r}" if change.codebase else "", f"by {change.who}"]
    count = len(change.files)
    touched = f", {count} file{'' if count == 1 else 's'}" if count else ""
    return " ".join(["A change", *(each for each in named if each)]) + touched


# -- saying it ---------------------------------------------------------------------------------------------


def in_lines(told: Told, *, brief: bool) -> list[str]:
    """The plan for people."""
    lines: list[str] = []
    for firing, builds in told.builds:
        lines += [
            "",
            click.style(f"{firing.scheduler.name} starts {_counted(builds)} {firing.when}", bold=True),
        ]
        lines += [f"  unknown builder: {name}" for name in firing.unknown]
        for build in builds:
            lines += _build(build, brief=brief)
    if told.outlook.idle:
        lines.append("")
    lines += [f"{idle.scheduler.name} starts nothing: {idle.why}" for idle in told.outlook.idle]
    return lines


def _counted(builds: Sequence[Any]) -> str:
    return f"{len(builds)} build{'' if len(builds) == 1 else 's'}"


def _build(build: ForeseenBuild, *, brief: bool) -> list[str]:
    workers = " or ".join(build.builder.workernames)
    lines = [f"  {click.style(build.builder.name, fg='green')} on {workers}"]
    lines += [f"    of {_stamp(stamp)}" for stamp in build.stamps]
    own = [f"{name}={value!r}" for name, (value, _) in build.properties.items() if name not in _SAID]
    if own:
        lines.append(f"    with {', '.join(own)}")
    if brief:
        return lines
    width = max((len(step.name) for step in build.steps), default=0)
    lines += [line for number, step in enumerate(build.steps) for line in _step(number, step, width)]
    return lines


def _stamp(stamp: Any) -> str:
    what = stamp.get("revision") or stamp.get("branch") or "the latest"
    branch = f" on {stamp['branch']}" if stamp.get("revision") and stamp.get("branch") else ""
    codebase = f"codebase {stamp['codebase']!r}: " if stamp.get("codebase") else ""
    repository = f" of {stamp['repository']}" if stamp.get("repository") else ""
    return f"{codebase}{what}{branch}{repository}"


def _step(number: int, step: ForeseenStep, width: int) -> list[str]:
    condition = {True: "", False: " (skipped: doStepIf)", None: " (if its doStepIf says so)"}[step.runs]
    first, *more = (step.does or "").splitlines() or [""]
    lines = [f"    {number} {step.name:{width}}  {first}{condition if not more else ''}"]
    lines += [f"    {' ' * (len(str(number)) + width + 3)}{line}" for line in more]
    if more and condition:
        lines[-1] += condition
    if step.depends and step.runs is not False:
        lines.append(f"      {' ' * (width + 2)}depends on {', '.join(step.depends)}")
    return lines


def _as_data(told: Told, *, brief: bool) -> dict[str, Any]:
    return {
        "starts": [
            {
                "scheduler": firing.scheduler.name,
                "when": firing.when,
                "unknown_builders": list(firing.unknown),
                "builds": [_build_data(build, brief=brief) for build in builds],
            }
            for firing, builds in told.builds
        ],
        "idle": [{"scheduler": idle.scheduler.name, "why": idle.why} for idle in told.outlook.idle],
    }


def _build_data(build: ForeseenBuild, *, brief: bool) -> dict[str, Any]:
    data: dict[str, Any] = {
        "builder": build.builder.name,
        "workers": build.builder.workernames,
        "sourcestamps": [dict(stamp) for stamp in build.stamps],
        "properties": {name: list(entry) for name, entry in build.properties.items()},
    }
    if not brief:
        data["steps"] = [
            {
                "name": step.name,
                "type": step.kind,
                "does": step.does,
                "runs": step.runs,
                "depends_on": step.depends,
                "file": step.where.file if step.where else None,
                "line": step.where.line if step.where else None,
            }
            for step in build.steps
        ]
    return data
