"""`buildwright start`: a master in the foreground.

SIGTERM and SIGINT stop it; the commands of running builds go on, and the next start goes on with them.
SIGUSR1 drains: no more builds are started, and it ends when the running ones are done. SIGHUP loads the
configuration again.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import click
import structlog

from buildwright.cli.logging import set_up

log = structlog.get_logger("buildwright")


@click.command(name="start")
@click.argument("basedir", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path())
@click.option("--config", "config_file", default="master.cfg", show_default=True, help="Configuration file.")
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), help="Default: text on a terminal, else JSON."
)
def command(basedir: Path, config_file: str, log_format: str | None) -> None:
    """Run the master of BASEDIR (by default this directory) in the foreground.

    Stop it with Ctrl-C or `buildwright stop`: running builds' commands go on at their workers, and the next
    start goes on with the builds. Send SIGHUP, or use `buildwright reload`, after changing the
    configuration.
    """
    set_up(log_format)
    sys.exit(asyncio.run(_run(basedir, config_file)))


async def _run(basedir: Path, config_file: str) -> int:
    from buildwright.master.master import CannotStart, Master
    from buildwright.master.membership import BasedirTaken
    from buildwright.master.serving import PortTaken
    from buildwright.model.errors import ConfigErrors
    from buildwright.store.errors import StoreError
    from buildwright.web.tls import BadCertificate

    if hasattr(asyncio, "PidfdChildWatcher") and sys.platform == "linux":
        asyncio.get_event_loop_policy().set_child_watcher(asyncio.PidfdChildWatcher())
    master = Master(basedir, config_file)
    over = asyncio.Event()
    drain = False
    loop = asyncio.get_running_loop()

    def stop() -> None:
        over.set()

    def stop_when_done() -> None:
        nonlocal drain
        drain = True
        over.set()

    try:
        await master.start()
    except ConfigErrors as errors:
        click.echo(str(errors), err=True)
        return 1
    except (CannotStart, BasedirTaken, PortTaken, BadCertificate, StoreError) as error:
        click.echo(f"buildwright: {error}", err=True)
        return 1
    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_signal_handler(signal.SIGINT, stop)
    loop.add_signal_handler(signal.SIGUSR1, stop_when_done)
    loop.add_signal_handler(signal.SIGHUP, lambda: _reload(master, tasks))
    tasks: set[asyncio.Task[None]] = set()
    await over.wait()
    if drain:
        over.clear()
        draining = loop.create_task(master.drain())
        stopping = loop.create_task(over.wait())
        await asyncio.wait({draining, stopping}, return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()
        stopping.cancel()
    await master.stop()
    return 0


def _reload(master: object, tasks: set[asyncio.Task[None]]) -> None:
    task = asyncio.get_running_loop().create_task(_reloaded(master))
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def _reloaded(master: object) -> None:
    from buildwright.master.master import CannotStart, Master
    from buildwright.model.errors import ConfigErrors

    assert isinstance(master, Master)
    try:
        await master.reload()
    except ConfigErrors as errors:
        log.error("the configuration has errors; the running one stays", errors=str(errors))
    except CannotStart as error:
        log.error("the configuration can't be taken over; the running one stays", why=str(error))
