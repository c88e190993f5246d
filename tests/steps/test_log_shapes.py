"""Logs that are limited in length, and output in other encodings than UTF-8."""

from collections.abc import Iterable

import pytest

from buildwright.builds.loglimit import Limit
from buildwright.logs.append import HEADER, STDERR, STDOUT, Piece
from buildwright.model.results import SUCCESS
from tests.steps.conftest import Start


def _through(limit: Limit, *pieces: tuple[str, bytes]) -> list[tuple[str, bytes]]:
    kept: list[Piece] = []
    for stream, content in pieces:
        kept += limit.take(Piece(stream, 0, "c", content))
    return [(piece.stream, piece.content) for piece in kept]


def _end(limit: Limit) -> list[tuple[str, bytes]]:
    return [(piece.stream, piece.content) for piece in limit.end()]


SAID = (HEADER, b"--- the log has reached logMaxSize (10 bytes): the rest is left out\n")
SAID_TAIL = (
    HEADER,
    b"--- the log has reached logMaxSize (10 bytes): the rest is left out, but for its last 6 bytes\n",
)


def test_what_fits_is_kept() -> None:
    limit = Limit(10, 0, 0, set())
    assert _through(limit, (STDOUT, b"12345"), (STDOUT, b"67890")) == [(STDOUT, b"12345"), (STDOUT, b"67890")]
    assert not limit.cut
    assert _end(limit) == []


def test_the_rest_is_left_out_and_that_is_said_once() -> None:
    limit = Limit(10, 0, 0, set())
    kept = _through(limit, (STDOUT, b"1234567"), (STDERR, b"8901234"), (STDOUT, b"5"), (HEADER, b"end\n"))
    assert kept == [(STDOUT, b"1234567"), (STDERR, b"890"), SAID]
    assert limit.cut
    assert _end(limit) == []


def test_a_tail_of_what_was_left_out() -> None:
    limit = Limit(10, 6, 0, set())
    kept = _through(limit, (STDOUT, b"0123456789"), (STDOUT, b"abcd\nefg"), (STDERR, b"hi\n"))
    assert kept == [(STDOUT, b"0123456789"), SAID_TAIL]
    assert _end(limit) == [
        (HEADER, b"--- the last 6 bytes:\n"),
        (STDOUT, b"\nefg"),  # it is no end of the line that was cut
        (STDERR, b"hi\n"),
    ]


def test_a_tail_that_holds_everything_leaves_nothing_out() -> None:
    limit = Limit(10, 6, 0, set())
    assert _through(limit, (STDOUT, b"0123456789abc")) == [(STDOUT, b"0123456789"), SAID_TAIL]
    assert _end(limit) == [(STDOUT, b"abc")]


@pytest.mark.parametrize("length", [10, 10 + len(SAID[1])])
def test_who_takes_over_goes_on_with_the_same_log(length: int) -> None:
    limit = Limit(10, 0, length, set())
    kept = _through(limit, (STDOUT, b"more"), (STDOUT, b"more"))
    assert kept == ([SAID] if length == 10 else [])


async def test_a_long_log_is_cut(start: Start) -> None:
    it = await start(
        """
c["logMaxSize"], c["logMaxTailSize"] = 5000, 500
class Counts(util.LogLineObserver):
    lines = 0
    def outLineReceived(self, line):
        self.lines += 1
class Watched(steps.ShellCommand):
    async def run(self):
        self.counts = Counts()
        self.addLogObserver("stdio", self.counts)
        result = await super().run()
        self.setProperty("lines", self.counts.lines)
        return result
builder("b", Watched(command="seq 1 20000", logEnviron=False), steps.ShellCommand(command="echo short"))
"""
    )
    built = await it.build()
    assert built.results == SUCCESS
    log, short = (step.logs["stdio"] for step in built.steps)
    out, numbers = log.out, [str(number).encode() for number in range(1, 20001)]
    lines = out.splitlines()
    whole = 700  # lines that are surely before the cut
    assert lines[:whole] == numbers[:whole]
    assert lines[-50:] == numbers[-50:]
    assert len(out) < 5600
    assert b"--- the log has reached logMaxSize (5000 bytes): the rest is left out" in log.header
    assert b"--- the last 500 bytes:" in log.header
    assert built.properties["lines"] == 20000  # who watches sees everything
    assert short.out == b"short\n"


def _octal(text: bytes) -> str:
    return "".join(f"\\{byte:03o}" for byte in text)


async def test_other_encodings(start: Start) -> None:
    words = {name: _octal("Straße €\n".encode(name, "replace")) for name in ("latin-1", "utf-16", "cp1252")}
    it = await start(
        f"""
c["logEncoding"] = "cp1252"
def upper(data):
    return data.decode("ascii").upper()
def broken(data):
    raise ValueError(data)
builder("b",
    steps.ShellCommand(command=["printf", {words["cp1252"]!r}]),
    steps.ShellCommand(command=["printf", {words["utf-16"]!r}], logEncoding="utf-16"),
    steps.SetPropertyFromCommand(
        command=["printf", {words["latin-1"]!r}], property="p", logEncoding="latin-1"
    ),
    steps.ShellCommand(command="echo loud", logEncoding=upper),
    steps.ShellCommand(command="echo as it is", logEncoding=broken),
    steps.ShellCommand(command=["printf", "half \\\\303"], logEncoding="utf-8-sig"),
)
"""
    )
    built = await it.build()
    assert built.results == SUCCESS
    assert _texts(step.logs["stdio"].out for step in built.steps) == [
        "Straße €\n",
        "Straße €\n",
        "Straße ?\n",
        "LOUD\n",
        "as it is\n",
        "half \N{REPLACEMENT CHARACTER}",
    ]
    assert built.properties["p"] == "Straße ?"


def _texts(outputs: Iterable[bytes]) -> list[str]:
    return [output.decode() for output in outputs]
