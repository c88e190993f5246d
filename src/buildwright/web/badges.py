"""Badges: a small picture of a builder's state, for READMEs: ``/badges/BUILDER.svg``.

It shows how the latest build that has ended went; a running one changes nothing until it ends. Query and
configuration (``c['www']['plugins']['badges']``) have Buildbot's names of options: the query's go before the
configuration's. ``/plugins/badges/`` is Buildbot's place for the same.

Whatever comes in becomes text: colours and styles are checked, texts are escaped, and a content policy stands
beside the picture for those who open it by itself."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from aiohttp import web

from buildwright.model.badges import COLORS, OPTIONS, problem
from buildwright.model.results import Results
from buildwright.web import query
from buildwright.web.asked import things_at
from buildwright.web.data import Data
from buildwright.web.errors import BadQuery, NotFound
from buildwright.web.services import WebServices
from buildwright.web.xmltext import escaped, tagged

PLACES: Final = ("/badges", "/plugins/badges")

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_HEIGHT = 20


class Badge(NamedTuple):
    """What a badge says, and how it looks."""

    right_text: str
    right_color: str
    options: Mapping[str, Any]


def text_width(text: str, size: int) -> int:
    """About how wide a text is in pixels: whoever draws it stretches it to that."""
    return round(sum(map(_width, text)) * size)


def _width(char: str) -> float:
    if unicodedata.combining(char):
        return 0.0
    if unicodedata.east_asian_width(char) in ("W", "F"):
        return 1.0
    if char in "ijl.,:;|!'`()[]fIrt ":
        return 0.39
    if char in "mwMW@%":
        return 0.92
    return 0.7 if char.isupper() else 0.61


def draw(badge: Badge) -> str:
    """The picture."""
    options = badge.options
    style, size = options["style"], options["font_size"]
    texts = [options["left_text"], badge.right_text]
    pads = [options["left_pad"], options["right_pad"]]
    lengths = [text_width(text, size) for text in texts]
    # Without a text on the left there is no left part.
    left = lengths[0] + 2 * pads[0] if texts[0] else 0
    right = lengths[1] + 2 * pads[1]
    radius = 0 if style == "flat_square" else options["border_radius"]
    gloss = {
        "flat": ("#bbb", ".1", "#000", ".1"),
        "flat_square": ("#000", "0", "#000", "0"),
        "plastic": ("#fff", ".5", "#000", ".3"),
    }[style]
    label = f"{texts[0]}: {texts[1]}" if texts[0] else texts[1]
    whole = f'width="{left + right}" height="{_HEIGHT}"'
    font = f'font-family="{escaped(options["font_face"])}" font-size="{size}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {whole} role="img" aria-label="{escaped(label)}">',
        f"<title>{escaped(label)}</title>",
        '<linearGradient id="g" x2="0" y2="100%">',
        f'<stop offset="0" stop-color="{gloss[0]}" stop-opacity="{gloss[1]}"/>',
        f'<stop offset="1" stop-color="{gloss[2]}" stop-opacity="{gloss[3]}"/>',
        "</linearGradient>",
        f'<clipPath id="c"><rect {whole} rx="{radius}"/></clipPath>',
        '<g clip-path="url(#c)">',
        f'<rect width="{left}" height="{_HEIGHT}" fill="{escaped(options["left_color"])}"/>',
        f'<rect x="{left}" width="{right}" height="{_HEIGHT}" fill="{escaped(badge.right_color)}"/>',
        f'<rect {whole} fill="url(#g)"/>',
        "</g>",
        f'<g fill="#fff" text-anchor="middle" {font}>',
    ]
    for text, length, middle in zip(texts, lengths, (left / 2, left + right / 2), strict=True):
        if text:
            place = f'x="{middle:g}" textLength="{length}" lengthAdjust="spacingAndGlyphs"'
            shade = 'fill="#010101" fill-opacity=".3" aria-hidden="true"'
            parts.append(f'<text {place} y="15" {shade}>{escaped(text)}</text>')
            parts.append(f'<text {place} y="14">{escaped(text)}</text>')
    return "".join([*parts, "</g></svg>\n"])


class Badges:
    """The handlers."""

    def __init__(self, services: WebServices) -> None:
        self._services = services
        self._data = Data(services)

    def add_routes(self, app: web.Application) -> None:
        for place in PLACES:
            app.router.add_get(place + "/{name:.+}", self.serve)

    async def serve(self, request: web.Request) -> web.Response:
        raw = request.rel_url.raw_path.partition("/badges/")[2]
        name, dot, kind = unquote(raw).rpartition(".")
        if not dot or kind != "svg":
            raise NotFound("badges are at /badges/BUILDER.svg; there are no other pictures")
        options = self._options(query.pairs(request.rel_url.raw_query_string))
        text = await self._state(name)
        badge = Badge(text, options["color_scheme"].get(text, COLORS["unknown"]), options)
        return tagged(request, draw(badge).encode(), "image/svg+xml", {"Content-Security-Policy": _POLICY})

    async def _state(self, name: str) -> str:
        fields = [("field", "latest_build"), ("field", "running_builds")]
        [builder] = await things_at(self._data, ("builders", name), fields)
        latest = builder["latest_build"]
        if latest is not None:
            results: int = latest["results"]
            return Results[results]
        return "running" if builder["running_builds"] else "unknown"

    def _options(self, asked: list[tuple[str, str]]) -> Mapping[str, Any]:
        configured = self._services.snapshot().www.badges
        options = {**OPTIONS, **configured}
        options["color_scheme"] = {**COLORS, **configured.get("color_scheme", {})}
        for name, text in asked:
            if name not in OPTIONS or name == "color_scheme":
                known = ", ".join(each for each in OPTIONS if each != "color_scheme")
                raise BadQuery(f"a badge has no option {name[:60]!r}; it has {known}")
            number = isinstance(OPTIONS[name], int) and text.isascii() and text.isdigit() and len(text) < 5
            value = int(text) if number else text.replace("-", "_") if name == "style" else text
            why = problem(name, value)
            if why:
                raise BadQuery(f"{name} {why}")
            options[name] = value
        return options
