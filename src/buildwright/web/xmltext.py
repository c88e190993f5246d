"""Texts for XML: what may stand in it, and answers that a client may keep."""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def allowed(text: str) -> str:
    """The text without the characters that XML can't hold, however they are written."""
    return _FORBIDDEN.sub("\ufffd", text)


def escaped(text: str) -> str:
    """The text as it may stand in an element or, in quotes, as an attribute."""
    return html.escape(allowed(text))


def element(name: str, attributes: Mapping[str, str], text: str | None = None) -> Element:
    """An element with what XML can hold of the texts."""
    from xml.etree.ElementTree import Element  # 1.5 MB with its parser, for who asks for XML

    made = Element(name, {key: allowed(value) for key, value in attributes.items()})
    made.text = None if text is None else allowed(text)
    return made


def document(root: Element) -> bytes:
    """An XML document of this element."""
    from xml.etree import ElementTree as ET

    ET.indent(root)
    # Written as text and encoded whole: encoding each piece of it takes longer than the rest.
    text: str = ET.tostring(root, encoding="unicode")
    return f"<?xml version='1.0' encoding='utf-8'?>\n{text}\n".encode()


def tagged(request: web.Request, body: bytes, content_type: str, headers: dict[str, str]) -> web.Response:
    """An answer that is asked for anew each time, and sent again only if it has changed."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    headers = {"Cache-Control": "no-cache", "ETag": tag, "X-Content-Type-Options": "nosniff", **headers}
    if tag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type=content_type, charset="utf-8", headers=headers)
