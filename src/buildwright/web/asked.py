"""The data API as those in this process ask it who make something else of its answers: badges, feeds,
dashboards.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from buildwright.model.snapshot import Snapshot
from buildwright.web.data import TABLE, Data
from buildwright.web.errors import NotFound
from buildwright.web.resource import Computed, Endpoint, Json

Parameters = Sequence[tuple[str, str]]


async def things_at(data: Data, path: Sequence[str], parameters: Parameters = ()) -> list[Json]:
    """What is at a path, as a list also if it is a single thing. Raises ApiError, as over HTTP."""
    target, params = TABLE.find(tuple(path)) or (None, {})
    if not isinstance(target, Endpoint | Computed) or (isinstance(target, Endpoint) and target.guarded):
        raise NotFound("there is nothing at this path")
    return list((await data.get(target, params, list(parameters))).objects)


def page_url(snapshot: Snapshot, *parts: str | int) -> str:
    """The address of a view of the page, for readers of other pages."""
    return f"{snapshot.buildbot_url}#/" + "/".join(quote(str(part), safe="") for part in parts)
