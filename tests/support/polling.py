"""What tests of change sources share: polls without a master, the part of a master that runs them, rows."""

import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from buildwright.changes.base import ChangeSource, Found, Intake, Poll, PollingChangeSource
from buildwright.changes.service import ChangeSources
from buildwright.store.base import Store
from buildwright.store.units import leases
from tests.support.clocks import ManualClock


class Polls:
    """Polls one after another, each with what the last one remembered."""

    def __init__(self, poller: PollingChangeSource, workdir: Path) -> None:
        self.poller = poller
        self.workdir = workdir
        self.state: Any = None

    async def __call__(self, **more: Any) -> Found:
        found = await self.poller.poll(Poll(self.state, self.workdir, **more))
        self.state = json.loads(json.dumps(found.state))
        return found


class Master:
    """The part of a master that change sources need."""

    def __init__(self, store: Store, basedir: Path, name: str = "m") -> None:
        self.store = store
        self.basedir = basedir
        self.clock = ManualClock()
        self.name = name

    async def start(self, *sources: ChangeSource, intake: Intake | None = None) -> "Master":
        self.masterid, self.term = await self.store.run(leases.take(self.name, self.clock.now_us()))
        self.sources = ChangeSources(
            self.store, self.clock, self.masterid, self.basedir, intake=lambda: intake or Intake()
        )
        await self.sources.start(sources)
        await self.sources.settled()
        return self

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.sources.settled()


async def rows(store: Store, table: sa.Table) -> list[dict[str, Any]]:
    names = [column.name for column in table.columns]
    found = await store.fetch(sa.select(table).order_by(*table.primary_key.columns))
    return [dict(zip(names, row, strict=True)) for row in found]
