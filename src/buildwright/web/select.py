"""From a query to SQL and back to objects.

A query's *shape* is everything but its values: the endpoint, the fields, the operators, the order. Statements
are built and compiled once per shape and kept (the newest few hundred shapes: a client could invent endless
many). A page is one unit of work:

1. the rows, filtered, sorted and cut to the page by the database; equal ones in the order of their ids, so
   that pages neither overlap nor leave something out;
2. their number, exact, by a second statement, unless the page itself tells it;
3. one statement per derived field, for all rows of the page at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.sql import visitors
from sqlalchemy.sql.base import Executable

from buildwright.store.unit import POSTGRESQL, Row, Statement, Work, in_set, unit
from buildwright.web.fields import Condition, Derived, Element, Field, Flag, decode_json
from buildwright.web.query import Query
from buildwright.web.resource import Endpoint, Json, Resource

KEPT_SHAPES = 512


class Page(NamedTuple):
    """Rows as the database gave them, their number without paging, and the rows of each derived field."""

    rows: Sequence[Row]
    total: int
    derived: Sequence[Mapping[Any, list[Row]]]


@dataclass(frozen=True, slots=True)
class _Column:
    """Where a field's values lie in a row."""

    field: Field
    start: int
    end: int


class Plan:
    """The statements for one shape of a query, and how their rows become objects."""

    def __init__(
        self, resource: Resource, where: Condition | Callable[[str], Condition] | None, query: Query
    ) -> None:
        self.resource = resource
        self._where = where
        self._query = query
        self._columns: list[_Column] = []
        self._elements: list[Element] = []
        for name in sorted(query.fields) if query.fields is not None else resource.usual:
            self._add(resource.fields[name])
        self._plain = [(each.field.name, each.start) for each in self._columns if _is_plain(each.field)]
        self._decoded = [each for each in self._columns if not _is_plain(each.field)]
        self.derived = [(each.field, each.start) for each in self._columns if isinstance(each.field, Derived)]
        self._properties_at = len(self._elements)
        if query.properties is not None and resource.properties is not None:
            self._elements.append(resource.properties)
        self._names = [f"f{i}" for i in range(len(query.filters))]
        self.rows = Statement(f"api_{resource.plural}", self._build_rows)
        self.count = Statement(f"api_count_{resource.plural}", self._build_count)

    def bind(self, path: Mapping[str, Any], query: Query) -> dict[str, Any]:
        """The parameters of both statements."""
        params = dict(path)
        for name, (field, operator, values) in zip(self._names, query.filters, strict=True):
            params.update(self.resource.fields[field].bind(operator, name, values))
        params["page_limit"] = query.limit
        params["page_offset"] = query.offset
        return params

    def objects(self, page: Page, query: Query) -> Iterator[Json]:
        """The page's rows as the JSON shows them."""
        plain, decoded = self._plain, self._decoded
        by_field = {id(field): rows for (field, _), rows in zip(self.derived, page.derived, strict=True)}
        asked = query.fields is None or query.properties is not None
        shows_properties = asked and self.resource.properties is not None
        for row in page.rows:
            found = {name: row[at] for name, at in plain}
            for column in decoded:
                found[column.field.name] = _decode(column, row, by_field)
            if shows_properties:
                found["properties"] = self._select_properties(row, query.properties)
            yield found

    def _select_properties(self, row: Row, names: tuple[str, ...] | None) -> Json:
        if names is None:
            return {}
        properties: Json = decode_json(row[self._properties_at] or "{}")
        return {name: properties[name] for name in names if name in properties} if names else properties

    def _add(self, field: Field) -> None:
        start = len(self._elements)
        self._elements.extend(field.columns)
        self._columns.append(_Column(field, start, len(self._elements)))

    def _build_rows(self, dialect: str) -> Executable:
        elements = [element.label(f"c{i}") for i, element in enumerate(self._elements)]
        select = sa.select(*elements).select_from(self.resource.source).where(*self._conditions(dialect))
        select = select.order_by(*self._sorting(dialect))
        if self._query.limit is not None:
            select = select.limit(sa.bindparam("page_limit", type_=sa.BigInteger))
        if self._query.offset:
            select = select.offset(sa.bindparam("page_offset", type_=sa.BigInteger))
        return select

    def _build_count(self, dialect: str) -> Executable:
        count = sa.select(sa.func.count(sa.literal_column("*")))
        base = self.resource.key.table
        # What is joined is there once or not at all: it doesn't change the number, but it does cost time.
        filters = [self.resource.fields[name].columns[0] for name, _, _ in self._query.filters]
        alone = all(_tables(column) <= {base} for column in filters)
        count = count.select_from(base if alone else self.resource.source)
        for name, rule in zip(self._names, self._query.filters, strict=True):
            flag = self.resource.fields[rule.field]
            if isinstance(flag, Flag) and flag.few and flag.wanted(rule.operator, rule.values) == {True}:
                every = count.where(*self._conditions(dialect, but=name))
                return sa.select(every.scalar_subquery() - every.where(flag.false).scalar_subquery())
        return count.where(*self._conditions(dialect))

    def _conditions(self, dialect: str, *, but: str | None = None) -> Iterable[Condition]:
        """The conditions on the rows, ``but`` that of one filter."""
        if self._where is not None:
            yield self._where if isinstance(self._where, sa.ColumnElement) else self._where(dialect)
        for name, (field_name, operator, values) in zip(self._names, self._query.filters, strict=True):
            if name == but:
                continue
            field = self.resource.fields[field_name]
            found = field.condition(operator, name, values)(dialect)
            if operator in ("ne", "notin") and field.nullable and self.resource.null_differs:
                found = sa.or_(found, field.columns[0].is_(None))
            yield found

    def _sorting(self, dialect: str) -> Iterable[Element]:
        resource = self.resource
        ties_descend = False
        for name, descending in self._query.order:
            field = resource.fields[name]
            key = field.sort_key
            assert key is not None
            if dialect == POSTGRESQL and isinstance(key.type, sa.Text):
                key = sa.collate(key, "C")  # as SQLite sorts
            sorted_by: Element = key.desc() if descending else key.asc()
            if dialect == POSTGRESQL and field.nullable:
                sorted_by = sorted_by.nulls_last() if descending else sorted_by.nulls_first()
            yield sorted_by
            if field.columns[0] is resource.key:
                return
            ties_descend = descending and name not in resource.ties_ascend
        yield resource.key.desc() if ties_descend else resource.key.asc()


