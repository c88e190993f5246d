"""The fields of a resource: what a column is called outside, how it is compared, what its value looks like in
JSON.

A field knows its SQL expression, so that every filter, every sorting and every page is the database's work.
Comparing goes in two halves: :meth:`Field.condition` gives the SQL for an operator (its text doesn't depend
on the values, so statements are compiled once per shape of a query), :meth:`Field.bind` gives the values for
it.

Times are microseconds in the store. Buildbot's field of whole seconds and ours of microseconds are two fields
over one column; a comparison in seconds becomes a range of microseconds, so that an index on the column
serves both."""

# ruff: noqa: ARG002  -- all fields share the methods' signatures, and some need only a part

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa

from buildwright.store.unit import POSTGRESQL, Statement, in_set
from buildwright.web.errors import BadQuery

Condition = sa.ColumnElement[bool]
Element = sa.ColumnElement[Any]

OPERATORS = ("eq", "ne", "lt", "le", "gt", "ge", "contains", "in", "notin")
SETS = ("in", "notin")
TRUE_WORDS = frozenset({"on", "true", "yes", "1"})

_SECOND = 1_000_000
_MAX = 2**63 - 1
_INT4 = range(-(2**31), 2**31)

_ONE = sa.literal_column("1", sa.Integer)
_ZERO = sa.literal_column("0", sa.Integer)
_MILLION = sa.literal_column("1000000", sa.Integer)

decode_json = msgspec.json.Decoder().decode


def integer(text: str, what: str, low: int = -_MAX, high: int = _MAX) -> int:
    """The integer that a text spells, within what a column can hold."""
    if not (text.isascii() and text.removeprefix("-").isdigit()) or len(text) > 19:
        raise BadQuery(f"{what}: {_short(text)} is not an integer")
    number = int(text)
    if not low <= number <= high:
        raise BadQuery(f"{what}: {number} is out of range")
    return number


def storable(text: str, what: str) -> str:
    """The text itself, unless no database column could hold it."""
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise BadQuery(f"{what}: a text must not contain NUL or lone surrogates")
    return text


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")


@dataclass(frozen=True)
class Field:
    """One field. ``columns`` are what it reads; ``decode`` gets their values and gives what JSON shows."""

    name: str
    columns: tuple[Element, ...]
    type: str = "integer"
    nullable: bool = False
    decode: Callable[..., Any] | None = None
    operators: tuple[str, ...] = ()
    spec: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sort_key(self) -> Element | None:
        """What ``order`` sorts by; None: it can't be sorted by."""
        return self.columns[0]

    def parse(self, text: str) -> Any:
        """A value of a filter; raises BadQuery."""
        raise BadQuery(f"{self.name} can't be used in a filter")

    def condition(self, operator: str, name: str, values: Sequence[Any]) -> Callable[[str], Condition]:
        """The SQL of ``<field>__<operator>`` with values bound to ``name``, as a function of the dialect."""
        column = self.columns[0]
        if operator in SETS:
            member = in_set(column, name)
            return lambda dialect: member(dialect) if operator == "in" else sa.not_(member(dialect))
        value: Element = sa.bindparam(name, type_=column.type)
        return lambda _dialect: _compare(operator, column, value)

    def bind(self, operator: str, name: str, values: Sequence[Any]) -> Mapping[str, Any]:
        """The parameters that :meth:`condition` asked for."""
        return {name: list(values) if operator in SETS else values[0]}

    def shape(self, operator: str, values: Sequence[Any]) -> Any:
        """What of the values the SQL of :meth:`condition` depends on."""
        return None

    def describe(self) -> dict[str, Any]:
        """The field as ``application.spec`` tells of it."""
        kind: dict[str, Any] = dict(self.spec) or {"name": self.type}
        if self.nullable:
            kind["can_be_null"] = True
        return {"name": self.name, "type": self.type, "type_spec": kind}


def _compare(operator: str, column: Element, value: Element) -> Condition:
    match operator:
        case "eq":
            return column == value
        case "ne":
            return column != value
        case "lt":
            return column < value
        case "le":
            return column <= value
        case "gt":
            return column > value
        case "ge":
            return column >= value
    raise BadQuery(f"unknown operator {operator}")


