"""The query string of a request: fields, filters, sorting and page, checked against the resource.

Whatever a query says that the resource doesn't know is an error, also a filter (``results__eqq=2``): an
answer to another question than the one that was asked would be worse than none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl

from buildwright.web.errors import BadQuery
from buildwright.web.fields import OPERATORS, integer, storable

MAX_PARAMETERS = 200
MAX_LIMIT = 2**31 - 1

_CONTROL = frozenset({"field", "order", "limit", "offset", "property"})
# What an operator means when its parameter is given several times.
_REPEATED = {"eq": "in", "ne": "notin", "in": "in", "notin": "notin", "contains": "contains"}


class Comparable(Protocol):
    """The part of a field that a query needs."""

    @property
    def operators(self) -> tuple[str, ...]: ...

    @property
    def sort_key(self) -> Any: ...

    def parse(self, text: str) -> Any: ...


class Filter(NamedTuple):
    field: str
    operator: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Query:
    """What was asked for. ``fields`` None: all of them; ``properties`` None: none, empty: all."""

    fields: tuple[str, ...] | None = None
    filters: tuple[Filter, ...] = ()
    order: tuple[tuple[str, bool], ...] = ()  # (field, descending)
    limit: int | None = None
    offset: int = 0
    properties: tuple[str, ...] | None = None


def pairs(query_string: str) -> list[tuple[str, str]]:
    """The parameters in order."""
    try:
        return parse_qsl(query_string, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise BadQuery(f"more than {MAX_PARAMETERS} parameters") from None


def parse(
    parameters: Iterable[tuple[str, str]],
    fields: Mapping[str, Comparable],
    *,
    collection: bool,
    has_properties: bool = False,
) -> Query:
    """The query that the parameters spell; raises BadQuery."""
    control: dict[str, list[str]] = {}
    filters: dict[tuple[str, str], list[str]] = {}
    for name, value in parameters:
        if name in _CONTROL:
            control.setdefault(name, []).append(value)
        else:
            filters.setdefault(_filter_name(name, fields), []).append(value)
    if not collection and (filters or control.keys() - {"field", "property"}):
        raise BadQuery("this is not a collection: it can be neither filtered, sorted nor paged")
    if "property" in control and not has_properties:
        raise BadQuery("unrecognized query parameter 'property': there are no properties here")

    selected = tuple(dict.fromkeys(control["field"])) if "field" in control else None
    for name in selected or ():
        if name not in fields:
            raise BadQuery(f"no such field {_quote(name)}; there are {_list(fields)}")
    usable = set(selected) if selected is not None else set(fields)
    return Query(
        selected,
        tuple(
            _filter(field, operator, values, fields, usable) for (field, operator), values in filters.items()
        ),
        tuple(dict(_order(text, fields, usable) for text in control.get("order", ())).items()),
        _page_number("limit", control),
        _page_number("offset", control) or 0,
        _properties(control.get("property")),
    )


def _filter_name(name: str, fields: Mapping[str, Comparable]) -> tuple[str, str]:
    field, separator, operator = name.rpartition("__")
    if not separator:
        field, operator = name, "eq"
    if field not in fields:
        raise BadQuery(f"unrecognized query parameter {_quote(name)}; there are the fields {_list(fields)}")
    if operator not in OPERATORS:
        raise BadQuery(f"unrecognized query parameter {_quote(name)}; the operators are {_list(OPERATORS)}")
    return field, operator


def _filter(
    name: str, operator: str, texts: Sequence[str], fields: Mapping[str, Comparable], usable: set[str]
) -> Filter:
    field = fields[name]
    if name not in usable:
        raise BadQuery(f"can't filter by {_quote(name)}, which is not among the fields asked for")
    if operator == "eq" and "eq" not in field.operators and "contains" in field.operators:
        raise BadQuery(f"{name} is a list: ask for a member with {name}__contains")
    if operator not in field.operators:
        known = f"; it knows {_list(field.operators)}" if field.operators else ""
        raise BadQuery(f"{name} can't be compared with {operator}{known}")
    if len(texts) > 1:
        if operator not in _REPEATED:
            raise BadQuery(f"{name}__{operator} is given more than once")
        operator = _REPEATED[operator]
    return Filter(name, operator, tuple(dict.fromkeys(field.parse(text) for text in texts)))


def _order(text: str, fields: Mapping[str, Comparable], usable: set[str]) -> tuple[str, bool]:
    name = text.removeprefix("-")
    if name not in fields:
        raise BadQuery(f"can't sort by {_quote(name)}: no such field; there are {_list(fields)}")
    if name not in usable:
        raise BadQuery(f"can't sort by {_quote(name)}, which is not among the fields asked for")
    if fields[name].sort_key is None:
        raise BadQuery(f"can't sort by {_quote(name)}: its values have no order")
    return name, text.startswith("-")


def _page_number(name: str, control: Mapping[str, list[str]]) -> int | None:
    texts = control.get(name)
    if texts is None:
        return None
    if len(texts) > 1:
        raise BadQuery(f"{name} is given more than once")
    return integer(texts[0], name, 0, MAX_LIMIT)


def _properties(names: list[str] | None) -> tuple[str, ...] | None:
    if names is None:
        return None
    if "*" in names:
        return ()
    return tuple(dict.fromkeys(storable(name, "property") for name in names))


def _quote(name: str) -> str:
    return repr(name if len(name) <= 60 else name[:60] + "…")


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
