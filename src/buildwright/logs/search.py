"""Looking for lines in a log, however long it is.

A search goes through the log stretch by stretch, forward or backward, and ends when it has found enough or
after a share of a second: then it says where to go on, and whoever asked may ask again. So a search costs a
bounded time per request and can be given up at any point; progress is what comes between two requests.

Matching runs in threads, next to builds and readers, and a few searches at a time take turns. Of a line that
is longer than a mebibyte the beginning is searched.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from buildwright.logs import signs
from buildwright.logs.lines import blocks
from buildwright.logs.patterns import Pattern, visible
from buildwright.logs.reader import LogReader
from buildwright.store.units.logs import Chunk, LogRow
from buildwright.store.units.logstretches import Gap

SECONDS = 0.25
AT_ONCE = 2
ROOM = 2 * 1024 * 1024
ROOM_BACKWARD = 512 * 1024  # of which all matches are looked at
LONGEST = 1024 * 1024

# From whole lines, how many lines come before each that is looked for, and a word on it.
Finder = Callable[[bytes], Iterable[tuple[int, str]]]


class Match(NamedTuple):
    """A line that was looked for; ``sign`` names the kind of error that it looks like."""

    number: int
    stream: str
    sign: str


class Found(NamedTuple):
    """Matches in the direction of the search; the lines first..end-1 are searched, ``next`` is where to go
    on: the next line, or backward the end of what is left. None: everything is searched.
    """

    log: LogRow
    matches: list[Match]
    first: int
    end: int
    next: int | None


def of_pattern(pattern: Pattern) -> Finder:
    """Finds what the pattern matches."""

    def find(text: bytes) -> Iterator[tuple[int, str]]:
        return ((number, "") for number, _ in pattern.lines(text))

    return find


def any_line(text: bytes) -> Iterator[tuple[int, str]]:
    """Finds every line."""
    return ((number, "") for number in range(text.count(b"\n")))


def errors(text: bytes) -> Iterator[tuple[int, str]]:
    """Finds lines that look like errors, see :mod:`buildwright.logs.signs`."""
    return signs.lines(text)


class Searcher:
    """Searches logs, a few at a time."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def find(
        self,
        logid: int,
        finder: Finder,
        start: int | None = None,
        *,
        streams: str = "oeh",
        backward: bool = False,
        limit: int = 1,
    ) -> Found:
        """Look from line ``start`` on, or backward in what comes before it; by default from the log's begin,
        or its end. Raises what reading raises.
        """
        log = await self._reader.log(logid)
        at = (log.num_lines if backward else 0) if start is None else min(max(start, 0), log.num_lines)
        until = time.monotonic() + SECONDS
        matches: list[Match] = []
        begun = at
        more = True
        while more and len(matches) < limit and time.monotonic() < until:
            scan = partial(_scan, finder, streams, limit - len(matches), backward)
            first, end = (0, at) if backward else (at, max(log.num_lines, at))
            async with self._turn:
                stretch = await self._reader.stretch(
                    logid,
                    first,
                    end,
                    scan,
                    room=ROOM_BACKWARD if backward else ROOM,
                    longest=LONGEST,
                    backward=backward,
                )
            log = stretch.log
            if stretch.first == stretch.end:
                more = False
                break
            matches += stretch.found
            if len(matches) >= limit:
                at = matches[-1].number + (not backward)
            else:
                at = stretch.first if backward else stretch.end
            more = at > 0 if backward else at < log.num_lines
        return Found(log, matches, min(begun, at), max(begun, at), at if more else None)


def _scan(
    finder: Finder,
    streams: str,
    limit: int,
    backward: bool,
    chunks: list[Chunk],
    first: int,
    end: int,
    longest: int,
    left_out: Mapping[int, Gap],
) -> list[Match]:
    found = deque[Match](maxlen=limit)
    for block in blocks(chunks, first, end, longest, left_out):
        if block.stream not in streams:
            continue
        for number, sign in finder(visible(block.text)):
            found.append(Match(block.first_line + number, block.stream, sign))
            if len(found) == limit and not backward:
                return list(found)
    return list(reversed(found)) if backward else list(found)
