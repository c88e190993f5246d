"""The command `buildwright-worker`: make a worker's directory, run the worker, end it."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__, config, posix
from .agent import Agent
from .directories import Directories

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = """\
A Buildwright worker runs the commands that a master sends it, in a directory of its
own.

  buildwright-worker create ci/worker ws://master.example:8010 linux-1 --password-file secret
  buildwright-worker start ci/worker
"""
CREATE = """\
Make the directory of a worker. Run it again to change the address, the name or the
password.

URL is where the master listens for workers: ws://HOST:PORT, wss://HOST:PORT for TLS, or
just HOST:PORT. NAME and the password are those that the master's configuration gives
this worker: worker.Worker("NAME", "password"). The password is taken from
--password-file, --password (which others on this machine can see while the command
runs), or the variable BUILDWRIGHT_WORKER_PASSWORD, and kept in BASEDIR/password,
readable by you only. Then edit BASEDIR/info/admin and BASEDIR/info/host: the master
shows them to people who look at this worker.
"""
START = """\
Run the worker in the foreground until it is told to end. It logs to standard error. To
run it at boot, have your service manager run this command.

  SIGTERM, SIGINT  kill what runs (the master starts it again elsewhere) and end within 5 seconds
  SIGUSR1          end gracefully: take no more work, end when what runs has ended
"""
STOP = """\
End the worker that runs in a directory, and wait until it has ended. Without --graceful
what it runs is killed; the master starts that again elsewhere. With it, the worker
takes no more work and ends when what runs has ended.
"""


DIRECTORIES = """\
List the directories that commands have made here, the one that was not used for the
longest time first. With "unused_days" in worker.json (create --unused-days) the worker
removes those that were not used for so long. What you have made by hand isn't listed,
and never removed.
"""


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        return int(options.run(options))
    except config.ConfigError as error:
        print(f"buildwright-worker: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="buildwright-worker",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    create = _command(commands, "create", "make a worker's directory", CREATE, _create)
    create.add_argument("url", metavar="URL", help="where the master listens for workers")
    create.add_argument("name", metavar="NAME", help="what the master's configuration calls this worker")
    create.add_argument(
        "--master",
        action="append",
        default=[],
        metavar="URL",
        help="another master of the same installation, tried when the first doesn't answer; may be repeated",
    )
    create.add_argument("--password-file", type=Path, metavar="FILE", help="a file that holds the password")
    create.add_argument("--password", help="the password itself")
    create.add_argument(
        "--unused-days",
        type=float,
        metavar="DAYS",
        help="remove directories of builds that were not used for so long (default: never)",
    )
    create.add_argument("--json", action="store_true", help="print what was made as JSON")

    start = _command(commands, "start", "run the worker in the foreground", START, _start)
    start.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])

    stop = _command(commands, "stop", "end a running worker", STOP, _stop)
    stop.add_argument("--graceful", action="store_true", help="let what runs end first")
    stop.add_argument(
        "--timeout",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="how long to wait (default 10; not with --graceful)",
    )
    stop.add_argument("--json", action="store_true", help="print what happened as JSON")

    directories = _command(
        commands, "directories", "list what builds have left here", DIRECTORIES, _directories
    )
    directories.add_argument("--json", action="store_true", help="print the list as JSON")
    return parser


def _command(commands: Any, name: str, help: str, description: str, run: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=help, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("basedir", metavar="BASEDIR", type=Path, help="the worker's directory")
    parser.set_defaults(run=run)
    return parser


def _create(options: argparse.Namespace) -> int:
    password = options.password or os.environ.get(config.PASSWORD_VARIABLE)
    others = {} if options.unused_days is None else {"unused_days": options.unused_days}
    made = config.create(
        options.basedir,
        [options.url, *options.master],
        options.name,
        password,
        options.password_file,
        **others,
    )
    if options.json:
        print(json.dumps({"basedir": str(made.basedir), "masters": made.masters, "name": made.name}))
    else:
        print(f"Worker {made.name!r} is set up in {made.basedir} for {', '.join(made.masters)}.")
        print(f"Edit info/admin and info/host there, then run: buildwright-worker start {options.basedir}")
    return 0


def _start(options: argparse.Namespace) -> int:
    loaded = config.load(options.basedir, os.environ.pop(config.PASSWORD_VARIABLE, None))
    logging.basicConfig(
        level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    try:
        asyncio.run(_run(loaded))
    except posix.LockHeld as held:
        raise config.ConfigError(
            f"a worker is running in {loaded.basedir} already (process {held.pid}): "
            f"`buildwright-worker stop {options.basedir}` ends it"
        ) from None
    except OSError as error:
        raise config.ConfigError(
            f"can't run in {loaded.basedir}: {error.filename}: {error.strerror}"
        ) from error
    return 0


async def _run(loaded: config.AgentConfig) -> None:
    agent = Agent(loaded)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, agent.stop, "SIGTERM")
    loop.add_signal_handler(signal.SIGINT, agent.stop, "SIGINT")
    loop.add_signal_handler(signal.SIGUSR1, agent.retire, "SIGUSR1")
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    await agent.run()
    # A thread that waits for a name server or a file system must not hold the end of the process.
    rescue = threading.Timer(1.0, os._exit, [0])
    rescue.daemon = True
    rescue.start()


def _stop(options: argparse.Namespace) -> int:
    lock = config.load(options.basedir).lock_path
    pid = _holder(lock)
    if pid is None:
        return _report(options, running=False, stopped=False, text="No worker is running there.", code=0)
    os.kill(pid, signal.SIGUSR1 if options.graceful else signal.SIGTERM)
    deadline = None if options.graceful else time.monotonic() + options.timeout
    while _holder(lock) is not None:
        if deadline is not None and time.monotonic() > deadline:
            text = f"Process {pid} has not ended within {options.timeout:g} s."
            return _report(options, running=True, stopped=False, text=text, code=1)
        time.sleep(0.05)
    return _report(
        options, running=False, stopped=True, text=f"The worker (process {pid}) has ended.", code=0
    )


def _directories(options: argparse.Namespace) -> int:
    loaded = config.load(options.basedir, os.environ.get(config.PASSWORD_VARIABLE))
    found = Directories(loaded.basedir, loaded.own_directory).known()
    if options.json:
        print(json.dumps([{"name": name, "used_at": int(when)} for name, when in found]))
        return 0
    for name, when in found:
        print(f"{time.strftime('%Y-%m-%d %H:%M', time.localtime(when))}  {name}")
    return 0


def _holder(lock: Path) -> int | None:
    """The process that holds a worker's lock."""
    if not lock.exists():
        return None
    try:
        os.close(posix.lock_file(lock))
    except posix.LockHeld as held:
        return held.pid
    return None


def _report(options: argparse.Namespace, *, running: bool, stopped: bool, text: str, code: int) -> int:
    print(json.dumps({"running": running, "stopped": stopped}) if options.json else text)
    return code
