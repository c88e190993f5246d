"""Watching a log as it grows.

An observer is fed what its log gets, in order, and the stored lines again when its step is run again after
a takeover: what it has learned then is what it had learned before.
"""

from __future__ import annotations

import codecs
from typing import Any

STDOUT, STDERR, HEADER = "o", "e", "h"


class LogObserver:
    """Base of all observers; ``step`` and ``log`` are set when it is attached."""

    step: Any = None
    log: Any = None

    def setStep(self, step: Any) -> None:
        self.step = step

    def setLog(self, log: Any) -> None:
        self.log = log

    def feed(self, stream: str, data: bytes) -> None:
        """Take bytes of a stream as they come."""
        text = data.decode("utf-8", "replace")
        if stream == STDOUT:
            self.outReceived(text)
        elif stream == STDERR:
            self.errReceived(text)
        else:
            self.headerReceived(text)

    def finished(self) -> None:
        """The log gets nothing more."""
        self.finishReceived()

    def outReceived(self, data: str) -> None:
        pass

    def errReceived(self, data: str) -> None:
        pass

    def headerReceived(self, data: str) -> None:
        pass

    def finishReceived(self) -> None:
        pass


class LogLineObserver(LogObserver):
    """Gets whole lines, without their newlines. Override ``outLineReceived``, ``errLineReceived``."""

    stdoutDelimiter = "\n"
    stderrDelimiter = "\n"
    headerDelimiter = "\n"

    def __init__(self) -> None:
        self._pending: dict[str, bytes] = {}

    def feed(self, stream: str, data: bytes) -> None:
        pending = self._pending.get(stream)
        if pending:
            data = pending + data
        *lines, rest = data.split(b"\n")
        self._pending[stream] = rest
        for line in lines:
            self._line(stream, line)

    def finished(self) -> None:
        for stream, rest in self._pending.items():
            if rest:
                self._line(stream, rest)
        self._pending = {}
        self.finishReceived()

    def _line(self, stream: str, line: bytes) -> None:
        text = line.decode("utf-8", "replace")
        if stream == STDOUT:
            self.outLineReceived(text)
        elif stream == STDERR:
            self.errLineReceived(text)
        else:
            self.headerLineReceived(text)

    def outLineReceived(self, line: str) -> None:
        pass

    def errLineReceived(self, line: str) -> None:
        pass

    def headerLineReceived(self, line: str) -> None:
        pass


class BufferLogObserver(LogObserver):
    """Keeps the output as text."""

    def __init__(self, wantStdout: bool = True, wantStderr: bool = False) -> None:
        self._wanted = {STDOUT: wantStdout, STDERR: wantStderr}
        self._texts: dict[str, list[str]] = {STDOUT: [], STDERR: []}
        self._decoders = {stream: codecs.getincrementaldecoder("utf-8")("replace") for stream in self._texts}

    def feed(self, stream: str, data: bytes) -> None:
        if self._wanted.get(stream):
            self._texts[stream].append(self._decoders[stream].decode(data))

    def getStdout(self) -> str:
        return "".join(self._texts[STDOUT])

    def getStderr(self) -> str:
        return "".join(self._texts[STDERR])
