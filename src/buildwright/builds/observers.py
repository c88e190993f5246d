"""Watching a log as it grows.

An observer is fed what its log gets, in order, and the stored lines again when its step is run again after
a takeover: what it has learned then is what it had learned before.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Generator
from typing import Any

STDOUT, STDERR, HEADER = "o", "e", "h"

LINE_MOST = 1024 * 1024  # bytes of a line that are kept until its end comes; a longer one is given in pieces


class LogObserver:
    """Base of all observers; ``step`` and ``log`` are set when it is attached.

    Example::

        class Errors(util.LogObserver):
            characters = 0

            def errReceived(self, text):
                self.characters += len(text)

            def finishReceived(self):
                self.step.setProperty("complaints", self.characters)


        class Compile(steps.ShellCommand):
            def __init__(self, **kwargs):
                super().__init__(**kwargs)
                self.addLogObserver("stdio", Errors())


        factory.addStep(Compile(command=["make", "all"]))
    """

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


class LogBlockObserver(LogObserver):
    """Gets whole lines, as many at once as have come: for looking through much output. Override
    ``blockReceived``.
    """

    def __init__(self) -> None:
        self._pending: dict[str, bytearray] = {}  # of each stream's last line, what has come of it

    def feed(self, stream: str, data: bytes) -> None:
        end = data.rfind(b"\n") + 1
        pending = self._pending.get(stream)
        if not end:
            if pending is None:
                pending = self._pending[stream] = bytearray()
            pending += data
            if len(pending) > LINE_MOST:
                self._pending[stream] = bytearray()
                self.blockReceived(stream, bytes(pending))
            return
        block = data[:end]
        if pending:
            block = bytes(pending) + block
        self._pending[stream] = bytearray(data[end:])
        self.blockReceived(stream, block)

    def flush(self) -> None:
        """Take a last line that has no newline: a command is over."""
        pending, self._pending = self._pending, {}
        for stream, rest in pending.items():
            if rest:
                self.blockReceived(stream, bytes(rest))

    def finished(self) -> None:
        self.flush()
        self.finishReceived()

    def blockReceived(self, stream: str, block: bytes) -> None:
        """Take lines with their newlines; the last one may have none, if nothing more of it comes or it is
        very long.
        """


class LogLineObserver(LogBlockObserver):
    """Gets whole lines, without their newlines. Override ``outLineReceived``, ``errLineReceived``.

    Example::

        class Deprecations(util.LogLineObserver):
            def outLineReceived(self, line):
                if "deprecated" in line:
                    self.step.setProperty("deprecated", line)


        class Check(steps.ShellCommand):
            def __init__(self, **kwargs):
                super().__init__(**kwargs)
                self.addLogObserver("stdio", Deprecations())


        factory.addStep(Check(command=["make", "check"]))
    """

    stdoutDelimiter = "\n"
    stderrDelimiter = "\n"
    headerDelimiter = "\n"

    def blockReceived(self, stream: str, block: bytes) -> None:
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        for line in lines:
            self._line(stream, line)

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


class LineConsumerLogObserver(LogLineObserver):
    """Sends each line to a generator, as ``stream, line = yield`` gets it; the stream is o, e or h.

    ``consumerFunction`` is called without arguments and gives the generator. One that returns wants no more.

    Example::

        class Count(steps.ShellCommand):
            def __init__(self, **kwargs):
                super().__init__(**kwargs)
                self.addLogObserver("stdio", util.LineConsumerLogObserver(self.lines))

            def lines(self):
                skipped = 0
                while True:
                    _, line = yield
                    skipped += line.startswith("SKIP")
                    self.setProperty("skipped", skipped)


        factory.addStep(Count(command=["make", "check"]))
    """

    def __init__(self, consumerFunction: Callable[[], Generator[None, tuple[str, str], None]]) -> None:
        super().__init__()
        self._consumer: Generator[None, tuple[str, str], None] | None = consumerFunction()
        self._advance(None)

    def _line(self, stream: str, line: bytes) -> None:
        self._advance((stream, line.decode("utf-8", "replace")))

    def _advance(self, sent: Any) -> None:
        if self._consumer is not None:
            try:
                self._consumer.send(sent)
            except StopIteration:
                self._consumer = None


class BufferLogObserver(LogObserver):
    """Keeps the output as text.

    Example::

        class Describe(steps.ShellMixin, steps.BuildStep):
            def __init__(self, **kwargs):
                super().__init__(**self.setupShellMixin(kwargs))
                self.said = util.BufferLogObserver()
                self.addLogObserver("stdio", self.said)

            async def run(self):
                command = await self.makeRemoteShellCommand()
                await self.runCommand(command)
                self.setProperty("description", self.said.getStdout().strip())
                return command.results()


        factory.addStep(Describe(command=["git", "describe"]))
    """

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
