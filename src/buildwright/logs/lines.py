"""From chunks back to lines. Pure.

A line that began in an earlier chunk is put together from its parts. Parts are found by the chunk in which
their line begins (every chunk carries that number), not by their place in a sequence: so the chunks given
may have holes where parts of other lines would be, and a range of lines needs only the chunks that hold its
bytes.
"""

from __future__ import annotations

from collections.abc import Iterable

from buildwright.store.units.logs import Chunk

Line = tuple[str, bytes]  # the stream, and the bytes without the newline


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
