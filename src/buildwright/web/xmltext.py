"""Texts for XML: what may stand in it, and answers that a client may keep."""

from __future__ import annotations

import hashlib
import re
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from aiohttp import web

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_QUOTES = {'"': "&quot;", "'": "&#39;"}


def allowed(text: str) -> str:
    """The text without the characters that XML can't hold, however they are written."""
    return _FORBIDDEN.sub("\ufffd", text)


def escaped(text: str) -> str:
    """The text as it may stand in an element or, in quotes, as an attribute."""
    return escape(allowed(text), _QUOTES)


def document(root: ET.Element) -> bytes:
    """An XML document of this element."""
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def tagged(request: web.Request, body: bytes, content_type: str, headers: dict[str, str]) -> web.Response:
    """An answer that is asked for anew each time, and sent again only if it has changed."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    headers = {"Cache-Control": "no-cache", "ETag": tag, "X-Content-Type-Options": "nosniff", **headers}
    if tag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type=content_type, charset="utf-8", headers=headers)
