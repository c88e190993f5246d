"""The text of logs over HTTP: lines as JSON (``contents``), bytes as they came (``raw``, ``raw_inline``), and
what :mod:`buildwright.web.loglines` has for readers of large logs.

The first two are written while they are read, in pieces, so that neither a log's size nor a slow client costs
memory.
A line of a log of kind ``s`` begins with its stream's letter in ``contents``, as Buildbot's do. ``raw`` shows
what a person would want to keep: for such logs three lines that say whose log it is, then all streams in the
order in which they came. ``raw?stream=stdout`` (or ``stderr``, ``header``) gives exactly the bytes of that
stream and nothing else.

A log's text is the work of the commands that wrote it. ``raw_inline`` of an HTML log is therefore served with
a sandbox policy: it shows, and can do nothing in this origin's name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import msgspec
import sqlalchemy as sa
import structlog
from aiohttp import web

from buildwright.logs.errors import LogError
from buildwright.logs.reader import LogReader
from buildwright.store import schema
from buildwright.store.errors import StoreError
from buildwright.store.unit import Statement, Work, unit
from buildwright.web import loglines
from buildwright.web.errors import ApiError, BadQuery, NotFound
from buildwright.web.fields import Element, integer
from buildwright.web.loglines import STREAMS
from buildwright.web.paths import Params
from buildwright.web.ways import LOG

if TYPE_CHECKING:
    from buildwright.web.services import WebServices

log = structlog.get_logger(__name__)

BATCH_LINES = 4096
PARAMETERS = {
    "contents": ("offset", "limit"),
    "raw": ("stream",),
    "raw_inline": ("stream",),
    **loglines.PARAMETERS,
}

_LOGCHUNK = ("logchunk", "logchunks", {"content": "string", "firstline": "integer", "logid": "integer"})
# What is at a path of each kind, for who asks for the API's description: name, plural, fields.
SHAPES: dict[str, tuple[str, str, dict[str, str]]] = dict.fromkeys(PARAMETERS, _LOGCHUNK) | loglines.SHAPES

_l = schema.logs.c
_MAX = 2**62


class LogRow(NamedTuple):
    """What serving a log needs to know of it."""

    logid: int
    slug: str
    type: str
    num_lines: int
    builder: str
    build_number: int
    worker: str


class LogPath(NamedTuple):
    """A path to a log's text."""

    path: str
    kind: str  # one of PARAMETERS
    find: Statement


def _find(logid: Element) -> Statement:
    builds, steps = schema.builds, schema.steps
    source = (
        schema.logs.join(steps, steps.c.id == _l.stepid)
        .join(builds, builds.c.id == steps.c.buildid)
        .join(schema.builders, schema.builders.c.id == builds.c.builderid)
        .join(schema.workers, schema.workers.c.id == builds.c.workerid)
    )
    columns = (
        _l.id,
        _l.slug,
        _l.type,
        _l.num_lines,
        schema.builders.c.name,
        builds.c.number,
        schema.workers.c.name,
    )
    return Statement(
        "api_log", lambda _dialect: sa.select(*columns).select_from(source).where(_l.id == logid)
    )


PATHS = [
    LogPath(f"{path}/{kind}", kind, find)
    for path, find in [(path, _find(logid)) for path, logid in LOG]
    for kind in PARAMETERS
]


@unit
def _read_log(find: Statement, params: Params) -> Work[LogRow | None]:
    rows = yield find(**params)
    return LogRow(*rows[0]) if rows else None


async def serve(
    request: web.Request,
    target: LogPath,
    params: Params,
    query: list[tuple[str, str]],
    services: WebServices,
) -> web.StreamResponse:
    """Answer a GET or HEAD of a log's text."""
    asked = _parameters(query, PARAMETERS[target.kind])
    row = await services.store.browse(_read_log(target.find, params))
    if row is None:
        raise NotFound("there is no such log")
    try:
        if target.kind == "contents":
            return await _contents(request, row, asked, services.logs)
        if target.kind == "lines":
            return await loglines.lines(request, row.logid, asked, services)
        if target.kind == "search":
            return await loglines.matches(request, row.logid, asked, services)
        return await _raw(request, row, asked, services.logs, inline=target.kind == "raw_inline")
    except LogError as error:
        raise Unreadable(str(error)) from error


