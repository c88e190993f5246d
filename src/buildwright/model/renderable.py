"""Rendering: values that are known only once a build, or a scheduler's properties, are there.

Whatever has ``getRenderingFor(props)`` is renderable; it returns a value, or something to await. Lists,
tuples and dicts are rendered element by element. Most arguments are plain, so :func:`is_plain` decides
without a coroutine.

Comparing or calculating with a renderable gives another one, evaluated later. So the result of
``Property("x") == "y"`` is always true as a condition of ``if``: it belongs into ``doStepIf`` and the like.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any, Protocol, TypeGuard, runtime_checkable

from buildwright.model.properties import Properties


@runtime_checkable
class IRenderable(Protocol):
    """Something that becomes a value for given properties."""

    def getRenderingFor(self, props: Properties) -> Any:
        """The value, or an awaitable of it."""
        ...


class SecretMissing(LookupError):
    """A secret that no provider knows was asked for."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"no secrets provider knows the secret {name!r}: check its name and c['secretsProviders']"
        )


def is_renderable(value: Any) -> TypeGuard[IRenderable]:
    """Whether this object itself is to be rendered."""
    return hasattr(type(value), "getRenderingFor")


_SCALARS = frozenset({str, int, float, bool, bytes, type(None)})


def is_plain(value: Any) -> bool:
    """Whether nothing in this value needs rendering."""
    kind = type(value)
    if kind in _SCALARS:
        return True
    if isinstance(value, (list, tuple)):
        return all(is_plain(item) for item in value)
    if isinstance(value, dict):
        return all(is_plain(key) and is_plain(item) for key, item in value.items())
    return not hasattr(kind, "getRenderingFor")


async def settle(value: Any) -> Any:
    """What user code returned, awaited if it has to be."""
    return await value if inspect.isawaitable(value) else value


async def render(value: Any, props: Properties) -> Any:
    """A value with everything renderable in it replaced; a container comes back as a new one if anything
    was.
    """
    if is_plain(value):
        return value
    if is_renderable(value):
        return await settle(value.getRenderingFor(props))
    if isinstance(value, list):
        return [await render(item, props) for item in value]
    if isinstance(value, tuple):
        return tuple([await render(item, props) for item in value])
    return {await render(key, props): await render(item, props) for key, item in value.items()}


async def secret_value(name: str, props: Properties) -> str:
    """A secret by its name, remembered on the properties so that it will be masked."""
    if name in props.secrets:
        return props.secrets[name]
    value = await props.secret_source(name) if props.secret_source is not None else None
    if value is None:
        raise SecretMissing(name)
    props.secrets[name] = value
    return value


def _is_in(value: Any, container: Any) -> bool:
    return value in container


class Operators:
    """Comparing and calculating with a renderable gives a renderable."""

    def __eq__(self, other: object) -> Operation:  # type: ignore[override]
        return Operation("==", operator.eq, self, other)

    def __ne__(self, other: object) -> Operation:  # type: ignore[override]
        return Operation("!=", operator.ne, self, other)

    # Equality is another renderable, so identity is the only hash that means anything.
    __hash__ = object.__hash__

    def __lt__(self, other: Any) -> Operation:
        return Operation("<", operator.lt, self, other)

    def __le__(self, other: Any) -> Operation:
        return Operation("<=", operator.le, self, other)

    def __gt__(self, other: Any) -> Operation:
        return Operation(">", operator.gt, self, other)

    def __ge__(self, other: Any) -> Operation:
        return Operation(">=", operator.ge, self, other)

    def __add__(self, other: Any) -> Operation:
        return Operation("+", operator.add, self, other)

    def __sub__(self, other: Any) -> Operation:
        return Operation("-", operator.sub, self, other)

    def __mul__(self, other: Any) -> Operation:
        return Operation("*", operator.mul, self, other)

    def __truediv__(self, other: Any) -> Operation:
        return Operation("/", operator.truediv, self, other)

    def __floordiv__(self, other: Any) -> Operation:
        return Operation("//", operator.floordiv, self, other)

    def __mod__(self, other: Any) -> Operation:
        return Operation("%", operator.mod, self, other)

    def in_(self, container: Any) -> Operation:
        """Whether the rendered value is in ``container``, itself rendered."""
        return Operation("in", _is_in, self, container)


class Operation(Operators):
    """Two operands, rendered and put together when the time has come."""

    def __init__(self, symbol: str, function: Callable[[Any, Any], Any], left: Any, right: Any) -> None:
        self.symbol = symbol
        self.function = function
        self.left = left
        self.right = right

    async def getRenderingFor(self, props: Properties) -> Any:
        left = await render(self.left, props)
        return self.function(left, await render(self.right, props))

    def __repr__(self) -> str:
        return f"({self.left!r} {self.symbol} {self.right!r})"
