"""Logs for readers that show them, whatever their size: ``lines`` and ``search``.

Both answer within bounds and say where to go on. ``lines`` gives lines from ``offset`` on (a negative one
counts from the end) with their stream, the time when they ended, and their text: up to ``limit`` of them, and
up to about a mebibyte. Of a line longer than ``line_bytes`` it gives the beginning, and its ``length`` in
bytes. At the end of a running log come the ``half_lines``, whose newlines are not there yet: of long ones the
last bytes.

``search`` gives the numbers of lines in which ``q`` is found (as it is, or an expression of RE2's with
``regex=1``; ``case=0`` ignores upper and lower case), of lines that look like errors (``errors=1``), or of
all lines of a ``stream``. After a quarter of a second it stops: ``next`` is the ``offset`` of the request
that goes on, and null when all has been searched."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web

from buildwright.logs import search
from buildwright.logs.patterns import BadPattern, Pattern
from buildwright.logs.reader import Page
from buildwright.logs.search import Finder
from buildwright.store.units.logs import LogRow
from buildwright.store.units.logstretches import HalfLine
from buildwright.web.errors import BadQuery
from buildwright.web.fields import integer
from buildwright.web.replies import encode, reply, wants_compact

if TYPE_CHECKING:
    from buildwright.web.services import WebServices

STREAMS = {"stdout": "o", "stderr": "e", "header": "h"}
PARAMETERS = {
    "lines": ("offset", "limit", "line_bytes"),
    "search": ("q", "regex", "case", "errors", "stream", "offset", "direction", "limit"),
}

SHAPES = {
    "lines": (
        "line",
        "lines",
        {"length": "integer", "number": "integer", "stream": "string", "text": "string", "time": "float"},
    ),
    "search": ("match", "matches", {"number": "integer", "sign": "string", "stream": "string"}),
}

MOST_LINES = 10_000
ROOM = 1024 * 1024
LINE_BYTES = 16 * 1024
MOST_LINE_BYTES = 1024 * 1024
LONGEST_QUERY = 1000
MOST_MATCHES = 10_000

_MAX = 2**62
_IN_A_THREAD = 64 * 1024
_FLAGS = {"1": True, "true": True, "0": False, "false": False}
# A finished log doesn't change; it may expire, which no cache should hide for long.
_FINISHED = {"Cache-Control": "private, max-age=600"}


async def lines(
    request: web.Request, logid: int, asked: Mapping[str, str], services: WebServices
) -> web.Response:
    """Answer a request for lines."""
    first = integer(asked.get("offset", "0"), "offset", -_MAX, _MAX)
    count = integer(asked.get("limit", "1000"), "limit", 1, MOST_LINES)
    longest = integer(asked.get("line_bytes", str(LINE_BYTES)), "line_bytes", 1, MOST_LINE_BYTES)
    page = await services.logs.page(logid, first, count, room=ROOM, longest=longest)
    halves: list[HalfLine] = []
    if not page.log.complete and page.first + len(page.lines) >= page.log.num_lines:
        halves = await services.logs.half_lines(logid, longest)
    if sum(len(line.text) for line in page.lines) < _IN_A_THREAD:
        body = _encode_lines(page, halves)
    else:
        body = await asyncio.to_thread(_encode_lines, page, halves)
    headers = _FINISHED if page.log.complete and first >= 0 else None
    return reply(body, compact=wants_compact(request), headers=headers)


def _encode_lines(page: Page, halves: list[HalfLine]) -> bytes:
    shown = []
    for number, (stream, time_us, text, length) in enumerate(page.lines, page.first):
        line = {"number": number, "stream": stream, "text": _text(text), "time": time_us / 1e6}
        if length > len(text):
            line |= {"length": length, "text": _text(_whole_characters(text))}
        shown.append(line)
    begun = [
        {
            "length": half.length,
            "stream": half.stream,
            "text": _text(half.text),
            "time": half.time_us / 1e6,
        }
        for half in halves
    ]
    return encode({"half_lines": begun, "lines": shown, "meta": _meta(page.log)})


def _meta(log: LogRow) -> dict[str, Any]:
    return {
        "complete": bool(log.complete),
        "length": log.length,
        "logid": log.id,
        "total": log.num_lines,
        "type": log.type,
    }


async def matches(
    request: web.Request, logid: int, asked: Mapping[str, str], services: WebServices
) -> web.Response:
    """Answer a search."""
    stream = asked.get("stream")
    if stream is not None and stream not in STREAMS:
        raise BadQuery(f"there is no stream {stream[:60]!r}; there are {', '.join(STREAMS)}")
    direction = asked.get("direction", "forward")
    if direction not in ("forward", "backward"):
        raise BadQuery(f"direction is forward or backward, not {direction[:60]!r}")
    limit = integer(asked.get("limit", "1000"), "limit", 1, MOST_MATCHES)
    start = integer(asked["offset"], "offset", 0, _MAX) if "offset" in asked else None
    finder = _finder(asked)
    found = await services.searcher.find(
        logid,
        finder,
        start,
        streams=STREAMS[stream] if stream else "oe" if finder is search.errors else "oeh",
        backward=direction == "backward",
        limit=limit,
    )
    shown = [
        {"number": match.number, "stream": match.stream} | ({"sign": match.sign} if match.sign else {})
        for match in found.matches
    ]
    meta = _meta(found.log) | {"next": found.next, "searched": [found.first, found.end]}
    return reply(encode({"matches": shown, "meta": meta}), compact=wants_compact(request))


def _finder(asked: Mapping[str, str]) -> Finder:
    text = asked.get("q")
    if _flag(asked, "errors", default=False):
        if text is not None:
            raise BadQuery("either q or errors=1: what looks like an error is not for a query to say")
        return search.errors
    if text is None:
        if "stream" in asked:
            return search.any_line
        raise BadQuery("say what to look for: q=text, errors=1 or stream=stderr")
    if len(text) > LONGEST_QUERY:
        raise BadQuery(f"q is longer than {LONGEST_QUERY} characters")
    try:
        return search.of_pattern(
            Pattern(text, regex=_flag(asked, "regex", default=False), case=_flag(asked, "case", default=True))
        )
    except BadPattern as error:
        raise BadQuery(f"q: {error}") from None


def _flag(asked: Mapping[str, str], name: str, *, default: bool) -> bool:
    if name not in asked:
        return default
    value = _FLAGS.get(asked[name].lower())
    if value is None:
        raise BadQuery(f"{name} is 1 or 0, not {asked[name][:60]!r}")
    return value


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _whole_characters(text: bytes) -> bytes:
    """Without the beginning of a character of UTF-8 that was cut in two."""
    for back in range(1, min(4, len(text)) + 1):
        byte = text[-back]
        if byte & 0xC0 == 0x80:
            continue
        size = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return text[:-back] if size > back else text
    return text
