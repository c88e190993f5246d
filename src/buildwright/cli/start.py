"""`buildwright start`: a master in the foreground.

SIGTERM and SIGINT stop it; the commands of running builds go on, and the next start goes on with them.
SIGUSR1 drains: no more builds are started, and it ends when the running ones are done, or at SIGTERM.
SIGHUP loads the configuration again; each outcome is logged, and kept in ``status.json`` for
`buildwright reload`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from buildwright import __version__
from buildwright.cli import status
from buildwright.cli.basedir import BASEDIR, configuration_in
from buildwright.cli.faults import Failure, as_data, counts, show
from buildwright.cli.logging import set_up, structlog

if TYPE_CHECKING:
    from buildwright.master.master import Master


@click.command(name="start")
@click.argument("basedir", type=BASEDIR, default=Path())
@click.option("--config", "config_file", default="master.cfg", show_default=True, help="Configuration file.")
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), help="Default: text on a terminal, else JSON."
)
def command(basedir: Path, config_file: str, log_format: str | None) -> None:
    """Run the master of BASEDIR (by default this directory) in the foreground.

    Stop it with Ctrl-C or `buildwright stop`: running builds' commands go on at their workers, and the next
    start goes on with the builds. After changing the configuration use `buildwright reload`. To run it at
    boot, have your service manager run this command.

    \b
    Signals:
      SIGTERM, SIGINT  stop
      SIGUSR1          stop when the running builds are done
      SIGHUP           load the configuration again

    \b
    Examples:
      buildwright start
      buildwright start /srv/ci --log-format json
    """
    configuration_in(basedir, config_file)
    set_up(log_format)
    _watch_children_by_descriptor()
    sys.exit(asyncio.run(_Process(basedir.absolute(), config_file).run()))


def _watch_children_by_descriptor() -> None:
    """Before 3.12, asyncio would keep a thread per child process."""
    if sys.version_info < (3, 12) and hasattr(os, "pidfd_open"):
        try:
            os.close(os.pidfd_open(os.getpid()))
        except OSError:  # an old kernel, or a sandbox
            return
        # Set before the loop is made, which is when it is attached to one.
        asyncio.get_event_loop_policy().set_child_watcher(asyncio.PidfdChildWatcher())


class _Process:
    """A master, and the signals that reach it."""

    def __init__(self, basedir: Path, config_file: str) -> None:
        from buildwright.master.master import Master

        self._basedir = basedir
        self._master = Master(basedir, config_file)
        self._status = status.Status(os.getpid(), __version__)
        self._over = asyncio.Event()
        self._drain = False
        self._reload = asyncio.Event()

    async def run(self) -> int:
        """Run until a signal ends it; the exit code."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._over.set)
        loop.add_signal_handler(signal.SIGINT, self._over.set)
        loop.add_signal_handler(signal.SIGUSR1, self._stop_when_done)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        over = loop.create_task(self._over.wait(), name="wait for the end")
        starting = loop.create_task(self._master.start(), name="start")
        await asyncio.wait({starting, over}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return 0
        if not _started(starting):
            over.cancel()
            return 1
        reloading = loop.create_task(self._reload_when_asked(), name="reload")
        self._tell("running")
        try:
            await over
            if self._drain:
                await self._drained()
        finally:
            reloading.cancel()
            await asyncio.gather(reloading, return_exceptions=True)
            self._tell("stopping")
            await self._master.stop()
            status.remove(self._basedir)
        return 0

    def _stop_when_done(self) -> None:
        self._drain = True
        self._over.set()

    async def _drained(self) -> None:
        """Wait for the running builds, or for a signal that ends it all the same."""
        self._over.clear()
        self._tell("draining")
        draining = asyncio.create_task(self._master.drain(), name="drain")
        stopping = asyncio.create_task(self._over.wait(), name="wait for the end")
        await asyncio.wait({draining, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (draining, stopping):
            task.cancel()
        await asyncio.gather(draining, stopping, return_exceptions=True)

    async def _reload_when_asked(self) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            await self._load_again()

    async def _load_again(self) -> None:
        from buildwright.master.master import CannotStart
        from buildwright.model.errors import ConfigErrors
        from buildwright.store.errors import StoreError

        log = structlog.get_logger("buildwright")
        told = self._status.reload
        told.begun += 1
        number = told.begun
        self._tell()
        outcome = status.Reload(begun=number, done=number, outcome=status.REFUSED)
        try:
            await self._master.reload()
        except ConfigErrors as errors:
            outcome.errors, outcome.warnings = as_data(errors.errors), as_data(errors.warnings)
            log.error("the configuration has errors; the running one stays", errors=str(errors))
        except (CannotStart, StoreError) as error:
            outcome.text = str(error)
            log.error("the configuration can't be taken over; the running one stays", why=str(error))
        except Exception as error:
            outcome.text = f"{type(error).__name__}: {error}"
            log.exception("the configuration can't be taken over; this is a defect")
        else:
            snapshot = self._master.snapshot
            outcome.outcome, outcome.counts = status.LOADED, counts(snapshot)
            outcome.warnings = as_data(snapshot.warnings)
        self._status.reload = outcome
        self._tell()

    def _tell(self, state: str | None = None) -> None:
        """Bring the status file up to date. A disk that is full keeps nobody from working."""
        if state is not None:
            self._status.state = state
        serving, snapshot = self._master.serving, self._master.snapshot
        self._status.url = serving.url
        self._status.workers_url = serving.worker_url
        certificate = snapshot.www.certificate
        self._status.certificate = str(certificate) if certificate is not None else None
        self._status.local_workers = [str(each) for each in _local_workers(self._master)]
        try:
            self._status.write(self._basedir)
        except OSError as error:
            structlog.get_logger("buildwright").warning(
                "the status can't be written", file=str(self._basedir / status.FILE), why=error.strerror
            )


def _started(starting: asyncio.Task[None]) -> bool:
    """Whether the start succeeded; if not, say why."""
    from buildwright.master.master import CannotStart
    from buildwright.master.membership import BasedirTaken
    from buildwright.master.serving import PortTaken
    from buildwright.model.errors import ConfigErrors
    from buildwright.store.errors import StoreError
    from buildwright.web.tls import BadCertificate

    try:
        starting.result()
    except ConfigErrors as errors:
        show(errors.errors, errors.warnings)
    except (CannotStart, BasedirTaken, PortTaken, BadCertificate, StoreError) as error:
        Failure(str(error)).show()
    else:
        return True
    return False


def _local_workers(master: Master) -> list[Path]:
    from buildwright.model.workers import LocalWorker

    workers = (each for each in master.snapshot.workers.values() if isinstance(each, LocalWorker))
    return [master.basedir / (each.workdir or f"workers/{each.name}") for each in workers]
