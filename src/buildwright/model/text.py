"""Texts that come from outside and have to be stored: from users' code, repositories, workers, requests.

A column of text holds Unicode: no database takes halves of surrogate pairs (which Python uses for bytes of
file names that aren't UTF-8), and PostgreSQL takes no NUL. Statements bind every text through
:func:`storable` (:mod:`buildwright.store.unit`), so that both databases hold the same; who compares a text
with what the store gives back, or takes its hash, does it by itself before. JSON can carry a NUL, escaped.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_HALVES = re.compile("[\ud800-\udfff]")


def storable(text: str) -> str:
    """The text, with the replacement character for each one that can't be stored."""
    if text.isascii() and "\0" not in text:
        return text
    return _UNSTORABLE.sub("\ufffd", text)


def is_encoding(name: str) -> bool:
    """Whether there is a text encoding of that name."""
    try:
        "".encode(name)
    except (LookupError, ValueError, TypeError):
        return False
    return True


def encode_json(value: Any) -> str:
    """A value as JSON that can be stored and read back, with the replacement character where it must be."""
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        return msgspec.json.encode(_whole(value)).decode()


def _whole(value: Any) -> Any:
    """The value without halves of surrogate pairs."""
    if isinstance(value, str):
        return _HALVES.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_whole(item) for item in value]
    return value
