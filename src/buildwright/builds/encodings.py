"""Output of commands that isn't UTF-8.

A log is UTF-8. Output of commands that write something else (``logEncoding``) is turned into it as it comes;
what can't be decoded becomes replacement characters.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator

from buildwright.model.errors import shown
from buildwright.model.logger import get_logger

log = get_logger(__name__)

HEADER = "h"  # the stream of what worker and master say, which is UTF-8 always

Encoding = str | Callable[[bytes], str]


class Transcoder:
    """Makes UTF-8 of what commands write, by stream. A function of the configuration gets pieces as they
    come; one that fails leaves them as they are, and is named once.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._decoders: dict[str, codecs.IncrementalDecoder] = {}
        self._failed = False

    def feed(self, stream: str, data: bytes) -> bytes:
        """The next piece of a stream."""
        if stream == HEADER:
            return data
        if not callable(self._encoding):
            return self._decoder(stream).decode(data).encode("utf-8", "replace")
        try:
            text = self._encoding(data)
            return text.encode("utf-8", "replace")
        except Exception as error:
            if not self._failed:
                self._failed = True
                log.error("the function logEncoding failed; its output is kept as it is", error=repr(error))
            return data

    def flush(self) -> Iterator[tuple[str, bytes]]:
        """What is left of half characters when the streams end."""
        for stream, decoder in self._decoders.items():
            if left := decoder.decode(b"", final=True):
                yield stream, left.encode("utf-8", "replace")
        self._decoders.clear()

    def _decoder(self, stream: str) -> codecs.IncrementalDecoder:
        found = self._decoders.get(stream)
        if found is None:
            assert isinstance(self._encoding, str)
            found = self._decoders[stream] = codecs.getincrementaldecoder(self._encoding)("replace")
        return found


def encoding_problem(encoding: object) -> str | None:
    """Why something is no encoding of logs, or None if it is one."""
    if callable(encoding):
        return None
    if not isinstance(encoding, str):
        return f"must be the name of an encoding or a function, not {shown(encoding)}"
    try:
        codecs.lookup(encoding)
    except (LookupError, ValueError):
        return f"there is no encoding {encoding!r}"
    return None


def transcoder(encoding: Encoding) -> Transcoder | None:
    """What is needed to make UTF-8 of an encoding; None: nothing."""
    if isinstance(encoding, str) and codecs.lookup(encoding).name in ("utf-8", "ascii"):
        return None
    return Transcoder(encoding)