class Number(Field):
    """An integer as it is stored."""

    def parse(self, text: str) -> int:
        return integer(text, self.name)

    def condition(self, operator: str, name: str, values: Sequence[Any]) -> Callable[[str], Condition]:
        if operator in SETS:
            return super().condition(operator, name, values)
        # Bound as wide, so that a narrow column can be compared with any number.
        value: Element = sa.bindparam(name, type_=sa.BigInteger)
        return lambda _dialect: _compare(operator, self.columns[0], value)

    def bind(self, operator: str, name: str, values: Sequence[Any]) -> Mapping[str, Any]:
        if operator in SETS and not isinstance(self.columns[0].type, sa.BigInteger):
            values = [value for value in values if value in _INT4]
        return super().bind(operator, name, values)


class Text(Field):
    """A text as it is stored; ``contains`` looks for a part of it, several parts: any of them."""

    def parse(self, text: str) -> str:
        return storable(text, self.name)

    def condition(self, operator: str, name: str, values: Sequence[Any]) -> Callable[[str], Condition]:
        if operator != "contains":
            return super().condition(operator, name, values)
        column = self.columns[0]

        def contains(dialect: str) -> Condition:
            find = sa.func.strpos if dialect == POSTGRESQL else sa.func.instr
            parts = [
                find(column, sa.bindparam(f"{name}_{i}", type_=sa.Text)) > _ZERO for i in range(len(values))
            ]
            return sa.or_(*parts)

        return contains

    def bind(self, operator: str, name: str, values: Sequence[Any]) -> Mapping[str, Any]:
        if operator != "contains":
            return super().bind(operator, name, values)
        return {f"{name}_{i}": value for i, value in enumerate(values)}

    def shape(self, operator: str, values: Sequence[Any]) -> int | None:
        return len(values) if operator == "contains" else None


