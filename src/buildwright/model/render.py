"""The renderables of a configuration, and :func:`render`, which replaces them. How it works: `renderable`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from buildwright.model.errors import error, shown
from buildwright.model.interpolate import Interpolate, WithProperties
from buildwright.model.properties import Properties
from buildwright.model.renderable import (
    IRenderable,
    Operators,
    SecretMissing,
    is_plain,
    is_renderable,
    render,
    secret_value,
    settle,
)

__all__ = [
    "FlattenList",
    "IRenderable",
    "Interpolate",
    "Operators",
    "Property",
    "Secret",
    "SecretMissing",
    "Transform",
    "WithProperties",
    "is_plain",
    "is_renderable",
    "render",
    "renderer",
    "secret_value",
    "settle",
]


class Property(Operators):
    """A property's value, or a default (itself renderable) if it is missing or, by default, false.

    Example::

        factory.addStep(
            steps.ShellCommand(
                command=["make", "package"],
                env={"CHANNEL": util.Property("channel", default="nightly")},
                doStepIf=util.Property("package"),
            )
        )
    """

    def __init__(self, key: Any, default: Any = None, defaultWhenFalse: bool = True) -> None:
        self.key: str = key
        self.default = default
        self.defaultWhenFalse = defaultWhenFalse
        if not isinstance(key, str):
            error(f"Property: the name must be text, not {shown(key)}")

    async def getRenderingFor(self, props: Properties) -> Any:
        if self.key in props:
            value = props.getProperty(self.key)
            if value or not self.defaultWhenFalse:
                return value
        return await render(self.default, props)

    def __repr__(self) -> str:
        return (
            f"Property({self.key!r})" if self.default is None else f"Property({self.key!r}, {self.default!r})"
        )


class Secret:
    """A secret's value, by its name in a secrets provider.

    Example::

        factory.addStep(
            steps.ShellCommand(command=["upload", "dist"], env={"UPLOAD_TOKEN": util.Secret("upload-token")})
        )
    """

    def __init__(self, secret_name: Any) -> None:
        self.secret_name: str = secret_name
        if not isinstance(secret_name, str):
            error(f"Secret: the name must be text, not {shown(secret_name)}")

    async def getRenderingFor(self, props: Properties) -> str:
        return await secret_value(self.secret_name, props)

    def __repr__(self) -> str:
        return f"Secret({self.secret_name!r})"


class renderer:  # noqa: N801 - a decorator
    """Makes a function of the properties renderable; ``withArgs`` binds more arguments, rendered before the
    call.

    Example::

        @util.renderer
        def target(props):
            return "release" if props.getProperty("branch") == "main" else "debug"


        factory.addStep(steps.ShellCommand(command=["make", target]))
    """

    def __init__(self, fn: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> None:
        self.fn: Callable[..., Any] = fn
        self.args = args
        self.kwargs = kwargs or {}
        if not callable(fn):
            error(f"renderer takes a function of the properties, not {shown(fn)}")
        self.__doc__ = getattr(fn, "__doc__", None)
        self.__name__ = getattr(fn, "__name__", type(fn).__name__)

    def withArgs(self, *args: Any, **kwargs: Any) -> renderer:
        """The same function with more arguments; this one is left as it is."""
        return renderer(self.fn, self.args + args, {**self.kwargs, **kwargs})

    async def getRenderingFor(self, props: Properties) -> Any:
        args = await render(self.args, props)
        kwargs = await render(self.kwargs, props)
        return await render(await settle(self.fn(props, *args, **kwargs)), props)

    def __repr__(self) -> str:
        return f"renderer({self.__name__})"


class Transform:
    """A function called with its arguments once they are rendered.

    Example::

        def short(revision):
            return (revision or "unknown")[:8]


        factory.addStep(
            steps.SetProperty(property="short", value=util.Transform(short, util.Property("got_revision")))
        )
    """

    def __init__(self, function: Any, *args: Any, **kwargs: Any) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        if not callable(function) and not is_renderable(function):
            error(f"Transform takes a function, not {shown(function)}")

    async def getRenderingFor(self, props: Properties) -> Any:
        function = await render(self.function, props)
        args = await render(self.args, props)
        return await settle(function(*args, **await render(self.kwargs, props)))

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", repr(self.function))
        more = [repr(value) for value in self.args] + [
            f"{key}={value!r}" for key, value in self.kwargs.items()
        ]
        return f"Transform({', '.join([name, *more])})"


class FlattenList:
    """A list whose nested lists are laid out flat after rendering.

    Example::

        options = ["--verbose", util.Property("more_options", default=["--fast"])]
        factory.addStep(steps.ShellCommand(command=util.FlattenList(["run-tests", options])))
    """

    def __init__(self, nestedlist: Any, types: type | tuple[type, ...] = (list, tuple)) -> None:
        self.nestedlist = nestedlist
        self.types = types

    async def getRenderingFor(self, props: Properties) -> list[Any]:
        return self._flat(await render(self.nestedlist, props))

    def _flat(self, nested: Any) -> list[Any]:
        flat: list[Any] = []
        for item in nested:
            if isinstance(item, self.types):
                flat.extend(self._flat(item))
            else:
                flat.append(item)
        return flat

    def __add__(self, other: Any) -> FlattenList:
        more = other.nestedlist if isinstance(other, FlattenList) else other
        return FlattenList([self.nestedlist, more], self.types)

    def __repr__(self) -> str:
        return f"FlattenList({self.nestedlist!r})"
