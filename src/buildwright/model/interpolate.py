"""Text with places that are filled when a build is known.

``Interpolate("%(selector:key[:operator])s", **kw)`` takes from

- ``prop``: a property
- ``src``: ``%(src:codebase:attribute)s`` of the build's source stamps
- ``worker``: what the worker told about itself, or a property of it
- ``kw``: a keyword argument, itself renderable
- ``secret``: a secret by its name

and the operators say what happens where there is none: nothing gives the empty text; ``:-text`` a replacement
if the key is missing; ``:~text`` also if its value is false; ``:+text`` the text if the key is there;
``:?|yes|no`` one of two by presence, ``:#?|yes|no`` by truth, with any character in the place of ``|``.
Replacements may hold further places. ``Interpolate("%s %s", a, b)`` takes its values by position.

The text is parsed when it is written, so a mistake in it is an error of the configuration with its line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from buildwright.model.errors import error, shown, suggest
from buildwright.model.properties import Properties
from buildwright.model.renderable import Operators, render, secret_value, settle

SELECTORS = ("prop", "src", "worker", "kw", "secret")
_NAME = re.compile(r"[\w.-]*\Z")
_CONVERSION = re.compile(r"[#0\- +]*\d*(?:\.\d+)?[diouxXeEfFgGcrsa]")
_MISSING: Any = object()


class _Mistake(Exception):
    """What is wrong with a text, with a hint."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)


class _Place:
    """One ``%(...)s``: where its value comes from and what replaces it."""

    __slots__ = ("attribute", "by_truth", "conversion", "key", "otherwise", "present", "selector")

    def __init__(self, text: str, conversion: str) -> None:
        self.conversion = conversion
        self.attribute = ""
        self.present: list[str | _Place] | None = None  # instead of the value, if there is one
        self.otherwise: list[str | _Place] = []  # if there is none
        self.by_truth = False  # a value that is false counts as none
        selector, colon, rest = text.partition(":")
        if not colon:
            raise _Mistake(f"%({text}) names no selector", f"write %(prop:{text})s for a property")
        if selector not in SELECTORS:
            raise _Mistake(
                f"%({text}) has an unknown selector {selector!r}",
                suggest(selector, SELECTORS) or f"the selectors are {', '.join(SELECTORS)}",
            )
        self.selector = selector
        self.key, colon, rest = rest.partition(":")
        if selector == "src":
            if not colon:
                raise _Mistake(
                    f"%({text}) needs a codebase and an attribute", "as in %(src:codebase:branch)s"
                )
            self.attribute, colon, rest = rest.partition(":")
        for name in (self.key, self.attribute):
            if not _NAME.match(name):
                raise _Mistake(f"%({text}) has a name that isn't one: {name!r}")
        if colon:
            self._operator(text, rest)

    def _operator(self, text: str, rest: str) -> None:
        if rest.startswith("#?"):
            self.by_truth = True
            self._ternary(text, rest[2:])
        elif rest.startswith("?"):
            self._ternary(text, rest[1:])
        elif rest.startswith("-"):
            self.otherwise = parse(rest[1:])
        elif rest.startswith("~"):
            self.by_truth = True
            self.otherwise = parse(rest[1:])
        elif rest.startswith("+"):
            self.present = parse(rest[1:])
        else:
            raise _Mistake(
                f"%({text}) has an unknown operator after the name", "the operators are :- :~ :+ :? :#?"
            )

    def _ternary(self, text: str, rest: str) -> None:
        if not rest or rest[0] == "(":
            raise _Mistake(f"%({text}): a choice needs a delimiter", "as in %(prop:name:?|yes|no)s")
        parts = rest[1:].split(rest[0])
        if len(parts) != 2:
            raise _Mistake(f"%({text}): the delimiter {rest[0]!r} must part exactly two texts")
        self.present, self.otherwise = parse(parts[0]), parse(parts[1])

    async def fill(self, props: Properties, kwargs: Mapping[str, Any]) -> str:
        value = await self._look_up(props, kwargs)
        if value is _MISSING or (self.by_truth and not value):
            value = await fill(self.otherwise, props, kwargs)
        elif self.present is not None:
            value = await fill(self.present, props, kwargs)
        if value is None:
            value = ""
        return str(value) if self.conversion == "s" else f"%{self.conversion}" % (value,)

    async def _look_up(self, props: Properties, kwargs: Mapping[str, Any]) -> Any:
        key = self.key
        if self.selector == "prop":
            return props.getProperty(key) if key in props else _MISSING
        if self.selector == "kw":
            return await render(kwargs[key], props) if key in kwargs else _MISSING
        if self.selector == "src":
            return _of_source(props, key, self.attribute)
        if self.selector == "worker":
            return _of_worker(props, key)
        return await secret_value(key, props)


def _of_source(props: Properties, codebase: str, attribute: str) -> Any:
    build = props.getBuild()
    if build is not None:
        stamp = build.getSourceStamp(codebase)
    else:
        stamp = next((each for each in props.sourcestamps if _of_stamp(each, "codebase") == codebase), None)
    return _MISSING if stamp is None else _of_stamp(stamp, attribute)


def _of_stamp(stamp: Any, attribute: str) -> Any:
    """An attribute of a source stamp, which a scheduler may still have as a dict."""
    values = stamp if isinstance(stamp, Mapping) else stamp.asDict()
    return values.get(attribute, _MISSING)


