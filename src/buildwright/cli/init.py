"""`buildwright init`: the directory of a new master, with a configuration that works at once."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import click

from buildwright.cli.basedir import BASEDIR, CONFIGURATION
from buildwright.cli.faults import Failure

SAMPLE = "master.cfg.sample"
_GIT = """\
REPOSITORY = {repository}
BRANCH = {branch}

c["change_source"] = [
    changes.GitPoller(REPOSITORY, branches=[BRANCH], pollInterval=60, pollAtLaunch=True),
]
tests = util.BuildFactory(
    [
        steps.Git(repourl=REPOSITORY, mode="incremental"),
        steps.ShellCommand(name="test", command=["make", "test"]),
    ]
)
c["builders"].append(util.BuilderConfig(name="tests", workernames=["local"], factory=tests))
c["schedulers"] += [
    schedulers.SingleBranchScheduler(
        name="commits",
        change_filter=util.ChangeFilter(branch=BRANCH),
        treeStableTimer=10,  # wait until nothing has come for ten seconds, then build all of it at once
        builderNames=["tests"],
    ),
    schedulers.ForceScheduler(name="force-tests", builderNames=["tests"]),
]
"""


@click.command(name="init")
@click.argument("basedir", type=BASEDIR)
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8010, show_default=True, help="For web and API."
)
@click.option(
    "--db", metavar="URL", default="sqlite:///state.sqlite", show_default=True, help="The database."
)
@click.option("--git", metavar="URL", help="A repository to build: its part of the sample is put to use.")
@click.option("--branch", default="main", show_default=True, help="With --git: the branch that is built.")
@click.option("--title", default="Buildwright", show_default=True, help="What the web page is called.")
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON.")
def command(
    basedir: Path, port: int, db: str, git: str | None, branch: str, title: str, as_json: bool
) -> None:
    """Make BASEDIR, the directory of a new master, with a commented master.cfg that works at once.

    The sample has a local worker, a builder that says hello, a button that starts it, and a Git repository
    to fill in (or to give with --git). The master keeps everything that is its own in this directory.

    \b
    Examples:
      buildwright init ci && buildwright start ci
      buildwright init ci --git https://git.example.org/project.git
      buildwright init /srv/ci --port 8020 --db postgresql://ci:password@db.example.org/ci
    """
    _check_database(db, basedir)
    text = files("buildwright.cli").joinpath(SAMPLE).read_text(encoding="utf-8")
    lines = _GIT.format(repository=repr(git or "https://git.example.org/project.git"), branch=repr(branch))
    if git is None:
        lines = "#\n# Put your own address here and take the '# ' away.\n" + "".join(
            f"# {line}".rstrip() + "\n" for line in lines.splitlines()
        )
    for mark, value in {"GIT": lines, "PORT": str(port), "TITLE": repr(title), "DB": repr(db)}.items():
        text = text.replace(f"@{mark}@", value)
    path = basedir / CONFIGURATION
    try:
        basedir.mkdir(parents=True, exist_ok=True)
        _write(path, text, private=urlsplit(db).password is not None)
    except FileExistsError:
        raise Failure(f"{path} is there already: choose another directory, or remove it first") from None
    except OSError as error:
        raise Failure(f"{error.filename or basedir} can't be made: {error.strerror}") from None
    if as_json:
        print(json.dumps({"basedir": str(basedir.absolute()), "configuration": str(path.absolute())}))
        return
    click.echo(f"Made {path}. Have a look at it, then:")
    click.echo(
        f"  buildwright start {basedir}          and in another terminal, or at http://localhost:{port}/"
    )
    click.echo(f"  buildwright force hello --basedir {basedir} --follow")


def _check_database(db: str, basedir: Path) -> None:
    from buildwright.store.urls import BadUrl, parse

    try:
        parse(db, basedir)
    except BadUrl as error:
        raise Failure(str(error)) from None


def _write(path: Path, text: str, *, private: bool) -> None:
    """Write a file that isn't there yet; one with a password is for its owner only."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
