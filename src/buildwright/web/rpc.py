"""Acting through the data API: JSON-RPC 2.0 by POST, the methods by the path that they are sent to.

A method is found by its exact name. The answer's HTTP status says what the code says: 400 for a request that
can't be understood or whose parameters don't fit, 401 and 403 for who asks, 404 for what isn't there, 501 for
a method that the path doesn't know. Nothing is done before all of it has been checked, and an answer means
that the store has it.

``Idempotency-Key`` makes a call that starts builds safe to repeat: the key counts per caller and path, and a
repetition gets the first call's answer."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec
import structlog
from aiohttp import web

from buildwright.store.errors import StoreStopped, StoreUnavailable
from buildwright.store.units.audit import DONE, FAILED, REFUSED
from buildwright.web.audit import why_of
from buildwright.web.auth.gate import Gate
from buildwright.web.auth.things import thing_of_call
from buildwright.web.auth.users import User
from buildwright.web.data import TABLE, Data, kind_of
from buildwright.web.errors import ApiError, NotFound, Refused
from buildwright.web.methods import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    Call,
    Method,
    RpcError,
    methods_of,
)
from buildwright.web.paths import Params, split
from buildwright.web.replies import JSON, json_reply
from buildwright.web.resource import Computed, Endpoint
from buildwright.web.services import WebServices

log = structlog.get_logger(__name__)

LONGEST_KEY = 200


async def handle(
    request: web.Request, services: WebServices, data: Data, gate: Gate, raw_path: str
) -> web.Response:
    """Answer a POST."""
    call_id: Any = None
    content = await request.read()
    try:
        body = _parse(request.content_type, content)
        call_id = body.get("id")
        method, params = _checked(body)
        result = await _audited(request, services, data, gate, raw_path, method, params)
    except RpcError as error:
        return _failed(call_id, error.code, error.message, error.status)
    except Refused as error:
        return _failed(call_id, INVALID_PARAMS, error.message, 400)
    except (StoreUnavailable, StoreStopped) as error:
        log.warning("the store can't take a call", path=request.path, reason=str(error))
        return _failed(call_id, INTERNAL_ERROR, "the master's database doesn't answer; ask again", 503)
    except ApiError as error:
        code = INVALID_REQUEST if error.status in (401, 403, 404) else INVALID_PARAMS
        return _failed(call_id, code, error.message, error.status)
    except Exception:
        found = secrets.token_hex(4)
        log.exception("a call failed; this is a defect", id=found, path=request.path)
        return _failed(call_id, INTERNAL_ERROR, f"internal error {found}: the master's log has it", 500)
    return json_reply({"id": call_id, "jsonrpc": "2.0", "result": result})


async def _audited(
    request: web.Request,
    services: WebServices,
    data: Data,
    gate: Gate,
    raw_path: str,
    method: str,
    params: dict[str, Any],
) -> Any:
    """The result of a call, which is entered with its outcome."""
    audit = gate.audit
    who: str | None = None
    try:
        user = await gate.user(request)
        who = user.name if user.known else None
        try:
            act, target, path = _resolve(raw_path, method)
        except (RpcError, NotFound):
            await gate.must_be_known(request)
            who = user.name
            raise
        kind = kind_of(target)
        await gate.admit_call(
            request,
            kind,
            method,
            raw_path,
            lambda: thing_of_call(services, data, kind, method, path, params, raw_path),
        )
        who = user.name
        key = _key(request, user, method, raw_path)
        call = Call(services, await _thing(data, target, path), params, user, key)
    except (RpcError, ApiError, Refused) as error:
        await audit.refused(request, who, method, raw_path, params, why_of(error))
        raise
    entry = await audit.asked(request, user.name, method, raw_path, params)
    try:
        result = await act(call)
    except (RpcError, ApiError, Refused) as error:
        await audit.ended(entry, REFUSED, why_of(error))
        raise
    except Exception as error:
        await audit.ended(entry, FAILED, type(error).__name__)
        raise
    await audit.ended(entry, DONE, result)
    return result


def _failed(call_id: Any, code: int, message: Any, status: int) -> web.Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    error = {"code": code, "message": message}
    return json_reply({"error": error, "id": call_id, "jsonrpc": "2.0"}, status=status, headers=headers)


def _parse(content_type: str, body: bytes) -> dict[str, Any]:
    # Also what keeps a form on a foreign page from acting: a browser asks first before it sends this type.
    if content_type != JSON:
        raise RpcError(INVALID_REQUEST, f"Invalid content-type (use {JSON})", 400)
    try:
        parsed = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RpcError(PARSE_ERROR, f"JSON parse error: {error}", 400) from None
    if isinstance(parsed, list):
        raise RpcError(INVALID_REQUEST, "JSONRPC batch requests are not supported", 400)
    if not isinstance(parsed, dict):
        raise RpcError(INVALID_REQUEST, "a request is an object with jsonrpc, method, id and params", 400)
    return parsed


def _checked(body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    for name in ("jsonrpc", "method", "id", "params"):
        if name not in body:
            raise RpcError(INVALID_REQUEST, f"missing key '{name}'", 400)
    if body["jsonrpc"] != "2.0":
        raise RpcError(INVALID_REQUEST, "only JSONRPC 2.0 is supported", 400)
    if not isinstance(body["method"], str):
        raise RpcError(INVALID_REQUEST, "'method' must be a string", 400)
    if not isinstance(body["id"], str | int | float | None):
        raise RpcError(INVALID_REQUEST, "'id' must be a string, a number or null", 400)
    if not isinstance(body["params"], dict):
        raise RpcError(INVALID_REQUEST, "'params' must be an object", 400)
    return body["method"], body["params"]


def _resolve(raw_path: str, method: str) -> tuple[Method, Endpoint | Computed, Params]:
    found = TABLE.find(split(raw_path))
    if found is None:
        raise NotFound("there is nothing at this path")
    target, path = found
    methods = methods_of(target)
    if isinstance(target, Endpoint | Computed) and method in methods:
        return methods[method], target, path
    known = ", ".join(methods) or "none"
    raise RpcError(METHOD_NOT_FOUND, f"no such method {method[:60]!r} here; there are: {known}", 501)


def _key(request: web.Request, user: User, method: str, raw_path: str) -> str | None:
    text = request.headers.get("Idempotency-Key")
    if text is None:
        return None
    if not 0 < len(text) <= LONGEST_KEY or not text.isprintable():
        raise RpcError(INVALID_REQUEST, f"Idempotency-Key: 1 to {LONGEST_KEY} printable characters", 400)
    caller = user.name if user.by in ("nobody", "token") else f"{user.by} {user.name}"
    return f"api:{caller}:{method}:{raw_path}:{text}"


async def _thing(data: Data, target: Endpoint | Computed, path: Params) -> Any:
    """The id of what the path names, or a form's name, None for a collection; raises NotFound."""
    if target.collection:
        return None
    if isinstance(target, Computed):
        return path["schedulername"]
    key = target.resource.key_name
    answer = await data.get(target, path, [("field", key)])
    return next(iter(answer.objects))[key]
