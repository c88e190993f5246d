"""What ctest says: its XML (``Testing/<time>/Test.xml``, of ``ctest -T Test``), or what it prints."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterator

from buildwright.steps.reports.case import (
    FAILED,
    MESSAGE_MOST,
    PASSED,
    SKIPPED,
    Case,
    Malformed,
    case,
    lines_of,
)
from buildwright.steps.reports.xml import START, Element, events

_LINE = re.compile(r"[ \t]*\d+/(?P<of>\d{1,9}) Test\s+#\d+: (?P<rest>.*)")


def read(data: bytes) -> Iterator[Case]:
    """The cases of a report. Raises Malformed."""
    return _read_xml(data) if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") else _read_text(data)


def _read_xml(data: bytes) -> Iterator[Case]:
    root = True
    test: Element | None = None
    measured = ""  # the name of the measurement that is read
    name, said = "", dict[str, str]()
    for kind, element in events(data):
        if kind == START:
            if root and element.name != "Site":
                raise Malformed(f"no report of ctest: its outermost element is <{element.name[:40]}>")
            root = False
            if element.name == "Test" and "Status" in element.attributes:
                test, name, said = element, "", {}
            elif element.name in ("NamedMeasurement", "Measurement"):
                measured = element.get("name")
        elif test is None:
            continue
        elif element.name == "Name" and not name:
            name = element.text
        elif element.name == "Value":
            said[measured] = _output(element)
        elif element is test:
            completion = said.get("Completion Status", "")
            outcome = PASSED if test.get("Status") == "passed" else FAILED
            if test.get("Status") == "notrun" and completion.startswith(("Disabled", "SKIP_")):
                outcome = SKIPPED  # else its program is missing, or what it needs has failed
            why = said.get("Exit Code", "" if completion == "Completed" else completion)
            yield case(name, outcome, said.get("Execution Time"), f"{why}\n{said.get('', '')}")
            test = None


def _output(value: Element) -> str:
    if value.get("encoding") != "base64":
        return value.text
    try:
        raw = base64.b64decode(value.text)
        if value.get("compression"):
            raw = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(raw, MESSAGE_MOST)
    except (ValueError, zlib.error):
        return ""
    return raw.decode("utf-8", "replace")


def _read_text(data: bytes) -> Iterator[Case]:
    total, count = 0, 0
    for line in lines_of(data):
        found = _LINE.match(line)
        rest = found["rest"].rstrip() if found is not None else ""
        if found is None or not rest.endswith(" sec"):
            continue
        count += 1
        total = int(found["of"])
        rest, _, seconds = rest.removesuffix(" sec").rstrip().rpartition(" ")
        rest = rest.rstrip()
        name, bad, how = rest.rpartition("***")
        if not bad:
            name, _, how = rest.rpartition("  ")
        outcome = PASSED
        if bad:
            outcome = SKIPPED if how.startswith(("Skipped", "Not Run (Disabled)")) else FAILED
        yield case(name.rstrip(" ."), outcome, seconds, how)
    if not count and b"No tests were found" not in data:
        raise Malformed("no report of ctest: it names no test")
    if count < total:
        raise Malformed(f"it ends after {count} of {total} tests")