class Seconds(Field):
    """Microseconds shown as whole seconds."""

    @property
    def stored(self) -> Element:
        return self.columns[0].left  # type: ignore[no-any-return]

    @property
    def sort_key(self) -> Element:
        return self.stored

    def parse(self, text: str) -> int:
        return integer(text, self.name, -_MAX // _SECOND, _MAX // _SECOND - 1)

    def condition(self, operator: str, name: str, values: Sequence[Any]) -> Callable[[str], Condition]:
        column = self.stored
        first, after = (sa.bindparam(f"{name}_{end}", type_=sa.BigInteger) for end in ("first", "after"))
        match operator:
            case "eq":
                found: Condition = sa.and_(column >= first, column < after)
            case "ne":
                found = sa.or_(column < first, column >= after)
            case "lt":
                found = column < first
            case "le":
                found = column < after
            case "gt":
                found = column >= after
            case "ge":
                found = column >= first
            case _:
                return super().condition(operator, name, values)
        return lambda _dialect: found

    def bind(self, operator: str, name: str, values: Sequence[Any]) -> Mapping[str, Any]:
        if operator in SETS:
            return super().bind(operator, name, values)
        return {f"{name}_first": values[0] * _SECOND, f"{name}_after": (values[0] + 1) * _SECOND}


@dataclass(frozen=True)
class Flag(Field):
    """True or false. Both are conditions written with literals, so that partial indexes match them.

    ``few``: of few things it is false, and an index has them. Those of which it is true are counted as all
    without those few.
    """

    true: Condition = field(default_factory=sa.true)
    false: Condition = field(default_factory=sa.false)
    few: bool = False

    def wanted(self, operator: str, values: Sequence[Any]) -> set[bool]:
        """The values that a filter lets through."""
        return set(values) if operator in ("eq", "in") else {True, False} - set(values)

    def parse(self, text: str) -> bool:
        return text.lower() in TRUE_WORDS

    def condition(
        self,
        operator: str,
        name: str,
        values: Sequence[Any],
    ) -> Callable[[str], Condition]:
        wanted = self.wanted(operator, values)
        parts = [self.true] * (True in wanted) + [self.false] * (False in wanted)
        found: Condition = sa.or_(*parts) if parts else sa.false()
        return lambda _dialect: found

    def bind(self, operator: str, name: str, values: Sequence[Any]) -> Mapping[str, Any]:
        return {}

    def shape(self, operator: str, values: Sequence[Any]) -> frozenset[bool]:
        return frozenset(values)


@dataclass(frozen=True)
class Listing(Field):
    """A list; ``contains`` asks for a member. ``member`` gives the SQL for the set bound to a name."""

    member: Callable[[str], Callable[[str], Condition]] | None = None
    of: Callable[[str, str], Any] = storable

    @property
    def sort_key(self) -> None:
        return None

    def parse(self, text: str) -> Any:
        return self.of(text, self.name)

    def condition(
        self,
        operator: str,
        name: str,
        values: Sequence[Any],
    ) -> Callable[[str], Condition]:
        assert self.member is not None
        return self.member(name)

    def bind(self, operator: str, name: str, values: Sequence[Any]) -> Mapping[str, Any]:
        return {name: list(values)}


class Opaque(Field):
    """An object or list that can neither be compared nor sorted by."""

    @property
    def sort_key(self) -> None:
        return None


@dataclass(frozen=True)
class Derived(Listing):
    """A list from another table: one more query per page, for all its rows at once.

    ``rows`` selects (owner, ...) for the owners bound to ``ids``; ``collect`` turns one owner's rows into the
    value. One that is ``on_request`` is there only if ``field`` names it."""

    rows: Statement | None = None
    collect: Callable[[list[tuple[Any, ...]]], Any] = list
    on_request: bool = False

    def describe(self) -> dict[str, Any]:
        told = super().describe()
        return {**told, "on_request": True} if self.on_request else told


# -- short forms for the tables of fields --------------------------------------------------------------------

_ORDERED = ("eq", "ne", "lt", "le", "gt", "ge", "in", "notin")


def number(name: str, column: Element, *, nullable: bool = False) -> Field:
    return Number(name, (column,), "integer", nullable, operators=_ORDERED)


def text(name: str, column: Element, *, nullable: bool = False, type: str = "string") -> Field:
    return Text(name, (column,), type, nullable, operators=OPERATORS)


def seconds(
    name: str, column: Element, *, nullable: bool = False, type: str = "datetime", exact: str | None = None
) -> tuple[Field, Field]:
    """Two fields over a column of microseconds: whole seconds, and ``<name>_us``."""
    return (
        Seconds(name, (column // _MILLION,), type, nullable, operators=_ORDERED),
        Number(exact or f"{name}_us", (column,), "integer", nullable, operators=_ORDERED),
    )


def flag(name: str, column: Element) -> Field:
    """A column of 0 and 1."""
    return Flag(
        name,
        (column,),
        "boolean",
        False,
        bool,
        ("eq", "ne", "in", "notin"),
        {},
        column == _ONE,
        column == _ZERO,
    )


def condition(name: str, true: Condition, false: Condition, *, few: bool = False) -> Field:
    """A flag that is no column: it is true when ``true`` holds, and ``false`` is its exact opposite."""
    column = sa.case((true, _ONE), else_=_ZERO)
    return Flag(name, (column,), "boolean", False, bool, ("eq", "ne", "in", "notin"), {}, true, false, few)


def opaque(
    name: str, *columns: Element, decode: Callable[..., Any], type: str = "jsonobject", nullable: bool = False
) -> Field:
    return Opaque(name, columns, type, nullable, decode)


def json_list(name: str, column: Element, of: str = "string") -> Field:
    """A column of JSON text that holds a list of texts."""

    def member(parameter: str) -> Callable[[str], Condition]:
        def build(dialect: str) -> Condition:
            if dialect == POSTGRESQL:
                from sqlalchemy.dialects import postgresql

                each: Any = sa.func.jsonb_array_elements_text(sa.cast(column, postgresql.JSONB))
                entry = each.table_valued("value", name="entry")
            else:
                entry = sa.func.json_each(column).table_valued("value", name="entry")
            found = in_set(sa.cast(entry.c.value, sa.Text), parameter)(dialect)
            return sa.exists(sa.select(_ONE).select_from(entry).where(found))

        return build

    spec = {"type": "list", "of": {"name": of}}
    return Listing(name, (column,), "list", False, decode_json, ("contains",), spec, member)
