"""Answers in JSON: one encoder, one form of error, and slices for answers that are long.

A collection of many thousand rows is encoded in slices with the loop in between, so that nobody waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import islice
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.web_response import ContentCoding

from buildwright.web.auth.origins import is_local
from buildwright.web.errors import ApiError, TooMany
from buildwright.web.resource import Json

JSON = "application/json"
SLICE = 500
LONG = 8 * 1024
"""From so many bytes on an answer is compressed for whoever is far away."""

encode = msgspec.json.Encoder(order="sorted").encode


def wants_compact(request: web.Request) -> bool:
    """Programs ask for JSON by name and get it without blanks; everybody else may read it."""
    return JSON in request.headers.get("Accept", "")


def reply(
    body: bytes, *, status: int = 200, compact: bool = True, headers: dict[str, str] | None = None
) -> web.Response:
    if not compact:
        body = msgspec.json.format(body, indent=2) + b"\n"
    return web.Response(body=body, status=status, content_type=JSON, charset="utf-8", headers=headers)


def json_reply(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return reply(encode(value), status=status, headers=headers)


def error_reply(error: ApiError) -> web.Response:
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    if isinstance(error, TooMany):
        headers = {"Retry-After": str(error.seconds)}
    return json_reply({"error": error.message}, status=error.status, headers=headers)


def compress(request: web.Request, response: web.StreamResponse) -> None:
    """Have a long answer compressed on its way over a network. On one machine that would only take time; a
    proxy there isn't the reader.
    """
    if (
        isinstance(response, web.Response)
        and isinstance(response.body, bytes)
        and len(response.body) >= LONG
        and response.content_type == JSON
        and "gzip" in request.headers.get("Accept-Encoding", "")
        and request.method != "HEAD"
        and not is_local(request)
    ):
        response.enable_compression(ContentCoding.gzip)
        response.headers.add("Vary", "Accept-Encoding")


async def encode_collection(plural: str, objects: Iterable[Json], total: int | None) -> bytes:
    """``{"meta": ..., "<plural>": [...]}`` with sorted keys."""
    meta = {} if total is None else {"total": total}
    rest = iter(objects)
    first = list(islice(rest, SLICE))
    if len(first) < SLICE:
        return encode({plural: first, "meta": meta})
    slices = [encode(first)[1:-1]]
    while part := list(islice(rest, SLICE)):
        slices.append(encode(part)[1:-1])
        await asyncio.sleep(0)
    listed = b'"' + plural.encode() + b'":[' + b",".join(slices) + b"]"
    told = b'"meta":' + encode(meta)
    return b"{" + b",".join(sorted((listed, told))) + b"}"
