"""The web application on a real store, served on loopback: for tests, and for looking at the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aiohttp import web

from buildwright.bus.local import Bus
from buildwright.logs.blobs import FileBlobs
from buildwright.logs.reader import LogReader
from buildwright.model.properties import Properties
from buildwright.model.snapshot import Snapshot, WwwConfig
from buildwright.store.base import Store, wall_us
from buildwright.store.units.buildsets import add_buildset
from buildwright.web.app import make_app
from buildwright.web.control import StoreControl
from buildwright.web.errors import Refused
from buildwright.web.services import Added, WebServices

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


def snapshot(**www: Any) -> Snapshot:
    """A snapshot with these settings of the web server."""
    return replace(SNAPSHOT, www=WwwConfig(**www))


@dataclass(frozen=True)
class Form:
    """A force scheduler's form."""

    name: str
    builder_names: Sequence[str]

    def form(self) -> Mapping[str, Any]:
        parameter = {
            "name": "reason",
            "fullName": "reason",
            "type": "text",
            "label": "Why?",
            "default": "force build",
        }
        return {
            "name": self.name,
            "button_name": "Start",
            "label": self.name,
            "builder_names": list(self.builder_names),
            "all_fields": [parameter],
        }


class Server:
    """The application with all that it needs; `url` is known after `start`."""

    def __init__(self, store: Store, directory: Path, forms: Sequence[Form] = ()) -> None:
        self.store = store
        self.bus = Bus()
        store.on_hints = self.bus.publish
        self.forms = list(forms)
        self.snapshot = snapshot()
        self.why_unready = ""
        self.tokens: dict[str, str] = {}
        self.forced: list[Mapping[str, Any]] = []
        self.services = WebServices(
            store=store,
            bus=self.bus,
            control=StoreControl(store, wall_us, self._force),
            logs=LogReader(store, FileBlobs(directory / "blobs")),
            snapshot=lambda: self.snapshot,
            now_us=wall_us,
            force_forms=lambda: self.forms,
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

    async def _force(
        self, scheduler: str, params: Mapping[str, Any], owner: str, key: str | None
    ) -> Added | None:
        form = next((form for form in self.forms if form.name == scheduler), None)
        if form is None:
            return None
        self.forced.append(params)
        builderid = params.get("builderid")
        if not isinstance(builderid, int):
            raise Refused({"builderid": "which builder?"})
        unit = add_buildset(
            sourcestamps=[],
            builderids=[builderid],
            now_us=wall_us(),
            reason=f"forced by {owner}",
            properties={"owner": (owner, "Force")},
            key=key,
        )
        return await self.store.run(unit)
