"""`buildwright doctor`: what is wrong with this installation, and what to do about it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click

from buildwright.cli.basedir import BASEDIR
from buildwright.cli.checkup import Finding, Level, look_at_all
from buildwright.cli.faults import Failure

_MARKS = {Level.OK: ("ok", "green"), Level.WARNING: ("warning", "yellow"), Level.PROBLEM: ("problem", "red")}


@click.command(name="doctor")
@click.argument("basedir", type=BASEDIR, default=Path())
@click.option("--json", "as_json", is_flag=True, help="Print what is found as JSON.")
def command(basedir: Path, as_json: bool) -> None:
    """Look at the installation of the master in BASEDIR (by default this directory) and tell what is wrong.

    It looks at the program, the configuration, the directory and its disk, the ports or the running master,
    the database, clocks, workers, waiting requests and the store of logs. Each finding says what to do.
    Nothing is changed. The exit code is 1 if there is a problem; warnings alone leave it at 0.

    \b
    Examples:
      buildwright doctor
      buildwright doctor /srv/ci --json
    """
    basedir = basedir.absolute()
    if not basedir.is_dir():
        raise Failure(f"there is no directory {basedir}")
    found = asyncio.run(_found(basedir, quiet=as_json))
    problems = sum(each.level is Level.PROBLEM for each in found)
    warnings = sum(each.level is Level.WARNING for each in found)
    if as_json:
        listed = [{"of": e.of, "level": e.level.value, "text": e.text, "do": e.do} for e in found]
        print(json.dumps({"problems": problems, "warnings": warnings, "findings": listed}, indent=2))
    else:
        click.echo(
            f"{problems or 'No'} problem{'' if problems == 1 else 's'}, "
            f"{warnings or 'no'} warning{'' if warnings == 1 else 's'}."
        )
    if problems:
        raise click.exceptions.Exit(1)


async def _found(basedir: Path, *, quiet: bool) -> list[Finding]:
    found = []
    async for finding in look_at_all(basedir):
        found.append(finding)
        if not quiet:
            _show(finding)
    return found


def _show(finding: Finding) -> None:
    mark, color = _MARKS[finding.level]
    click.echo(f"{click.style(f'{mark:8}', fg=color)} {finding.of}: {finding.text}")
    if finding.do:
        click.echo(f"         -> {finding.do}")
