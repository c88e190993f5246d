"""Acting through the data API: JSON-RPC 2.0 by POST, the methods by the path that they are sent to.

A method is found by its exact name. The answer's HTTP status says what the code says: 400 for a request that
can't be understood or whose parameters don't fit, 401 and 403 for who asks, 404 for what isn't there, 501 for
a method that the path doesn't know. Nothing is done before all of it has been checked, and an answer means
that the store has it.

``Idempotency-Key`` makes a call that starts builds safe to repeat: the key counts per caller and path, and a
repetition gets the first call's answer."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from aiohttp import web

from buildwright.model.results import CANCELLED, Results
from buildwright.store.errors import StoreStopped, StoreUnavailable
from buildwright.store.units.audit import DONE, FAILED, REFUSED
from buildwright.web.audit import Audit, why_of
from buildwright.web.auth import authorize
from buildwright.web.data import TABLE, Data
from buildwright.web.errors import ApiError, NotFound, Refused
from buildwright.web.paths import Params, split
from buildwright.web.replies import JSON, json_reply
from buildwright.web.resource import Computed, Endpoint
from buildwright.web.services import Added, WebServices

log = structlog.get_logger(__name__)

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

LONGEST_KEY = 200
_INT4 = range(-(2**31), 2**31)


class RpcError(Exception):
    """A call that can't be answered as it was made."""

    def __init__(self, code: int, message: str | Mapping[str, str], status: int) -> None:
        super().__init__(str(message))
        self.code = code
        self.message = message
        self.status = status


@dataclass(frozen=True, slots=True)
class Call:
    """A call whose form is right: who asks, what for, about which thing (its id, or its name)."""

    services: WebServices
    thing: Any
    params: dict[str, Any]
    owner: str
    key: str | None


Method = Callable[[Call], Awaitable[Any]]


async def handle(
    request: web.Request, services: WebServices, data: Data, audit: Audit, raw_path: str
) -> web.Response:
    """Answer a POST."""
    call_id: Any = None
    content = await request.read()
    try:
        body = _parse(request.content_type, content)
        call_id = body.get("id")
        method, params = _checked(body)
        result = await _audited(request, services, data, audit, raw_path, method, params)
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
    audit: Audit,
    raw_path: str,
    method: str,
    params: dict[str, Any],
) -> Any:
    """The result of a call, which is entered with its outcome."""
    owner: str | None = None
    try:
        owner = await authorize(request, services)
        act, target, path = _resolve(raw_path, method)
        key = _key(request, owner, method, raw_path)
        call = Call(services, await _thing(data, target, path), params, owner, key)
    except (RpcError, ApiError, Refused) as error:
        await audit.refused(request, owner, method, raw_path, params, why_of(error))
        raise
    entry = await audit.asked(request, owner, method, raw_path, params)
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
    methods: dict[str, Method] = {}
    if isinstance(target, Endpoint | Computed):
        methods = (COLLECTION_METHODS if target.collection else METHODS).get(_plural(target), {})
        if method in methods:
            return methods[method], target, path
    known = ", ".join(methods) or "none"
    raise RpcError(METHOD_NOT_FOUND, f"no such method {method[:60]!r} here; there are: {known}", 501)


def _plural(target: Endpoint | Computed) -> str:
    return target.resource.plural if isinstance(target, Endpoint) else target.plural


def _key(request: web.Request, owner: str, method: str, raw_path: str) -> str | None:
    text = request.headers.get("Idempotency-Key")
    if text is None:
        return None
    if not 0 < len(text) <= LONGEST_KEY or not text.isprintable():
        raise RpcError(INVALID_REQUEST, f"Idempotency-Key: 1 to {LONGEST_KEY} printable characters", 400)
    return f"api:{owner}:{method}:{raw_path}:{text}"


