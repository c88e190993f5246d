"""Properties: named values with their source, which follow a build from its schedulers to its steps.

A value is what JSON can hold, because it is stored, shown and read back after a master's death; anything else
is refused where it is set, not where it is written. The engine learns of writes through ``on_change`` and
stores them in the unit that carries the step's boundary; the object itself knows no store.

Rendering needs more than values: the build (``getBuild``), the source stamps before there is one, and the
secrets. They hang here as attributes that the engine fills. A secret that was rendered is kept in ``secrets``
for masking, in memory only: nothing of it is in ``asDict`` or ``to_json``.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, ItemsView, Mapping, Sequence
from typing import Any

import msgspec

Entry = tuple[Any, str]
SecretSource = Callable[[str], Awaitable[str | None]]

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(dict[str, tuple[Any, str]])


def json_problem(value: Any) -> str | None:
    """Why a value can't be a property's, or None if it can."""
    if value is None or isinstance(value, (bool, int)):
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            return "a number beyond 64 bits can't be stored"
        return None
    if isinstance(value, str):
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                return "text with bytes that are not UTF-8 can't be stored"
        return None
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{value} can't be stored"
    if isinstance(value, (list, tuple)):
        return next((problem for item in value if (problem := json_problem(item))), None)
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                return f"the key {key!r} of a dict must be text"
            if problem := json_problem(item):
                return problem
        return None
    return f"a value of type {type(value).__name__} can't be stored, only what JSON can hold"


class Properties:
    """A mapping of names to (value, source).

    Example::

        c["properties"] = util.Properties(channel="nightly", jobs=4)
    """

    def __init__(self, **properties: Any) -> None:
        self.properties: dict[str, Entry] = {}
        self.runtime: set[str] = set()  # names set while the build ran: they don't travel to other builds
        self.build: Any = None  # the engine's build, once there is one
        self.sourcestamps: Sequence[Any] = ()  # what a scheduler renders with, before there is a build
        self.changes: Sequence[Any] = ()  # as `sourcestamps`
        self.files: Sequence[str] = ()  # as `sourcestamps`: what the changes touch
        self.secret_source: SecretSource | None = None  # set by the engine where secrets may be used
        # name -> value of each secret that was rendered with these properties; for masking, never stored
        self.secrets: dict[str, str] = {}
        # called after each write with name, value and source
        self.on_change: Callable[[str, Any, str], None] | None = None
        for name, value in properties.items():
            self.setProperty(name, value, "TEST")

    def setProperty(self, name: str, value: Any, source: str, runtime: bool = False) -> None:
        """Set a value; ValueError if it can't be stored."""
        if problem := json_problem(name) or json_problem(source) or json_problem(value):
            raise ValueError(f"property {name!r}: {problem}")
        if type(name) is not str or type(source) is not str:
            raise TypeError(f"a property's name and source must be text, not {name!r} and {source!r}")
        self.properties[name] = (value, source)
        if runtime:
            self.runtime.add(name)
        if self.on_change is not None:
            self.on_change(name, value, source)

    def getProperty(self, name: str, default: Any = None) -> Any:
        """The value, or ``default`` if there is none."""
        entry = self.properties.get(name)
        return default if entry is None else entry[0]

    def hasProperty(self, name: str) -> bool:
        """Whether there is such a property."""
        return name in self.properties

    has_key = hasProperty
    __contains__ = hasProperty

    def getPropertySource(self, name: str) -> str:
        """Who set it; KeyError if nobody did."""
        return self.properties[name][1]

    def getProperties(self) -> Properties:
        """These properties themselves: builds and steps answer to the same name."""
        return self

    def getBuild(self) -> Any:
        """The build that these properties belong to, or None before there is one."""
        return self.build

    def __getitem__(self, name: str) -> Any:
        return self.properties[name][0]

    def get(self, name: str, default: Any = None) -> Any:
        """As ``getProperty``."""
        return self.getProperty(name, default)

    def __bool__(self) -> bool:
        return bool(self.properties)

    def __len__(self) -> int:
        return len(self.properties)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Properties):
            return NotImplemented
        return self.properties == other.properties

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Properties({', '.join(f'{name}={value!r}' for name, (value, _) in self.properties.items())})"

    def items(self) -> ItemsView[str, Entry]:
        """Pairs of name and (value, source)."""
        return self.properties.items()

    def asDict(self) -> dict[str, Entry]:
        """A copy as name -> (value, source)."""
        return dict(self.properties)

    def asList(self) -> list[tuple[str, Any, str]]:
        """Sorted triples of name, value and source."""
        return sorted(
            ((name, value, source) for name, (value, source) in self.properties.items()), key=lambda e: e[0]
        )

    def update(self, values: Mapping[str, Any], source: str, runtime: bool = False) -> None:
        """Set many values of one source."""
        for name, value in values.items():
            self.setProperty(name, value, source, runtime)

    def updateFromProperties(self, other: Properties) -> None:
        """Take all of another's properties, with their sources."""
        for name, (value, source) in other.properties.items():
            self.setProperty(name, value, source, name in other.runtime)

    def updateFromPropertiesNoRuntime(self, other: Properties) -> None:
        """As ``updateFromProperties``, without those set while a build ran."""
        for name, (value, source) in other.properties.items():
            if name not in other.runtime:
                self.setProperty(name, value, source)

    async def render(self, value: Any) -> Any:
        """A value with everything renderable in it replaced."""
        from buildwright.model.render import render

        return await render(value, self)

    def to_json(self) -> str:
        """As text: ``{name: [value, source]}``."""
        return _encoder.encode(self.properties).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Properties:
        """What :meth:`to_json` wrote. The values were checked when they were set."""
        made = cls()
        made.properties = _decoder.decode(text)
        return made
