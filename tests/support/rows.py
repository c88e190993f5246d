"""What a test asks of a store, and what it finds there: builds, steps, properties, logs by stream."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from buildwright.logs.blobs import BlobStore, DatabaseBlobs
from buildwright.logs.reader import LogReader
from buildwright.store import schema
from buildwright.store.base import Store, wall_us
from buildwright.store.units.buildsets import add_buildset
from buildwright.store.units.claims import stop_request

PATIENCE = 60  # seconds until a test is called stuck
ONE_STAMP: Sequence[Mapping[str, Any]] = ({"codebase": ""},)

_b, _r, _s, _st, _l = (
    schema.builds.c,
    schema.buildrequests.c,
    schema.buildsets.c,
    schema.steps.c,
    schema.logs.c,
)


@dataclass
class LogView:
    """A log: bytes by stream."""

    name: str
    type: str
    complete: bool
    streams: dict[str, bytes]

    @property
    def out(self) -> bytes:
        return self.streams.get("o", b"")

    @property
    def err(self) -> bytes:
        return self.streams.get("e", b"")

    @property
    def header(self) -> bytes:
        return self.streams.get("h", b"")


@dataclass
class StepView:
    id: int
    number: int
    name: str
    results: int | None
    state: str
    hidden: bool
    tries: int
    urls: dict[str, str]
    waited_us: int  # for its locks
    logs: dict[str, LogView] = field(default_factory=dict)


@dataclass
class BuildView:
    """A build as the store has it."""

    id: int
    requestid: int
    number: int
    attempt: int
    results: int | None
    state: str
    properties: dict[str, Any]
    sources: dict[str, str]  # of the properties
    steps: list[StepView]

    @property
    def outline(self) -> list[tuple[str, int | None]]:
        return [(step.name, step.results) for step in self.steps]

    def step(self, name: str) -> StepView:
        return next(step for step in self.steps if step.name == name)

    def log(self, step: str, name: str = "stdio") -> LogView:
        return self.step(step).logs[name]

    def __str__(self) -> str:
        """All of it, for a failed test."""
        lines = [f"build {self.id}: {self.results} {self.state}"]
        for step in self.steps:
            lines.append(f"  step {step.name}: {step.results} {step.state}")
            for log in step.logs.values():
                for stream, content in log.streams.items():
                    lines += [f"    {log.name} {stream} {line!r}" for line in content.splitlines()]
        return "\n".join(lines)


class Rows:
    """A store, as tests use it. Whoever owns it says in ``until`` how to wait for something."""

    store: Store

    async def until(self, kind: str, condition: Callable[[], Awaitable[Any]]) -> Any:
        """Wait until a condition holds, and give what it gave. ``kind`` is that of the hints that may tell of
        it.
        """
        raise AssertionError(f"nobody says how to wait for {kind}, {condition}")

    # -- asking -------------------------------------------------------------------------------------------

    async def submit(
        self,
        builder: str = "b",
        *,
        sources: Sequence[Mapping[str, Any]] = ONE_STAMP,
        properties: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> int:
        """Ask for a build; gives its request's id."""
        builders = schema.builders.c
        ((builderid,),) = await self.store.fetch(sa.select(builders.id).where(builders.name == builder))
        _, requests = await self.store.run(
            add_buildset(
                sourcestamps=list(sources),
                builderids=[builderid],
                now_us=wall_us(),
                reason="test",
                properties={name: (value, "Test") for name, value in (properties or {}).items()},
                **more,
            )
        )
        return requests[builderid]

    async def build(self, builder: str = "b", **request: Any) -> BuildView:
        """Ask for a build and wait for its end."""
        return await self.finished(await self.submit(builder, **request))

    async def stop_build(self, requestid: int, why: str = "enough") -> None:
        await self.store.run(stop_request(requestid, why, wall_us()))

    # -- waiting ------------------------------------------------------------------------------------------

    async def finished(self, requestid: int) -> BuildView:
        """The request's last build, once the request is complete."""

        async def complete() -> bool:
            ((done,),) = await self.store.fetch(sa.select(_r.complete).where(_r.id == requestid))
            return bool(done)

        await self.until("buildrequests", complete)
        return (await self.builds(requestid))[-1]

    async def started(self, requestid: int) -> None:
        """The request has a build with a step."""

        async def began() -> bool:
            steps = schema.builds.join(schema.steps, _st.buildid == _b.id)
            return bool(
                await self.store.fetch(
                    sa.select(_st.id).select_from(steps).where(_b.buildrequestid == requestid)
                )
            )

        await self.until("steps", began)

    async def until_output(self, requestid: int, text: bytes, stream: str = "o") -> None:
        """Wait until this output of the request's builds is stored."""
        chunks = schema.logchunks.c
        source = (
            schema.builds.join(schema.steps, _st.buildid == _b.id)
            .join(schema.logs, _l.stepid == _st.id)
            .join(schema.logchunks, chunks.logid == _l.id)
        )
        query = (
            sa.select(chunks.content)
            .select_from(source)
            .where(_b.buildrequestid == requestid, chunks.stream == stream)
            .order_by(_l.id, chunks.seq)
        )

        async def seen() -> bool:
            return text in b"".join([content for (content,) in await self.store.fetch(query)])

        await self.until("logs", seen)

    # -- reading ------------------------------------------------------------------------------------------

    @property
    def blobs(self) -> BlobStore:
        return DatabaseBlobs(self.store)

    async def builds(self, requestid: int) -> list[BuildView]:
        """The request's builds as they stand, in the order of their attempts."""
        found = await self.store.fetch(
            sa.select(_b.id, _b.number, _b.attempt, _b.results, _b.state_string, _b.properties)
            .where(_b.buildrequestid == requestid)
            .order_by(_b.id)
        )
        views = []
        for buildid, number, attempt, results, state, properties in found:
            stored = json.loads(properties)
            values = {name: value for name, (value, _) in stored.items()}
            sources = {name: source for name, (_, source) in stored.items()}
            steps = await self._steps(buildid)
            views.append(
                BuildView(buildid, requestid, number, attempt, results, state, values, sources, steps)
            )
        return views

    async def children(self, buildid: int) -> list[tuple[int, str, int, str, bool]]:
        """The requests that a build has triggered: (id, builder, results, relationship, complete)."""
        source = schema.buildrequests.join(schema.buildsets, _s.id == _r.buildsetid).join(
            schema.builders, schema.builders.c.id == _r.builderid
        )
        found = await self.store.fetch(
            sa.select(_r.id, schema.builders.c.name, _r.results, _s.parent_relationship, _r.complete)
            .select_from(source)
            .where(_s.parent_buildid == buildid)
            .order_by(_r.id)
        )
        return [(each, name, results, relation, bool(done)) for each, name, results, relation, done in found]

    async def _steps(self, buildid: int) -> list[StepView]:
        found = await self.store.fetch(
            sa.select(
                _st.id, _st.number, _st.name, _st.results, _st.state_string, _st.hidden, _st["try"], _st.urls,
                _st.locks_acquired_at - _st.started_at,
            )
            .where(_st.buildid == buildid)
            .order_by(_st.number)
        )  # fmt: skip
        views = []
        for stepid, number, name, results, state, hidden, tries, urls, waited in found:
            links = {each["name"]: each["url"] for each in json.loads(urls)}
            view = StepView(stepid, number, name, results, state, bool(hidden), tries, links, waited or 0)
            view.logs = {log.name: log for log in await self._logs(stepid)}
            views.append(view)
        return views

    async def _logs(self, stepid: int) -> list[LogView]:
        found = await self.store.fetch(
            sa.select(_l.id, _l.name, _l.type, _l.complete).where(_l.stepid == stepid).order_by(_l.id)
        )
        reader = LogReader(self.store, self.blobs)
        views = []
        for logid, name, kind, complete in found:
            streams = {
                stream: b"".join([part async for part in reader.raw(logid, stream)])
                for stream in ("oeh" if kind == "s" else "o")
            }
            views.append(LogView(name, kind, bool(complete), streams))
        return views
