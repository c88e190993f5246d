"""From chunks back to lines. Pure.

A line that began in an earlier chunk is put together from its parts. Parts are found by the chunk in which
their line begins (every chunk carries that number), not by their place in a sequence: so the chunks given
may have holes where parts of other lines would be, and a range of lines needs only the chunks that hold its
bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from buildwright.store.units.logs import Chunk
from buildwright.store.units.logstretches import Gap

Line = tuple[str, bytes]  # the stream, and the bytes without the newline
Part = tuple[int, bytes]  # of a line: the chunk that it is in, and its bytes


class LogLine(NamedTuple):
    """A line as it is shown: its beginning, how many bytes it has, and when its end came."""

    stream: str
    time_us: int
    text: bytes
    length: int


class Block(NamedTuple):
    """Neighbouring lines of one stream, each with its newline; the first one may be cut."""

    first_line: int
    stream: str
    text: bytes


class PartMissing(Exception):
    """A wanted line begins in a chunk that isn't among those given."""


def assemble(chunks: Iterable[Chunk], first: int, end: int) -> list[Line]:
    """The lines first..end-1, as far as the chunks complete them."""
    lines: list[Line] = []
    begun: dict[int, list[bytes]] = {}
    for chunk in chunks:
        content = chunk.content
        if not chunk.num_lines:
            if chunk.line_from == chunk.seq:
                begun[chunk.seq] = [content]
            elif (parts := begun.get(chunk.line_from)) is not None:
                parts.append(content)
            continue
        if chunk.first_line >= end or chunk.first_line + chunk.num_lines <= first:
            if tail := content[content.rfind(b"\n") + 1 :]:
                begun[chunk.seq] = [tail]
            continue
        texts = content.split(b"\n")
        if content and (tail := texts.pop()):
            begun[chunk.seq] = [tail]
        if chunk.line_from != chunk.seq and chunk.first_line >= first:
            parts = begun.pop(chunk.line_from, None)
            if parts is None:
                raise PartMissing(chunk.line_from)
            parts.append(texts[0])
            texts[0] = b"".join(parts)
        stream = chunk.stream
        wanted = texts[max(first - chunk.first_line, 0) : end - chunk.first_line]
        lines.extend([(stream, text) for text in wanted])
    return lines


def shown(
    chunks: Iterable[Chunk], first: int, end: int, longest: int, left_out: Mapping[int, Gap]
) -> list[LogLine]:
    """The lines first..end-1, each cut to ``longest`` bytes; ``left_out``: what the chunks lack of one."""
    lines: list[LogLine] = []
    for chunk, head, skip in _completing(chunks, first, end):
        texts = chunk.content.split(b"\n")
        if chunk.content:
            texts.pop()
        stream, time_us = chunk.stream, chunk.time_us
        wanted = texts[skip : end - chunk.first_line]
        if head and not skip:
            text, length = _joined(head, texts[0], left_out.get(chunk.first_line))
            lines.append(LogLine(stream, time_us, text[:longest], length))
            del wanted[0]
        lines += [LogLine(stream, time_us, text[:longest], len(text)) for text in wanted]
    return lines


def blocks(
    chunks: Iterable[Chunk], first: int, end: int, longest: int, left_out: Mapping[int, Gap]
) -> Iterator[Block]:
    """The lines first..end-1 as blocks. A line that spans chunks is cut to ``longest`` bytes."""
    for chunk, head, skip in _completing(chunks, first, end):
        content = chunk.content
        at = 0
        for _ in range(skip):
            at = content.index(b"\n", at) + 1
        stop = content.rfind(b"\n") + 1
        for _ in range(chunk.first_line + chunk.num_lines - end):
            stop = content.rfind(b"\n", 0, stop - 1) + 1
        number = chunk.first_line + skip
        if head and not skip:
            at = content.find(b"\n") + 1
            text, _ = _joined(head, content[: max(at - 1, 0)], left_out.get(number))
            yield Block(number, chunk.stream, text[:longest] + b"\n")
            number += 1
        if stop > at:
            yield Block(number, chunk.stream, content[at:stop] if at or stop < len(content) else content)


def _joined(head: list[Part], last: bytes, gap: Gap | None) -> tuple[bytes, int]:
    """A line's text, up to where something is missing, and its length."""
    if gap is None:
        text = b"".join([*(part for _, part in head), last])
        return text, len(text)
    length = gap.size + sum(len(part) for _, part in head) + len(last)
    return b"".join([part for seq, part in head if seq < gap.seq]), length


def _completing(chunks: Iterable[Chunk], first: int, end: int) -> Iterator[tuple[Chunk, list[Part], int]]:
    """Chunks that complete wanted lines, earlier parts of the first one, and how many lines are too early."""
    begun: dict[int, list[Part]] = {}
    for chunk in chunks:
        content = chunk.content
        if not chunk.num_lines:
            if chunk.line_from == chunk.seq:
                begun[chunk.seq] = [(chunk.seq, content)]
            elif (parts := begun.get(chunk.line_from)) is not None:
                parts.append((chunk.seq, content))
            continue
        if chunk.first_line < end and chunk.first_line + chunk.num_lines > first:
            head = begun.pop(chunk.line_from, None) if chunk.line_from != chunk.seq else []
            if head is None and chunk.first_line >= first:
                raise PartMissing(chunk.line_from)
            yield chunk, head or [], max(first - chunk.first_line, 0)
        if tail := content[content.rfind(b"\n") + 1 :]:
            begun[chunk.seq] = [(chunk.seq, tail)]
