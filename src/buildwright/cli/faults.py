"""What went wrong, as people and programs read it: one message, no traceback.

A :class:`Failure` anywhere below a command ends it with exit code 1 and its text on standard error. Errors of
a configuration are shown all together, each with its place and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from buildwright.model.errors import ConfigError
    from buildwright.model.snapshot import Snapshot


class Failure(click.ClickException):
    """It can't be done; the text says what, where, and what to do."""

    def show(self, file: Any = None) -> None:
        del file
        click.echo(click.style("buildwright: ", fg="red") + self.message, err=True)


def as_data(errors: Iterable[ConfigError]) -> list[dict[str, Any]]:
    """Errors of a configuration for JSON."""
    return [
        {"file": each.file, "line": each.line, "message": each.message, "hint": each.hint} for each in errors
    ]


def counts(snapshot: Snapshot) -> dict[str, int]:
    """How much a configuration has of each kind."""
    return {
        "builders": len(snapshot.builders),
        "workers": len(snapshot.workers),
        "schedulers": len(snapshot.schedulers),
        "change_sources": len(snapshot.change_sources),
    }


def in_words(counted: Mapping[str, int]) -> str:
    """``{"builders": 2, "workers": 1}`` as "2 builders, 1 worker"."""
    names = ((count, name.replace("_", " ")) for name, count in counted.items())
    return ", ".join(f"{count} {name[:-1] if count == 1 else name}" for count, name in names)


def show(errors: Sequence[ConfigError], warnings: Sequence[ConfigError] = ()) -> None:
    """Errors and warnings of a configuration, on standard error."""
    show_data(as_data(errors), as_data(warnings))


def show_data(errors: Sequence[Mapping[str, Any]], warnings: Sequence[Mapping[str, Any]] = ()) -> None:
    """The same for what :func:`as_data` gave."""
    for each in warnings:
        _show_one(each, click.style("warning: ", fg="yellow"))
    for each in errors:
        _show_one(each, click.style("error: ", fg="red"))
    if errors:
        count = len(errors)
        click.echo(f"{count} error{'s' if count > 1 else ''}: this configuration can't be used.", err=True)


def _show_one(each: Mapping[str, Any], kind: str) -> None:
    place = ""
    if each["file"] is not None:
        line = f":{each['line']}" if each["line"] else ""
        place = click.style(f"{_short(each['file'])}{line}: ", bold=True)
    click.echo(f"{place}{kind}{each['message']}", err=True)
    if each["hint"]:
        click.echo(f"    {each['hint']}", err=True)


def _short(file: str) -> str:
    """The path as one would type it here, if it is below this directory."""
    try:
        here = Path.cwd()
        return str(Path(file).relative_to(here)) if here != here.parent else file
    except (OSError, ValueError):  # this directory is gone, or it is elsewhere
        return file
