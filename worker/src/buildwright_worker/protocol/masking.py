"""Replacing secret values by their names in a byte stream, also where a read splits a value.

For each secret these forms are looked for: the value, the value without newlines at its ends, with the line
ends of a terminal, with its lines joined and its blanks made one (as `tr -d` and an unquoted expansion do),
each line of 8 characters or more, all of these as shells, JSON, Python, XML, CSV and URLs quote them (inside
of the quotes). A form shorter than 3 characters is left alone. Where forms overlap, the one that
begins first is replaced; of those that begin together, the longest.

A stream is cut anywhere. After each piece, the longest suffix that could still become one of the forms is
held back until further bytes decide, or `flush` says that none come. So the sum of what comes out does not
depend on the cuts, and no form is ever in it, neither whole nor split. The price is that a stream whose
last bytes look like the beginning of a secret shows these bytes later. Without secrets, pieces pass through
as they are, uncopied.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, quote_plus

MIN_CHARACTERS = 3
MIN_LINE_CHARACTERS = 8

_DOUBLE = re.compile(r'[\\"$`]')
_SPECIAL = re.compile(r"[^\w@%+=:,./-]", re.ASCII)


def _forms(value: str) -> Iterable[str]:
    yield value
    stripped = value.strip("\r\n")
    texts = [stripped, " ".join(stripped.split())]
    lines = stripped.splitlines()
    if len(lines) > 1:
        texts += [between.join(lines) for between in ("\n", "\r\n", " ", "")]
        for line in lines:
            forms = (line, line.strip(), " ".join(line.split()))
            texts += [text for text in forms if len(text) >= MIN_LINE_CHARACTERS]
    for text in texts:
        yield text
        yield from _quoted(text)


def _quoted(text: str) -> Iterable[str]:
    """A text as it stands between quotes, or escaped without them."""
    yield text.replace("'", "'\"'\"'")  # a shell's '...', as Python writes it
    yield text.replace("'", "'\\''")  # the same, as shells write it
    yield _DOUBLE.sub(r"\\\g<0>", text)  # a shell's "..."
    yield _SPECIAL.sub(r"\\\g<0>", text)  # a shell's word without quotes
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    yield escaped  # Python's repr with the other quotes
    yield escaped.replace("'", "\\'")  # bash's $'...'; Python's '...'
    yield escaped.replace('"', '\\"')  # JSON that keeps other alphabets
    yield json.dumps(text)[1:-1]
    yield json.dumps(text)[1:-1].replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    yield text.replace('"', '""')  # CSV
    yield text.replace("'", "''")  # SQL, YAML
    markup = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    yield markup  # XML's and HTML's text; then within the quotes of an attribute
    for quotation in ('"', "&quot;", "&#34;"):
        for apostrophe in ("'", "&#x27;", "&#39;", "&apos;"):
            attribute = markup.replace('"', quotation).replace("'", apostrophe)
            yield attribute
            yield attribute.replace("\n", "&#10;").replace("\r", "&#13;").replace("\t", "&#9;")
    with contextlib.suppress(UnicodeEncodeError):  # bytes that are no UTF-8 stand in no URL
        yield from (quote(text), quote(text, safe=""), quote_plus(text))
        if not text.isascii():
            yield ascii(text.encode())[2:-1]  # Python's b'...'
            yield ascii(text)[1:-1]
            yield "".join(
                chr(byte) if byte < 128 else f"\\{byte:03o}" for byte in text.encode()
            )  # bash's $'...'


class Masker:
    """Masks the streams of one command. Each stream, named by the caller, holds back its own bytes."""

    def __init__(self, secrets: Iterable[tuple[str, str]]) -> None:
        forms: dict[bytes, bytes] = {}
        for name, value in secrets:
            for form in _forms(value):
                if len(form) >= MIN_CHARACTERS:
                    shown = f"<{name}>".encode("utf-8", "surrogateescape")
                    forms.setdefault(form.encode("utf-8", "surrogateescape"), shown)
        self._forms = sorted(forms.items(), key=lambda form: -len(form[0]))
        self._held: dict[str, bytes] = {}

    @property
    def active(self) -> bool:
        """Whether there is anything to mask."""
        return bool(self._forms)

    def feed(self, stream: str, data: bytes) -> bytes:
        """What of the stream can be shown now that `data` came."""
        if not self._forms:
            return data
        held = self._held.get(stream)
        shown, self._held[stream] = self._mask(held + data if held else data, final=False)
        return shown

    def flush(self, stream: str) -> bytes:
        """The rest of a stream that has ended."""
        held = self._held.pop(stream, b"")
        return self._mask(held, final=True)[0] if held else b""

    def mask(self, data: bytes) -> bytes:
        """A whole text, masked."""
        return self._mask(data, final=True)[0] if self._forms else data

    def mask_text(self, text: str) -> str:
        if not self._forms:
            return text
        return self.mask(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    def mask_value(self, value: Any) -> Any:
        """A plain value with all text and bytes in it masked."""
        if not self._forms:
            return value
        if isinstance(value, str):
            return self.mask_text(value)
        if isinstance(value, bytes):
            return self.mask(value)
        if isinstance(value, (list, tuple)):
            return [self.mask_value(item) for item in value]
        if isinstance(value, dict):
            return {self.mask_value(key): self.mask_value(item) for key, item in value.items()}
        return value

    def _mask(self, data: bytes, *, final: bool) -> tuple[bytes, bytes]:
        """What of `data` can be shown, and what is held back."""
        undecided = [] if final else self._undecided(data)
        parts: list[bytes] = []
        done = 0
        # Where each form occurs next; a form that occurs no more leaves the list, so a long stream is
        # searched once.
        nexts = [[data.find(form), -len(form), index] for index, (form, _) in enumerate(self._forms)]
        nexts = [entry for entry in nexts if entry[0] >= 0]
        while True:
            hold = next((at for at in undecided if at >= done), len(data))
            found = min(nexts, default=None)
            if found is None or found[0] >= hold:
                parts.append(data[done:hold])
                return b"".join(parts), data[hold:]
            form, shown = self._forms[found[2]]
            parts += (data[done : found[0]], shown)
            done = found[0] + len(form)
            for entry in nexts:
                if entry[0] < done:
                    entry[0] = data.find(self._forms[entry[2]][0], done)
            nexts = [entry for entry in nexts if entry[0] >= 0]

    def _undecided(self, data: bytes) -> list[int]:
        """The offsets, ascending, from which the rest of `data` is a proper prefix of some form."""
        offsets = set()
        for form, _ in self._forms:
            at = data.find(form[:1], max(0, len(data) - len(form) + 1))
            while at >= 0:
                # The few next bytes say no to nearly all.
                if form.startswith(data[at : at + 16]) and form.startswith(data[at:]):
                    offsets.add(at)
                at = data.find(form[:1], at + 1)
        return sorted(offsets)
