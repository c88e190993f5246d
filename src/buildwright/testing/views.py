"""Builds as they stand in a store: what a test compares with what it expects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from buildwright.logs.blobs import BlobStore
from buildwright.logs.reader import LogReader
from buildwright.model.results import Results
from buildwright.store import schema
from buildwright.store.base import Store

_b, _r, _s, _st, _l = (
    schema.builds.c,
    schema.buildrequests.c,
    schema.buildsets.c,
    schema.steps.c,
    schema.logs.c,
)


@dataclass
class Log:
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

    @property
    def text(self) -> str:
        """What was printed on standard output, or the log's content."""
        return self.out.decode("utf-8", "replace")


@dataclass
class Step:
    """A step of a build. ``waited_us`` is how long for its locks."""

    id: int
    number: int
    name: str
    results: int | None
    state: str
    hidden: bool
    tries: int
    urls: dict[str, str]
    waited_us: int
    logs: dict[str, Log] = field(default_factory=dict)

    @property
    def result(self) -> str:
        """The result's name; "running" if it has none yet."""
        return _named(self.results)


@dataclass
class Build:
    """A build. ``sources`` says of each property who set it; ``scheduler`` is empty if none asked for it."""

    id: int
    requestid: int
    number: int
    attempt: int
    results: int | None
    state: str
    properties: dict[str, Any]
    sources: dict[str, str]
    steps: list[Step]
    builder: str = ""
    worker: str = ""
    started_us: int = 0
    complete_us: int | None = None
    stamps: list[dict[str, Any]] = field(default_factory=list)

    @property
    def result(self) -> str:
        """The result's name; "running" if it has none yet."""
        return _named(self.results)

    @property
    def scheduler(self) -> str:
        return str(self.properties.get("scheduler", ""))

    @property
    def started(self) -> datetime:
        """When it began, in local time."""
        return datetime.fromtimestamp(self.started_us / 1e6)  # noqa: DTZ006 - as schedules are written

    @property
    def outline(self) -> list[tuple[str, int | None]]:
        """The steps' names and results."""
        return [(step.name, step.results) for step in self.steps]

    def step(self, name: str) -> Step:
        """The step of this name; LookupError names those that there are."""
        for step in self.steps:
            if step.name == name:
                return step
        raise LookupError(f"there is no step {name!r}, only {', '.join(step.name for step in self.steps)}")

    def log(self, step: str, name: str = "stdio") -> Log:
        """A log of a step."""
        return self.step(step).logs[name]

    def __str__(self) -> str:
        """All of it, for a failed test."""
        lines = [f"build {self.id} of {self.builder}: {self.results} {self.state}"]
        for step in self.steps:
            lines.append(f"  step {step.name}: {step.results} {step.state}")
            for log in step.logs.values():
                for stream, content in log.streams.items():
                    lines += [f"    {log.name} {stream} {line!r}" for line in content.splitlines()]
        return "\n".join(lines)


def _named(results: int | None) -> str:
    return "running" if results is None else Results[results]


async def builds_where(
    store: Store, blobs: BlobStore, *where: sa.ColumnElement[bool], limit: int | None = None
) -> list[Build]:
    """The builds that fit, by id. ``where`` may name the tables builds, buildrequests and buildsets."""
    source = (
        schema.builds.join(schema.buildrequests, _r.id == _b.buildrequestid)
        .join(schema.buildsets, _s.id == _r.buildsetid)
        .join(schema.builders, schema.builders.c.id == _b.builderid)
        .join(schema.workers, schema.workers.c.id == _b.workerid)
    )
    found = await store.fetch(
        sa.select(
            _b.id, _b.buildrequestid, _b.number, _b.attempt, _b.results, _b.state_string, _b.properties,
            schema.builders.c.name, schema.workers.c.name, _b.started_at, _b.complete_at, _r.buildsetid,
        )
        .select_from(source)
        .where(*where)
        .order_by(_b.id)
        .limit(limit)
    )  # fmt: skip
    made = []
    for (
        buildid, requestid, number, attempt, results, state, properties, builder, worker, started, complete,
        buildsetid,
    ) in found:  # fmt: skip
        stored = json.loads(properties)
        made.append(
            Build(
                id=buildid,
                requestid=requestid,
                number=number,
                attempt=attempt,
                results=results,
                state=state,
                properties={name: value for name, (value, _) in stored.items()},
                sources={name: source for name, (_, source) in stored.items()},
                steps=await _steps(store, blobs, buildid),
                builder=builder,
                worker=worker,
                started_us=started,
                complete_us=complete,
                stamps=await _stamps(store, buildsetid),
            )
        )
    return made


async def _stamps(store: Store, buildsetid: int) -> list[dict[str, Any]]:
    of, stamps = schema.buildset_sourcestamps, schema.sourcestamps
    names = ("codebase", "branch", "revision", "repository", "project")
    found = await store.fetch(
        sa.select(*(stamps.c[name] for name in names))
        .select_from(of.join(stamps, stamps.c.id == of.c.sourcestampid))
        .where(of.c.buildsetid == buildsetid)
        .order_by(stamps.c.codebase)
    )
    return [dict(zip(names, row, strict=True)) for row in found]


async def _steps(store: Store, blobs: BlobStore, buildid: int) -> list[Step]:
    found = await store.fetch(
        sa.select(
            _st.id, _st.number, _st.name, _st.results, _st.state_string, _st.hidden, _st["try"], _st.urls,
            _st.locks_acquired_at - _st.started_at,
        )
        .where(_st.buildid == buildid)
        .order_by(_st.number)
    )  # fmt: skip
    made = []
    for stepid, number, name, results, state, hidden, tries, urls, waited in found:
        links = {each["name"]: each["url"] for each in json.loads(urls)}
        step = Step(stepid, number, name, results, state, bool(hidden), tries, links, waited or 0)
        step.logs = {log.name: log for log in await _logs(store, blobs, stepid)}
        made.append(step)
    return made


async def _logs(store: Store, blobs: BlobStore, stepid: int) -> Sequence[Log]:
    found = await store.fetch(
        sa.select(_l.id, _l.name, _l.type, _l.complete).where(_l.stepid == stepid).order_by(_l.id)
    )
    reader = LogReader(store, blobs)
    made = []
    for logid, name, kind, complete in found:
        streams = {
            stream: b"".join([part async for part in reader.raw(logid, stream)])
            for stream in ("oeh" if kind == "s" else "o")
        }
        made.append(Log(name, kind, bool(complete), streams))
    return made
