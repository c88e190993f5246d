"""What a regular expression's matches have in common, so that most output need not be matched at all."""

from __future__ import annotations

import re

_CLASS_ESCAPES = frozenset("dDsSwWbBAZ")


def plain_text_in(pattern: re.Pattern[str]) -> bytes | None:
    """The longest text, in lower case, that is in every match of a pattern; None if none is plain to see.

    To be looked for in output made lower case. (With IGNORECASE a few letters beyond ASCII match ASCII ones,
    as the Kelvin sign does: such matches are missed.)
    """
    source = pattern.pattern
    if "|" in source or "(?#" in source or pattern.flags & re.VERBOSE:
        return None
    texts: list[str] = []
    text = ""
    place = 0
    while place < len(source):
        char = source[place]
        literal = ""
        if char == "\\":
            escaped = source[place + 1]
            if escaped.isalnum() and escaped not in _CLASS_ESCAPES:
                return None
            literal = "" if escaped.isalnum() else escaped
            place += 2
        elif char == "[":
            place = _after_class(source, place)
        elif char == "(":
            place = _after_group(source, place)
        else:
            literal = "" if char in ".^$" else char
            place += 1
        if not literal.isascii():
            literal = ""
        quantifier = source[place : place + 1]
        if quantifier and quantifier in "*?+{":
            if literal and quantifier == "+":
                text += literal
            texts.append(text)
            text = ""
            place = source.find("}", place) + 1 if quantifier == "{" else place + 1
            if not place:
                return None
            if source[place : place + 1] in ("?", "+"):
                place += 1
        elif literal:
            text += literal
        else:
            texts.append(text)
            text = ""
    longest = max([*texts, text], key=len)
    return longest.lower().encode() or None


def _after_class(source: str, place: int) -> int:
    """The place after the character class that begins here."""
    place += 1
    if source[place] == "^":
        place += 1
    if source[place] == "]":
        place += 1
    while source[place] != "]":
        place += 2 if source[place] == "\\" else 1
    return place + 1


def _after_group(source: str, place: int) -> int:
    """The place after the group that begins here."""
    depth = 0
    while True:
        char = source[place]
        if char == "\\":
            place += 2
        elif char == "[":
            place = _after_class(source, place)
        else:
            depth += (char == "(") - (char == ")")
            place += 1
            if depth == 0:
                return place