def _of_worker(props: Properties, key: str) -> Any:
    build = props.getBuild()
    if build is None:
        return _MISSING
    worker = build.worker
    return worker.info[key] if key in worker.info else worker.properties.getProperty(key, _MISSING)


def parse(text: str) -> list[str | _Place]:
    """A text as literal parts and places; raises :class:`_Mistake`."""
    parts: list[str | _Place] = []
    start = 0
    while (at := text.find("%", start)) >= 0:
        parts.append(text[start:at])
        if text.startswith("%%", at):
            parts.append("%")
            start = at + 2
            continue
        if not text.startswith("%(", at):
            raise _Mistake(f"{text!r} has a '%' that begins nothing", "write '%%' for the sign itself")
        end = _closing(text, at + 1)
        conversion = _CONVERSION.match(text, end + 1)
        if conversion is None:
            raise _Mistake(f"{text!r} lacks the conversion after {text[at : end + 1]!r}", "usually an 's'")
        parts.append(_Place(text[at + 2 : end], conversion.group()))
        start = conversion.end()
    parts.append(text[start:])
    return [part for part in parts if part != ""]


def _closing(text: str, opening: int) -> int:
    depth = 0
    for at in range(opening, len(text)):
        if text[at] == "(":
            depth += 1
        elif text[at] == ")":
            depth -= 1
            if depth == 0:
                return at
    raise _Mistake(f"{text!r} has a '%(' without its ')'")


async def fill(parts: list[str | _Place], props: Properties, kwargs: Mapping[str, Any]) -> str:
    """The parts put together."""
    if len(parts) == 1 and isinstance(parts[0], str):
        return parts[0]
    return "".join([part if isinstance(part, str) else await part.fill(props, kwargs) for part in parts])


class Interpolate(Operators):
    """A text with places that are filled from properties, sources, the worker and secrets.

    Example::

        factory.addStep(
            steps.ShellCommand(
                command=[
                    "make",
                    util.Interpolate("VERSION=%(prop:version:-unknown)s"),
                    util.Interpolate("JOBS=%(worker:numcpus:-2)s"),
                    util.Interpolate("MODE=%(prop:release:#?|release|debug)s"),
                ]
            )
        )
    """

    def __init__(self, fmtstring: Any, *args: Any, **kwargs: Any) -> None:
        self.fmtstring: str = fmtstring
        self.args = args
        self.kwargs = kwargs
        self._parts: list[str | _Place] = []
        if not isinstance(fmtstring, str):
            error(f"Interpolate: the text must be a str, not {shown(fmtstring)}")
        elif args and kwargs:
            error(
                "Interpolate takes its values by position or by name, not both",
                "use %(kw:name)s for all of them",
            )
        elif not args:
            try:
                self._parts = parse(fmtstring)
            except _Mistake as mistake:
                error(f"Interpolate: {mistake.message}", mistake.hint)

    async def getRenderingFor(self, props: Properties) -> str:
        if self.args:
            return self.fmtstring % tuple(await render(list(self.args), props))
        return await fill(self._parts, props, self.kwargs)

    def __repr__(self) -> str:
        more = [repr(value) for value in self.args] + [
            f"{name}={value!r}" for name, value in self.kwargs.items()
        ]
        return f"Interpolate({', '.join([repr(self.fmtstring), *more])})"


def _blank(value: Any) -> Any:
    return "" if value is None else value


class _PropertyTexts:
    """What ``WithProperties`` looks its names up in: a property, with the operators ``:-``, ``:~`` and
    ``:+``.
    """

    def __init__(self, props: Properties, computed: Mapping[str, Any]) -> None:
        self.props = props
        self.computed = computed

    def __getitem__(self, name: str) -> Any:
        key, colon, rest = name.partition(":")
        kind, text = rest[:1], rest[1:]
        if colon and kind not in ("-", "~", "+"):
            raise KeyError(name)
        value = self.computed[key] if key in self.computed else self.props.getProperty(key, _MISSING)
        if kind == "+":
            return "" if value is _MISSING else text
        if value is _MISSING or (kind == "~" and not value):
            return text
        return _blank(value)


class WithProperties(Operators):
    """The older form of Interpolate: names are properties, or keyword arguments called with the
    properties.

    Example::

        factory.addStep(
            steps.ShellCommand(command=["echo", util.WithProperties("on %(branch)s, %(tested:-later)s")])
        )
    """

    def __init__(self, fmtstring: Any, *args: str, **lambda_subs: Any) -> None:
        self.fmtstring: str = fmtstring
        self.args = args
        self.lambda_subs = lambda_subs
        if not isinstance(fmtstring, str):
            error(f"WithProperties: the text must be a str, not {shown(fmtstring)}")
        if args and lambda_subs:
            error("WithProperties takes property names by position or functions by name, not both")
        for name, function in lambda_subs.items():
            if not callable(function):
                error(f"WithProperties: {name} must be a function of the properties, not {shown(function)}")

    async def getRenderingFor(self, props: Properties) -> str:
        if self.args:
            return self.fmtstring % tuple([_blank(props.getProperty(name)) for name in self.args])
        computed = {name: await settle(function(props)) for name, function in self.lambda_subs.items()}
        return self.fmtstring % _PropertyTexts(props, computed)

    def __repr__(self) -> str:
        return f"WithProperties({', '.join(repr(each) for each in (self.fmtstring, *self.args))})"
