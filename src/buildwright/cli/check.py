"""`buildwright check`: load a configuration and tell everything that is wrong with it.

It imports what the configuration does and the loader, and nothing of a running master.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from buildwright.cli.basedir import CONFIGURATION, configuration_in
from buildwright.cli.faults import Failure, as_data, counts, in_words, show
from buildwright.config.loader import load
from buildwright.model.errors import ConfigErrors

if TYPE_CHECKING:
    from buildwright.model.snapshot import Snapshot


@click.command(name="check")
@click.argument("path", metavar="[FILE|DIR]", type=click.Path(path_type=Path), default=Path())
@click.option("--explain", is_flag=True, help="Print the whole configuration as the master understands it.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(path: Path, explain: bool, as_json: bool) -> None:
    """Check a configuration without running it as a master.

    FILE is the configuration, DIR a master's directory (by default this one). Everything that is wrong is
    told at once, with file, line and what to do; the exit code is then 1. A running master is not touched:
    `buildwright reload` hands it a configuration that is fine.

    With --explain it is printed as the master understands it: builders, who starts them, their steps with the
    arguments, workers, schedulers and locks, each with the line that it comes from, and what looks forgotten.

    \b
    Examples:
      buildwright check
      buildwright check --explain
      buildwright check /srv/ci/master.cfg --json
    """
    if not path.is_dir() and not path.exists() and path.suffix:
        raise Failure(f"there is no file {path}")
    file = path if path.is_file() else configuration_in(path, CONFIGURATION)
    try:
        snapshot = load(file, file.parent)
    except ConfigErrors as errors:
        if as_json:
            print(json.dumps({"ok": False, **_found(errors)}, indent=2))
        else:
            show(errors.errors, errors.warnings)
        sys.exit(1)
    explained = _explained(snapshot) if explain else None
    if as_json:
        found: dict[str, object] = {"errors": [], "warnings": as_data(snapshot.warnings)}
        if explained is not None:
            found["configuration"] = explained
        print(json.dumps({"ok": True, **found, **counts(snapshot)}, indent=2))
    else:
        show((), snapshot.warnings)
        if explained is not None:
            from buildwright.cli.explained import in_lines

            click.echo("\n".join(in_lines(explained)))
        click.echo(f"{file} is fine: {in_words(counts(snapshot))}.")


def _explained(snapshot: Snapshot) -> dict[str, Any]:
    from buildwright.config.explaining import explain

    return explain(snapshot)


def _found(errors: ConfigErrors) -> dict[str, object]:
    return {"errors": as_data(errors.errors), "warnings": as_data(errors.warnings)}
