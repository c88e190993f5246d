"""Logs that grow too long.

``logMaxSize`` ends a log: what follows is left out, and a line says so. Of that the last ``logMaxTailSize``
bytes are kept in memory and added when the log ends. Whether a log is full is seen from its stored length
alone, so that whoever takes the build over goes on with the same log; the tail then is that of what came
since.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from buildwright.logs.append import HEADER, Piece


class Limit:
    """How much of a log is kept: ``most`` bytes, and ``tail`` bytes of what follows."""

    def __init__(self, most: int, tail: int, length: int, half_lines: set[str], says: str = HEADER) -> None:
        self._says = says  # the stream of what is said about the log
        self._most = most
        self._tail_most = tail
        self._length = length
        self._half_lines = half_lines  # streams whose last kept byte is no newline
        self._tail: deque[Piece] = deque()
        self._tail_size = 0
        self._left_out = False  # bytes that came after the beginning of the tail

    @property
    def cut(self) -> bool:
        """Whether something was left out: the line that says so makes the log longer than its limit."""
        return self._length > self._most

    def take(self, piece: Piece) -> Iterator[Piece]:
        """What is kept of a piece now."""
        if piece.stream == HEADER and not self.cut:
            yield self._kept(piece)
            return
        room = self._most - self._length
        data = piece.content
        if room >= len(data):
            yield self._kept(piece)
            return
        if room > 0:
            yield self._kept(piece._replace(content=data[:room]))
            data = data[room:]
        if not self.cut:
            more = f", but for its last {self._tail_most} bytes" if self._tail_most else ""
            said = f"--- the log has reached logMaxSize ({self._most} bytes): the rest is left out{more}\n"
            yield self._kept(Piece(self._says, piece.time_us, "", said.encode()))
        self._keep_for_later(piece._replace(content=data))

    def end(self) -> Iterator[Piece]:
        """The tail, when the log ends."""
        first: set[str] = set()
        for piece in self._tail:
            content = piece.content
            if not first:
                said = f"--- the last {self._tail_size} bytes:\n" if self._left_out else ""
                if said:
                    yield Piece(self._says, piece.time_us, "", said.encode())
            if piece.stream not in first:
                first.add(piece.stream)
                if self._left_out and piece.stream in self._half_lines:
                    content = b"\n" + content
            yield piece._replace(content=content)
        self._tail.clear()

    def _kept(self, piece: Piece) -> Piece:
        self._length += len(piece.content)
        if piece.content:
            ends = piece.content.endswith(b"\n")
            (self._half_lines.discard if ends else self._half_lines.add)(piece.stream)
        return piece

    def _keep_for_later(self, piece: Piece) -> None:
        self._tail.append(piece)
        self._tail_size += len(piece.content)
        while self._tail_size > self._tail_most:
            self._left_out = True
            first = self._tail.popleft()
            beyond = self._tail_size - self._tail_most
            self._tail_size -= min(len(first.content), beyond)
            if beyond < len(first.content):
                self._tail.appendleft(first._replace(content=first.content[beyond:]))
