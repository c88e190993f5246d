"""What can be said of badges: Buildbot's options, and what their values may be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

STYLES: Final = ("flat", "flat_square", "plastic")
COLORS: Final[Mapping[str, str]] = {
    "success": "#4c1",
    "warnings": "#dfb317",
    "failure": "#e05d44",
    "skipped": "#9f9f9f",
    "exception": "#a0459c",
    "retry": "#007ec6",
    "cancelled": "#9f9f9f",
    "running": "#007ec6",
    "unknown": "#9f9f9f",
}
OPTIONS: Final[Mapping[str, Any]] = {
    "border_radius": 3,
    "color_scheme": COLORS,
    "font_face": "DejaVu Sans,Verdana,Geneva,sans-serif",
    "font_size": 11,
    "left_color": "#555",
    "left_pad": 6,
    "left_text": "Build Status",
    "right_pad": 6,
    "style": "plastic",
}
# Of Buildbot's templates, which aren't here.
WITHOUT_EFFECT: Final = frozenset({"template_name", "svg_height"})

LONGEST_TEXT: Final = 200
_COLOR = re.compile(r"#[0-9a-fA-F]{3}|#[0-9a-fA-F]{6}|[a-zA-Z]{1,30}")
_FONT = re.compile(r"[\w ,'-]{1,200}")


def problem(name: str, value: Any) -> str:
    """What is wrong with an option's value; empty if nothing is."""
    if name == "color_scheme":
        if not isinstance(value, Mapping):
            return "must be a dict of results to colours"
        strangers = [state for state in value if state not in COLORS]
        if strangers:
            return f"has no state {strangers[0]!r}; it has {', '.join(COLORS)}"
        return next((why for color in value.values() if (why := problem("left_color", color))), "")
    if name == "left_color":
        good = isinstance(value, str) and _COLOR.fullmatch(value) is not None
        return "" if good else "must be a colour, such as '#4c1' or 'green'"
    if name == "style":
        return "" if value in STYLES else f"must be one of {', '.join(STYLES)}"
    if name == "font_face":
        return "" if isinstance(value, str) and _FONT.fullmatch(value) else "must be names of fonts"
    if name == "left_text":
        good = isinstance(value, str) and len(value) <= LONGEST_TEXT
        return "" if good else f"must be a text of at most {LONGEST_TEXT} characters"
    high = 40 if name in ("font_size", "border_radius") else 100
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= high
    return "" if good else f"must be a number from 0 to {high}"
