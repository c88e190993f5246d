"""The web application on a real store, served on loopback: for tests, and for looking at the page."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from aiohttp import web

from buildwright.bus.local import Bus
from buildwright.logs.blobs import FileBlobs
from buildwright.logs.reader import LogReader
from buildwright.model.properties import Properties
from buildwright.model.snapshot import Snapshot, WwwConfig
from buildwright.schedulers.force import ForceScheduler
from buildwright.store.base import Store, wall_us
from buildwright.store.unit import Statement, Work, unit
from buildwright.web.app import make_app
from buildwright.web.control import StoreControl
from buildwright.web.services import WebServices

SNAPSHOT = Snapshot(
    basedir=Path(),
    filename="master.cfg",
    builders={},
    workers={},
    schedulers={},
    change_sources={},
    properties=Properties(),
    locks={},
)


# As the fill has them.
SCHEDULER_IDS = {"force": 3, "other": 4}
BUILDER_IDS = {"waits-for-arm": 1, **{f"builder-{i:02}": i for i in range(2, 100)}}


def snapshot(**www: Any) -> Snapshot:
    """A snapshot with these settings of the web server."""
    return replace(SNAPSHOT, www=WwwConfig(**www))


class Server:
    """The application with all that it needs; `url` is known after `start`."""

    def __init__(self, store: Store, directory: Path, forms: Sequence[ForceScheduler] = ()) -> None:
        self.store = store
        self.directory = directory
        self.bus = Bus()
        store.on_hints = self.bus.publish
        self.forms = {form.name: form for form in forms}
        self.snapshot = snapshot()
        self.why_unready = ""
        self.tokens: dict[str, str] = {}
        self.services = WebServices(
            store=store,
            bus=self.bus,
            control=StoreControl(
                store,
                wall_us,
                forms=lambda: self.forms,
                scheduler_ids=lambda: SCHEDULER_IDS,
                builder_ids=lambda: BUILDER_IDS,
            ),
            logs=LogReader(store, FileBlobs(directory / "blobs")),
            snapshot=lambda: self.snapshot,
            now_us=wall_us,
            force_forms=lambda: list(self.forms.values()),
            unready=lambda: self.why_unready,
            tokens=lambda: self.tokens,
            gauges=lambda: {"buildwright_loop_lag_seconds": 0.0},
        )
        self.app = make_app(self.services)
        self.runner = web.AppRunner(self.app, shutdown_timeout=2)
        self.url = ""

    async def start(self, port: int = 0, **ssl: Any) -> None:
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", port, **ssl).start()
        self.url = f"http{'s' if ssl else ''}://127.0.0.1:{self.runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self.runner.cleanup()


async def execute(store: Store, sql: str) -> None:
    """Write to the store past the units."""
    statement = Statement("in_a_test", lambda _dialect: sa.text(sql.replace(":", "\\:")))

    @unit
    def write() -> Work[None]:
        yield statement()

    await store.run(write())
