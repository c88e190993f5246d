"""A master's directory, as command lines name it."""

from __future__ import annotations

import os
from pathlib import Path

import click

from buildwright.cli import status
from buildwright.cli.faults import Failure

CONFIGURATION = "master.cfg"
BASEDIR = click.Path(file_okay=False, path_type=Path)
"""The type of the argument: whether it is there is said in our own words."""


def configuration_in(basedir: Path, name: str = CONFIGURATION) -> Path:
    """The configuration file of a master's directory; raises Failure if it has none."""
    path = basedir / name
    if not basedir.exists():
        raise Failure(
            f"there is no directory {basedir}: `buildwright init {basedir}` makes one for a new master"
        )
    if not path.is_file():
        here = "this directory" if basedir == Path() else str(basedir)
        raise Failure(
            f"{here} is no master's directory, it has no {name}: name the right one, or make one with "
            "`buildwright init DIR`"
        )
    return path


def master_on(basedir: Path) -> int:
    """The process of the master that runs on a basedir; raises Failure if none does."""
    pid = status.running(basedir)
    if pid is None:
        if not (basedir / status.LOCK).exists():
            configuration_in(basedir)
        raise Failure(f"no master runs in {basedir.absolute()}: `buildwright start` there starts it")
    return pid


def ask(pid: int, signal: int) -> None:
    """Send a master's process a signal; raises Failure."""
    try:
        os.kill(pid, signal)
    except PermissionError:
        raise Failure(
            f"the master (process {pid}) belongs to another user: run this as that user, or as root"
        ) from None
    except ProcessLookupError:
        raise Failure(f"the master (process {pid}) has just ended") from None