def _tables(element: Element) -> set[Any]:
    return {each.table for each in visitors.iterate(element) if isinstance(each, sa.Column)}


def _is_plain(field: Field) -> bool:
    return field.decode is None and not isinstance(field, Derived)


def _decode(column: _Column, row: Row, derived: Mapping[int, Mapping[Any, list[Row]]]) -> Any:
    field = column.field
    if isinstance(field, Derived):
        return field.collect(derived[id(field)].get(row[column.start], []))
    assert field.decode is not None
    if column.end - column.start > 1:
        return field.decode(*row[column.start : column.end])
    value = row[column.start]
    return None if value is None else field.decode(value)


class Plans:
    """The plans of the shapes seen last."""

    def __init__(self, size: int = KEPT_SHAPES) -> None:
        self._size = size
        self._plans: OrderedDict[Any, Plan] = OrderedDict()

    def of(self, endpoint: Endpoint, query: Query) -> Plan:
        fields = endpoint.resource.fields
        shape = (
            endpoint,
            query.fields,
            tuple(
                (name, operator, fields[name].shape(operator, values))
                for name, operator, values in query.filters
            ),
            query.order,
            query.limit is None,
            query.offset == 0,
            query.properties is None,
        )
        plan = self._plans.get(shape)
        if plan is None:
            plan = self._plans[shape] = Plan(endpoint.resource, endpoint.where, query)
            if len(self._plans) > self._size:
                self._plans.popitem(last=False)
        else:
            self._plans.move_to_end(shape)
        return plan


def by_keys(resource: Resource, query: Query) -> Plan:
    """The plan that reads the rows with the keys bound to ``ids``; for events."""
    return Plan(resource, in_set(resource.key, "ids"), query)


@unit
def read_page(plan: Plan, params: Mapping[str, Any], limit: int | None, offset: int) -> Work[Page]:
    rows: Sequence[Row] = yield plan.rows(**params)
    total = offset + len(rows)
    if (limit is not None and len(rows) >= limit) or (offset and not rows):
        [(total,)] = yield plan.count(**params)
    derived = []
    for field, at in plan.derived:
        owners = sorted({row[at] for row in rows if row[at] is not None})
        found: dict[Any, list[Row]] = {}
        if owners:
            assert field.rows is not None
            for owner, *rest in (yield field.rows(ids=owners)):
                found.setdefault(owner, []).append(tuple(rest))
        derived.append(found)
    return Page(rows, total, derived)