async def _thing(data: Data, target: Endpoint | Computed, path: Params) -> Any:
    """The id of what the path names, or a form's name, None for a collection; raises NotFound."""
    if target.collection:
        return None
    if isinstance(target, Computed):
        return path["schedulername"]
    key = target.resource.key_name
    answer = await data.get(target, path, [("field", key)])
    return next(iter(answer.objects))[key]


# -- the methods ---------------------------------------------------------------------------------------------


def _text(call: Call, name: str, default: str) -> str:
    value = call.params.get(name, default)
    if value is None:
        return default
    if not isinstance(value, str) or "\0" in value:
        raise RpcError(INVALID_PARAMS, f"'{name}' must be a string without NUL", 400)
    return value


def _number(call: Call, name: str) -> int:
    value = call.params.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value not in _INT4:
        raise RpcError(INVALID_PARAMS, f"'{name}' must be a whole number of 32 bits", 400)
    return value


def _found(answer: bool, what: str) -> None:
    if not answer:
        raise NotFound(what)


def _added(added: Added | None, what: str) -> list[Any]:
    if added is None:
        raise NotFound(what)
    buildsetid, requests = added
    return [buildsetid, {str(builderid): requestid for builderid, requestid in requests.items()}]


async def _stop_build(call: Call) -> None:
    results = CANCELLED
    if "results" in call.params:
        results = _number(call, "results")
        if not 0 <= results < len(Results):
            raise RpcError(INVALID_PARAMS, f"'results' must be 0 to {len(Results) - 1}", 400)
    # A build that has ended meanwhile is stopped as well as it can be.
    await call.services.control.stop_build(call.thing, _text(call, "reason", "no reason"), results)


async def _rebuild(call: Call) -> list[Any]:
    begin = call.params.get("from")
    if begin not in (None, "failed"):
        raise RpcError(INVALID_PARAMS, "'from' must be 'failed', or left out", 400)
    return _added(
        await call.services.control.rebuild(call.thing, call.owner, call.key, from_failed=begin == "failed"),
        "there is no such build",
    )


async def _cancel(call: Call) -> None:
    await call.services.control.cancel_request(call.thing, _text(call, "reason", "no reason"))


async def _set_priority(call: Call) -> None:
    done = await call.services.control.set_priority(call.thing, _number(call, "priority"))
    if not done:
        raise Refused("the request is complete: its priority can't matter any more")


async def _enable(call: Call) -> None:
    enabled = call.params.get("enabled")
    if not isinstance(enabled, bool):
        raise RpcError(INVALID_PARAMS, "'enabled' must be true or false", 400)
    _found(await call.services.control.enable_scheduler(call.thing, enabled), "there is no such scheduler")


async def _force(call: Call) -> list[Any]:
    params = {**call.params, "owner": call.owner}
    added = await call.services.control.force(call.thing, params, call.owner, call.key)
    return _added(added, "there is no such force scheduler")


async def _try(call: Call) -> list[Any]:
    added = await call.services.control.try_build(call.thing, call.params, call.key)
    return _added(added, "there is no such try scheduler")


async def _add_change(call: Call) -> int | None:
    return await call.services.control.add_change(call.params, call.key)


def _worker(action: str) -> Method:
    async def act(call: Call) -> None:
        reason = _text(call, "reason", "no reason")
        _found(
            await call.services.control.worker_action(call.thing, action, reason), "there is no such worker"
        )

    return act


METHODS: dict[str, dict[str, Method]] = {
    "builds": {"stop": _stop_build, "rebuild": _rebuild},
    "buildrequests": {"cancel": _cancel, "set_priority": _set_priority},
    "schedulers": {"enable": _enable},
    "forceschedulers": {"force": _force},
    "tryschedulers": {"try": _try},
    "workers": {action: _worker(action) for action in ("stop", "kill", "pause", "unpause")},
}
COLLECTION_METHODS: dict[str, dict[str, Method]] = {
    "changes": {"add": _add_change},
}
