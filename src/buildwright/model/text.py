"""Texts that come from users' code and have to be stored.

A column of text holds Unicode: no database takes halves of surrogate pairs (which Python uses for bytes of
file names that aren't UTF-8), and PostgreSQL takes no NUL.
"""

from __future__ import annotations

import re

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def storable(text: str) -> str:
    """The text, with the replacement character for each one that can't be stored."""
    return _UNSTORABLE.sub("\ufffd", text)