class Unreadable(ApiError):
    """The log is known, its text is not there (any more)."""

    status = 410


def _parameters(query: list[tuple[str, str]], known: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in query:
        if name not in known:
            raise BadQuery(f"unrecognized query parameter {name[:60]!r}; there are {', '.join(known)}")
        if name in found:
            raise BadQuery(f"{name} is given more than once")
        found[name] = value
    return found


async def _contents(
    request: web.Request, row: LogRow, asked: dict[str, str], logs: LogReader
) -> web.StreamResponse:
    first = integer(asked.get("offset", "0"), "offset", 0, _MAX)
    count = integer(asked.get("limit", str(_MAX)), "limit", 0, _MAX)
    end = min(first + count, row.num_lines)
    pieces = _content(row, first, end, logs)
    # The first piece is read before the answer begins: an unreadable log is an error, not half an answer.
    opening = await anext(pieces, "")
    response = web.StreamResponse(headers={"Content-Type": "application/json; charset=utf-8"})
    rest = f'","firstline":{first},"logid":{row.logid}}}],"meta":{{}}}}'
    if first + BATCH_LINES >= end:
        whole = b'{"logchunks":[{"content":"' + _escape(opening) + rest.encode()
        return web.Response(body=whole, headers=response.headers)

    async def body() -> AsyncIterator[bytes]:
        yield b'{"logchunks":[{"content":"' + _escape(opening)
        async for piece in pieces:
            yield _escape(piece)
        yield rest.encode()

    return await _write(request, response, row.logid, body())


async def _write(
    request: web.Request, response: web.StreamResponse, logid: int, body: AsyncIterator[bytes]
) -> web.StreamResponse:
    """Write an answer piece by piece. If the log can't be read to its end, the connection is cut: the client
    must see that something is missing."""
    await response.prepare(request)
    if request.method != "HEAD":
        try:
            async for piece in body:
                await response.write(piece)
        except (LogError, StoreError) as error:
            log.warning("the text of a log broke off", logid=logid, reason=str(error))
            if request.transport is not None:
                request.transport.abort()
            return response
    await response.write_eof()
    return response


async def _content(row: LogRow, first: int, end: int, logs: LogReader) -> AsyncIterator[str]:
    marked = row.type == "s"
    while first < end:
        lines = await logs.lines(row.logid, first, min(BATCH_LINES, end - first))
        if not lines:
            return
        first += len(lines)
        if marked:
            text = b"".join([b"%b%b\n" % (stream.encode(), line) for stream, line in lines])
        else:
            text = b"".join([line + b"\n" for _, line in lines])
        yield text.decode("utf-8", "replace")


def _escape(text: str) -> bytes:
    return msgspec.json.encode(text)[1:-1]


async def _raw(
    request: web.Request, row: LogRow, asked: dict[str, str], logs: LogReader, *, inline: bool
) -> web.StreamResponse:
    name = asked.get("stream")
    if name is not None and name not in STREAMS:
        raise BadQuery(f"there is no stream {name[:60]!r}; there are {', '.join(STREAMS)}")
    pieces = logs.raw(row.logid, None if name is None else STREAMS[name])
    opening = await anext(pieces, b"")
    response = web.StreamResponse(headers=_headers(row, inline=inline))

    async def body() -> AsyncIterator[bytes]:
        if name is None and row.type == "s":
            yield (
                f"Builder: {row.builder}\nBuild number: {row.build_number}\nWorker name: {row.worker}\n"
            ).encode()
        if opening:
            yield opening
        async for piece in pieces:
            yield piece

    return await _write(request, response, row.logid, body())


def _headers(row: LogRow, *, inline: bool) -> dict[str, str]:
    html = row.type == "h"
    headers: dict[str, Any] = {
        "Content-Type": f"text/{'html' if html else 'plain'}; charset=utf-8",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    }
    if not inline:
        headers["Content-Disposition"] = f'attachment; filename="{quote(row.slug, safe="")}"'
    return headers
