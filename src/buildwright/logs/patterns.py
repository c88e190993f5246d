"""What can be looked for in logs: plain texts and regular expressions, in time linear in the text.

The expressions are RE2's: anybody may send one, and none can keep a master busy for longer than it takes to
read the text once. It has neither look-around nor back references; a match lies within one line. While it
matches, other threads run.

RE2 has no builds for every machine, so it is an extra (``search``). Without it plain texts and our own
expressions are found by Python's ``re``, some times slower; an expression of somebody else's is refused,
because Python could take years for it.

A log is searched as it is shown: escape sequences (colours, links) are no part of its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

# Control sequences, operating system commands (titles, links), and the short ones.
ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[ -/]*[0-Z\\^-~])")


class BadPattern(Exception):
    """An expression that can't be used; the message says why."""


class Pattern:
    """Finds lines. ``text`` is an expression if ``regex``, else what it says; ``ours``: we wrote it."""

    def __init__(self, text: str, *, regex: bool = False, case: bool = True, ours: bool = False) -> None:
        if not text:
            raise BadPattern("there is nothing to look for")
        if "\n" in text:
            raise BadPattern("the text has a line break: a match lies within one line")
        source = (f"(?m){text}" if regex else text).encode("utf-8", "surrogatepass")
        try:
            import re2  # 1.5 MB, for who searches
        except ImportError:
            self._compiled = _by_re(source, regex=regex, case=case, ours=ours)
        else:
            self._compiled = _by_re2(re2, source, regex=regex, case=case)

    def lines(self, text: bytes) -> Iterator[tuple[int, int]]:
        """Of each matching line: how many lines come before it, and where it begins. All lines end with a
        newline.
        """
        number = at = 0
        while (found := self._compiled.search(text, at)) is not None:
            begin = text.rfind(b"\n", at, found.start()) + 1 or at
            number += text.count(b"\n", at, begin)
            if begin >= len(text):  # after the last newline there is no line
                return
            yield number, begin
            at = text.index(b"\n", begin) + 1
            number += 1
            if at >= len(text):
                return

    def in_line(self, line: bytes) -> bool:
        return self._compiled.search(line) is not None


def _by_re(source: bytes, *, regex: bool, case: bool, ours: bool) -> Any:
    if regex and not ours:
        raise BadPattern("this master finds plain text only: for expressions install buildwright[search]")
    # A match lies within one line, which RE2 sees to by itself.
    pattern = source.replace(rb"\s", rb"[^\S\n]") if regex else re.escape(source)
    return re.compile(pattern, re.NOFLAG if case else re.IGNORECASE)


def _by_re2(re2: Any, source: bytes, *, regex: bool, case: bool) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.never_nl = True
    options.case_sensitive = case
    options.literal = not regex
    try:
        return re2.compile(source, options)
    except re2.error as error:
        why = error.args[0] if error.args else error
        shown = why.decode("utf-8", "replace") if isinstance(why, bytes) else str(why)
        raise BadPattern(f"this is no regular expression (of RE2's kind): {shown}") from None


def visible(text: bytes) -> bytes:
    """The text without escape sequences; lines stay lines."""
    return ESCAPES.sub(b"", text) if b"\x1b" in text else text
