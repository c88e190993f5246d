"""The command group: finds a subcommand's module by its name."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import Any

import click

from buildwright import __version__

# In the order in which a newcomer meets them: name -> what it does, as the overview shows it.
SUBCOMMANDS = {
    "init": "Make the directory of a new master, with a sample configuration.",
    "start": "Run a master in the foreground.",
    "check": "Tell everything that is wrong with a configuration.",
    "plan": "Say what a change or a moment would start, and what its builds would do.",
    "run": "Run a builder here and now, without a master.",
    "reload": "Have the running master load its configuration again.",
    "stop": "Stop the running master, at once or when its builds are done.",
    "force": "Ask for a build.",
    "builds": "List builds, the newest first.",
    "try": "Have this working copy's difference built, before it is pushed.",
    "tryserver": "Take a try job on standard input, for those who come by ssh.",
    "sendchange": "Tell the master of a change.",
    "log": "Show what a build's commands have printed, also while they print it.",
    "doctor": "Tell what is wrong with an installation, and what to do.",
    "cleanup": "Remove what the configuration doesn't keep, or tell what that would be.",
    "backup": "Copy database, logs and configuration of a master, which may run.",
    "restore": "Put a backup back.",
    "audit": "Tell who asked for what, and what became of it.",
    "token": "Make, list and delete API tokens.",
    "upgrade-db": "Make a database's tables, or bring them to this version's.",
}

MODULES = {"try": "try_job"}
"""Those whose module can't have the command's name."""


class Lazy(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in SUBCOMMANDS:
            return None
        name = MODULES.get(cmd_name, cmd_name.replace("-", "_"))
        module = importlib.import_module(f"buildwright.cli.{name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(SUBCOMMANDS.items()))


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "--version", prog_name="buildwright")
def main(**_: Any) -> None:
    """Buildwright: continuous integration, configured in Python.

    A master decides what to build, workers run it. A first build, from nothing:

    \b
      buildwright init ci
      buildwright start ci
      buildwright force hello --basedir ci --follow      in another terminal

    `buildwright COMMAND --help` tells more, with examples. Commands that ask a master find it by --url or
    BUILDWRIGHT_URL, or because they run in its directory; acting takes the API token in BUILDWRIGHT_TOKEN,
    if the master has tokens. The environment's NO_COLOR turns colours off.
    """
    if os.environ.get("NO_COLOR"):
        click.get_current_context().color = False


def run(arguments: Sequence[str] | None = None) -> None:
    """The console script."""
    main(arguments)
