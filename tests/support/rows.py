"""What a test asks of a store, and what it finds there: builds, steps, properties, logs by stream."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from buildwright.logs.blobs import BlobStore, DatabaseBlobs
from buildwright.store import schema
from buildwright.store.base import Store, wall_us
from buildwright.store.units.buildsets import add_buildset
from buildwright.store.units.claims import stop_request
from buildwright.testing.views import Build, builds_where

PATIENCE = 60  # seconds until a test is called stuck
ONE_STAMP: Sequence[Mapping[str, Any]] = ({"codebase": ""},)

_b, _r, _s, _st, _l = (
    schema.builds.c,
    schema.buildrequests.c,
    schema.buildsets.c,
    schema.steps.c,
    schema.logs.c,
)


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

    async def build(self, builder: str = "b", **request: Any) -> Build:
        """Ask for a build and wait for its end."""
        return await self.finished(await self.submit(builder, **request))

    async def stop_build(self, requestid: int, why: str = "enough") -> None:
        await self.store.run(stop_request(requestid, why, wall_us()))

    # -- waiting ------------------------------------------------------------------------------------------

    async def finished(self, requestid: int) -> Build:
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

    async def builds(self, requestid: int) -> list[Build]:
        """The request's builds as they stand, in the order of their attempts."""
        return await builds_where(self.store, self.blobs, _b.buildrequestid == requestid)

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
