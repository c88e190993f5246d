"""The methods of the data API: what can be asked of a thing, by the plural of its kind.

A method's name is looked up exactly as it is written here: it is what the rules of ``authz`` see
(:mod:`buildwright.web.auth.gate`), and the path's description names it (``application.spec``)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from buildwright.model.results import CANCELLED, Results
from buildwright.web.auth.users import User
from buildwright.web.errors import NotFound, Refused
from buildwright.web.resource import Computed, Endpoint
from buildwright.web.services import Added, WebServices

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

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
    user: User
    key: str | None

    @property
    def owner(self) -> str:
        """Whom builds that this starts belong to, whatever the parameters say."""
        return self.user.name


Method = Callable[[Call], Awaitable[Any]]


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
    # An `owner` among the parameters counts for nothing: it is who asks.
    added = await call.services.control.force(call.thing, call.params, call.owner, call.key)
    return _added(added, "there is no such force scheduler")


async def _try(call: Call) -> list[Any]:
    params = call.params
    if call.user.by in ("session", "proxy"):
        params = {**params, "who": call.owner}  # a token's holder may send what others have made
    added = await call.services.control.try_build(call.thing, params, call.key)
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


def methods_of(target: object) -> dict[str, Method]:
    """The methods of what a path leads to."""
    if isinstance(target, Endpoint):
        plural = target.resource.plural
    elif isinstance(target, Computed):
        plural = target.plural
    else:
        return {}
    return (COLLECTION_METHODS if target.collection else METHODS).get(plural, {})
