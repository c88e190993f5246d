"""Queries over objects that are no rows: the same fields, filters, sorting and paging, done in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from buildwright.web.fields import OPERATORS, TRUE_WORDS, integer, storable
from buildwright.web.query import Filter, Query
from buildwright.web.resource import Json

_ORDERED = tuple(name for name in OPERATORS if name != "contains")
_KNOWN = {
    "integer": _ORDERED,
    "string": OPERATORS,
    "identifier": OPERATORS,
    "boolean": ("eq", "ne", "in", "notin"),
    "list": ("contains",),
}
_SORTED = frozenset({"integer", "string", "identifier", "boolean"})


@dataclass(frozen=True)
class MemoryField:
    """One field of such objects."""

    name: str
    type: str

    @property
    def operators(self) -> tuple[str, ...]:
        return _KNOWN.get(self.type, ())

    @property
    def sort_key(self) -> str | None:
        return self.name if self.type in _SORTED else None

    def parse(self, text: str) -> Any:
        if self.type == "integer":
            return integer(text, self.name)
        if self.type == "boolean":
            return text.lower() in TRUE_WORDS
        return storable(text, self.name)

    def describe(self) -> Json:
        return {"name": self.name, "type": self.type, "type_spec": {"name": self.type}}


def fields_of(types: Mapping[str, str]) -> dict[str, MemoryField]:
    return {name: MemoryField(name, types[name]) for name in sorted(types)}


def apply(objects: Iterable[Json], query: Query) -> tuple[list[Json], int]:
    """The objects of the page that the query asks for, and their number without paging."""
    found = [each for each in objects if all(_holds(each[rule.field], rule) for rule in query.filters)]
    for name, descending in reversed(query.order):
        found.sort(key=lambda each: (each[name] is not None, each[name]), reverse=descending)
    total = len(found)
    end = None if query.limit is None else query.offset + query.limit
    found = found[query.offset : end]
    if query.fields is not None:
        found = [{name: each[name] for name in query.fields} for each in found]
    return found, total


def _holds(value: Any, rule: Filter) -> bool:
    wanted: Sequence[Any] = rule.values
    if value is None:  # it is equal to nothing, and neither less nor more
        return rule.operator in ("ne", "notin")
    match rule.operator:
        case "eq" | "in":
            return value in wanted
        case "ne" | "notin":
            return value not in wanted
        case "contains":
            return any(each in value for each in wanted)
        case "lt":
            return bool(value < wanted[0])
        case "le":
            return bool(value <= wanted[0])
        case "gt":
            return bool(value > wanted[0])
        case _:
            return bool(value >= wanted[0])
