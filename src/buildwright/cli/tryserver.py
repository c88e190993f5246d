"""`buildwright tryserver`: take a try job on standard input, for those who come by ssh."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import time
from pathlib import Path

import click

from buildwright.cli.faults import Failure


@click.command(name="tryserver")
@click.option(
    "--jobdir",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="The directory of a Try_Jobdir.",
)
def command(jobdir: Path) -> None:
    """Take a try job on standard input and put it into a job directory, whole or not at all.

    This is what a client runs at the master's machine over ssh, so that people need no right to write into
    the directory from elsewhere. A job that can't be built is refused at once; the exit code is then 1.

    \b
    Examples:
      buildwright tryserver --jobdir /srv/ci/jobs < job
      buildbot try --connect=ssh --buildbotbin=buildwright --host ci.example.org --jobdir /srv/ci/jobs
    """
    from buildwright.schedulers.jobdirs import LARGEST
    from buildwright.schedulers.tryjobs import BadJob, job_of_file

    content = sys.stdin.buffer.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise Failure(f"the job is larger than {LARGEST} bytes")
    try:
        job_of_file(content)
    except BadJob as problem:
        raise Failure(f"what came is no try job: {problem}") from None
    put(jobdir, new_name(), content)


def new_name() -> str:
    """A name that no other file of a job directory has."""
    return f"{time.time():.6f}.{os.getpid()}_{secrets.token_hex(4)}.{socket.gethostname()}"


def put(jobdir: Path, name: str, content: bytes) -> Path:
    """Put a job into the directory, whole or not at all; gives its file."""
    if not (jobdir / "new").is_dir() or not (jobdir / "tmp").is_dir():
        raise Failure(
            f"{jobdir} is no job directory: it has no `new` and `tmp`; a master with a Try_Jobdir makes them"
        )
    part = jobdir / "tmp" / name
    try:
        part.write_bytes(content)
        part.rename(jobdir / "new" / name)
    except OSError as problem:
        raise Failure(f"the job can't be put into {jobdir}: {problem.strerror}") from None
    return jobdir / "new" / name
