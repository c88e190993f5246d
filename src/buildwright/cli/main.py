"""The command group: finds a subcommand's module by its name."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import click

from buildwright import __version__

# In the order in which a newcomer meets them: name -> what it does, as the overview shows it.
SUBCOMMANDS = {
    "start": "Run a master in the foreground.",
}


class Lazy(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in SUBCOMMANDS:
            return None
        module = importlib.import_module(f"buildwright.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(SUBCOMMANDS.items()))


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "--version", prog_name="buildwright")
def main(**_: Any) -> None:
    """Buildwright: continuous integration, configured in Python.

    A master decides what to build, workers run it. Make a master's directory with `buildwright init`, then
    run it with `buildwright start`.
    """


def run(arguments: Sequence[str] | None = None) -> None:
    """The console script."""
    main(arguments)
