"""Checks of what was received: each returns the value in its final type, or raises ProtocolError.

The errors name types and never values, which may be secrets.
"""

from __future__ import annotations

import math
import re
from typing import Any

MAX_DEPTH = 32


class ProtocolError(Exception):
    """The peer sent what this protocol does not allow: close the connection."""


_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")


def valid_id(value: object) -> bool:
    """Whether this may be a command's id: it names files of the worker, so it is short and plain."""
    return isinstance(value, str) and _ID.match(value) is not None


def wrong(value: object, wanted: str) -> ProtocolError:
    return ProtocolError(
        f"expected {wanted}, got {type(value).__name__}"
    )  # never the value: it may be a secret


def integer(value: Any) -> int:
    if type(value) is not int:
        raise wrong(value, "an integer")
    return value


def count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise wrong(value, "a non-negative integer")
    return value


def seconds(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
        raise wrong(value, "a number of seconds")
    return float(value)


def text(value: Any) -> str:
    if type(value) is not str:
        raise wrong(value, "text")
    return value


def optional_text(value: Any) -> str | None:
    return None if value is None else text(value)


def byte_string(value: Any) -> bytes:
    if type(value) is not bytes:
        raise wrong(value, "bytes")
    return value


def flag(value: Any) -> bool:
    if type(value) is not bool:
        raise wrong(value, "true or false")
    return value


def command_id(value: Any) -> str:
    if not valid_id(value):
        raise wrong(value, "a command id")
    return str(value)


def plain(value: Any, depth: int = 0) -> Any:
    """A value of none, flags, numbers, text, bytes, lists, and maps with text keys."""
    if depth > MAX_DEPTH:
        raise ProtocolError(f"a value is nested more than {MAX_DEPTH} deep")
    if type(value) is list:
        for item in value:
            plain(item, depth + 1)
    elif type(value) is dict:
        for key, item in value.items():
            text(key)
            plain(item, depth + 1)
    elif value is not None and type(value) not in (bool, int, float, str, bytes):
        raise wrong(value, "a plain value")
    return value


def plain_map(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise wrong(value, "a map")
    return plain(value)  # type: ignore[no-any-return]  # just checked
