"""Job directories: what is put into ``new`` becomes a buildset, once.

A job is a file that was renamed into ``new``, so it is whole when it is seen. Its buildset is added under a
key made of the file's name and content; only then does the file go to ``cur``. If the master dies between the
two, the next one finds the file again, adds nothing, and moves it. So it is with two masters that see one
directory. A file that is no job goes to ``cur`` as well, and the log says why. While the scheduler is
disabled, jobs stay where they are; so they do while the configuration's own code fails on them.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import structlog

from buildwright.model.clock import Clock
from buildwright.schedulers.plan import PlanError
from buildwright.schedulers.tries import Try_Jobdir, start_try
from buildwright.schedulers.tryjobs import BadJob, job_of_file
from buildwright.store.base import Store
from buildwright.store.errors import StoreError

log = structlog.get_logger(__name__)

LARGEST = 64 * 1024 * 1024
AT_ONCE = 100
"""So many files are looked at in one sweep."""

Ids = Callable[[], Mapping[str, int]]


class JobDirs:
    """The service that watches the directories of all Try_Jobdir schedulers."""

    def __init__(self, store: Store, clock: Clock, scheduler_ids: Ids, builder_ids: Ids) -> None:
        self._store = store
        self._clock = clock
        self._scheduler_ids = scheduler_ids
        self._builder_ids = builder_ids
        self._schedulers: list[Try_Jobdir] = []
        self._told: set[str] = set()

    def reconfigure(self, schedulers: Iterable[object]) -> None:
        """Watch the directories of those that have one."""
        self._schedulers = [each for each in schedulers if isinstance(each, Try_Jobdir)]
        self._told.clear()

    async def sweep(self) -> None:
        """Take what is there."""
        for scheduler in self._schedulers:
            try:
                for path in await asyncio.to_thread(_new_jobs, scheduler.jobdir):
                    await self._take(scheduler, path)
            except OSError as problem:
                self._tell(
                    "a job directory can't be used; it is tried again",
                    scheduler=scheduler.name,
                    jobdir=str(scheduler.jobdir),
                    error=problem.strerror or str(problem),
                )
            except StoreError as problem:
                log.warning("try jobs wait for the store", scheduler=scheduler.name, why=str(problem))

    async def _take(self, scheduler: Try_Jobdir, path: Path) -> None:
        about = {"scheduler": scheduler.name, "job": path.name}
        try:
            content = await asyncio.to_thread(_read, path)
            name = hashlib.sha256(path.name.encode("utf-8", "surrogateescape") + b"\0" + content).hexdigest()
            added = await start_try(
                self._store,
                scheduler,
                self._scheduler_ids()[scheduler.name],
                job_of_file(content),
                key=f"try:{scheduler.name}:{name}",
                builder_ids=self._builder_ids(),
                now_us=self._clock.now_us(),
            )
        except FileNotFoundError:  # another master has taken it
            return
        except BadJob as problem:
            log.error("a try job can't be built", error=str(problem), **about)
        except PlanError as problem:
            self._tell("a try job waits for a configuration that works", error=str(problem), **about)
            return
        else:
            if added is None:
                return
            log.info("a try job is taken", buildset=added[0], **about)
        await asyncio.to_thread(_settled, path)

    def _tell(self, event: str, **about: str) -> None:
        """Say it once."""
        text = repr((event, sorted(about.items())))
        if text not in self._told:
            self._told.add(text)
            log.warning(event, **about)


def _new_jobs(jobdir: Path) -> list[Path]:
    for name in ("tmp", "new", "cur"):
        (jobdir / name).mkdir(parents=True, exist_ok=True)
    found = [path for path in (jobdir / "new").iterdir() if not path.name.startswith(".") and path.is_file()]
    return sorted(found)[:AT_ONCE]


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise BadJob({"": f"it is larger than {LARGEST} bytes"})
    return content


def _settled(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # another master has moved it
        path.rename(path.parent.parent / "cur" / path.name)
